"""Whom a model fails, by how much, how sure we are, and compared with whom. The package itself is the verb.

``wb.audit(predictions, by=[…])`` measures everybody and every group and gives an ``Audit``. Beside it stand verbs for one
question each, which give a ``Finding``.
"""

import lazy_loader as _lazy

from workbench._verb import make_callable

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "assess": ["audit"],
        "discovery.slices": ["slices"],
        "finding": ["Finding"],
        "operating_points": ["operating_point"],
        "result": ["Audit"],
        "validation.delong": ["delong"],
    },
)
make_callable(__name__)

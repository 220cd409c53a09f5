"""Whom a model fails, by how much and how sure: ``wb.audit(predictions, by=[…])``. The package itself is the verb."""

import lazy_loader as _lazy

from workbench._verb import make_callable

__getattr__, __dir__, __all__ = _lazy.attach(__name__, submod_attrs={"assess": ["audit"], "result": ["Audit"]})
make_callable(__name__)

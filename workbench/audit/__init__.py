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
        "fairness.two_models": ["compare"],
        "fairness.group_criteria": ["criteria"],
        "discovery.association": ["association"],
        "discovery.probe": ["probe"],
        "discovery.shortcut": ["shortcut"],
        "finding": ["Finding"],
        "shift.drift": ["drift"],
        "mrmc": ["mrmc"],
        "decisions.mitigation": ["mitigate"],
        "decisions.operating_points": ["operating_point"],
        "fairness.power": ["detectable"],
        "result": ["Audit"],
        "fairness.smooth": ["along"],
        "validation.delong": ["delong"],
        "validation.mcnemar": ["mcnemar"],
        "validation.noninferiority": ["noninferiority"],
        "validation.decision_curve": ["decision_curve"],
        "validation.reader_sample_size": ["reader_sample_size"],
        "validation.sample_size": ["sample_size"],
        "validation.stard": ["stard"],
    },
)
make_callable(__name__)

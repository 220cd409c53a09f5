"""The verb: ``wb.audit(predictions, by=[…])``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.audit.asked import check_interval, entries, positive_class, share, whole
from workbench.audit.decisions.cutting import cut_at
from workbench.audit.doubts import empty_crossings, no_patients, two_spellings, two_values, unlabelled
from workbench.audit.estimation.choose import INTERVALS
from workbench.audit.estimation.evidence import ENOUGH, FEWEST
from workbench.audit.finding import Finding
from workbench.audit.metric import named
from workbench.audit.reading import BINARY, MULTILABEL, defaults, read, setting_of, task_of
from workbench.audit.result import Audit
from workbench.audit.words import thin_groups
from workbench.errors import EvidenceWarning, InputError, unknown_name
from workbench.predictions import Predictions
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pandas as pd

    from workbench.audit.sample import Design


def audit(
    predictions: Predictions | pd.DataFrame | str | Path,
    by: Sequence[str | Sequence[str]] | str = (),
    *,
    label: str | None = None,
    score: str | None = None,
    patient: str | None = None,
    weight: str | None = None,
    id: str | None = None,  # what the column is called everywhere in this package
    threshold: float | Finding | Mapping[str, float] | None = None,
    metrics: Sequence[str] | None = None,
    positive: str | None = None,
    reference: str | Mapping[str, str] = "rest",
    prevalence: float | None = None,
    interval: str = "auto",
    level: float = 0.95,
    replicates: int = 1000,
    permutations: int = 0,
    enough: int = ENOUGH,
    fewest: int = FEWEST,
    seed: int = 0,
    **asked: Any,
) -> Audit:
    """Measure how well the scores tell the classes apart, for everybody and for each group, and how sure that is.

    Parameters
    ----------
    predictions : a `Predictions`, or anybody's table of scores (CSV, Excel, Parquet, DataFrame) with `label` and `score`.
    by : attributes to break down by; a tuple crosses them: ``["sex", "age", ("sex", "age")]``. A missing value is a
        group of its own; a number with more than ten values is cut into quarters of equal size.
    label, score, patient, weight, id : columns of a table: the truth, the probability of the positive class, the patient,
        what a row counts where the sample was drawn unequally, and the image's own name, which stands on one row. Images of one patient are resampled together; without
        `patient` each image counts as a patient, and the audit says so.
    threshold : images with a score at or above it are called positive; 0.5 unless given. A number, what
        ``wb.audit.operating_point`` chose, or one for each group of an attribute, ``{"sex=F": 0.4, "sex=M": 0.5}``. It is
        never chosen on the audited images themselves, because what is found there would be too good; where an operating
        point was, the audit says so.
    metrics : any of :mod:`workbench.audit.definitions`; by default those of
        ``workbench.audit.reading.DEFAULTS`` for the task: of two classes AUROC, sensitivity, specificity, PPV, NPV and
        Brier score.
    positive : the positive class; by default the last of two. With more classes, or findings, the one that is held
        against all others; left out, they are audited together (a table of findings has a column ``class``).
    reference : what a group is held against: everybody else (``"rest"``), the groups' ``"mean"``, the ``"largest"`` group,
        or a group by name, ``{"sex": "M"}`` (other attributes then keep the rest).
    prevalence : share of positives, between 0 and 1, that every group is weighted to; by default each has its own.
    interval : ``"auto"``: Wilson's for shares and DeLong's or Obuchowski's for the AUROC, else the bootstrap over patients;
        the column `reason` says why. ``"percentile"`` or ``"BCa"`` take the bootstrap for all.
    level : confidence of the intervals, 0.5–0.999.
    replicates : bootstrap replicates, 100 or more.
    permutations : of patients between groups, for the gaps' column ``p_permutation``; 0 for none.
    enough, fewest : patients of a class below which a number is grey, and below which it is refused.
    seed : the same seed gives the same numbers.
    **asked : further settings of metrics: ``specificity``, ``sensitivity``, ``partial``, ``bins``
        (see :class:`workbench.audit.metric.Setting`).

    Returns
    -------
    Audit
        One row a metric and group in `table`, one a gap in `gaps`. The interval's method stands in each row.

    Warns
    -----
    EvidenceWarning
        Once, naming the groups whose numbers their sample cannot carry, and what else is doubtful: images taken for
        patients, a patient with two values of an attribute that stays, crossings without an image, a threshold chosen on
        the audited images.

    Raises
    ------
    InputError : where a name is unknown or a setting out of range.

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 2, 400)
    >>> table = pd.DataFrame({"truth": truth, "p": (truth + rng.random(400)) / 2, "who": np.arange(400)})
    >>> found = wb.audit(table, label="truth", score="p", patient="who", metrics=["AUROC", "sensitivity"])
    >>> found.table[["metric", "value", "low", "high", "n", "method"]].round(3)
            metric  value    low  high    n    method
    0        AUROC    1.0  0.990   1.0  400  Newcombe
    1  sensitivity    1.0  0.983   1.0  400    Wilson
    """
    crossed = entries(by)
    check_interval(level, replicates, seed)
    _check(permutations, enough=enough, fewest=fewest)
    if interval not in INTERVALS:
        raise unknown_name("interval", interval, INTERVALS)
    attributes = list(
        dict.fromkeys(name for entry in crossed for name in ([entry] if isinstance(entry, str) else entry))
    )
    columns = {"label": label, "score": score, "patient": patient, "weight": weight, "id": id}
    predictions = _opened(predictions, attributes, columns)
    task = task_of(predictions, positive)
    _check_task(task, {"threshold": threshold, "prevalence": prevalence})
    if task == BINARY:
        positive = positive_class(predictions, positive)
    where = cut_at(threshold, predictions)
    settings: dict[str, Any] = {
        "by": [list(entry) if isinstance(entry, tuple) else entry for entry in crossed], "threshold": where.threshold,
        "thresholds": None if where.by_group is None else dict(where.by_group), "threshold_origin": where.origin,
        "task": task, "classes": list(predictions.classes), "metrics": defaults(predictions, task) if metrics is None else named(metrics), "positive": positive,
        "reference": dict(reference) if isinstance(reference, Mapping) else reference,
        "prevalence": None if prevalence is None else share(prevalence, "prevalence", ends=False),
        "interval": interval, "level": float(level), "replicates": int(replicates), "permutations": int(permutations),
        "enough": int(enough), "fewest": int(fewest), "seed": int(seed), "asked": setting_of(asked),
    }  # fmt: skip
    found = read(predictions, settings)
    told = [
        *thin_groups(found.table), *unlabelled(predictions, found.designs, positive), *([where.warning] if where.warning else []),
        *no_patients(predictions), *two_values(predictions, attributes, _numbered(predictions, found.designs)),
        *two_spellings(predictions, attributes), *empty_crossings(found.designs[0].partitions),
    ]  # fmt: skip
    settings |= found.widths
    kept = {name: value for name, value in settings.items() if name != "seed"}
    parents = {"predictions": predictions.provenance} | (
        {"threshold": threshold.provenance} if isinstance(threshold, Finding) else {}
    )
    provenance = Provenance("audit", kept, digest(found.table, found.gaps), parents, seed=seed)
    if told:
        # 3: `wb.audit` is a package that passes the call on.
        warnings.warn(" ".join(told), EvidenceWarning, stacklevel=3)
    return Audit(found.table, found.gaps, found.ratios, predictions, settings, tuple(told), provenance)


def _check(permutations: int, *, enough: int, fewest: int) -> None:
    whole(permutations, "permutations")
    if 0 < permutations < 19:
        message = (
            f"{permutations} permutations cannot give a p-value of 0.05; take 19 or more (999 is usual), or 0 for none."
        )
        raise InputError(message)
    if whole(enough, "enough", least=1) < whole(fewest, "fewest", least=1):
        message = f"fewest={fewest} is more than enough={enough}: a number is refused before it is greyed."
        raise InputError(message)


def _numbered(predictions: Predictions, designs: list[Design]) -> np.ndarray | None:
    """Return the number of each image's patient from a design that left no image out."""
    return next((design.patients for design in designs if len(design.patients) == len(predictions)), None)


def _check_task(task: str, given: dict[str, Any]) -> None:
    if task in (BINARY, MULTILABEL):
        return
    for name, value in given.items():
        if value is not None:
            message = f"{name} belongs to two classes, and this is a {task} task; leave it out" + (
                ", or say which class is held against all others, positive=…." if task == "multiclass" else "."
            )
            raise InputError(message)


def _opened(
    source: Predictions | pd.DataFrame | str | Path, attributes: list[str], columns: dict[str, str | None]
) -> Predictions:
    """Take predictions as they are, open a folder of saved ones, or read a table by the columns named."""
    if isinstance(source, str | Path) and Path(source).is_dir():
        source = Predictions.load(source)
    if isinstance(source, Predictions):
        given = [name for name, column in columns.items() if column is not None]
        if given:
            message = "label, score, patient, weight and id name columns of a table; Predictions know theirs already. Leave them out."
            raise InputError(message)
        return source
    if columns["label"] is None or columns["score"] is None:
        message = (
            "a table needs label= (column of the truth) and score= (column of the positive class's probability), "
            "and patient= where patients have several images."
        )
        raise InputError(message)
    return Predictions.from_table(
        source, label=columns["label"], score=columns["score"], patient=columns["patient"], weight=columns["weight"],
        id=columns["id"], attributes=attributes,
    )  # fmt: skip

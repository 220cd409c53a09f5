"""The verb: ``wb.audit(predictions, by=[…])``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workbench.audit.bootstrap import bootstrap
from workbench.audit.metrics import METRICS
from workbench.audit.result import Audit
from workbench.audit.sample import design_of
from workbench.audit.tables import Reading, gap_table, metric_table
from workbench.errors import EvidenceWarning, InputError, unknown_name
from workbench.predictions import Predictions
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Sequence


def audit(
    predictions: Predictions | pd.DataFrame | str | Path,
    by: Sequence[str | Sequence[str]] | str = (),
    *,
    label: str | None = None,
    score: str | None = None,
    patient: str | None = None,
    threshold: float | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
    metrics: Sequence[str] = METRICS,
    positive: str | None = None,
) -> Audit:
    """Measure how well the scores tell the classes apart, for everybody and for each group, and how sure that is.

    Parameters
    ----------
    predictions : a `Predictions`, or anybody's table of scores (CSV, Excel, Parquet, DataFrame) with `label` and `score`.
    by : attributes to break down by; a tuple crosses them: ``["sex", "age", ("sex", "age")]``. A missing value is a
        group of its own; a number with more than ten values is cut into quarters of equal size.
    label, score, patient : columns of a table: the truth, the probability of the positive class, the patient.
        Images of one patient are resampled together; without `patient` each image counts as a patient, and the audit
        says so.
    threshold : images with a score at or above it are called positive; 0.5 unless given. It is never chosen on the
        audited images themselves, because the sensitivity found there would be too good.
    level : confidence of the intervals, 0.5–0.999.
    replicates : bootstrap replicates, 100 or more.
    seed : the same seed gives the same numbers.
    metrics : any of ``AUROC``, ``sensitivity``, ``specificity``.
    positive : the positive class; by default the last of two. With more classes it must be given, and is held
        against all others.

    Returns
    -------
    Audit
        One row a metric and group in `table`, one a gap in `gaps`. The interval's method stands in each row.

    Warns
    -----
    EvidenceWarning
        Once, naming the groups whose numbers their sample cannot carry: fewer than 20 patients of a class; below
        5 the number is refused and shown as NaN.

    Raises
    ------
    InputError : where a name is unknown or a setting out of range.

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 2, 400)
    >>> table = pd.DataFrame({"truth": truth, "p": (truth + rng.random(400)) / 2, "who": np.arange(400)})
    >>> wb.audit(table, label="truth", score="p", patient="who").table[["metric", "value", "n"]].round(2)
            metric  value    n
    0        AUROC    1.0  400
    1  sensitivity    1.0  400
    2  specificity    1.0  400
    """
    by = [by] if isinstance(by, str) else list(by)
    _check_settings(threshold, level, replicates, metrics)
    predictions = _opened(predictions, by, label, score, patient)
    positive = _positive_class(predictions, positive)
    cut = 0.5 if threshold is None else float(threshold)
    settings = {
        "by": [entry if isinstance(entry, str) else list(entry) for entry in by], "threshold": cut,
        "level": float(level), "replicates": int(replicates), "metrics": list(metrics), "positive": positive,
        "seed": int(seed),
    }  # fmt: skip
    design = design_of(predictions, by, positive)
    reading = Reading(tuple(metrics), cut, float(level))
    drawn = bootstrap(design, cut, replicates=replicates, seed=seed)
    table, gaps = metric_table(design, reading, drawn), gap_table(design, reading, drawn)
    kept = {name: value for name, value in settings.items() if name != "seed"}
    provenance = Provenance("audit", kept, digest(table, gaps), {"predictions": predictions.provenance}, seed=seed)
    result = Audit(table, gaps, predictions, settings, provenance)
    if result.warnings:
        warnings.warn(
            " ".join(result.warnings), EvidenceWarning, stacklevel=3
        )  # 3: `wb.audit` is a package that passes the call on
    return result


def _check_settings(threshold: float | None, level: float, replicates: int, metrics: Sequence[str]) -> None:
    if threshold is not None and not 0 <= threshold <= 1:
        message = f"threshold {threshold} lies outside 0–1; scores are probabilities, and so is the threshold."
        raise InputError(message)
    if not 0.5 <= level <= 0.999:
        message = f"level {level} lies outside 0.5–0.999; 0.95 gives 95 % intervals."
        raise InputError(message)
    if replicates < 100:
        message = f"{replicates} replicates cannot place the ends of an interval; take 100 or more (1000 is usual)."
        raise InputError(message)
    for metric in metrics:
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)


def _opened(
    source: Predictions | pd.DataFrame | str | Path,
    by: list[str | Sequence[str]],
    label: str | None,
    score: str | None,
    patient: str | None,
) -> Predictions:
    """Take predictions as they are, open a folder of saved ones, or read a table by the columns named."""
    if not isinstance(source, pd.DataFrame | Predictions) and Path(source).is_dir():
        source = Predictions.load(source)
    if isinstance(source, Predictions):
        if label is not None or score is not None or patient is not None:
            message = (
                "label, score and patient name columns of a table; Predictions know theirs already. Leave them out."
            )
            raise InputError(message)
        return source
    if label is None or score is None:
        message = (
            "a table needs label= (column of the truth) and score= (column of the positive class's probability), "
            "and patient= where patients have several images."
        )
        raise InputError(message)
    names = [name for entry in by for name in ((entry,) if isinstance(entry, str) else entry)]
    return Predictions.from_table(
        source, label=label, score=score, patient=patient, attributes=list(dict.fromkeys(names))
    )


def _positive_class(predictions: Predictions, positive: str | None) -> str:
    classes = predictions.classes
    if positive is not None:
        if str(positive) not in classes:
            raise unknown_name("positive: class", positive, classes)
        return str(positive)
    if len(classes) > 2:
        message = (
            f"there are {len(classes)} classes ({', '.join(classes)}): say which one is held against all others, "
            f"positive={classes[-1]!r}."
        )
        raise InputError(message)
    return classes[-1]

"""What a metric is: what it needs of the rows, how it is made from that, and which rows carry it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

POSITIVES, NEGATIVES = "positives", "negatives"
BOTH = (POSITIVES, NEGATIVES)

Columns = Callable[[np.ndarray, np.ndarray, "Setting"], np.ndarray]
"""``(truth (n,), scores (n,) or (n, K), setting) -> (n, J)``: what is added up over rows. Asked once with all rows of the
audit, never with one group's, so that whatever rests on the others (edges of bins) is the same in every group."""
OfSums = Callable[[np.ndarray, "Setting"], np.ndarray]
"""``(sums (…, 2, J), setting) -> (…)``; the axis of two is the negatives' rows, then the positives'. Where there are no two
classes, the first holds all rows and the second 0."""
OfCurve = Callable[[np.ndarray, np.ndarray, "Setting"], np.ndarray]
"""``(found (…, T), wrong (…, T), setting) -> (…)``: weight of positives and of negatives at or above each distinct score,
from the highest score down, both beginning with 0 (no row called positive) and ending with all."""
OfRows = Callable[[np.ndarray, np.ndarray, np.ndarray, "Setting"], np.ndarray]
"""``(truth (n,), scores (n,) or (n, K), weights (…, n), setting) -> (…)``."""


@dataclass(frozen=True)
class Setting:
    """What metrics are asked at.

    Parameters
    ----------
    threshold : rows with a score at or above it are called positive.
    prevalence : 0–1; every group is weighted to this share of positives. None takes each group as it is.
    specificity, sensitivity : where the other of the two is read off the ROC curve, 0–1.
    partial : false positive rates between which the partial area is taken, 0–1, rising.
    bins : of the calibration error.
    """

    threshold: float = 0.5
    prevalence: float | None = None
    specificity: float = 0.9
    sensitivity: float = 0.9
    partial: tuple[float, float] = (0.0, 0.1)
    bins: int = 15


@dataclass(frozen=True)
class Metric:
    """One metric. Exactly one of `of_sums` (with `columns`), `of_curve` and `of_rows` makes its value.

    Sums are best: whatever is a function of sums over rows gets weights, prevalence, the bootstrap, the jackknife and the
    threshold slider for nothing. Values are NaN, without a warning, where they are not defined.

    Parameters
    ----------
    name : as it stands in tables.
    tasks : ``"binary"`` (two classes, a class against all others, a finding), ``"multiclass"``, ``"regression"``,
        ``"segmentation"``.
    best : the value of a model without fault: 1 for AUROC, 0 for the Brier score; NaN where none is (positive rate).
    bounds : least and greatest value possible.
    arms : the rows whose number decides whether the metric can be told: `POSITIVES`, `NEGATIVES` or both; none: all rows.
    proportion : whether it is a share of rows, those of `share`, so that Wilson's interval fits. With a prevalence only
        shares of one arm stay so: the others become a mixture of two.
    share : of a proportion, as `columns` but ``(n, 2)`` of 0 and 1: the rows it is a share of, and those among them that
        it counts.
    rests_on : where neither `arms` nor `share` say it, as `columns` but ``(n, A)`` of 0 and 1: sets of rows, such as those of
        each class, of which the one with fewest patients decides whether the metric can be told.
    moves : whether it depends on the threshold.
    columns, of_sums, of_curve, of_rows : see above.
    source : definition and reference, one sentence.
    """

    name: str
    tasks: tuple[str, ...]
    best: float
    bounds: tuple[float, float]
    source: str
    arms: tuple[str, ...] = ()
    proportion: bool = False
    share: Columns | None = None
    rests_on: Columns | None = None
    moves: bool = False
    columns: Columns | None = None
    of_sums: OfSums | None = None
    of_curve: OfCurve | None = None
    of_rows: OfRows | None = None


METRICS: dict[str, Metric] = {}
"""Every metric; the modules of :mod:`workbench.audit.definitions` fill it. Those of two classes by name, the others by task
and name (``"multiclass accuracy"``), because tasks share names. Segmentation's depend on the measures: see there."""


def define(metric: Metric) -> Metric:
    """Add a metric to `METRICS`."""
    key = metric.name if "binary" in metric.tasks else f"{metric.tasks[0]} {metric.name}"
    METRICS[key] = metric
    return metric


def metric_of(name: str, task: str = "binary", measures: Sequence[str] = ()) -> Metric:
    """Return a metric by its name.

    Parameters
    ----------
    name : as in `Metric.name`.
    task : as in `Metric.tasks`; a finding of a multi-label task is ``"binary"``.
    measures : of a segmentation, in the order of the columns of the scores.

    Raises
    ------
    InputError : where no metric of this task is called so; the nearest is offered.
    """
    known = known_metrics(task, measures)
    if name not in known:
        raise unknown_name("metric", name, known)
    return known[name]


def metrics_of(names: Sequence[str], task: str = "binary", measures: Sequence[str] = ()) -> list[Metric]:
    """Return several metrics by their names, see :func:`named`."""
    return [metric_of(name, task, measures) for name in named(names)]


def named(metrics: Sequence[str]) -> list[str]:
    """Return the names of metrics that were asked for.

    Raises
    ------
    InputError : where they are no list of names, none, or one stands there twice.
    """
    listed = list(metrics) if isinstance(metrics, Iterable) and not isinstance(metrics, str) else []
    if not listed or not all(isinstance(name, str) for name in listed):
        message = f"metrics={metrics!r} must be a list of names, metrics=['AUROC', 'sensitivity']."
        raise InputError(message)
    for name in listed:
        if listed.count(name) > 1:
            message = f"metrics names {name!r} twice, which would count its gaps twice; leave one out."
            raise InputError(message)
    return listed


def known_metrics(task: str = "binary", measures: Sequence[str] = ()) -> dict[str, Metric]:
    """Return all metrics of a task by name."""
    from workbench.audit import definitions

    if task == "segmentation":
        return {metric.name: metric for metric in definitions.segmentation.metrics_of_measures(measures)}
    return {metric.name: metric for metric in definitions.METRICS.values() if task in metric.tasks}


def quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole, NaN where `whole` is not above 0 or not known."""
    shape = np.broadcast_shapes(np.shape(part), np.shape(whole))
    return np.asarray(np.divide(part, whole, out=np.full(shape, np.nan), where=whole > 0))


def standardised(sums: np.ndarray, setting: Setting) -> np.ndarray:
    """Weigh both classes so that positives have the share ``setting.prevalence``: ``(…, 2, J)`` to the same.

    Column 0 must be the number (weight) of rows. Without a prevalence the sums come back as they are.
    """
    if setting.prevalence is None:
        return sums
    wanted = np.array([1 - setting.prevalence, setting.prevalence])
    # Sums of an arm without weight may be a rounding off 0, which no factor turns into a share.
    return np.asarray(sums * quotient(wanted, sums[..., 0])[..., None])

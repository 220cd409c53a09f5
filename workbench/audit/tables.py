"""The audit's two tables: a row for each metric and group, and a row for each gap between a group and the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.evidence import ENOUGH, FEWEST, note, weight
from workbench.audit.metrics import Estimate, estimate
from workbench.intervals import NONE, Interval, difference, normal_quantile

if TYPE_CHECKING:
    from workbench.audit.bootstrap import Replicates
    from workbench.audit.sample import Design, Sample

COLUMNS = ("metric", "group", "by", "value", "low", "high", "n", "positives", "patients", "method", "note")
GAP_COLUMNS = (
    "metric", "group", "by", "reference", "value", "low", "high", "n", "positives", "patients", "method", "note",
)  # fmt: skip
BOOTSTRAP = "bootstrap of patients"
SQUARE_AND_ADD = "square-and-add"


@dataclass(frozen=True)
class Reading:
    """How the tables are made: which metrics, where the threshold lies, and how sure the intervals are."""

    metrics: tuple[str, ...]
    threshold: float
    level: float

    def estimate(self, metric: str, sample: Sample) -> Estimate:
        """Return a metric of a group with its closed-form interval; refused where fewer than `FEWEST` carry it."""
        if weight(metric, sample) < FEWEST:
            return Estimate(math.nan, NONE, "")
        return estimate(metric, sample, self.threshold, normal_quantile(self.level))


def metric_table(design: Design, reading: Reading, replicates: Replicates | None = None) -> pd.DataFrame:
    """Return the rows of all metrics in all groups.

    Sensitivity and specificity carry Wilson's interval. AUROC carries the bootstrap's, where at least `ENOUGH`
    patients of each class are there and some pair is out of order, else a closed form; so it does without `replicates`.
    """
    rows = []
    for metric in reading.metrics:
        for place, sample in enumerate(design.samples):
            found = reading.estimate(metric, sample)
            if metric == "AUROC" and replicates is not None and _bootstrapped(metric, sample, found):
                interval = _percentiles(replicates.group[metric][place], reading.level)
                found = Estimate(found.value, interval, BOOTSTRAP)
            rows.append(
                {"metric": metric, "group": sample.group, "by": sample.by, **_numbers(found), **_size(sample)}
                | {"method": found.method, "note": note(metric, sample)}
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def gap_table(design: Design, reading: Reading, replicates: Replicates | None = None) -> pd.DataFrame:
    """Return the difference of every group to the rest of its partition.

    The interval is the bootstrap's where both sides can carry it, else square-and-add of the two closed forms.
    """
    rows = []
    for metric in reading.metrics:
        for place, (group, rest) in enumerate(zip(design.samples, design.rests, strict=True)):
            if rest.n:
                rows.append(_gap(metric, (group, rest), reading, _drawn(replicates, metric, place)))
    return pd.DataFrame(rows, columns=GAP_COLUMNS)


def _gap(metric: str, sides: tuple[Sample, Sample], reading: Reading, drawn: np.ndarray | None) -> dict[str, Any]:
    group, rest = sides
    first, second = reading.estimate(metric, group), reading.estimate(metric, rest)
    gap, interval, method = first.value - second.value, NONE, ""
    if not math.isnan(gap):
        interval, method = difference(first.value, first.interval, second.value, second.interval), SQUARE_AND_ADD
        if drawn is not None and _bootstrapped(metric, group, first) and _bootstrapped(metric, rest, second):
            interval, method = _percentiles(drawn, reading.level), BOOTSTRAP
    notes = [note(metric, group)] + [f"the rest: {text}" for text in [note(metric, rest)] if text]
    return (
        {"metric": metric, "group": group.group, "by": group.by, "reference": "rest"}
        | _numbers(Estimate(gap, interval, method))
        | _size(group)
        | {"method": method, "note": "; ".join(text for text in notes if text)}
    )


def _drawn(replicates: Replicates | None, metric: str, place: int) -> np.ndarray | None:
    if replicates is None:
        return None
    drawn: np.ndarray = replicates.group[metric][place] - replicates.rest[metric][place]
    return drawn


def _bootstrapped(metric: str, sample: Sample, found: Estimate) -> bool:
    return weight(metric, sample) >= ENOUGH and 0 < found.value < 1


def _percentiles(values: np.ndarray, level: float) -> Interval:
    known = values[np.isfinite(values)]
    if not len(known):
        return NONE
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _numbers(found: Estimate) -> dict[str, float]:
    return {"value": found.value, "low": found.interval[0], "high": found.interval[1]}


def _size(sample: Sample) -> dict[str, int]:
    return {"n": sample.n, "positives": len(sample.positives), "patients": sample.patients}

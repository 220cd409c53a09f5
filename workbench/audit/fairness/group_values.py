"""Every metric in every group as a table, with an interval that fits the metric: what the side questions show beside theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.audit.engine.replicates import percentiles, spread
from workbench.audit.estimation.closed_forms import share
from workbench.audit.estimation.clusters import clusters_of, shares
from workbench.audit.fairness.carriers import carriers
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.engine.measure import Measured
    from workbench.audit.metric import Metric, Setting
    from workbench.audit.sample import Design

COLUMNS = ("group", "by", "metric", "value", "low", "high", "n", "positives", "patients", "method", "note")


def group_table(
    design: Design, metrics: Sequence[Metric], setting: Setting, found: Measured, *, level: float
) -> pd.DataFrame:
    """Return a row for each metric and group: Wilson's interval for shares, percentiles of the replicates for the rest.

    A number that fewer than five patients carry is refused (NaN), and one whose replicates do not differ has no interval.
    """
    rows = []
    for metric in metrics:
        told = carriers(design, metric, setting)
        values, drawn = found.values[metric.name], found.drawn[metric.name]
        low, high = percentiles(drawn, level)
        method = "percentile bootstrap of patients"
        if metric.share is not None and setting.prevalence is None:
            low, high = _wilson(design, metric, setting, level)
            method = "Wilson, patients kept together"
        still = (spread(drawn) == 0) & (metric.share is None)
        for place, sample in enumerate(design.samples):
            shown = bool(told.enough[place]) and bool(np.isfinite(values[place]))
            none = not shown or bool(still[place])
            note = told.note(place) or (
                "not defined here" if not shown else "no replicate differs: no interval" if none else ""
            )
            rows.append(
                {
                    "group": sample.group, "by": sample.by, "metric": metric.name,
                    "value": float(values[place]) if shown else np.nan,
                    "low": np.nan if none else float(low[place]), "high": np.nan if none else float(high[place]),
                    "n": sample.n, "positives": len(sample.positives), "patients": sample.patients,
                    "method": "" if none else method, "note": note,
                }
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _wilson(design: Design, metric: Metric, setting: Setting, level: float) -> tuple[np.ndarray, np.ndarray]:
    assert metric.share is not None
    counted, right = metric.share(design.truth, design.scores, setting).T
    hits = np.where(counted > 0, right, np.nan)
    z, ends = normal_quantile(level), []
    for partition in design.partitions:
        found = shares(clusters_of(design, partition), hits, design.weights)
        ends += [share(found, 0, code).interval(z) for code in range(len(partition.names))]
    low, high = np.array(ends).T
    return low, high

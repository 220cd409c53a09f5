"""The gap between groups at every threshold, with bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.audit.curves.bands import NUMBERS, carried, joined, partition_of, replicates_of, spread
from workbench.audit.curves.replicates import as_it_is, drawn_pairs, falling_steps, tallies
from workbench.audit.definitions.counts import called
from workbench.audit.metric import BOTH, Setting, metric_of
from workbench.errors import InputError, unknown_name
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from workbench.audit.result import Audit


def gap_over_threshold(
    audit: Audit, by: str, metric: str = "sensitivity", *, reference: str = "rest", points: int = 200,
    replicates: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Return how a metric of each group differs from that of a reference at every threshold, with bands.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found.
    by : one of the audit's partitions.
    metric : one that depends on the threshold: ``sensitivity``, ``specificity``, ``PPV`` …
    reference : ``"rest"`` (everybody else in the partition) or a group of it.
    points : thresholds at most, evenly along the ROC curve of everybody; the audit's own is one more.
    replicates : bootstrap replicates, 100 or more; the audit's own unless given.

    Returns
    -------
    Columns ``metric, group, by, reference, threshold, value, low, high, band_low, band_high``, thresholds rising.
    `value` is NaN at thresholds where one of the two is not defined. A group, or a reference, with fewer patients
    of a class that the metric needs than the audit's `fewest` (5) has no rows.

    Notes
    -----
    ``low`` and ``high`` are `value` ± the normal quantile × the standard deviation of the replicates, ``band_low`` and
    ``band_high`` ± the quantile of the replicates' largest standardised distance (max-T) over all thresholds of the group.

    Raises
    ------
    InputError : where a name is unknown, or the metric does not depend on the threshold.
    """
    design, level = audit._design, audit.settings["level"]
    found = metric_of(metric)
    if found.columns is not called or found.of_sums is None:
        message = f"{metric} does not depend on the threshold alone; take one that does, such as sensitivity or PPV."
        raise InputError(message)
    of_sums, arms = found.of_sums, found.arms or BOTH
    partition = partition_of(audit, by, needed=True)
    if reference not in ("rest", *partition.names):
        raise unknown_name("reference", reference, ["rest", *partition.names])
    everybody = np.arange(len(design.scores))
    steps = np.union1d(falling_steps(design, everybody, points), audit.settings["threshold"])[::-1]
    setting = Setting(prevalence=audit.settings["prevalence"])

    def read(called_positives: np.ndarray, called_negatives: np.ndarray) -> np.ndarray:
        sides = [np.stack(np.broadcast_arrays(side[-1], side[2:-2]), axis=-1)
                 for side in (called_negatives, called_positives)]  # fmt: skip
        return of_sums(np.stack(sides, axis=-2), setting)

    names, own, others = [], [], []
    for code, name in enumerate(partition.names):
        against = (
            partition.codes != code if reference == "rest" else partition.codes == partition.names.index(reference)
        )
        if name != reference and carried(audit, partition.codes == code, arms) and carried(audit, against, arms):
            names.append(name)
            own.append(tallies(design, np.flatnonzero(partition.codes == code), steps))
            others.append(tallies(design, np.flatnonzero(against), steps))
    whole = tallies(design, everybody, steps)
    pairs = drawn_pairs(
        own, [None if reference == "rest" else other for other in others], whole, read,
        replicates=replicates_of(audit, replicates), seed=audit.settings["seed"],
    )  # fmt: skip
    parts = []
    for name, group, other, (first, second) in zip(names, own, others, pairs, strict=True):
        value = as_it_is(group, read) - as_it_is(other, read)
        bands = _gap_bands(value, first - second, level, found.bounds[1] - found.bounds[0])
        table = pd.DataFrame({"threshold": steps, **bands})[::-1]
        parts.append(table.assign(metric=metric, group=name, by=partition.by, reference=reference))
    return joined(parts, ["metric", "group", "by", "reference", "threshold", *NUMBERS])


def _gap_bands(value: np.ndarray, replicate: np.ndarray, level: float, most: float) -> dict[str, np.ndarray]:
    """Return bands of a difference ``(T,)``; it cannot be larger than `most`."""
    _, error, largest = spread(replicate, level)
    bands = {"value": value}
    for name, width in (("", normal_quantile(level)), ("band_", largest)):
        bands |= {
            f"{name}low": (value - width * error).clip(-most),
            f"{name}high": (value + width * error).clip(None, most),
        }
    return bands

"""All metrics of all groups, and of everybody else, with bootstrap replicates of each: what every table is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.engine import measure_curves, measure_rows, measure_sums
from workbench.audit.engine.blocks import threads
from workbench.audit.engine.overlaps import Overlaps, overlaps_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workbench.audit.metric import Metric, Setting
    from workbench.audit.sample import Design


@dataclass(frozen=True, eq=False)
class Measured:
    """Values by metric name, in the order of ``design.samples`` (G groups), and of the rest of each.

    Parameters
    ----------
    values, rest : float64 ``(G,)``; NaN where not defined (the rest of everybody is nobody).
    drawn, rest_drawn : float64 ``(G, R)``, the replicates; R may be 0. Column r of all groups and metrics comes from the
        same patients, so that differences, ratios and maxima of columns are replicates too.
    """

    values: dict[str, np.ndarray]
    rest: dict[str, np.ndarray]
    drawn: dict[str, np.ndarray]
    rest_drawn: dict[str, np.ndarray]


def measure(
    design: Design, metrics: Sequence[Metric], setting: Setting, *, replicates: int = 0, seed: int = 0
) -> Measured:
    """Compute every metric in every group, as it is and in replicates that draw patients.

    Each replicate gives every patient a Poisson(1) weight, times the row's own. The result depends neither on the order of
    rows nor on the number of threads, to the last digit.
    """
    return prepare(design, replicates=replicates, seed=seed).measure(metrics, setting)


def prepare(design: Design, *, replicates: int = 0, seed: int = 0) -> Prepared:
    """Return a design that sorts its rows once and can then be measured again and again, at other thresholds say."""
    return Prepared(design, replicates, seed)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A design with its rows in order.

    Parameters
    ----------
    design : whom to measure.
    replicates : number R of bootstrap replicates, from 0 on.
    seed : of the patients' weights.
    """

    design: Design
    replicates: int
    seed: int

    def measure(self, metrics: Sequence[Metric], setting: Setting) -> Measured:
        """Do what :func:`measure` does."""
        both = measure_sums.values(self, metrics, setting)
        for metric in metrics:
            if metric.of_curve is not None:
                both[metric.name] = measure_curves.values(self, metric, setting)
            elif metric.of_rows is not None:
                both[metric.name] = measure_rows.values(self, metric, setting)
        for found in both.values():
            found[self.empty] = np.nan
        names = [metric.name for metric in metrics]
        return Measured(
            values={name: both[name][0, :, 0] for name in names},
            rest={name: both[name][1, :, 0] for name in names},
            drawn={name: both[name][0, :, 1:] for name in names},
            rest_drawn={name: both[name][1, :, 1:] for name in names},
        )

    @property
    def two_armed(self) -> bool:
        """Whether rows are positives and negatives; else all are summed up as one arm, the first."""
        truth = self.design.truth
        return truth.dtype == np.bool_ and truth.ndim == 1

    @cached_property
    def patients(self) -> int:
        """Number of patients."""
        return int(self.design.patients.max()) + 1

    @property
    def threads(self) -> int:
        """Number of blocks of replicates computed at once."""
        return threads(self.patients)

    @cached_property
    def overlaps(self) -> Overlaps:
        """Which groups are unions of others."""
        return overlaps_of(self.design.partitions)

    @cached_property
    def unweighted(self) -> bool:
        """Whether every row counts one."""
        return bool((self.design.weights == 1).all())

    @cached_property
    def empty(self) -> np.ndarray:
        """Which groups, and which rests, have no rows: bool ``(2, G)``."""
        sizes = [np.bincount(part.codes, minlength=len(part.names)) for part in self.design.partitions]
        return np.stack([
            np.concatenate([size == 0 for size in sizes]),
            np.concatenate([size == len(self.design.patients) for size in sizes]),
        ])  # fmt: skip

    def sides(self, order: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield every group (side 0) and its rest (1) that has rows: side, the group's number, which of `order` they are."""
        for partition, start in zip(self.design.partitions, self.overlaps.starts, strict=False):
            codes = partition.codes[order]
            for code in range(len(partition.names)):
                for side, chosen in enumerate((codes == code, codes != code)):
                    if chosen.any():
                        yield side, int(start) + code, chosen

    @cached_property
    def by_score(self) -> np.ndarray:
        """Rows by rising score; of equal scores by patient and weight, where their order could tell in the last digit."""
        design = self.design
        if self.unweighted:
            return np.argsort(design.scores).astype(np.int32)
        return np.lexsort([design.weights, design.patients, design.scores]).astype(np.int32)

    @cached_property
    def by_patient(self) -> np.ndarray:
        """Rows by patient, each patient's in an order that depends on nothing but what the rows are."""
        from workbench.audit.engine import kernels

        design = self.design
        if self.two_armed and self.unweighted:
            order = self.by_score
        else:
            told = [design.weights, *_columns(design.truth), *_columns(design.scores)]
            order = np.lexsort(told).astype(np.int32)
        return kernels.by_patient(design.patients.astype(np.int32), order, self.patients)


def _columns(values: np.ndarray) -> list[np.ndarray]:
    return list(values.reshape(len(values), -1).T)

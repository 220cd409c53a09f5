"""What a reader is judged by, and what each case adds to it.

Every figure of merit here is a Mann–Whitney statistic. A sensitivity is the area of the calls (0 or 1) against a
constant of ½, a specificity that of ½ against the calls, a balanced accuracy that of the calls against the calls; so one
set of covariances serves all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.audit.mrmc.readings import Readings

METRICS = ("AUROC", "sensitivity", "specificity", "balanced accuracy")
# A class that a share does not look at is stood in for by this many constants: two, so that pairs of them exist.
CONSTANTS = 2
NOBODY = -1
# Comparisons of one row held at once: they fit the cache, and sums of so many products are exact in single precision.
BLOCK = 2**16


@dataclass(frozen=True, eq=False)
class Sides:
    """The scores of positives and negatives of P rows, one for each reader with each modality.

    Parameters
    ----------
    positive, negative : float64 ``(P, m)`` and ``(P, n)``; NaN where not read.
    positive_patients, negative_patients : patients as numbers; −1 for the constants.
    modality, reader : places of each row on the axes of the readings, int64 ``(P,)``.
    """

    positive: np.ndarray
    negative: np.ndarray
    positive_patients: np.ndarray
    negative_patients: np.ndarray
    modality: np.ndarray
    reader: np.ndarray

    def __len__(self) -> int:
        return len(self.positive)

    @property
    def counts(self) -> tuple[np.ndarray, np.ndarray]:
        """Positives and negatives read in each row."""
        return np.isfinite(self.positive).sum(1), np.isfinite(self.negative).sum(1)

    def at(self) -> np.ndarray:
        """Return the row of each modality and reader, int64 ``(I, J)``; −1 where there is none."""
        rows = np.full((self.modality.max() + 1, self.reader.max() + 1), -1)
        rows[self.modality, self.reader] = np.arange(len(self))
        return rows

    def of(self, rows: np.ndarray) -> Sides:
        """Return some rows."""
        return replace(
            self, positive=self.positive[rows], negative=self.negative[rows], modality=self.modality[rows], reader=self.reader[rows]
        )  # fmt: skip

    def wins(self) -> Iterator[np.ndarray]:
        """Yield twice the wins (2, 1 or 0) of pairs of positive and negative, and 0 for pairs not read, float32 ``(P, pairs)``."""
        step = max(1, BLOCK // self.negative.shape[1])
        below = self.negative[:, None, :]
        for start in range(0, self.positive.shape[1], step):
            above = self.positive[:, start : start + step, None]
            yield np.add(above > below, above >= below, dtype=np.float32).reshape(len(self), -1)


def sides_of(readings: Readings, metric: str, threshold: float | None) -> Sides:
    """Arrange readings for a figure of merit.

    Parameters
    ----------
    readings : all scores.
    metric : one of `METRICS`.
    threshold : scores at or above it are calls of disease; not needed for ``AUROC`` or where scores are 0 and 1.

    Raises
    ------
    InputError : where the metric is unknown, a threshold is missing, or a reader saw one class only.
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    modality, reader = np.nonzero(readings.read.any(2))
    scores = readings.scores[modality, reader]
    if metric != "AUROC":
        scores = _calls(scores, metric, threshold)
    elif threshold is not None:
        message = (
            "threshold turns scores into calls, which the AUROC does not need; leave it out, or name another metric."
        )
        raise InputError(message)
    truth, patients = readings.truth, readings.patients
    halves, nobody = np.full((len(scores), CONSTANTS), 0.5), np.full(CONSTANTS, NOBODY)
    positive, negative = (scores[:, truth], patients[truth]), (scores[:, ~truth], patients[~truth])
    needed = [positive, negative]
    if metric == "sensitivity":
        negative, needed = (halves, nobody), [positive]
    elif metric == "specificity":
        positive, needed = (halves, nobody), [negative]
    sides = Sides(positive[0], negative[0], positive[1], negative[1], modality, reader)
    for values, _ in needed:
        few = np.isfinite(values).sum(1) < 2
        if few.any():
            row = int(few.argmax())
            kind = readings.classes[1] if values is positive[0] else readings.classes[0]
            message = (
                f"reader {readings.readers[reader[row]]!r} read {int(np.isfinite(values[row]).sum())} cases of class "
                f"{kind!r} with {readings.modalities[modality[row]]!r}; the {metric} and its variance need two or more. "
                "Leave the reader out."
            )
            raise InputError(message)
    return sides


def placements(sides: Sides) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each row's figure of merit ``(P,)``, and each case's share of pairs won, ``(P, m)`` and ``(P, n)``.

    For a positive it is the share of negatives below it, for a negative that of positives above it (ties count half);
    0 where not read.
    """
    above, below = np.zeros(sides.positive.shape), np.zeros(sides.negative.shape)
    for row in range(len(sides)):
        positive, negative = np.isfinite(sides.positive[row]), np.isfinite(sides.negative[row])
        first, second = sides.positive[row, positive], sides.negative[row, negative]
        above[row, positive] = _share_below(first, second)
        below[row, negative] = 1 - _share_below(second, first)
    return above.sum(1) / sides.counts[0], above, below


def _share_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    ordered = np.sort(others)
    lower, upper = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    return np.asarray((lower + upper) / (2 * len(others)))


def _calls(scores: np.ndarray, metric: str, threshold: float | None) -> np.ndarray:
    if threshold is None:
        known = scores[np.isfinite(scores)]
        if not np.isin(known, (0, 1)).all():
            message = f"the {metric} needs threshold=: scores at or above it are calls of disease. Calls of 0 and 1 need none."
            raise InputError(message)
        threshold = 0.5
    return np.where(np.isfinite(scores), (scores >= threshold).astype(np.float64), np.nan)

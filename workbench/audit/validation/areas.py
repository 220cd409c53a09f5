"""Areas under ROC curves of the same images, with the covariance that DeLong and Obuchowski gave them.

Everything is O(n log n) and in float64: counts of pairs stay exact below 2⁵³.

References
----------
DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; Sun & Xu 2014, IEEE Signal Process Lett 21:1389 (ranks instead of
pairs); Obuchowski 1997, Biometrics 53:567, eq. 4–6 (patients with several images).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from workbench.intervals import NONE, Interval, area_score, logit

BY_PATIENT = ", images of a patient kept together"


@dataclass(frozen=True, eq=False)
class Areas:
    """K areas and how they err.

    Parameters
    ----------
    values : float64 ``(K,)``; NaN without a positive or without a negative.
    covariance : float64 ``(K, K)``; NaN with fewer than two patients of a class.
    effective : float64 ``(K, 2)``, positives and negatives if all images of a patient told the same: (Σm)² / Σm².
    clustered : whether some patient has more than one image.
    """

    values: np.ndarray
    covariance: np.ndarray
    effective: np.ndarray
    clustered: bool

    def interval(self, place: int, z: float, *, scale: str = "logit") -> tuple[Interval, str]:
        """Return the interval of one area and the name of its method.

        On the ``"logit"`` scale it cannot leave 0–1; the ``"plain"`` one is DeLong's own, cut at 0 and 1. Where no pair is
        out of order the variance is 0, and Newcombe's score interval stands in.
        """
        value, variance = float(self.values[place]), float(self.covariance[place, place])
        if math.isnan(value):
            return NONE, ""
        kept = BY_PATIENT if self.clustered else ""
        if not 0 < value < 1 or not variance > 0:
            positives, negatives = self.effective[place]
            return area_score(value, positives, negatives, z), "Newcombe" + kept
        name = ("Obuchowski" if self.clustered else "DeLong") + kept
        if scale == "logit":
            return logit(value, variance, z), f"logit {name}"
        half = z * math.sqrt(variance)
        return (max(value - half, 0.0), min(value + half, 1.0)), name


def areas(scores: np.ndarray, truth: np.ndarray, patients: np.ndarray | None = None) -> Areas:
    """Estimate K areas under ROC curves (ties count half) and their covariance matrix.

    Parameters
    ----------
    scores : float64 ``(n,)`` or ``(K, n)``, higher for positives; NaN where a model or reader has not seen the image.
    truth : whether the image is positive, bool ``(n,)``.
    patients : each image's patient as a number, int64 ``(n,)``; by default every image is a patient of its own.

    With one image a patient this is DeLong's covariance, else Obuchowski's. Two areas of different images covary through the
    patients they share.

    Examples
    --------
    >>> found = areas(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]))
    >>> found.values, found.covariance
    (array([0.75]), array([[0.125]]))
    """
    scores, truth = np.atleast_2d(np.asarray(scores, dtype=np.float64)), np.asarray(truth, dtype=bool)
    alone = len(scores) == 1 and patients is None and not np.isnan(scores).any()
    if alone:
        return _one(scores[0], truth)
    who = np.arange(len(truth)) if patients is None else _numbered(np.asarray(patients))
    arms = [_arm(row, truth, who) for row in scores]
    values = np.array([arm.value for arm in arms])
    covariance = np.array([[_covariance(first, second) for second in arms] for first in arms])
    effective = np.array([[_kish(arm.positives), _kish(arm.negatives)] for arm in arms])
    clustered = any(int(arm.positives.max(initial=0)) > 1 or int(arm.negatives.max(initial=0)) > 1 for arm in arms)
    shared = any(bool(((arm.positives > 0) & (arm.negatives > 0)).any()) for arm in arms)
    return Areas(values, covariance, effective, clustered or shared)


def placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count, ties half: for each positive the negatives below it, for each negative the positives above it.

    Examples
    --------
    >>> placements(np.array([0.5, 0.9]), np.array([0.5, 0.1]))
    (array([1.5, 2. ]), array([1.5, 2. ]))
    """
    first, second = np.argsort(positive), np.argsort(negative)
    found, passed = _merged(np.concatenate([positive[first], negative[second]]), len(positive))
    above, below = np.empty(len(positive)), np.empty(len(negative))
    above[first], below[second] = found, passed
    return above, below


def _merged(both: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Placements of m positives in order and, after them, the negatives in order."""
    positive, negative = both[:m], both[m:]
    below, reached = _passed(both, m)
    if len(negative) and (negative[np.minimum(below, len(negative) - 1)] == positive).any():
        beaten, up_to = _passed(np.concatenate([negative, positive]), len(negative))
        return (below + up_to) / 2, m - (reached + beaten) / 2
    return below.astype(np.float64), np.subtract(m, reached, dtype=np.float64)


def _passed(both: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Count, for each of the first m, the others strictly below; for each of the others, the first at or below.

    Both runs are in order, and a stable sort merges them in linear time, with the first before equal others.
    """
    is_other = np.argsort(both, kind="stable") >= m
    below, reached = np.flatnonzero(~is_other), np.flatnonzero(is_other)
    below -= np.arange(m)
    reached -= np.arange(len(both) - m)
    return below, reached


def _one(scores: np.ndarray, truth: np.ndarray) -> Areas:
    """One area of patients with one image each: no sum needs to know which image is whose, so the arms are sorted alone."""
    both = scores[np.concatenate([np.flatnonzero(truth), np.flatnonzero(~truth)])]
    m = int(truth.sum())
    n = len(both) - m
    effective = np.array([[m, n]], dtype=np.float64)
    if not m or not n:
        return Areas(np.array([math.nan]), np.array([[math.nan]]), effective, clustered=False)
    both[:m].sort()
    both[m:].sort()
    above, below = _merged(both, m)
    value = float(above.sum()) / (m * n)
    variance = math.nan
    if m > 1 and n > 1:
        above -= value * n
        below -= value * m
        variance = float(above @ above) / (m - 1) / m / n**2 + float(below @ below) / (n - 1) / n / m**2
    return Areas(np.array([value]), np.array([[variance]]), effective, clustered=False)


def _numbered(patients: np.ndarray) -> np.ndarray:
    """Number patients from 0; small whole numbers stay as they are, with gaps where somebody is missing."""
    if (
        np.issubdtype(patients.dtype, np.integer)
        and len(patients)
        and patients.min() >= 0
        and patients.max() < 4 * len(patients)
    ):
        return patients
    return np.unique(patients, return_inverse=True)[1]


@dataclass(frozen=True, eq=False)
class _Arm:
    """One area: images of each of G patients in both classes, and by how much each patient moves the area, ``(G,)``."""

    value: float
    positives: np.ndarray
    negatives: np.ndarray
    of_positives: np.ndarray
    of_negatives: np.ndarray


def _arm(scores: np.ndarray, truth: np.ndarray, who: np.ndarray) -> _Arm:
    patients = int(who.max()) + 1 if len(who) else 0
    seen = ~np.isnan(scores)
    rows = [np.flatnonzero(seen & side) for side in (truth, ~truth)]
    m, n = len(rows[0]), len(rows[1])
    positives, negatives = (np.bincount(who[chosen], minlength=patients) for chosen in rows)
    if not m or not n:
        unknown = np.full(patients, math.nan)
        return _Arm(math.nan, positives, negatives, unknown, unknown)
    above, below = placements(scores[rows[0]], scores[rows[1]])
    value = float(above.sum()) / (m * n)
    # Halves add up exactly; only then is the mean taken off, so that the order of rows leaves no trace.
    first = np.bincount(who[rows[0]], weights=above, minlength=patients) - positives * (value * n)
    second = np.bincount(who[rows[1]], weights=below, minlength=patients) - negatives * (value * m)
    return _Arm(value, positives, negatives, first / (m * n), second / (m * n))


def _covariance(first: _Arm, second: _Arm) -> float:
    """Obuchowski's covariance of two areas; of an area with itself, its variance."""
    total = 0.0
    for side in ("positives", "negatives"):
        present = (getattr(first, side) > 0) | (getattr(second, side) > 0)
        patients = int(present.sum())
        if patients < 2:
            return math.nan
        total += patients / (patients - 1) * float(getattr(first, f"of_{side}") @ getattr(second, f"of_{side}"))
    crossed = float(first.of_positives @ second.of_negatives) + float(first.of_negatives @ second.of_positives)
    if crossed:
        counts = first.positives + first.negatives + second.positives + second.negatives
        patients = int((counts > 0).sum())
        total += patients / (patients - 1) * crossed
    return total


def _kish(counts: np.ndarray) -> float:
    total, squares = float(counts.sum()), float((counts.astype(np.float64) ** 2).sum())
    return total**2 / squares if squares else 0.0

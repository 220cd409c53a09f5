"""Intervals by formula: Wilson's for shares, DeLong's, Obuchowski's and Newcombe's for areas under the ROC curve.

All keep the images of a patient together and take row weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtrit

from workbench.intervals import NONE, Interval, area_score, logit, wilson

if TYPE_CHECKING:
    from workbench.audit.estimation.clusters import Shares

BY_PATIENT = ", images of a patient kept together"


@dataclass(frozen=True)
class Closed:
    """A number whose interval is a formula.

    Parameters
    ----------
    value : the number; NaN where it cannot be estimated.
    method, reason : the formula's name, and why it fits.
    kind : ``"share"``, ``"logit"`` or ``"score"``.
    size : of a share, the effective number of rows; of an area by score, those of positives and negatives.
    variance : of an area on the logit scale.
    freedom : degrees of freedom of what `size` rests on; inf where it is a count.
    """

    value: float
    method: str
    reason: str
    kind: str = "share"
    size: tuple[float, float] = (math.nan, math.nan)
    variance: float = math.nan
    freedom: float = math.inf

    def interval(self, z: float) -> Interval:
        """Return the bounds `z` normal standard errors away, both inside 0–1."""
        if math.isnan(self.value):
            return NONE
        if self.kind == "logit":
            return logit(self.value, self.variance, z)
        if self.kind == "score":
            return area_score(self.value, *self.size, z)
        size, least = self.size
        if math.isfinite(self.freedom):
            # An effective size from few patients is itself uncertain (Korn & Graubard 1998).
            size = max(size * (z / float(-stdtrit(self.freedom, ndtr(-z)))) ** 2, least)
        return wilson(self.value, size, z)


def share(found: Shares, side: int, group: int) -> Closed:
    """Return a share with Wilson's interval.

    Where patients have several rows, or rows count differently, the interval takes the effective number of rows: of as
    many independent ones the share would vary as much as it does between patients.
    """
    value, images, patients = (float(array[side, group]) for array in (found.values, found.images, found.patients))
    alone, size = float(found.alone[side, group]), float(found.sizes[side, group])
    if not patients:
        return Closed(math.nan, "", "")
    if alone >= images * (1 - 1e-12):
        return Closed(value, "Wilson", "a share of images, one a patient", size=(images, images))
    freedom = patients - 1 if alone < size < images else math.inf
    reason = f"a share of {images:,.0f} images of {patients:,.0f} patients, which tell as much as {size:,.0f} independent ones"
    return Closed(value, "Wilson" + BY_PATIENT, reason, size=(size, alone), freedom=freedom)


@dataclass(frozen=True, eq=False)
class Pulls:
    """An area under the ROC curve, and by how much each patient moves it.

    Parameters
    ----------
    value : ties count half.
    positives, negatives : each patient's pull through its rows of either class, float64 ``(P,)``.
    held : weight of these rows, ``(2, P)``.
    rows : how many rows there are.
    even : whether all rows count the same.
    """

    value: float
    positives: np.ndarray
    negatives: np.ndarray
    held: np.ndarray
    rows: int
    even: bool

    @cached_property
    def patients(self) -> int:
        """Number of patients with a row."""
        return int(np.count_nonzero(self.held.sum(0)))

    @property
    def variance(self) -> float:
        """DeLong's variance or, where a patient has several rows, Obuchowski's; NaN below two patients of a class."""
        total = 0.0
        for pull, mass in zip((self.positives, self.negatives), self.held, strict=True):
            patients = int(np.count_nonzero(mass))
            if patients < 2:
                return math.nan
            total += patients / (patients - 1) * float(pull @ pull)
        return total + 2 * self.patients / (self.patients - 1) * float(self.positives @ self.negatives)

    def correlation(self, other: Pulls) -> float:
        """Correlate the errors of two areas through the patients in both."""
        both = min(len(self.positives), len(other.positives))
        first, second = ((one.positives + one.negatives) for one in (self, other))
        scale = math.sqrt(float(first @ first) * float(second @ second))
        return min(max(float(first[:both] @ second[:both]) / scale, -1.0), 1.0) if scale > 0 else 0.0


def pulls(scores: np.ndarray, truth: np.ndarray, *, patients: np.ndarray, weights: np.ndarray) -> Pulls | None:
    """Estimate an area under the ROC curve and what each patient brings to it; None without rows of both classes.

    Parameters
    ----------
    scores : rising, float64 ``(n,)``.
    truth, patients, weights : of the same rows, ``(n,)``.
    """
    mass = np.where(truth, weights, 0.0), np.where(truth, 0.0, weights)
    total = [float(one.sum()) for one in mass]
    if not all(total):
        return None
    # Weight of either class below each row, ties half.
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    tied = len(ends) < len(scores)
    below = []
    for one in mass:
        sums = np.cumsum(one)
        if tied:
            upper = sums[ends]
            middle = (upper + np.concatenate([[0.0], upper[:-1]])) / 2
            below.append(np.repeat(middle, np.diff(ends, prepend=-1)))
        else:
            below.append(sums - one / 2)
    found = mass[0] * below[1], mass[1] * (total[0] - below[0])
    value = float(found[0].sum()) / (total[0] * total[1])
    count = int(patients.max()) + 1
    held = np.stack([np.bincount(patients, weights=one, minlength=count) for one in mass])
    # Halves add up exactly; only then is the mean taken off, so that the order of rows leaves no trace.
    own = [
        (np.bincount(patients, weights=one, minlength=count) - kept * (value * opposite)) / (total[0] * total[1])
        for one, kept, opposite in zip(found, held, reversed(total), strict=True)
    ]
    return Pulls(value, own[0], own[1], held, len(scores), bool((weights == weights[0]).all()))


def area(found: Pulls) -> Closed:
    """Return an area under the ROC curve with its interval.

    It stands on the logit scale, from DeLong's variance or, where a patient has several rows or rows count differently,
    Obuchowski's. Where no pair is out of order that variance is 0 and Newcombe's score interval stands in.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; Obuchowski 1997, Biometrics 53:567, eq. 4–6.
    """
    value, variance, patients = found.value, found.variance, found.patients
    plain = patients == found.rows and found.even
    kept = "" if plain else BY_PATIENT
    if not 0 < value < 1 or not variance > 0:
        why = "no pair is out of order" if value in (0, 1) else "the variance cannot be seen"
        alone = [float(mass.sum() ** 2 / (mass**2).sum()) for mass in found.held]
        reason = f"{why}, so DeLong's variance does not serve"
        return Closed(value, "Newcombe" + kept, reason, "score", (alone[0], alone[1]))
    if plain:
        return Closed(value, "logit DeLong", "an area under the curve, one image a patient", "logit", variance=variance)
    reason = f"an area under the curve, {found.rows:,} images of {patients:,} patients"
    return Closed(value, "logit Obuchowski" + kept, reason, "logit", variance=variance)

"""Intervals by formula: Wilson's for shares, DeLong's, Obuchowski's and Newcombe's for areas under the ROC curve.

All keep the images of a patient together and take row weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, stdtrit

from workbench.intervals import NONE, Interval, area_score, logit, wilson

if TYPE_CHECKING:
    from workbench.audit.clusters import Shares

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
            size = max(size * (z / float(stdtrit(self.freedom, ndtr(z)))) ** 2, least)
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


def area(scores: np.ndarray, truth: np.ndarray, *, patients: np.ndarray, weights: np.ndarray) -> Closed:
    """Return the area under the ROC curve (ties count half) with its interval.

    Parameters
    ----------
    scores, truth, patients, weights : ``(n,)`` each, of the rows of one group.

    The interval stands on the logit scale, from DeLong's variance or, where a patient has several rows or rows count
    differently, Obuchowski's. Where no pair is out of order that variance is 0 and Newcombe's score interval stands in.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; Obuchowski 1997, Biometrics 53:567, eq. 4–6.
    """
    rows = np.flatnonzero(truth), np.flatnonzero(~truth)
    if not len(rows[0]) or not len(rows[1]):
        return Closed(math.nan, "", "")
    (high, low), (first, second) = ([values[chosen] for chosen in rows] for values in (scores, weights))
    above, below = _below(low, second, high), first.sum() - _below(high, first, low)
    total = float(first.sum()), float(second.sum())
    value = float(first @ above) / (total[0] * total[1])
    held, pulls = [], []
    sides = (rows[0], first, above, total[1]), (rows[1], second, below, total[0])
    for chosen, mass, place, opposite in sides:
        held.append(np.bincount(patients[chosen], weights=mass, minlength=int(patients.max()) + 1))
        # Halves add up exactly; only then is the mean taken off, so that the order of rows leaves no trace.
        met = np.bincount(patients[chosen], weights=mass * place, minlength=len(held[0]))
        pulls.append((met - held[-1] * (value * opposite)) / (total[0] * total[1]))
    alone = [float(mass.sum() ** 2 / (mass**2).sum()) for mass in held]
    count = int(np.count_nonzero(held[0] + held[1]))
    plain = count == len(scores) and bool((weights == weights[0]).all())
    variance = _variance(pulls, held)
    kept = "" if plain else BY_PATIENT
    if not 0 < value < 1 or not variance > 0:
        why = "no pair is out of order" if value in (0, 1) else "the variance cannot be seen"
        return Closed(
            value, "Newcombe" + kept, f"{why}, so DeLong's variance does not serve", "score", (alone[0], alone[1])
        )
    if plain:
        return Closed(value, "logit DeLong", "an area under the curve, one image a patient", "logit", variance=variance)
    reason = f"an area under the curve, {len(scores):,} images of {count:,} patients"
    return Closed(value, "logit Obuchowski" + kept, reason, "logit", variance=variance)


def _below(scores: np.ndarray, weights: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weight of the rows below each of `at`, ties half."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    mass = np.concatenate([[0.0], np.cumsum(weights[order])])
    return np.asarray((mass[np.searchsorted(ordered, at, "left")] + mass[np.searchsorted(ordered, at, "right")]) / 2)


def _variance(pulls: list[np.ndarray], held: list[np.ndarray]) -> float:
    """Obuchowski's variance from each patient's pull through its positives and its negatives; NaN below two patients."""
    total = 0.0
    for pull, mass in zip(pulls, held, strict=True):
        patients = int(np.count_nonzero(mass))
        if patients < 2:
            return math.nan
        total += patients / (patients - 1) * float(pull @ pull)
    both = float(pulls[0] @ pulls[1])
    patients = int(np.count_nonzero(held[0] + held[1]))
    return total + 2 * patients / (patients - 1) * both

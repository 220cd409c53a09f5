"""A number or a difference with its interval at every level: p-values and margins are read off the same curve.

A p-value is the level at which the interval touches the value in question, so that the two never contradict each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from workbench.intervals import NONE, Interval, difference, wilson

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.audit.validation.areas import Areas

# Normal quantile of p = 1e-15, where bisection for a p-value ends.
FARTHEST = 8.0


@dataclass(frozen=True)
class Contrast:
    """A number, usually a difference.

    Parameters
    ----------
    value : the number; NaN where it cannot be estimated.
    bounds : two-sided interval at a normal quantile, 1.96 for 95 %; widens with it and encloses `value`.
    method : how the interval is made.
    note : what speaks against the number, or nothing.
    error : standard error where the interval is the normal one.
    """

    value: float
    bounds: Callable[[float], Interval]
    method: str
    note: str = ""
    error: float = math.nan

    def p_above(self, reference: float) -> float:
        """Return the one-sided p-value of "not above `reference`"."""
        low, high = self.bounds(1.0)
        if math.isnan(self.value) or math.isnan(low) or math.isnan(high):
            return math.nan
        near, far, side = 0.0, FARTHEST, int(self.value <= reference)
        for _ in range(60):
            middle = (near + far) / 2
            bound = self.bounds(middle)[side]
            without = bound < reference if side else bound > reference
            near, far = (middle, far) if without else (near, middle)
        return NormalDist().cdf(near if side else -near)

    def less(self, reference: float) -> Contrast:
        """Return the number less a fixed one."""

        def bounds(z: float) -> Interval:
            low, high = self.bounds(z)
            return low - reference, high - reference

        return Contrast(self.value - reference, bounds, self.method, self.note, self.error)

    def p_two_sided(self, reference: float = 0.0) -> float:
        """Return the two-sided p-value of "equal to `reference`"."""
        above = self.p_above(reference)
        return min(2 * min(above, 1 - above), 1.0)


def area(found: Areas, place: int = 0) -> Contrast:
    """One AUROC on the logit scale, or Newcombe's where no pair is out of order."""
    return Contrast(float(found.values[place]), lambda z: found.interval(place, z)[0], found.interval(place, 1.96)[1])


def area_gap(found: Areas) -> Contrast:
    """First minus second of two AUROCs: DeLong's normal interval of the difference, with their covariance.

    Where one of the two is 0 or 1 its variance cannot be seen; square-and-add of the two intervals stands in, which takes
    them for independent and is therefore on the wide side for two models on the same images.
    """
    value = float(found.values[0] - found.values[1])
    if math.isnan(value):
        return Contrast(value, lambda _: NONE, "", "not estimable: one class only")
    variances = np.diag(found.covariance)
    if np.isnan(variances).any():
        return Contrast(value, lambda _: NONE, "", "fewer than two patients of a class: no interval can be estimated")
    _, name = found.interval(0, 1.96)
    if any(not 0 < one < 1 for one in found.values) or not (variances > 0).all():
        note = "an AUROC is 1 or 0, where DeLong's variance is 0: interval by square-and-add, on the wide side"
        return Contrast(value, lambda z: _added(found, z), "square-and-add", note)
    spread = variances.sum() - 2 * found.covariance[0, 1]
    # Rounding leaves this much of a variance that is zero.
    if spread <= 1e-12 * variances.sum():
        return Contrast(value, lambda _: NONE, "", "both models rank all images alike: no interval can be estimated")
    error = math.sqrt(spread)
    return Contrast(value, lambda z: (value - z * error, value + z * error), name.removeprefix("logit "), "", error)


def share(hits: np.ndarray, patients: np.ndarray) -> Contrast:
    """Share of images that are hits, with Wilson's interval; clustered images count as their effective number."""
    if not len(hits):
        return Contrast(math.nan, lambda _: NONE, "", "not estimable: no images")
    value, size = float(np.mean(hits)), effective_size(hits, patients)
    name = "Wilson" if size == len(hits) and not _clustered(patients) else "Wilson, images of a patient kept together"
    return Contrast(value, lambda z: wilson(value, size, z), name)


def share_gap(first: tuple[np.ndarray, np.ndarray], second: tuple[np.ndarray, np.ndarray]) -> Contrast:
    """Difference of the shares of two sets of images (hits, patients): Newcombe's square-and-add of Wilson's intervals.

    References
    ----------
    Newcombe 1998, Stat Med 17:873, method 10.
    """
    one, other = share(*first), share(*second)
    value = one.value - other.value
    if math.isnan(value):
        return Contrast(value, lambda _: NONE, "", one.note or other.note)
    name = f"Newcombe's square-and-add of {one.method}"
    return Contrast(value, lambda z: difference(one.value, one.bounds(z), other.value, other.bounds(z)), name)


def paired_gap(first: np.ndarray, second: np.ndarray, patients: np.ndarray) -> Contrast:
    """Difference of two shares of the same images: Tango's score interval.

    Where patients have several images, the counts of pairs are divided by the design effect: the cluster-robust variance of
    the difference over the binomial one (Rao & Scott 1992, Biometrics 48:577). It is not taken below 1.

    References
    ----------
    Tango 1998, Stat Med 17:891.
    """
    n = len(first)
    if not n:
        return Contrast(math.nan, lambda _: NONE, "", "not estimable: no images")
    lead = first.astype(np.float64) - second
    only_first, only_second = float((lead > 0).sum()), float((lead < 0).sum())
    effect, name = 1.0, "Tango's score"
    if _clustered(patients):
        effect, name = _design_effect(lead, patients), "Tango's score, images of a patient kept together"
    counts = only_first / effect, only_second / effect, n / effect
    return Contrast(float(lead.mean()), lambda z: tango(*counts, z), name)


def tango(only_first: float, only_second: float, pairs: float, z: float) -> Interval:
    """Score interval of a difference of paired proportions, ``(only_first − only_second) / pairs``.

    Parameters
    ----------
    only_first, only_second : pairs in which one is a hit and the other is not; effective, fractional ones where they cluster.
    pairs : all pairs.
    z : normal quantile.

    Examples
    --------
    >>> [round(bound, 3) for bound in tango(1, 7, 21, 1.96)]
    [-0.517, -0.026]
    """
    gap = (only_first - only_second) / pairs

    def statistic(delta: float) -> float:
        b = (2 * pairs - only_first + only_second) * delta - only_first - only_second
        c = -only_second * delta * (1 - delta)
        # Share of pairs with the second alone, at its most likely under a difference of delta.
        least = (math.sqrt(max(b * b - 8 * pairs * c, 0)) - b) / (4 * pairs)
        variance = pairs * (2 * least + delta * (1 - delta))
        return (only_first - only_second - pairs * delta) / math.sqrt(variance) if variance > 0 else 0.0

    return _end(statistic, z, gap, outside=-1.0), _end(lambda delta: -statistic(delta), z, gap, outside=1.0)


def _end(statistic: Callable[[float], float], z: float, inside: float, *, outside: float) -> float:
    """Bisect between `outside`, where the statistic is above z, and `inside`, where it is not."""
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if statistic(middle) > z else (outside, middle)
    return inside


def effective_size(hits: np.ndarray, patients: np.ndarray) -> float:
    """Independent images whose share would vary as much as this one does between patients.

    Never above the number of images, nor below what is left if all images of a patient told the same. At 0 or 1 the variance
    between patients cannot be seen, and they count as if they did.
    """
    _, codes, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    n, groups = len(hits), len(sizes)
    if groups == n:
        return float(n)
    alike, value = n**2 / float((sizes.astype(np.float64) ** 2).sum()), float(np.mean(hits))
    if not 0 < value < 1 or groups < 2:
        return alike
    off = np.bincount(codes, weights=hits) - value * sizes
    variance = groups / (groups - 1) * float(off @ off) / n**2
    return min(max(value * (1 - value) / variance, alike), n) if variance > 0 else float(n)


def _design_effect(lead: np.ndarray, patients: np.ndarray) -> float:
    _, codes, sizes = np.unique(patients, return_inverse=True, return_counts=True)
    n, groups = len(lead), len(sizes)
    alike = float((sizes.astype(np.float64) ** 2).sum()) / n
    binomial = float(lead @ lead) / n - float(lead.mean()) ** 2
    if not binomial > 0 or groups < 2:
        return alike
    off = np.bincount(codes, weights=lead) - float(lead.mean()) * sizes
    return min(max(groups / (groups - 1) * float(off @ off) / n / binomial, 1.0), alike)


def _clustered(patients: np.ndarray) -> bool:
    return len(np.unique(patients)) < len(patients)


def _added(found: Areas, z: float) -> Interval:
    first, second = (float(value) for value in found.values)
    return difference(first, found.interval(0, z)[0], second, found.interval(1, z)[0])

"""How uncertain an AUROC or a share of a class will be, and how many images make it certain enough."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 10**8


@dataclass(frozen=True)
class Sizes:
    """Images of a study: positives and negatives."""

    positives: int
    negatives: int

    @property
    def n(self) -> int:
        """All of them."""
        return self.positives + self.negatives


def hanley_mcneil(area: float, positives: float, negatives: float) -> float:
    """Variance of an AUROC before any data are seen, from its expected value.

    References
    ----------
    Hanley & McNeil 1982, Radiology 143:29, eq. 2, with Q₁ = θ/(2 − θ) and Q₂ = 2θ²/(1 + θ).

    Examples
    --------
    >>> round(hanley_mcneil(0.8, 100, 100) ** 0.5, 4)
    0.0314
    """
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    total = area * (1 - area) + (positives - 1) * (first - area**2) + (negatives - 1) * (second - area**2)
    return total / (positives * negatives)


def of_gap(first: float, second: float, correlation: float) -> float:
    """Variance of a difference from the two variances and the correlation of the errors."""
    return first + second - 2 * correlation * math.sqrt(first * second)


def smallest(good: Callable[[Sizes], bool], prevalence: float) -> Sizes | None:
    """Return the smallest sample with this share of positives that is good enough; None beyond 10⁸ images.

    What is good enough stays so with more images.
    """

    def sizes(n: int) -> Sizes:
        positives = min(max(round(n * prevalence), 1), n - 1)
        return Sizes(positives, n - positives)

    high = 4
    while not good(sizes(high)):
        high *= 2
        if high > MOST:
            return None
    low = high // 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if good(sizes(middle)) else (middle + 1, high)
    return sizes(low)


def reached(lead: float, error: float, alpha: float, *, two_sided: bool) -> float:
    """Power of a normal test whose statistic is ``lead / error``."""
    normal = NormalDist()
    quantile = normal.inv_cdf(1 - alpha / 2 if two_sided else 1 - alpha)
    power = normal.cdf(lead / error - quantile)
    return power + (normal.cdf(-lead / error - quantile) if two_sided else 0.0)

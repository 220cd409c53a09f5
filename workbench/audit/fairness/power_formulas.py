"""Power of comparing two groups, by the normal approximations that sample-size tables are made of."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NORMAL = NormalDist()
# Bisection ends when its bracket is this part of where it began: finer than any sample size needs.
STEPS = 60
# More than this many times the sample is as good as never.
FARTHEST = 1e6


def area_variance(area: float, positives: float, negatives: float) -> float:
    """Variance of an area under the ROC curve (Hanley & McNeil 1982, Radiology 143:29, eq. 1, exponential scores).

    Examples
    --------
    >>> round(area_variance(0.8, 115, 1035) ** 0.5 * 1.96, 3)
    0.05
    """
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (first - area**2) + (negatives - 1) * (second - area**2)
    return max(spread, 0.0) / (positives * negatives)


def area_power(
    group: float, rest: float, sizes: tuple[tuple[float, float], tuple[float, float]], alpha: float
) -> float:
    """Power of a two-sided z test between two independent areas (Hanley & McNeil 1982; Obuchowski & McClish 1997, Stat Med 16:1529).

    Parameters
    ----------
    group, rest : the true areas.
    sizes : effective positives and negatives, of the group and of the rest.
    alpha : of the test.
    """
    weights = [1 / (1 / positives + 1 / negatives) for positives, negatives in sizes]
    middle = (group * weights[0] + rest * weights[1]) / sum(weights)
    none = math.sqrt(sum(area_variance(middle, *each) for each in sizes))
    some = math.sqrt(sum(area_variance(area, *each) for area, each in zip((group, rest), sizes, strict=True)))
    reach = abs(group - rest) - NORMAL.inv_cdf(1 - alpha / 2) * none
    return NORMAL.cdf(reach / some) if some > 0 else float(reach > 0)


def share_power(group: float, rest: float, sizes: tuple[float, float], alpha: float) -> float:
    """Power of a two-sided test between two independent shares, by the arcsine (Cohen 1988, Statistical Power Analysis, ch. 6)."""
    effect = 2 * abs(math.asin(math.sqrt(group)) - math.asin(math.sqrt(rest)))
    return NORMAL.cdf(effect / math.sqrt(1 / sizes[0] + 1 / sizes[1]) - NORMAL.inv_cdf(1 - alpha / 2))


def smallest(enough: Callable[[float], bool], least: float, most: float) -> float:
    """Return the smallest number between two ends from which on `enough` holds; NaN where it does not even at the end."""
    if not enough(most):
        return math.nan
    for _ in range(STEPS):
        middle = (least + most) / 2
        least, most = (least, middle) if enough(middle) else (middle, most)
    return most

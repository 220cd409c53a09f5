"""Closed-form intervals: Wilson for shares, logit for areas, square-and-add for differences."""

from __future__ import annotations

import math
from statistics import NormalDist

Interval = tuple[float, float]
NONE: Interval = (math.nan, math.nan)


def normal_quantile(level: float) -> float:
    """Two-sided quantile of the normal distribution: 1.96 for ``level=0.95``."""
    return NormalDist().inv_cdf(0.5 + level / 2)


def wilson(share: float, size: float, z: float) -> Interval:
    """Score interval of a proportion; keeps its coverage for few cases and has width at 0 and 1.

    Parameters
    ----------
    share : observed proportion, 0–1.
    size : number of cases; an effective, fractional number where cases cluster.
    z : normal quantile.

    References
    ----------
    Wilson 1927, J Am Stat Assoc 22:209; for clustered data with an effective size, Dean & Pagano 2015,
    J Surv Stat Methodol 3:484.
    """
    centre = (share + z**2 / (2 * size)) / (1 + z**2 / size)
    half = z / (1 + z**2 / size) * math.sqrt(share * (1 - share) / size + z**2 / (4 * size**2))
    # At the ends the bound is exact; rounding must not leave it a hair inside or outside.
    return (0.0 if share == 0 else centre - half), (1.0 if share == 1 else centre + half)


def logit(value: float, variance: float, z: float) -> Interval:
    """Normal interval on the logit scale, 0 < `value` < 1; it cannot leave 0–1."""
    centre = math.log(value / (1 - value))
    half = z * math.sqrt(variance) / (value * (1 - value))
    return _expit(centre - half), _expit(centre + half)


def area_score(area: float, positives: float, negatives: float, z: float) -> Interval:
    """Score interval of an area under the ROC curve; has width where no pair is out of order.

    Solves ``|area − θ| = z·√V(θ)`` with Hanley and McNeil's variance at θ for equal-sized arms.

    References
    ----------
    Newcombe 2006, Stat Med 25:559, method 5.
    """

    def excess(theta: float) -> float:
        mean = (positives + negatives) / 2 - 1
        spread = 1 + mean * (1 - theta) / (2 - theta) + mean * theta / (1 + theta)
        return abs(area - theta) - z * math.sqrt(theta * (1 - theta) * spread / (positives * negatives))

    low = _root(excess, 0.0, area) if area > 0 else 0.0
    high = _root(excess, 1.0, area) if area < 1 else 1.0
    return low, high


def difference(
    first: float, first_interval: Interval, second: float, second_interval: Interval, *, correlation: float = 0.0
) -> Interval:
    """Interval of ``first − second`` from the interval of each, by square-and-add.

    Parameters
    ----------
    correlation : of their errors, −1 to 1; 0 where no patient is in both.

    References
    ----------
    Newcombe 1998, Stat Med 17:873, method 10; Zou & Donner 2008, Stat Med 27:1693; Zou 2007, Psychol Methods 12:399
    (correlated).
    """
    gap = first - second
    down, up = (
        (first - first_interval[0], second_interval[1] - second),
        (first_interval[1] - first, second - second_interval[0]),
    )
    low, high = (math.sqrt(max(own**2 - 2 * correlation * own * other + other**2, 0.0)) for own, other in (down, up))
    return gap - low, gap + high


def ratio(
    first: float, first_interval: Interval, second: float, second_interval: Interval, *, correlation: float = 0.0
) -> Interval:
    """Interval of ``first / second``, both 0 or more: the ratios R for which that of ``first − R·second`` holds 0.

    The upper bound is infinite where `second` may be 0. Square-and-add for R·second gives a quadratic in R.

    References
    ----------
    Donner & Zou 2012, Stat Methods Med Res 21:347 (MOVER-R).
    """
    if not second > 0:
        return NONE
    down, up = (
        (first - first_interval[0], second_interval[1] - second),
        (first_interval[1] - first, second - second_interval[0]),
    )
    middle = [first * second - correlation * own * other for own, other in (down, up)]
    ends = [(second**2 - other**2) * (first**2 - own**2) for own, other in (down, up)]
    root = [math.sqrt(max(centre**2 - end, 0.0)) for centre, end in zip(middle, ends, strict=True)]
    lower = middle[0] + root[0]
    below = second**2 - up[1] ** 2
    # Rounding must not make a bound of a second number that may be 0.
    free = below <= 1e-12 * second**2
    return (
        (first**2 - down[0] ** 2) / lower if lower > 0 else 0.0,
        math.inf if free else (middle[1] + root[1]) / below,
    )


def _expit(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _root(function, outside: float, inside: float) -> float:  # type: ignore[no-untyped-def]
    """Bisect between `outside`, where the function is positive, and `inside`, where it is not."""
    for _ in range(60):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if function(middle) > 0 else (outside, middle)
    return (outside + inside) / 2

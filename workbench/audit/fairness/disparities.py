"""How unequal k groups are, in one number, with an interval that knows that the groups to compare were chosen by looking."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from workbench.audit.engine.replicates import percentiles, together


@dataclass(frozen=True)
class Disparity:
    """One number for all groups. NaN where it cannot be told.

    Parameters
    ----------
    value, low, high : the number and its interval.
    p : of "all groups are equal"; NaN where the number tests nothing.
    groups : indices of the groups that make it: the lower and the higher, or the worst.
    noise : a largest gap: its mean if all groups were equal; a minimum or an equity-scaled number: its bootstrap bias.
    family : for a gap over several metrics, which of them it is found in.
    """

    value: float
    low: float
    high: float
    p: float
    groups: tuple[int, ...]
    noise: float
    family: int = 0


UNKNOWN = Disparity(math.nan, math.nan, math.nan, math.nan, (), math.nan)


def largest_gap(families: list[tuple[np.ndarray, np.ndarray]], level: float) -> Disparity:
    """Return the largest difference between any two groups, in any of several metrics.

    The pairs' intervals hold all at once; the largest gap then lies between the largest of their lower and the largest of
    their upper ends, whichever pair is found to be the farthest apart.

    Parameters
    ----------
    families : values ``(k,)`` and replicates ``(k, R)`` of each metric.
    level : of the interval.
    """
    first, second = np.triu_indices(len(families[0][0]), 1)
    gaps = np.concatenate([values[second] - values[first] for values, _ in families])
    drawn = np.concatenate([each[second] - each[first] for _, each in families])
    if not np.isfinite(gaps).any():
        return UNKNOWN
    band = together(gaps, drawn, level)
    place = int(np.nanargmax(np.abs(gaps)))
    pair = first[place % len(first)], second[place % len(first)]
    low, high = pair if gaps[place] >= 0 else pair[::-1]
    return Disparity(
        value=float(abs(gaps[place])), low=_largest(np.maximum(np.maximum(band.low, -band.high), 0)),
        high=_largest(np.maximum(np.abs(band.low), np.abs(band.high))), p=-_largest(-band.p), groups=(int(low), int(high)),
        noise=float(np.mean(np.nan_to_num(np.abs(drawn - gaps[:, None])).max(0))), family=place // len(first),
    )  # fmt: skip


def smallest_ratio(values: np.ndarray, drawn: np.ndarray, level: float) -> Disparity:
    """Return the smallest ratio between any two groups, by the largest gap of their logarithms.

    The ratio to a group whose value is 0 is 0 and has no interval.
    """
    if (values == 0).any():
        return Disparity(
            0.0, math.nan, math.nan, math.nan, (int(np.nanargmin(values)), int(np.nanargmax(values))), math.nan
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        logs, replicates = np.log(values), np.log(drawn)
    gap = largest_gap([(logs, np.where(np.isfinite(replicates), replicates, np.nan))], level)
    value, high, low = (math.exp(-number) for number in (gap.value, gap.low, gap.high))
    return Disparity(value, low, high, gap.p, gap.groups, gap.noise)


def worst(values: np.ndarray, drawn: np.ndarray, level: float, *, lowest: bool = True) -> Disparity:
    """Return the lowest (or highest) of the groups' values.

    The groups' intervals hold all at once, and the lowest value lies between the lowest of their lower and the lowest of
    their upper ends. The observed minimum of k uncertain numbers is too low on average; `noise` is the bootstrap's
    estimate of by how much.
    """
    if not np.isfinite(values).any():
        return UNKNOWN
    sign = 1 if lowest else -1
    band = together(sign * values, sign * drawn, level)
    place = int(np.nanargmin(sign * values))
    known = np.isfinite(drawn).any(0)
    minima = np.nanmin(sign * drawn[:, known], axis=0)
    low, high = -_largest(-band.low), -_largest(-band.high)
    ends = (low, high) if lowest else (-high, -low)
    noise = sign * (float(minima.mean()) - float(sign * values[place]))
    return Disparity(float(values[place]), *ends, math.nan, (place,), noise)


def equity_scaled(
    everybody: tuple[float, np.ndarray], groups: tuple[np.ndarray, np.ndarray], level: float, *, by_spread: bool = False
) -> Disparity:
    """Return an equity-scaled metric: everybody's over ``1 + Σ|everybody − group|``, or the groups' mean over ``1 + SD``.

    Chance differences between groups lower it, and lower its replicates once more; the interval is the reflected (basic)
    bootstrap's, which takes that out again.

    References
    ----------
    Luo et al. 2024, IEEE Trans Med Imaging, doi:10.1109/TMI.2024.3377552 (the sum).
    """
    value = float(_equity(np.array([everybody[0]]), groups[0][:, None], by_spread=by_spread)[0])
    drawn = _equity(everybody[1], groups[1], by_spread=by_spread)
    if not math.isfinite(value):
        return UNKNOWN
    low, high = percentiles(drawn, level)
    ends = np.clip([2 * value - float(high), 2 * value - float(low)], 0, 1)
    # Reflection alone may leave the value itself out, where nearly all of it is bias.
    return Disparity(
        value, min(float(ends[0]), value), max(float(ends[1]), value), math.nan, (), float(np.nanmean(drawn)) - value
    )


def _equity(overall: np.ndarray, groups: np.ndarray, *, by_spread: bool) -> np.ndarray:
    """Scale over groups ``(k, R)`` to ``(R,)``; a replicate in which a group is unknown is unknown."""
    if by_spread:
        return np.asarray(groups.mean(0) / (1 + groups.std(0)))
    return np.asarray(overall / (1 + np.abs(overall - groups).sum(0)))


def _largest(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else math.nan

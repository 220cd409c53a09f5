"""Which interval a number gets, and why: a formula where one fits, else the bootstrap over patients."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from workbench.intervals import NONE, Interval

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.audit.estimation.closed_forms import Closed

# Normal quantile of p = 1e-15, where the search for a p-value ends, and how closely it searches.
FARTHEST, PRECISION = 8.0, 1e-7
INTERVALS = ("auto", "percentile", "BCa")
# Below this many patients skewness and bias of replicates still show, and BCa is worth its jackknife.
SMALL = 400


@dataclass(frozen=True, eq=False)
class Quantity:
    """A number, and what its interval can be made of.

    Parameters
    ----------
    value : NaN where it is refused or not defined.
    scale : least and greatest value possible.
    closed : its formula, if there is one.
    drawn : its replicates ``(R,)``; R may be 0.
    left_out : returns the number without each block of patients, ``(B,)``.
    patients : that carry it.
    biased : whether noise alone pushes it to one side, and replicates, which are noisier, further still.
    """

    value: float
    scale: tuple[float, float]
    closed: Closed | None
    drawn: np.ndarray
    left_out: Callable[[], np.ndarray]
    patients: int
    biased: bool = False


@dataclass(frozen=True, eq=False)
class Bounds:
    """An interval at any confidence, how it was made, and why so.

    Parameters
    ----------
    at : from a normal quantile to the bounds; (NaN, NaN) where there are none.
    method, reason : in words.
    band : as `at`, for the quantiles of simultaneous bands, which few replicates reach; by default the same.
    """

    at: Callable[[float], Interval]
    method: str
    reason: str
    band: Callable[[float], Interval] | None = None

    def wide(self, z: float) -> Interval:
        """Return the bounds of a simultaneous band, never narrower than those of `at`."""
        return (self.band or self.at)(z)


UNKNOWN = Bounds(lambda z: NONE, "", "")


def choose(quantity: Quantity, asked: str = "auto", why: str = "") -> Bounds:
    """Return the interval of a number; `why` is said where it is not "auto" that chooses.

    ``"auto"`` takes a formula where there is one. Without, it takes the bootstrap over patients: BCa below `SMALL`
    patients, percentiles above; for a calibration error, which noise makes larger, the reflected percentiles. A number at the
    end of its scale whose replicates all agree has no interval: that the sample shows no error does not say that there is none.
    """
    if math.isnan(quantity.value):
        return UNKNOWN
    closed = quantity.closed
    if asked == "auto" and closed is not None:
        return Bounds(closed.interval, closed.method, closed.reason)
    known = np.sort(quantity.drawn[np.isfinite(quantity.drawn)])
    if len(known) < 2 or known[0] == known[-1]:
        return _all_agree(closed)
    why = why or ("asked for" if asked != "auto" else "no formula for it")
    if asked == "auto" and quantity.biased:
        return reflected(quantity.value, known, quantity.scale)
    few = asked == "auto" and quantity.patients < SMALL
    if asked == "BCa" or few:
        more = (
            f", and {quantity.patients:,} patient{'s are' if quantity.patients > 1 else ' is'} few, so that bias and skewness count"
            if few
            else ""
        )
        return corrected(quantity, known, why + more)
    return percentile(quantity.value, known, quantity.scale, why)


def _all_agree(closed: Closed | None) -> Bounds:
    if closed is None:
        return Bounds(lambda z: NONE, "", "all replicates agree, so that no interval can be estimated")
    return Bounds(closed.interval, closed.method, f"all replicates agree; {closed.reason}")


def percentile(value: float, known: np.ndarray, scale: tuple[float, float], why: str) -> Bounds:
    """Percentiles of sorted replicates; bands by their spread on a scale where they are about normal."""

    def at(z: float) -> Interval:
        tail = float(ndtr(-z))
        return around(value, quantile(known, tail), quantile(known, 1 - tail))

    return Bounds(
        at, "percentile bootstrap of patients", f"{why}: {len(known):,} replicates", _band(value, known, scale, at)
    )


def reflected(value: float, known: np.ndarray, scale: tuple[float, float]) -> Bounds:
    """Percentiles mirrored at the number (the basic bootstrap), which takes off the bias that replicates add to it.

    References
    ----------
    Davison & Hinkley 1997, Bootstrap Methods and their Application, section 5.2.
    """

    def at(z: float) -> Interval:
        tail = float(ndtr(-z))
        low, high = (min(max(2 * value - quantile(known, share), scale[0]), scale[1]) for share in (1 - tail, tail))
        return around(value, low, high)

    reason = f"noise makes it larger, and reflection takes that off: {len(known):,} replicates"
    return Bounds(at, "basic bootstrap of patients", reason, _band(value, known, scale, at))


def corrected(quantity: Quantity, known: np.ndarray, why: str) -> Bounds:
    """Bias-corrected and accelerated percentiles (Efron 1987, J Am Stat Assoc 82:171)."""
    share = (np.searchsorted(known, quantity.value, "left") + np.searchsorted(known, quantity.value, "right")) / 2
    bias = float(ndtri(np.clip(share / len(known), 0.5 / len(known), 1 - 0.5 / len(known))))
    bend = acceleration(quantity.left_out())

    def at(z: float) -> Interval:
        low, high = (float(ndtr(bias + (bias + side) / max(1 - bend * (bias + side), 1e-3))) for side in (-z, z))
        return around(quantity.value, quantile(known, low), quantile(known, high))

    reason = f"{why}: {len(known):,} replicates, bias {bias:+.2f}, acceleration {bend:+.3f}"
    return Bounds(at, "BCa bootstrap of patients", reason, _band(quantity.value, known, quantity.scale, at))


def around(value: float, low: float, high: float) -> Interval:
    """Widen an interval to the number that it is of: replicates of a biased one can all lie on one side of it."""
    return min(low, value), max(high, value)


def acceleration(left_out: np.ndarray) -> float:
    """Skewness of the patients' pulls over six, from the number without each block of patients."""
    known = left_out[np.isfinite(left_out)]
    pull = known.mean() - known if len(known) else known
    square = float((pull**2).sum())
    return float((pull**3).sum()) / (6 * square**1.5) if square > 0 else 0.0


def quantile(known: np.ndarray, share: float) -> float:
    """Quantile of sorted numbers, as NumPy's default."""
    place = min(max(share, 0.0), 1.0) * (len(known) - 1)
    floor = min(int(place), len(known) - 2)
    return float(known[floor] + (place - floor) * (known[floor + 1] - known[floor]))


def p_value(bounds: Bounds, null: float, replicates: int) -> float:
    """Two-sided p: the level at which the interval touches `null`, so that the two never contradict each other.

    A bootstrap interval of R replicates has no p below 2 / (R + 1).
    """
    if math.isnan(bounds.at(1.0)[0]):
        return math.nan
    near = _touch(lambda z: _beyond(bounds.at(z), null))
    p = 2 * float(ndtr(-near))
    return max(p, 2 / (replicates + 1)) if "bootstrap" in bounds.method else p


def _beyond(ends: Interval, null: float) -> float:
    """By how much an interval leaves out `null`; negative where it holds it."""
    beyond = max(ends[0] - null, null - ends[1])
    return beyond if math.isfinite(beyond) else -1.0


def _touch(beyond: Callable[[float], float]) -> float:
    """Find where a falling function of z crosses 0, from `PRECISION` to `FARTHEST`: false position, its stale end halved (Illinois)."""
    ends = [PRECISION, FARTHEST]
    heights = [beyond(end) for end in ends]
    if heights[0] <= 0 or heights[1] > 0:
        return 0.0 if heights[0] <= 0 else FARTHEST
    stale = -1
    for _ in range(60):
        middle = (ends[0] * heights[1] - ends[1] * heights[0]) / (heights[1] - heights[0])
        height = beyond(middle)
        side = 0 if height > 0 else 1
        ends[side], heights[side] = middle, height
        if ends[1] - ends[0] < PRECISION or height == 0:
            break
        if stale == side:
            heights[1 - side] /= 2
        stale = side
    return ends[side]


def _band(
    value: float, known: np.ndarray, scale: tuple[float, float], at: Callable[[float], Interval]
) -> Callable[[float], Interval]:
    """Bounds by the replicates' spread, on the logit scale inside two bounds, the logarithm above one, else as they are."""
    lowest, highest = scale
    forth, back = _scale(lowest, highest)
    edge = 1e-9 * (highest - lowest if math.isfinite(highest - lowest) else 1.0)
    moved = forth(np.clip(known, lowest + edge, highest - edge))
    error, centre = float(moved.std(ddof=1)), float(forth(np.clip(value, lowest + edge, highest - edge)))

    def band(z: float) -> Interval:
        (low, high), (least, most) = (float(back(centre + side * z * error)) for side in (-1, 1)), at(min(z, 3.0))
        return min(low, least), max(high, most)

    return band


def _scale(lowest: float, highest: float) -> tuple[Callable[..., np.ndarray], Callable[..., np.ndarray]]:
    if math.isfinite(lowest) and math.isfinite(highest):
        wide = highest - lowest
        return lambda x: logit((x - lowest) / wide), lambda y: lowest + wide * expit(y)
    if math.isfinite(lowest):
        return lambda x: np.log(x - lowest), lambda y: lowest + np.exp(y)
    return np.asarray, np.asarray

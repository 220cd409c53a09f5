"""How a gap closed: because those served worse were raised, or because those served better were levelled down."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.audit.engine.replicates import p_zero, percentiles, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.metric import Metric

NUMBERS = ("first_gap", "second_gap", "value", "low", "high", "p", "better_change", "better_low", "better_high",
           "worse_change", "worse_low", "worse_high", "levelled")  # fmt: skip


def levelling(
    names: Sequence[str], metric: Metric, values: np.ndarray, drawn: np.ndarray, level: float
) -> dict[str, Any]:
    """Follow the groups that the first model served best and worst, and say how their gap changed.

    How badly a group is served is how far its value is from that of a model without fault. The gap between the two groups
    shrinks by what the worse one gains less what the better one gains; `levelled` is the part of the shrinking that is
    the better one's loss, 0–1: 0 where only the worse one was raised, 1 where it was not raised at all.

    Parameters
    ----------
    names : of the groups, k.
    metric : what is measured.
    values, drawn : ``(2, k)`` and ``(2, k, R)``, under the first and the second model.
    level : of the intervals.

    Returns
    -------
    dict
        ``better, worse`` (groups), ``first_gap, second_gap`` (below 0: reversed), ``value, low, high, p`` (change of the gap),
        ``better_change, worse_change`` with intervals (above 0: served better), ``levelled``, ``verdict``. The pair is
        chosen as the farthest apart under the first model, where its gap is therefore somewhat overstated.
    """
    distance, replicated = abs(values - metric.best), abs(drawn - metric.best)
    known = np.flatnonzero(np.isfinite(distance).all(0))
    if len(known) < 2:
        return {"better": "", "worse": ""} | dict.fromkeys(NUMBERS, math.nan) | {"verdict": ""}
    better, worse = known[distance[0, known].argmin()], known[distance[0, known].argmax()]
    gaps = distance[:, worse] - distance[:, better]
    gains = distance[0] - distance[1]
    closing = float(gaps[0] - abs(gaps[1]))
    levelled = min(max(0.0, -float(gains[better])) / closing, 1.0) if closing > 0 else math.nan
    if closing > 0 and gains[worse] <= 0:
        levelled = 1.0
    spreads = replicated[:, worse] - replicated[:, better]
    row: dict[str, Any] = {
        "better": names[better], "worse": names[worse], "first_gap": float(gaps[0]), "second_gap": float(gaps[1]),
        "value": float(gaps[1] - gaps[0]),
    }  # fmt: skip
    low, high = percentiles(spreads[1] - spreads[0], level)
    row |= {"low": float(low), "high": float(high), "p": float(p_zero(spreads[1] - spreads[0]))}
    for role, group in (("better", better), ("worse", worse)):
        gain = replicated[0, group] - replicated[1, group]
        # A group of which no image is called differently has no interval, not one without width.
        ends = percentiles(gain, level) if spread(gain) > 0 else (math.nan, math.nan)
        row |= {f"{role}_change": float(gains[group]), f"{role}_low": float(ends[0]), f"{role}_high": float(ends[1])}
    return row | {"levelled": levelled, "verdict": _verdict(row, levelled, level)}


def _verdict(row: dict[str, Any], levelled: float, level: float) -> str:
    changes = [
        f"{row[role]} {'' if role == 'worse' else 'changed '}by {row[f'{role}_change']:+.3f}"
        + ("" if math.isnan(row[f"{role}_low"]) else f" ({row[f'{role}_low']:+.3f} to {row[f'{role}_high']:+.3f})")
        for role in ("better", "worse")
    ]
    sides = (
        f"the gap between {row['better']} and {row['worse']} went from {row['first_gap']:.3f} to {row['second_gap']:.3f}; "
        f"{', '.join(changes)}"
    )
    if not row["p"] <= 1 - level:
        return f"no change of the gap shown: {sides}"
    if math.isnan(levelled):
        return f"the gap {'reversed' if row['second_gap'] < 0 else 'widened'}: {sides}"
    if levelled >= 0.5:
        return f"levelling down ({levelled:.0%} of the closing is the loss of {row['better']}): {sides}"
    if levelled > 0:
        return f"raised, and in part ({levelled:.0%}) levelled down: {sides}"
    return f"raised: {sides}"

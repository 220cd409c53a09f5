"""Scales of a forest plot: ends and ticks, such that they stand still while the threshold moves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from workbench.audit.definitions import METRICS

if TYPE_CHECKING:
    import pandas as pd

Scale = dict[str, list[float]]
"""``axis``: both ends; ``ticks``: rising, from end to end."""
# How far a scale of gaps reaches at least.
LEAST = 0.1


def of_values(rows: pd.DataFrame, metric: str) -> Scale:
    """Return the scale of one metric's rows: 0–1 for shares, so that it stands still; an AUROC begins at 0.5 where it can."""
    least, most = METRICS[metric].bounds
    low, high = _ends(rows)
    if (least, most) == (0, 1) and METRICS[metric].best == 1:
        if METRICS[metric].moves or low < 0.5:
            return {"axis": [0, 1], "ticks": [0, 0.25, 0.5, 0.75, 1]}
        return {"axis": [0.5, 1], "ticks": [0.5, 0.6, 0.7, 0.8, 0.9, 1]}
    if least == 0 and low < 0.5 * high:
        low = 0.0
    if METRICS[metric].moves:
        low, high = max(least, -1), most
    return _round(low, high)


def of_gaps(rows: pd.DataFrame, before: Scale | None = None) -> Scale:
    """Return a scale around zero that holds the intervals of one metric's gaps, and is never narrower than it was `before`."""
    reach = max(LEAST, -rows["low"].min(), rows["high"].max()) if (rows := _carried(rows)).size else LEAST
    if before is not None and reach <= before["axis"][1]:
        return before
    return _round(-reach, reach)


def _carried(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that their sample can carry, where there are any, with finite intervals."""
    known = rows[rows["low"].map(math.isfinite) & rows["high"].map(math.isfinite)]
    sound = known[known["note"] == ""]
    return sound if len(sound) else known


def _ends(rows: pd.DataFrame) -> tuple[float, float]:
    known: Any = _carried(rows)
    return (float(known["low"].min()), float(known["high"].max())) if len(known) else (0.0, 1.0)


def _round(low: float, high: float) -> Scale:
    """Return four to eight round ticks of which the outer two hold both ends."""
    span = max(high - low, 1e-9)
    size = 10.0 ** math.floor(math.log10(span / 4))
    step = next(size * by for by in (1, 2, 2.5, 5, 10) if span / (size * by) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(step * place, 10) for place in range(first, last + 1)]
    return {"axis": [ticks[0], ticks[-1]], "ticks": ticks}

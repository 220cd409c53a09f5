"""The audit's tables: a row for each metric and group, and a row for each gap between a group and what it is held against."""

from __future__ import annotations

import collections
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.estimation.choose import Bounds, choose
from workbench.audit.estimation.evidence import NOT_ESTIMABLE
from workbench.audit.estimation.gaps import gap
from workbench.audit.estimation.roster import GROUP
from workbench.comparisons import benjamini_hochberg, holm, joint_quantile
from workbench.intervals import NONE, normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.estimation.estimates import Estimates
    from workbench.audit.estimation.roster import Place

COLUMNS = (
    "metric", "group", "by", "value", "low", "high", "band_low", "band_high", "n", "positives", "patients", "method",
    "reason", "note",
)  # fmt: skip
GAP_COLUMNS = (
    "metric", "group", "by", "reference", "kind", "value", "low", "high", "band_low", "band_high", "p", "p_holm", "p_bh",
    "p_permutation", "n", "positives", "patients", "method", "reason", "note",
)  # fmt: skip

# Gaps that share these stand in one partition.
KEYS = ("metric", "reference", "by", "class")


def metric_table(estimates: Estimates, *, width: float | None = None) -> tuple[pd.DataFrame, float]:
    """Return the rows of all metrics in all groups, and how many standard errors wide their common band is.

    Parameters
    ----------
    width : of the band, where it is known already.
    """
    asked, rows, chosen, errors = estimates.reading.interval, [], [], []
    for metric in estimates.reading.metrics:
        for number, place in enumerate(estimates.places):
            quantity = estimates.quantity(metric, GROUP, number)
            chosen.append(choose(quantity, asked))
            errors.append(quantity.drawn)
            rows.append(
                {"metric": metric.name, **_place(place), "value": quantity.value}
                | {"note": estimates.note(metric, GROUP, number)}
            )
    width = _width(estimates, chosen, errors) if width is None else width
    level = estimates.reading.level
    told = [_told(row, bounds, level, width) for row, bounds in zip(rows, chosen, strict=True)]
    return pd.DataFrame(told, columns=COLUMNS), width


def gap_tables(
    estimates: Estimates, held_against: Sequence[str | int | None], *, width: float | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, float]:
    """Return the differences, the ratios, and how many standard errors wide the differences' common band is.

    Parameters
    ----------
    held_against : of each place, see :func:`workbench.audit.estimation.gaps.against`.
    width : of the band, where it is known already.

    p-values are adjusted over all differences. Of two groups that are each other's rest, one counts.
    """
    found = [
        gap(estimates, metric, number, other)
        for metric in estimates.reading.metrics
        for number, other in enumerate(held_against)
        if other is not None
    ]
    kept = [one for one in found if not one.mirrored]
    width = _width(estimates, [one.difference for one in kept], [one.drawn for one in kept]) if width is None else width
    differences, ratios = [], []
    for one in found:
        row = {"metric": one.metric, **_place(one.place), "reference": one.reference, "p": one.p}
        row |= {"p_permutation": math.nan, "note": one.note}
        level = estimates.reading.level
        differences.append(_told(row | {"kind": "difference", "value": one.value}, one.difference, level, width))
        ratios.append(_told(row | {"kind": "ratio", "value": one.quotient}, one.ratio, level, width))
    first, second = (pd.DataFrame(rows, columns=GAP_COLUMNS) for rows in (differences, ratios))
    first = adjusted(first)
    for name in ("p_holm", "p_bh"):
        second[name] = first[name]
    return first, second, width


def adjusted(differences: pd.DataFrame) -> pd.DataFrame:
    """Adjust the p-values for all gaps of a table; of two groups that are each other's rest, one counts."""
    keys = list(zip(*(differences[name] for name in KEYS if name in differences), strict=True))
    pairs = collections.Counter(keys)
    mirrored = np.array(
        [
            pairs[key] == 2 and key[1] == "rest" and number > 0 and key == keys[number - 1]
            for number, key in enumerate(keys)
        ],
        dtype=bool,
    )
    p = differences["p"].to_numpy(dtype=np.float64)
    made = {}
    for name, adjust in (("p_holm", holm), ("p_bh", benjamini_hochberg)):
        values = adjust(np.where(mirrored, np.nan, p))
        # The mirror of a gap stands right behind it.
        made[name] = np.where(mirrored, np.roll(values, 1), values)
    return differences.assign(**made)


def _width(estimates: Estimates, chosen: list[Bounds], drawn: list[np.ndarray]) -> float:
    """Return how many standard errors wide bands must be for all numbers shown to hold at once."""
    level, own = estimates.reading.joint_level, normal_quantile(estimates.reading.level)
    family = [errors for bounds, errors in zip(chosen, drawn, strict=True) if not math.isnan(bounds.at(own)[0])]
    if not family or not len(family[0]):
        return math.nan
    return joint_quantile(np.stack(family, axis=1), level=level)


def _told(row: dict[str, Any], bounds: Bounds, level: float, width: float) -> dict[str, Any]:
    """Put interval and band beside a number; where there is no interval, or no number, the note says why."""
    low, high = bounds.at(normal_quantile(level))
    band = NONE if math.isnan(width) or math.isnan(low) else bounds.wide(width)
    note = row["note"]
    if math.isnan(row["value"]):
        ratio = "no ratio: the metric can be negative, or the reference is 0"
        note = note or (
            ratio if row.get("kind") == "ratio" else f"{NOT_ESTIMABLE}: not defined for these scores (0 / 0)"
        )
    elif math.isnan(low):
        note = "; ".join(text for text in (note, f"no interval: {bounds.reason or 'none can be told'}") if text)
    # Few replicates and a high level can carry an interval beyond its band.
    return row | {
        "low": low, "high": high, "band_low": min(band[0], low), "band_high": max(band[1], high), "method": bounds.method,
        "reason": bounds.reason, "note": note,
    }  # fmt: skip


def _place(place: Place) -> dict[str, Any]:
    return {
        "group": place.group, "by": place.by, "n": place.n, "positives": place.positives, "patients": place.patients,
    }  # fmt: skip

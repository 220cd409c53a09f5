"""What a decision curve says, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.groups import ALL

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import pandas as pd

# Beyond these a threshold on the score no longer is a threshold probability: risks are off by a quarter, or too extreme.
SLOPES, RATIOS = (0.8, 1.25), (0.8, 1.25)
ROUNDING = 1e-12


def uncalibrated(calibration: pd.DataFrame) -> list[str]:
    """Say which model's scores are no probabilities."""
    said = []
    for row in calibration.to_dict("records"):
        wrong = []
        if row["slope"] < SLOPES[0] or row["slope"] > SLOPES[1]:
            kind = "extreme" if row["slope"] < 1 else "timid"
            wrong.append(f"calibration slope {row['slope']:.2f}, scores too {kind}")
        ratio = row["observed_over_expected"]
        if not RATIOS[0] <= ratio <= RATIOS[1]:
            wrong.append(f"{ratio:.2f} times as many positives as the scores promise")
        if wrong:
            said.append(
                f"The scores of {row['model']} are not calibrated ({'; '.join(wrong)}): a threshold on them is not a threshold "
                "probability, and the net benefit is that of a worse decision. Recalibrate on other data first."
            )
    return said


def thin(table: pd.DataFrame) -> list[str]:
    """Say which groups' curves few patients carry."""
    noted = table[table["note"] != ""].drop_duplicates(["group", "note"])
    return [f"{row['group']}: {row['note']}." for row in noted.drop_duplicates("group").to_dict("records")[:6]]


def sentences(table: pd.DataFrame, differences: pd.DataFrame, level: float) -> list[str]:
    """Say where each model is worth using, and where one is better than another."""
    said = []
    everybody = table[table["group"] == ALL]
    for name in dict.fromkeys(everybody["model"]):
        rows = everybody[everybody["model"] == name].reset_index(drop=True)
        better, sure = rows[rows["gain"] > ROUNDING]["threshold"], rows[rows["gain_low"] > ROUNDING]["threshold"]
        if better.empty:
            said.append(f"At no threshold was the net benefit of {name} above that of treating all or none.")
            continue
        best = rows.to_dict("records")[int(rows["gain"].to_numpy().argmax())]
        held = _ranges(sure.to_numpy(), rows["threshold"].to_numpy())
        said.append(
            f"The net benefit of {name} was above that of treating all and of treating none at threshold probabilities of "
            f"{_ranges(better.to_numpy(), rows['threshold'].to_numpy())}"
            f"{f', with a pointwise {100 * level:g}% interval above zero at {held}' if held else ', nowhere with an interval above zero'}. "
            f"At {best['threshold']:g} it was {best['value']:.3f} ({_bounds(best, level)}), "
            f"{best['gain']:.3f} more than the better of the two: as {1000 * best['gain']:.0f} more true positives in 1,000 "
            "patients without a further false alarm."
        )
    pairs = differences[differences["group"] == ALL]
    for name, other in dict.fromkeys(zip(pairs["model"], pairs["reference"], strict=True)):
        rows = pairs[pairs["reference"] == other]
        points = rows["threshold"].to_numpy()
        above, below = (
            _ranges(rows.loc[mask, "threshold"].to_numpy(), points)
            for mask in (rows["low"] > ROUNDING, rows["high"] < -ROUNDING)
        )
        where = [f"above that of {other} at {above}"] if above else []
        where += [f"below it at {below}" if above else f"below that of {other} at {below}"] if below else []
        if where:
            said.append(
                f"By pointwise {100 * level:g}% intervals the net benefit of {name} was {', and '.join(where)}."
            )
        else:
            said.append(
                f"At no threshold did the net benefit of {name} and {other} differ by a pointwise {100 * level:g}% interval."
            )
    return said


def _ranges(chosen: np.ndarray, points: np.ndarray) -> str:
    """Write thresholds as ranges of neighbours, ``0.05–0.3 and 0.4``; of many, the longest."""
    places = np.flatnonzero(np.isin(points, chosen))
    if not len(places):
        return ""
    runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    texts = [f"{points[run[0]]:g}" + (f"–{points[run[-1]]:g}" if len(run) > 1 else "") for run in runs]
    if len(runs) <= 2:
        return " and ".join(texts)
    longest = max(range(len(runs)), key=lambda place: len(runs[place]))
    return f"{texts[longest]} (and {len(places) - len(runs[longest])} others)"


def _bounds(row: Mapping[Hashable, Any], level: float) -> str:
    if np.isnan(row["low"]):
        return "no interval"
    return f"{100 * level:g}% CI {row['low']:.3f} to {row['high']:.3f}"


def methods(prevalence: float | None, level: float, replicates: int) -> list[str]:
    """Say how net benefit was measured."""
    weighed = "" if prevalence is None else f" Groups were weighed to a prevalence of {prevalence:g}."
    return [
        "Net benefit was TP/n − FP/n · t/(1 − t) at the threshold probability t (Vickers & Elkin 2006), compared with treating "
        f"all and treating none.{weighed} Pointwise {100 * level:g}% intervals come from {replicates:,} bootstrap replicates "
        "of patients."
    ]

"""From a number an image to means with intervals: for everybody, by group, beside the control, and group against the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.clustered import gaps, joined, means, paired
from workbench.comparisons import together
from workbench.errors import InputError
from workbench.groups import Partition, partitions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.clustered import Estimates
    from workbench.explain.attributions import Attributions
    from workbench.explain.quality.measure import Measure, Outcome

# A mean of fewer images is shown with a note; the interval then rests on hardly any knowledge of the spread.
FEW = 20
# A t interval of shares and densities may reach below zero, where none of them can lie.
NEVER_NEGATIVE = ("localisation", "shares")


def trust_table(
    images: pd.DataFrame, measures: Sequence[Measure], attributions: Attributions, *, by: Sequence[Any], level: float
) -> pd.DataFrame:
    """Return one row a measure and group: its mean with interval, what the control reaches, and the gain over it.

    Parameters
    ----------
    images : one row an image in the attributions' order, one column a measure and baseline; NaN where it has none.
    measures : what the columns are.
    attributions : whose patients and attributes.
    by : attributes and crossings of attributes.
    level : of the intervals, 0.95.

    Returns
    -------
    Columns ``part, measure, by, group, value, low, high, n, patients, control, baseline, gain, gain_low, gain_high, p,
    better, note``. `gain` is value − baseline on the same images; `p` tests that it is zero. A measure with two
    controls has a row for each.
    """
    patients = attributions.table["patient"].to_numpy()
    blocks = []
    for part, code in _groups(attributions, by):
        chosen = (part.codes == code)[:, None]
        values = _columns(images, [m.name for m in measures])
        controls = _columns(images, [m.baseline for m in measures])
        values, controls = np.where(chosen, values, np.nan), np.where(chosen, controls, np.nan)
        shares = np.array([m.proportion for m in measures])
        # A share of images beside a mean (hits beside a centre prior's part of a hit) is a mean for the difference.
        both = shares & np.array([_zeros_and_ones(column) for column in controls.T])
        mean, control = means(values, patients, proportion=shares), means(controls, patients)
        gain = paired(values, controls, patients, proportion=both)
        (low, high), (gain_low, gain_high) = mean.intervals(level), gain.intervals(level)
        low = np.where(np.isin([m.part for m in measures], NEVER_NEGATIVE), np.maximum(low, 0), low)
        blocks.append(
            pd.DataFrame(
                {
                    "part": [m.part for m in measures],
                    "measure": [m.name for m in measures],
                    "by": part.by,
                    "group": part.names[code],
                    "value": mean.values,
                    "low": low,
                    "high": high,
                    "n": mean.images,
                    "patients": mean.patients,
                    "control": [_control(m) for m in measures],
                    "baseline": control.values,
                    "gain": gain.values,
                    "gain_low": gain_low,
                    "gain_high": gain_high,
                    "p": gain.p_values(),
                    "better": [m.better for m in measures],
                    "note": _notes(mean),
                }
            )
        )
    return pd.concat(blocks, ignore_index=True)


def gap_table(
    images: pd.DataFrame, measures: Sequence[Measure], attributions: Attributions, *, by: Sequence[Any], level: float,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Return each group against the rest, for every measure: are explanations worse for some?

    What is told in units of the score (deletion areas and their kin) is compared as the gain over its control on the same
    image: scores themselves differ between groups, and that is the audit's business.

    Intervals and p-values come twice: each on its own, and right for all rows at once (``low_together``,
    ``high_together``, ``p_adjusted``; max-T over patients), since whoever looks at all of them sees the most extreme.

    Returns
    -------
    Columns ``part, measure, by, group, gap, low, high, p, low_together, high_together, p_adjusted, n, patients, better,
    note``; `gap` is the group's mean less that of the rest.
    """
    patients = attributions.table["patient"].to_numpy()
    measures = list({measure.name: measure for measure in reversed(measures)}.values())[::-1]
    rows: list[dict[str, Any]] = []
    parts: list[Estimates] = []
    shares = np.array([m.proportion for m in measures])
    gained = [m.part == "faithfulness" and m.baseline is not None for m in measures]
    values = _columns(images, [m.name for m in measures])
    controls = _columns(images, [m.baseline if own else None for m, own in zip(measures, gained, strict=True)])
    values = np.where(gained, values - controls, values)
    names = [f"{m.name} less {_control(m)}" if own else m.name for m, own in zip(measures, gained, strict=True)]
    for part, code in _groups(attributions, by):
        if not part.by:
            continue
        inside = (part.codes == code)[:, None]
        own, rest = np.where(inside, values, np.nan), np.where(inside, np.nan, values)
        parts.append(gaps(own, rest, patients, proportion=shares))
        rows += [
            {"part": m.part, "measure": name, "by": part.by, "group": part.names[code], "better": m.better}
            for m, name in zip(measures, names, strict=True)
        ]
    if not parts:
        return pd.DataFrame(columns=GAP_COLUMNS)
    family = joined(parts)
    low, high = family.intervals(level)
    all_at_once = together(family, level=level, seed=seed)
    table = pd.DataFrame(rows).assign(
        gap=family.values, low=low, high=high, p=family.p_values(), low_together=all_at_once.low,
        high_together=all_at_once.high, p_adjusted=all_at_once.p, n=family.images, patients=family.patients,
        note=_notes(family),
    )  # fmt: skip
    return table[GAP_COLUMNS]


GAP_COLUMNS = [
    "part", "measure", "by", "group", "gap", "low", "high", "p", "low_together", "high_together", "p_adjusted", "n",
    "patients", "better", "note",
]  # fmt: skip


def usable_groups(attributions: Attributions) -> list[str]:
    """Return the attributes that make groups: those with at least two values, and not so many that they are names."""
    chosen = []
    for name in attributions.attributes:
        try:
            _, part = partitions(attributions, [name])
        except InputError:
            continue
        if len(np.unique(part.codes)) > 1:
            chosen.append(name)
    return chosen


def merged(outcomes: Sequence[Outcome]) -> tuple[pd.DataFrame, list[Measure]]:
    """Put the parts' columns side by side."""
    table = pd.concat([outcome.table for outcome in outcomes], axis=1)
    return table.loc[:, ~table.columns.duplicated()], [measure for outcome in outcomes for measure in outcome.measures]


def _groups(attributions: Attributions, by: Sequence[Any]) -> list[tuple[Partition, int]]:
    """Return every group that has an image, everybody first."""
    found = partitions(attributions, by)
    return [(part, code) for part in found for code in range(len(part.names)) if (part.codes == code).any()]


def _zeros_and_ones(values: np.ndarray) -> bool:
    return bool(np.isin(values[np.isfinite(values)], (0, 1)).all())


def _control(measure: Measure) -> str:
    """Name a control by its column: ``"deletion area | edges"`` is ``"edges"``, ``"another patient: SSIM"`` another patient."""
    column = measure.baseline or ""
    return column.rpartition(" | ")[2] if " | " in column else column.partition(":")[0].rpartition(", ")[2]


def _columns(images: pd.DataFrame, names: Sequence[str | None]) -> np.ndarray:
    """Return columns as float64 ``(n, K)``; NaN where a measure has no baseline."""
    empty = np.full(len(images), np.nan)
    return np.column_stack([empty if name is None else images[name].to_numpy(dtype=np.float64) for name in names])


def _notes(estimates: Estimates) -> list[str]:
    """Say what speaks against each number; few images only where nothing else is said."""
    few = [f"only {n} images" if 0 < n < FEW else "" for n in estimates.images.tolist()]
    return [note or images for note, images in zip(estimates.notes, few, strict=True)]

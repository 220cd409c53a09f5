"""Slices that were found on other patients, measured on these: value, gap to the rest, and one correction for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.audit.engine.measure import measure
from workbench.audit.estimation.closed_forms import area, pulls
from workbench.audit.estimation.evidence import FEWEST
from workbench.audit.metric import Setting, metric_of
from workbench.audit.sample import Design
from workbench.clustered import gaps, means
from workbench.comparisons import together
from workbench.groups import Partition
from workbench.intervals import NONE, Interval, normal_quantile

REPLICATES = 2000


@dataclass(frozen=True, eq=False)
class Tested:
    """K slices: each value ``(K,)`` with its own interval, that of the rest, and the gap with simultaneous interval and p."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    rest: np.ndarray
    gap: np.ndarray
    gap_low: np.ndarray
    gap_high: np.ndarray
    p: np.ndarray
    p_adjusted: np.ndarray
    notes: tuple[str, ...]


def shares(inside: np.ndarray, outside: np.ndarray, hit: np.ndarray, patients: np.ndarray, *, level: float, seed: int) -> Tested:  # fmt: skip
    """Measure the share of hits in K slices and in the rest of each.

    Parameters
    ----------
    inside, outside : bool ``(K, n)``.
    hit : bool ``(n,)``.
    patients : ``(n,)``; intervals keep a patient's images together (see :mod:`workbench.clustered`).
    """
    values = hit.astype(np.float64)[:, None]
    first, second = (np.where(side.T, values, np.nan) for side in (inside, outside))
    own = means(first, patients, proportion=True)
    rest = means(second, patients, proportion=True)
    gap = gaps(first, second, patients, proportion=True)
    family = together(gap, level=level, seed=seed)
    low, high = own.intervals(level)
    return Tested(
        own.values, low, high, rest.values, gap.values, family.low, family.high, gap.p_values(), family.p, gap.notes
    )


def areas(
    inside: np.ndarray, outside: np.ndarray, design: Design, *, level: float, seed: int
) -> Tested:  # fmt: skip
    """Measure the AUROC in K slices and in the rest of each, with single-step max-T from one bootstrap of patients.

    Parameters
    ----------
    inside, outside : bool ``(K, n)``.
    design : the images; its partitions are not used.
    """
    parts = [_three(k, *pair) for k, pair in enumerate(zip(inside, outside, strict=True))]
    everybody = Partition("", ("all",), np.zeros(len(design.scores), dtype=np.int64))
    design = Design(design.scores, design.truth, design.patients, (everybody, *parts), design.weights)
    measured = measure(design, [metric_of("AUROC")], Setting(), replicates=REPLICATES, seed=seed)
    starts = np.cumsum([1, *(len(part.names) for part in parts)])[:-1]
    values, drawn = measured.values["AUROC"], measured.drawn["AUROC"]
    notes = tuple(_thin(design, part) for part in parts)
    carried = np.where([note.startswith("refused") for note in notes], np.nan, 1.0)
    gap = (values[starts] - values[starts + 1]) * carried
    moved = drawn[starts] - drawn[starts + 1]
    error = np.nanstd(moved, axis=1, ddof=1) * carried
    error[error == 0] = np.nan
    deviation = np.abs(moved - np.nanmean(moved, axis=1, keepdims=True)) / error[:, None]
    known = np.isfinite(gap) & np.isfinite(error)
    largest = np.sort(np.nan_to_num(deviation[known]).max(0)) if known.any() else np.zeros(REPLICATES)
    reach = np.quantile(largest, level)
    t = np.abs(gap) / error
    exceed = (1 + (np.abs(deviation) >= t[:, None]).sum(1)) / (1 + REPLICATES)
    joint = (1 + len(largest) - np.searchsorted(largest, np.nan_to_num(t), side="left")) / (1 + REPLICATES)
    z = normal_quantile(level)
    bounds = (
        np.array([_interval(design, part.codes == 0, z) for part in parts], dtype=np.float64).reshape(len(parts), 2)
        * carried[:, None]
    )
    return Tested(
        values[starts] * carried, bounds[:, 0], bounds[:, 1], values[starts + 1] * carried, gap,
        np.clip(gap - reach * error, -1, 1), np.clip(gap + reach * error, -1, 1),
        np.where(known, exceed, np.nan), np.where(known, np.maximum(joint, exceed), np.nan), notes,
    )  # fmt: skip


def _interval(design: Design, rows: np.ndarray, z: float) -> Interval:
    """Return the interval of the AUROC of some rows, images of a patient kept together."""
    rising = np.flatnonzero(rows)[np.argsort(design.scores[rows], kind="stable")]
    found = pulls(
        design.scores[rising], design.truth[rising], patients=design.patients[rising], weights=design.weights[rising]
    )
    return NONE if found is None else area(found).interval(z)


def _three(number: int, inside: np.ndarray, outside: np.ndarray) -> Partition:
    """Slice, rest, and those that are neither (other score bands), if there are any."""
    codes = np.where(inside, 0, np.where(outside, 1, 2)).astype(np.int64)
    return Partition(f"slice {number}", ("slice", "rest", "other")[: 2 + int((codes == 2).any())], codes)


def _thin(design: Design, part: Partition) -> str:
    said = []
    for code, where in ((0, ""), (1, "the rest: ")):
        sample = design.sample(part, code)
        for arm, kind in ((sample.positives, "positives"), (sample.negatives, "negatives")):
            if len(arm.sizes) < FEWEST:
                return f"refused: {where}only {len(arm.sizes)} patients with {kind}; at least {FEWEST} are needed"
            if len(arm.sizes) < 20:
                said.append(f"{where}only {len(arm.sizes)} patients with {kind}: wide interval, do not rely on it")
    return "; ".join(said)

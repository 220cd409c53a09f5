"""Metrics of before and after, of everybody and of each group, unpaired; a patient of both times counts in both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from workbench.audit.engine.measure import measure
from workbench.audit.estimation.evidence import FEWEST
from workbench.audit.metric import NEGATIVES, POSITIVES, Metric, Setting
from workbench.audit.sample import Design
from workbench.audit.shift.looks import BEYOND, Look
from workbench.clustered import gaps
from workbench.groups import ALL, Partition
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workbench.audit.shift.pooled import Pooled

REPLICATES = 1000


def performance(
    pool: Pooled, groups: Sequence[tuple[str, str, np.ndarray]], metrics: Sequence[Metric], *, scores: np.ndarray,
    truth: np.ndarray, threshold: float, level: float, seed: int,
) -> list[Look]:  # fmt: skip
    """Compare metrics: sensitivity and specificity by cluster-robust square-and-add, all others by bootstrap of patients.

    Parameters
    ----------
    groups : ``(by, name, rows (n,))``; the first is everybody.
    scores, truth : ``(n,)``.
    """
    setting = Setting(threshold=threshold)
    everybody = Partition("", (ALL,), np.zeros(len(truth), dtype=np.int64))
    parts = [everybody, *(_split(name, rows, pool.after) for _, name, rows in groups)]
    design = Design(scores, truth, pool.patients, tuple(parts), np.ones(len(truth)))
    drawing = [metric for metric in metrics if metric.name not in ("sensitivity", "specificity")]
    measured = measure(design, drawing, setting, replicates=REPLICATES, seed=seed) if drawing else None
    starts = np.cumsum([1, *(len(part.names) for part in parts[1:])])[:-1]
    looks = []
    for metric in metrics:
        for start, (by, name, rows) in zip(starts, groups, strict=True):
            carried = rows & _carrying(metric, truth)
            note = _thin(pool, metric, rows, truth)
            if note.startswith("refused"):
                numbers: tuple[float, ...] = (math.nan,) * 6
            elif measured is None or metric not in drawing:
                numbers = _share(pool, (scores >= threshold) == truth, carried, level)
            else:
                numbers = _drawn(measured.values[metric.name], measured.drawn[metric.name], start, level)
            before, after, low, high, p, error = numbers
            looks.append(Look(
                by, name, metric.name, after - before, p, before, after, math.nan, _reach(error), int(carried.sum()),
                pool.count(carried), note, low, high,
            ))  # fmt: skip
    return looks


def _reach(error: float) -> Callable[[float], float]:
    return lambda level: (float(stats.norm.isf(level / 2)) + BEYOND) * error


def _split(name: str, rows: np.ndarray, after: np.ndarray) -> Partition:
    """Before, after, and those that are not of the group."""
    codes = np.where(rows, after.astype(np.int64), 2)
    return Partition(f"drift: {name}", ("before", "after", "other")[: 2 + int((codes == 2).any())], codes)


def _carrying(metric: Metric, truth: np.ndarray) -> np.ndarray:
    if len(metric.arms) != 1:
        return np.ones(len(truth), dtype=bool)
    return truth if metric.arms[0] == POSITIVES else ~truth


def _thin(pool: Pooled, metric: Metric, rows: np.ndarray, truth: np.ndarray) -> str:
    said = ""
    for arm in metric.arms or (POSITIVES, NEGATIVES):
        for when, side in (("before", ~pool.after), ("after", pool.after)):
            patients = pool.count(rows & side & (truth if arm == POSITIVES else ~truth))
            if patients < FEWEST:
                return f"refused: only {patients} patients with {arm} {when}; at least {FEWEST} are needed"
            if patients < 20 and not said:
                said = f"only {patients} patients with {arm} {when}: wide interval, do not rely on it"
    return said


def _share(pool: Pooled, right: np.ndarray, carried: np.ndarray, level: float) -> tuple[float, ...]:
    first, second = (np.where(carried & side, right, np.nan) for side in (pool.after, ~pool.after))
    gap = gaps(first, second, pool.patients, proportion=True)
    low, high = gap.intervals(level)
    after, before = gap.shares[:, 0]
    return float(before), float(after), float(low[0]), float(high[0]), float(gap.p_values()[0]), float(gap.errors[0])


def _drawn(values: np.ndarray, drawn: np.ndarray, start: int, level: float) -> tuple[float, ...]:
    before, after = float(values[start]), float(values[start + 1])
    error = float(np.nanstd(drawn[start + 1] - drawn[start], ddof=1))
    if not error > 0:
        return before, after, math.nan, math.nan, math.nan, math.nan
    half = normal_quantile(level) * error
    gap = after - before
    return before, after, gap - half, gap + half, float(2 * stats.norm.sf(abs(gap) / error)), error

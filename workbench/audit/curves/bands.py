"""Curves with bands: ROC and precision–recall.

Each band is there twice: ``low`` and ``high`` hold at each place of the curve for itself, ``band_low`` and ``band_high`` hold
along the whole curve at once. Patients are drawn, never images. The cost is rows × replicates, the memory that of the
data and of a block of replicates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import betaincinv, ndtr

from workbench.audit.curves.replicates import STEPS, as_it_is, drawn, falling_steps, tallies
from workbench.audit.metric import BOTH
from workbench.errors import InputError, unknown_name
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.audit.curves.replicates import Read
    from workbench.audit.result import Audit
    from workbench.audit.sample import Sample
    from workbench.groups import Partition

# A place of a curve may stand a rounding error before the step that it means.
ROUNDING = 1e-12
NUMBERS = ["value", "low", "high", "band_low", "band_high"]


def roc_bands(audit: Audit, by: str = "", *, points: int = 101, replicates: int | None = None) -> pd.DataFrame:
    """Return each group's ROC curve with vertical bands: sensitivity at evenly spaced false positive rates.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found; its level, seed and patients are those of the bands.
    by : one of the audit's partitions (``"sex"``, ``"sex × age"``); everybody unless given.
    points : false positive rates, 11 or more.
    replicates : bootstrap replicates, 100 or more; the audit's own unless given.

    Returns
    -------
    Columns ``group, by, fpr, value, low, high, band_low, band_high``; the first row of a group is (0, 0), its last (1, 1),
    both exact. A group with fewer patients of a class than the audit's `fewest` (5) has no rows.

    Notes
    -----
    At each place the variance of the replicates tells how many independent positives would vary as much, and the
    interval is Jeffreys's for a share of that many (Brown, Cai & DasGupta 2001, Stat Sci 16:101). The simultaneous band
    takes the critical value from the replicates' largest standardised distance. Sensitivity at a rate of 0 may be
    anything from 0 up, because the sample cannot tell a rate of 0 from a very small one.
    """
    grid = np.linspace(0, 1, _points(points))

    def read(found: np.ndarray, wrong: np.ndarray) -> np.ndarray:
        return _interpolated(wrong, found, grid + ROUNDING)

    parts = []
    for group, value, replicate in _curves(audit, by, read, replicates):
        table = pd.DataFrame({"fpr": grid, **_share_bands(value, replicate, audit.settings["level"])})
        table.loc[0, ["low", "band_low"]] = 0.0
        table.loc[len(grid) - 1, NUMBERS] = 1.0
        for name in ("low", "band_low"):  # the curve never falls, so what holds at a lower rate holds here
            table[name] = np.maximum.accumulate(table[name])
        for name in ("high", "band_high"):
            table[name] = np.minimum.accumulate(table[name][::-1])[::-1]
        start = pd.DataFrame({name: [0.0] for name in table})
        parts.append(pd.concat([start, table], ignore_index=True).assign(group=group.group, by=group.by))
    return joined(parts, ["group", "by", "fpr", *NUMBERS])


def pr_bands(audit: Audit, by: str = "", *, points: int = 101, replicates: int | None = None) -> pd.DataFrame:
    """Return each group's precision–recall curve with vertical bands: precision at evenly spaced recalls above 0.

    Precision is at the audit's prevalence where it has one, else at each group's own. Between two scores that follow one
    another, the numbers of true and of false positives are taken to grow in proportion (Davis & Goadrich 2006, Proc
    ICML, section 3), so that the curve is not the straight line that would flatter it.

    Parameters
    ----------
    audit, by, points, replicates : as for :func:`roc_bands`.

    Returns
    -------
    Columns ``group, by, recall, value, low, high, band_low, band_high``.
    """
    grid = np.linspace(0, 1, _points(points))[1:]
    prevalence = audit.settings["prevalence"]

    def read(found: np.ndarray, wrong: np.ndarray) -> np.ndarray:
        rate = _interpolated(found, wrong, grid - ROUNDING)
        return _precision(grid[:, None], rate, _share_of_positives(found[-1], wrong[-1], prevalence))

    parts = [
        pd.DataFrame({"recall": grid, **_share_bands(value, replicate, audit.settings["level"])})
        .assign(group=group.group, by=group.by)
        for group, value, replicate in _curves(audit, by, read, replicates)
    ]  # fmt: skip
    return joined(parts, ["group", "by", "recall", *NUMBERS])


def pr_curves(audit: Audit, by: str = "", *, most: int = 400) -> pd.DataFrame:
    """Return each group's precision–recall curve as points to draw: columns ``group, by, recall, precision, threshold``.

    There is a point for each score, or for `most` of them evenly along the ROC curve. Where many images of both classes
    share a score, further points without a threshold (NaN) follow the curve that :func:`pr_bands` describes. The first
    point is the limit at recall 0, also without a threshold.
    """
    parts = []
    for group, rows in _groups(audit, by):
        steps = falling_steps(audit._design, rows, most)
        tally = tallies(audit._design, rows, steps)
        found, wrong = (np.cumsum(side.sum(axis=1)) for side in (tally.found, tally.wrong))
        share = _share_of_positives(found[-1], wrong[-1], audit.settings["prevalence"])
        # Nobody, then every score, and nine places between two that many images lie between.
        place = np.arange(len(steps) + 1, dtype=np.float64)
        recall, rate = (np.concatenate([[0.0], side[:-1] / side[-1]]) for side in (found, wrong))
        far = np.flatnonzero((np.diff(recall) > 0) & (np.diff(rate) > 0) & (np.diff(recall) + np.diff(rate) > 4 / most))
        between = (far[:, None] + np.linspace(0, 1, 11)[None, 1:-1]).ravel()
        place = np.sort(np.concatenate([place, between]))
        known = np.isin(place, np.arange(1, len(steps) + 1))
        threshold = np.where(known, steps[np.clip(place.astype(int) - 1, 0, None)], np.nan)
        recall, rate = (np.interp(place, np.arange(len(steps) + 1), side) for side in (recall, rate))
        precision = _precision(recall, rate, share)
        precision[0] = precision[1:2].item()  # where nobody is called positive, the limit from the right
        parts.append(pd.DataFrame({"recall": recall, "precision": precision, "threshold": threshold})
                     .assign(group=group.group, by=group.by))  # fmt: skip
    return joined(parts, ["group", "by", "recall", "precision", "threshold"])


def _curves(
    audit: Audit, by: str, read: Read, replicates: int | None
) -> Iterator[tuple[Sample, np.ndarray, np.ndarray]]:
    """Yield the groups that can carry a curve, each with its curve and the replicates of it."""
    design = audit._design
    groups = list(_groups(audit, by))
    coarse = [tallies(design, rows, falling_steps(design, rows, STEPS)) for _, rows in groups]
    found = drawn(coarse, read, replicates=replicates_of(audit, replicates), seed=audit.settings["seed"])
    for (group, rows), replicate in zip(groups, found, strict=True):
        fine = tallies(design, rows, falling_steps(design, rows, len(rows)))
        yield group, as_it_is(fine, read), replicate


def _groups(audit: Audit, by: str) -> Iterator[tuple[Sample, np.ndarray]]:
    partition = partition_of(audit, by)
    for code in range(len(partition.names)):
        if carried(audit, partition.codes == code, BOTH):
            yield audit._design.sample(partition, code), np.flatnonzero(partition.codes == code)


def partition_of(audit: Audit, by: str, *, needed: bool = False) -> Partition:
    """Return a partition of the audit by its name; with `needed` one that has groups to compare."""
    if audit.settings["task"] != "binary":
        message = (
            f"these curves are of two classes, and this is a {audit.settings['task']} audit; of several classes or findings "
            "audit one with positive=…."
        )
        raise InputError(message)
    partitions = {partition.by: partition for partition in audit._design.partitions}
    known = [name for name in partitions if name]
    if by not in partitions or (needed and not by):
        if not known:
            message = "this audit has no groups to compare: audit by an attribute, as in by=['sex']."
            raise InputError(message)
        raise unknown_name("by: partition", by, known)
    return partitions[by]


def carried(audit: Audit, rows: np.ndarray, arms: tuple[str, ...]) -> bool:
    """Say whether enough patients of each class needed are among some rows for the audit not to refuse them."""
    design, fewest = audit._design, audit.settings["fewest"]
    sides = {"positives": design.truth, "negatives": ~design.truth}
    return all(len(np.unique(design.patients[rows & sides[arm]])) >= fewest for arm in arms)


def _share_bands(value: np.ndarray, replicate: np.ndarray, level: float) -> dict[str, np.ndarray]:
    """Return bands of a curve of shares ``(T,)`` from its replicates ``(T, R)``."""
    middle, error, largest = spread(replicate, level)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.where(error > 0, middle * (1 - middle) / error**2, np.inf).clip(1e-6, 1e9)
    bands = {"value": value}
    for name, width in (("", normal_quantile(level)), ("band_", largest)):
        tail = float(ndtr(-width))
        hits, misses = value * size, (1 - value) * size
        low, high = betaincinv(hits + 0.5, misses + 0.5, tail), betaincinv(hits + 0.5, misses + 0.5, 1 - tail)
        bands |= {f"{name}low": np.where(value <= 0, 0.0, low), f"{name}high": np.where(value >= 1, 1.0, high)}
    return bands


def spread(replicate: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return mean and standard deviation of the known replicates at each place, and the quantile of their largest distance."""
    known = np.isfinite(replicate)
    count = np.maximum(known.sum(axis=1), 1)
    middle = np.where(known, replicate, 0).sum(axis=1) / count
    away = np.where(known, replicate - middle[:, None], 0.0)
    error = np.sqrt((away**2).sum(axis=1) / count)
    moves = error > ROUNDING
    largest = np.abs(away[moves] / error[moves, None]).max(axis=0, initial=0.0)
    return middle, error, max(float(np.quantile(largest, level)), normal_quantile(level))


def _interpolated(along: np.ndarray, up: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the share `up` where the share `along` reaches `places`, ``(places, B)``; NaN where a class has no weight."""
    values = np.full((len(places), along.shape[1]), np.nan)
    for column in np.flatnonzero((along[-1] > 0) & (up[-1] > 0)):
        values[:, column] = np.interp(places, along[:, column] / along[-1, column], up[:, column] / up[-1, column])
    return values


def _share_of_positives(positives: np.ndarray, negatives: np.ndarray, prevalence: float | None) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(
            positives / (positives + negatives) if prevalence is None else np.full_like(positives, prevalence)
        )


def _precision(recall: np.ndarray, rate: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Share of positives among those called positive, by Bayes's rule."""
    with np.errstate(invalid="ignore"):
        return np.asarray(recall * share / (recall * share + rate * (1 - share)))


def _points(points: int) -> int:
    if points < 11:
        message = f"{points} points are too few for a curve; take 11 or more."
        raise InputError(message)
    return points


def replicates_of(audit: Audit, replicates: int | None) -> int:
    """Return how many replicates were asked for, by default those of the audit."""
    if replicates is None:
        return int(audit.settings["replicates"])
    if replicates < 100:
        message = f"{replicates} replicates cannot place the ends of a band; take 100 or more."
        raise InputError(message)
    return replicates


def joined(parts: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Put the groups' tables below each other; without one, the columns are there all the same."""
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

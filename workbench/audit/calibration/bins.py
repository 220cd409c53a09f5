"""Calibration by group: what share of the images with a score is positive, and how far off a calibrated model would seem.

A smooth curve instead of bins: :mod:`workbench.audit.calibration.smooth_curve`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from workbench.audit.engine.measure import measure
from workbench.audit.estimation.closed_forms import share
from workbench.audit.estimation.clusters import clusters_of, shares
from workbench.audit.metric import Setting, metric_of
from workbench.errors import InputError, unknown_name
from workbench.groups import Partition
from workbench.intervals import NONE, normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.sample import Design

EQUAL = ("mass", "width")
ERRORS = {"width": "ECE (equal width)", "mass": "ECE (equal mass)"}
# Numbers drawn together: replicates × rows.
AT_ONCE = 2**22


def edges_of(scores: np.ndarray, bins: int, equal: str) -> np.ndarray:
    """Return where bins end, without 0 and 1: evenly, or at the quantiles of all scores; as the calibration errors do."""
    if equal not in EQUAL:
        raise unknown_name("equal", equal, EQUAL)
    if equal == "width":
        return np.linspace(0, 1, bins + 1)[1:-1]
    return np.unique(np.quantile(scores, np.arange(1, bins) / bins, method="inverted_cdf"))


def reliability(design: Design, setting: Setting, *, equal: str = "mass", level: float = 0.95) -> pd.DataFrame:
    """Return the reliability diagram of every group: the share of positives in bins of the score.

    Parameters
    ----------
    design : of two classes.
    setting : how many `bins`; with a `prevalence`, every group is weighted to it.
    equal : ``"mass"``: each bin holds as many of all images, and groups are read in the same bins; ``"width"``.
    level : of the intervals, Wilson's with the images of a patient kept together.

    Returns
    -------
    One row a group and bin that has images: ``group, by, bin, lowest, highest`` (the bin holds scores above the one and up to
    the other), ``score`` (mean), ``value, low, high`` (share of positives), ``n, positives, patients, method``.

    References
    ----------
    DeGroot & Fienberg 1983, Statistician 32:12; the interval: Korn & Graubard 1998, Survey Methodology 24:193.
    """
    of_two_classes(design)
    edges = edges_of(design.scores, setting.bins, equal)
    bins, z = len(edges) + 1, normal_quantile(level)
    place = np.searchsorted(edges, design.scores, side="left")
    ends = np.concatenate([[0.0], edges, [1.0]])
    rows = []
    for part in design.partitions:
        weights = at_prevalence(design, part, setting.prevalence)
        # A group may have no image in a bin: only the cells that have some are counted.
        cells, dense = np.unique(part.codes * bins + place, return_inverse=True)
        found = shares(
            clusters_of(design, Partition(part.by, ("",) * len(cells), dense)), design.truth.astype(np.float64), weights
        )
        mean = _sums(dense, weights * design.scores, len(cells)) / _sums(dense, weights, len(cells))
        positives = _sums(dense, design.truth, len(cells))
        for number, cell in enumerate(cells):
            told = share(found, 0, number)
            low, high = told.interval(z) if math.isfinite(told.value) else NONE
            rows.append({
                "group": part.names[cell // bins], "by": part.by, "bin": int(cell % bins),
                "lowest": ends[cell % bins], "highest": ends[cell % bins + 1], "score": mean[number],
                "value": told.value, "low": low, "high": high, "n": int(found.images[0, number]),
                "positives": int(positives[number]), "patients": int(found.patients[0, number]), "method": told.method,
            })  # fmt: skip
    return pd.DataFrame(rows)


def chance_errors(
    design: Design, setting: Setting, *, equal: Sequence[str] = EQUAL, level: float = 0.95, replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Return each group's calibration error beside those that a calibrated model would show in a sample like this.

    The error is a sum of absolute differences, so chance alone makes it large in small groups. Labels are drawn with the
    scores as their probabilities; what the groups are, who has which images and the bins stay as they are. Images of a patient
    are drawn alike as often as their labels agree beyond the scores (:func:`agreement`). Groups are taken at their own
    share of positives, whatever the setting's prevalence.

    Parameters
    ----------
    design : of two classes.
    setting : how many `bins`.
    equal : which errors: bins of equal ``"mass"``, of equal ``"width"``, or both.
    level : of the band.
    replicates : samples drawn, 100 or more.
    seed : the same seed gives the same numbers.

    Returns
    -------
    One row an error and group: ``metric, group, by, value``; ``expected, low, high`` (mean and band of the calibrated model),
    ``excess`` (value − expected), ``p`` (of an error this large in a calibrated model), ``n``.

    References
    ----------
    Bröcker & Smith 2007, Weather Forecast 22:651 (consistency resampling).
    """
    of_two_classes(design)
    if replicates < 100:
        message = f"{replicates} replicates cannot place the ends of a band; take 100 or more (1000 is usual)."
        raise InputError(message)
    own = replace(setting, prevalence=None)
    edges = {name: edges_of(design.scores, setting.bins, name) for name in equal}
    measured = measure(design, [metric_of(ERRORS[name]) for name in equal], own)
    tables = []
    for name in equal:
        drawn = _drawn_errors(design, edges[name], replicates, seed)
        observed = measured.values[ERRORS[name]]
        with np.errstate(invalid="ignore"):
            beyond = (drawn >= observed[:, None] * (1 - 1e-12)).sum(1)
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=1)
        known = np.isfinite(observed)
        tables.append(pd.DataFrame({
            "metric": ERRORS[name], "group": [sample.group for sample in design.samples],
            "by": [sample.by for sample in design.samples], "value": observed, "expected": drawn.mean(1), "low": low,
            "high": high, "excess": observed - drawn.mean(1),
            "p": np.where(known, (1 + beyond) / (1 + replicates), np.nan), "n": [sample.n for sample in design.samples],
        }))  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def agreement(design: Design) -> float:
    """Return how much the labels of a patient's images go together beyond what their scores say, 0–1.

    The mean product of the residuals of two images of a patient over the mean square of all, each residual taken from
    the share of positives among images with about the same score, so that a bias of the scores is not mistaken for it.
    """
    edges = edges_of(design.scores, 15, "mass")
    place = np.searchsorted(edges, design.scores, side="left")
    count = np.bincount(place, minlength=len(edges) + 1)
    observed = _sums(place, design.truth, len(count)) / np.maximum(count, 1)
    residual = design.truth - observed[place]
    images = np.bincount(design.patients)
    pairs = float((images * (images - 1.0)).sum())
    square = float((residual**2).mean())
    if pairs == 0 or square == 0:
        return 0.0
    together = float((np.bincount(design.patients, weights=residual) ** 2).sum()) - float((residual**2).sum())
    return float(np.clip(together / pairs / square, 0, 1))


def at_prevalence(design: Design, partition: Partition, prevalence: float | None) -> np.ndarray:
    """Return row weights under which every group of a partition has this share of positives; the own ones without."""
    if prevalence is None:
        return design.weights
    side = partition.codes * 2 + design.truth
    total = np.bincount(side, weights=design.weights, minlength=2 * len(partition.names))
    wanted = np.where(design.truth, prevalence, 1 - prevalence)
    count = np.bincount(partition.codes, minlength=len(partition.names))
    return np.asarray(design.weights * wanted / total[side] * count[partition.codes])


def _drawn_errors(design: Design, edges: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Return calibration errors of drawn labels, ``(G, R)``, groups as in ``design.samples``."""
    # Rows in an order of their own, so that the draws do not depend on the one they came in.
    codes = [part.codes for part in design.partitions]
    order = np.lexsort([*codes, design.weights, design.truth, design.scores, design.patients])
    scores, weights, patients = design.scores[order], design.weights[order], design.patients[order]
    bins, place = len(edges) + 1, np.searchsorted(edges, scores, side="left")
    starts = np.cumsum([0, *(len(part.names) for part in design.partitions)])
    cells = np.concatenate([(start + code[order]) * bins + place for start, code in zip(starts, codes, strict=False)])
    row = np.tile(np.arange(len(order)), len(codes))
    gather = sparse.csr_array((weights[row], (cells, row)), shape=(int(starts[-1]) * bins, len(order)))
    total = np.asarray(gather.sum(axis=1)).reshape(-1, bins).sum(1)
    alike, people = agreement(design), int(patients.max()) + 1
    rng = np.random.default_rng(seed)
    found = np.empty((len(total), replicates))
    some = max(1, AT_ONCE // len(order))
    for start in range(0, replicates, some):
        size = min(some, replicates - start)
        chance = rng.random((size, len(order)))
        if alike > 0:
            common = rng.random((size, people))
            taken = rng.random((size, people)) < alike
            chance = np.where(taken[:, patients], common[:, patients], chance)
        excess = gather @ ((chance < scores) - scores).T
        with np.errstate(invalid="ignore", divide="ignore"):
            found[:, start : start + size] = np.abs(excess).reshape(-1, bins, size).sum(1) / total[:, None]
    return found


def _sums(place: np.ndarray, values: np.ndarray, length: int) -> np.ndarray:
    return np.bincount(place, weights=values, minlength=length)


def of_two_classes(design: Design) -> None:
    """Refuse a design whose truth is not one of two classes."""
    if design.truth.dtype != np.bool_:
        message = "calibration is told of two classes: say which class or finding is the positive one."
        raise InputError(message)

"""Metrics of the ROC curve: the area by counting pairs in one pass over all groups, any other from the curve's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.definitions.ranks import (
    TOLERANCE,
    auroc,
    average_precision,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
)
from workbench.audit.engine.blocks import LANES, blocks_of, in_threads, packed_weights, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.audit.engine.curve_kernels import Rows
    from workbench.audit.engine.measure import Prepared
    from workbench.audit.metric import Metric, Setting

# Numbers in one array of a curve: lanes × steps.
AT_ONCE = 2**17


def values(prepared: Prepared, metric: Metric, setting: Setting) -> np.ndarray:
    """Return one metric of the groups and of their rests, ``(2, G, 1 + R)``."""
    if metric.of_curve is auroc:
        return _areas(prepared)
    return _along(prepared, metric, setting)


def _areas(prepared: Prepared) -> np.ndarray:
    """Areas under the ROC curve.

    Of all pairs, those of the rest are what is left without the pairs of the group's positives and without those of its
    negatives; pairs inside the group are then taken away twice and given back once.
    """
    from workbench.audit.engine import curve_kernels

    design, overlaps = prepared.design, prepared.overlaps
    order = prepared.by_score
    entry, weights = curve_kernels.ties_apart(design.scores[order], design.truth[order])
    row = order[entry]
    if not prepared.unweighted:
        weights *= design.weights[row]
    groups = np.empty((len(row), len(design.partitions)), dtype=np.uint16 if overlaps.starts[-1] < 2**16 else np.int32)
    for place, partition in enumerate(design.partitions):
        groups[:, place] = partition.codes[row] + overlaps.starts[place]
    rows = curve_kernels.Rows(design.patients[row].astype(np.int32), design.truth[row], weights, groups)
    crossed = np.isin(np.arange(len(design.partitions)), overlaps.finest)
    wanted = 1 + prepared.replicates
    found = np.empty((2, int(overlaps.starts[-1]), wanted))

    def tell(block: int) -> None:
        packed = packed_weights(prepared.patients, prepared.seed, block)
        sums = np.zeros((5, found.shape[1], LANES))
        curve_kernels.count_pairs(packed, rows, crossed, sums)
        negatives, positives, within, forward, backward = sums
        overlaps.complete(forward)
        overlaps.complete(backward)
        outside = within[0] - forward - (negatives * positives[0] - backward) + within
        columns = slice(block * LANES, min((block + 1) * LANES, wanted))
        sides = (within, negatives, positives), (outside, negatives[0] - negatives, positives[0] - positives)
        for side, (pairs, wells, ills) in enumerate(sides):
            found[side, :, columns] = _over(pairs, wells * ills)[:, : columns.stop - columns.start]

    in_threads(tell, range(blocks_of(prepared.replicates)), prepared.threads)
    return found


def _along(prepared: Prepared, metric: Metric, setting: Setting) -> np.ndarray:
    """Values of any function of the curve, group by group."""
    from workbench.audit.engine import curve_kernels

    design, of_curve = prepared.design, metric.of_curve
    assert of_curve is not None
    read = READ.get(of_curve)
    down = prepared.by_score[::-1]
    rows = curve_kernels.Rows(
        design.patients[down].astype(np.int32), design.truth[down], design.weights[down], design.scores[down]
    )
    wanted = 1 + prepared.replicates
    found = np.full((2, int(prepared.overlaps.starts[-1]), wanted), np.nan)

    def tell(blocks: range) -> None:
        drawn = [packed_weights(prepared.patients, prepared.seed, block) for block in blocks]
        for side, group, chosen in prepared.sides(down):
            own = rows if read else _with_steps(rows, chosen)
            for block, packed in zip(blocks, drawn, strict=True):
                lanes = min(LANES, wanted - block * LANES)
                if read:
                    told = read(packed, own, chosen, setting)
                else:
                    told = _by_steps(packed, own, lanes, lambda found, wrong: of_curve(found, wrong, setting))
                found[side, group, block * LANES :][:lanes] = told[:lanes]

    in_threads(tell, runs_of(prepared.replicates, prepared.patients, prepared.threads), prepared.threads)
    return found


def _with_steps(rows: Rows, chosen: np.ndarray) -> Rows:
    """Take the rows chosen, and number the steps of their curve from 1 on.

    Distinct scores that only negatives have, one after the other, make one step: the points between lie on a line.
    """
    patients, truth, weights, scores = (column[chosen] for column in rows)
    new = np.concatenate([[True], scores[1:] != scores[:-1]])
    starts = np.flatnonzero(new)
    negative = ~np.logical_or.reduceat(truth, starts)
    new[starts[1:][negative[1:] & negative[:-1]]] = False
    return type(rows)(patients, truth, weights, np.cumsum(new, dtype=np.int32))


def _by_steps(packed: np.ndarray, rows: Rows, lanes: int, of_curve: Callable[..., np.ndarray]) -> np.ndarray:
    """Write out the curves of a few replicates after the others, and ask `of_curve`."""
    from workbench.audit.engine import curve_kernels

    steps = int(rows.places[-1]) + 1
    few = 1 << int(np.clip(AT_ONCE // steps, 1, LANES)).bit_length() - 1
    curve = np.empty((2, steps, few))
    told = []
    for lane in range(0, lanes, few):
        curve_kernels.climb(packed, rows, lane, curve[0], curve[1])
        told.append(of_curve(curve[0].T, curve[1].T))
    return np.concatenate(told)


def _average_precision(packed: np.ndarray, rows: Rows, chosen: np.ndarray, setting: Setting) -> np.ndarray:
    from workbench.audit.engine import curve_kernels

    scale = np.ones((2, LANES))
    if setting.prevalence is not None:
        negatives, positives = curve_kernels.totals(packed, rows, chosen)
        scale = np.stack([_over(1 - setting.prevalence, negatives), _over(setting.prevalence, positives)])
    return _over(*curve_kernels.precision_along(packed, rows, chosen, scale))


def _sensitivity_at_specificity(packed: np.ndarray, rows: Rows, chosen: np.ndarray, setting: Setting) -> np.ndarray:
    from workbench.audit.engine import curve_kernels

    negatives, positives = curve_kernels.totals(packed, rows, chosen)
    kept = curve_kernels.while_wrong(packed, rows, chosen, (1 - setting.specificity + TOLERANCE) * negatives)
    return np.where(negatives > 0, _over(kept, positives), np.nan)


def _specificity_at_sensitivity(packed: np.ndarray, rows: Rows, chosen: np.ndarray, setting: Setting) -> np.ndarray:
    from workbench.audit.engine import curve_kernels

    negatives, positives = curve_kernels.totals(packed, rows, chosen)
    kept = curve_kernels.until_found(packed, rows, chosen, (setting.sensitivity - TOLERANCE) * positives)
    return np.where(positives > 0, 1 - _over(kept, negatives), np.nan)


def _over(part: np.ndarray | float, whole: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0))


# The same as their definitions, read on the way along the curve.
READ: dict[object, Callable[[np.ndarray, Rows, np.ndarray, Setting], np.ndarray]] = {
    average_precision: _average_precision,
    sensitivity_at_specificity: _sensitivity_at_specificity,
    specificity_at_sensitivity: _specificity_at_sensitivity,
}

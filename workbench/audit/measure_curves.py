"""Metrics of the ROC curve: the area by counting pairs in one pass over all groups, any other from the curve's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.blocks import LANES, blocks_of, in_threads, packed_weights
from workbench.audit.definitions.ranks import auroc

if TYPE_CHECKING:
    from workbench.audit.measure import Prepared
    from workbench.audit.metric import Metric, Setting

# Numbers in one array of a curve: lanes × steps.
AT_ONCE = 2**19


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
    from workbench.audit import kernels

    design, overlaps = prepared.design, prepared.overlaps
    row, share = kernels.ties_apart(design.scores, design.truth, prepared.by_score)
    weights = share.astype(np.float64)
    if not prepared.unweighted:
        weights *= design.weights[row]
    groups = np.empty((len(row), len(design.partitions)), dtype=np.uint16 if overlaps.starts[-1] < 2**16 else np.int32)
    for place, partition in enumerate(design.partitions):
        groups[:, place] = partition.codes[row] + overlaps.starts[place]
    rows = kernels.Rows(design.patients[row].astype(np.int32), design.truth[row], weights, groups)
    crossed = np.isin(np.arange(len(design.partitions)), overlaps.finest)
    wanted = 1 + prepared.replicates
    found = np.empty((2, int(overlaps.starts[-1]), wanted))

    def tell(block: int) -> None:
        packed = packed_weights(prepared.patients, prepared.seed, block)
        sums = np.zeros((5, found.shape[1], LANES))
        kernels.count_pairs(packed, rows, crossed, sums)
        negatives, positives, within, forward, backward = sums
        overlaps.complete(forward)
        overlaps.complete(backward)
        outside = within[0] - forward - (negatives * positives[0] - backward) + within
        columns = slice(block * LANES, min((block + 1) * LANES, wanted))
        sides = (within, negatives, positives), (outside, negatives[0] - negatives, positives[0] - positives)
        for side, (pairs, wells, ills) in enumerate(sides):
            every = wells * ills
            area = np.divide(pairs, every, out=np.full(every.shape, np.nan), where=every > 0)
            found[side, :, columns] = area[:, : columns.stop - columns.start]

    in_threads(tell, range(blocks_of(prepared.replicates)), prepared.threads)
    return found


def _along(prepared: Prepared, metric: Metric, setting: Setting) -> np.ndarray:
    """Values of any function of the curve: group by group, a few replicates of all steps at a time."""
    from workbench.audit import kernels

    design, of_curve = prepared.design, metric.of_curve
    assert of_curve is not None
    wanted = 1 + prepared.replicates
    found = np.full((2, int(prepared.overlaps.starts[-1]), wanted), np.nan)

    def tell(block: int) -> None:
        packed = packed_weights(prepared.patients, prepared.seed, block)
        for side, group, down in prepared.sides(prepared.by_score[::-1]):
            steps = _steps(design.scores[down], design.truth[down])
            rows = kernels.Rows(design.patients[down].astype(np.int32), design.truth[down], design.weights[down], steps)
            lanes = 1 << int(np.clip(AT_ONCE // (steps[-1] + 1), 1, LANES)).bit_length() - 1
            curve = np.empty((2, steps[-1] + 1, lanes))
            for lane in range(0, min(LANES, wanted - block * LANES), lanes):
                kernels.climb(packed, rows, lane, curve[0], curve[1])
                first = block * LANES + lane
                found[side, group, first : first + lanes] = of_curve(curve[0].T, curve[1].T, setting)[: wanted - first]

    in_threads(tell, range(blocks_of(prepared.replicates)), prepared.threads)
    return found


def _steps(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Number the steps of the curve from 1 on, for rows of falling score.

    Distinct scores that only negatives have, one after the other, make one step: the points between lie on a line.
    """
    new = np.concatenate([[True], scores[1:] != scores[:-1]])
    starts = np.flatnonzero(new)
    negative = ~np.logical_or.reduceat(truth, starts)
    new[starts[1:][negative[1:] & negative[:-1]]] = False
    return np.cumsum(new, dtype=np.int32)

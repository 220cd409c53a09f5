"""A metric of some rows under many weightings: what permutations and the jackknife are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.audit.metric import Metric, Setting
    from workbench.audit.sample import Design

# Numbers (weightings × rows) worked on together: 8 MB an array.
AT_ONCE = 2**20


def weighted(
    design: Design, metric: Metric, setting: Setting, rows: np.ndarray, weights: Iterator[np.ndarray]
) -> np.ndarray:
    """Compute a metric of `rows` for each weight vector.

    Parameters
    ----------
    rows : indices of rows, ``(m,)``.
    weights : one vector ``(m,)`` after the other; each is multiplied by the rows' own weights.

    Returns
    -------
    float64 ``(R,)``, NaN where a weighting leaves the metric undefined.
    """
    truth, scores, own = design.truth[rows], design.scores[rows], design.weights[rows]
    positives = design.positives[rows]
    some = max(1, AT_ONCE // max(len(rows), 1))
    if metric.of_curve is not None:
        order = np.argsort(-scores, kind="stable")
        falling = scores[order]
        ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    elif metric.columns is not None:
        columns = metric.columns(design.truth, design.scores, setting)[rows]
    found = []
    for block in _blocks(weights, some):
        heavy = block * own
        if metric.of_rows is not None:
            found.append(metric.of_rows(truth, scores, heavy, setting))
        elif metric.of_curve is not None:
            start = np.zeros((len(heavy), 1))
            up, across = (
                np.hstack([start, np.cumsum(heavy[:, order] * side[order], axis=1)[:, ends]])
                for side in (positives, ~positives)
            )
            found.append(metric.of_curve(up, across, setting))
        else:
            assert metric.of_sums is not None
            found.append(
                metric.of_sums(np.stack([(heavy * side) @ columns for side in (~positives, positives)], -2), setting)
            )
    return np.concatenate(found) if found else np.empty(0)


def without(design: Design, metric: Metric, setting: Setting, rows: np.ndarray, block: np.ndarray) -> np.ndarray:
    """Compute a metric of `rows` without each block of them, in rising order of the blocks' numbers.

    Parameters
    ----------
    block : of each row, int64 ``(m,)``.
    """
    present, place = np.unique(block, return_inverse=True)
    if metric.of_sums is None or metric.columns is None:
        kept = ((place != number).astype(np.float64) for number in range(len(present)))
        return weighted(design, metric, setting, rows, kept)
    columns = metric.columns(design.truth, design.scores, setting)[rows] * design.weights[rows, None]
    arm = design.positives[rows].astype(np.int64)
    sums = np.stack(
        [np.bincount(2 * place + arm, weights=column, minlength=2 * len(present)) for column in columns.T], axis=-1
    ).reshape(len(present), 2, -1)
    return metric.of_sums(sums.sum(0) - sums, setting)


def _blocks(weights: Iterator[np.ndarray], some: int) -> Iterator[np.ndarray]:
    block: list[np.ndarray] = []
    for vector in weights:
        block.append(vector)
        if len(block) == some:
            yield np.stack(block)
            block = []
    if block:
        yield np.stack(block)

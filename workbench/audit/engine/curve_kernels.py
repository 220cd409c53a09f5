"""Loops over the rows of ROC curves, compiled; 64 replicates are the lanes of one pass (see :mod:`workbench.audit.engine.kernels`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from workbench.audit.engine.kernels import HALF, LANES, compiled

# Rows whose weights are fetched together, so that the memory answers several questions at once.
AHEAD = 128


class Rows(NamedTuple):
    """Rows in the order of a pass.

    Parameters
    ----------
    patients, truth, weights : int32, bool and float64 ``(m,)``.
    places : a row's group in every partition ``(m, K)``, its score ``(m,)``, or its step of the curve ``(m,)``.
    """

    patients: np.ndarray
    truth: np.ndarray
    weights: np.ndarray
    places: np.ndarray


@compiled
def _add(packed: np.ndarray, patient: int, size: float, arm: np.int64, sums: np.ndarray) -> None:
    for lane in range(HALF):
        both = packed[patient, lane]
        sums[arm, lane] += (both & 15) * size
        sums[arm, lane + HALF] += (both >> 4) * size


@compiled
def ties_apart(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lay out rows of rising score so that a pass that knows nothing of ties counts them half.

    Where positives and negatives share a score, its negatives come once before the positives and once after them, and
    count half each. Returns row and share of each entry.
    """
    rows, again = len(scores), 0
    for write in range(2):
        if write:
            entry, share = np.empty(rows + again, np.int32), np.ones(rows + again, np.float64)
        end = first = 0
        while first < rows:
            past, positives = first, 0
            while past < rows and scores[past] == scores[first]:
                positives += truth[past]
                past += 1
            mixed = 0 < positives < past - first
            if not write:
                again += past - first - positives if mixed else 0
            else:
                for turn in range(3 if mixed else 1):
                    for row in range(first, past):
                        if not mixed or truth[row] == (turn == 1):
                            entry[end] = row
                            share[end] = 0.5 if mixed and turn != 1 else 1.0
                            end += 1
            first = past
    return entry, share


@compiled
def count_pairs(packed: np.ndarray, rows: Rows, crossed: np.ndarray, sums: np.ndarray) -> None:
    """Count, over rows of rising score, the pairs of a positive above a negative.

    Parameters
    ----------
    crossed : of which partitions the pairs between a group and everybody are counted, bool ``(K,)``. Group 0 is everybody.
    sums : float64 zeros ``(5, groups, 64)``: negatives; positives; pairs within the group; pairs of its positives with
        everybody's negatives; pairs of its negatives with the positives *below* them.
    """
    below, above, within, forward, backward = sums[0], sums[1], sums[2], sums[3], sums[4]
    weight = np.empty(LANES)
    # Eight bytes at a time: so little is done between two questions that the memory has many before it.
    words, near = packed.view(np.uint64), np.empty((AHEAD, HALF // 8), np.uint64)
    lines = near.view(np.uint8)
    for row in range(len(rows.patients)):
        if row % AHEAD == 0:
            for ahead in range(min(AHEAD, len(rows.patients) - row)):
                patient = rows.patients[row + ahead]
                for word in range(HALF // 8):
                    near[ahead, word] = words[patient, word]
        both, size = lines[row % AHEAD], rows.weights[row]
        for lane in range(HALF):
            weight[lane] = (both[lane] & 15) * size
            weight[lane + HALF] = (both[lane] >> 4) * size
        own, other = (above, below) if rows.truth[row] else (below, above)
        cross = forward if rows.truth[row] else backward
        for part in range(len(crossed)):
            at = rows.places[row, part]
            for lane in range(LANES):
                own[at, lane] += weight[lane]
            if rows.truth[row]:
                for lane in range(LANES):
                    within[at, lane] += weight[lane] * below[at, lane]
            if crossed[part]:
                for lane in range(LANES):
                    cross[at, lane] += weight[lane] * other[0, lane]


@compiled
def climb(packed: np.ndarray, rows: Rows, lane: int, found: np.ndarray, wrong: np.ndarray) -> None:
    """Add up positives and negatives by step of the ROC curve, in replicates from `lane` on.

    Steps rise from 1 to T without gaps over the rows; `found` and `wrong` are ``(T + 1, lanes)``.
    """
    found[0], wrong[0] = 0.0, 0.0
    at = 0
    for row in range(len(rows.patients)):
        if rows.places[row] != at:
            at = rows.places[row]
            found[at], wrong[at] = found[at - 1], wrong[at - 1]
        side = found[at] if rows.truth[row] else wrong[at]
        for column in range(found.shape[1]):
            both = packed[rows.patients[row], (lane + column) % HALF]
            weight = both >> 4 if lane + column >= HALF else both & 15
            side[column] += weight * rows.weights[row]


@compiled
def totals(packed: np.ndarray, rows: Rows, chosen: np.ndarray) -> np.ndarray:
    """Return the weight of all negatives and of all positives among the rows chosen, ``(2, 64)``."""
    sums = np.zeros((2, LANES))
    for row in range(len(chosen)):
        if chosen[row]:
            _add(packed, rows.patients[row], rows.weights[row], np.int64(rows.truth[row]), sums)
    return sums


@compiled
def precision_along(
    packed: np.ndarray, rows: Rows, chosen: np.ndarray, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sum over steps of (rise in positives) × (share of positives so far), rows going down from the highest score.

    `scale` is ``(2, 64)``: what a negative and a positive count in the share. Returns the sum and the weight of positives.
    """
    sums, before, area = np.zeros((2, LANES)), np.zeros(LANES), np.zeros(LANES)
    score, rises = np.inf, False
    for row in range(len(chosen) + 1):
        if row < len(chosen) and not chosen[row]:
            continue
        if rises and (row == len(chosen) or rows.places[row] != score):
            for lane in range(LANES):
                wrong, found = sums[0, lane] * scale[0, lane], sums[1, lane] * scale[1, lane]
                # Where there is nobody yet, 0 / 1 is the share.
                area[lane] += (sums[1, lane] - before[lane]) * (found / (found + wrong + (found + wrong == 0)))
                before[lane] = sums[1, lane]
            rises = False
        if row < len(chosen):
            score, rises = rows.places[row], rises or rows.truth[row]
            _add(packed, rows.patients[row], rows.weights[row], np.int64(rows.truth[row]), sums)
    return area, sums[1]


@compiled
def while_wrong(packed: np.ndarray, rows: Rows, chosen: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Return the weight of positives found at the last step at which no more than `most` negatives are, ``(64,)``."""
    sums, kept = np.zeros((2, LANES)), np.zeros(LANES)
    score, rises = np.inf, False
    for row in range(len(chosen) + 1):
        if row < len(chosen) and not chosen[row]:
            continue
        if rises and (row == len(chosen) or rows.places[row] != score):
            for lane in range(LANES):
                kept[lane] = sums[1, lane] if sums[0, lane] <= most[lane] else kept[lane]
            rises = False
        if row < len(chosen):
            score, rises = rows.places[row], rises or rows.truth[row]
            _add(packed, rows.patients[row], rows.weights[row], np.int64(rows.truth[row]), sums)
    return kept


@compiled
def until_found(packed: np.ndarray, rows: Rows, chosen: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Return the weight of negatives at the first step at which at least `least` positives are found, ``(64,)``."""
    sums, kept = np.zeros((2, LANES)), np.where(least <= 0, 0.0, np.inf)
    score, rises = np.inf, False
    for row in range(len(chosen) + 1):
        if row < len(chosen) and not chosen[row]:
            continue
        if rises and (row == len(chosen) or rows.places[row] != score):
            for lane in range(LANES):
                reached = sums[0, lane] if sums[1, lane] >= least[lane] else np.inf
                kept[lane] = min(kept[lane], reached)
            rises = False
        if row < len(chosen):
            score, rises = rows.places[row], rises or rows.truth[row]
            _add(packed, rows.patients[row], rows.weights[row], np.int64(rows.truth[row]), sums)
    return kept

"""The loops of the bootstrap over patients, compiled: 64 replicates are the lanes of one pass over the rows.

Weights are packed two to a byte, lane l and lane l + 32, as none is above 8. Sums of whole numbers are exact in float64
below 2⁵³, so that their order does not matter; everything else is added up in the order in which rows are given.

The machine code is kept in a file beside this one, or, where that folder cannot be written, in the user's cache folder
(``NUMBA_CACHE_DIR`` names another).
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np

LANES = 64
HALF = LANES // 2
# Four replicates share one 64-bit number.
WORDS = LANES // 4
# 2¹⁶ times the probability that a Poisson(1) number is at most 0, 1, …, 7; that of 8 or less rounds to one.
P0, P1, P2, P3, P4, P5, P6, P7 = (
    np.uint16(share) for share in (24109, 48219, 60273, 64292, 65296, 65497, 65531, 65535)
)
STEP, FIRST, SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

Loop = TypeVar("Loop")


class Entries(NamedTuple):
    """What each of several patients adds where.

    Parameters
    ----------
    start : the i-th patient's entries are those from ``start[i]`` to ``start[i + 1]``.
    place, value : int32 and float64, one an entry.
    """

    start: np.ndarray
    place: np.ndarray
    value: np.ndarray


def compiled(loop: Loop) -> Loop:
    """Compile a loop that lets go of the interpreter, and keep what was compiled on disk where that can be written."""
    compiler: Any = numba.njit
    try:
        kept: Loop = compiler(nogil=True, cache=True)(loop)
    except RuntimeError:  # no folder can be written: each process compiles anew
        kept = compiler(nogil=True)(loop)
    return kept


@compiled
def _mixed(x: np.uint64) -> np.uint64:
    """SplitMix64's output function (Steele, Lea & Flood 2014, Proc OOPSLA 453)."""
    x = (x ^ (x >> np.uint64(30))) * FIRST
    x = (x ^ (x >> np.uint64(27))) * SECOND
    return x ^ (x >> np.uint64(31))


@compiled
def draw(packed: np.ndarray, key: np.uint64, block: int, lowest: int) -> None:
    """Fill `packed`, uint8 ``(patients, 32)``, with the Poisson(1) weights of patients from number `lowest` on.

    A weight is a function of key, replicate and patient alone. Lane 0 of block 0 is the sample itself: all weights are 1.
    """
    start = _mixed(_mixed(key + STEP) + np.uint64(block))
    words = np.empty(WORDS, np.uint64)
    bits = np.empty(LANES, np.uint16)
    for row in range(packed.shape[0]):
        counter = start + np.uint64(lowest + row) * np.uint64(WORDS) * STEP
        for j in range(WORDS):
            words[j] = _mixed(counter + np.uint64(j) * STEP)
        for quarter in range(4):
            for j in range(WORDS):
                bits[quarter * WORDS + j] = np.uint16(words[j] >> np.uint64(16 * quarter))
        for lane in range(HALF):
            a, b = bits[lane], bits[lane + HALF]
            low = (
                np.uint8(a >= P0) + np.uint8(a >= P1) + np.uint8(a >= P2) + np.uint8(a >= P3)
                + np.uint8(a >= P4) + np.uint8(a >= P5) + np.uint8(a >= P6) + np.uint8(a >= P7)
            )  # fmt: skip
            high = (
                np.uint8(b >= P0) + np.uint8(b >= P1) + np.uint8(b >= P2) + np.uint8(b >= P3)
                + np.uint8(b >= P4) + np.uint8(b >= P5) + np.uint8(b >= P6) + np.uint8(b >= P7)
            )  # fmt: skip
            packed[row, lane] = np.uint8(low) | np.uint8(np.uint8(high) << np.uint8(4))
    if block == 0:
        for row in range(packed.shape[0]):
            packed[row, 0] = (packed[row, 0] & np.uint8(0xF0)) | np.uint8(1)


@compiled
def unpack(packed: np.ndarray, patients: np.ndarray, weights: np.ndarray, lane: int, drawn: np.ndarray) -> None:
    """Write replicates from `lane` on of some rows to `drawn`, ``(lanes, rows)``, times the rows' own weights."""
    for row in range(len(patients)):
        for line in range(drawn.shape[0]):
            both = packed[patients[row], (lane + line) % HALF]
            weight = both >> 4 if lane + line >= HALF else both & 15
            drawn[line, row] = weight * weights[row]


@compiled
def by_patient(patients: np.ndarray, order: np.ndarray, count: int) -> np.ndarray:
    """Sort the rows in `order` by patient, those of one patient staying in order (counting sort)."""
    start = np.zeros(count + 1, np.int64)
    for row in order:
        start[patients[row] + 1] += 1
    for patient in range(count):
        start[patient + 1] += start[patient]
    result = np.empty_like(order)
    for row in order:
        result[start[patients[row]]] = row
        start[patients[row]] += 1
    return result


@compiled
def gather(
    patients: np.ndarray, columns: np.ndarray, places: np.ndarray, weights: np.ndarray, last: np.ndarray
) -> Entries:
    """Add up the columns of each patient, from the first one's number on, by group and class.

    Parameters
    ----------
    patients : rising, ``(m,)``.
    columns : float64 ``(m, J)``.
    places : where the row's columns are added, one entry a partition, ``(m, K)``.
    weights : float64 ``(m,)``.
    last : scratch, int64, one entry a place, all -1.
    """
    filled = np.count_nonzero(columns) * places.shape[1]
    place, value = np.empty(filled, np.int32), np.empty(filled, np.float64)
    start = np.zeros(patients[-1] - patients[0] + 2, np.int64)
    end, mine, current = 0, 0, patients[0]
    for row in range(len(patients)):
        if patients[row] != current:
            start[current - patients[0] + 1 : patients[row] - patients[0] + 1] = end
            current, mine = patients[row], end
        for part in range(places.shape[1]):
            for column in range(columns.shape[1]):
                if columns[row, column] != 0:
                    at = places[row, part] + column
                    if last[at] < mine:
                        place[end], value[end], last[at] = at, 0.0, end
                        end += 1
                    value[last[at]] += columns[row, column] * weights[row]
    start[current - patients[0] + 1 :] = end
    return Entries(start, place[:end], value[:end])


@compiled
def add_up(packed: np.ndarray, entries: Entries, sums: np.ndarray) -> None:
    """Add all entries, times their patient's weights, to `sums`, float64 ``(places, 64)``."""
    weight = np.empty(LANES)
    for patient in range(len(entries.start) - 1):
        for lane in range(HALF):
            weight[lane] = packed[patient, lane] & 15
            weight[lane + HALF] = packed[patient, lane] >> 4
        for entry in range(entries.start[patient], entries.start[patient + 1]):
            at, value = entries.place[entry], entries.value[entry]
            for lane in range(LANES):
                sums[at, lane] += value * weight[lane]

"""Replicates in blocks of 64, one thread a block: who computes which, and with which weights."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

LANES = 64
# Each thread holds the weights of all patients for one block, 32 bytes a patient; together at most this many bytes.
MOST_BYTES = 2**27
# Each thread takes several blocks at a time where their weights stay below this many bytes.
FEW_BYTES = 2**24
Item = TypeVar("Item")
Result = TypeVar("Result")


def weights_of(patients: int, *, seed: int, replicates: int) -> np.ndarray:
    """Return Poisson(1) weights, float64 ``(patients, R)``: those that all measurements with this seed share.

    They stem from 16 bits each (probabilities right to 1e-5) and depend on nothing but seed, replicate and patient.

    References
    ----------
    Field & Welsh 2007, J R Stat Soc B 69:369 (resampling clusters); Chamandy et al. 2012, Google technical report
    (Poisson weights).
    """
    parts = [packed_weights(patients, seed, block) for block in range(blocks_of(replicates))]
    lanes = np.concatenate([np.hstack([part & 15, part >> 4]) for part in parts], axis=1)
    return lanes[:, 1 : 1 + replicates].astype(np.float64)


def packed_weights(patients: int, seed: int, block: int, lowest: int = 0) -> np.ndarray:
    """Return the weights of a block as the loops of `kernels` take them, uint8 ``(patients, 32)``."""
    from workbench.audit.engine import kernels

    packed = np.empty((patients, kernels.HALF), dtype=np.uint8)
    kernels.draw(packed, key_of(seed), block, lowest)
    return packed


def key_of(seed: int) -> np.uint64:
    """Spread a seed of any size over 64 bits."""
    return np.uint64(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0])


def blocks_of(replicates: int) -> int:
    """Return the number of blocks; the sample itself is the first lane of the first."""
    return -(-(1 + replicates) // LANES)


def threads(patients: int) -> int:
    """Return how many blocks are worked on at once."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, MOST_BYTES // (32 * max(patients, 1))))


def runs_of(replicates: int, patients: int, workers: int) -> list[range]:
    """Cut the blocks into runs, one a thread at a time, for work that has much to prepare before the first block."""
    blocks = range(blocks_of(replicates))
    each = min(-(-len(blocks) // workers), max(1, FEW_BYTES // (32 * max(patients, 1))))
    return [blocks[first : first + each] for first in blocks[::each]]


def in_threads(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> list[Result]:
    """Do `work` for every item, a block or a run of them; the results come in order."""
    items = list(items)
    if workers == 1 or len(items) == 1:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(workers, len(items))) as pool:
        return list(pool.map(work, items))

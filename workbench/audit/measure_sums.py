"""Metrics of sums over rows: each patient's rows are added up once, and a replicate adds up patients.

Only the groups of the finest partitions are summed; all others are unions of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.blocks import LANES, blocks_of, in_threads, packed_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.kernels import Entries
    from workbench.audit.measure import Prepared
    from workbench.audit.metric import Metric, Setting

# Rows gathered together. Sums of fractions depend in the last digit on where the cuts fall: it is no option.
ROWS = 2**15
# Bytes of all sums held at once; replicates beyond are computed in another turn.
MOST_BYTES = 2**25


def values(prepared: Prepared, metrics: Sequence[Metric], setting: Setting) -> dict[str, np.ndarray]:
    """Return metrics that share their columns: by name, of the groups and of their rests, ``(2, G, 1 + R)``."""
    design, overlaps = prepared.design, prepared.overlaps
    assert metrics[0].columns is not None
    columns = np.asarray(metrics[0].columns(design.truth, design.scores, setting), dtype=np.float64)
    wanted = 1 + prepared.replicates
    found = {metric.name: np.empty((2, int(overlaps.starts[-1]), wanted)) for metric in metrics}

    def tell(sums: np.ndarray, block: int) -> None:
        overlaps.complete(sums[block % turn])
        first = block * LANES
        for side, side_sums in enumerate((sums[block % turn], overlaps.rest(sums[block % turn]))):
            for metric in metrics:
                assert metric.of_sums is not None
                told = metric.of_sums(np.moveaxis(side_sums, -1, 1), setting)
                found[metric.name][side, :, first : first + LANES] = told[:, : wanted - first]

    blocks = range(blocks_of(prepared.replicates))
    turn = max(prepared.threads, MOST_BYTES // (8 * LANES * 2 * columns.shape[1] * int(overlaps.starts[-1])))
    for start in blocks[::turn]:
        some = blocks[start : start + turn]
        in_threads(partial(tell, _sums(prepared, columns, some)), some, prepared.threads)
    return found


def _sums(prepared: Prepared, columns: np.ndarray, blocks: range) -> np.ndarray:
    """Return the sums of the groups of the finest partitions, ``(blocks, groups, 2, J, 64)``."""
    from workbench.audit import kernels

    sums = np.zeros((len(blocks), int(prepared.overlaps.starts[-1]), 2, columns.shape[1], LANES))
    for first in range(0, len(prepared.by_patient), ROWS):
        rows = prepared.by_patient[first : first + ROWS]
        lowest, entries = int(prepared.design.patients[rows[0]]), _entries(prepared, rows, columns[rows])

        def add(block: int, lowest: int = lowest, entries: kernels.Entries = entries) -> None:
            packed = packed_weights(len(entries.start) - 1, prepared.seed, block, lowest)
            kernels.add_up(packed, entries, sums[block - blocks[0]].reshape(-1, LANES))

        in_threads(add, blocks, prepared.threads)
    return sums


def _entries(prepared: Prepared, rows: np.ndarray, columns: np.ndarray) -> Entries:
    """Add up the columns of some rows by patient, group and class."""
    from workbench.audit import kernels

    design, starts = prepared.design, prepared.overlaps.starts
    arm = design.truth[rows] if prepared.two_armed else np.zeros(len(rows), dtype=np.bool_)
    width = columns.shape[1]
    groups = [design.partitions[part].codes[rows] + starts[part] for part in prepared.overlaps.finest]
    places = np.stack([(group * 2 + arm) * width for group in groups], axis=1).astype(np.int32)
    scratch = np.full(int(starts[-1]) * 2 * width, -1)
    return kernels.gather(design.patients[rows], np.ascontiguousarray(columns), places, design.weights[rows], scratch)

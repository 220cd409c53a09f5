"""Metrics of sums over rows: each patient's rows are added up once, and a replicate adds up patients.

Only the groups of the finest partitions are summed; all others are unions of them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.audit.engine.blocks import LANES, blocks_of, in_threads, packed_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.engine.kernels import Entries
    from workbench.audit.engine.measure import Prepared
    from workbench.audit.metric import Columns, Metric, Setting

# Rows gathered together. Sums of fractions depend in the last digit on where the cuts fall: it is no option.
ROWS = 2**15
# Columns of all rows held together; wider ones come one after the other.
TOGETHER = 4
# Bytes of all sums held at once; replicates beyond are computed in another turn.
MOST_BYTES = 2**25


class Shared(NamedTuple):
    """Metrics that share their columns, and those, ``(n, J)``."""

    metrics: list[Metric]
    columns: np.ndarray


def values(prepared: Prepared, metrics: Sequence[Metric], setting: Setting) -> dict[str, np.ndarray]:
    """Return all metrics that have columns: by name, of the groups and of their rests, ``(2, G, 1 + R)``."""
    design = prepared.design
    alike: dict[Columns, list[Metric]] = {}
    for metric in metrics:
        if metric.columns is not None:
            alike.setdefault(metric.columns, []).append(metric)
    found: dict[str, np.ndarray] = {}
    together: list[Shared] = []
    for make, some in alike.items():
        columns = np.asarray(make(design.truth, design.scores, setting), dtype=np.float64)
        if together and sum(one.columns.shape[1] for one in together) + columns.shape[1] > TOGETHER:
            found |= _values(prepared, together, setting)
            together = []
        together.append(Shared(some, columns))
    return found | (_values(prepared, together, setting) if together else {})


def _values(prepared: Prepared, shared: Sequence[Shared], setting: Setting) -> dict[str, np.ndarray]:
    overlaps = prepared.overlaps
    groups, wanted = int(overlaps.starts[-1]), 1 + prepared.replicates
    ends = np.cumsum([one.columns.shape[1] for one in shared])
    found = {metric.name: np.empty((2, groups, wanted)) for one in shared for metric in one.metrics}

    def tell(sums: np.ndarray, block: int) -> None:
        own = sums[block % turn]
        overlaps.complete(own)
        first = block * LANES
        for side, every in enumerate((own, overlaps.rest(own))):
            for one, end in zip(shared, ends, strict=True):
                mine = np.moveaxis(every[:, :, end - one.columns.shape[1] : end], -1, 1)
                for metric in one.metrics:
                    assert metric.of_sums is not None
                    found[metric.name][side, :, first : first + LANES] = metric.of_sums(mine, setting)[
                        :, : wanted - first
                    ]

    blocks = range(blocks_of(prepared.replicates))
    turn = max(prepared.threads, MOST_BYTES // (8 * LANES * 2 * int(ends[-1]) * groups))
    for start in blocks[::turn]:
        some = blocks[start : start + turn]
        in_threads(partial(tell, _sums(prepared, [one.columns for one in shared], some)), some, prepared.threads)
    return found


def _sums(prepared: Prepared, columns: Sequence[np.ndarray], blocks: range) -> np.ndarray:
    """Return the sums of the groups of the finest partitions, ``(blocks, groups, 2, J, 64)``."""
    from workbench.audit.engine import kernels

    width = sum(some.shape[1] for some in columns)
    sums = np.zeros((len(blocks), int(prepared.overlaps.starts[-1]), 2, width, LANES))
    for first in range(0, len(prepared.by_patient), ROWS):
        rows = prepared.by_patient[first : first + ROWS]
        entries = _entries(prepared, rows, np.hstack([some[rows] for some in columns]))
        lowest = int(prepared.design.patients[rows[0]])

        def add(block: int, lowest: int = lowest, entries: kernels.Entries = entries) -> None:
            packed = packed_weights(len(entries.start) - 1, prepared.seed, block, lowest)
            kernels.add_up(packed, entries, sums[block - blocks[0]].reshape(-1, LANES))

        in_threads(add, blocks, prepared.threads)
    return sums


def _entries(prepared: Prepared, rows: np.ndarray, columns: np.ndarray) -> Entries:
    """Add up the columns of some rows by patient, group and class."""
    from workbench.audit.engine import kernels

    design, starts = prepared.design, prepared.overlaps.starts
    arm = design.truth[rows] if prepared.two_armed else np.zeros(len(rows), dtype=np.bool_)
    width = columns.shape[1]
    groups = [design.partitions[part].codes[rows] + starts[part] for part in prepared.overlaps.finest]
    places = np.stack([(group * 2 + arm) * width for group in groups], axis=1).astype(np.int32)
    scratch = np.full(int(starts[-1]) * 2 * width, -1)
    return kernels.gather(design.patients[rows], np.ascontiguousarray(columns), places, design.weights[rows], scratch)

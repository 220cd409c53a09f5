"""Metrics that need the rows themselves: group by group, a few replicates at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.engine.blocks import LANES, in_threads, packed_weights, runs_of

if TYPE_CHECKING:
    from workbench.audit.engine.measure import Prepared
    from workbench.audit.metric import Metric, Setting

# Numbers in one array of weights: replicates × rows.
AT_ONCE = 2**19


def values(prepared: Prepared, metric: Metric, setting: Setting) -> np.ndarray:
    """Return one metric of the groups and of their rests, ``(2, G, 1 + R)``."""
    from workbench.audit.engine import kernels

    design, of_rows = prepared.design, metric.of_rows
    assert of_rows is not None
    wanted = 1 + prepared.replicates
    found = np.full((2, int(prepared.overlaps.starts[-1]), wanted), np.nan)

    def tell(blocks: range) -> None:
        weights = [packed_weights(prepared.patients, prepared.seed, block) for block in blocks]
        for side, group, chosen in prepared.sides(prepared.by_patient):
            rows = prepared.by_patient[chosen]
            truth, scores, own = design.truth[rows], design.scores[rows], design.weights[rows]
            patients = design.patients[rows].astype(np.int32)
            lanes = int(np.clip(AT_ONCE // len(rows), 1, LANES))
            for block, packed in zip(blocks, weights, strict=True):
                for lane in range(0, min(LANES, wanted - block * LANES), lanes):
                    first = block * LANES + lane
                    drawn = np.empty((min(lanes, LANES - lane, wanted - first), len(rows)))
                    kernels.unpack(packed, patients, own, lane, drawn)
                    found[side, group, first : first + len(drawn)] = of_rows(truth, scores, drawn, setting)

    in_threads(tell, runs_of(prepared.replicates, prepared.patients, prepared.threads), prepared.threads)
    return found

"""Net benefit over thresholds, with replicates that draw patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from workbench.audit.engine.blocks import blocks_of, packed_weights

if TYPE_CHECKING:
    from workbench.audit.sample import Design


def net_benefit(
    design: Design, thresholds: np.ndarray, *, prevalence: float | None, replicates: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return net benefit of the model and of treating all, and how many the model treats.

    Parameters
    ----------
    design : of two classes.
    thresholds : threshold probabilities t, rising, between 0 and 1, ``(T,)``; images with a score at or above are treated.
    prevalence : share of positives to weigh every group to; None takes each as it is.
    replicates, seed : R Poisson bootstrap replicates of patients, the same for all models, groups and thresholds.

    Returns
    -------
    tuple : net benefits, float64 ``(1 + R, G, T)`` each, the sample itself first, NaN where a group (of ``design.samples``)
        lacks a class that is needed; weight of the images treated, ``(G, T)``.

    References
    ----------
    Vickers & Elkin 2006, Med Decis Making 26:565: TP/n − FP/n · t/(1 − t).
    """
    sums = _called(design, thresholds, replicates, seed)
    negatives, positives = sums[:, 0], sums[:, 1]
    odds = thresholds / (1 - thresholds)
    with np.errstate(divide="ignore", invalid="ignore"):
        if prevalence is None:
            everybody = negatives[..., :1] + positives[..., :1]
            found, wrong, share = positives / everybody, negatives / everybody, positives[..., :1] / everybody
        else:
            found = prevalence * positives / positives[..., :1]
            wrong = (1 - prevalence) * negatives / negatives[..., :1]
            share = np.full(found[..., :1].shape, prevalence)
    return found[..., 1:] - wrong[..., 1:] * odds, share - (1 - share) * odds, sums[0].sum(0)[:, 1:]


def _called(design: Design, thresholds: np.ndarray, replicates: int, seed: int) -> np.ndarray:
    """Weights of images called positive: ``(1 + R, 2, G, 1 + T)``, negatives and positives, of each group; first all of it."""
    width = len(thresholds) + 1
    level = np.searchsorted(thresholds, design.scores, side="right")
    columns, start = [], 0
    for partition in design.partitions:
        columns.append((start + partition.codes) * width + level)
        start += len(partition.names)
    cells = start * width
    place = np.concatenate([column + design.truth * cells for column in columns])
    who = np.tile(design.patients, len(columns))
    patients = int(design.patients.max()) + 1
    images = sparse.csr_array((np.tile(design.weights, len(columns)), (place, who)), shape=(2 * cells, patients))
    parts = []
    for block in range(blocks_of(replicates)):
        packed = packed_weights(patients, seed, block)
        parts.append(images @ np.hstack([packed & 15, packed >> 4]).astype(np.float64))
    sums = np.concatenate(parts, axis=1)[:, : 1 + replicates].T.reshape(-1, 2, start, width)
    return np.asarray(sums[..., ::-1].cumsum(-1)[..., ::-1])

"""Replicates of calibration slope and intercept by one Newton step each, where fitting anew would take minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from workbench.audit.definitions.probabilities import EPS
from workbench.audit.engine.blocks import blocks_of, packed_weights

if TYPE_CHECKING:
    from workbench.audit.sample import Design

NAMES = ("calibration slope", "calibration intercept")
MOST_STEPS, CLOSE = 50, 1e-10


def calibration_replicates(design: Design, slopes: np.ndarray, *, replicates: int, seed: int) -> dict[str, np.ndarray]:
    """Return replicates ``(G, R)`` of both calibration metrics of every group, from the patients' weights of all others.

    A replicate's estimate is the sample's, moved by what its patients pull at it: the inverse Hessian of the likelihood times
    the sum of their scores. Errors are of the order 1/n beside the 1/√n of the estimate's own.

    Parameters
    ----------
    slopes : of each group, in the order of ``design.samples``; a group where it is NaN gets NaN.
    replicates, seed : as in :func:`workbench.audit.engine.measure.measure`.

    References
    ----------
    Davison & Hinkley 1997, Bootstrap Methods and their Application, section 2.7 (linear approximation).
    """
    odds = logit(np.clip(design.scores, EPS, 1 - EPS))
    count = int(design.patients.max()) + 1
    pulls = np.full((2, len(slopes), count), np.nan)
    starts = np.full((2, len(slopes)), np.nan)
    place = -1
    for partition in design.partitions:
        for code in range(len(partition.names)):
            place += 1
            rows = partition.codes == code
            if np.isnan(slopes[place]):
                continue
            truth, weights, patients = (
                design.truth[rows].astype(np.float64),
                design.weights[rows],
                design.patients[rows],
            )
            full = np.column_stack([np.ones(rows.sum()), odds[rows]])
            for number, columns, offset in ((0, full, np.zeros(len(full))), (1, full[:, :1], odds[rows])):
                values, pull = fitted(truth, columns, offset, weights)
                starts[number, place] = values[-1]
                pulls[number, place] = np.bincount(patients, weights=pull[:, -1], minlength=count)
    flat = np.nan_to_num(pulls.reshape(-1, count))
    parts = []
    for block in range(blocks_of(replicates)):
        packed = packed_weights(count, seed, block)
        parts.append(flat @ np.hstack([packed & 15, packed >> 4]).astype(np.float64))
    moved = np.concatenate(parts, axis=1)[:, 1 : 1 + replicates].reshape(2, len(slopes), replicates)
    return dict(zip(NAMES, starts[..., None] + moved, strict=True))


def fitted(
    truth: np.ndarray, columns: np.ndarray, offset: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted logistic regression by Newton's method, and each row's pull ``(n, J)`` on the coefficients ``(J,)``."""
    values = np.zeros(columns.shape[1])
    for _ in range(MOST_STEPS):
        chance = expit(offset + columns @ values)
        scores = columns * (weights * (truth - chance))[:, None]
        hessian = columns.T @ (columns * (weights * chance * (1 - chance))[:, None])
        step = np.linalg.solve(hessian, scores.sum(0))
        values = values + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < CLOSE:
            break
    return values, np.linalg.solve(hessian, scores.T).T

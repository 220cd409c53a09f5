"""Two samples of embeddings: the maximum mean discrepancy, and a classifier that tries to tell them apart."""

from __future__ import annotations

import numpy as np

from workbench.audit.discovery.crossfit import crossfit, patient_folds, rotated, stratified_area

# The classifier sees this many principal components: enough to tell, few enough to be fitted a thousand times.
COMPONENTS = 100
# Assignments and sizes of shift with which the power of the discrepancy is simulated.
SPLITS = 25
SHIFTS = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0])


def squared_distances(points: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances ``(n, n)`` with zeros on the diagonal."""
    lengths = (points**2).sum(1)
    distances = np.maximum(lengths[:, None] + lengths - 2 * (points @ points.T), 0)
    np.fill_diagonal(distances, 0)
    return np.asarray(distances)


def bandwidth(distances: np.ndarray) -> float:
    """Return 2σ² with σ the median distance between two images (Gretton et al. 2012, section 8)."""
    return 2 * float(np.median(distances[np.triu_indices(len(distances), 1)])) or 1.0


def discrepancy(kernel: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Unbiased squared maximum mean discrepancy for each of T assignments.

    Parameters
    ----------
    kernel : symmetric ``(n, n)``; the diagonal does not count.
    after : bool ``(n, T)``.

    References
    ----------
    Gretton, Borgwardt, Rasch, Schölkopf & Smola 2012, J Mach Learn Res 13:723, eq. 3.
    """
    kernel = kernel - np.diag(np.diag(kernel))
    chosen = after.astype(kernel.dtype)
    inside = (chosen * (kernel @ chosen)).sum(0)
    across = kernel.sum(1) @ chosen - inside
    outside = kernel.sum() - inside - 2 * across
    m = after.sum(0).astype(np.float64)
    k = len(after) - m
    return np.asarray(inside / (m * (m - 1)) + outside / (k * (k - 1)) - 2 * across / (m * k))


def detectable_shift(
    points: np.ndarray, distances: np.ndarray, after: np.ndarray, *, critical: float, power: float, seed: int
) -> tuple[float, float]:
    """Simulate by how many standard deviations every feature must move to be found, and the discrepancy this makes.

    Permuted assignments, under which nothing differs, are taken, the images called after are moved (each feature up or
    down at random), and the discrepancy is held against its critical value.

    Parameters
    ----------
    points : ``(n, D)`` scaled; `distances` between them.
    after : bool ``(n, T)``, permuted assignments.
    critical : value that the discrepancy must exceed.
    power : share of tries in which it does.
    seed : of the directions.

    Returns
    -------
    shift, discrepancy : NaN where no shift of `SHIFTS` is found so often.
    """
    generator = np.random.default_rng([seed, 4])
    width = bandwidth(distances)
    values = np.empty((len(SHIFTS), min(SPLITS, after.shape[1])))
    for split in range(values.shape[1]):
        moved = after[:, split]
        direction = generator.choice([-1.0, 1.0], points.shape[1])
        # |x + δv − y|² = |x − y|² + 2δ (x − y)·v + δ²|v|²; within either side nothing changes.
        along = points @ direction
        lead = along[moved][:, None] - along[~moved]
        across = distances[np.ix_(moved, ~moved)]
        same = sum(
            (np.exp(-distances[np.ix_(rows, rows)] / width).sum() - rows.sum()) / (rows.sum() * (rows.sum() - 1.0))
            for rows in (moved, ~moved)
        )
        for place, shift in enumerate(SHIFTS):
            shifted = across + 2 * shift * lead + shift**2 * points.shape[1]
            values[place, split] = same - 2 * np.exp(-shifted / width).mean()
    found = (values > critical).mean(1)
    reached = np.flatnonzero(found >= power)
    if not len(reached):
        return float("nan"), float("nan")
    last = int(reached[0])
    if last == 0:
        return float(SHIFTS[0]), float(values[0].mean())
    part = (power - found[last - 1]) / (found[last] - found[last - 1])
    shift = SHIFTS[last - 1] + part * (SHIFTS[last] - SHIFTS[last - 1])
    return float(shift), float(np.interp(shift, SHIFTS, values.mean(1)))


def told_apart(points: np.ndarray, after: np.ndarray, patients: np.ndarray, *, seed: int) -> np.ndarray:
    """AUROC ``(T,)`` with which a linear classifier tells after from before, on patients it was not fitted to.

    It is given the first `COMPONENTS` principal components of both together.

    References
    ----------
    Lopez-Paz & Oquab 2017, ICLR (classifier two-sample tests).
    """
    folds = patient_folds(after[:, 0].astype(np.float64), patients, seed)
    return stratified_area(crossfit(rotated(points, COMPONENTS), after.astype(np.float64), folds).scores, after)

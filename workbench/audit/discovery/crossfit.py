"""Linear probes whose every score is of a patient they were not fitted to, for many targets at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.stats import rankdata

if TYPE_CHECKING:
    from collections.abc import Sequence

FOLDS = 5
# Ridge penalties, in units of the variance of a standardised feature.
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)


@dataclass(frozen=True, eq=False)
class Probed:
    """Scores ``(n, T)`` of T targets, and the mean ``(n, T)`` of each target in the images that they were fitted to."""

    scores: np.ndarray
    centres: np.ndarray


def crossfit(
    vectors: np.ndarray, targets: np.ndarray, folds: np.ndarray, strata: np.ndarray | None = None
) -> Probed:  # fmt: skip
    """Fit ridge regressions to all folds but one, and score that one; the penalty is chosen by the other folds in turn.

    Choosing the penalty for fold k needs probes fitted without k and j, which serve k and j alike; so K folds take
    K (K + 1) / 2 systems for all targets, and permuted targets cost next to nothing. On 0/1 targets the probe's direction
    is that of the regularised linear discriminant.

    Parameters
    ----------
    vectors : float64 ``(n, D)``, of mean 0; from :func:`scaled` and :func:`rotated`, which look at no target.
    targets : ``(n, T)``.
    folds : int ``(n,)``, 0 to K − 1; a patient is in one.
    strata : int ``(n,)``; features and targets are centred within each stratum of the fitted images, so that what the
        stratum tells of the target is taken away (Frisch & Waugh 1933, Econometrica 1:387). None: one stratum.
    """
    strata = np.zeros(len(vectors), dtype=np.int64) if strata is None else strata
    sums = _Sums(vectors, np.asarray(targets, dtype=np.float64), folds, strata)
    count = int(folds.max()) + 1
    loss = np.zeros((count, len(PENALTIES), sums.targets.shape[1]))
    for k in range(count):
        for j in range(k):
            for place, (weights, means) in enumerate(sums.solutions((k, j))):
                for held, other in ((j, k), (k, j)):
                    residual = sums.residual(held, weights, means)
                    loss[other, place] += (residual**2).sum(0)
    scores, centres = np.empty_like(sums.targets), np.empty_like(sums.targets)
    best = loss.argmin(1)
    for k in range(count):
        rows = sums.rows[k]
        for place, (weights, means) in enumerate(sums.solutions((k,))):
            chosen = best[k] == place
            scores[np.ix_(rows, chosen)] = (vectors[rows] - means[0][strata[rows]]) @ weights[:, chosen]
        centres[rows] = means[1][strata[rows]]
    return Probed(scores, centres)


def scaled(vectors: np.ndarray) -> np.ndarray:
    """Bring each feature to mean 0 and standard deviation 1; those that never vary are left out."""
    spread = vectors.std(0)
    kept = spread > 1e-12 * max(float(np.abs(vectors).max(initial=0)), 1e-300)
    result = (vectors[:, kept] - vectors[:, kept].mean(0)) / spread[kept]
    return np.asarray(result) if result.shape[1] else np.zeros((len(vectors), 1))


def rotated(points: np.ndarray, most: int | None = None) -> np.ndarray:
    """Return principal components of `points`, at most `most`.

    There are never more than images; a rotation to as many loses nothing that a ridge could use.
    """
    if points.shape[1] <= min(len(points), most or len(points)):
        return points
    left, lengths, _ = np.linalg.svd(points, full_matrices=False)
    return np.asarray((left * lengths)[:, :most])


def patient_folds(values: np.ndarray, patients: np.ndarray, seed: int) -> np.ndarray:
    """Deal patients out to `FOLDS` folds so that each gets its share of high and low `values`; int64 ``(n,)``."""
    mean = np.bincount(patients, weights=values) / np.bincount(patients)
    order = np.random.default_rng([seed, 1]).permutation(len(mean))
    order = order[np.argsort(mean[order], kind="stable")]
    fold = np.empty(len(mean), dtype=np.int64)
    fold[order] = np.arange(len(mean)) % FOLDS
    return np.asarray(fold[patients])


def permutations(
    values: np.ndarray, patients: np.ndarray, strata: np.ndarray | None, *, count: int, seed: int
) -> np.ndarray:  # fmt: skip
    """Exchange an attribute between patients, `count` times: ``(n, count)``.

    Where each patient has one value, whole patients exchange theirs. Where a patient's images differ, patients with as many
    images exchange all of them, and each shuffles its own. With strata (labels), only patients with the same labels exchange,
    and images of the same label.

    Parameters
    ----------
    values : ``(n,)``.
    patients : ``(n,)``, numbers without gaps, rising.
    strata : int ``(n,)`` or None.
    count, seed : of the permutations.
    """
    generator = np.random.default_rng([seed, 2])
    strata = np.zeros(len(values), dtype=np.int64) if strata is None else strata
    order = np.lexsort((strata, patients))
    starts = np.flatnonzero(np.diff(patients[order], prepend=-1))
    constant = bool((np.maximum.reduceat(values[order], starts) == np.minimum.reduceat(values[order], starts)).all())
    drawn = np.empty((len(values), count), dtype=values.dtype, order="F")
    if constant and not strata.any():
        own = values[order[starts]]
        for column in range(count):
            drawn[:, column] = own[generator.permutation(len(own))][patients]
        return drawn
    blocks = np.split(order, starts[1:])
    groups: dict[tuple[int, ...], list[np.ndarray]] = {}
    for rows in blocks:
        labels = strata[rows]
        groups.setdefault(tuple(np.unique(labels) if constant else labels), []).append(rows)
    for key, members in sorted(groups.items()):
        if constant:
            own = values[[rows[0] for rows in members]]
            sizes = [len(rows) for rows in members]
            every = np.concatenate(members)
            for column in range(count):
                drawn[every, column] = np.repeat(own[generator.permutation(len(own))], sizes)
        else:
            grid = np.stack(members)
            columns = [np.flatnonzero(np.array(key) == label) for label in sorted(set(key))]
            for column in range(count):
                moved = grid[generator.permutation(len(grid))]
                for places in columns:
                    drawn[grid[:, places], column] = values[generator.permuted(moved[:, places], axis=1)]
    return drawn


def stratified_area(scores: np.ndarray, positive: np.ndarray, strata: np.ndarray | None = None) -> np.ndarray:
    """AUROC over pairs of images of the same stratum, ``(T,)``, from ``(n, T)`` scores and truths; ties count half."""
    strata = np.zeros(len(scores), dtype=np.int64) if strata is None else strata
    right, pairs = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for stratum in np.unique(strata):
        rows = strata == stratum
        positives = positive[rows].sum(0)
        ranks = rankdata(scores[rows], axis=0)
        right += (ranks * positive[rows]).sum(0) - positives * (positives + 1) / 2
        pairs += positives * (rows.sum() - positives)
    return np.asarray(np.divide(right, pairs, out=np.full(len(right), np.nan), where=pairs > 0))


class _Sums:
    """Sums over each fold, from which the normal equations of any training set are put together."""

    def __init__(self, vectors: np.ndarray, targets: np.ndarray, folds: np.ndarray, strata: np.ndarray) -> None:
        self.vectors, self.targets, self.strata = vectors, targets, strata
        self.rows = [np.flatnonzero(folds == k) for k in range(int(folds.max()) + 1)]
        levels = np.arange(int(strata.max()) + 1)
        sides = [(strata[rows][None] == levels[:, None]).astype(np.float64) for rows in self.rows]
        self.counts = np.array([side.sum(1) for side in sides])
        self.features = np.array([side @ vectors[rows] for side, rows in zip(sides, self.rows, strict=True)])
        self.answers = np.array([side @ targets[rows] for side, rows in zip(sides, self.rows, strict=True)])
        self.grams = np.array([vectors[rows].T @ vectors[rows] for rows in self.rows])
        self.crosses = np.array([vectors[rows].T @ targets[rows] for rows in self.rows])

    def solutions(self, left_out: Sequence[int]) -> list[tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
        """Return weights ``(D, T)`` for each penalty, with the strata's means of features and targets, fitted without some folds."""
        kept = [k for k in range(len(self.rows)) if k not in left_out]
        counts = self.counts[kept].sum(0)
        size = np.maximum(counts, 1)[:, None]
        features, answers = self.features[kept].sum(0), self.answers[kept].sum(0)
        gram = self.grams[kept].sum(0) - features.T @ (features / size)
        cross = self.crosses[kept].sum(0) - features.T @ (answers / size)
        means = features / size, answers / size
        eye = np.eye(len(gram)) * counts.sum()
        return [(cho_solve(cho_factor(gram + penalty * eye), cross), means) for penalty in PENALTIES]

    def residual(self, fold: int, weights: np.ndarray, means: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Return what the probe leaves of the targets of a fold that it was not fitted to."""
        rows = self.rows[fold]
        features, answers = (mean[self.strata[rows]] for mean in means)
        return np.asarray(self.targets[rows] - answers - (self.vectors[rows] - features) @ weights)

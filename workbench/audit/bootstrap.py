"""The bootstrap over patients: every metric of every group, and of everybody else, from the same replicates.

A replicate gives each patient a Poisson(1) weight, and all images of a patient share it. The weighted area under the
ROC curve is a sum over the distinct scores of positives, so rows are first gathered into sparse matrices (distinct
score × patient); a block of replicates is then a few products with the matrix of weights. The cost grows with the number
of rows and of partitions, not with the number of groups. All sums are of whole and half numbers below 2⁵³ and
therefore exact: the result does not depend on the order of rows or on threads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from workbench.audit.sample import Design

# Replicates computed together: wide enough for the vector units, small enough for the cache.
BLOCK = 32


@dataclass(frozen=True, eq=False)
class Replicates:
    """Bootstrap values of each metric, ``(groups, replicates)`` float64, for the groups and for the rest of each."""

    group: dict[str, np.ndarray]
    rest: dict[str, np.ndarray]


def bootstrap(design: Design, threshold: float, *, replicates: int, seed: int) -> Replicates:
    """Draw `replicates` of AUROC, sensitivity and specificity for all groups of `design`, in the order of its samples.

    A value is NaN where a replicate leaves a group without positives or negatives.

    References
    ----------
    Field & Welsh 2007, J R Stat Soc B 69:369 (resampling clusters); Chamandy et al. 2012, Google technical report
    (Poisson weights).
    """
    plans = _plans(design)
    counts = _counts(design, threshold)
    patients = int(design.patients.max()) + 1
    blocks = []
    for start in range(0, replicates, BLOCK):
        weights = _weights(patients, seed, start // BLOCK)
        blocks.append(_block(plans, counts, weights)[..., : replicates - start])
    values = np.concatenate(blocks, axis=-1)
    metrics = ("AUROC", "sensitivity", "specificity")
    return Replicates(
        {metric: values[0, place] for place, metric in enumerate(metrics)},
        {metric: values[1, place] for place, metric in enumerate(metrics)},
    )


def _weights(patients: int, seed: int, block: int) -> np.ndarray:
    """Poisson(1) weights, float64 ``(patients, BLOCK)``, from 16 random bits each (probabilities right to 1e-5)."""
    bits = np.random.default_rng([seed, block]).integers(0, 2**16, size=(patients, BLOCK), dtype=np.uint16)
    return _poisson_table()[bits]


def _poisson_table() -> np.ndarray:
    mass = np.exp(-1.0) / np.array([math.factorial(k) for k in range(9)])
    return np.searchsorted(np.round(np.cumsum(mass) * 2**16), np.arange(2**16), side="right").astype(np.float64)


@dataclass(frozen=True, eq=False)
class _Plan:
    """One group's images as sparse matrices over patients.

    positives : ``(a, patients)``, images at each of the group's distinct positive scores.
    negatives : ``(b, patients)``, images in each step of the curve where the group has negatives.
    rank, step : where those rows stand among all distinct positive scores.
    last : for each positive row the last negative row that counts below it, −1 for none.
    """

    positives: sparse.csr_array
    negatives: sparse.csr_array
    rank: np.ndarray
    step: np.ndarray
    last: np.ndarray


def _plans(design: Design) -> list[_Plan]:
    """Return a plan for every group; the first is everybody's."""
    patients = int(design.patients.max()) + 1
    distinct = np.unique(design.scores[design.truth])
    positive = np.flatnonzero(design.truth)
    rank = np.searchsorted(distinct, design.scores[positive])
    row, step, share = _steps(design, distinct)
    plans = []
    for partition in design.partitions:
        first, second = partition.codes[positive], partition.codes[row]
        for code in range(len(partition.names)):
            mine = first == code
            ranks, left = _matrix(rank[mine], design.patients[positive[mine]], np.ones(int(mine.sum())), patients)
            mine = second == code
            steps, right = _matrix(step[mine], design.patients[row[mine]], share[mine], patients)
            plans.append(_Plan(left, right, ranks, steps, np.searchsorted(steps, ranks, side="right") - 1))
    return plans


def _steps(design: Design, distinct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each negative image, the lowest distinct positive score it stands below; a tie counts half there, half after.

    Returns row, step and share, one entry or two a row. The step after the last score holds what stands above all.
    """
    negative = np.flatnonzero(~design.truth)
    step = np.searchsorted(distinct, design.scores[negative], side="left")
    tied = np.zeros(len(negative), dtype=bool)
    inside = step < len(distinct)
    tied[inside] = distinct[step[inside]] == design.scores[negative[inside]]
    row = np.concatenate([negative, negative[tied]])
    share = np.concatenate([np.where(tied, 0.5, 1.0), np.full(int(tied.sum()), 0.5)])
    return row, np.concatenate([step, step[tied] + 1]), share


def _matrix(
    place: np.ndarray, patient: np.ndarray, value: np.ndarray, patients: int
) -> tuple[np.ndarray, sparse.csr_array]:
    present, rows = np.unique(place, return_inverse=True)
    return present, sparse.csr_array((value, (rows, patient)), shape=(len(present), patients))


def _counts(design: Design, threshold: float) -> list[sparse.csr_array]:
    """Four matrices (groups × patients): positives, those found, negatives, those left alone."""
    called = design.scores >= threshold
    patients = int(design.patients.max()) + 1
    result = []
    for chosen in (design.truth, design.truth & called, ~design.truth, ~design.truth & ~called):
        rows = np.flatnonzero(chosen)
        offset, group, patient = 0, [], []
        for partition in design.partitions:
            group.append(partition.codes[rows] + offset)
            patient.append(design.patients[rows])
            offset += len(partition.names)
        place = np.concatenate(group), np.concatenate(patient)
        result.append(sparse.csr_array((np.ones(len(place[0])), place), shape=(offset, patients)))
    return result


def _block(plans: list[_Plan], counts: list[sparse.csr_array], weights: np.ndarray) -> np.ndarray:
    """Return one block of replicates: ``(group | rest, metric, groups, BLOCK)``."""
    positives, found, negatives, passed = (matrix @ weights for matrix in counts)
    pairs, rest_pairs = _pairs(plans, weights)
    values = np.empty((2, 3, len(plans), weights.shape[1]))
    with np.errstate(invalid="ignore", divide="ignore"):
        values[0] = pairs / (positives * negatives), found / positives, passed / negatives
        positives, found, negatives, passed = (c[0] - c for c in (positives, found, negatives, passed))
        values[1] = rest_pairs / (positives * negatives), found / positives, passed / negatives
    return values


def _pairs(plans: list[_Plan], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted number of pairs in the right order, within each group and within the rest, ``(groups, BLOCK)`` each.

    Of all pairs, those of the rest are what is left without the group's positives and without its negatives;
    pairs inside the group are then taken away twice and given back once.
    """
    everybody = plans[0]
    length = int(max(everybody.rank.max(initial=-1), everybody.step.max(initial=-1))) + 2
    below, above = np.zeros((length, weights.shape[1])), np.zeros((length, weights.shape[1]))
    below[everybody.step] = everybody.negatives @ weights
    np.cumsum(below, axis=0, out=below)
    above[everybody.rank] = everybody.positives @ weights
    np.cumsum(above[::-1], axis=0, out=above[::-1])
    inside, rest = [], []
    for plan in plans:
        positive, negative = plan.positives @ weights, plan.negatives @ weights
        own = np.vstack([np.zeros((1, weights.shape[1])), np.cumsum(negative, axis=0)])[plan.last + 1]
        within = _dot(positive, own)
        inside.append(within)
        rest.append(within - _dot(positive, below[plan.rank]) - _dot(negative, above[plan.step]))
    total = inside[0]
    return np.array(inside), np.array(rest) + total


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    total: np.ndarray = np.einsum("ij,ij->j", first, second)
    return total

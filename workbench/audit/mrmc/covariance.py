"""How the readers' figures of merit vary together because they rest on the same cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from workbench.audit.mrmc.merit import NOBODY, placements
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.audit.mrmc.merit import Sides

COVARIANCES = ("DeLong", "jackknife", "unbiased")


def delong(sides: Sides) -> tuple[np.ndarray, np.ndarray]:
    """Return the figures of merit ``(P,)`` and their covariance ``(P, P)`` from the placements of the cases.

    With several cases a patient, the placements of a patient's cases are summed before they are squared.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; clustered: Obuchowski 1997, Biometrics 53:567.
    """
    values, above, below = placements(sides)
    m, n = sides.counts
    first, first_seen = _by_patient(above - values[:, None], sides.positive, sides.positive_patients, sides)
    second, second_seen = _by_patient(below - values[:, None], sides.negative, sides.negative_patients, sides)
    first, second = first / m[:, None], second / n[:, None]
    total = _corrected(first_seen)[:, None] * first @ (_corrected(first_seen)[:, None] * first).T
    total += _corrected(second_seen)[:, None] * second @ (_corrected(second_seen)[:, None] * second).T
    cross = _corrected(first_seen | second_seen)
    mixed = (cross[:, None] * first) @ (cross[:, None] * second).T
    return values, total + mixed + mixed.T


def jackknife(sides: Sides) -> tuple[np.ndarray, np.ndarray]:
    """Return the figures of merit and their covariance from leaving out one patient at a time."""
    values, left = leave_one_out(sides)
    seen = np.isfinite(left)
    count = seen.sum(1)
    deviation = np.where(seen, left - (np.where(seen, left, 0).sum(1) / count)[:, None], 0)
    deviation *= np.sqrt((count - 1) / count)[:, None]
    return values, deviation @ deviation.T


def leave_one_out(sides: Sides) -> tuple[np.ndarray, np.ndarray]:
    """Return the figures of merit ``(P,)``, and those without each of G patients, ``(P, G)``; NaN where not read."""
    values, above, below = placements(sides)
    m, n = (count[:, None].astype(np.float64) for count in sides.counts)
    lost_first, first_seen = _by_patient(above * n, sides.positive, sides.positive_patients, sides)
    lost_second, second_seen = _by_patient(below * m, sides.negative, sides.negative_patients, sides)
    first_count, _ = _by_patient(np.ones_like(above), sides.positive, sides.positive_patients, sides)
    second_count, _ = _by_patient(np.ones_like(below), sides.negative, sides.negative_patients, sides)
    pairs = (m - first_count) * (n - second_count)
    if (pairs == 0).any():
        message = "one patient holds all cases of a class for some reader, so that nothing is left without that patient; take covariance='DeLong'."
        raise InputError(message)
    won = values[:, None] * m * n - lost_first - lost_second + _within(sides)
    return values, np.where(first_seen | second_seen, won / pairs, np.nan)


def unbiased(sides: Sides) -> tuple[np.ndarray, np.ndarray]:
    """Return the figures of merit and the unbiased estimate of their covariance; it may be negative on the diagonal.

    References
    ----------
    Gallas 2006, Acad Radiol 13:353: the second moments of one pair of readers, weighted by their numbers of pairs.
    """
    won, pairs = pair_sums(sides)
    moments, counts = distinct(won), distinct(pairs)
    weights = counts / pairs[3]
    means = np.divide(moments, counts, out=np.zeros_like(moments), where=counts > 0)
    values = np.sqrt(np.diagonal(won[3]) / np.diagonal(pairs[3]))
    # Without two cases in common in a class, nothing estimates the product of the means but the product itself.
    square = np.where(counts[3] > 0, means[3], np.outer(values, values))
    return values, (weights * means).sum(0) - square


def pair_sums(sides: Sides) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each two rows, sums of products of wins over pairs of pairs, and how many those are, ``(4, P, P)`` each.

    The four sums run over: the same positive and negative; the same positive; the same negative; any two pairs. A row's
    wins against itself are among them.
    """
    _, above, below = placements(sides)
    m, n = (count.astype(np.float64) for count in sides.counts)
    first, second = above * n[:, None], below * m[:, None]
    total = first.sum(1)
    same = np.zeros((len(sides), len(sides)))
    for block in sides.wins():
        same += block @ block.T / 4
    read_first, read_second = (np.isfinite(side).astype(np.float64) for side in (sides.positive, sides.negative))
    both_first, both_second = read_first @ read_first.T, read_second @ read_second.T
    won = np.stack([same, first @ first.T, second @ second.T, np.outer(total, total)])
    pairs = np.stack([
        both_first * both_second, both_first * np.outer(n, n), both_second * np.outer(m, m), np.outer(m * n, m * n)
    ])  # fmt: skip
    return won, pairs


def distinct(sums: np.ndarray) -> np.ndarray:
    """Turn sums over pairs of pairs, ``(4, …)``, into those in which cases that are not the same one do differ."""
    same, positive, negative, every = sums
    return np.stack([same, positive - same, negative - same, every - positive - negative + same])


def _by_patient(
    values: np.ndarray, scores: np.ndarray, patients: np.ndarray, sides: Sides
) -> tuple[np.ndarray, np.ndarray]:
    """Sum values of the cases read by patient, ``(P, G)``, and say which patients were read."""
    known = np.union1d(sides.positive_patients, sides.negative_patients)
    known = known[known != NOBODY]
    real = patients != NOBODY
    codes = np.searchsorted(known, patients[real])
    gather = sparse.csr_array((np.ones(len(codes)), (np.flatnonzero(real), codes)), shape=(len(patients), len(known)))
    read = np.isfinite(scores)
    return (gather.T @ np.where(read, values, 0.0).T).T, (gather.T @ read.T.astype(np.float64)).T > 0


def _within(sides: Sides) -> np.ndarray | float:
    """Sum the wins among a patient's own cases, ``(P, G)``: leaving the patient out takes them away twice."""
    known = np.union1d(sides.positive_patients, sides.negative_patients)
    known = known[known != NOBODY]
    shared = np.intersect1d(sides.positive_patients, sides.negative_patients)
    total = np.zeros((len(sides), len(known)))
    for patient in shared[shared != NOBODY]:
        above = sides.positive[:, sides.positive_patients == patient, None]
        below = sides.negative[:, None, sides.negative_patients == patient]
        won = (above > below) + 0.5 * (above == below)
        total[:, np.searchsorted(known, patient)] = won.sum((1, 2))
    return total


def _corrected(seen: np.ndarray) -> np.ndarray:
    """Return √(G / (G − 1)) for the patients read in each row; 0 for a class that nobody is of."""
    count = seen.sum(1).astype(np.float64)
    return np.asarray(np.sqrt(np.divide(count, count - 1, out=np.zeros_like(count), where=count > 1)))

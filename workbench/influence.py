"""How much each patient pulls a mean away from its estimate, and how many degrees of freedom that leaves.

References
----------
Bell & McCaffrey 2002, Survey Methodology 28:169 (the correction CR2); Imbens & Kolesár 2016, Rev Econ Stat 98:701 (degrees
of freedom).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence


# Relative differences below this are rounding.
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False)
class Side:
    """K means of the same images, and what each of G patients brings to them.

    Parameters
    ----------
    means : float64 ``(K,)``; NaN without images.
    counts : images of each patient, float64 ``(G, K)``.
    sums : sums of each patient's residuals, ``(G, K)``.
    variance : of an image's value, ``(K,)``.
    constant : where all values are equal, bool ``(K,)``.
    """

    means: np.ndarray
    counts: np.ndarray
    sums: np.ndarray
    variance: np.ndarray
    constant: np.ndarray

    @property
    def images(self) -> np.ndarray:
        """Number of images, float64 ``(K,)``."""
        return np.asarray(self.counts.sum(0))

    @property
    def patients(self) -> np.ndarray:
        """Number of patients with an image, int64 ``(K,)``."""
        return np.asarray((self.counts > 0).sum(0))

    @property
    def kish(self) -> np.ndarray:
        """Effective images if a patient's images all told the same, (Σm)² / Σm², ``(K,)``."""
        return np.asarray(self.images**2 / np.maximum((self.counts**2).sum(0), 1))


def side(values: np.ndarray, patients: Sequence[object] | np.ndarray) -> Side:
    """Gather values ``(n, K)``, NaN where an image does not belong, by patient."""
    names, codes = np.unique(np.asarray(patients).astype(str), return_inverse=True)
    gather = sparse.csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(len(names), len(codes)))
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)
    images = known.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = filled.sum(0) / images
    residuals = np.where(known, values - means, 0.0)
    high, low = (
        np.nanmax(np.where(images > 0, values, 0.0), axis=0),
        np.nanmin(np.where(images > 0, values, 0.0), axis=0),
    )
    return Side(
        means=means, counts=gather @ known.astype(np.float64), sums=gather @ residuals,
        variance=(residuals**2).sum(0) / np.maximum(images - 1, 1), constant=high - low <= ROUNDING * np.maximum(np.abs(high), np.abs(low)),
    )  # fmt: skip


def influence(means: Side) -> np.ndarray:
    """Return each patient's pull on each mean, ``(G, K)``; NaN for a mean of fewer than two patients.

    The sum of squares of a column is the cluster-robust variance CR2, which is unbiased where images are independent.
    What only rounding makes of patients that do not differ is zero.
    """
    still = (means.sums**2).sum(0) <= ROUNDING**2 * means.variance * means.images
    pulled = np.where(means.constant | still, 0.0, means.sums * _pull(means))
    return np.asarray(np.where(means.patients > 1, pulled, np.nan))


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate the errors of two means through the patients they share, ``(K,)``; 0 where one has none."""
    first, second = np.nan_to_num(first), np.nan_to_num(second)
    lengths = np.sqrt((first**2).sum(0) * (second**2).sum(0))
    return np.asarray(np.clip((first * second).sum(0) / np.where(lengths > 0, lengths, 1), -1, 1))


def freedom(first: Side, second: Side | None = None) -> np.ndarray:
    """Return Satterthwaite's degrees of freedom ``tr(C)² / tr(C²)`` of a mean, or of a difference of two, ``(K,)``.

    C is the covariance of the patients' pulls where each side has a variance of its own and the images of a patient
    correlate alike (Imbens & Kolesár 2016, section III.B, with a variance for each side). With one image a patient it gives
    n − 1 and Welch's. C is a diagonal plus a matrix of rank 4, so that nothing of size G × G is built.
    """
    other = _nothing(first) if second is None else second
    rho = _intraclass(first, other)
    a, b, p, q = first.counts, other.counts, _pull(first), _pull(other)
    n_a, n_b = np.maximum(first.images, 1), np.maximum(other.images, 1)
    var_a, var_b = first.variance * a * (1 + (a - 1) * rho), other.variance * b * (1 + (b - 1) * rho)
    shared = rho * np.sqrt(first.variance * other.variance) * a * b
    diagonal = p**2 * var_a + q**2 * var_b - 2 * p * q * shared
    factors = np.stack([p * a, q * b, (p * var_a - q * shared) / n_a, (p * shared - q * var_b) / n_b], axis=-1)
    middle = np.zeros((len(rho), 4, 4))
    middle[:, 0, 0], middle[:, 1, 1] = var_a.sum(0) / n_a**2, var_b.sum(0) / n_b**2
    middle[:, 0, 1] = middle[:, 1, 0] = -shared.sum(0) / (n_a * n_b)
    middle[:, 0, 2] = middle[:, 2, 0] = -1
    middle[:, 1, 3] = middle[:, 3, 1] = 1
    product = middle @ np.einsum("gki,gkj->kij", factors, factors)
    trace = diagonal.sum(0) + np.einsum("kii->k", product)
    cross = np.einsum("gk,gki,gki->k", diagonal, factors, np.einsum("gkj,kij->gki", factors, middle))
    square = (diagonal**2).sum(0) + 2 * cross + np.einsum("kij,kji->k", product, product)
    return np.asarray(np.where(square > 0, trace**2 / np.where(square > 0, square, 1), np.nan))


def _pull(means: Side) -> np.ndarray:
    """By how much one unit of a patient's residuals moves the mean: 1/N, over √(1 − the patient's part of N).

    For means, Bell and McCaffrey's matrix (I − H)^-½ has this closed form.
    """
    images = np.maximum(means.images, 1)
    left = 1 - means.counts / images
    corrected = 1 / (images * np.sqrt(np.where(left > 0, left, 1)))
    return np.asarray(np.where((means.counts > 0) & (left > 0), corrected, 0.0))


def _intraclass(first: Side, second: Side) -> np.ndarray:
    """Correlation of two images of a patient, 0–1: the mean product of their residuals, in units of each side's spread."""
    sums, squares = np.zeros_like(first.sums), np.zeros_like(first.means)
    for means in (first, second):
        spread = np.sqrt(means.variance)
        sums += means.sums / np.where(spread > 0, spread, 1)
        squares += np.where(spread > 0, np.maximum(means.images - 1, 0), 0)
    counts = first.counts + second.counts
    pairs = (counts * (counts - 1)).sum(0)
    return np.asarray(np.clip(((sums**2).sum(0) - squares) / np.maximum(pairs, 1), 0, 1))


def _nothing(like: Side) -> Side:
    zero = np.zeros_like
    return Side(zero(like.means), zero(like.counts), zero(like.sums), zero(like.variance), zero(like.constant))

"""Intervals and p-values from bootstrap replicates: of one quantity, and of a family that must hold together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

# Fewer replicates than this beyond a value do not tell how rare it is.
FEW = 10


@dataclass(frozen=True, eq=False)
class Band:
    """K quantities whose intervals all hold at once.

    Parameters
    ----------
    low, high : float64 ``(K,)``; NaN where a quantity or its spread is not known.
    p : two-sided p-values of "zero", adjusted for the family (single-step max-T), ``(K,)``.
    width : standard errors on either side of the values.
    """

    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    width: float


def percentiles(drawn: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of percentile intervals over the last axis; NaN where no replicate is known."""
    known = np.isfinite(drawn)
    some = known.any(-1)
    filled = np.where(some[..., None], np.where(known, drawn, np.nan), 0.0)
    low, high = np.nanquantile(filled, [(1 - level) / 2, (1 + level) / 2], axis=-1)
    return np.where(some, low, np.nan), np.where(some, high, np.nan)


def p_zero(drawn: np.ndarray) -> np.ndarray:
    """Two-sided p-value of "the quantity is zero" over the last axis: where its percentile interval begins to hold zero.

    With fewer than `FEW` replicates beyond zero these cannot be told apart by counting, and the tail is taken for normal
    (Davison & Hinkley 1997, Bootstrap Methods, section 4.4).
    """
    known = np.isfinite(drawn)
    count = known.sum(-1)
    with np.errstate(invalid="ignore"):
        below, above = ((drawn <= 0) & known).sum(-1), ((drawn >= 0) & known).sum(-1)
    fewest = np.minimum(below, above)
    p = np.minimum(2 * (fewest + 1) / (count + 1), 1.0)
    mean, error = np.where(known, drawn, 0.0).sum(-1) / np.maximum(count, 1), spread(drawn)
    with np.errstate(invalid="ignore", divide="ignore"):
        tail = 2 * ndtr(-np.abs(mean) / error)
    p = np.where((fewest < FEW) & (error > 0), np.minimum(p, tail), p)
    return np.where(count > 0, p, np.nan)


def together(values: np.ndarray, drawn: np.ndarray, level: float) -> Band:
    """Widen the intervals of K quantities until all hold at once, read from the largest error of each replicate.

    Parameters
    ----------
    values : ``(K,)``.
    drawn : ``(K, R)``; column r of all rows comes from the same patients.
    level : of the whole family.

    A p-value that fewer than `FEW` replicates would tell is Bonferroni's of the normal tail.

    References
    ----------
    Westfall & Young 1993, Resampling-Based Multiple Testing (single-step max-T).
    """
    unknown = np.full(len(values), np.nan)
    error = spread(drawn)
    family = np.isfinite(values) & (error > 0)
    if not family.any():
        return Band(unknown, unknown, unknown, np.nan)
    errors = np.abs(drawn[family] - values[family, None]) / error[family, None]
    largest = np.sort(np.where(np.isfinite(errors), errors, 0.0).max(0))
    width = float(np.quantile(largest, level))
    reached = np.abs(values[family]) / error[family]
    p = unknown.copy()
    beyond = len(largest) - np.searchsorted(largest, reached, side="left")
    counted, bonferroni = (beyond + 1) / (len(largest) + 1), np.minimum(2 * ndtr(-reached) * len(reached), 1.0)
    p[family] = np.where(beyond < FEW, np.minimum(counted, bonferroni), counted)
    return Band(
        values - width * np.where(family, error, np.nan), values + width * np.where(family, error, np.nan), p, width
    )


def spread(drawn: np.ndarray) -> np.ndarray:
    """Standard deviation of the known replicates over the last axis; NaN with fewer than two, 0 where only rounding differs."""
    known = np.isfinite(drawn)
    count = known.sum(-1)
    filled = np.where(known, drawn, 0.0)
    mean = filled.sum(-1) / np.maximum(count, 1)
    square = (np.where(known, drawn - mean[..., None], 0.0) ** 2).sum(-1) / np.maximum(count - 1, 1)
    still = square <= (1e-12 * np.maximum(np.abs(mean), 1)) ** 2
    return np.asarray(np.where(count > 1, np.where(still, 0.0, np.sqrt(square)), np.nan))

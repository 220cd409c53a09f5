"""How alike are two heat maps? Rank correlation and structural similarity, for many pairs of maps at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.stats import rankdata

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

FLAT = 1e-6  # of the largest |value|: a constant that was resampled in float32 differs by about 1e-7
WINDOW = 7  # positions a side, as in skimage
K1, K2 = 0.01, 0.03  # as Wang et al. 2004 set them


def rank_correlation(first: np.ndarray, second: np.ndarray, *, absolute: bool = False) -> np.ndarray:
    """Spearman's rank correlation over the positions of each pair of maps; ties share their mean rank.

    Any monotone change of a map's scale leaves it as it is. Adebayo et al. 2018 (arXiv:1810.03292)
    report it with and without `absolute`: a map whose sign flips everywhere with the last layer's weights has a signed
    correlation of -1 and an absolute one of 1, for its structure has not moved.

    Parameters
    ----------
    first, second : ``(n, *spatial)``, two or three spatial axes.
    absolute : compare |maps|.

    Returns
    -------
    float64 ``(n,)``, -1 to 1. NaN where a map is flat: the order of equal values means nothing.

    Raises
    ------
    InputError : where the shapes differ or a value is not finite.

    Examples
    --------
    >>> heat = np.arange(12.0).reshape(1, 3, 4)
    >>> rank_correlation(heat, heat**3), rank_correlation(heat, -heat), rank_correlation(heat, 0 * heat)
    (array([1.]), array([-1.]), array([nan]))
    """
    first, second = _checked(first, second, absolute=absolute)
    ranks = [_standardised(rankdata(maps.reshape(len(maps), -1), axis=1)) for maps in (first, second)]
    return _defined(np.einsum("ni,ni->n", *ranks), first, second)


def ssim(first: np.ndarray, second: np.ndarray, *, absolute: bool = False) -> np.ndarray:
    """Return the mean structural similarity (Wang et al. 2004, IEEE TIP 13:600, eq. 13) of each pair of maps.

    Each map is first divided by its own largest |value|, so that the unit of a map plays no part and zero stays zero;
    the dynamic range L is then that of what the maps may hold: 2 (from -1 to 1), or 1 with `absolute`.
    Windows of 7 positions a side (fewer where an axis is shorter), all alike, unbiased variances, the mean over all
    windows that lie wholly within: what ``skimage.metrics.structural_similarity`` computes.

    A sparse map, a few high values over many near zero, is mostly windows without contrast; two such maps are alike
    in all of these whatever they show. Read this number beside its baseline.

    Parameters
    ----------
    first, second : ``(n, *spatial)``, two or three spatial axes.
    absolute : compare |maps|.

    Returns
    -------
    float64 ``(n,)``, -1 to 1. NaN where a map is flat.

    Raises
    ------
    InputError : where the shapes differ or a value is not finite.

    Examples
    --------
    >>> heat = np.random.default_rng(0).normal(size=(1, 16, 16))
    >>> float(ssim(heat, 5 * heat)[0])
    1.0
    """
    first, second = _checked(first, second, absolute=absolute)
    windows = [_odd(min(WINDOW, side)) for side in first.shape[1:]]
    count = float(np.prod(windows))
    unbiased = count / max(count - 1, 1)
    limits = [
        np.abs(maps).reshape(len(maps), -1).max(1).reshape(-1, *[1] * (maps.ndim - 1)) for maps in (first, second)
    ]
    one, two = (maps / np.where(limit > 0, limit, 1) for maps, limit in zip((first, second), limits, strict=True))
    mean_one, mean_two = _window_means(one, windows), _window_means(two, windows)
    squares = _window_means(one * one + two * two, windows) - mean_one**2 - mean_two**2
    products = _window_means(one * two, windows) - mean_one * mean_two
    span = 1.0 if absolute else 2.0
    c1, c2 = (K1 * span) ** 2, (K2 * span) ** 2
    local = (2 * mean_one * mean_two + c1) * (2 * unbiased * products + c2)
    local /= (mean_one**2 + mean_two**2 + c1) * (unbiased * squares + c2)
    return _defined(local.reshape(len(local), -1).mean(1), first, second)


def flat(maps: np.ndarray) -> np.ndarray:
    """Tell which maps ``(n, *spatial)`` hold one value everywhere, but for rounding: bool ``(n,)``."""
    values = np.asarray(maps).reshape(len(maps), -1)
    low, high = values.min(1), values.max(1)
    constant: np.ndarray = high - low <= FLAT * np.maximum(np.abs(low), np.abs(high))
    return constant


def _checked(first: np.ndarray, second: np.ndarray, *, absolute: bool) -> tuple[np.ndarray, np.ndarray]:
    first, second = (np.asarray(maps, dtype=np.float64) for maps in (first, second))
    if first.shape != second.shape or first.ndim not in {3, 4} or first.size == 0:
        message = (
            f"maps of shapes {first.shape} and {second.shape} cannot be compared: give two arrays of one shape, "
            "(n, H, W) or (n, D, H, W)."
        )
        raise InputError(message)
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        message = "the maps hold NaN or infinite values, which have no rank; leave these images out."
        raise InputError(message)
    return (np.abs(first), np.abs(second)) if absolute else (first, second)


def _standardised(ranks: np.ndarray) -> np.ndarray:
    """Centre each row and bring it to length 1; a row of equal ranks becomes zeros."""
    centred = ranks - ranks.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    result: np.ndarray = centred / np.where(length > 0, length, 1)
    return result


def _defined(values: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.where(flat(first) | flat(second), np.nan, np.clip(values, -1, 1))


def _odd(width: int) -> int:
    return width - 1 + width % 2


def _window_means(maps: np.ndarray, windows: list[int]) -> np.ndarray:
    """Average over every window that lies wholly within the map."""
    means: np.ndarray = uniform_filter(maps, size=(1, *windows))
    inner = (slice(width // 2, side - width // 2) for width, side in zip(windows, maps.shape[1:], strict=True))
    return means[(slice(None), *inner)]


def other_patients(patients: Sequence[object] | np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Draw for each image one of another patient: how alike maps are anyway is what any similarity has to be read beside.

    Returns
    -------
    int64 ``(n,)``, rows; -1 where all images are of one patient.
    """
    codes = np.unique(np.asarray(patients), return_inverse=True)[1]
    generator = np.random.default_rng(seed)
    rows = np.full(len(codes), -1, dtype=np.int64)
    for code in np.unique(codes):
        own, others = np.flatnonzero(codes == code), np.flatnonzero(codes != code)
        if len(others):
            rows[own] = generator.choice(others, size=len(own))
    return rows

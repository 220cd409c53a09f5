"""How well one map points at one region: arithmetic of two arrays on one grid, in two or three dimensions.

A map that is flat points nowhere, and one without a positive value says nothing for its class; an empty region cannot be
pointed at. All of these have no value (NaN), and none of them is a hit or a miss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from workbench.errors import InputError
from workbench.explain.quality.similarity import flat

HALF = 0.5
"""Part of a map's maximum above which a pixel counts as marked."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """A map's pixels from the highest down; pixels of equal value form one level, for their order means nothing.

    Parameters
    ----------
    heat : float64 ``(*spatial)``, the map.
    order : int64 ``(size,)``, pixels by falling value.
    levels : float64 ``(L,)``, the distinct values, falling.
    above : int64 ``(L,)``, pixels at or above each level.
    """

    heat: np.ndarray
    order: np.ndarray
    levels: np.ndarray
    above: np.ndarray

    @property
    def points(self) -> bool:
        """Whether the map has evidence for its class, and at some pixel more than at others."""
        return bool(self.levels[0] > 0) and not bool(flat(self.heat[None])[0])


def ranked(heat: np.ndarray) -> Ranked:
    """Sort a finite map ``(*spatial)`` once, for every measure and every region."""
    heat = np.asarray(heat, dtype=np.float64)
    if heat.ndim not in {2, 3} or heat.size == 0 or not np.isfinite(heat).all():
        message = f"a map of shape {heat.shape} cannot be ranked: give finite values, (H, W) or (D, H, W)."
        raise InputError(message)
    order = np.argsort(-heat, axis=None, kind="stable")
    values = heat.ravel()[order]
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    return Ranked(heat, order, values[ends], ends + 1)


def pointing_game(heat: np.ndarray | Ranked, mask: np.ndarray, *, tolerance: float = 0) -> float:
    """Return 1 where the map's maximum lies in the region or at most `tolerance` pixels from it, else 0.

    Where several pixels share the maximum, all of them must; a map that marks the whole image as strongly as the lesion
    has not found it.

    Parameters
    ----------
    heat : ``(*spatial)``, signed; its maximum speaks most for the class.
    mask : bool, the same shape.
    tolerance : Euclidean distance in pixels of this grid; 0 makes it the hit rate of Saporta et al. 2022, Nat Mach
        Intell 4:867.

    Returns
    -------
    1.0, 0.0, or NaN for an empty mask or a map that does not point.

    References
    ----------
    Zhang et al. 2018, Int J Comput Vis 126:1084 (tolerance of 15 pixels in images of about 500).

    Examples
    --------
    >>> heat, lesion = np.zeros((5, 5)), np.zeros((5, 5), dtype=bool)
    >>> heat[1, 1], lesion[3, 1] = 1, True
    >>> pointing_game(heat, lesion), pointing_game(heat, lesion, tolerance=2), pointing_game(0 * heat, lesion)
    (0.0, 1.0, nan)
    """
    ranks, mask = _pair(heat, mask)
    if not (ranks.points and mask.any()):
        return float("nan")
    top = ranks.order[: ranks.above[0]]
    if mask.ravel()[top].all():
        return 1.0
    if tolerance <= 0:
        return 0.0
    return float((distance_transform_edt(~mask).ravel()[top] <= tolerance).all())


def mass_inside(heat: np.ndarray | Ranked, mask: np.ndarray) -> float:
    """Return which part of the positive values lies in the region, 0–1.

    What speaks against the class is left out: it is no evidence for the lesion, wherever it lies.

    References
    ----------
    Arras et al. 2022, Inf Fusion 81:14 (relevance mass accuracy).

    Examples
    --------
    >>> mass_inside(np.array([[3.0, 1.0], [-5.0, 0.0]]), np.array([[True, False], [True, False]]))
    0.75
    """
    ranks, mask = _pair(heat, mask)
    if not (ranks.points and mask.any()):
        return float("nan")
    positive = np.maximum(ranks.heat, 0)
    return float(positive[mask].sum() / positive.sum())


def rank_accuracy(heat: np.ndarray | Ranked, mask: np.ndarray) -> float:
    """Return which part of the A highest pixels lies in the region of A pixels, 0–1.

    Of pixels of equal value at the border of the A highest, the part that a random order would bring counts.

    References
    ----------
    Arras et al. 2022, Inf Fusion 81:14 (relevance rank accuracy).
    """
    ranks, mask = _pair(heat, mask)
    area = int(mask.sum())
    if not (ranks.points and area):
        return float("nan")
    inside = _inside(ranks, mask)
    last = int(np.searchsorted(ranks.above, area))
    before, hit = (0, 0) if last == 0 else (ranks.above[last - 1], inside[last - 1])
    part = (area - before) / (ranks.above[last] - before)
    return float((hit + part * (inside[last] - hit)) / area)


def overlap(heat: np.ndarray | Ranked, mask: np.ndarray, *, threshold: float = HALF) -> float:
    """Return the IoU (Jaccard index) of the region and the pixels of at least `threshold` times the map's maximum, 0–1."""
    ranks, mask = _pair(heat, mask)
    if not (ranks.points and mask.any()):
        return float("nan")
    last = int(np.count_nonzero(ranks.levels >= threshold * ranks.levels[0])) - 1
    return float(_overlaps(ranks, mask)[last])


def best_overlap(heat: np.ndarray | Ranked, mask: np.ndarray) -> float:
    """Return the largest IoU that any positive threshold reaches, 0–1.

    The threshold is found with the region in hand: an upper bound, good only for comparing with what another map gets in the
    same way.
    """
    ranks, mask = _pair(heat, mask)
    if not (ranks.points and mask.any()):
        return float("nan")
    return float(_overlaps(ranks, mask)[ranks.levels > 0].max())


def dice(iou: float) -> float:
    """Return the Dice coefficient (F1) that belongs to an IoU: ``2·IoU / (1 + IoU)``, largest at the same threshold."""
    return 2 * iou / (1 + iou)


def average_precision(heat: np.ndarray | Ranked, mask: np.ndarray) -> float:
    """Return the area under the precision–recall curve of the pixels, as scikit-learn defines it, 0–1.

    An uninformed map reaches the region's part of the area.
    """
    ranks, mask = _pair(heat, mask)
    if not (ranks.points and mask.any()):
        return float("nan")
    inside = _inside(ranks, mask)
    return float((np.diff(inside, prepend=0) / mask.sum() * (inside / ranks.above)).sum())


def centre_prior(spatial: tuple[int, ...]) -> np.ndarray:
    """Return a Gaussian about the middle pixel with a standard deviation of a quarter of each side, ``(*spatial)``.

    What a map reaches that knows only that things of interest are put in the middle of an image.
    """
    axes = np.ogrid[tuple(slice(extent) for extent in spatial)]
    return np.asarray(
        np.exp(
            -0.5 * sum(((axis - extent // 2) / (extent / 4)) ** 2 for axis, extent in zip(axes, spatial, strict=True))
        )
    )


def _pair(heat: np.ndarray | Ranked, mask: np.ndarray) -> tuple[Ranked, np.ndarray]:
    ranks = heat if isinstance(heat, Ranked) else ranked(heat)
    mask = np.asarray(mask)
    if mask.shape != ranks.heat.shape or mask.dtype != np.bool_:
        message = (
            f"a mask of shape {mask.shape} and type {mask.dtype} does not go with a map of {ranks.heat.shape}; give bool "
            "values on the same grid."
        )
        raise InputError(message)
    return ranks, mask


def _inside(ranks: Ranked, mask: np.ndarray) -> np.ndarray:
    """Pixels of the region at or above each level, int64 ``(L,)``."""
    return np.asarray(np.cumsum(mask.ravel()[ranks.order])[ranks.above - 1])


def _overlaps(ranks: Ranked, mask: np.ndarray) -> np.ndarray:
    inside = _inside(ranks, mask)
    return np.asarray(inside / (ranks.above + mask.sum() - inside))

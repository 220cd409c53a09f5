"""Regions of an image as parts that together cover it: named masks, superpixels, a grid, or an atlas."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import EvidenceWarning, InputError, unknown_name
from workbench.explain.carry import on_input
from workbench.explain.masks import mask_of

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort
    from workbench.models.model import Model

SUPERPIXELS, GRID, ELSEWHERE = "superpixels", "grid", "elsewhere"
# Each region has columns of its own in the results; nobody reads more than this, and sampling would not tell them apart.
MOST = 64


@dataclass(frozen=True)
class Regions:
    """What the images of a cohort are divided into.

    Parameters
    ----------
    names : of every region, in order; the same for all images.
    kind : ``"masks"``, ``"superpixels"``, ``"grid"`` or ``"atlas"``. Superpixels differ from image to image, so that
        the k-th of one image has nothing to do with the k-th of another.
    draw : from an image's id and its values ``(C, *spatial)`` on the input's grid to its labels; use :meth:`labels`.
    """

    names: tuple[str, ...]
    kind: str
    draw: Callable[[str, np.ndarray], np.ndarray]

    def labels(self, image_id: str, image: np.ndarray) -> np.ndarray:
        """Return which region each pixel of the input belongs to, int64 ``(*spatial)``: an index into `names`.

        A region that is absent from this image (no mask, an empty one, fewer superpixels) has no pixel.

        Raises
        ------
        InputError : where a mask or an atlas does not lie on the image's grid; the image is named.
        """
        labels: np.ndarray = self.draw(image_id, image).astype(np.int64)
        return labels


def read_regions(
    regions: Any,
    model: Model,
    cohort: Cohort,
    *,
    count: int = 10,
    parts: Sequence[int] | None = None,
    names: Mapping[int, str] | None = None,
) -> Regions:
    """Make regions of what a user names.

    Parameters
    ----------
    regions : one of

        - names of the cohort's masks, ``["lesion", "marker", "breast"]``. Where masks overlap, the earlier name has
          the pixel, so name the small ones first; what lies in none is the region ``"elsewhere"``.
        - ``"superpixels"``: each image's own, by its grey values (:func:`superpixels`).
        - ``"grid"``: boxes of equal size (:func:`grid`).
        - an atlas: integers ``(*spatial)`` on the grid of the model's input, or a dict of one for each id. 0 is
          ``"elsewhere"`` unless `names` calls it something else.
    model : carries masks to its input's grid; a mask smaller than a pixel of the input keeps the pixels it lies in.
    cohort : whose masks are meant.
    count : superpixels an image, at most.
    parts : boxes along each axis of a grid: ``(rows, columns)`` or ``(planes, rows, columns)``; by default 3 × 3, or
        2 × 2 × 2.
    names : name of each label of an atlas; other labels are called ``"label 7"``.

    Raises
    ------
    InputError : where a name is unknown, an atlas is not of whole numbers, or there are fewer than 2 or more than 64
        regions.
    """
    if isinstance(regions, str) and regions == SUPERPIXELS:
        _check_count(count, least=4)
        found = Regions(tuple(f"superpixel {place + 1}" for place in range(count)), SUPERPIXELS, _Superpixels(count))
    elif isinstance(regions, str) and regions == GRID:
        found = _grid_regions(parts, model, cohort)
    elif isinstance(regions, np.ndarray):
        found = _atlas_regions({None: regions}, names or {})
    elif isinstance(regions, Mapping):
        missing = [image_id for image_id in cohort.ids if image_id not in regions]
        if missing:
            message = f"the atlas has no array for image {missing[0]!r} ({len(missing)} in all); give one for each id."
            raise InputError(message)
        found = _atlas_regions({image_id: regions[image_id] for image_id in cohort.ids}, names or {})
    elif isinstance(regions, str) or (isinstance(regions, list | tuple) and all(isinstance(r, str) for r in regions)):
        found = _mask_regions([regions] if isinstance(regions, str) else list(regions), model, cohort)
    else:
        message = (
            f"regions {type(regions).__name__} cannot be read; give names of masks, 'superpixels', 'grid', or an atlas (an "
            "integer array on the input's grid, or a dict with one for each id)."
        )
        raise InputError(message)
    if not 2 <= len(found.names) <= MOST:
        message = f"there are {len(found.names)} regions; give 2 to {MOST}. Merge small ones, or use method='partition-shap' for many."
        raise InputError(message)
    return found


def superpixels(image: np.ndarray, count: int, *, compactness: float = 0.1) -> np.ndarray:
    """Divide an image into at most `count` connected parts of alike values, by SLIC (Achanta et al. 2012).

    doi:10.1109/TPAMI.2012.120. For parts that a whole cohort shares, give the mean of its images. There is no upper
    limit here: hundreds serve as the leaves of a tree.

    Parameters
    ----------
    image : ``(C, *spatial)``, of two or three spatial axes, any unit: values are mapped to 0–1 first.
    count : at least 4 (8 of a volume); most images come out with one or two fewer.
    compactness : how much nearness counts against likeness of values; 0.1 follows edges, 10 gives squares. Raised
        where less than half of the parts asked for come out.

    Returns
    -------
    int64 ``(*spatial)``, labels 0, 1, … in the order of their first pixel.
    """
    from skimage.segmentation import slic

    _check_count(count, least=2 ** (image.ndim - 1))
    values = np.asarray(image, dtype=np.float32)
    values = np.moveaxis((values - values.min()) / max(float(np.ptp(values)), 1e-12), 0, -1)
    asked = min(count + count // 2, prod(values.shape[:-1]))
    while True:
        found = slic(values, asked, compactness, sigma=1, start_label=0, channel_axis=-1)
        labels, first = np.unique(found, return_index=True)
        if len(labels) > count:
            # SLIC starts from a regular lattice, which may hold more cells than were asked for.
            asked = min(asked - 1, asked * count // len(labels))
        elif 2 * len(labels) < count and compactness < 1e3:
            # In noise, parts fall into specks, and specks are merged until nothing is left to tell apart.
            compactness *= 10
        else:
            break
    order = np.empty(int(labels.max()) + 1, dtype=np.int64)
    order[labels[np.argsort(first)]] = np.arange(len(labels))
    ordered: np.ndarray = order[found]
    return ordered


def grid(spatial: Sequence[int], parts: Sequence[int]) -> np.ndarray:
    """Divide a grid into boxes of equal size, to a pixel: int64 labels ``(*spatial)``, the last axis running fastest.

    Examples
    --------
    >>> grid((2, 4), (1, 2)).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    labels = np.zeros(tuple(spatial), dtype=np.int64)
    for axis, (extent, count) in enumerate(zip(spatial, parts, strict=True)):
        along = np.arange(extent) * count // extent
        labels = labels * count + along.reshape(-1, *[1] * (len(spatial) - axis - 1))
    return labels


@dataclass(frozen=True)
class _Superpixels:
    count: int

    def __call__(self, _image_id: str, image: np.ndarray) -> np.ndarray:
        return superpixels(image, self.count)


def _grid_regions(parts: Sequence[int] | None, model: Model, cohort: Cohort) -> Regions:
    spatial = tuple(model.inputs(cohort, cohort.ids[:1]).shape[2:])
    chosen = tuple(parts) if parts is not None else ((3, 3) if len(spatial) == 2 else (2, 2, 2))
    whole = all(isinstance(part, int) and not isinstance(part, bool) for part in chosen)
    if len(chosen) != len(spatial) or not whole or not all(1 <= p <= e for p, e in zip(chosen, spatial, strict=True)):
        message = f"parts {chosen} must be {len(spatial)} whole numbers from 1 to the input's extents {spatial}: boxes along each axis."
        raise InputError(message)
    axes = ("plane", "row", "column")[-len(chosen) :]
    names = [
        " ".join(f"{axis} {place + 1}" for axis, place, part in zip(axes, cell, chosen, strict=True) if part > 1)
        for cell in np.ndindex(chosen)
    ]
    return Regions(tuple(names), GRID, lambda _id, image: grid(image.shape[1:], chosen))


def _mask_regions(names: list[str], model: Model, cohort: Cohort) -> Regions:
    for name in names:
        if name not in cohort.masks:
            raise unknown_name("mask", name, [*cohort.masks, SUPERPIXELS, GRID])
    if len(set(names)) < len(names):
        message = f"regions {names} names a mask twice; each is one region."
        raise InputError(message)
    if ELSEWHERE in names:
        message = f"a mask is called {ELSEWHERE!r}, which is what lies in no mask; give it another name in the cohort."
        raise InputError(message)
    return Regions((*names, ELSEWHERE), "masks", _Masks(names, model, cohort, set()))


@dataclass(frozen=True)
class _Masks:
    names: Sequence[str]
    model: Model
    cohort: Cohort
    warned: set[str]

    def __call__(self, image_id: str, image: np.ndarray) -> np.ndarray:
        labels = np.full(image.shape[1:], len(self.names))
        for place, name in enumerate(self.names):
            mask = self._carried(image_id, name, image.shape[1:])
            own = mask & (labels == len(self.names))
            labels[own] = place
            if mask.any() and not own.any() and name not in self.warned:
                self.warned.add(name)
                message = (
                    f"image {image_id!r}: the mask {name!r} lies wholly under {', '.join(self.names[:place])}, named before it, and "
                    "counts as absent. Name the smaller mask first."
                )
                warnings.warn(message, EvidenceWarning, stacklevel=2)
        return labels

    def _carried(self, image_id: str, name: str, spatial: tuple[int, ...]) -> np.ndarray:
        mask = mask_of(self.cohort, image_id, name)
        return np.zeros(spatial, dtype=bool) if mask is None else on_input(mask, self.model, spatial, image_id)


def _atlas_regions(arrays: Mapping[str | None, np.ndarray], names: Mapping[int, str]) -> Regions:
    known: set[int] = set()
    for image_id, given in arrays.items():
        labels = np.asarray(given)
        where = "the atlas" if image_id is None else f"the atlas of image {image_id!r}"
        if labels.dtype.kind not in "iub" or labels.size == 0:
            message = f"{where} holds {labels.dtype}; it must be a non-empty array of whole numbers, one a region."
            raise InputError(message)
        found = np.unique(labels)
        if len(found) > MOST:
            message = f"{where} has {len(found)} labels; at most {MOST} regions can be explained. Merge small ones."
            raise InputError(message)
        known |= {int(label) for label in found}
    for label in names:
        if label not in known:
            raise unknown_name("atlas label", label, [str(one) for one in sorted(known)])
    ordered = np.array(sorted(known), dtype=np.int64)
    called = tuple(str(names.get(int(label), f"label {label}" if label else ELSEWHERE)) for label in ordered)
    if len(set(called)) < len(called):
        message = f"names gives two labels of the atlas one name: {called}; each region needs its own."
        raise InputError(message)

    def draw(image_id: str, image: np.ndarray) -> np.ndarray:
        labels = np.asarray(arrays[None] if None in arrays else arrays[image_id])
        if labels.shape != image.shape[1:]:
            message = (
                f"image {image_id!r}: its atlas has the shape {labels.shape}, the model's input {image.shape[1:]}; draw it on the "
                "input's grid (model.inputs(cohort) shows it)."
            )
            raise InputError(message)
        return np.searchsorted(ordered, labels)

    return Regions(called, "atlas", draw)


def _check_count(count: object, *, least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        message = (
            f"count {count!r} must be a whole number of at least {least}: superpixels start from a lattice of two along each axis "
            "(4 of an image, 8 of a volume)."
        )
        raise InputError(message)

"""Carry masks and boxes from an image's own grid to the grid of the network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.models.model import Model


def box_mask(box: Sequence[int], spatial: Sequence[int], image_id: str) -> np.ndarray:
    """Return a box ``(*first corner, *second corner)`` as bool ``(*spatial)``; a box that leaves the image is refused."""
    axes = len(spatial)
    low, high = tuple(box[:axes]), tuple(box[axes:])
    if len(box) != 2 * axes or not all(0 <= a < b <= e for a, b, e in zip(low, high, spatial, strict=True)):
        message = (
            f"box {tuple(box)} does not lie in image {image_id!r} of {' × '.join(map(str, spatial))} pixels: it needs {2 * axes} "
            "whole numbers, the first corner, then the second (one past the last pixel)."
        )
        raise InputError(message)
    mask = np.zeros(tuple(spatial), dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def on_input(mask: np.ndarray, model: Model, spatial: Sequence[int], image_id: str) -> np.ndarray:
    """Carry a mask from the image's grid to the input's, bool ``(*spatial)``; a mask that is there never vanishes.

    Raises
    ------
    InputError : where the grids differ and the model's preprocessing is not one that Workbench can follow.
    """
    from workbench.imaging.preprocess import Preprocessing

    spatial = tuple(spatial)
    if not isinstance(model.preprocessing, Preprocessing):
        if mask.shape == spatial:
            return mask
        message = (
            f"image {image_id!r}: its mask of {mask.shape} does not lie on the input's grid {spatial}, and this model came with "
            "a preprocessing of its own, which Workbench cannot follow. Wrap the model with a wb.Preprocessing."
        )
        raise InputError(message)
    carried = model.preprocessing.to_input(mask)
    if mask.any() and not carried.any():
        # Smaller than a pixel of the input: the pixels it lies in.
        inner, start = model.preprocessing.placement(mask.shape)
        places = np.argwhere(mask) * np.divide(inner, mask.shape)
        carried[tuple((places.astype(int) + np.array(start)).T)] = True
    return carried

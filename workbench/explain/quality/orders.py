"""In which order pixels are removed from an image: by its map, at random, or by an edge detector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

from workbench.errors import InputError
from workbench.explain.draws import generator_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

BY_MAP, RANDOM, EDGES, BLURRED = "map", "random order", "edges", "blurred map"
EDGE_SMOOTHING = 1.0  # pixels: the smallest Gaussian whose sampled derivative is still one


def ranks(values: np.ndarray, ids: Sequence[str], *, seed: int = 0) -> np.ndarray:
    """Rank the positions of each map: 0 for the largest value, then downwards.

    Signed values are ranked as they are: what speaks against a class comes last. Equal values are put in an order
    drawn at random from `seed` and the image's id. So a flat map is a random order, and the zeros that fill most of a
    rectified map are not removed row by row from the top.

    Parameters
    ----------
    values : ``(n, *spatial)``, finite.
    ids : n image ids.
    seed : of the order of ties.

    Returns
    -------
    int32 ``(n, *spatial)``, in each image every number from 0 to the number of positions less one.

    Raises
    ------
    InputError : where a value is not finite.

    Examples
    --------
    >>> ranks(np.array([[[0.1, 0.7], [-3.0, 0.2]]]), ["case"])
    array([[[2, 0],
            [3, 1]]], dtype=int32)
    """
    values = np.asarray(values)
    places = np.empty(values.shape, dtype=np.int32)
    for row, image_id in enumerate(ids):
        flat = values[row].ravel()
        if not np.isfinite(flat).all():
            message = (
                f"the values to order image {image_id!r} by hold NaN or infinity, which have no rank; leave it out."
            )
            raise InputError(message)
        shuffled = generator_of(f"ties of {image_id}", seed).permutation(flat.size)
        # A stable sort keeps the shuffled order wherever values are equal.
        order = shuffled[np.argsort(-flat[shuffled], kind="stable")]
        places[row].flat[order] = np.arange(flat.size, dtype=np.int32)
    return places


def random_ranks(ids: Sequence[str], spatial: Sequence[int], *, seed: int = 0) -> np.ndarray:
    """Draw a random order for each image from `seed` and its id: int32 ``(n, *spatial)``, as in :func:`ranks`."""
    size = int(np.prod(spatial))
    drawn = [generator_of(f"random order of {image_id}", seed).permutation(size) for image_id in ids]
    return np.stack(drawn).astype(np.int32).reshape(len(drawn), *spatial)


def edge_strength(inputs: torch.Tensor | np.ndarray) -> np.ndarray:
    """Return how steep each image is at each position: the gradient's magnitude, summed over channels.

    A map that knows nothing of the model. Explanations often resemble it (Adebayo et al. 2018, arXiv:1810.03292), so
    that one worth having must do better.

    Parameters
    ----------
    inputs : ``(n, C, *spatial)``, two or three spatial axes; the time of a cine counts as an axis.

    Returns
    -------
    float32 ``(n, *spatial)``, of the image smoothed by a Gaussian of 1 pixel.
    """
    images = np.asarray(inputs if isinstance(inputs, np.ndarray) else inputs.detach().float().cpu().numpy(), np.float32)
    axes = tuple(range(1, images.ndim - 1))
    steep = [gaussian_gradient_magnitude(image, EDGE_SMOOTHING, axes=axes).sum(0) for image in images]
    return np.stack(steep).astype(np.float32)


def blurred(maps: np.ndarray) -> np.ndarray:
    """Return a copy of maps ``(n, *spatial)`` smoothed by a Gaussian of a sixteenth of each axis."""
    widths = [0.0, *(side / 16 for side in maps.shape[1:])]
    smooth: np.ndarray = gaussian_filter(np.asarray(maps, dtype=np.float32), widths)
    return smooth

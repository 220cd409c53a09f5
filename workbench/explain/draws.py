"""Random numbers of one image's own, and the range of values that noise on it is measured by."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def generator_of(image_id: str, seed: int) -> np.random.Generator:
    """Return the random numbers of one image, from `seed` and its id, whatever else is explained."""
    own = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big")
    return np.random.default_rng([seed, own])


def channel_range(images: torch.Tensor) -> torch.Tensor:
    """Return the largest less the smallest value of each channel of each image.

    Parameters
    ----------
    images : ``(n, C, *spatial)``.

    Returns
    -------
    float32 ``(n, C, 1, …)``, with as many axes as `images`.
    """
    values = images.float().flatten(2)
    return (values.amax(2) - values.amin(2)).reshape(*images.shape[:2], *[1] * (images.dim() - 2))

"""A cohort's masks as they may be used: on the grid of their own image, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from workbench.cohorts.cohort import Cohort


def mask_of(cohort: Cohort, image_id: str, name: str) -> np.ndarray | None:
    """Return a mask of one image, bool ``(*spatial)``; None where none is known.

    Raises
    ------
    InputError : where the mask has another shape than its image. Stretched to fit, a turned or cropped one would lie
        somewhere else without anybody noticing.
    """
    mask = cohort.mask(image_id, name)
    if mask is None:
        return None
    own = cohort.image(image_id).shape[1:]
    if mask.shape != own:
        turned = " It may be turned: its axes come in another order." if sorted(mask.shape) == sorted(own) else ""
        message = f"image {image_id!r}: its mask {name!r} has the shape {mask.shape}, the image {own}; they must be alike.{turned}"
        raise InputError(message)
    return mask

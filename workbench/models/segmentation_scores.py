"""How well masks agree with their references, image by image: Dice, distances of surfaces, volumes. MONAI computes."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

NEITHER_EMPTY, BOTH_EMPTY, MASK_EMPTY, REFERENCE_EMPTY = "neither", "both", "mask", "reference"


def segmentation_scores(
    masks: Sequence[np.ndarray] | np.ndarray,
    reference: Sequence[np.ndarray] | np.ndarray,
    *,
    spacing: Sequence[float] | Sequence[Sequence[float]],
    ids: Sequence[str] | None = None,
    tolerance: float = 1.0,
) -> pd.DataFrame:
    """Compare each mask of one structure with its reference.

    Parameters
    ----------
    masks, reference : one array an image, ``(H, W)`` or ``(D, H, W)``, of 0 and 1 or bool; both of an image have the same
        shape, images may differ.
    spacing : size of a pixel or voxel in mm along each axis of the arrays; or one such for each image.
    ids : names of the images; by default they are numbered from 0.
    tolerance : of the surface Dice, in mm: how far apart two surfaces may be and still agree.

    Returns
    -------
    One row an image, index ``id``:

    - ``Dice``: twice the overlap over the sum of both.
    - ``HD95 (mm)``: 95th percentile of the distances from each pixel of one edge to the other edge, the greater of both ways.
    - ``surface Dice (… mm)``: share of both surfaces, by area, that lies within `tolerance` of the other.
    - ``volume error (ml)`` (of ``(H, W)``: ``area error (mm²)``) and ``relative volume error`` (``area``): mask − reference,
      and that over the reference.
    - ``empty``: ``"neither"``, ``"both"``, ``"mask"`` or ``"reference"``. Where both are empty they agree: Dice and surface Dice
      are 1, distance and errors 0. Where one is, Dice and surface Dice are 0, and there is no distance (missing); against
      an empty reference there is no relative error (missing).

    The table goes into ``Predictions.from_table(…, task="segmentation")``.

    Raises
    ------
    InputError : where arrays do not match, hold other values than 0 and 1, or a spacing is not above 0.

    References
    ----------
    Dice 1945, Ecology 26:297; Huttenlocher et al. 1993, IEEE TPAMI 15:850 (Hausdorff distance); Nikolov et al. 2021,
    J Med Internet Res 23:e26151 (surface Dice).

    Examples
    --------
    >>> import numpy as np
    >>> mask, reference = np.zeros((2, 8, 8)), np.zeros((2, 8, 8))
    >>> mask[0, 2:6, 2:6], reference[0, 2:6, 3:7] = 1, 1
    >>> found = segmentation_scores(mask, reference, spacing=(0.5, 0.5))
    >>> found[["Dice", "HD95 (mm)", "empty"]].reset_index(drop=True)
       Dice  HD95 (mm)    empty
    0  0.75        0.5  neither
    1  1.00        0.0     both
    """
    if len(masks) != len(reference):
        message = f"there are {len(masks)} masks and {len(reference)} references; give one for each image."
        raise InputError(message)
    if not len(masks):
        message = "there is no mask; give at least one."
        raise InputError(message)
    if not (math.isfinite(tolerance) and tolerance >= 0):
        message = f"tolerance {tolerance} is not a distance in mm, 0 or above."
        raise InputError(message)
    names = _names(ids, len(masks))
    sizes = _spacings(spacing, len(masks))
    rows = [
        _compared(
            _binary(mask, f"mask of image {name!r}"),
            _binary(other, f"reference of image {name!r}"),
            name,
            size,
            tolerance,
        )
        for mask, other, name, size in zip(masks, reference, names, sizes, strict=True)
    ]
    return pd.DataFrame(rows, index=pd.Index(names, name="id"))


def _compared(
    mask: np.ndarray, reference: np.ndarray, name: str, spacing: np.ndarray, tolerance: float
) -> dict[str, float | str]:
    if mask.shape != reference.shape:
        message = (
            f"image {name!r}: the mask is {mask.shape} and the reference {reference.shape}; bring the mask to the "
            "reference's grid first."
        )
        raise InputError(message)
    if mask.ndim not in (2, 3) or mask.ndim != len(spacing):
        message = f"image {name!r}: the mask has {mask.ndim} axes and the spacing {len(spacing)} numbers; both must be 2 or both 3."
        raise InputError(message)
    agreed, farthest, surface, empty = _agreement(mask, reference, spacing, tolerance)
    # A voxel of 1 mm³ is a thousandth of a millilitre.
    size = float(np.prod(spacing)) / (1000 if mask.ndim == 3 else 1)
    error, whole = (int(mask.sum()) - int(reference.sum())) * size, int(reference.sum()) * size
    relative = error / whole if whole else (0.0 if empty == BOTH_EMPTY else math.nan)
    kind, unit = ("volume", "ml") if mask.ndim == 3 else ("area", "mm²")
    return {
        "Dice": agreed, "HD95 (mm)": farthest, f"surface Dice ({tolerance:g} mm)": surface,
        f"{kind} error ({unit})": error, f"relative {kind} error": relative, "empty": empty,
    }  # fmt: skip


def _agreement(
    mask: np.ndarray, reference: np.ndarray, spacing: np.ndarray, tolerance: float
) -> tuple[float, float, float, str]:
    """Return Dice, HD95, surface Dice, and which of the two is empty."""
    if not mask.any() and not reference.any():
        return 1.0, 0.0, 1.0, BOTH_EMPTY
    if not mask.any() or not reference.any():
        return 0.0, math.nan, 0.0, REFERENCE_EMPTY if mask.any() else MASK_EMPTY
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.meandice import compute_dice
    from monai.metrics.surface_dice import compute_surface_dice

    # Only where something is, and a pixel around it: a mask that touches the border of the image has a surface there.
    where = np.argwhere(mask | reference)
    box = tuple(slice(low, high + 1) for low, high in zip(where.min(0), where.max(0), strict=True))
    first, second = (torch.from_numpy(np.pad(one[box], 1).astype(np.float32))[None, None] for one in (mask, reference))
    sides = [float(side) for side in spacing]
    with warnings.catch_warnings():
        # MONAI 1.5 calls its own functions in a way that it deprecates itself.
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*always_return_as_numpy.*")
        farthest = compute_hausdorff_distance(first, second, include_background=True, percentile=95, spacing=sides)
        surface = compute_surface_dice(
            first, second, [tolerance], include_background=True, spacing=sides, use_subvoxels=True
        )
    return float(compute_dice(first, second, include_background=True)), float(farthest), float(surface), NEITHER_EMPTY


def _binary(array: np.ndarray, what: str) -> np.ndarray:
    values = np.asarray(array)
    if values.dtype == np.bool_:
        return values
    found = np.unique(values)
    if not np.isin(found, (0, 1)).all():
        listed = ", ".join(f"{value:g}" for value in found[:4]) + (", …" if len(found) > 4 else "")
        message = (
            f"{what} holds {listed}; it must hold 0 and 1. Compare one structure at a time (masks == 2), and cut "
            "probabilities at a threshold first."
        )
        raise InputError(message)
    return values.astype(bool)


def _names(ids: Sequence[str] | None, count: int) -> list[str]:
    names = [str(place) for place in range(count)] if ids is None else [str(name) for name in ids]
    if len(names) != count:
        message = f"there are {len(names)} ids and {count} masks; give one for each image."
        raise InputError(message)
    twice = pd.Index(names).duplicated()
    if twice.any():
        message = f"id {names[int(np.flatnonzero(twice)[0])]!r} is given twice; ids must be unique."
        raise InputError(message)
    return names


def _spacings(spacing: Sequence[float] | Sequence[Sequence[float]], count: int) -> list[np.ndarray]:
    one = all(np.isscalar(side) for side in spacing)
    sizes = [np.asarray(size, dtype=np.float64) for size in ([spacing] * count if one else spacing)]
    if len(sizes) != count:
        message = f"there are {len(sizes)} spacings and {count} masks; give one for all, or one for each image."
        raise InputError(message)
    for size in sizes:
        if not (np.isfinite(size) & (size > 0)).all():
            message = f"spacing {size.tolist()} is not in mm above 0 along each axis."
            raise InputError(message)
    return sizes

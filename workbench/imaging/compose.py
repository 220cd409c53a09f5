"""Images and heat maps to what an eye sees: the one compositor of reprs, figures, reports and (in JavaScript) widgets.

The blend, exactly, so that a canvas in a browser repeats it to within one of 255 levels::

    g     = floor(255 · clip((x − low) / (high − low), 0, 1) + ½)            grey of a stored value x
    v     = clip(h / limit, −1, 1)  signed,   clip(h / limit, 0, 1)  unsigned; 0 where limit is 0 or h is NaN
    index = floor(127.5 + 127.5 · v + ½)  signed,   floor(255 · v + ½)  unsigned
    a     = opacity · |v|
    out   = floor((1 − a) · g + a · colormap[index] + ½)                     for red, green and blue

The colour's opacity grows with the evidence, so anatomy without evidence stays uncovered and looks as it does
without the map, at any opacity. Red is evidence for the target and blue against it, in signed maps.
"""

from __future__ import annotations

import base64
import io
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterable

# Perceptually ordered, readable in grey print and with colour-vision deficiency.
SEQUENTIAL = "inferno"
DIVERGING = "RdBu_r"
# Percent of the values shown as black and as white: film markers and dead pixels do not set the window.
WINDOW = (0.5, 99.5)
# Percentile of |heat| that gets the full colour, so that one pixel does not make the rest invisible.
FULL_COLOUR = 99.5


def to_display(image: np.ndarray, *, at: int | None = None) -> np.ndarray:
    """Bring one stored image into the range of a screen.

    Parameters
    ----------
    image : array ``(C, *spatial)``, any real dtype. One or two channels show the first as grey, three or four as colour.
    at : slice of a volume ``(C, D, H, W)`` to show; by default the middle one. Not used for a flat image.

    Returns
    -------
    float32 array in 0–1, ``(H, W)`` or ``(H, W, 3)``. Colour of dtype uint8 stays as stored; all else is windowed by
    :func:`window`.

    Examples
    --------
    >>> to_display(np.arange(6, dtype=np.uint16).reshape(1, 2, 3))[1, 2]
    np.float32(1.0)
    """
    flat = _slice(np.asarray(image), at)
    flat = flat[:3] if flat.shape[0] >= 3 else flat[:1]
    if flat.shape[0] == 3 and flat.dtype == np.uint8:
        shown = flat.astype(np.float32) / 255
    else:
        low, high = window(flat)
        values = np.nan_to_num(flat.astype(np.float32), nan=low, posinf=high, neginf=low)
        shown = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    return shown[0] if shown.shape[0] == 1 else np.moveaxis(shown, 0, -1)


def window(image: np.ndarray) -> tuple[float, float]:
    """Return the stored values shown as black and as white: the 0.5 and 99.5 percentile, or the extremes where those agree."""
    finite = image[np.isfinite(image)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(finite, WINDOW))
    if low < high:
        return low, high
    low, high = float(finite.min()), float(finite.max())
    return (low, high) if low < high else (low, low + 1.0)


def heat_limit(maps: np.ndarray | Iterable[np.ndarray]) -> float:
    """Return the value that gets the full colour: the 99.5 percentile of |heat|, over all `maps` that share a scale."""
    arrays = [maps] if isinstance(maps, np.ndarray) else list(maps)
    strength = np.abs(np.concatenate([np.ravel(array) for array in arrays])) if arrays else np.zeros(0)
    strength = strength[np.isfinite(strength)]
    if strength.size == 0:
        return 0.0
    limit = float(np.percentile(strength, FULL_COLOUR))
    # A map with evidence in a handful of pixels has a percentile of 0; they are what there is to see.
    return limit if limit > 0 else float(strength.max())


def colormap(name: str) -> np.ndarray:
    """Return a matplotlib colour map as a table, uint8 ``(256, 3)``."""
    return _colormap(name).copy()


def overlay(
    grey: np.ndarray, heat: np.ndarray, *, opacity: float = 0.8, cmap: str | None = None, limit: float | None = None,
    signed: bool | None = None,
) -> np.ndarray:  # fmt: skip
    """Lay a heat map over an image, by the blend that stands at the top of this module.

    Parameters
    ----------
    grey : array ``(H, W)`` or ``(H, W, 3)`` in 0–1, from :func:`to_display`.
    heat : array ``(H, W)`` on the same grid, in its own units; NaN counts as no evidence.
    opacity : 0 shows the image alone, 1 hides it where the evidence is full.
    cmap : name of a matplotlib colour map; by default `SEQUENTIAL` or, for a signed map, `DIVERGING`.
    limit : the heat that gets the full colour; by default :func:`heat_limit` of this map. Maps that are to be
        compared need one limit.
    signed : whether the map's negative values mean evidence against; by default whether it has any.

    Returns
    -------
    uint8 array ``(H, W, 3)``.

    Raises
    ------
    InputError : where the two grids differ, or `opacity` lies outside 0–1.
    """
    if heat.shape != grey.shape[:2]:
        message = (
            f"the heat map is {heat.shape} and the image {grey.shape[:2]}: carry the map onto the image's grid first, "
            "with attributions.on_image(id, spatial) or preprocessing.to_image(map, spatial)."
        )
        raise InputError(message)
    if not 0 <= opacity <= 1:
        message = f"opacity {opacity} lies outside 0–1; 0 shows the image alone, 1 hides it where the evidence is full."
        raise InputError(message)
    signed = bool((heat < 0).any()) if signed is None else signed
    strength = relative(heat, heat_limit(heat) if limit is None else limit, signed=signed)
    index = np.floor(127.5 + 127.5 * strength + 0.5) if signed else np.floor(255 * strength + 0.5)
    colour = _colormap(cmap or (DIVERGING if signed else SEQUENTIAL))[index.astype(np.uint8)].astype(np.float64)
    alpha = (opacity * np.abs(strength))[..., None]
    blended: np.ndarray = np.floor((1 - alpha) * to_rgb(grey) + alpha * colour + 0.5)
    return blended.astype(np.uint8)


def relative(heat: np.ndarray, limit: float, *, signed: bool) -> np.ndarray:
    """Return `heat` relative to `limit`, clipped to −1…1 (`signed`) or 0…1, as float64; NaN becomes 0."""
    if not limit > 0:
        return np.zeros(heat.shape)
    share: np.ndarray = np.nan_to_num(np.asarray(heat, dtype=np.float64) / limit, nan=0.0)
    return share.clip(-1.0 if signed else 0.0, 1.0)


def to_rgb(shown: np.ndarray) -> np.ndarray:
    """Turn 0–1 values, ``(H, W)`` or ``(H, W, 3)``, into uint8 ``(H, W, 3)``, rounding half up."""
    levels = np.floor(255 * np.clip(np.asarray(shown, dtype=np.float64), 0, 1) + 0.5).astype(np.uint8)
    return np.repeat(levels[..., None], 3, axis=-1) if levels.ndim == 2 else levels


def png_bytes(pixels: np.ndarray) -> bytes:
    """Write uint8 ``(H, W)`` or ``(H, W, 3)`` as a PNG file's bytes; equal pixels give equal bytes."""
    from PIL import Image

    if pixels.dtype != np.uint8:
        message = f"PNG takes uint8 pixels, not {pixels.dtype}; use to_rgb(…) for values in 0–1."
        raise InputError(message)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG", optimize=False)
    return stream.getvalue()


def data_uri(png: bytes) -> str:
    """Return a PNG's bytes as a ``data:`` address for an ``<img>``."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def thumbnail(image: np.ndarray, size: int = 96) -> str:
    """Return a small picture of one stored image ``(C, *spatial)`` as a ``data:`` address.

    The longer edge becomes `size` pixels; a smaller image stays as it is.
    """
    from PIL import Image

    shown = to_display(image)
    levels = to_rgb(shown) if shown.ndim == 3 else to_rgb(shown)[..., 0]
    picture = Image.fromarray(np.ascontiguousarray(levels))
    picture.thumbnail((size, size), Image.Resampling.BOX)
    return data_uri(png_bytes(np.asarray(picture)))


def _slice(image: np.ndarray, at: int | None) -> np.ndarray:
    if image.ndim == 3:
        return image
    if image.ndim != 4:
        message = f"an image of shape {image.shape} cannot be shown; it must be (C, H, W) or (C, D, H, W)."
        raise InputError(message)
    depth = image.shape[1]
    at = depth // 2 if at is None else at
    if not 0 <= at < depth:
        message = f"slice {at} is not in this volume; it has slices 0 to {depth - 1}."
        raise InputError(message)
    return image[:, at]


@cache
def _colormap(name: str) -> np.ndarray:
    import matplotlib as mpl

    if name not in mpl.colormaps:
        raise unknown_name("colour map", name, (known for known in mpl.colormaps if not known.endswith("_r")))
    return np.asarray(mpl.colormaps[name](np.arange(256), bytes=True))[:, :3]

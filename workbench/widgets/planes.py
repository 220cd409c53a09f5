"""Pixels on their way to a browser: once, as plain bytes, so that everything seen is painted there."""

from __future__ import annotations

from typing import Any

import numpy as np

from workbench.imaging.compose import heat_limit, relative, window
from workbench.imaging.preprocess import resize

# Pixels of one plane sent to a browser. 45 ms a megabyte, measured: 8 million take under a second.
MOST_PIXELS = 8_000_000
# A heat map is sent as 16-bit shares of its limit: finer than the 256 colours it is shown in.
FULL = 32767


def shown_shape(spatial: tuple[int, ...]) -> tuple[int, ...]:
    """Return the grid an image is sent on: its own, or where that has too many pixels, one with smaller planes."""
    scale = min(1.0, float(np.sqrt(MOST_PIXELS / np.prod(spatial))))
    plane = tuple(max(1, round(extent * scale)) for extent in spatial[-2:])
    return (*spatial[:-2], *plane)


def image_plane(image: np.ndarray) -> tuple[dict[str, Any], bytes]:
    """Pack one stored image for a browser.

    Parameters
    ----------
    image : array ``(C, H, W)`` or ``(C, D, H, W)``, any real dtype.

    Returns
    -------
    dict
        ``shape`` (depth, height, width, channels), ``bits`` (8 or 16), ``offset`` and ``scale`` (stored value =
        offset + scale × code), ``low`` and ``high`` (the window that :func:`~workbench.imaging.compose.to_display`
        takes), ``least`` and ``most`` (the values' range), ``reduced`` (whether the grid is coarser than the image's).
    bytes
        One code a pixel and channel, channels last; little-endian.
    """
    image = np.asarray(image)
    channels = image[:3] if image.shape[0] >= 3 else image[:1]
    low, high = _window(channels)
    shape = shown_shape(channels.shape[1:])
    reduced = shape != channels.shape[1:]
    values = np.stack([on_grid(channel, shape) for channel in channels])
    if np.issubdtype(channels.dtype, np.integer):
        values = np.rint(values).astype(channels.dtype)
    finite = values[np.isfinite(values)]
    least, most = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    codes, offset, scale = _codes(values, least, most)
    record = {
        "shape": [*([1] if len(shape) == 2 else []), *shape, len(channels)],
        "bits": 8 * codes.dtype.itemsize, "offset": offset, "scale": scale, "low": low, "high": high,
        "least": least, "most": most, "reduced": reduced,
    }  # fmt: skip
    return record, np.ascontiguousarray(np.moveaxis(codes, 0, -1)).tobytes()


def heat_plane(heat: np.ndarray) -> tuple[dict[str, Any], bytes]:
    """Pack one heat map, on the grid of its image, for a browser.

    Returns
    -------
    dict : ``signed``, ``limit`` (the heat of the full colour), ``least`` and ``most`` (of the map, in its own unit).
    bytes : int16, little-endian: the share of `limit`, −32767 to 32767.
    """
    shape = shown_shape(heat.shape)
    signed, limit = bool((heat < 0).any()), heat_limit(heat)
    share = on_grid(relative(heat, limit, signed=signed).astype(np.float32), shape)
    record = {"signed": signed, "limit": limit, "least": float(heat.min()), "most": float(heat.max())}
    return record, np.rint(share * FULL).astype("<i2").tobytes()


def mask_plane(mask: np.ndarray) -> bytes:
    """Pack one mask for a browser: a byte a pixel, 0 or 1."""
    inside = on_grid(mask.astype(np.float32), shown_shape(mask.shape)) >= 0.5
    return inside.astype(np.uint8).tobytes()


def on_grid(channel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return one channel on a smaller grid of the same number of slices; as it is where the grid is its own."""
    if channel.shape == shape:
        return channel
    if channel.ndim == 2:
        return resize(channel.astype(np.float32), shape)
    return np.stack([resize(plane.astype(np.float32), shape[1:]) for plane in channel])


def _window(channels: np.ndarray) -> tuple[float, float]:
    """The window the compositor takes: colour photographs as stored, all else by the percentiles of the middle slice."""
    if len(channels) == 3 and channels.dtype == np.uint8:
        return 0.0, 255.0
    return window(channels if channels.ndim == 3 else channels[:, channels.shape[1] // 2])


def _codes(values: np.ndarray, least: float, most: float) -> tuple[np.ndarray, float, float]:
    """Codes of 8 or 16 bits: exact for whole numbers in a 16-bit range, else 65,536 steps over the range."""
    if values.dtype == np.uint8:
        return values, 0.0, 1.0
    if np.issubdtype(values.dtype, np.integer) and most - least <= 65535:
        return (values.astype(np.int64) - int(least)).astype("<u2"), float(int(least)), 1.0
    scale = max((most - least) / 65535, 1e-300)
    shares = np.nan_to_num((values.astype(np.float64) - least) / scale, nan=0.0, posinf=65535.0, neginf=0.0)
    return np.rint(shares.clip(0, 65535)).astype("<u2"), least, scale

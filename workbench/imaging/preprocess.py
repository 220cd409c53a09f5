"""One readable recipe from a stored image to a network's input, and the way back for a map drawn on that input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# ITU-R BT.601 luma, the grey a colour photograph is usually turned to.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True)
class Preprocessing:
    """What happens to an image before the network sees it; travels with the model.

    Parameters
    ----------
    shape : spatial shape the network takes, ``(H, W)`` or ``(D, H, W)``. The image is resized without distortion
        (one scale for all axes, anti-aliased) and padded evenly with the value that stands for black.
    channels : channels the network takes; colour is turned to grey, or grey repeated, where the image has others.
    intensity : ``"percentile"`` maps this image's percentiles `low` and `high` to 0 and 1 and clips;
        ``"range"`` maps the stored values `low` and `high` to 0 and 1 and clips; ``"zscore"`` gives each image
        mean 0 and standard deviation 1 (`low` and `high` are not used).
    low, high : see `intensity`.

    Examples
    --------
    >>> recipe = Preprocessing(shape=(4, 4))
    >>> recipe(np.arange(32, dtype=np.uint16).reshape(1, 8, 4)).shape
    (1, 4, 4)
    """

    shape: tuple[int, ...]
    channels: int = 1
    intensity: Literal["percentile", "range", "zscore"] = "percentile"
    low: float = 0.5
    high: float = 99.5

    def __post_init__(self) -> None:
        shape = tuple(int(extent) for extent in self.shape)
        object.__setattr__(self, "shape", shape)
        if len(shape) not in {2, 3} or min(shape) < 1:
            message = f"shape {shape} must be (H, W) or (D, H, W) with positive extents."
            raise InputError(message)
        if self.intensity not in {"percentile", "range", "zscore"}:
            message = f"intensity {self.intensity!r} must be 'percentile', 'range' or 'zscore'."
            raise InputError(message)
        if not self.low < self.high:
            message = f"low ({self.low}) must lie below high ({self.high})."
            raise InputError(message)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Prepare one image.

        Parameters
        ----------
        image : array ``(C, *spatial)``, any real dtype, with as many spatial axes as `shape`.

        Returns
        -------
        float32 array ``(channels, *shape)``.

        Raises
        ------
        InputError : where the image has another number of axes, or holds NaN or infinity.
        """
        if image.ndim != len(self.shape) + 1:
            message = f"an image of shape {image.shape} was given; this recipe takes (channels, {_axes(self.shape)})."
            raise InputError(message)
        values = np.asarray(image, dtype=np.float32)
        if not np.isfinite(values).all():
            message = (
                f"the image holds {int((~np.isfinite(values)).sum())} NaN or infinite values; repair or leave it out."
            )
            raise InputError(message)
        values = self._scaled(self._recoloured(values))
        resized = np.stack([resize(channel, self.placement(image.shape[1:])[0]) for channel in values])
        return self._padded(resized)

    def placement(self, spatial: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return where an image of shape `spatial` lies in the input: its resized shape, and its first index on each axis."""
        scale = min(target / extent for target, extent in zip(self.shape, spatial, strict=True))
        inner = tuple(max(1, min(t, round(e * scale))) for t, e in zip(self.shape, spatial, strict=True))
        return inner, tuple((target - extent) // 2 for target, extent in zip(self.shape, inner, strict=True))

    def to_image(self, maps: np.ndarray, spatial: Sequence[int]) -> np.ndarray:
        """Carry a map ``(*shape)`` drawn on the input back onto the image's own grid ``(*spatial)``, as float32."""
        inner, start = self.placement(spatial)
        window = tuple(slice(first, first + extent) for first, extent in zip(start, inner, strict=True))
        return resize(np.asarray(maps, dtype=np.float32)[window], tuple(spatial))

    def to_input(self, mask: np.ndarray) -> np.ndarray:
        """Carry a mask ``(*spatial)`` onto the input's grid: bool ``(*shape)``, true where at least half is covered."""
        inner, _ = self.placement(mask.shape)
        carried: np.ndarray = self._padded(resize(mask.astype(np.float32), inner)[None])[0] >= 0.5
        return carried

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain JSON types."""
        return asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Rebuild the recipe that :meth:`to_dict` wrote."""
        return cls(**{**record, "shape": tuple(record["shape"])})

    def _recoloured(self, image: np.ndarray) -> np.ndarray:
        given = image.shape[0]
        if given == self.channels:
            return image
        if given in {3, 4} and self.channels == 1:
            return np.tensordot(LUMA, image[:3], axes=1)[None]
        if given == 1:
            return np.repeat(image, self.channels, axis=0)
        if given == 4 and self.channels == 3:
            return image[:3]
        message = (
            f"the image has {given} channels and the network takes {self.channels}; there is no usual way between them."
        )
        raise InputError(message)

    def _scaled(self, image: np.ndarray) -> np.ndarray:
        if self.intensity == "zscore":
            scaled: np.ndarray = (image - image.mean()) / max(float(image.std()), 1e-6)
            return scaled
        low, high = self.low, self.high
        if self.intensity == "percentile":
            low, high = (float(value) for value in np.percentile(image, [self.low, self.high]))
        return np.clip((image - low) / max(high - low, 1e-6), 0.0, 1.0)

    def _padded(self, image: np.ndarray) -> np.ndarray:
        if image.shape[1:] == self.shape:
            return np.ascontiguousarray(image, dtype=np.float32)
        before = [(target - extent) // 2 for target, extent in zip(self.shape, image.shape[1:], strict=True)]
        after = [
            target - extent - first for target, extent, first in zip(self.shape, image.shape[1:], before, strict=True)
        ]
        widths = [(0, 0), *zip(before, after, strict=True)]
        return np.pad(image, widths, constant_values=float(image.min())).astype(np.float32)


def resize(image: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Resize one float32 channel ``(*spatial)`` to ``(*shape)``, linear, anti-aliased where it shrinks."""
    if image.shape == tuple(shape):
        return image
    if image.ndim == 2:
        from PIL import Image

        rows, columns = shape
        return np.asarray(Image.fromarray(image.astype(np.float32)).resize((columns, rows), Image.Resampling.BILINEAR))
    import skimage.transform

    transform: Any = skimage.transform
    resized: np.ndarray = transform.resize(image, shape, order=1, anti_aliasing=True, preserve_range=True)
    return resized.astype(np.float32)


def _axes(shape: tuple[int, ...]) -> str:
    return "height, width" if len(shape) == 2 else "depth, height, width"

"""Windows that slide over an image: where they lie, which lie together in a block, and what their mean says of a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Windows:
    """A lattice of equal windows over ``spatial`` pixels, the first at index 0; the last ones are cut off at the end.

    Parameters
    ----------
    spatial : the image's size in pixels along each axis.
    window, stride : side and step in pixels along each axis.
    """

    spatial: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def over(cls, spatial: Sequence[int], *, window: Any = None, stride: Any = None) -> Windows:
        """Lay windows over an image; by default an eighth of each axis in 2-D, a quarter in 3-D, at half their side (rounded up).

        Raises
        ------
        InputError : where a window is larger than the image, or strides leave gaps between windows.
        """
        parts = 8 if len(spatial) == 2 else 4
        sides = _each_axis("window", window, spatial) or tuple(max(1, round(side / parts)) for side in spatial)
        steps = _each_axis("stride", stride, spatial) or tuple(-(-side // 2) for side in sides)
        if any(own > side for own, side in zip(sides, spatial, strict=True)):
            message = f"window {_told(sides)} is larger than the image of {_told(spatial)} pixels as the network sees it; give a smaller one."
            raise InputError(message)
        if any(step > own < side for step, own, side in zip(steps, sides, spatial, strict=True)):
            message = f"stride {_told(steps)} leaves gaps between windows of {_told(sides)} pixels; it must be at most as large along each axis."
            raise InputError(message)
        return cls(tuple(spatial), sides, steps)

    @property
    def counts(self) -> tuple[int, ...]:
        """How many windows there are along each axis."""
        axes = zip(self.spatial, self.window, self.stride, strict=True)
        return tuple(-(-(side - own) // step) + 1 for side, own, step in axes)

    @property
    def count(self) -> int:
        """How many windows there are."""
        return int(np.prod(self.counts))

    def boxes(self, level: int) -> np.ndarray:
        """Return the boxes that hold ``2**level`` windows along each axis, int64 ``(blocks, axes, 2)``, last axis fastest.

        A box is the first pixel and one past the last one, along each axis. Level 0 are the windows themselves.
        """
        together = 2**level
        along = []
        for side, own, step, count in zip(self.spatial, self.window, self.stride, self.counts, strict=True):
            first = np.arange(0, count, together)
            last = np.minimum(first + together, count) - 1
            along.append(np.stack([first * step, np.minimum(last * step + own, side)], axis=1))
        places = np.meshgrid(*[np.arange(len(axis)) for axis in along], indexing="ij")
        return np.stack([axis[place.ravel()] for axis, place in zip(along, places, strict=True)], axis=1)

    def averaged(self, values: np.ndarray) -> np.ndarray:
        """Give each pixel the mean value of the windows over it: ``(…, windows)`` to float64 ``(…, *spatial)``."""
        lead = values.shape[:-1]
        maps = values.reshape(*lead, *self.counts)
        # A mean over a box of windows is the mean along one axis after the other.
        for axis, (side, own, step) in enumerate(zip(self.spatial, self.window, self.stride, strict=True), len(lead)):
            first = np.arange(maps.shape[axis]) * step
            pixel = np.arange(side)[:, None]
            over = ((pixel >= first) & (pixel < first + own)).astype(np.float64)
            weights = over / over.sum(1, keepdims=True)
            maps = np.moveaxis(np.tensordot(weights, maps, axes=(1, axis)), 0, axis)
        return maps

    def tree(self, most: int) -> Tree:
        """Return blocks of windows from the finest level with at most `most` blocks (or one) down to single windows."""
        levels = [self.counts]
        while np.prod(levels[-1]) > max(1, most):
            levels.append(tuple(-(-count // 2) for count in levels[-1]))
        return Tree(
            np.concatenate([self.boxes(level) for level in range(len(levels))]),
            np.repeat(np.arange(len(levels)), [int(np.prod(counts)) for counts in levels]),
            _parents(levels),
        )


@dataclass(frozen=True)
class Tree:
    """Blocks of windows of all levels, finest first: a block of one level is split along each axis into the next.

    Parameters
    ----------
    boxes : int64 ``(nodes, axes, 2)``, see :meth:`Windows.boxes`.
    levels : int64 ``(nodes,)``, 0 for single windows.
    parents : int64 ``(nodes,)``, -1 for the coarsest.
    """

    boxes: np.ndarray
    levels: np.ndarray
    parents: np.ndarray

    def children(self, node: int) -> np.ndarray:
        """Return the blocks that a block is split into."""
        return np.flatnonzero(self.parents == node)

    def shared_out(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Return a value for each single window, ``(…, windows)``, from those of known blocks ``(…, nodes)``.

        A window that is not known itself gets the value of the smallest known block around it, by its share of the
        block's pixels. The coarsest level must be known.
        """
        size = np.prod(self.boxes[:, :, 1] - self.boxes[:, :, 0], axis=1)
        density = values / size
        for level in range(int(self.levels.max()) - 1, -1, -1):
            own = np.flatnonzero(self.levels == level)
            density[..., own] = np.where(known[..., own], density[..., own], density[..., self.parents[own]])
        finest = self.levels == 0
        shared: np.ndarray = density[..., finest] * size[finest]
        return shared


def check_sides(name: str, given: Any) -> None:
    """Refuse what is neither None, nor a whole number of pixels of at least 1, nor a sequence of those."""
    listed = [given] if isinstance(given, int | np.integer) else given
    if given is None:
        return
    if not isinstance(listed, list | tuple) or not listed or not all(_is_side(one) for one in listed):
        message = f"{name} {given!r} must be a whole number of pixels of at least 1, or one such number for each axis."
        raise InputError(message)


def _is_side(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 1


def _each_axis(name: str, given: Any, spatial: Sequence[int]) -> tuple[int, ...] | None:
    if given is None:
        return None
    sides = (int(given),) * len(spatial) if isinstance(given, int | np.integer) else tuple(int(side) for side in given)
    if len(sides) != len(spatial):
        message = f"{name} {_told(sides)} has {len(sides)} numbers, the image {len(spatial)} axes ({_told(spatial)} pixels); give one an axis."
        raise InputError(message)
    return sides


def _parents(levels: Sequence[tuple[int, ...]]) -> np.ndarray:
    """Number the blocks of all levels in order and return each one's block of the next coarser level."""
    found, start = [], 0
    for counts, coarser in pairwise(levels):
        start += int(np.prod(counts))
        places = np.indices(counts).reshape(len(counts), -1) // 2
        found.append(start + np.ravel_multi_index(tuple(places), coarser))
    return np.concatenate([*found, np.full(int(np.prod(levels[-1])), -1)])


def _told(sides: Sequence[int]) -> str:
    return " × ".join(map(str, sides))

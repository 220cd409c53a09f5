"""Random masks of low resolution, in sets in which no two cells go together: few tell what many independent ones do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST = 32  # masks in all
SETS = 8  # at least so many are drawn, thus 4 pairs, whose differences tell the standard error


@dataclass(frozen=True)
class RandomMasks:
    """Masks as RISE draws them (Petsiuk et al. 2018): a coarse grid of cells, shifted, linearly interpolated.

    Every pixel's mask value has the same distribution, of mean `keep`: the grid reaches beyond the image on all sides.
    (The paper's crop repeats the outermost cells, so that pixels at the border are masked more sharply.)

    **Sets.** At ``keep=0.5`` the masks of a set are the rows of a Hadamard matrix H, each cell a column of its own drawn at
    random and flipped with probability 1/2. Flips make each single mask a draw of independent cells, so every mean over
    masks is unbiased. Columns of H are orthogonal, so within a set the effect of one cell is estimated without the
    effects of all others (a main-effects plan, Plackett and Burman 1946, Biometrika 33:305). Where there are more cells
    than columns, columns are used again, and help less. At another `keep`, cells are independent.

    **Pairs.** All masks of a set have one shift, and sets come in pairs: the first's shift is drawn at random, the
    second's lies half a cell away along each axis, where the grid's slowest ripple has the opposite sign. Pairs are
    independent draws, so that the spread between them tells the error without bias.

    Parameters
    ----------
    spatial : the image's size in pixels.
    cells : cells across the image along each axis.
    keep : probability that a cell is seen.
    size : masks in a set.
    seed : of all draws.
    """

    spatial: tuple[int, ...]
    cells: tuple[int, ...]
    keep: float
    size: int
    seed: int

    @classmethod
    def over(cls, spatial: Sequence[int], *, cells: Any, keep: float, most: int, seed: int) -> RandomMasks:
        """Lay grids over an image; sets are as small as their cells allow, and small enough that `most` masks are 8 sets.

        Raises
        ------
        InputError : where `cells` has another number of axes than the image.
        """
        wanted = cells if cells is not None else (7 if len(spatial) == 2 else 4)
        listed = [int(wanted)] * len(spatial) if isinstance(wanted, int | np.integer) else [int(one) for one in wanted]
        if len(listed) != len(spatial):
            message = (
                f"cells {tuple(listed)} has {len(listed)} numbers, the image {len(spatial)} axes; give one an axis."
            )
            raise InputError(message)
        grid = tuple(min(count, side) for count, side in zip(listed, spatial, strict=True))
        one = cls(tuple(spatial), grid, keep, 0, seed)
        wide = 1 << int(np.prod(one.grid)).bit_length()  # one column is all ones and serves no cell
        return cls(tuple(spatial), grid, keep, min(wide, 1 << (max(most, LEAST) // SETS).bit_length() - 1), seed)

    @property
    def pixels(self) -> tuple[int, ...]:
        """How many pixels wide a cell is."""
        return tuple(-(-side // count) for side, count in zip(self.spatial, self.cells, strict=True))

    @property
    def grid(self) -> tuple[int, ...]:
        """How many cells are drawn along each axis: those over the image at any shift."""
        return tuple((side + width - 2) // width + 2 for side, width in zip(self.spatial, self.pixels, strict=True))

    def pair(self, number: int) -> tuple[MaskSet, MaskSet]:
        """Draw one pair of sets; it depends on nothing but `seed` and its number."""
        generator = np.random.default_rng([self.seed, number])
        start = generator.random(len(self.spatial))
        return self._set(generator, start), self._set(generator, (start + 0.5) % 1)

    def _set(self, generator: np.random.Generator, place: np.ndarray) -> MaskSet:
        """Draw a set whose grid is shifted by a part of a cell, 0–1 along each axis."""
        count = int(np.prod(self.grid))
        if self.keep == 0.5:
            columns = 1 + np.resize(generator.permutation(self.size - 1), count)
            seen = (_hadamard(self.size)[:, generator.permutation(columns)] > 0) ^ (generator.random(count) < 0.5)
        else:
            seen = generator.random((self.size, count)) < self.keep
        shifts = np.floor(place * self.pixels).astype(int)
        weights = [
            _interpolation(*one) for one in zip(self.spatial, self.pixels, self.grid, shifts.tolist(), strict=True)
        ]
        return MaskSet(seen.reshape(-1, *self.grid), weights, self.keep)


@dataclass(frozen=True)
class MaskSet:
    """Masks with one shift: cells seen, bool ``(size, *grid)``, and each axis' interpolation ``(pixels, cells)``."""

    seen: np.ndarray
    weights: list[np.ndarray]
    keep: float

    @property
    def size(self) -> int:
        """How many masks there are."""
        return len(self.seen)

    def hidden(self, first: int, last: int, *, device: torch.device | str = "cpu") -> torch.Tensor:
        """Return masks `first` to `last`, float32 ``(last - first, *spatial)`` from 0 (seen) to 1 (hidden)."""
        whole = torch.from_numpy(~self.seen[first:last]).to(device, torch.float32)
        for axis in range(len(self.weights), 0, -1):
            # Written so that the result lies in memory as it is read, whatever the axis.
            along = torch.from_numpy(self.weights[axis - 1]).to(device, torch.float32)
            shape = (*whole.shape[:axis], len(along), *whole.shape[axis + 1 :])
            if axis == len(self.weights):
                whole = whole @ along.T
            else:
                whole = (along @ whole.flatten(axis + 1).flatten(0, axis - 1)).reshape(shape)
        return whole.clamp_(0, 1)

    def effects(self, scores: np.ndarray) -> np.ndarray:
        """Return ``cov(score, M) / keep`` for each pixel: ``(…, size)`` to float64 ``(…, *spatial)``.

        A mask is linear in its cells and all masks share their shift, so covariances are taken cell by cell, and these
        interpolated: the same numbers for a thousandth of the work.
        """
        cells = self.seen.reshape(self.size, -1) - self.keep
        # Columns of a Hadamard matrix add up to zero: the mean score goes out by itself, at no cost in freedom.
        freedom = self.size if self.keep == 0.5 else self.size - 1
        away = scores - scores.mean(-1, keepdims=True)
        effects: np.ndarray = (away @ cells / (freedom * self.keep)).reshape(*scores.shape[:-1], *self.seen.shape[1:])
        for axis, weights in enumerate(self.weights, scores.ndim - 1):
            effects = np.moveaxis(np.tensordot(weights, effects, axes=(1, axis)), 0, axis)
        return effects


def _hadamard(size: int) -> np.ndarray:
    """Sylvester's matrix of ±1; `size` is a power of 2."""
    matrix: np.ndarray = np.ones((1, 1), dtype=np.int8)
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def _interpolation(side: int, width: int, cells: int, shift: int) -> np.ndarray:
    """Return what each cell counts for each pixel, float64 ``(side, cells)``; rows add up to 1."""
    place = (np.arange(side) + shift) / width
    before = np.floor(place).astype(int)
    weights = np.zeros((side, cells))
    weights[np.arange(side), before] = 1 - (place - before)
    weights[np.arange(side), before + 1] += place - before
    return weights

"""How tokens lie on an image: which are patches, and on what grid."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from workbench.explain.survey import Survey

PREFIX = 16
"""At most so many tokens may come before the patches: a class token, one for distillation, registers."""


@dataclass(frozen=True)
class Tokens:
    """Tokens ``(n, prefix + patches, features)`` on a grid; with `batch_axis` 1 the first two axes are exchanged."""

    grid: tuple[int, ...]
    prefix: int
    batch_axis: int = 0

    def patches(self, values: torch.Tensor) -> torch.Tensor:
        """Return the patches as feature maps ``(n, features, *grid)``."""
        rows = values.transpose(0, self.batch_axis)[:, self.prefix :]
        return rows.transpose(1, 2).reshape(len(rows), -1, *self.grid)


def tokens_on_grid(length: int, spatial: Sequence[int], found: Survey, *, batch_axis: int = 0) -> Tokens:
    """Find the grid of `length` tokens of an image of `spatial` pixels.

    It is that of the last layer with feature maps before them (the convolution that cuts patches, or a stem of
    several), where the numbers agree but for up to 16 tokens in front. Else the patches must be of equal size in all
    axes, or there must be only one way to cut the image into so many.

    Raises
    ------
    InputError : where no grid fits, or several do.
    """
    for seen in reversed(found.grids):
        prefix = length - math.prod(seen.shape[2:])
        if seen.form == "grid" and 0 <= prefix <= PREFIX:
            return Tokens(tuple(seen.shape[2:]), prefix, batch_axis)
    fits = _equal_patches(length, spatial) or _any_patches(length, spatial)
    if len(fits) == 1:
        return Tokens(fits[0], length - math.prod(fits[0]), batch_axis)
    size, tried = " × ".join(map(str, spatial)), ", ".join(" × ".join(map(str, grid)) for grid in fits)
    message = (
        f"{length} tokens lie in no one way on an image of {size} pixels ({f'it could be {tried}' if fits else 'no grid has so many'}). "
        "Cut the patches with a convolution, whose output shows the grid; method='occlusion' needs none."
    )
    raise InputError(message)


def _equal_patches(length: int, spatial: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the grid of square or cubic patches that divide the image, with the fewest tokens in front."""
    found = []
    for patch in range(1, min(spatial) + 1):
        grid = tuple(size // patch for size in spatial)
        prefix = length - math.prod(grid)
        if not any(size % patch for size in spatial) and math.prod(grid) > 1 and 0 <= prefix <= PREFIX:
            found.append((prefix, grid))
    return [min(found)[1]] if found else []


def _any_patches(length: int, spatial: Sequence[int]) -> list[tuple[int, ...]]:
    """Return every grid that divides the image exactly, with no or one token in front."""
    divisors = [[count for count in range(1, size + 1) if size % count == 0] for size in spatial]
    for prefix in (0, 1):
        fits = [grid for grid in itertools.product(*divisors) if math.prod(grid) == length - prefix]
        if fits:
            return fits
    return []

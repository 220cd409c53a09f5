"""Noisy linear imputation (Rong et al. 2022, arXiv:2202.00449): removed pixels from the pixels around them, fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE = 5e-5  # of an image's standard deviation: the largest change in the last step
MOST_STEPS = 200  # far more than it takes, whatever the size of the image and of the hole
DAMPING = 0.8  # of the smoothing steps: damps the upper half of the spectrum best, in 2-D and 3-D
COARSEST = 4  # cells a side; smoothing alone does the rest
AT_ONCE = 2**19  # values solved together: many enough to hide the cost of small steps, few enough for a cache


def impute(images: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    r"""Fill removed pixels in: each becomes the weighted mean of its neighbours, removed ones included.

    Rong et al. 2022: in 2-D direct neighbours weigh 1/6 and diagonal ones 1/12; at the image's border
    the weights of those that exist are scaled up to 1. All removed pixels together are the solution of a sparse
    linear system.

    **In 3-D** the paper says nothing. Its weights are those of the product [1 2 1] × [1 2 1] without its middle,
    and the same product of three axes gives 4/56 to the 6 neighbours by a face, 2/56 to the 12 by an edge and 1/56 to
    the 8 by a corner. A volume that does not change along an axis is then filled in slice by slice as the paper does.

    **How.** Conjugate gradients on all systems at once, preconditioned by one multigrid cycle (as McAdams et al. 2010,
    Symposium on Computer Animation, for holes of any form), until no pixel changes by more than 5e-5 of the image's
    standard deviation; the values are then exact to about half of that. The cycle runs in single precision, which
    decides only how soon; the sums that decide the result run in double precision.

    Parameters
    ----------
    images : ``(n, C, *spatial)``, two or three spatial axes, finite.
    removed : bool ``(n, *spatial)``, the pixels to fill; their values play no part. At least one pixel of each image
        must be left.

    Returns
    -------
    ``(n, C, *spatial)`` of the images' dtype; pixels that are left keep their value exactly.

    Raises
    ------
    InputError : where shapes differ, or an image has no pixel left.

    Examples
    --------
    >>> ramp = torch.arange(5.0).reshape(1, 1, 1, 5).expand(1, 1, 3, 5)
    >>> gone = torch.zeros(1, 3, 5, dtype=torch.bool)
    >>> gone[0, 1, 2] = True
    >>> impute(ramp, gone)[0, 0, 1]
    tensor([0., 1., 2., 3., 4.])
    """
    if images.dim() not in {4, 5} or removed.shape != (len(images), *images.shape[2:]):
        message = (
            f"images of shape {tuple(images.shape)} and removed pixels of {tuple(removed.shape)} do not go together: give "
            "(n, C, *spatial) and (n, *spatial), two or three spatial axes."
        )
        raise InputError(message)
    holes = removed[:, None].to(images.device, torch.bool)
    if bool(holes.flatten(1).all(1).any()):
        message = "an image has every pixel removed, and nothing to fill it in from; leave one at least."
        raise InputError(message)
    piece = max(1, AT_ONCE // max(1, images[0].numel()))
    with torch.no_grad():
        pairs = zip(torch.split(images, piece), torch.split(holes, piece), strict=True)
        return torch.cat([_filled(image, hole) for image, hole in pairs])


def _filled(images: torch.Tensor, holes: torch.Tensor) -> torch.Tensor:
    """Solve for a few images. Each is first brought to mean 0 and spread 1, so that the tolerance means the same."""
    # Apple's GPUs have no double precision; 1e-4 may then be missed in holes as large as the image.
    dtype = torch.float32 if images.device.type == "mps" else torch.float64
    axes = tuple(range(2, images.dim()))
    left = (~holes).to(dtype)
    values = torch.where(holes, 0, images.to(dtype))  # not a product: what is removed may be NaN
    count = left.sum(axes, keepdim=True)
    mean = values.sum(axes, keepdim=True) / count
    centred = (values - mean) * left
    spread = (centred.square().sum(axes, keepdim=True) / count).sqrt()
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    known = centred / spread
    solution = _solve(known, holes.to(dtype)) * spread + mean
    return torch.where(holes, solution.to(images.dtype), images)


def _solve(known: torch.Tensor, holes: torch.Tensor) -> torch.Tensor:
    """Preconditioned conjugate gradients; images that are done stand still, so none depends on its neighbours."""
    finest = _Level.of(holes)
    cycle = [_Level.of(level) for level in _pyramid(holes.to(torch.float32))]
    axes = tuple(range(2, known.dim()))
    residual = holes * _spread(known)
    solution, direction = torch.zeros_like(known), torch.zeros_like(known)
    product = torch.ones_like(known.sum(axes, keepdim=True))
    working = torch.ones_like(product, dtype=torch.bool)
    for _ in range(MOST_STEPS):
        guess = _cycle(cycle, residual.to(torch.float32)).to(known.dtype)
        before, product = product, (residual * guess).sum(axes, keepdim=True)
        direction = torch.addcmul(guess, product / before, direction)
        applied = finest.apply(direction)
        curvature = (direction * applied).sum(axes, keepdim=True)
        length = torch.where(working & (curvature > 0), product / curvature, torch.zeros_like(product))
        solution.addcmul_(length, direction)
        working &= (length * direction.abs().amax(axes, keepdim=True)).abs() > TOLERANCE
        if not bool(working.any()):
            break
        residual.addcmul_(length, applied, value=-1)
        product = torch.where(product > 0, product, torch.ones_like(product))
    return solution


@dataclass(frozen=True)
class _Level:
    """The system on one grid: each unknown times the weights of its neighbours, less its neighbours times their weights.

    `unknown` is 1 where a cell is unknown, else 0. :func:`_spread` counts a cell in with its neighbours, and so does
    `diagonal`, what all their weights add up to; in the difference the cell itself cancels.
    """

    unknown: torch.Tensor
    diagonal: torch.Tensor
    smoothing: torch.Tensor

    @classmethod
    def of(cls, unknown: torch.Tensor) -> _Level:
        diagonal = _spread(torch.ones_like(unknown[:1]))
        neighbours = diagonal - 2 ** (unknown.dim() - 2)
        return cls(unknown, diagonal, unknown * (DAMPING / neighbours.clamp(min=1)))

    def apply(self, values: torch.Tensor) -> torch.Tensor:
        return torch.mul(self.diagonal, values).sub_(_spread(values)).mul_(self.unknown)


def _spread(values: torch.Tensor) -> torch.Tensor:
    """Add up each position and its neighbours by the product of [1 2 1] over all axes; nothing lies beyond the border."""
    for axis in range(2, values.dim()):
        inner = values.shape[axis] - 1
        summed = 2 * values
        if inner:
            summed.narrow(axis, 0, inner).add_(values.narrow(axis, 1, inner))
            summed.narrow(axis, 1, inner).add_(values.narrow(axis, 0, inner))
        values = summed
    return values


def _pyramid(holes: torch.Tensor) -> list[torch.Tensor]:
    """Halve the grid until nothing is unknown; a coarse cell is unknown where all of its cells are."""
    levels = [holes]
    while max(levels[-1].shape[2:]) > COARSEST:
        fine = levels[-1]
        pool = torch.nn.functional.max_pool2d if fine.dim() == 4 else torch.nn.functional.max_pool3d
        coarse = 1 - pool(1 - fine, _halves(fine), ceil_mode=True)
        if not bool(coarse.any()):
            break
        levels.append(coarse)
    return levels


def _cycle(levels: Sequence[_Level], residual: torch.Tensor) -> torch.Tensor:
    """Run one V-cycle from zero: smooth, correct by the coarser grid, smooth again. Symmetric, as conjugate gradients ask."""
    level, rest = levels[0], levels[1:]
    values = level.smoothing * residual
    if rest:
        coarse = _restricted((residual - level.apply(values)) / level.diagonal)
        # The weights do not know the grid's spacing: on twice the spacing they count four times. And on a grid with
        # few cells along an axis more of them lack neighbours.
        coarse *= rest[0].unknown * (4 * rest[0].diagonal.mean() / level.diagonal.mean())
        correction = _prolonged(_cycle(rest, coarse), values.shape) / level.diagonal
        values.addcmul_(level.unknown, correction)
    return values.addcmul_(level.smoothing, residual - level.apply(values))


def _restricted(values: torch.Tensor) -> torch.Tensor:
    """Average onto the coarser grid by weights [1 3 3 1]: the transpose of :func:`_prolonged`, but for scale."""
    sides = _halves(values)
    pool = torch.nn.functional.avg_pool2d if values.dim() == 4 else torch.nn.functional.avg_pool3d
    return pool(_spread(values), sides, ceil_mode=True, divisor_override=int(np.prod(sides)))


def _prolonged(values: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Interpolate onto the finer grid: repeat each cell, and add up around each."""
    for axis in range(2, values.dim()):
        if shape[axis] > 1:
            values = values.repeat_interleave(2, dim=axis).narrow(axis, 0, shape[axis])
    return _spread(values)


def _halves(values: torch.Tensor) -> list[int]:
    return [min(2, side) for side in values.shape[2:]]

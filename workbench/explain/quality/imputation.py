"""Noisy linear imputation (Rong et al. 2022, arXiv:2202.00449): removed pixels from the pixels around them, fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE = 1e-5  # of an image's standard deviation: the largest change in the last step
MOST_STEPS = 200  # 8 to 15 are usual, whatever the size of the image and of the hole
DAMPING = 0.8  # of the smoothing steps: damps the upper half of the spectrum best, in 2-D and 3-D
AT_ONCE = 2**21  # values solved together: some tens of MiB


def impute(images: torch.Tensor, removed: torch.Tensor) -> torch.Tensor:
    r"""Fill removed pixels in: each becomes the weighted mean of its neighbours, removed ones included.

    Rong et al. 2022, section 5.1: in 2-D direct neighbours weigh 1/6 and diagonal ones 1/12; at the image's border
    the weights of those that exist are scaled up to 1. All removed pixels together are the solution of a sparse
    linear system.

    **In 3-D** the paper says nothing. Its weights are those of the product [1 2 1] × [1 2 1] without its middle,
    and the same product of three axes gives 4/56 to the 6 neighbours by a face, 2/56 to the 12 by an edge and 1/56 to
    the 8 by a corner. A volume that does not change along an axis is then filled in slice by slice as the paper does.

    **How.** Conjugate gradients on all systems at once, preconditioned by one multigrid cycle (as McAdams et al.
    2010, SCA, section 3, for holes of any form), until no pixel changes by more than 1e-5 of the image's standard
    deviation. The cycle runs in single precision, which decides only how soon; the sums that decide the result run in
    double precision.

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
    cycle = [_Level.of(level.to(torch.float32)) for level in _pyramid(holes)]
    axes = tuple(range(2, known.dim()))
    residual = holes * _around(known)
    solution = torch.zeros_like(known)
    direction, product = torch.zeros_like(known), torch.ones_like(known.sum(axes, keepdim=True))
    working = torch.ones_like(product, dtype=torch.bool)
    for _ in range(MOST_STEPS):
        guess = _cycle(cycle, residual.to(torch.float32)).to(known.dtype)
        before, product = product, (residual * guess).sum(axes, keepdim=True)
        direction = guess + product / before * direction
        applied = finest.apply(direction)
        curvature = (direction * applied).sum(axes, keepdim=True)
        length = torch.where(working & (curvature > 0), product / curvature, torch.zeros_like(product))
        step = length * direction
        solution += step
        working = working & (step.abs().amax(axes, keepdim=True) > TOLERANCE)
        if not bool(working.any()):
            break
        residual = residual - length * applied
        product = torch.where(product > 0, product, torch.ones_like(product))
    return solution


@dataclass(frozen=True)
class _Level:
    """The system on one grid: 1 where a cell is unknown, and what the weights of each cell's neighbours add up to."""

    unknown: torch.Tensor
    total: torch.Tensor

    @classmethod
    def of(cls, unknown: torch.Tensor) -> _Level:
        return cls(unknown, _around(torch.ones_like(unknown[:1])))

    def apply(self, values: torch.Tensor) -> torch.Tensor:
        """What each unknown differs from its neighbours, weighted: zero is the solution without known pixels."""
        return self.unknown * (self.total * values - _around(values))

    @property
    def smoothing(self) -> torch.Tensor:
        return self.unknown * (DAMPING / self.total.clamp(min=1e-6))


def _around(values: torch.Tensor) -> torch.Tensor:
    """Sum the neighbours of each position, weighted: the product of [1 2 1] over all axes without its middle, over its sum."""
    spatial = values.dim() - 2
    total = values
    for axis in range(2, values.dim()):
        side = values.shape[axis]
        summed = 2 * total
        if side > 1:
            summed.narrow(axis, 0, side - 1).add_(total.narrow(axis, 1, side - 1))
            summed.narrow(axis, 1, side - 1).add_(total.narrow(axis, 0, side - 1))
        total = summed
    return total.sub_(values, alpha=2**spatial).div_(4**spatial - 2**spatial)


def _pyramid(holes: torch.Tensor) -> list[torch.Tensor]:
    """Halve the grid until nothing is unknown; a coarse cell is unknown where all of its cells are."""
    levels = [holes]
    while max(levels[-1].shape[2:]) > 2:
        coarse = levels[-1]
        for axis in range(2, coarse.dim()):
            coarse = _paired(coarse, axis, outside=1.0).amin(axis + 1) if coarse.shape[axis] > 1 else coarse
        if not bool(coarse.any()):
            break
        levels.append(coarse)
    return levels


def _cycle(levels: Sequence[_Level], residual: torch.Tensor) -> torch.Tensor:
    """Run one V-cycle from zero: smooth, correct by the coarser grid, smooth again. Symmetric, as conjugate gradients ask."""
    level, rest = levels[0], levels[1:]
    smoothing = level.smoothing
    values = smoothing * residual
    if rest:
        # The weights do not know the grid's spacing: on twice the spacing the same operator counts four times.
        coarse = rest[0].unknown * _restricted(residual - level.apply(values)) * 4
        values = values + level.unknown * _prolonged(_cycle(rest, coarse), values.shape)
    return values + smoothing * (residual - level.apply(values))


def _paired(values: torch.Tensor, axis: int, *, outside: float) -> torch.Tensor:
    """Split an axis into pairs of neighbours ``(…, pairs, 2, …)``; an odd one is paired with `outside`."""
    if values.shape[axis] % 2:
        edge = torch.full_like(values.narrow(axis, 0, 1), outside)
        values = torch.cat([values, edge], dim=axis)
    return values.reshape(*values.shape[:axis], -1, 2, *values.shape[axis + 1 :])


def _restricted(values: torch.Tensor) -> torch.Tensor:
    """Average onto the coarser grid, weights [1 3 3 1] / 8: the transpose of :func:`_prolonged` but for scale."""
    for axis in range(2, values.dim()):
        if values.shape[axis] == 1:
            continue
        pairs = _paired(values, axis, outside=0.0)
        first, second = pairs.select(axis + 1, 0), pairs.select(axis + 1, 1)
        last = first.shape[axis] - 1
        values = 0.375 * (first + second)
        values.narrow(axis, 0, last).add_(first.narrow(axis, 1, last), alpha=0.125)
        values.narrow(axis, 1, last).add_(second.narrow(axis, 0, last), alpha=0.125)
        values.narrow(axis, 0, 1).add_(first.narrow(axis, 0, 1), alpha=0.125)
        values.narrow(axis, last, 1).add_(second.narrow(axis, last, 1), alpha=0.125)
    return values


def _prolonged(values: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Interpolate linearly onto the finer grid."""
    for axis in range(2, values.dim()):
        if shape[axis] == 1:
            continue
        last = values.shape[axis] - 1
        first, second = 0.75 * values, 0.75 * values
        first.narrow(axis, 1, last).add_(values.narrow(axis, 0, last), alpha=0.25)
        first.narrow(axis, 0, 1).add_(values.narrow(axis, 0, 1), alpha=0.25)
        second.narrow(axis, 0, last).add_(values.narrow(axis, 1, last), alpha=0.25)
        second.narrow(axis, last, 1).add_(values.narrow(axis, last, 1), alpha=0.25)
        values = torch.stack([first, second], axis + 1).flatten(axis, axis + 1).narrow(axis, 0, shape[axis])
    return values

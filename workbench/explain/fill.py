"""What stands where part of an image is hidden: the one answer that all methods and measures that hide parts share.

A value like "the score falls by 2 where this is hidden" answers *what if it had looked like that instead?*; another
fill is another question. Two kinds:

- **everywhere**: one image that stands behind the whole image, computed once: ``"black"``, ``"mean"``, ``"blur"``, a
  number, or an image of one's own. :func:`fill_images` returns it.
- **by region**: ``"inpaint"`` depends on what is hidden, and is computed for each hidden region.

:class:`Fill` serves both::

    fill = Fill.of(images, "inpaint")      # (n, C, *spatial), any fill
    altered = fill.hide(hidden, rows)      # bool or 0–1 (m, *spatial); rows (m,): which image each is a version of

Check a user's choice before any work by :func:`check_fill`, and tell it in a record by :func:`told_fill`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import InputError, unknown_name
from workbench.provenance import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERYWHERE = ("black", "mean", "blur")
FILLS = (*EVERYWHERE, "inpaint")
# Standard deviation as a part of each axis' length: a disc a tenth of the side wide keeps an eighth of its height, one
# twice as wide two fifths, and brightness by region stays.
BLUR = 0.1


def check_fill(fill: Any, *, name: str = "fill", known: tuple[str, ...] = FILLS) -> None:
    """Refuse what cannot be a fill.

    Parameters
    ----------
    fill : a name of `known`, a finite number, or an array or tensor ``(C, *spatial)``, finite.
    name : what the method calls it, for the message.
    known : names that the caller can work with: :data:`EVERYWHERE` where it needs one image behind the whole.

    Raises
    ------
    InputError : where it is none of these.
    """
    if isinstance(fill, str):
        if fill in known:
            return
        if fill in FILLS:
            message = f"{name} {fill!r} depends on the region that is hidden, and here one image must stand behind the whole; use one of {', '.join(known)}."
            raise InputError(message)
        raise unknown_name(name, fill, known)
    if isinstance(fill, np.ndarray | torch.Tensor):
        if not bool(torch.isfinite(torch.as_tensor(fill)).all()):
            message = f"the image given as {name} holds NaN or infinite values; repair it."
            raise InputError(message)
    elif isinstance(fill, bool) or not isinstance(fill, Real) or not np.isfinite(float(fill)):
        message = f"{name} {fill!r} must be one of {', '.join(known)}, a finite number, or an image (C, *spatial) as the network sees it."
        raise InputError(message)


def told_fill(fill: Any) -> str | float:
    """Return a fill as a record tells it: an image by its shape and hash."""
    if isinstance(fill, np.ndarray | torch.Tensor):
        values = torch.as_tensor(fill).detach().cpu().numpy()
        return f"image {values.shape}, {digest(values)[:12]}"
    return fill if isinstance(fill, str) else float(fill)


def fill_images(inputs: torch.Tensor, fill: Any) -> torch.Tensor:
    r"""Return the image that stands behind each image, wherever it may be hidden.

    - ``"black"``: each image's smallest value in each channel, which is what black becomes in preprocessing.
    - ``"mean"``: its mean in each channel.
    - ``"blur"``: itself without detail: a Gaussian of standard deviation 0.1 × side along each axis, so that width
      follows the image's size; the image goes on as its mirror image beyond its edges, which keeps its mean.
    - a number: this value, in all channels, as the network sees it (0 for ``captum``'s default baseline).
    - an array or tensor ``(C, *spatial)``: this image, as the network sees it.

    Parameters
    ----------
    inputs : ``(n, C, *spatial)``, finite, of any floating dtype.
    fill : see above.

    Returns
    -------
    Tensor of the inputs' shape, dtype and device; it may be an expanded view, so do not write into it.

    Raises
    ------
    InputError : where the fill is unknown, depends on the hidden region, or its image has another shape.
    """
    check_fill(fill, known=EVERYWHERE)
    if isinstance(fill, str):
        if fill == "blur":
            return _blurred(inputs.float()).to(inputs.dtype)
        whole = inputs.float().flatten(2)
        value = whole.amin(2) if fill == "black" else whole.mean(2)
        constant = value.reshape(*inputs.shape[:2], *[1] * (inputs.dim() - 2))
        return constant.to(inputs.dtype).expand(inputs.shape)
    given = torch.as_tensor(fill if isinstance(fill, np.ndarray | torch.Tensor) else float(fill))
    if given.dim() and given.shape != inputs.shape[1:]:
        message = (
            f"what stands in the image's place has the shape {tuple(given.shape)}, the images as the network sees them "
            f"{tuple(inputs.shape[1:])}; both must be alike (model.inputs(cohort) shows them)."
        )
        raise InputError(message)
    return given.to(inputs).expand(inputs.shape)


@dataclass(frozen=True)
class Fill:
    """A batch of images, and what stands where they are hidden.

    Parameters
    ----------
    images : ``(n, C, *spatial)``.
    everywhere : like `images`, what stands behind them; None where it depends on what is hidden (``"inpaint"``).
    """

    images: torch.Tensor
    everywhere: torch.Tensor | None

    @classmethod
    def of(cls, images: torch.Tensor, fill: Any) -> Fill:
        """Make a fill ready for these images; see :func:`fill_images` for the names, and ``"inpaint"``.

        Raises
        ------
        InputError : where the fill is unknown, or its image has another shape.
        """
        check_fill(fill)
        inpaint = isinstance(fill, str) and fill == "inpaint"
        return cls(images, None if inpaint else fill_images(images, fill))

    def hide(self, hidden: torch.Tensor, rows: torch.Tensor | np.ndarray | None = None) -> torch.Tensor:
        """Return altered copies ``(m, C, *spatial)`` of the images.

        Parameters
        ----------
        hidden : ``(m, *spatial)``: bool, true where the fill stands; or from 0 (the image) to 1 (the fill), for masks
            with soft edges. These mix with whatever is inpainted where more than half is hidden.
        rows : int64 ``(m,)``, the image of the batch that each is a version of; None where m == n, one to one.
        """
        where = None if rows is None else torch.as_tensor(rows, device=self.images.device)
        images = self.images if where is None else self.images[where]
        if self.everywhere is None:
            behind = inpaint(images, hidden if hidden.dtype == torch.bool else hidden > 0.5)
        else:
            behind = self.everywhere if where is None else self.everywhere[where]
        if hidden.dtype == torch.bool:
            return torch.where(hidden[:, None], behind, images)
        return torch.lerp(images, behind, hidden[:, None].to(images))

    def patches(self, rows: np.ndarray, boxes: np.ndarray) -> list[torch.Tensor]:
        """Return what stands in boxes of the images, ``(C, *sides)`` each: written over a copy, it hides the box.

        Many at once are inpainted faster than one after the other.

        Parameters
        ----------
        rows : int64 ``(m,)``, the image that each box lies in.
        boxes : int64 ``(m, axes, 2)``, first pixel and one past the last along each axis.
        """
        if self.everywhere is not None:
            places = [(row, slice(None), *_slices(box)) for row, box in zip(rows.tolist(), boxes.tolist(), strict=True)]
            return [self.everywhere[place] for place in places]
        # Only the pixels next to a box decide what is painted into it: boxes of one form are cut out with these. At the
        # image's start there are none on one side, which is the mirror image of its end.
        around = np.stack([boxes[:, :, 0] - 1, boxes[:, :, 1] + 1], axis=2).clip(
            0, np.array(self.images.shape[2:])[:, None]
        )
        sides, inside = around[:, :, 1] - around[:, :, 0], boxes - around[:, :, :1]
        turned = (inside[:, :, 0] == 0) & (inside[:, :, 1] < sides)
        inside = np.where(turned[:, :, None], sides[:, :, None] - inside[:, :, ::-1], inside)
        forms = np.concatenate([sides[:, :, None], inside], axis=2)
        painted: list[torch.Tensor] = [torch.empty(0)] * len(boxes)
        for form in np.unique(forms, axis=0):
            alike = np.flatnonzero((forms == form).all((1, 2))).tolist()
            mirrors = [(1 + np.flatnonzero(turned[one])).tolist() for one in alike]
            cuts = [self.images[(rows[one], slice(None), *_slices(around[one].tolist()))] for one in alike]
            cuts = [cut.flip(mirror) for cut, mirror in zip(cuts, mirrors, strict=True)]
            hole = (slice(None), *_slices(form[:, 1:].tolist()))
            hidden = torch.zeros((len(alike), *form[:, 0].tolist()), dtype=torch.bool, device=self.images.device)
            hidden[hole] = True
            patches = inpaint(torch.stack(cuts), hidden)[(slice(None), *hole)]
            for one, patch, mirror in zip(alike, patches, mirrors, strict=True):
                painted[one] = patch.flip(mirror)
        return painted


def _slices(box: Sequence[Sequence[int]]) -> list[slice]:
    return [slice(first, last) for first, last in box]


def inpaint(images: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    """Fill hidden pixels smoothly from those around them: noiseless linear imputation (Rong et al. 2022).

    Each hidden pixel is the weighted mean of its neighbours, see
    :func:`~workbench.explain.quality.imputation.impute`. The result depends on nothing but the pixels next to the
    hidden region. Where an image is hidden all over nothing is around, and its mean stands there.

    Parameters
    ----------
    images : ``(m, C, *spatial)``.
    hidden : bool ``(m, *spatial)``.

    Returns
    -------
    ``(m, C, *spatial)``; what is not hidden keeps its value.
    """
    from workbench.explain.quality.imputation import impute

    whole = hidden.flatten(1).all(1)
    if not bool(whole.any()):
        return impute(images, hidden)
    filled = images.clone()
    filled[whole] = fill_images(images[whole], "mean")
    if not bool(whole.all()):
        filled[~whole] = impute(images[~whole], hidden[~whole])
    return filled


def _blurred(images: torch.Tensor) -> torch.Tensor:
    """Blur along one axis after the other, each by a matrix: the kernel is as wide as the axis, so nothing is wasted."""
    for axis in range(2, images.dim()):
        side = images.shape[axis]
        if side > 1:
            weights = _blur_matrix(side).to(images)
            images = torch.movedim(torch.movedim(images, axis, -1) @ weights, -1, axis)
    return images.contiguous()


@lru_cache(maxsize=16)
def _blur_matrix(side: int) -> torch.Tensor:
    """Gaussian weights folded at both mirrors, ``(side, side)``: symmetric, and every row adds up to 1."""
    place = torch.arange(side, dtype=torch.float64)
    apart = place[:, None] - place
    weights = torch.zeros(side, side, dtype=torch.float64)
    for turn in (-1, 0, 1):
        for distance in (apart + 2 * side * turn, place[:, None] + place + 1 + 2 * side * turn):
            weights += torch.exp(-0.5 * (distance / (BLUR * side)) ** 2)
    return weights / weights.sum(1, keepdim=True)

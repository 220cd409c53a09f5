"""Occlusion (Zeiler and Fergus 2014, arXiv:1311.2901): how much the score falls when a window of the image is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import InputError
from workbench.explain.fill import Fill, check_fill, told_fill
from workbench.explain.memory import Fitting
from workbench.explain.task import Part
from workbench.explain.windows import Windows, check_sides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.explain.chosen import Chosen
    from workbench.explain.task import Batch, Explain, Task

THIRD = 1 / 3
FEW = 64  # windows in all; they are not worth looking for where to look
FIRST_LOOK = 0.1  # of the full map's windows: the coarsest level costs no more than this
AT_A_TIME = (
    4  # blocks that are split before looking again for the strongest; fixed, so that the batch size changes nothing
)
PAINTED_AT_ONCE = 2**22  # values in windows that are inpainted together: some 16 MiB
NO_EFFECT = 0.01  # of the largest effect found: blocks with less are never split


def occlusion(
    task: Task,
    *,
    window: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    fill: Any = "blur",
    coarse_to_fine: bool | float = False,
) -> Explain:
    """Hide a window at every place of a lattice and map how much the score falls (score - score with it hidden).

    A pixel's value is the mean over all windows that cover it, in units of the score: positive where hiding lowers the
    score, so that what is there spoke for the target. The first window lies at index 0 of each axis; the last reaches
    or crosses the image's end and is cut off there (as ``captum.attr.Occlusion``). Needs no gradient.

    **Coarse to fine.** ``coarse_to_fine=0.33`` spends a third of the full map's forward passes at most. Blocks of
    neighbouring windows are hidden together first; the block with the strongest effect is split in halves along each
    axis, and so on down to single windows, until the passes are spent or no block above one window has more than 1 % of
    the largest effect. Windows that were never hidden alone get their block's effect by their share of its pixels, which
    is exact where effects add up. What this misses is parts of a block that cancel each other; and where evidence is
    spread all over the image, or a large block upsets the network wherever it lies (as ``"black"`` often does), the map is
    smoother than the full one and no better than one of a wider `stride`. So it is off unless asked for;
    ``benchmarks/explain/perturbation_cost.py`` tells how near it comes. Each target's map is looked for by itself.

    ``evaluations`` tells the forward passes behind each map, besides that of the image as it is.

    Parameters
    ----------
    window : side of the window in pixels, for all axes or one an axis, slowest first. By default an eighth of each
        axis in 2-D, a quarter in 3-D.
    stride : step between windows in pixels, at most `window`; half of it by default. 225 windows an image in 2-D, 343
        in 3-D.
    fill : what stands where the window is: ``"black"``, ``"mean"``, ``"blur"``, ``"inpaint"``, a number or an image; see
        :func:`~workbench.explain.fill.fill_images` and :func:`~workbench.explain.fill.inpaint`.
    coarse_to_fine : the part of the full map's forward passes to spend, 0–1; True for a third, False (or 1) for the full map.
        Lattices of up to 64 windows are always looked at in full.

    Raises
    ------
    InputError : where a window does not fit into the image, strides leave gaps, or the fill cannot be used.
    """
    check_sides("window", window)
    check_sides("stride", stride)
    check_fill(fill)
    budget = _budget(coarse_to_fine)

    def explain(batch: Batch) -> Part:
        output = task.evaluate(batch.inputs.clone())
        chosen = task.choose(output, batch.ids)
        scores = chosen.scores(output).cpu().numpy()
        windows = Windows.over(batch.inputs.shape[2:], window=window, stride=stride)
        look = _Look(task, chosen, Fill.of(batch.inputs, fill), scores.astype(np.float64))
        if budget is None or windows.count <= FEW:
            rows = np.repeat(np.arange(len(batch.ids)), windows.count)
            drops = look.drops(rows, np.tile(windows.boxes(0), (len(batch.ids), 1, 1)))
            values, spent = drops.reshape(*scores.shape, windows.count), np.full(scores.shape, float(windows.count))
        else:
            values, spent = _narrowed(windows, look, allowed=int(budget * windows.count))
        return Part(
            chosen, scores, windows.averaged(values).astype(np.float32), findings={"evaluations": spent},
            settings={"window": list(windows.window), "stride": list(windows.stride), "fill": told_fill(fill)},
        )  # fmt: skip

    return explain


def _budget(coarse_to_fine: bool | float) -> float | None:
    if isinstance(coarse_to_fine, bool):
        return THIRD if coarse_to_fine else None
    if not isinstance(coarse_to_fine, int | float) or not 0 < coarse_to_fine <= 1:
        message = f"coarse_to_fine {coarse_to_fine!r} must be True, False, or the part of the full map's forward passes to spend, above 0 and up to 1."
        raise InputError(message)
    return float(coarse_to_fine) if coarse_to_fine < 1 else None


@dataclass(frozen=True)
class _Look:
    """What a score falls by when boxes of the images are hidden; `scores` ``(T, n)`` are those of the images as they are."""

    task: Task
    chosen: Chosen
    fill: Fill
    scores: np.ndarray

    def drops(self, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return drops, float64 ``(T, m)``, for boxes ``(m, axes, 2)`` (first pixel, one past the last) of images ``rows (m,)``."""
        sides = boxes[:, :, 1] - boxes[:, :, 0]
        # Inpainting is fast where many boxes are painted at once, and whole batches of them waste no forward pass.
        most = PAINTED_AT_ONCE // int(self.fill.images.shape[1] * sides.prod(1).max(initial=1))
        piece = max(1, most // self.task.batch_size) * self.task.batch_size
        parts = [slice(start, start + piece) for start in range(0, len(rows), piece)]
        return np.concatenate([self._drops(rows[part], boxes[part]) for part in parts], axis=1)

    def _drops(self, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        images, fitting = self.fill.images, Fitting(self.task.batch_size)
        patches = self.fill.patches(rows, boxes)
        places = [(slice(None), *[slice(first, last) for first, last in box]) for box in boxes.tolist()]
        # One buffer, written afresh for every batch: a network may change its input in place.
        buffer = torch.empty(
            (min(len(rows), fitting.size), *images.shape[1:]), dtype=images.dtype, device=images.device
        )
        found = np.empty((len(self.scores), len(rows)))

        def score(part: slice) -> np.ndarray:
            altered = buffer[: part.stop - part.start]
            torch.index_select(images, 0, torch.from_numpy(rows[part]).to(images.device), out=altered)
            for copy, place, patch in zip(altered, places[part], patches[part], strict=True):
                copy[place] = patch
            values = self.chosen.scores(self.task.evaluate(altered), rows[part])
            scores: np.ndarray = values.double().cpu().numpy()
            return scores

        for part, values in fitting.run(len(rows), score):
            found[:, part] = self.scores[:, rows[part]] - values
        return found


def _narrowed(windows: Windows, look: _Look, *, allowed: int) -> tuple[np.ndarray, np.ndarray]:
    """Look coarsely first and closer where the effect is; values ``(T, n, windows)``, forward passes ``(T, n)``."""
    tree = windows.tree(int(FIRST_LOOK * windows.count))
    targets, images = look.scores.shape
    drops = np.full((targets, images, len(tree.boxes)), np.nan)
    own = np.zeros(drops.shape, dtype=bool)  # what each target's map rests on: never what only another target asked for
    split = np.zeros(drops.shape, dtype=bool)
    own[:, :, tree.levels == tree.levels.max()] = True
    while True:
        image, node = np.nonzero(own.any(0) & np.isnan(drops[0]))
        if len(node):
            drops[:, image, node] = look.drops(image, tree.boxes[node])
        went_on = False
        for target in range(targets):
            for row in range(images):
                left = allowed - int(own[target, row].sum())
                for strongest in _strongest(drops[target, row], own[target, row] & ~split[target, row], tree.levels):
                    children = tree.children(strongest)
                    if len(children) > left:
                        break
                    left -= len(children)
                    split[target, row, strongest], own[target, row, children] = True, True
                    went_on = True
        if not went_on:
            return tree.shared_out(drops, own), own.sum(2).astype(np.float64)


def _strongest(drops: np.ndarray, whole: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return the next few blocks to split, the strongest first; of equal ones the first."""
    effect = np.where(whole, np.abs(drops), 0)
    candidates = np.flatnonzero((levels > 0) & (effect > NO_EFFECT * np.nanmax(np.abs(drops))))
    order = np.argsort(-effect[candidates], kind="stable")
    return np.asarray(candidates[order[:AT_A_TIME]])

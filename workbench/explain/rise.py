"""RISE (Petsiuk et al. 2018, arXiv:1806.07421): how the score goes with what random masks leave to be seen."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import EvidenceWarning
from workbench.explain.fill import EVERYWHERE, Fill, check_fill, told_fill
from workbench.explain.memory import Fitting
from workbench.explain.random_masks import LEAST, RandomMasks
from workbench.explain.settings import check_number, check_whole
from workbench.explain.task import Part
from workbench.explain.windows import check_sides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.explain.chosen import Chosen
    from workbench.explain.random_masks import MaskSet
    from workbench.explain.task import Batch, Explain, Task

BEFORE_STOPPING = 4  # pairs of mask sets: an error told by fewer is too uncertain to stop at


def rise(
    task: Task,
    *,
    masks: int = 2048,
    cells: int | Sequence[int] | None = None,
    keep: float = 0.5,
    fill: Any = "blur",
    error: float | None = None,
    masks_limit: int = 8192,
    seed: int = 0,
) -> Explain:
    """Show the image through random masks M and map ``E[score · M] / E[M] - E[score]`` for each pixel.

    The first term is the paper's map. The second, the mean score of all masked images, is the same for
    all pixels and told as ``masked_score``: taken off, the map is signed, and zero says that it makes no difference whether
    a pixel is seen. Values are in units of the score: what is gained over the mean masked score where the pixel is seen.
    Divide them by ``1 - keep`` for seen less hidden. The expectation E[M] is known (`keep`) and not estimated.

    **Fewer masks.** Taking off the mean is also what makes independent masks bearable (a control variate: else the
    scores' level goes into the noise). At ``keep=0.5`` masks come in orthogonal sets, see
    :class:`~workbench.explain.random_masks.RandomMasks`: each mask is distributed as the paper's, so the map is
    unbiased, but in a set no two cells go together, so that the effect of one is no noise in the other. The map is then
    as exact as from 2 to 25 times as many independent masks (``benchmarks/explain/perturbation_cost.py``); the more so, the less the
    score rests on cells being seen *together*. Pairs of a mask and its opposite, in place of this, make the error larger.

    ``errors`` holds the standard error of each value, from the spread between independent pairs of sets; it is unbiased,
    and told by few pairs (4 at least). With `error`, pairs are added until, for each image and target by itself, the
    root-mean-square of ``errors`` is at most `error` times that of the map without noise,
    ``√(mean(map²) - mean(errors²))``; ``relative_error`` tells this ratio, ``masks`` how many were used.

    All images and targets share the masks, which come from `seed` alone; they are made a batch at a time.

    Parameters
    ----------
    masks : how many, at least 32, rounded up to whole pairs of sets; each costs one forward pass an image. The paper takes 4,000
        to 8,000.
    cells : cells across the image, for all axes or one an axis; 7 by default (the paper's) in 2-D, 4 in 3-D. What a map
        can resolve.
    keep : the probability that a cell is seen, above 0 and below 1.
    fill : what stands where nothing is seen: ``"black"`` (the paper's), ``"mean"``, ``"blur"``, a number or an image; see
        :func:`~workbench.explain.fill.fill_images`.
    error : the relative standard error asked for, above 0; None for a fixed number of masks.
    masks_limit : with `error`, never more masks than these; a warning says where it was not reached.
    seed : of all draws.

    Raises
    ------
    InputError : where a number is out of range, or the fill cannot be used.
    """
    check_whole("masks", masks, least=LEAST)
    check_whole("masks_limit", masks_limit, least=LEAST)
    check_sides("cells", cells)
    check_fill(fill, known=EVERYWHERE)
    check_number("keep", keep, above=0, below=1, meaning="the probability that a cell is seen; 0.5 needs fewest masks")
    if error is not None:
        check_number(
            "error",
            error,
            above=0,
            meaning="0.1: a tenth of the map's root-mean-square; None for a fixed number of masks",
        )
    fitting, most = Fitting(task.batch_size), masks if error is None else masks_limit

    def explain(batch: Batch) -> Part:
        output = task.evaluate(batch.inputs.clone())
        chosen = task.choose(output, batch.ids)
        scores = chosen.scores(output).cpu().numpy()
        drawn = RandomMasks.over(batch.inputs.shape[2:], cells=cells, keep=keep, most=most, seed=seed)
        pairs = -(-most // (2 * drawn.size))
        look = _Look(task, chosen, Fill.of(batch.inputs, fill), fitting)
        found = _Running.nothing((*scores.shape, *batch.inputs.shape[2:]))
        for number in range(pairs):
            rows = np.flatnonzero(found.unsettled.any(0))
            if len(rows) == 0:
                break
            pair = drawn.pair(number)
            seen = [look.scores(one, rows) for one in pair]
            maps = np.mean([one.effects(own) for one, own in zip(pair, seen, strict=True)], axis=0)
            found.add(rows, maps, np.mean(seen, axis=(0, 3)))
            done = number + 1
            if done == pairs or (error is not None and done >= BEFORE_STOPPING):
                found.settle(error=error if done < pairs else None, masks=done * 2 * drawn.size)
        _warn_of(found.relative, error, most)
        return Part(
            chosen, scores, found.maps.astype(np.float32), errors=found.errors.astype(np.float32),
            findings={"masks": found.masks, "relative_error": found.relative, "masked_score": found.level},
            settings={"cells": list(drawn.cells), "fill": told_fill(fill)},
        )  # fmt: skip

    return explain


@dataclass(frozen=True)
class _Look:
    """What images score when they are seen through masks."""

    task: Task
    chosen: Chosen
    fill: Fill
    fitting: Fitting

    def scores(self, mask_set: MaskSet, rows: np.ndarray) -> np.ndarray:
        """Return float64 ``(T, rows, masks)``; batches run across masks and images."""
        images = self.fill.images
        mask, image = np.repeat(np.arange(mask_set.size), len(rows)), np.tile(np.arange(len(rows)), mask_set.size)

        def score(part: slice) -> np.ndarray:
            first, last = int(mask[part.start]), int(mask[part.stop - 1]) + 1
            hidden = mask_set.hidden(first, last, device=images.device)
            altered = self.fill.hide(hidden[torch.from_numpy(mask[part] - first).to(images.device)], rows[image[part]])
            answers: np.ndarray = (
                self.chosen.scores(self.task.evaluate(altered), rows[image[part]]).double().cpu().numpy()
            )
            return answers

        answers = np.concatenate([values for _, values in self.fitting.run(len(mask), score)], axis=1)
        return np.moveaxis(answers.reshape(len(answers), mask_set.size, len(rows)), 1, 2)


@dataclass(frozen=True)
class _Running:
    """Mean and spread of the pairs' maps as they come (Welford 1962), and what targets that are settled keep.

    Of shape ``(T, n, *spatial)`` are `mean`, `squares`, `maps`, `errors`; of ``(T, n)`` all others.
    """

    mean: np.ndarray
    squares: np.ndarray
    maps: np.ndarray
    errors: np.ndarray
    pairs: np.ndarray
    total: np.ndarray
    level: np.ndarray
    masks: np.ndarray
    relative: np.ndarray
    unsettled: np.ndarray

    @classmethod
    def nothing(cls, shape: tuple[int, ...]) -> _Running:
        whole, single = np.zeros(shape), np.zeros(shape[:2])
        return cls(
            whole, whole.copy(), whole.copy(), whole.copy(),
            single, single.copy(), single.copy(), single.copy(), single.copy(), unsettled=np.ones(shape[:2], dtype=bool),
        )  # fmt: skip

    def add(self, rows: np.ndarray, maps: np.ndarray, level: np.ndarray) -> None:
        """Take in one pair's maps ``(T, rows, *spatial)`` and mean scores ``(T, rows)``."""
        self.pairs[:, rows] += 1
        count = self.pairs[0, rows].reshape(-1, *[1] * (maps.ndim - 2))
        away = maps - self.mean[:, rows]
        self.mean[:, rows] += away / count
        self.squares[:, rows] += away * (maps - self.mean[:, rows])
        self.total[:, rows] += level

    def settle(self, *, error: float | None, masks: int) -> None:
        """Take stock; targets that are exact enough (or all, without `error`) keep what they have."""
        axes = tuple(range(2, self.mean.ndim))
        pairs = np.maximum(self.pairs, 2)
        squared = self.squares / (pairs * (pairs - 1)).reshape(*pairs.shape, *[1] * len(axes))
        noise = squared.mean(axes)
        signal = np.maximum((self.mean**2).mean(axes) - noise, 0)
        relative = np.sqrt(np.divide(noise, signal, out=np.where(noise > 0, np.inf, 0.0), where=signal > 0))
        now = self.unsettled & (np.ones_like(relative, dtype=bool) if error is None else relative <= error)
        self.maps[now], self.errors[now] = self.mean[now], np.sqrt(squared[now])
        self.level[now], self.masks[now], self.relative[now] = (self.total / pairs)[now], masks, relative[now]
        self.unsettled[now] = False


def _warn_of(relative: np.ndarray, error: float | None, most: int) -> None:
    missed = int((relative > error).any(0).sum()) if error is not None else 0
    if missed:
        message = (
            f"{missed} of {relative.shape[1]} images did not come to the error {error} within {most} masks: see relative_error in "
            "to_frame(). Raise masks_limit, or ask for less."
        )
        warnings.warn(message, EvidenceWarning, stacklevel=3)

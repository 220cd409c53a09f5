"""Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365): a score shared out over the pixels, with its gap."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import EvidenceWarning
from workbench.explain.fill import EVERYWHERE, fill_images
from workbench.explain.gradients import gradients_at
from workbench.explain.references import stand_in
from workbench.explain.settings import check_number, check_whole
from workbench.explain.task import Part

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.cohorts.cohort import Cohort
    from workbench.explain.chosen import Chosen
    from workbench.explain.task import Batch, Explain, Task


def integrated_gradients(
    task: Task,
    *,
    baseline: str | float | np.ndarray | None = None,
    background: Cohort | None = None,
    steps: int = 30,
    max_steps: int = 270,
    tolerance: float = 0.05,
) -> Explain:
    """Add up gradients along the straight line from a baseline x' to the image: ``(x - x') ∫ ∂ score / ∂ x dα`` (eq. 1).

    Signed, in units of the score, summed over channels. The values add up to the score less the baseline's score
    (completeness, proposition 1) but for the error of the sum that stands for the integral. That error is given for
    each image: ``completeness_gap``, the sum less the difference of the scores; ``relative_gap``, its size as a part of
    that difference; and ``steps``, how many gradients were used. Where an image's gap is larger than `tolerance`, the
    steps are tripled, the earlier ones being used again (the midpoint rule nests), until it is not or `max_steps` is
    reached; then a warning says so.

    Parameters
    ----------
    baseline : what stands for "nothing to see": ``"black"`` (each image's and channel's smallest value; the default),
        ``"mean"``, ``"blur"`` (the image without detail), a number, or an image ``(C, *spatial)``, the last two as the
        network sees them (:func:`~workbench.explain.fill.fill_images`). The map says what differs from the baseline:
        with ``"black"``, dark pixels never get evidence (Sturmfels et al. 2020, doi:10.23915/distill.00022).
    background : a cohort whose mean image is the baseline, in place of `baseline`.
    steps : gradients an image at first, at least 1; each costs about two forward passes. The paper takes 20 to 300.
    max_steps : never more than these.
    tolerance : largest relative gap that is left alone; the paper advises 0.05.

    Raises
    ------
    InputError : where the baseline is unknown or a number is out of range.
    """
    check_whole("steps", steps, least=1)
    check_whole("max_steps", max_steps, least=steps)
    check_number("tolerance", tolerance, above=0, meaning="0.05 leaves gaps of up to 5 % of the score's difference")
    start = stand_in(task, baseline, background, default="black", name="baseline", known=EVERYWHERE)

    def explain(batch: Batch) -> Part:
        output = task.evaluate(batch.inputs)
        chosen = task.choose(output, batch.ids)
        scores = chosen.scores(output).cpu().numpy()
        begin = fill_images(batch.inputs.float(), start.fill)
        reached = chosen.scores(task.evaluate(begin.to(batch.inputs.dtype))).cpu().numpy()
        rise = scores.astype(np.float64) - reached
        goal = _Goal(rise, scores, tolerance, torch.finfo(batch.inputs.dtype).eps)
        maps, used = _integrated(task, batch, chosen, begin=begin, goal=goal, steps=(steps, max_steps))
        if goal.missed(maps).any():
            message = (
                f"some maps by integrated gradients miss their score by more than {tolerance:.0%} after {used.max():.0f} steps: see "
                "relative_gap in to_frame(). Raise max_steps, or trust these maps less."
            )
            warnings.warn(message, EvidenceWarning, stacklevel=4)
        gap = _sums(maps) - rise
        relative = np.divide(np.abs(gap), np.abs(rise), out=np.full(rise.shape, np.nan), where=rise != 0)
        return Part(
            chosen, scores, maps.astype(np.float32),
            findings={"completeness_gap": gap, "relative_gap": relative, "steps": used, "baseline_score": reached.astype(np.float64)},
            settings=start.told, parents=start.parents,
        )  # fmt: skip

    return explain


@dataclass(frozen=True)
class _Goal:
    """What the maps of a batch should add up to: the rise of the score ``(T, n)``, but for `tolerance` of it.

    A gap that is explained by rounding (`epsilon`, of the network's numbers) is no gap.
    """

    rise: np.ndarray
    scores: np.ndarray
    tolerance: float
    epsilon: float

    def missed(self, maps: np.ndarray) -> np.ndarray:
        rounding = 8 * self.epsilon * (np.abs(self.scores) + np.sqrt(_sums(maps**2)))
        allowed = np.maximum(self.tolerance * np.abs(self.rise), rounding)
        return np.asarray(np.abs(_sums(maps) - self.rise) > allowed)


def _integrated(
    task: Task, batch: Batch, chosen: Chosen, *, begin: torch.Tensor, goal: _Goal, steps: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Triple the steps of each image and target until its gap is allowed; maps ``(T, n, *spatial)``, steps ``(T, n)``.

    n midpoints are the middle ones of 3 n, so no gradient is thrown away.
    """
    count, most = steps
    places = (np.arange(count) + 0.5) / count
    maps = np.zeros((*goal.rise.shape, *batch.inputs.shape[2:]))
    total, used = np.zeros_like(maps), np.zeros(goal.rise.shape)
    unfinished = np.ones(goal.rise.shape, dtype=bool)
    while True:
        rows = np.flatnonzero(unfinished.any(axis=0))
        for row, values in _along(task, batch, chosen, begin=begin, rows=rows, places=places):
            total[:, row] += values
        # A target that is settled keeps its map: it must not depend on what else is asked of the image.
        maps[unfinished] = total[unfinished] / count
        used[unfinished] = count
        unfinished &= goal.missed(maps)
        if not unfinished.any() or 3 * count > most:
            return maps, used
        places = (np.arange(count) + np.array([[1 / 6], [5 / 6]])).ravel() / count
        count *= 3


def _along(
    task: Task, batch: Batch, chosen: Chosen, *, begin: torch.Tensor, rows: np.ndarray, places: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield, for some images, the sum over some places of the path of ``(x - x') · gradient``, float64 ``(T, *spatial)``.

    At most ``task.batch_size`` places at a time, of several images where they fit; an image may come more than once.
    """
    images = batch.inputs.float()
    pairs = np.repeat(rows, len(places)), np.tile(places, len(rows))
    for first in range(0, len(pairs[0]), task.batch_size):
        part, place = (values[first : first + task.batch_size] for values in pairs)
        where = torch.from_numpy(part).to(images.device)
        difference = images[where] - begin[where]
        share = torch.from_numpy(place).to(images).reshape(-1, *[1] * (images.dim() - 1))
        between = (begin[where] + share * difference).to(batch.inputs.dtype)

        def weigh(gradient: torch.Tensor, difference: torch.Tensor = difference) -> torch.Tensor:
            return (difference * gradient).sum(1)

        values = gradients_at(task, batch, chosen, inputs=between, rows=part, draw=weigh)
        for row in np.unique(part):
            yield int(row), values[:, part == row].sum(1, dtype=np.float64)


def _sums(maps: np.ndarray) -> np.ndarray:
    sums: np.ndarray = maps.reshape(*maps.shape[:2], -1).sum(-1)
    return sums

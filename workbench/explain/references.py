"""What an image is compared with: a few images of a background cohort, their mean, or a fill."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.cohorts.cohort import Cohort
from workbench.errors import InputError
from workbench.explain.fill import FILLS, check_fill, told_fill
from workbench.explain.memory import Fitting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.explain.chosen import Chosen
    from workbench.explain.task import Task
    from workbench.provenance import Provenance


DIFFER = (
    "the background's images differ in size as the network sees them; they need one size, that of the explained images."
)


@dataclass(frozen=True)
class Bank:
    """Reference images: inputs ``(m, C, *spatial)``, the network's outputs ``(m, K, …)``, and whose they are."""

    inputs: torch.Tensor
    outputs: torch.Tensor
    patients: np.ndarray

    def __len__(self) -> int:
        return len(self.inputs)

    def others(self, patient: str, image_id: str) -> np.ndarray:
        """Return the rows of all references but this patient's, int64.

        Raises
        ------
        InputError : where none is left.
        """
        rows = np.flatnonzero(self.patients != patient)
        if len(rows) == 0:
            message = (
                f"image {image_id!r} has no reference: all images drawn are of its own patient {patient!r}. Give the cohort "
                "the model was trained on, background=train, or a larger background_size."
            )
            raise InputError(message)
        return rows

    def scores(self, chosen: Chosen, image: int, rows: np.ndarray) -> np.ndarray:
        """Return what some references score when asked what image number `image` of a batch is, float64 ``(T, rows)``."""
        asked = chosen.scores(self.outputs[torch.from_numpy(rows)], np.full(len(rows), image))
        return asked.double().cpu().numpy()


@dataclass(frozen=True)
class StandIn:
    """What stands in an image's place, for :func:`~workbench.explain.fill.fill_images` or ``Fill.of``.

    `told` is how the record tells it, `parents` where it came from.
    """

    fill: Any
    told: Mapping[str, Any]
    parents: Mapping[str, Provenance] = field(default_factory=dict)


def stand_in(
    task: Task,
    fill: Any,
    background: Cohort | None,
    *,
    default: str,
    name: str = "fill",
    known: tuple[str, ...] = FILLS,
) -> StandIn:
    """Read the one of two settings that says what stands in an image's place: a fill, or a cohort whose mean does.

    Parameters
    ----------
    task : the mean is of the background as its model sees it.
    fill : see :func:`~workbench.explain.fill.check_fill`; None for `default`.
    background : a cohort, or None.
    default : where neither is given.
    name : what the method calls `fill`.
    known : names of fills that the method can work with.

    Raises
    ------
    InputError : where both are given, or one cannot be used.
    """
    if background is None:
        fill = default if fill is None else fill
        check_fill(fill, name=name, known=known)
        return StandIn(fill, {name: told_fill(fill)})
    if fill is not None:
        message = (
            f"{name} {told_fill(fill)!r} and background= both say what stands in the image's place; give one of them."
        )
        raise InputError(message)
    check_background(background)
    mean = mean_image(task, background)
    told = {name: "mean image of the background", "background": background.name}
    return StandIn(mean, told, {"background": background.provenance})


def mean_image(task: Task, background: Cohort) -> torch.Tensor:
    """Average a cohort as the network sees it: ``(C, *spatial)``, float32 on its device; read a batch at a time.

    Raises
    ------
    InputError : where its images differ in size as the network sees them.
    """
    total = torch.zeros(())
    for start in range(0, len(background), task.batch_size):
        part = task.inputs(background.ids[start : start + task.batch_size], background)
        added = part.cpu().double().sum(0)
        if start and added.shape != total.shape:
            raise InputError(DIFFER)
        total = total + added
    return (total / len(background)).float().to(part.device)


def check_background(background: object) -> None:
    """Refuse what is no cohort; None stands for the explained cohort itself."""
    if background is not None and not isinstance(background, Cohort):
        message = f"background is {type(background).__name__}, and must be a cohort, best the one the model was trained on: its images are what the explained ones are compared with."
        raise InputError(message)


def reference_bank(task: Task, background: Cohort, *, size: int, seed: int) -> Bank:
    """Draw `size` images of `background` by `seed`; the same ones for every image of the task.

    Raises
    ------
    InputError : where the background's images are not of the explained images' size, or not finite.
    """
    rows = sorted(np.random.default_rng(seed).permutation(len(background))[:size])
    ids = [background.ids[row] for row in rows]
    inputs, outputs = [], []
    for _, (images, output) in Fitting(task.batch_size).run(
        len(ids), lambda part: _evaluated(task, background, ids[part])
    ):
        inputs.append(images)
        outputs.append(output.cpu())
    if len({tuple(images.shape[1:]) for images in inputs}) > 1:
        raise InputError(DIFFER)
    return Bank(torch.cat(inputs), torch.cat(outputs), np.asarray(background.patients)[rows])


def _evaluated(task: Task, background: Cohort, ids: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = task.inputs(ids, background)
    return inputs, task.evaluate(inputs)

"""The references that Shapley values of pixels compare an image with: a few images of a background cohort."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.cohorts.cohort import Cohort
from workbench.errors import InputError
from workbench.explain.memory import Fitting

if TYPE_CHECKING:
    from workbench.explain.chosen import Chosen
    from workbench.explain.task import Task


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


def check_background(background: object) -> None:
    """Refuse what is no cohort; None stands for the explained cohort itself."""
    if background is not None and not isinstance(background, Cohort):
        message = f"background {background!r} must be a cohort, best the one the model was trained on; its images are the references."
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
        message = "the background's images differ in size as the network sees them; references need one size, that of the explained images."
        raise InputError(message)
    return Bank(torch.cat(inputs), torch.cat(outputs), np.asarray(background.patients)[rows])


def _evaluated(task: Task, background: Cohort, ids: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    inputs = task.inputs(ids, background)
    return inputs, task.evaluate(inputs)

"""What one call of ``explain`` asks: which model, which images, which class, and the answer's form."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import InputError, unknown_name
from workbench.progress import track

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workbench.cohorts.cohort import Cohort
    from workbench.models.model import Model
    from workbench.provenance import Provenance

PREDICTED, TRUE = "predicted", "true"


@dataclass(frozen=True)
class Answer:
    """What a method gives back: maps and scores for each image of the task, in the cohort's order.

    `findings` are the method's own numbers for each image; `settings` those it found out by itself.
    """

    maps: np.ndarray
    targets: np.ndarray
    scores: np.ndarray
    errors: np.ndarray | None = None
    findings: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    parents: Mapping[str, Provenance] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True)
class Task:
    """The question put to a method. Made within ``untouched(model.network)``; images come batch by batch."""

    model: Model
    cohort: Cohort
    target: str | int
    batch_size: int

    @property
    def network(self) -> torch.nn.Module:
        """The network explained."""
        return self.model.network

    def batches(self, label: str) -> Iterator[tuple[list[str], torch.Tensor]]:
        """Yield ids and inputs ``(n, C, *spatial)``, `batch_size` images at a time, under a progress bar."""
        ids = self.cohort.ids
        parts = [ids[start : start + self.batch_size] for start in range(0, len(ids), self.batch_size)]
        for part in track(parts, label, unit="batch"):
            yield part, self.inputs(part)

    def inputs(self, ids: Sequence[str], cohort: Cohort | None = None) -> torch.Tensor:
        """Prepare images as the model takes them, on the network's device.

        Raises
        ------
        InputError : where an image is not finite after its preprocessing.
        """
        first = next(self.network.parameters(), torch.empty(0))
        inputs = self.model.inputs(cohort or self.cohort, list(ids)).to(first.device)
        if inputs.is_inference():  # made under inference_mode by a model of the user's own; autograd refuses those
            inputs = inputs.clone()
        for image_id, sound in zip(ids, torch.isfinite(inputs).flatten(1).all(1).tolist(), strict=True):
            if not sound:
                message = f"image {image_id!r} holds NaN or infinite values as the network would see it; repair it or leave it out."
                raise InputError(message)
        return inputs

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the network: one logit a class, ``(n, K)``.

        A single-logit head z for two classes counts as ``(-z, z)``: what speaks for the last class speaks against the
        first.

        Raises
        ------
        InputError : where the output is not one logit a class, or not finite.
        """
        output = self.network(inputs)
        classes = self.model.classes
        if isinstance(output, torch.Tensor) and output.dim() == 1 and len(output) == len(inputs):
            output = output[:, None]
        if isinstance(output, torch.Tensor) and output.shape == (len(inputs), 1) and len(classes) == 2:
            output = torch.cat([-output, output], dim=1)
        if not isinstance(output, torch.Tensor) or output.shape != (len(inputs), len(classes)):
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            message = (
                f"the network returned {shape} for {len(inputs)} images; explaining needs one logit for each of the classes "
                f"{tuple(classes)}. Wrap it in a module that returns the logits alone."
            )
            raise InputError(message)
        if not torch.isfinite(output).all():
            raise InputError(_why_not_finite(self.network))
        return output

    def targets(self, logits: torch.Tensor, ids: Sequence[str]) -> torch.Tensor:
        """Return the class asked for, int64 ``(n,)``: a fixed one, or each image's predicted or true one."""
        if self.target == PREDICTED:
            return logits.detach().argmax(dim=1)
        if self.target == TRUE:
            wanted = self.cohort.table.loc[list(ids), "label"]
            return torch.tensor([class_index(label, self.model.classes) for label in wanted], device=logits.device)
        return torch.full((len(logits),), class_index(self.target, self.model.classes), device=logits.device)


def check_target(target: str | int, cohort: Cohort, classes: Sequence[str]) -> None:
    """Refuse, before any work, a target that is no class, and true classes that the model does not know."""
    if target == TRUE:
        for label in cohort.table["label"].unique():
            class_index(label, classes)
    elif target != PREDICTED:
        class_index(target, classes)


def class_index(target: str | int, classes: Sequence[str]) -> int:
    """Return the index of a class given by name or index; a name wins where a class is called like a number."""
    if target in classes:
        return list(classes).index(str(target))
    if isinstance(target, int | np.integer) and not isinstance(target, bool):
        if 0 <= target < len(classes):
            return int(target)
        known = ", ".join(f"{index} ({name})" for index, name in enumerate(classes))
        message = f"target {target} is outside 0–{len(classes) - 1}; the model's classes are {known}."
        raise InputError(message)
    raise unknown_name("target", target, [*classes, PREDICTED, TRUE])


def _why_not_finite(network: torch.nn.Module) -> str:
    for name, weight in [*network.named_parameters(), *network.named_buffers()]:
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            return f"the network's weight {name!r} holds NaN or infinity: its training diverged. Train again, with a smaller learning rate."
    return "the network's output is NaN or infinite though its weights are finite: check the range of its preprocessed inputs."

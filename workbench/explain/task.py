"""What one call of ``explain`` asks: which model, which images, which targets; and the form of a method's answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from workbench.errors import InputError
from workbench.explain.settings import check_whole
from workbench.explain.untouched import unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from workbench.cohorts.cohort import Cohort
    from workbench.explain.chosen import Chosen, Question
    from workbench.models.model import Model
    from workbench.provenance import Provenance


@dataclass(frozen=True)
class Batch:
    """Some images as the network takes them: ids, and inputs ``(n, C, *spatial)`` on its device and in its dtype."""

    ids: list[str]
    inputs: torch.Tensor


@dataclass(frozen=True)
class Part:
    """What a method says about one batch, for each of the T targets asked.

    Parameters
    ----------
    chosen : what was explained of each image.
    scores : the explained score of the images as they are, float32 ``(T, n)``.
    maps : float32 ``(T, n, *spatial)`` on the input's grid, signed, in the method's own unit, never rescaled, summed
        over channels.
    errors : the standard error of each value, like `maps`, where the method samples.
    findings : the method's own numbers for each image, float64 ``(T, n)`` each.
    settings : what the method found out by itself, the same in every batch (``{"layer": "layer4"}``).
    parents : provenance of what else went in, by role.
    """

    chosen: Chosen
    scores: np.ndarray
    maps: np.ndarray
    errors: np.ndarray | None = None
    findings: Mapping[str, np.ndarray] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    parents: Mapping[str, Provenance] = field(default_factory=dict)


Explain = Callable[[Batch], Part]
"""A method made ready for one task: explains one batch at a time."""


@dataclass(frozen=True)
class Task:
    """The question put to a method. Used within ``untouched(task.network)``; images come batch by batch.

    `chooser` decides what is explained of each image; it is the question's own, except where maps of a changed model
    must be of the same classes and regions.
    """

    model: Model
    cohort: Cohort
    question: Question
    batch_size: int
    chooser: Callable[[torch.Tensor, Sequence[str]], Chosen] | None = None

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size, least=1)
        # Without running statistics batch norm would let every image change all others' maps.
        alone = any(_mixes(module) for module in self.network.modules())
        object.__setattr__(self, "batch_size", 1 if alone else int(self.batch_size))

    @property
    def network(self) -> torch.nn.Module:
        """The network itself, out of ``DataParallel`` and ``torch.compile``."""
        return unwrapped(self.model.network)

    @property
    def count(self) -> int:
        """How many targets are asked at once."""
        return len(self.question.targets)

    def batches(self, done: int = 0) -> Iterator[Batch]:
        """Yield the images after the first `done`, `batch_size` at a time; the next batch is read meanwhile."""
        ids = self.cohort.ids[done:]
        parts = [ids[start : start + self.batch_size] for start in range(0, len(ids), self.batch_size)]
        # One thread for the reader's arithmetic: a second team of threads on the same cores takes a third of the network's
        # speed. New threads inherit the number, so it is put back.
        threads = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(max_workers=1, initializer=torch.set_num_threads, initargs=(1,)) as reader:
                ahead = None
                for place, part in enumerate(parts):
                    ready = self.inputs(part) if ahead is None else ahead.result()
                    ahead = reader.submit(self.inputs, parts[place + 1]) if place + 1 < len(parts) else None
                    yield Batch(part, ready)
        finally:
            torch.set_num_threads(threads)

    def inputs(self, ids: Sequence[str], cohort: Cohort | None = None) -> torch.Tensor:
        """Prepare images as the model takes them, on the network's device and in its dtype.

        Raises
        ------
        InputError : where an image is not finite after its preprocessing.
        """
        first = next((p for p in self.network.parameters() if p.is_floating_point()), torch.empty(0))
        inputs = self.model.inputs(cohort or self.cohort, list(ids)).to(first.device, first.dtype)
        if inputs.is_inference():  # made under inference_mode by a model of the user's own; autograd refuses those
            inputs = inputs.clone()
        for image_id, sound in zip(ids, torch.isfinite(inputs).flatten(1).all(1).tolist(), strict=True):
            if not sound:
                message = f"image {image_id!r} holds NaN or infinite values as the network would see it; repair it or leave it out."
                raise InputError(message)
        return inputs

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the network: one value an output, float32 ``(n, K)``, or ``(n, K, *space)`` of a segmentation.

        A single-logit head z for two classes counts as ``(-z, z)``: what speaks for the last class speaks against the
        first.

        Raises
        ------
        InputError : where the output is not one value for each of the model's classes, or not finite.
        """
        output = self.network(inputs)
        classes, task = self.model.classes, self.model.task
        axes = inputs.dim() if task == "segmentation" else 2
        if isinstance(output, torch.Tensor):
            if output.dim() == axes - 1 and len(output) == len(inputs):
                output = output[:, None]
            if output.dim() == axes and output.shape[1] == 1 and len(classes) == 2 and task != "multilabel":
                output = torch.cat([-output, output], dim=1)
        dense = task == "multilabel" and isinstance(output, torch.Tensor) and output.dim() == inputs.dim()
        fits = isinstance(output, torch.Tensor) and output.shape[:2] == (len(inputs), len(classes))
        if not fits or (output.dim() != axes and not dense):
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            message = (
                f"the network returned {shape} for {len(inputs)} images; explaining needs one {_unit(task)} for each of "
                f"{tuple(classes)}{' and pixel' if task == 'segmentation' else ''}. Wrap it in a module that returns these alone."
            )
            raise InputError(message)
        if not torch.isfinite(output).all():
            raise InputError(_why_not_finite(self.network))
        values: torch.Tensor = output.float()
        return values

    def evaluate(self, inputs: torch.Tensor) -> torch.Tensor:
        """Run the network without autograd, at most `batch_size` inputs at a time; `inputs` stay as they are."""
        with torch.inference_mode():
            # A copy, since a network may begin with a layer that overwrites its input.
            return torch.cat([self.forward(part.clone()) for part in torch.split(inputs, self.batch_size)])

    def choose(self, output: torch.Tensor, ids: Sequence[str]) -> Chosen:
        """Decide what is explained of each image, from the network's output on the images as they are.

        Parameters
        ----------
        output : from :meth:`forward` or :meth:`evaluate`.
        ids : the images, in the output's order.
        """
        return (self.chooser or self.question.choose)(output, ids)


def _unit(task: str) -> str:
    return "value" if task == "regression" else "logit"


def _mixes(module: torch.nn.Module) -> bool:
    normalises = isinstance(module, torch.nn.modules.batchnorm._BatchNorm)
    return normalises and getattr(module, "running_mean", None) is None


def _why_not_finite(network: torch.nn.Module) -> str:
    for name, weight in [*network.named_parameters(), *network.named_buffers()]:
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            return f"the network's weight {name!r} holds NaN or infinity: its training diverged. Train again, with a smaller learning rate."
    return "the network's output is NaN or infinite though its weights are finite: check the range of its preprocessed inputs."

"""Anybody's own function ``(network, images, target) -> maps``, made a method like all others."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import InputError
from workbench.explain.task import Part

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.explain.chosen import Chosen
    from workbench.explain.methods import Method
    from workbench.explain.task import Batch, Explain, Task


def own_method(name: str, function: Any) -> Method:
    """Make `function` a method; its keyword settings stay its own."""
    if not callable(function):
        message = (
            f"method {name!r} must be a function (network, images, target) -> maps, not a {type(function).__name__}."
        )
        raise InputError(message)
    positional = [p for p in inspect.signature(function).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    if len(positional) < 3:
        message = f"method {name!r} must take (network, images, target) and give maps; it takes {inspect.signature(function)}."
        raise InputError(message)

    def prepare(task: Task, **settings: Any) -> Explain:
        network = Scores(task)

        def explain(batch: Batch) -> Part:
            output = task.evaluate(batch.inputs)
            chosen = task.choose(output, batch.ids)
            scores = chosen.scores(output).cpu().numpy()
            maps = [
                _maps(name, partial(function, network, **settings), network, batch, chosen.only([target]))
                for target in range(task.count)
            ]
            return Part(chosen, scores, np.stack(maps))

        return explain

    settings = [p.replace(kind=p.KEYWORD_ONLY) for p in positional[3:] if p.kind is not p.VAR_KEYWORD]
    settings += [
        p for p in inspect.signature(function).parameters.values() if p.kind in {p.KEYWORD_ONLY, p.VAR_KEYWORD}
    ]
    # What can be set is read off the signature; the wrapper shows the function's own.
    task = inspect.Parameter("task", inspect.Parameter.POSITIONAL_ONLY)
    prepare.__signature__ = inspect.Signature([task, *settings])  # type: ignore[attr-defined]
    return prepare


class Scores(torch.nn.Module):
    """The network as a function of `asked`: all classes' scores, or the explained score alone."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.network, self.task = task.network, task
        self.asked: Chosen | None = None
        self.eval()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        output = self.task.forward(images)
        if self.asked is None:
            return output
        rows = np.zeros(len(images), dtype=np.int64)
        return self.asked.scores(output, rows)[0][:, None]


def _maps(name: str, call: Callable[..., Any], network: Scores, batch: Batch, chosen: Chosen) -> np.ndarray:
    plain = chosen.regions is None and (chosen.against < 0).all()
    if plain:
        network.asked = None
        target = torch.from_numpy(chosen.indices[0].copy()).to(batch.inputs.device)
        return _checked(name, call(batch.inputs.clone(), target), batch.inputs, batch.ids)
    # What is summed differs from image to image, and a function may repeat its images in any order: one at a time.
    maps = []
    for row, image_id in enumerate(batch.ids):
        network.asked = chosen.take([row])
        image = batch.inputs[row : row + 1]
        target = torch.zeros(1, dtype=torch.int64, device=image.device)
        maps.append(_checked(name, call(image.clone(), target), image, [image_id]))
    return np.concatenate(maps)


def _checked(name: str, given: Any, images: torch.Tensor, ids: list[str]) -> np.ndarray:
    """Return maps ``(n, *spatial)``, channels summed; whatever does not fit is refused by name."""
    try:
        tensor = torch.as_tensor(given).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        message = (
            f"method {name!r} gave a {type(given).__name__}; it must give a tensor or array of maps (n, *spatial)."
        )
        raise InputError(message) from error
    if tensor.is_complex():
        message = f"method {name!r} gave complex numbers; it must give real ones, such as their magnitude."
        raise InputError(message)
    maps = tensor.float().cpu().numpy()
    wanted = (len(images), *images.shape[2:])
    if maps.shape == tuple(images.shape):
        maps = maps.sum(axis=1)
    elif maps.shape == (len(images), 1, *images.shape[2:]):
        maps = maps[:, 0]
    if maps.shape != wanted:
        message = f"method {name!r} gave maps of shape {maps.shape} for images of {tuple(images.shape)}; it must give {wanted}, or one map a channel."
        raise InputError(message)
    sound = np.isfinite(maps.reshape(len(maps), -1)).all(axis=1)
    if not sound.all():
        message = f"method {name!r} gave NaN or infinity for image {ids[int(np.argmin(sound))]!r}; mend the function, or leave the image out."
        raise InputError(message)
    return maps

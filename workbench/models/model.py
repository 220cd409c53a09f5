"""The model: a network with the preparation its input needs, its classes, and the record of its training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import torch
from torch import nn

from workbench.errors import FileError, InputError, unknown_name
from workbench.imaging.preprocess import Preprocessing
from workbench.models.embed import penultimate, plain
from workbench.models.networks import rebuild_network
from workbench.predictions import SCORE, Predictions
from workbench.progress import track
from workbench.provenance import Provenance, digest
from workbench.storage import read_json, reading, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.cohorts.cohort import Cohort

Prepare = Callable[[np.ndarray], Any]
# The fewest outputs a task makes sense with.
TASKS = {"classification": 2, "multilabel": 1, "regression": 1, "segmentation": 2}


@dataclass(frozen=True, eq=False)
class Model:
    """A network for images, ready to predict and to be explained.

    Make one with :func:`workbench.train`, or of any network with :meth:`wrap`.

    Parameters
    ----------
    network : takes float32 ``(n, C, *spatial)``, gives one logit a class ``(n, K)``, or a single logit ``(n, 1)``
        for the second of two classes; a segmentation ``(n, K, *spatial)``.
    classes : in order; in a two-class task the last is the positive one. Of a regression, the outputs' names.
    preprocessing : from a stored image ``(C, *spatial)`` to the network's input; None takes the pixels as they are.
    input_shape : ``(C, *spatial)`` the network takes, or None where it is not known or any will do.
    architecture : name and settings from which the network can be built again; None for somebody's own.
    record : how it was trained: settings, one entry an epoch (``history``), ``best_epoch``.
    provenance : where the weights come from.
    task : what the outputs mean: ``"classification"`` (one of the classes is true), ``"multilabel"`` (each on its own,
        of the image or, ``(n, K, *spatial)``, of each pixel), ``"regression"`` (`classes` names the outputs, one or
        more) or ``"segmentation"`` (one logit a class and pixel). :meth:`predict` scores classifications.
    """

    network: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing | Prepare | None
    input_shape: tuple[int, ...] | None
    architecture: Mapping[str, Any] | None
    record: Mapping[str, Any]
    provenance: Provenance = field(repr=False)
    task: str = "classification"

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(str(name) for name in self.classes))
        if self.task not in TASKS:
            raise unknown_name("task", self.task, TASKS)
        least = TASKS[self.task]
        if len(self.classes) < least or len(set(self.classes)) < len(self.classes):
            many = "two or more different names" if least == 2 else "different names, one or more"
            message = f"classes {self.classes} must be {many}, in the order of the network's outputs."
            raise InputError(message)

    @classmethod
    def wrap(
        cls,
        network: nn.Module,
        *,
        classes: Sequence[str],
        preprocessing: Preprocessing | Prepare | None = None,
        input_shape: Sequence[int] | None = None,
        name: str | None = None,
        task: str = "classification",
    ) -> Self:
        """Make a model of anybody's ``torch.nn.Module``; the network itself is not changed.

        Parameters
        ----------
        network : see the class; weights as they are.
        classes : name of each output, in order; a single logit is that of the second class.
        preprocessing : a `Preprocessing`, or any function from ``(C, *spatial)`` to an array or tensor of the input.
        input_shape : ``(C, *spatial)`` the network takes, where it takes only one; taken from `preprocessing` if it can be.
        name : what to call it; by default its class's name.
        task : ``"classification"``, ``"multilabel"``, ``"regression"`` or ``"segmentation"``; see the class.

        Examples
        --------
        >>> net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
        >>> Model.wrap(net, classes=["healthy", "cancer"]).name
        'Sequential'
        """
        if input_shape is None and isinstance(preprocessing, Preprocessing):
            input_shape = (preprocessing.channels, *preprocessing.shape)
        label = name or type(network).__name__
        recipe = preprocessing.to_dict() if isinstance(preprocessing, Preprocessing) else preprocessing
        settings = {"network": label, "classes": list(classes), "preprocessing": recipe}
        if task != "classification":
            settings["task"] = task
        provenance = Provenance("wrap", settings, content=weights_digest(network))
        shape = None if input_shape is None else tuple(input_shape)
        return cls(network, tuple(classes), preprocessing, shape, None, {"network": label}, provenance, task)

    @property
    def name(self) -> str:
        """The network's name."""
        return str(self.record.get("network", type(self.network).__name__))

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def inputs(self, cohort: Cohort, ids: Iterable[str] | None = None) -> torch.Tensor:
        """Prepare images as the network takes them: float32 ``(n, C, *spatial)``.

        Raises
        ------
        InputError : where an image cannot be prepared, or has another size than the network takes; it is named.
        """
        wanted = cohort.ids if ids is None else list(ids)
        if not wanted:
            message = "no image was asked for: the list of ids is empty."
            raise InputError(message)
        with ThreadPoolExecutor(max_workers=4) as readers:
            prepared = list(readers.map(lambda image_id: self._prepared(cohort, image_id), wanted))
        for image_id, image in zip(wanted, prepared, strict=True):
            if image.shape != prepared[0].shape:
                raise InputError(self._size_message(image_id, image.shape, prepared[0].shape))
        return torch.from_numpy(np.stack(prepared))

    def scores_of(self, logits: torch.Tensor) -> torch.Tensor:
        """Turn logits ``(n, K)`` into probabilities ``(n, K)``: softmax, or the sigmoid of a single logit."""
        if logits.ndim == 2 and logits.shape[1] == len(self.classes):
            return logits.softmax(dim=1)
        if logits.ndim == 1 or (logits.ndim == 2 and logits.shape[1] == 1 and len(self.classes) == 2):
            positive = logits.reshape(-1, 1).sigmoid()
            return torch.cat([1 - positive, positive], dim=1)
        message = (
            f"the network gives an output of shape {tuple(logits.shape)} for {len(self.classes)} classes "
            f"({', '.join(self.classes)}); it must give one logit a class and image, (n, {len(self.classes)})."
        )
        raise InputError(message)

    def predict(self, cohort: Cohort, *, batch_size: int = 64) -> Predictions:
        """Score every image of `cohort`; one batch at a time is in memory.

        Raises
        ------
        InputError : where the cohort has a class the model does not know, or the same ones in another order, or an
            image does not fit the network.
        """
        if self.task != "classification":
            message = (
                f"this is a model for {self.task}, and predict scores classifications. wb.explain takes it as it is."
            )
            raise InputError(message)
        foreign = [name for name in cohort.classes if name not in self.classes]
        if foreign:
            message = (
                f"the cohort's class {foreign[0]!r} is unknown to the model, which tells {', '.join(self.classes)} apart. "
                "Give the cohort the same class names (classes=…), or use a model trained for them."
            )
            raise InputError(message)
        if set(cohort.classes) == set(self.classes) and cohort.classes != self.classes:
            message = (
                f"the cohort has the classes in the order {cohort.classes} and the model in the order {self.classes}: the "
                f"last one counts as positive. Make the cohort with classes={list(self.classes)}."
            )
            raise InputError(message)
        if batch_size < 1:
            message = f"batch_size is {batch_size}; at least one image goes through the network at a time."
            raise InputError(message)
        ids = cohort.ids
        batches = [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)]
        with evaluating(self.network), torch.inference_mode():
            parts = [
                self.scores_of(self._answer(self.inputs(cohort, batch), batch[0]).double()).cpu().numpy()
                for batch in track(batches, "Predicting", unit="batch")
            ]
        return self._predictions(cohort, np.concatenate(parts))

    def embed(self, cohort: Cohort, ids: Iterable[str] | None = None, *, batch_size: int = 64) -> pd.DataFrame:
        """Return what the network makes of each image before its last layer: float32 ``(n, D)``, the ids as index.

        These are the features that the linear or convolutional layer which runs last is given, averaged over space (or
        over the tokens of a transformer). Mode, weights and hooks of the network are as before.

        Parameters
        ----------
        cohort : its images; one batch at a time is in memory.
        ids : which, in which order; by default all.
        batch_size : images that go through the network at once.

        Raises
        ------
        InputError : where an image does not fit the network, its features are not finite, or there is no such layer.
        """
        wanted = cohort.ids if ids is None else list(ids)
        if batch_size < 1:
            message = f"batch_size is {batch_size}; at least one image goes through the network at a time."
            raise InputError(message)
        batches = [wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size)]
        inner = replace(self, network=plain(self.network))
        parts = []
        with evaluating(inner.network), torch.inference_mode(), penultimate(inner.network) as features:
            for batch in track(batches or [[]], "Embedding", unit="batch"):
                inner._answer(inner.inputs(cohort, batch), batch[0] if batch else "")
                parts.append(features().float().cpu().numpy())
        table = pd.DataFrame(np.concatenate(parts), index=pd.Index(wanted, name="id"))
        broken = ~np.isfinite(table.to_numpy()).all(axis=1)
        if broken.any():
            message = f"the features of image {wanted[int(broken.argmax())]!r} are NaN or infinite; the weights or this image are damaged."
            raise InputError(message)
        return table

    def save(self, folder: str | Path) -> Path:
        """Write ``weights.safetensors`` and ``model.json`` to `folder`.

        A network or a preprocessing function of your own is not written, for code cannot be; give it to :meth:`load`.
        """
        from safetensors.torch import save_model

        recipe = self.preprocessing.to_dict() if isinstance(self.preprocessing, Preprocessing) else None
        own = self.preprocessing is not None and recipe is None
        with writing(folder, "Model") as scratch:
            save_model(self.network, str(scratch / "weights.safetensors"))
            record = {
                "classes": self.classes, "preprocessing": recipe, "own_preprocessing": own, "record": self.record,
                "architecture": self.architecture, "input_shape": self.input_shape, "task": self.task,
            }  # fmt: skip
            write_json(scratch / "model.json", record)
            self.provenance.save(scratch)
        return Path(folder)

    @classmethod
    def load(
        cls, folder: str | Path, *, network: nn.Module | None = None, preprocessing: Prepare | None = None
    ) -> Self:
        """Read what :meth:`save` wrote, after checking every byte; nothing is unpickled.

        Parameters
        ----------
        folder : where the model was saved.
        network : needed for a wrapped network: one of the same form, which gets the saved weights.
        preprocessing : needed where the model was wrapped with a function of your own.
        """
        from safetensors.torch import load_model

        path = reading(folder, "Model")
        saved = read_json(path / "model.json")
        if network is None:
            if saved["architecture"] is None:
                name = saved["record"].get("network", "a network")
                message = f"{path} holds the weights of your own {name}: give the network, Model.load({str(path)!r}, network=…)."
                raise InputError(message)
            network = rebuild_network(saved["architecture"])
        if saved["own_preprocessing"] and preprocessing is None:
            message = f"{path} was wrapped with a preprocessing function of your own: give it, preprocessing=…"
            raise InputError(message)
        try:
            load_model(network, str(path / "weights.safetensors"))
        except (RuntimeError, ValueError) as error:
            message = f"the weights in {path} do not fit the network given: {error}"
            raise FileError(message) from error
        recipe = Preprocessing.from_dict(saved["preprocessing"]) if saved["preprocessing"] else preprocessing
        shape = None if saved["input_shape"] is None else tuple(saved["input_shape"])
        provenance = Provenance.load(path)
        return cls(
            network.eval(), tuple(saved["classes"]), recipe, shape, saved["architecture"], saved["record"], provenance,
            saved.get("task", "classification"),
        )  # fmt: skip

    def __repr__(self) -> str:
        shape = "any size" if self.input_shape is None else " × ".join(map(str, self.input_shape))
        return f"Model({self.name}, {self.parameters:,} parameters, input {shape}, classes {', '.join(self.classes)})"

    def _repr_html_(self) -> str:
        from workbench.html import render

        return render("model.html", model=self, history=self.record.get("history", []))

    def _prepared(self, cohort: Cohort, image_id: str) -> np.ndarray:
        image = cohort.image(image_id)
        try:
            ready = np.asarray(image if self.preprocessing is None else self.preprocessing(image), dtype=np.float32)
        except InputError as error:
            message = f"image {image_id!r}: {error}"
            raise InputError(message) from error
        except Exception as error:
            error.add_note(f"raised by the model's preprocessing of image {image_id!r}")
            raise
        if self.input_shape is not None and ready.shape != self.input_shape:
            raise InputError(self._size_message(image_id, ready.shape, self.input_shape))
        return ready

    def _answer(self, inputs: torch.Tensor, first: str) -> torch.Tensor:
        try:
            output = self.network(inputs.to(_device(self.network)))
        except RuntimeError as error:
            message = (
                f"the network fails on inputs of shape {tuple(inputs.shape[1:])} (from image {first!r} on): {error}. "
                "Bring the images to the size it takes: preprocessing=wb.Preprocessing(shape=…, channels=…)."
            )
            raise InputError(message) from error
        if isinstance(output, torch.Tensor):
            return output
        message = f"the network returns a {type(output).__name__}; wrap it in a module that returns the tensor of logits alone."
        raise InputError(message)

    def _size_message(self, image_id: str, given: tuple[int, ...], taken: tuple[int, ...]) -> str:
        return (
            f"image {image_id!r} comes to the network as {given}, and it takes {taken} (channels, then space). Let a recipe "
            f"bring the images to size: preprocessing=wb.Preprocessing(shape={taken[1:]}, channels={taken[0]})."
        )

    def _predictions(self, cohort: Cohort, scores: np.ndarray) -> Predictions:
        if not np.isfinite(scores).all():
            bad = cohort.ids[int(np.argmax(~np.isfinite(scores).all(axis=1)))]
            message = f"the model's score of image {bad!r} is NaN or infinite; its weights or this image are damaged."
            raise InputError(message)
        table = cohort.table[["patient", "label", *cohort.attributes]].copy()
        for column, name in enumerate(self.classes):
            table[SCORE + name] = scores[:, column]
        parents = {"model": self.provenance, "cohort": cohort.provenance}
        provenance = Provenance("predict", {"images": len(cohort)}, digest(table), parents)
        return Predictions(table, self.classes, cohort.attributes, provenance)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Give the network in evaluation mode, and every part of it back in the mode it was in."""
    training = {part: part.training for part in network.modules()}
    try:
        yield network.eval()
    finally:
        for part, mode in training.items():
            part.training = mode


def weights_digest(network: nn.Module) -> str:
    """SHA-256 of every weight and buffer, by name."""
    state = network.state_dict()
    parts = [value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() for value in state.values()]
    return digest(list(state), *parts)


def _device(network: nn.Module) -> torch.device:
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))

"""What is explained: a class, a margin, an output, or a class of a segmentation summed over a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.cohorts.cohort import Cohort
    from workbench.models.model import Model

PREDICTED, TRUE, EACH = "predicted", "true", "each"


@dataclass(frozen=True)
class Margin:
    """The score of one class less that of another: what makes the model say `first` rather than `second`.

    Parameters
    ----------
    first, second : classes by name or index, ``"predicted"`` or ``"true"``. ``Margin("predicted", "true")`` explains
        an error.
    """

    first: str | int
    second: str | int

    def __str__(self) -> str:
        return f"{self.first} rather than {self.second}"


@dataclass(frozen=True)
class Over:
    """A class of a segmentation, its logits summed over a region (Vinogradova et al. 2020, arXiv:2002.11434).

    Parameters
    ----------
    name : the class, by name or index.
    mask : one of the cohort's masks, by name.
    box : first and last-but-one corner in the image's own pixels: ``(top, left, bottom, right)``, or
        ``(first plane, top, left, last plane, bottom, right)`` of a volume; the second corner is not part of it.

    Without mask and box: the pixels that the model itself gives to the class. Where these are none, the sum is empty
    and the map shows no evidence.
    """

    name: str | int
    mask: str | None = None
    box: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.box is not None:
            object.__setattr__(self, "box", tuple(int(edge) for edge in self.box))

    def __str__(self) -> str:
        return f"{self.name} over {self.region}"

    @property
    def region(self) -> str:
        """The region in words."""
        if self.mask is not None:
            return f"mask {self.mask}"
        return f"box {self.box}" if self.box is not None else "its own prediction"


Target = str | int | Margin | Over
Several = list[Target] | tuple[Target, ...]


@dataclass(frozen=True)
class Chosen:
    """What is explained of each image of one batch, decided once; perturbed versions are asked the same.

    Parameters
    ----------
    indices : the output explained, int64 ``(T, n)`` for T targets asked at once.
    against : the output taken off it in a margin, int64 ``(T, n)``; −1 where nothing is.
    regions : where a segmentation is summed, float32 ``(T, n, *output's space)``; None for other networks.
    saturated : bool ``(T, n)``, true where the network ends in a softmax or sigmoid that stands at its limit, so that
        hardly any gradient is left to explain.
    """

    indices: np.ndarray
    against: np.ndarray
    regions: torch.Tensor | None
    saturated: np.ndarray

    def scores(self, output: torch.Tensor, rows: torch.Tensor | np.ndarray | None = None) -> torch.Tensor:
        """Return the explained score of each row of `output`, float32 ``(T, m)``, differentiable.

        Parameters
        ----------
        output : ``(m, K)`` or ``(m, K, *space)``, from :meth:`Task.forward` or :meth:`Task.evaluate`.
        rows : int64 ``(m,)``, the image of the batch that each row is a version of; None where row k is image k.
        """
        image = torch.as_tensor(np.arange(len(output)) if rows is None else rows, dtype=torch.int64).cpu()
        picked = []
        for target, (indices, against) in enumerate(zip(self.indices, self.against, strict=True)):
            score = self._picked(output, torch.from_numpy(indices)[image], target, image)
            other = torch.from_numpy(against)[image]
            if (other >= 0).any():
                rest = self._picked(output, other.clamp(min=0), target, image)
                score = score - rest * (other >= 0).to(score)
            picked.append(score)
        return torch.stack(picked).float()

    def of(self, row: int) -> Chosen:
        """Return what is asked of one image alone."""
        one = slice(row, row + 1)
        regions = None if self.regions is None else self.regions[:, one]
        return Chosen(self.indices[:, one], self.against[:, one], regions, self.saturated[:, one])

    def _picked(self, output: torch.Tensor, index: torch.Tensor, target: int, image: torch.Tensor) -> torch.Tensor:
        values = output[torch.arange(len(output), device=output.device), index.to(output.device)]
        if self.regions is None:
            return values
        region = self.regions[target].to(output.device)[image.to(output.device)]
        return (values * region).flatten(1).sum(1)


@dataclass(frozen=True)
class Question:
    """The targets asked at once, checked against the model and the cohort before any work."""

    targets: tuple[Target, ...]
    model: Model
    cohort: Cohort

    def choose(self, output: torch.Tensor, ids: Sequence[str]) -> Chosen:
        """Decide, from the output on the images as they are, what is explained of each: see :class:`Chosen`."""
        output = output.detach()
        first = [self._indices(_leading(target), output, ids) for target in self.targets]
        second = [
            self._indices(target.second, output, ids) if isinstance(target, Margin) else np.full(len(ids), -1)
            for target in self.targets
        ]
        regions = None
        if output.dim() > 2:
            regions = torch.stack(
                [self._region(target, own, output, ids) for target, own in zip(self.targets, first, strict=True)]
            )
        indices = np.stack(first)
        return Chosen(indices, np.stack(second), regions, _saturated(output, indices))

    def _indices(self, target: str | int, output: torch.Tensor, ids: Sequence[str]) -> np.ndarray:
        if target == PREDICTED and PREDICTED not in self.model.classes:
            return output.argmax(dim=1).cpu().numpy().astype(np.int64)
        if target == TRUE and TRUE not in self.model.classes:
            wanted = self.cohort.table.loc[list(ids), "label"]
            return np.array([class_index(label, self.model.classes) for label in wanted], dtype=np.int64)
        return np.full(len(ids), class_index(target, self.model.classes), dtype=np.int64)

    def _region(self, target: Target, indices: np.ndarray, output: torch.Tensor, ids: Sequence[str]) -> torch.Tensor:
        """Return where one target is summed, float32 ``(n, *output's space)``."""
        if isinstance(target, Over) and (target.mask is not None or target.box is not None):
            drawn = [torch.from_numpy(self._drawn(target, image_id)) for image_id in ids]
            region = torch.stack(drawn)[:, None].float()
            if region.shape[2:] != output.shape[2:]:
                region = torch.nn.functional.interpolate(region, size=output.shape[2:], mode="nearest")
            return region[:, 0].to(output.device)
        own = torch.from_numpy(indices).to(output.device).reshape(-1, *[1] * (output.dim() - 2))
        if self.model.task == "multilabel":  # overlapping parts, each with a logit of its own
            return (output.gather(1, own[:, None].expand(-1, 1, *output.shape[2:]))[:, 0] > 0).float()
        return (output.argmax(dim=1) == own).float()

    def _drawn(self, target: Over, image_id: str) -> np.ndarray:
        """Return mask or box as bool on the input's grid."""
        if target.mask is not None:
            mask = self.cohort.mask(image_id, target.mask)
            if mask is None:
                message = (
                    f"image {image_id!r} has no mask {target.mask!r} to sum the class {target.name!r} over; leave it out, "
                    "or explain the model's own prediction with Over(name)."
                )
                raise InputError(message)
        else:
            mask = box_mask(target.box or (), self.cohort.image(image_id).shape[1:], image_id)
        spatial = self.model.inputs(self.cohort, [image_id]).shape[2:]
        return on_input(mask, self.model, spatial, image_id)


def read_targets(target: Any, model: Model, cohort: Cohort) -> tuple[tuple[Target, ...], bool]:
    """Check what is asked; return the targets, and whether several were asked for.

    Raises
    ------
    InputError : where a target is no class of the model, or does not go with its task.
    """
    if target == EACH and EACH not in model.classes:
        listed: list[Any] = list(model.classes)
    else:
        listed = list(target) if isinstance(target, list | tuple) else [target]
    if not listed:
        message = "target is an empty list; name a class, or leave it out to explain the predicted one."
        raise InputError(message)
    if len({str(one) for one in listed}) < len(listed):
        message = f"target {listed} names one target twice; each is explained once."
        raise InputError(message)
    checked = tuple(_checked(one, model, cohort) for one in listed)
    return checked, isinstance(target, list | tuple) or (target == EACH and EACH not in model.classes)


def told_target(record: Any) -> Target:
    """Read a target back from the plain JSON that a saved value tells."""
    if isinstance(record, dict):
        return Margin(**record) if "first" in record else Over(**record)
    return record  # type: ignore[no-any-return]


def explained(target: Target, model: Model) -> str:
    """Say in words what the score is that a target explains."""
    unit = "output" if model.task == "regression" else "logit"
    if isinstance(target, Margin):
        return f"{unit} of the class less that of {target.second}"
    if model.task == "segmentation" or isinstance(target, Over):
        region = target.region if isinstance(target, Over) else "its own prediction"
        return f"{unit} of the class, summed over {region}"
    return unit


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
    raise unknown_name("target", target, [*classes, PREDICTED, TRUE, EACH])


def box_mask(box: Sequence[int], spatial: Sequence[int], image_id: str) -> np.ndarray:
    """Return a box ``(*first corner, *second corner)`` as bool ``(*spatial)``; a box that leaves the image is refused."""
    axes = len(spatial)
    low, high = tuple(box[:axes]), tuple(box[axes:])
    if len(box) != 2 * axes or not all(0 <= a < b <= e for a, b, e in zip(low, high, spatial, strict=True)):
        message = (
            f"box {tuple(box)} does not lie in image {image_id!r} of {' × '.join(map(str, spatial))} pixels: it needs {2 * axes} "
            "whole numbers, the first corner, then the second (one past the last pixel)."
        )
        raise InputError(message)
    mask = np.zeros(tuple(spatial), dtype=bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


def on_input(mask: np.ndarray, model: Model, spatial: Sequence[int], image_id: str) -> np.ndarray:
    """Carry a mask from the image's grid to the input's, bool ``(*spatial)``; a mask that is there never vanishes.

    Raises
    ------
    InputError : where the grids differ and the model's preprocessing is not one that Workbench can follow.
    """
    from workbench.imaging.preprocess import Preprocessing

    spatial = tuple(spatial)
    if not isinstance(model.preprocessing, Preprocessing):
        if mask.shape == spatial:
            return mask
        message = (
            f"image {image_id!r}: its mask of {mask.shape} does not lie on the input's grid {spatial}, and this model came with "
            "a preprocessing of its own, which Workbench cannot follow. Wrap the model with a wb.Preprocessing."
        )
        raise InputError(message)
    carried = model.preprocessing.to_input(mask)
    if mask.any() and not carried.any():
        # Smaller than a pixel of the input: the pixels it lies in.
        inner, start = model.preprocessing.placement(mask.shape)
        places = np.argwhere(mask) * np.divide(inner, mask.shape)
        carried[tuple((places.astype(int) + np.array(start)).T)] = True
    return carried


def _leading(target: Target) -> str | int:
    if isinstance(target, Margin):
        return target.first
    return target.name if isinstance(target, Over) else target


def _checked(target: Any, model: Model, cohort: Cohort) -> Target:
    if isinstance(target, Margin):
        ends = tuple(_checked_class(end, model, cohort) for end in (target.first, target.second))
        if ends[0] == ends[1]:
            message = f"Margin({target.first!r}, {target.second!r}) is a class less itself; name two."
            raise InputError(message)
        if model.task == "segmentation":
            message = "a margin is of a classifier; of a segmentation, explain Over(name, mask=… or box=…)."
            raise InputError(message)
        return Margin(*ends)
    if isinstance(target, Over):
        if model.task in {"classification", "regression"}:
            message = (
                f"Over(…) sums a segmentation over a region, and this is a model for {model.task}; name a class alone."
            )
            raise InputError(message)
        if target.mask is not None and target.mask not in cohort.masks:
            raise unknown_name("mask", target.mask, cohort.masks)
        if target.mask is not None and target.box is not None:
            message = "Over(…) takes a mask or a box, not both."
            raise InputError(message)
        return Over(_checked_class(target.name, model, cohort), target.mask, target.box)
    return _checked_class(target, model, cohort)


def _checked_class(target: Any, model: Model, cohort: Cohort) -> str | int:
    if target not in model.classes and target == TRUE and model.task in {"classification", "multilabel"}:
        for label in cohort.table["label"].unique():
            class_index(label, model.classes)
        return TRUE
    only = model.task == "classification" or (model.task == "regression" and len(model.classes) == 1)
    if target not in model.classes and target == PREDICTED and only:
        return PREDICTED
    if target not in model.classes and target in {TRUE, PREDICTED}:
        message = f"target {target!r} has no one meaning for {model.task}; name one of its outputs: {', '.join(model.classes)}."
        raise InputError(message)
    index = class_index(target, model.classes)
    return target if isinstance(target, str) else index


def _saturated(output: torch.Tensor, indices: np.ndarray) -> np.ndarray:
    """Tell where the explained output is a probability (all outputs lie in 0–1) that stands within 0.001 of its limit."""
    if output.dim() > 2:
        return np.zeros(indices.shape, dtype=bool)
    # A single logit z comes as (-z, z); its own range counts.
    values = output[:, 1:] if output.shape[1] == 2 and torch.equal(output[:, 0], -output[:, 1]) else output
    bounded = ((values >= 0) & (values <= 1)).all(dim=1).cpu().numpy()
    magnitude = output.abs().cpu().numpy()
    picked = np.stack([magnitude[np.arange(len(magnitude)), index] for index in indices])
    saturated: np.ndarray = ((picked < 1e-3) | (picked > 1 - 1e-3)) & bounded
    return saturated

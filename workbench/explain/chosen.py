"""What was asked, decided once for each image of a batch, so that perturbed versions and other models are asked the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import InputError
from workbench.explain.carry import box_mask, on_input
from workbench.explain.masks import mask_of
from workbench.explain.target import PREDICTED, TRUE, Margin, Over, Target, class_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.cohorts.cohort import Cohort
    from workbench.models.model import Model


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

    def take(self, rows: np.ndarray | Sequence[int]) -> Chosen:
        """Return what is asked of some images, in this order; one may come several times."""
        return self._part(np.arange(len(self.indices)), np.asarray(rows, dtype=np.int64))

    def only(self, targets: np.ndarray | Sequence[int]) -> Chosen:
        """Return what some targets ask: their numbers, or bool ``(T,)``."""
        return self._part(np.arange(len(self.indices))[np.asarray(targets)], np.arange(self.indices.shape[1]))

    def _part(self, targets: np.ndarray, rows: np.ndarray) -> Chosen:
        regions, cell = self.regions, np.ix_(targets, rows)
        if regions is not None:
            first, second = (torch.from_numpy(places).to(regions.device) for places in (targets, rows))
            regions = regions[first][:, second]
        return Chosen(self.indices[cell], self.against[cell], regions, self.saturated[cell])

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
            mask = mask_of(self.cohort, image_id, target.mask)
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


def _leading(target: Target) -> str | int:
    if isinstance(target, Margin):
        return target.first
    return target.name if isinstance(target, Over) else target


def _saturated(output: torch.Tensor, indices: np.ndarray) -> np.ndarray:
    """Tell where the explained output is a probability that stands within 0.001 of its limit.

    Outputs are taken for probabilities where all lie in 0–1 and, as a softmax's, sum to 1; a single one (which comes as
    ``(-z, z)``) where it lies in 0–1 and is not zero itself, as that of an idle network is.
    """
    if output.dim() > 2:
        return np.zeros(indices.shape, dtype=bool)
    single = output.shape[1] == 2 and torch.equal(output[:, 0], -output[:, 1])
    values = output[:, 1:] if single else output
    bounded = ((values >= 0) & (values <= 1)).all(dim=1)
    alike = (values[:, 0] != 0) if single else (values.sum(dim=1) - 1).abs() < 1e-3
    magnitude = output.abs().cpu().numpy()
    picked = np.stack([magnitude[np.arange(len(magnitude)), index] for index in indices])
    saturated: np.ndarray = ((picked < 1e-3) | (picked > 1 - 1e-3)) & (bounded & alike).cpu().numpy()
    return saturated

"""Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391): where the last feature maps spoke for a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

from workbench.errors import InputError
from workbench.explain.layers import check_captured, forward_from
from workbench.explain.task import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.explain.task import Batch, Explain, Task

LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def gradcam(task: Task, *, layer: str | None = None) -> Explain:
    """Weight each feature map by its mean gradient (eq. 1), sum, and keep what is positive (eq. 2).

    ``map = relu(Σ_k α_k A_k)``, ``α_k`` the mean over positions of ``∂ score / ∂ A_k``. Values are never below zero
    and never rescaled: zero everywhere means that the layer held nothing in favour of the class. The map is carried
    to the input's grid linearly, pixel centres aligned (``align_corners=False``).

    Only what follows the layer is differentiated, so the cost is about one forward pass and nothing of the trunk is
    kept in memory.

    Parameters
    ----------
    layer : a submodule's name as in ``network.named_modules()``; by default the last one with spatial extent.

    Raises
    ------
    InputError : where `layer` is unknown or has no spatial extent, or the network has no such layer at all.
    """
    named = layer

    def explain(batch: Batch) -> Part:
        output, seen = forward_from(task.network, named, batch.inputs, run=task.forward)
        activation = check_captured(seen, named, task.network)
        chosen = task.choose(output, batch.ids)
        scores = chosen.scores(output)
        maps = [
            _drawn(activation.detach(), _gradient(s, activation, seen.name), batch.inputs.shape[2:]) for s in scores
        ]
        return Part(chosen, scores.detach().cpu().numpy(), np.stack(maps), settings={"layer": seen.name})

    return explain


def _gradient(explained: torch.Tensor, activation: torch.Tensor, layer: str | None) -> torch.Tensor:
    """Differentiate each image's score; summed over the batch, since no image's score depends on another image."""
    gradient = None
    if explained.requires_grad:
        (gradient,) = torch.autograd.grad(explained.sum(), activation, retain_graph=True, allow_unused=True)
    if gradient is None:
        message = (
            f"the score does not depend on layer {layer!r} in a way autograd can follow (a branch that is not used, or a "
            "forward that switches gradients off after it); name another layer."
        )
        raise InputError(message)
    return gradient


def _drawn(activation: torch.Tensor, gradient: torch.Tensor, spatial: Sequence[int]) -> np.ndarray:
    weights = gradient.flatten(2).mean(2)  # eq. 1
    coarse = torch.einsum("nk,nk...->n...", weights, activation).relu()  # eq. 2
    fine = interpolate(coarse[:, None], size=tuple(spatial), mode=LINEAR[len(spatial)], align_corners=False)
    return fine[:, 0].float().cpu().numpy()

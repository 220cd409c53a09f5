"""Class activation maps: feature maps of a layer, weighted by what the score's gradient says of them, and added up.

All of them need one forward pass for all targets, and differentiate only what follows the layer; nothing of the trunk
is recorded. With several layers, what follows the earliest is differentiated, once a target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import interpolate

from workbench.errors import InputError
from workbench.explain.layers import Layers
from workbench.explain.task import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workbench.explain.chosen import Chosen
    from workbench.explain.layers import Look, Place
    from workbench.explain.task import Batch, Explain, Task

    Draw = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Feature maps ``(n, K, *positions)`` and the score's gradient by them to a map ``(n, *positions)``."""


def gradcam(task: Task, *, layer: str | Sequence[str] | None = None) -> Explain:
    """Weight each feature map by its mean gradient (Selvaraju et al. 2017, arXiv:1610.02391).

    ``map = relu(Σ_k α_k A_k)`` (eq. 2), ``α_k`` the mean over positions of ``∂ score / ∂ A_k`` (eq. 1). Values are
    never rescaled: zero everywhere means that the layer held nothing in favour of the class. The map is carried to the
    input's grid linearly, pixel centres aligned (``align_corners=False``).

    Parameters
    ----------
    layer : a submodule's name as in ``network.named_modules()``, or ``"input of NAME"``; several are fused (see
        :func:`fused`). By default the last layer with positions; a segmentation's coarsest; what enters a
        transformer's last block.

    Raises
    ------
    InputError : where a layer is unknown or has no positions, or the score does not depend on it.
    """
    return _cam(task, layer, lambda a, g: gradcam_map(a, g).relu())


def gradcam_plus_plus(task: Task, *, layer: str | Sequence[str] | None = None) -> Explain:
    """Weight each feature map by its positive gradients, each counted by its share.

    Chattopadhay et al. 2018, arXiv:1710.11063: ``map = relu(Σ_k w_k A_k)``, ``w_k = Σ_ij α_ij relu(∂ Y / ∂ A_ij)``,
    where for ``Y = exp(score)`` and a network piecewise linear in A, with ``g = ∂ score / ∂ A_k``,
    ``α = g² / (2 g² + Σ_ab A_ab g³)``. We reckon it as ``1 / (2 + g Σ_ab A_ab)``, the same without underflow.

    ``∂ Y / ∂ A = exp(score) · g`` carries one positive factor ``exp(score)`` for the whole image. As the common
    implementations do, we leave it out: it would let a logit of 90 overflow, and one image outshine all others.

    Meant for feature maps that are not negative, after a ReLU. Elsewhere the denominator may pass through zero; where
    it is zero it counts as 1.

    Parameters
    ----------
    layer : see :func:`gradcam`.
    """
    return _cam(task, layer, lambda a, g: gradcam_plus_plus_map(a, g).relu())


def hirescam(task: Task, *, layer: str | Sequence[str] | None = None) -> Explain:
    """Multiply feature maps by their gradients position by position (Draelos & Carin 2020, arXiv:2011.08891).

    ``map = Σ_k ∂ score / ∂ A_k ⊙ A_k``. Unlike Grad-CAM it never shows a position that the score does not use: where
    one linear layer follows, values add up over the layer's positions to the score less its bias. The map is signed, as
    the paper defines it; under global average pooling it is Grad-CAM without its ReLU.

    Parameters
    ----------
    layer : see :func:`gradcam`.
    """
    return _cam(task, layer, hirescam_map)


def layercam(task: Task, *, layer: str | Sequence[str] | None = None) -> Explain:
    """Weight every position of a feature map by its own positive gradient, so that early layers can be drawn as well.

    Jiang et al. 2021, IEEE Trans. Image Process. 30:5875: ``map = relu(Σ_k relu(∂ score / ∂ A_k) ⊙ A_k)``. The paper
    stretches maps of early layers by ``tanh(2 · map / max)`` before it fuses them by their maximum; that would make a
    layer without evidence as loud as one that decides, so layers are fused here as told in :func:`fused`.

    Parameters
    ----------
    layer : see :func:`gradcam`.
    """
    return _cam(task, layer, lambda a, g: layercam_map(a, g).relu())


def eigencam(task: Task, *, layer: str | Sequence[str] | None = None) -> Explain:
    """Project a layer's features on their first principal axis (Muhammad & Yeasin 2020, arXiv:2008.00299).

    With positions as rows and features as columns, ``A = U Σ Vᵀ`` and ``map = A v_1``, uncentred as in the paper. The
    sign, which the decomposition leaves open, is the one that makes the map agree with the sum of the features.

    It shows what the layer responds to, *whatever the class*: no score goes in, and all targets get the same map
    (``class_independent`` in the settings). ``first_component`` in ``to_frame()`` is the share ``σ_1² / Σ σ²`` that the
    map tells of the layer. Units are the layer's; several layers are averaged.

    Parameters
    ----------
    layer : see :func:`gradcam`.
    """
    layers = Layers(task.network, layer, dense=task.model.task == "segmentation")

    def explain(batch: Batch) -> Part:
        looks = layers.look(batch.inputs, run=task.forward)
        chosen = task.choose(torch.cat([look.output.detach() for look in looks]), batch.ids)
        maps, shares = [], []
        for look in looks:
            drawn = [
                eigencam_map(place.maps(a.detach()).float()) for a, place in zip(look.caught, look.places, strict=True)
            ]
            maps.append(torch.stack([carried(m, batch.inputs.shape[2:]) for m, _ in drawn]).mean(0))
            shares.append(torch.stack([share for _, share in drawn]).mean(0))
        each = np.broadcast_to(torch.cat(maps).cpu().numpy(), (task.count, *batch.inputs[:, 0].shape))
        share = np.broadcast_to(torch.cat(shares).double().cpu().numpy(), each.shape[:2])
        told = {"layer": layers.setting, "class_independent": True}
        return Part(chosen, _scores(chosen, looks), each, findings={"first_component": share}, settings=told)

    return explain


def gradcam_map(activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return ``Σ_k mean(G_k) A_k``, ``(n, *positions)``."""
    return torch.einsum("nk,nk...->n...", gradient.flatten(2).mean(2), activation)


def gradcam_plus_plus_map(activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return ``Σ_k w_k A_k`` with the weights of :func:`gradcam_plus_plus`."""
    flat = gradient.flatten(2)
    denominator = 2 + flat * activation.flatten(2).sum(2, keepdim=True)
    denominator = torch.where(denominator == 0, 1, denominator)
    return torch.einsum("nk,nk...->n...", (flat.relu() / denominator).sum(2), activation)


def hirescam_map(activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return ``Σ_k G_k ⊙ A_k``."""
    return (gradient * activation).sum(1)


def layercam_map(activation: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return ``Σ_k relu(G_k) ⊙ A_k``."""
    return (gradient.relu() * activation).sum(1)


def eigencam_map(activation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``A v_1`` in float32 ``(n, *positions)``, and ``σ_1² / Σ σ²`` ``(n,)``."""
    rows = activation.flatten(2).transpose(1, 2).double()
    # The smaller Gram matrix has the same first axis; float64, since it squares the singular values.
    tall = rows.shape[1] > rows.shape[2]
    values, vectors = torch.linalg.eigh(rows.mT @ rows if tall else rows @ rows.mT)
    first, axis = values[:, -1].clamp(min=0), vectors[:, :, -1:]
    flat = (rows @ axis if tall else axis * first.sqrt()[:, None, None])[..., 0]
    sign = torch.where((flat * rows.sum(2)).sum(1) < 0, -1.0, 1.0)
    share = first / values.clamp(min=0).sum(1).clamp(min=torch.finfo(torch.float64).tiny)
    return (flat * sign[:, None]).float().unflatten(1, activation.shape[2:]), share


def fused(maps: Sequence[torch.Tensor], spatial: Sequence[int]) -> torch.Tensor:
    """Carry maps of several layers to the input's grid and average them, each in its own scale.

    A finer layer spreads the same evidence over more positions, so each value counts there as many times more as the
    layer has positions more than the coarsest: evidence, summed over the image, then weighs equally at whatever depth
    it is measured. In a ReLU network without biases HiResCAM's maps of all layers sum to the score, and so does their
    fusion. Sign and zero keep their meaning, as they would not if maps were rescaled by their own maximum first.

    Parameters
    ----------
    maps : ``(n, *positions)`` each.
    spatial : the input's pixels.
    """
    positions = [drawn[0].numel() for drawn in maps]
    parts = [carried(drawn * (count / min(positions)), spatial) for drawn, count in zip(maps, positions, strict=True)]
    return parts[0] if len(parts) == 1 else torch.stack(parts).mean(0)


def carried(drawn: torch.Tensor, spatial: Sequence[int]) -> torch.Tensor:
    """Interpolate ``(n, *positions)`` linearly to ``(n, *spatial)``, pixel centres aligned.

    ``torch.nn.functional.interpolate(…, align_corners=False)``, axis by axis: a few rows times a matrix each, where
    writing the pixels is all that takes time.
    """
    fine = drawn
    for axis, extent in enumerate(spatial, start=1):
        if fine.shape[axis] != extent:
            weights = _linear(fine.shape[axis], extent).to(fine)
            fine = torch.movedim(torch.movedim(fine, axis, -1) @ weights, -1, axis)
    return fine.contiguous()


def _linear(positions: int, pixels: int) -> torch.Tensor:
    """Return what each of `positions` adds to each of `pixels` along one axis, ``(positions, pixels)``."""
    return interpolate(torch.eye(positions)[:, None], size=pixels, mode="linear", align_corners=False)[:, 0]


def _cam(task: Task, layer: str | Sequence[str] | None, draw: Draw) -> Explain:
    layers = Layers(task.network, layer, dense=task.model.task == "segmentation")

    def explain(batch: Batch) -> Part:
        looks = layers.look(batch.inputs, run=task.forward)
        chosen = task.choose(torch.cat([look.output.detach() for look in looks]), batch.ids)
        try:
            maps = [_of_every_target(look, chosen, draw, batch.inputs.shape[2:]) for look in looks]
        except _Unused as unused:
            message = (
                f"the score does not depend on layer {unused.args[0]!r} in a way autograd can follow (a branch that is not used, or "
                f"a forward that switches gradients off after it); other layers: {layers.others(batch.inputs)}."
            )
            raise InputError(message) from None
        whole = maps[0] if len(maps) == 1 else np.concatenate(maps, axis=1)
        return Part(chosen, _scores(chosen, looks), whole, settings={"layer": layers.setting})

    return explain


def _of_every_target(look: Look, chosen: Chosen, draw: Draw, spatial: Sequence[int]) -> np.ndarray:
    """Return the maps ``(T, n, *spatial)`` of one forward pass, differentiating it once a target."""
    count = len(chosen.indices)
    activations = [place.maps(a.detach()).float() for a, place in zip(look.caught, look.places, strict=True)]
    coarse = []
    for target in range(count):
        # One by one, so that differentiating a target does not go through all others.
        gradients = _gradients(look, chosen.only([target]), last=target == count - 1)
        coarse.append([draw(a, g.float()) for a, g in zip(activations, gradients, strict=True)])
    together = [torch.cat(of_layer) for of_layer in zip(*coarse, strict=True)]
    fine: np.ndarray = fused(together, spatial).cpu().numpy()
    return fine.reshape(count, -1, *spatial)


def _gradients(look: Look, chosen: Chosen, *, last: bool) -> list[torch.Tensor]:
    """Differentiate each image's score; summed over the batch, since no image's score depends on another image."""
    score = chosen.scores(look.output, look.rows)[0].sum()
    found: Sequence[torch.Tensor | None] = [None] * len(look.caught)
    if score.requires_grad:
        found = torch.autograd.grad(score, look.caught, retain_graph=not last, allow_unused=True)
    gradients = []
    for gradient, place in zip(found, look.places, strict=True):
        if gradient is None:
            raise _Unused(place.name)
        gradients.append(_patches_read(place, gradient))
    return gradients


def _patches_read(place: Place, gradient: torch.Tensor) -> torch.Tensor:
    maps = place.maps(gradient)
    if place.tokens is not None and place.tokens.prefix and gradient.any() and not maps.any():
        message = (
            f"of what leaves layer {place.name!r} the score reads the class token alone, so its patches have no gradient; leave "
            f"layer out to take what enters the last block, or name it: 'input of …'."
        )
        raise InputError(message)
    return maps


class _Unused(Exception):
    """The score does not depend on this layer."""


def _scores(chosen: Chosen, looks: Sequence[Look]) -> np.ndarray:
    """Return the explained scores, ``(T, n)``."""
    found = [chosen.scores(look.output.detach(), look.rows) for look in looks]
    scores: np.ndarray = torch.cat(found, dim=1).cpu().numpy()
    return scores

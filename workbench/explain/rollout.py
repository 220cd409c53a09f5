"""Attention rollout: how far each patch's tokens reach, through all blocks, what a transformer reads in the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import InputError
from workbench.explain.attention import watched
from workbench.explain.cam import carried
from workbench.explain.layers import INSTEAD, catch
from workbench.explain.settings import check_number
from workbench.explain.survey import Survey, survey
from workbench.explain.task import Part
from workbench.explain.tokens import Tokens, tokens_on_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.explain.task import Batch, Explain, Task


def rollout(task: Task, *, weighted: bool = False, discard: float = 0.0) -> Explain:
    """Multiply the attention of all blocks, so that each patch gets its share in what the head reads.

    Abnar & Zuidema 2020 (arXiv:2005.00928): with A the block's attention averaged over heads and the residual path
    counted half, ``R_b = (½ A_b + ½ I) R_(b-1)``, ``R_0 = I`` (section 3). The map is R's row of the class token, or
    the mean of the rows of all tokens that the head reads, which the gradient tells. Rows add up to 1, so values are
    shares; what the class token keeps for itself is not drawn. It shows where information flows, *whatever the class*:
    all targets get the same map (``class_independent`` in the settings).

    With `weighted`, attention counts by its gradient (Chefer et al. 2021, arXiv:2103.15679): ``Ā = mean over heads of
    relu(∂ score / ∂ A ⊙ A)`` (eq. 5), ``R_b = R_(b-1) + Ā_b R_(b-1)`` (eq. 6). That depends on the target and costs a
    backward pass for each.

    Attention is seen as it happens, in MONAI's, torch's and hand-written blocks
    (:func:`~workbench.explain.attention.watched`); the network is not changed.

    Parameters
    ----------
    weighted : count attention by its gradient.
    discard : share (0–1, below 1) of the weakest weights of each block left out before the product, a common
        habit that the paper does not know; rows are made to add up to 1 again. Not with `weighted`.

    Raises
    ------
    InputError : where the network has no attention over all its patches.
    """
    check_number("discard", discard, least=0, below=1, meaning="a share of each block's weights; 0 discards nothing")
    if weighted and discard:
        message = "discard leaves out weak attention, which weighted=True does by itself; set one of them."
        raise InputError(message)
    known: dict[tuple[int, ...], tuple[str, Tokens]] = {}

    def explain(batch: Batch) -> Part:
        size = tuple(batch.inputs.shape[2:])
        if size not in known:
            known[size] = _last_block(task.network, batch.inputs)
        block, tokens = known[size]
        matrices: list[torch.Tensor] = []
        inputs = batch.inputs.clone().requires_grad_(weighted)
        with watched(matrices.append, differentiable=weighted):
            output, caught = catch(task.network, [block], inputs, run=task.forward, keep=weighted)
        chosen = task.choose(output, batch.ids)
        scores = chosen.scores(output)
        read = _read(scores[0].sum(), caught[block], tokens)
        length = tokens.prefix + int(np.prod(tokens.grid))
        if weighted:
            rolled = torch.stack(_weighted(scores, matrices, length))
        else:
            rolled = _rolled([_heads(m.detach(), len(inputs), length) for m in matrices], discard)[None]
        rows = torch.einsum("nl,tnlm->tnm", read, rolled)[:, :, tokens.prefix :]
        coarse = rows.reshape(*rows.shape[:2], *tokens.grid)
        maps = torch.stack([carried(drawn, size) for drawn in coarse]).cpu().numpy()
        each = np.broadcast_to(maps, (task.count, *maps.shape[1:]))
        told = {"blocks": len(matrices), "class_independent": not weighted}
        return Part(chosen, scores.detach().cpu().numpy(), each, settings=told)

    return explain


def _rolled(attentions: Sequence[torch.Tensor], discard: float) -> torch.Tensor:
    """Return ``Π (½ A + ½ I)``, last block leftmost, ``(n, L, L)``, from attention ``(n, heads, L, L)`` of each block."""
    product = torch.eye(attentions[0].shape[-1], device=attentions[0].device)
    for heads in attentions:
        attention = heads.mean(1)
        if discard:
            flat = attention.flatten(1)
            weakest = flat.argsort(1)[:, : int(discard * flat.shape[1])]
            attention = flat.scatter(1, weakest, 0).view_as(attention)
        mixed = attention / 2 + torch.eye(attention.shape[-1], device=attention.device) / 2
        mixed = mixed / mixed.sum(-1, keepdim=True)
        product = mixed @ product
    return product


def _weighted(scores: torch.Tensor, matrices: Sequence[torch.Tensor], length: int) -> list[torch.Tensor]:
    """Return ``R`` of each target, ``(n, L, L)``."""
    images = scores.shape[1]
    found = []
    for place, score in enumerate(scores):
        gradients = torch.autograd.grad(
            score.sum(), matrices, retain_graph=place < len(scores) - 1, allow_unused=True, materialize_grads=True
        )  # fmt: skip
        product = torch.eye(length, device=scores.device).expand(images, -1, -1)
        for matrix, gradient in zip(matrices, gradients, strict=True):
            weight = _heads((matrix.detach() * gradient).relu(), images, length).mean(1)
            product = product + weight @ product
        found.append(product)
    return found


def _heads(matrix: torch.Tensor, images: int, length: int) -> torch.Tensor:
    """Return attention as float32 ``(n, heads, L, L)``, images first."""
    if matrix.shape[-1] != length:
        raise InputError(_in_parts(matrix.shape[-1], length))
    if matrix.dim() == 4 and len(matrix) != images == matrix.shape[1]:
        matrix = matrix.transpose(0, 1)
    return matrix.float().reshape(images, -1, length, length)


def _read(score: torch.Tensor, leaving: torch.Tensor, tokens: Tokens) -> torch.Tensor:
    """Return how much the head reads of each token that leaves the last block, ``(n, L)``, equal shares of 1."""
    gradient = None
    if score.requires_grad:
        gradient = torch.autograd.grad(score, leaving, retain_graph=True, allow_unused=True)[0]
    if gradient is None:
        message = f"the score does not depend on what leaves the last block in a way autograd can follow; {INSTEAD}"
        raise InputError(message)
    # Which tokens are read is a fact of the architecture, the same for all images, though a gradient may be 0 by chance.
    read = (gradient.transpose(0, tokens.batch_axis).float().abs().sum((0, 2)) > 0).float()
    read = read if read.any() else torch.ones_like(read)
    return (read / read.sum()).expand(gradient.shape[tokens.batch_axis], -1)


def _last_block(network: torch.nn.Module, inputs: torch.Tensor) -> tuple[str, Tokens]:
    found: Survey = survey(network, inputs)
    if found.attentions and found.windowed:
        raise InputError(_in_parts(found.length, None))
    if found.block is None:
        raise InputError(_without_attention(type(network).__name__))
    return found.block, tokens_on_grid(found.length, inputs.shape[2:], found, batch_axis=found.batch_axis)


def _without_attention(name: str) -> str:
    return (
        f"{name} has no block that lets all tokens of an image attend to each other, so there is nothing to roll out; "
        f"method='gradcam' works on convolutions. {INSTEAD}"
    )


def _in_parts(length: int, tokens: int | None) -> str:
    return (
        f"an attention is over {length} tokens, not over all {f'{tokens} ' if tokens else ''}of the image (windows? several scales?), "
        f"so blocks cannot be multiplied; method='gradcam' works. {INSTEAD}"
    )

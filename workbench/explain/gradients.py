"""Gradient maps: which pixels a score reacts to (saliency, SmoothGrad), and how much of it they carry (input × gradient)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import InputError
from workbench.explain.draws import channel_range, generator_of
from workbench.explain.settings import check_number, check_whole
from workbench.explain.task import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workbench.explain.chosen import Chosen
    from workbench.explain.task import Batch, Explain, Task

Draw = Callable[[torch.Tensor], torch.Tensor]
"""Makes map values ``(m, *spatial)`` of gradients ``(m, C, *spatial)``."""


def saliency(task: Task, *, absolute: bool = True) -> Explain:
    """Show how strongly the score reacts to each pixel: ``max over channels of |∂ score / ∂ x|``.

    Simonyan, Vedaldi & Zisserman 2013, arXiv:1312.6034, section 3.1. In score per unit of the network's input, never
    below zero. A large value says that the score would change with this pixel, not that it speaks for the class: a
    lesion that must stay bright and a background that must stay dark look alike.

    Parameters
    ----------
    absolute : False keeps the sign instead and sums over channels: positive where a brighter pixel would raise the
        score.
    """
    draw = _reaction(absolute=absolute)

    def explain(batch: Batch) -> Part:
        chosen, scores, maps = image_gradients(task, batch, draw)
        return Part(chosen, scores, maps)

    return explain


def input_x_gradient(task: Task) -> Explain:
    """Multiply each pixel by the gradient: ``Σ over channels of x · ∂ score / ∂ x``, signed, in units of the score.

    Shrikumar et al. 2016, arXiv:1605.01713. What the score would lose, to first order, if the pixel were
    set to zero; in a network of convolutions and ReLUs without any bias the values add up to the score. Zero is
    whatever the preprocessing makes zero: after standardisation that is mid-grey, and pixels near it get no evidence.
    """

    def explain(batch: Batch) -> Part:
        inputs = batch.inputs.float()
        chosen, scores, maps = image_gradients(task, batch, lambda gradient: (inputs * gradient).sum(1))
        return Part(chosen, scores, maps)

    return explain


def smoothgrad(task: Task, *, samples: int = 32, noise: float = 0.15, absolute: bool = True, seed: int = 0) -> Explain:
    """Average the saliency of `samples` noisy copies of each image (Smilkov et al. 2017, arXiv:1706.03825).

    ``1/n Σ map(x + ε)``, ε normal. The average estimates one and the same map whatever `samples` is; ``errors`` holds
    the standard error of each value, ``s / √n``. Each image has random numbers of its own, from `seed` and its id.

    Parameters
    ----------
    samples : noisy copies an image, at least 2; each costs about two forward passes.
    noise : standard deviation of ε as a part of the range (largest less smallest value) of each image's each channel.
        The paper advises 0.1 to 0.2.
    absolute : average magnitudes (:func:`saliency`), which tells active regions of either sign from inactive ones.
        False averages signed gradients, whose noise cancels.
    seed : of all draws.

    Raises
    ------
    InputError : where a number is out of range.
    """
    draw = _reaction(absolute=absolute)
    check_whole("samples", samples, least=2)
    check_number(
        "noise", noise, above=0, meaning="a part of each image's range, for which the paper advises 0.1 to 0.2"
    )

    def explain(batch: Batch) -> Part:
        output = task.evaluate(batch.inputs)
        chosen = task.choose(output, batch.ids)
        shape = (task.count, *batch.inputs.shape[:1], *batch.inputs.shape[2:])
        total, squares = np.zeros(shape), np.zeros(shape)
        copies = _noisy_copies(batch, samples=samples, noise=noise, seed=seed, at_once=task.batch_size)
        for rows, inputs in copies:
            values = gradients_at(task, batch, chosen, inputs=inputs, rows=rows, draw=draw).astype(np.float64)
            for row in np.unique(rows):
                own = values[:, rows == row]
                total[:, row] += own.sum(1)
                squares[:, row] += (own**2).sum(1)
        mean = total / samples
        variance = np.maximum(squares / samples - mean**2, 0) * samples / (samples - 1)
        return Part(
            chosen, chosen.scores(output).cpu().numpy(), mean.astype(np.float32),
            errors=np.sqrt(variance / samples).astype(np.float32),
        )  # fmt: skip

    return explain


def image_gradients(task: Task, batch: Batch, draw: Draw) -> tuple[Chosen, np.ndarray, np.ndarray]:
    """Differentiate the explained scores of the images as they are: one forward pass, one backward pass a target.

    Returns
    -------
    What was chosen, its scores, float32 ``(T, n)``, and what `draw` makes of the gradients, float32
    ``(T, n, *spatial)``.
    """
    leaf = batch.inputs.detach().requires_grad_()
    # The network gets a copy, so that one which begins with an in-place layer may overwrite it.
    output = task.forward(leaf.clone())
    chosen = task.choose(output.detach(), batch.ids)
    scores = chosen.scores(output)
    maps = np.stack(list(_drawn(scores, leaf, draw)))
    _check_finite(maps, batch.ids)
    return chosen, scores.detach().cpu().numpy(), maps


def gradients_at(
    task: Task, batch: Batch, chosen: Chosen, *, inputs: torch.Tensor, rows: np.ndarray, draw: Draw
) -> np.ndarray:
    """Differentiate the explained scores at other points than the images: all targets from one forward pass.

    Parameters
    ----------
    inputs : ``(m, C, *spatial)``, not more than ``task.batch_size``.
    rows : int64 ``(m,)``, the image of the batch that each input is a version of.

    Returns
    -------
    What `draw` makes of the gradients, float32 ``(T, m, *spatial)``.
    """
    leaf = inputs.detach().requires_grad_()
    maps = np.stack(list(_drawn(chosen.scores(task.forward(leaf.clone()), rows), leaf, draw)))
    _check_finite(maps, [batch.ids[row] for row in rows])
    return maps


def _reaction(*, absolute: object) -> Draw:
    if not isinstance(absolute, bool):
        message = f"absolute {absolute!r} must be True (magnitudes) or False (signed)."
        raise InputError(message)
    if absolute:
        return lambda gradient: gradient.abs().amax(1)
    return lambda gradient: gradient.sum(1)


def _noisy_copies(
    batch: Batch, *, samples: int, noise: float, seed: int, at_once: int
) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """Yield rows ``(m,)`` and noisy inputs ``(m, C, *spatial)``, image after image, at most `at_once` together."""
    images = batch.inputs.float()
    spread = noise * channel_range(images)
    generators = [generator_of(image_id, seed) for image_id in batch.ids]
    rows = np.repeat(np.arange(len(batch.ids)), samples)
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        drawn = np.stack([generators[row].standard_normal(images.shape[1:], dtype=np.float32) for row in part])
        where = torch.from_numpy(part).to(images.device)
        yield part, (images[where] + spread[where] * torch.from_numpy(drawn).to(images.device)).to(batch.inputs.dtype)


def _drawn(scores: torch.Tensor, leaf: torch.Tensor, draw: Draw) -> Iterator[np.ndarray]:
    """Yield what is drawn of each target's gradient; summed over the rows, since no score depends on another row."""
    for target, score in enumerate(scores):
        gradient = _gradient(score.sum(), leaf, last=target + 1 == len(scores))
        yield draw(gradient).cpu().numpy()


def _gradient(score: torch.Tensor, leaf: torch.Tensor, *, last: bool) -> torch.Tensor:
    """Differentiate; in half precision the score is scaled up first, as in mixed-precision training.

    A pixel's gradient is often below 6e-5, where float16 loses digits and then everything. The largest scale without
    an overflow is used and divided out in float32.
    """
    for scale in (4096.0, 64.0, 1.0) if leaf.dtype == torch.float16 else (1.0,):
        found = _differentiated(score * scale, leaf, keep=not last or scale > 1) / scale
        if torch.isfinite(found).all():
            break
    return found


def _differentiated(score: torch.Tensor, leaf: torch.Tensor, *, keep: bool) -> torch.Tensor:
    """Return the gradient in float32, or say why there is none."""
    gradient = None
    try:
        if score.requires_grad:
            (gradient,) = torch.autograd.grad(score, leaf, retain_graph=keep, allow_unused=True)
    except RuntimeError as error:
        if "inplace operation" not in str(error):
            raise
        message = (
            "the network overwrites a value that its gradient needs (an in-place layer straight after a ReLU, say), so no "
            f"gradient can be taken: set inplace=False there, or use method='occlusion'. {str(error).partition(' Hint')[0]}"
        )
        raise InputError(message) from error
    if gradient is None:
        message = (
            "the score does not depend on the image in a way autograd can follow (a forward that detaches, rounds or "
            "switches gradients off); method='occlusion' needs no gradient."
        )
        raise InputError(message)
    return gradient.float()


def _check_finite(maps: np.ndarray, ids: Sequence[str]) -> None:
    sound = np.isfinite(maps).all(axis=(0, *range(2, maps.ndim)))
    if not sound.all():
        message = (
            f"the gradient of image {ids[int(np.argmin(sound))]!r} is NaN or infinite though its score is not (a square root or a "
            "logarithm at zero in the network?); method='occlusion' needs no gradient."
        )
        raise InputError(message)

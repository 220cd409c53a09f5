"""Expected gradients (Erion et al. 2021, arXiv:1906.10670): SHAP values of pixels against a reference cohort."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import InputError
from workbench.explain.task import Part

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort
    from workbench.explain.target import Chosen
    from workbench.explain.task import Batch, Explain, Task


def expected_gradients(
    task: Task, *, background: Cohort | None = None, background_size: int = 32, samples: int = 64, seed: int = 0
) -> Explain:
    """Average ``(x - x') · ∂ score(x' + α (x - x')) / ∂ x`` over references x' and over α, uniform in 0–1.

    The estimator of ``shap.GradientExplainer``, with less noise for the same work: α is stratified (one draw in each
    of `samples` equal parts of 0–1) and every reference is used equally often. Values are signed, in logits, summed
    over the input's channels, and add up to the score less the references' mean score, but for sampling error; that
    gap is given for each image (``completeness_gap`` in ``to_frame()``).

    ``errors`` holds the standard error of each value, ``s / √samples``. Stratified sampling can only do better
    (Owen 1997, Ann. Statist. 25:1541, but for a factor ``n / (n - 1)``), so it errs on the side of caution. It does
    not count that another draw of references would give another average.

    Each image has random numbers of its own, from `seed` and its id: its map depends neither on `batch_size` nor on
    which other images are explained.

    Parameters
    ----------
    background : the reference cohort, best the one the model was trained on. By default the explained cohort itself.
        Images of the patient explained never serve as their own reference.
    background_size : how many of its images are drawn as references, at least 1.
    samples : gradients an image, at least 2; each costs about two forward passes.
    seed : of all draws.

    Raises
    ------
    InputError : where no reference is left, or a number is out of range.
    """
    for name, value, least in (("background_size", background_size, 1), ("samples", samples, 2)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            message = f"{name} {value!r} must be a whole number of at least {least}."
            raise InputError(message)
    bank = _references(task, background or task.cohort, background_size, seed)
    patients = dict(zip(task.cohort.ids, task.cohort.patients, strict=True))
    used = task.cohort if background is None else background
    told = {"background": "the cohort itself" if background is None else used.name, "background_size": len(bank.inputs)}
    parents = {} if background is None else {"background": background.provenance}

    def explain(batch: Batch) -> Part:
        output = task.evaluate(batch.inputs)
        chosen = task.choose(output, batch.ids)
        scores = chosen.scores(output).cpu().numpy()
        shape = (task.count, len(batch.ids))
        maps = np.empty((*shape, *batch.inputs.shape[2:]), np.float32)
        errors, reference, gap = np.empty_like(maps), np.empty(shape), np.empty(shape)
        for row, image_id in enumerate(batch.ids):
            eligible = bank.others(patients[image_id], image_id)
            asked, draws = chosen.of(row), _draws(image_id, eligible, samples, seed)
            same = np.zeros(len(eligible), dtype=np.int64)
            reference[:, row] = asked.scores(bank.outputs[eligible], same).double().mean(1).cpu().numpy()
            maps[:, row], errors[:, row] = _sampled(task, batch.inputs[row], asked, bank.inputs, draws)
            total = maps[:, row].reshape(task.count, -1).sum(1, dtype=np.float64)
            gap[:, row] = total - (scores[:, row] - reference[:, row])
        findings = {"reference_score": reference, "completeness_gap": gap}
        return Part(chosen, scores, maps, errors, findings, told, parents)

    return explain


@dataclass(frozen=True)
class _Bank:
    """The references: inputs ``(m, C, *spatial)``, their outputs ``(m, K)`` and whose they are."""

    inputs: torch.Tensor
    outputs: torch.Tensor
    patients: np.ndarray

    def others(self, patient: str, image_id: str) -> np.ndarray:
        """Return the rows of all references but this patient's."""
        rows = np.flatnonzero(self.patients != patient)
        if len(rows) == 0:
            message = (
                f"image {image_id!r} has no reference: all images drawn are of its own patient {patient!r}. Give the cohort "
                "the model was trained on, background=train, or a larger background_size."
            )
            raise InputError(message)
        return rows


def _references(task: Task, background: Cohort, size: int, seed: int) -> _Bank:
    """Draw references by `seed`; the same ones for every image of the task."""
    order = np.random.default_rng(seed).permutation(len(background))[:size]
    ids = [background.ids[row] for row in sorted(order)]
    inputs = []
    for start in range(0, len(ids), task.batch_size):
        inputs.append(task.inputs(ids[start : start + task.batch_size], background))
    outputs = torch.cat([task.evaluate(part) for part in inputs])
    return _Bank(torch.cat(inputs), outputs, np.asarray(background.patients)[sorted(order)])


def _draws(image_id: str, eligible: np.ndarray, samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pair references, each used equally often, with α, one from each of `samples` strata, in random order."""
    own = int.from_bytes(hashlib.sha256(image_id.encode()).digest()[:8], "big")
    generator = np.random.default_rng([seed, own])
    rounds = -(-samples // len(eligible))
    references = np.concatenate([generator.permutation(eligible) for _ in range(rounds)])[:samples]
    alphas = (np.arange(samples) + generator.random(samples)) / samples
    return references, generator.permutation(alphas)


def _sampled(
    task: Task, image: torch.Tensor, asked: Chosen, references: torch.Tensor, draws: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard error ``(T, *spatial)`` of one image's samples, `batch_size` at a time, in float64."""
    rows, alphas = draws
    total, squares = (np.zeros((task.count, *image.shape[1:])) for _ in range(2))
    for start in range(0, len(rows), task.batch_size):
        part = slice(start, start + task.batch_size)
        difference = image - references[torch.from_numpy(rows[part]).to(image.device)]
        alpha = torch.from_numpy(alphas[part]).to(image).reshape(-1, *[1] * image.dim())
        between = (image - (1 - alpha) * difference).requires_grad_()
        # The network gets a copy, so that one which begins with an in-place layer may overwrite it.
        scores = asked.scores(task.forward(between.clone()), np.zeros(len(between), dtype=np.int64))
        for target, score in enumerate(scores):
            (gradient,) = torch.autograd.grad(score.sum(), between, retain_graph=target + 1 < len(scores))
            values = (difference * gradient).sum(1).double().cpu().numpy()
            total[target] += values.sum(0)
            squares[target] += (values**2).sum(0)
    count = len(rows)
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0) * count / (count - 1)
    return mean, np.sqrt(variance / count)

"""Expected gradients (Erion et al. 2021, arXiv:1906.10670): SHAP values of pixels against a reference cohort."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import EvidenceWarning
from workbench.explain.draws import generator_of
from workbench.explain.gradients import gradients_at
from workbench.explain.memory import Fitting
from workbench.explain.references import check_background, reference_bank
from workbench.explain.settings import check_number, check_whole
from workbench.explain.task import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.cohorts.cohort import Cohort
    from workbench.explain.chosen import Chosen
    from workbench.explain.task import Batch, Explain, Task

GOLDEN = (5**0.5 - 1) / 2
PAIRS = 8  # at least so many pairs of replicates stand behind each standard error
LANES = 16  # and at most so many of their sums are kept in memory


def expected_gradients(
    task: Task,
    *,
    background: Cohort | None = None,
    background_size: int = 32,
    samples: int = 64,
    error: float | None = None,
    samples_limit: int = 2048,
    seed: int = 0,
) -> Explain:
    """Average ``(x - x') · ∂ score / ∂ x`` at ``x' + α (x - x')`` over references x' and over α, uniform in 0–1.

    What ``shap.GradientExplainer`` estimates, with less noise for the same work, and with an error that can be
    believed. Values are signed, in units of the score, summed over the input's channels. They add up to the score less
    the references' mean score (``reference_score``), but for sampling error; that gap is told for each image
    (``completeness_gap``).

    How it is sampled: every reference serves equally often, twice or more, in two halves. In each half its
    places α are evenly spread from a random start; the starts of all references form a Latin hypercube (McKay et al.
    1979). The gradient changes little between neighbours on the path, so places far from each other tell more: at 8
    draws a reference the variance was a fifth to a tenth of independent draws' (``benchmarks/explain/shap_cost.py``).
    All targets come from the same forward passes.

    ``errors`` holds the standard error of each value: half the difference of a reference's two halves, squared and
    summed over references. The halves being unbiased, and independent but for the Latin hypercube, this is right on
    average, or a tenth too large: the hypercube can only make the map better than told (Owen 1997, SIAM J. Numer. Anal.
    34:1884, but for a factor C / (C - 1) with C starts). Where samples are few it is on the safe side: with two a
    reference they stand half a path apart, which makes the map better and their difference larger; with fewer, the
    halves differ in reference too. It is the error against the average over these references; another draw of
    references would give another average.

    With `error`, samples are drawn in rounds until, for each image and target by itself, the root-mean-square of
    ``errors`` over all pixels is at most `error` times the root-mean-square of the map without noise, estimated as
    ``√(mean(map²) - mean(errors²))``. ``relative_error`` tells this ratio, ``samples`` how many were drawn.

    Each image has random numbers of its own, from `seed` and its id: its map depends neither on `batch_size` nor on
    which other images or targets are explained. Where memory runs out, the batch is halved and the same samples are
    gone on with.

    Parameters
    ----------
    background : the reference cohort, best the one the model was trained on. By default the explained cohort itself.
        Images of the patient explained never serve as their own reference.
    background_size : how many of its images are drawn as references, at least 1.
    samples : gradients an image where no `error` is asked for, at least 2; each costs about two forward passes.
    error : the relative standard error asked for, above 0; 0.1 takes some hundred samples.
    samples_limit : with `error`, never more samples an image than these; a warning says where it was not reached.
    seed : of all draws.

    Raises
    ------
    InputError : where no reference is left, or a number is out of range.
    """
    check_whole("background_size", background_size, least=1)
    check_whole("samples", samples, least=2)
    check_whole("samples_limit", samples_limit, least=2)
    if error is not None:
        check_number(
            "error",
            error,
            above=0,
            meaning="0.1: a tenth of the map's root-mean-square; None for a fixed number of samples",
        )
    check_background(background)
    bank = reference_bank(task, background or task.cohort, size=background_size, seed=seed)
    patients = dict(zip(task.cohort.ids, task.cohort.patients, strict=True))
    used = "the cohort itself" if background is None else background.name
    fitting, most = Fitting(task.batch_size), samples if error is None else samples_limit

    def explain(batch: Batch) -> Part:
        output = task.evaluate(batch.inputs)
        chosen = task.choose(output, batch.ids)
        scores = chosen.scores(output).cpu().numpy()
        eligible = [bank.others(patients[image_id], image_id) for image_id in batch.ids]
        plans = [_plan(rows, most, generator_of(one, seed)) for one, rows in zip(batch.ids, eligible, strict=True)]
        found: list[_Sampled] = []
        while len(found) < len(batch.ids):
            # Images are sampled together where one alone would not fill the network's batches.
            together = range(len(found), len(batch.ids))[: -(-task.batch_size // len(plans[len(found)].starts))]
            begun = [_Sampled(row, plans[row], (task.count, *batch.inputs.shape[2:])) for row in together]
            while going := [one for one in begun if one.unsettled.any()]:
                _draw(task, batch, chosen, going=going, references=bank.inputs, fitting=fitting, fixed=error is None)
                for one in going:
                    one.settle(error, most)
            found += begun
        maps, errors = np.stack([one.maps for one in found], 1), np.stack([one.errors for one in found], 1)
        relative = np.stack([one.relative for one in found], 1)
        _warn_of(relative, error, most)
        means = [bank.scores(chosen, row, rows).mean(1) for row, rows in enumerate(eligible)]
        reference = np.stack(means, 1)
        gap = maps.reshape(*maps.shape[:2], -1).sum(-1) - (scores - reference)
        return Part(
            chosen, scores, maps.astype(np.float32), errors=errors.astype(np.float32),
            findings={
                "reference_score": reference, "completeness_gap": gap, "relative_error": relative,
                "samples": np.stack([one.samples for one in found], 1),
            },
            settings={"background": used, "background_size": len(bank)},
            parents={} if background is None else {"background": background.provenance},
        )  # fmt: skip

    return explain


@dataclass(frozen=True)
class _Plan:
    """Which reference and which first place on its path each cell has, and whose half it is.

    Parameters
    ----------
    references : int64 ``(C,)``; cells 2 i and 2 i + 1 are two halves of the same reference.
    starts : float64 ``(C,)`` in 0–1, a Latin hypercube.
    counts : int64 ``(C,)``, samples in each cell where their number is fixed beforehand.
    """

    references: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    def all_at_once(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return cells, places and weights of a fixed number of samples, evenly spaced within each cell."""
        cells = np.repeat(np.arange(len(self.counts)), self.counts)
        steps = np.concatenate([np.arange(count) / count for count in self.counts])
        return cells, (self.starts[cells] + steps) % 1, 1 / self.counts[cells]

    def next_round(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return cells, places and weights of one more sample in each cell.

        Steps of the golden ratio stay evenly spread wherever one stops (three-distance theorem).
        """
        return np.arange(len(self.counts)), (self.starts + number * GOLDEN) % 1, np.ones(len(self.counts))


def _plan(eligible: np.ndarray, samples: int, generator: np.random.Generator) -> _Plan:
    """Give each reference two cells, or more where there are few references; each one cell where samples are few."""
    pairs = samples // 2
    if pairs < len(eligible):
        rounds = [generator.permutation(eligible) for _ in range(-(-2 * pairs // len(eligible)))]
        references = np.concatenate(rounds)[: 2 * pairs]
    else:
        repeats = min(pairs // len(eligible), -(-PAIRS // len(eligible)))
        references = np.tile(np.repeat(generator.permutation(eligible), 2), repeats)
    count = len(references)
    more = np.zeros(count // 2, dtype=np.int64)
    more[generator.permutation(count // 2)[: samples % count // 2]] = 1
    counts = np.repeat(samples // count + more, 2)
    starts = _latin(count, generator)
    alone = np.flatnonzero((counts[::2] == 1) & (references[::2] == references[1::2]))
    starts[2 * alone] = _latin(len(alone), generator)
    starts[2 * alone + 1] = (starts[2 * alone] + 0.5) % 1
    return _Plan(references, starts, counts)


def _latin(count: int, generator: np.random.Generator) -> np.ndarray:
    return (generator.permutation(count) + generator.random(count)) / max(count, 1)


class _Sampled:
    """One image on its way: the sum of its samples, and of the differences between halves."""

    def __init__(self, row: int, plan: _Plan, shape: tuple[int, ...]) -> None:
        self.row, self.plan = row, plan
        self.unsettled = np.ones(shape[0], dtype=bool)
        self.rounds = self._drawn = 0
        self.samples, self.relative = np.zeros(shape[0]), np.full(shape[0], np.inf)
        self.maps, self.errors = np.zeros(shape), np.zeros(shape)
        self._total = np.zeros(shape)
        self._lanes = np.zeros((min(len(plan.starts) // 2, LANES), *shape), dtype=np.float32)

    def take(self, cells: np.ndarray, weights: np.ndarray, values: np.ndarray, targets: np.ndarray) -> None:
        """Add samples ``(targets, m, *spatial)`` of these targets."""
        for place, (cell, weight) in enumerate(zip(cells, weights, strict=True)):
            added = values[:, place] * np.float32(weight / len(self.plan.starts))
            self._total[targets] += added
            # Differences are summed before they are squared: those of different references are independent.
            self._lanes[cell // 2 % len(self._lanes)][targets] += added if cell % 2 else -added
        self._drawn += len(cells)

    def settle(self, error: float | None, most: int) -> None:
        """Take stock; targets that are exact enough, or whose samples are spent, keep what they have."""
        self.rounds += 1
        axes = tuple(range(1, self._total.ndim))
        maps = self._total / self.rounds
        squared = np.zeros_like(maps)
        for lane in self._lanes:
            squared += (lane.astype(np.float64) / self.rounds) ** 2
        noise = squared.mean(axes)
        signal = np.maximum((maps**2).mean(axes) - noise, 0)
        relative = np.sqrt(np.divide(noise, signal, out=np.where(noise > 0, np.inf, 0.0), where=signal > 0))
        now = self.unsettled
        self.maps[now], self.errors[now] = maps[now], np.sqrt(squared[now])
        self.relative[now], self.samples[now] = relative[now], self._drawn
        spent = error is None or self._drawn + len(self.plan.starts) > most
        self.unsettled = now & (relative > (error or 0)) & ~np.full(len(now), spent)


def _draw(
    task: Task,
    batch: Batch,
    chosen: Chosen,
    *,
    going: Sequence[_Sampled],
    references: torch.Tensor,
    fitting: Fitting,
    fixed: bool,
) -> None:
    """Draw what comes next for each image: a round, or all samples where their number is fixed."""
    draws = [one.plan.all_at_once() if fixed else one.plan.next_round(one.rounds) for one in going]
    owner = np.repeat(np.arange(len(going)), [len(cells) for cells, _, _ in draws])
    cells, places, weights = (np.concatenate(values) for values in zip(*draws, strict=True))
    rows = np.array([one.row for one in going])[owner]
    chosen_references = np.concatenate([one.plan.references[drawn[0]] for one, drawn in zip(going, draws, strict=True)])
    targets = np.any([one.unsettled for one in going], axis=0)
    asked = chosen.only(targets)

    def sample(part: slice) -> np.ndarray:
        device = batch.inputs.device
        image = batch.inputs[torch.from_numpy(rows[part]).to(device)].float()
        difference = image - references[torch.from_numpy(chosen_references[part]).to(device)].float()
        place = torch.from_numpy(places[part]).to(image).reshape(-1, *[1] * (image.dim() - 1))
        between = (image - (1 - place) * difference).to(batch.inputs.dtype)

        def weigh(gradient: torch.Tensor) -> torch.Tensor:
            return (difference * gradient).sum(1)

        return gradients_at(task, batch, asked, inputs=between, rows=rows[part], draw=weigh)

    for part, values in fitting.run(len(rows), sample):
        for number in np.unique(owner[part]):
            own = owner[part] == number
            going[number].take(cells[part][own], weights[part][own], values[:, own], targets)


def _warn_of(relative: np.ndarray, error: float | None, most: int) -> None:
    missed = int((relative > error).any(0).sum()) if error is not None else 0
    if missed:
        message = (
            f"{missed} of {relative.shape[1]} images did not come to the error {error} within {most} samples: see "
            "relative_error in to_frame(). Raise samples_limit, or ask for less."
        )
        warnings.warn(message, EvidenceWarning, stacklevel=3)

"""Infidelity and max-sensitivity (Yeh et al. 2019, NeurIPS, arXiv:1901.09392), computed by captum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.explain.draws import channel_range, generator_of
from workbench.explain.fill import Fill, check_fill
from workbench.explain.quality.measure import Measure, Outcome
from workbench.explain.quality.removal import outcome, score_of, with_evidence
from workbench.explain.settings import check_number, check_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.explain.chosen import Chosen
    from workbench.explain.quality.removal import Score
    from workbench.explain.quality.study import Study

# Methods whose values, summed over a part of the image, say how much of the score that part makes up.
IN_SCORE_UNITS = frozenset({"shap", "partition-shap", "region-shap", "integrated-gradients", "input-x-gradient"})
OTHER_UNITS = "map not in units of the score"
BOX = (1 / 8, 1 / 2)  # of each axis: shortest and longest side of a replaced box


def infidelity(study: Study, *, samples: int = 64, fill: Any = "blur", seed: int = 0) -> Outcome:
    """Replace random boxes, and compare what the score loses with what the map says they are worth.

    ``mean over boxes of (Σ map in the box − loss of the explained score)²``, equation 1 of the paper with a box at a
    random place as the perturbation, by ``captum.metrics.infidelity``. In score units squared.

    **As it is** it has a meaning only where map values are in units of the score and add up: SHAP, integrated
    gradients, input × gradient. For all others (the CAM family, saliency; occlusion and RISE, whose pixels each hold the
    loss of all their neighbourhood) the column is empty. Beside it stands what a map of zeros gets, the mean squared loss.
    A map made against another baseline (SHAP's references, a black image) answers another question than the fill asks,
    and part of its infidelity is that.

    **Scaled** (captum's ``normalize=True``): the map is first multiplied by the one factor, not below zero, that makes
    the number smallest, and the number is given as a part of the mean squared loss: 0 where the map foretells every loss
    up to a factor, 1 where it foretells nothing or the opposite. It has a meaning for every method. Beside it stands what
    the same map with its values at random places gets: what the size of a box alone foretells, which may be much.

    Each image costs `samples` forward passes.

    Parameters
    ----------
    samples : boxes an image, at least 2; each side is 1/8 to 1/2 of its axis, less where it is cut off at the border.
    fill : what the box is filled with, see :mod:`workbench.explain.fill`.
    seed : of the boxes, together with each image's id.

    Raises
    ------
    InputError : where a setting is out of range.
    """
    check_whole("samples", samples, least=2)
    check_fill(fill)
    in_units = study.attributions.method in IN_SCORE_UNITS
    rows: dict[str, dict[str, float]] = {}
    for batch, chosen, maps in with_evidence(study, "Infidelity"):
        for row, image_id in enumerate(batch.ids):
            own = infidelities(
                score_of(study.task, chosen.take([row])), Fill.of(batch.inputs[row : row + 1], fill),
                heat=maps[row], boxes=draw_boxes(image_id, maps.shape[1:], samples, seed=seed),
                shuffled=_shuffled(maps[row], image_id, seed), at_once=study.task.batch_size,
            )  # fmt: skip
            rows[image_id] = own if in_units else {**own, "infidelity": np.nan, "infidelity | map of zeros": np.nan}
    found = outcome(study, rows, MEASURES)
    if in_units or not rows:
        return found
    reasons = {**found.left_out.get("infidelity", {}), OTHER_UNITS: len(rows)}
    return Outcome(found.table, found.measures, {**found.left_out, "infidelity": reasons})


def infidelities(
    score: Score, fill: Fill, *,
    heat: np.ndarray, boxes: torch.Tensor, shuffled: np.ndarray, at_once: int,
) -> dict[str, float]:  # fmt: skip
    """Return an image's infidelity, plain and scaled, and those of the two controls.

    Parameters
    ----------
    score : gives the score of altered inputs.
    fill : the one image and what boxes are filled with.
    heat, shuffled : ``(*spatial)``, the map and its values at random places.
    boxes : bool ``(samples, *spatial)``.
    at_once : altered inputs that go through the network together.
    """
    from captum.metrics import infidelity as by_captum

    image = fill.images

    def asked(inputs: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(np.asarray(score(inputs, np.zeros(len(inputs), np.int64)))).to(image.device)

    whole = asked(image.clone())
    losses: list[torch.Tensor] = []

    def measured(values: np.ndarray, *, normalize: bool) -> float:
        """Ask captum; the network is run the first time only, its answers serve the other maps."""
        answers, drawn = iter(list(losses)), iter(torch.split(boxes, min(at_once, len(boxes))))

        def perturb(repeated: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            box = next(drawn).to(repeated.device)
            return box[:, None].float().expand(repeated.shape), fill.hide(box, np.zeros(len(box), np.int64))

        def forward(altered: torch.Tensor) -> torch.Tensor:
            if altered is image:
                return whole
            known = next(answers, None)
            if known is None:
                known = asked(altered)
                losses.append(known)
            return known

        # captum wants one value a channel: each gets an equal part of what the map holds for them together.
        spread = torch.from_numpy(np.asarray(values, np.float32)) / image.shape[1]
        spread = spread.to(image.device).expand(image.shape)
        given: torch.Tensor = by_captum(
            forward, perturb, image, spread, n_perturb_samples=len(boxes),
            max_examples_per_batch=min(at_once, len(boxes)), normalize=normalize,
        )  # fmt: skip
        return float(given[0])

    plain = measured(heat, normalize=False)
    nothing = measured(np.zeros_like(heat), normalize=False)

    def part(values: np.ndarray) -> float:
        if nothing <= 0:
            return np.nan
        # captum's factor may be negative and make a map right that is wrong everywhere; the best one from zero up is then 0.
        if measured(-values, normalize=False) < measured(values, normalize=False):
            return 1.0
        # Nor may its polynomial end a rounding error below zero.
        return max(measured(values, normalize=True), 0.0) / nothing

    return {
        "infidelity": plain, "infidelity | map of zeros": nothing,
        "scaled infidelity": part(heat), "scaled infidelity | shuffled map": part(shuffled),
    }  # fmt: skip


def sensitivity(study: Study, *, samples: int = 10, radius: float = 0.02, seed: int = 0) -> Outcome:
    """Add a little noise, explain again, and give the largest change of the map relative to itself.

    ``max over noise of |map(x + noise) − map(x)| / |map(x)|``, Euclidean norms: the paper's max-sensitivity, made
    relative to the map, by ``captum.metrics.sensitivity_max``. 0 for a map that does not move; small is good, if the
    map also depends on the model: a constant map has the smallest. The class or region explained is kept. Methods that
    draw random numbers draw the same ones again, so that their sampling error does not count.

    Each image costs `samples` explanations.

    Parameters
    ----------
    samples : noisy copies an image, at least 1. The maximum grows with it.
    radius : noise is uniform within ± this part of each channel's range (largest less smallest value) in the image.
    seed : of the noise, together with each image's id.

    Raises
    ------
    InputError : where a setting is out of range.
    """
    check_whole("samples", samples, least=1)
    check_number("radius", radius, above=0, meaning="a part of each image's range; captum's default is 0.02")
    rows: dict[str, dict[str, float]] = {}
    for batch, chosen, maps in with_evidence(study, "Max-sensitivity"):
        for row, image_id in enumerate(batch.ids):
            image = batch.inputs[row : row + 1]
            noise = _uniform(image, samples, generator_of(f"noise on {image_id}", seed)) * radius
            again = _explained_again(study, chosen.take([row]), image_id)
            value = max_sensitivity(again, image, maps[row], noise=noise, at_once=study.task.batch_size)
            rows[image_id] = {"max-sensitivity": value}
    return outcome(study, rows, (MAX_SENSITIVITY,))


def max_sensitivity(
    explain: Callable[[torch.Tensor], np.ndarray],
    image: torch.Tensor,
    heat: np.ndarray,
    *,
    noise: torch.Tensor,
    at_once: int,
) -> float:
    """Return one image's max-sensitivity.

    Parameters
    ----------
    explain : gives the maps ``(m, *spatial)`` of inputs ``(m, C, *spatial)``.
    image : ``(1, C, *spatial)``.
    heat : ``(*spatial)``, its map.
    noise : ``(samples, C, *spatial)``.
    at_once : inputs explained together.
    """
    from captum.metrics import sensitivity_max as by_captum

    drawn = iter(torch.split(noise, min(at_once, len(noise))))

    def explanation(inputs: Any) -> tuple[torch.Tensor]:
        # captum gives the image itself as a tuple, and takes a tensor for a tuple of single maps.
        if isinstance(inputs, tuple):
            return (torch.from_numpy(np.array(heat[None])),)
        # captum switches autograd off around the metric.
        with torch.enable_grad():
            return (torch.from_numpy(np.array(explain(inputs))),)

    found: torch.Tensor = by_captum(
        explanation, image, lambda repeated: repeated + next(drawn).to(repeated),
        n_perturb_samples=len(noise), max_examples_per_batch=min(at_once, len(noise)),
    )  # fmt: skip
    return float(found[0])


def draw_boxes(image_id: str, spatial: tuple[int, ...], samples: int, *, seed: int = 0) -> torch.Tensor:
    """Draw boxes of 1/8 to 1/2 of each axis, cut off at the border: bool ``(samples, *spatial)``.

    They may begin outside, so that each pixel is as likely to be in one as any other: labels stand in corners.
    """
    draw = generator_of(f"boxes on {image_id}", seed)
    boxes = np.ones((samples, *spatial), dtype=bool)
    for axis, side in enumerate(spatial):
        longest = max(1, int(side * BOX[1]))
        lengths = draw.integers(min(longest, max(1, int(side * BOX[0]))), longest + 1, size=samples)
        starts = draw.integers(1 - lengths, side)
        places = np.arange(side)
        inside = (places >= starts[:, None]) & (places < (starts + lengths)[:, None])
        boxes &= inside.reshape(samples, *[side if other == axis else 1 for other in range(len(spatial))])
    return torch.from_numpy(boxes)


def _explained_again(study: Study, chosen: Chosen, image_id: str) -> Callable[[torch.Tensor], np.ndarray]:
    from workbench.explain.task import Batch

    def explain(inputs: torch.Tensor) -> np.ndarray:
        return study.again(Batch([image_id] * len(inputs), inputs), chosen.take([0] * len(inputs)))

    return explain


def _uniform(image: torch.Tensor, samples: int, draw: np.random.Generator) -> torch.Tensor:
    """Draw noise within ± each channel's range, ``(samples, C, *spatial)``."""
    drawn = draw.uniform(-1, 1, size=(samples, *image.shape[1:])).astype(np.float32)
    return torch.from_numpy(drawn).to(image.device) * channel_range(image)


def _shuffled(heat: np.ndarray, image_id: str, seed: int) -> np.ndarray:
    moved: np.ndarray = generator_of(f"shuffled {image_id}", seed).permutation(heat.ravel()).reshape(heat.shape)
    return moved


MEASURES = (
    Measure(
        "infidelity", "faithfulness", "lower", "infidelity | map of zeros", proportion=False,
        says="Mean squared difference between the map's sum over a random box and what the score loses when the box is replaced; in "
        "score units squared (Yeh et al. 2019, arXiv:1901.09392).",
    ),
    Measure(
        "scaled infidelity", "faithfulness", "lower", "scaled infidelity | shuffled map", proportion=False,
        says="Infidelity of the map times its best factor, as a part of the mean squared loss: 0 (every loss foretold) to 1 (none).",
    ),
)  # fmt: skip
MAX_SENSITIVITY = Measure(
    "max-sensitivity", "faithfulness", "lower", None, proportion=False,
    says="Largest change of the map under slight noise, relative to the map: 0 for none (Yeh et al. 2019, arXiv:1901.09392).",
)  # fmt: skip

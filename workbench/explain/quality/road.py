"""ROAD (Rong et al. 2022, ICML, arXiv:2202.00449): does the score follow the map when pixels are imputed, not blackened?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import InputError
from workbench.explain.draws import channel_range, generator_of
from workbench.explain.quality.imputation import AT_ONCE, impute
from workbench.explain.quality.measure import Measure, Outcome
from workbench.explain.quality.orders import BLURRED, BY_MAP, EDGES, RANDOM, blurred, edge_strength, random_ranks, ranks
from workbench.explain.quality.removal import curve_frame, outcome, score_of, scores_of, with_evidence
from workbench.explain.settings import check_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.explain.quality.removal import Score
    from workbench.explain.quality.study import Study

ENDS = ("most relevant first", "least relevant first")
ORDERS = (BY_MAP, RANDOM, EDGES, BLURRED)
NAME = "ROAD"


def road(
    study: Study,
    *,
    percentiles: Sequence[float] = (10, 20, 30, 40, 50, 60, 70, 80, 90),
    noise: float = 0.01,
    seed: int = 0,
) -> Outcome:
    """Remove the most and the least relevant pixels, fill them in from their neighbours, and compare the scores left.

    ``mean over percentiles of (score, least relevant removed − score, most relevant removed) / 2``: the number that
    pytorch-grad-cam's ``ROADCombined`` gives (the paper draws both curves); in units of the explained score, positive
    where the map is right, 0 for a random order.

    ROAD favours blurred maps: a blob that is removed cannot be guessed from its border, scattered pixels can. So the
    same number is given for a blurred copy of the map ("blurred map"), beside a random order and an edge detector. Where
    the blurred copy does as well, the map's fine structure was not what earned the number.

    Each image costs ``8 × percentiles`` forward passes, 72 by default.

    Parameters
    ----------
    percentiles : parts of the image removed, in per cent, each above 0 and below 100.
    noise : standard deviation of the normal noise on imputed pixels, as a part of the range (largest less smallest value) of
        each channel of each image; the paper's 0.01. Without noise a network could see where the image is too smooth.
    seed : of ties, of random orders and of the noise, together with each image's id.

    Returns
    -------
    Outcome : ``ROAD`` and its controls, in score units; ``curves["ROAD"]`` with columns id, curve (most or least relevant
        first), order, fraction, score.

    Raises
    ------
    InputError : where a number is out of range.
    """
    fractions = _checked(percentiles, noise)
    rows: dict[str, dict[str, float]] = {}
    frames = []
    for batch, chosen, maps in with_evidence(study, "ROAD"):
        places = np.stack(
            [
                ranks(maps, batch.ids, seed=seed), random_ranks(batch.ids, maps.shape[1:], seed=seed),
                ranks(edge_strength(batch.inputs), batch.ids, seed=seed), ranks(blurred(maps), batch.ids, seed=seed),
            ]
        )  # fmt: skip
        added = _noise(batch.inputs, batch.ids, noise, seed)
        scores = road_scores(
            score_of(study.task, chosen),
            batch.inputs,
            places,
            fractions=fractions,
            noise=added,
            at_once=study.task.batch_size,
        )
        numbers = (scores[1] - scores[0]).mean(-1) / 2
        for column, image_id in enumerate(batch.ids):
            rows[image_id] = {
                _column(order): float(number) for order, number in zip(ORDERS, numbers[:, column], strict=True)
            }
        frames.append(curve_frame(scores, curves=ENDS, orders=ORDERS, ids=batch.ids, fractions=fractions))
    return outcome(study, rows, MEASURES, {NAME: frames})


def road_scores(
    score: Score,
    inputs: torch.Tensor,
    places: np.ndarray,
    *,
    fractions: Sequence[float],
    noise: torch.Tensor,
    at_once: int,
) -> np.ndarray:
    """Score images of which a part is removed and imputed, from either end of an order.

    Parameters
    ----------
    score : gives the score of altered inputs and the images they are made of.
    inputs : ``(n, C, *spatial)``.
    places : int ``(orders, n, *spatial)``, from :func:`~workbench.explain.quality.orders.ranks`.
    fractions : parts removed, each within 0–1; at least one pixel is removed and one left.
    noise : ``(n, C, *spatial)``, added where pixels were imputed.
    at_once : altered inputs that go through the network together.

    Returns
    -------
    float64 ``(2, orders, n, fractions)``: most relevant first, then least relevant first.
    """
    orders, n = places.shape[:2]
    size = int(np.prod(places.shape[2:]))
    counts = np.clip(np.round(np.asarray(fractions) * size).astype(int), 1, size - 1)
    # Images outermost: what is solved together then needs about equally many steps, and comes from few images.
    image, end, order, step = (
        axis.ravel() for axis in np.meshgrid(range(n), range(2), range(orders), range(len(counts)), indexing="ij")
    )
    where = torch.from_numpy(places).to(inputs.device)

    def make(first: int, last: int) -> torch.Tensor:
        part = slice(first, last)
        rows = torch.from_numpy(image[part]).to(inputs.device)
        place = where[torch.from_numpy(order[part]).to(inputs.device), rows]
        place = torch.where(_as(end[part], place) == 0, place, size - 1 - place)
        removed = place < _as(counts[step[part]], place)
        # In the network's own precision only at the end: half precision would limit the solution.
        filled = impute(inputs[rows].float(), removed)
        return torch.where(removed[:, None], filled + noise[rows], filled).to(inputs.dtype)

    # Some more than one batch of the network are imputed together, which shares the solver's many small steps.
    batches = max(1, AT_ONCE // (at_once * inputs[0].numel()))
    flat = scores_of(score, image, make=make, at_once=at_once * batches)
    return flat.reshape(n, 2, orders, len(counts)).transpose(1, 2, 0, 3)


def _as(values: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    """One number a row, to be compared with `like`."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(like).reshape(-1, *[1] * (like.dim() - 1))


def _noise(inputs: torch.Tensor, ids: Sequence[str], noise: float, seed: int) -> torch.Tensor:
    """Draw one field an image: every order meets the same, so that it adds nothing to their difference."""
    drawn = [
        generator_of(f"noise on {image_id}", seed).standard_normal(inputs.shape[1:], dtype=np.float32)
        for image_id in ids
    ]
    return noise * channel_range(inputs) * torch.from_numpy(np.stack(drawn)).to(inputs.device)


def _checked(percentiles: Sequence[float], noise: float) -> list[float]:
    sound = isinstance(percentiles, list | tuple) and len(percentiles) > 0
    if not sound or not all(
        isinstance(p, int | float) and not isinstance(p, bool) and 0 < p < 100 for p in percentiles
    ):
        message = f"percentiles {percentiles!r} must be numbers above 0 and below 100, e.g. (10, 30, 50, 70, 90)."
        raise InputError(message)
    check_number("noise", noise, least=0, meaning="a part of each image's range; the paper's is 0.01")
    return [p / 100 for p in percentiles]


def _column(order: str) -> str:
    return NAME if order == BY_MAP else f"{NAME} | {order}"


SAYS = (
    "Mean over percentiles of (score without the least relevant pixels − score without the most relevant) / 2, removed pixels imputed from "
    "their neighbours; in score units, 0 for a random order (Rong et al. 2022, arXiv:2202.00449). ROAD favours blur: fine structure "
    "counts only where the map does better than its blurred copy."
)
MEASURES = tuple(
    Measure(NAME, "faithfulness", "higher", _column(control), proportion=False, says=SAYS)
    for control in (RANDOM, EDGES, BLURRED)
)

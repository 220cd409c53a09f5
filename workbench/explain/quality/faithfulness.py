"""Deletion and insertion (Petsiuk et al. 2018, arXiv:1806.07421): does the score follow the map when pixels go or come?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.explain.fill import Fill, check_fill
from workbench.explain.quality.measure import Measure, Outcome
from workbench.explain.quality.orders import BY_MAP, EDGES, RANDOM, edge_strength, random_ranks, ranks
from workbench.explain.quality.removal import curve_frame, outcome, score_of, scores_of, with_evidence
from workbench.explain.settings import check_whole

if TYPE_CHECKING:
    from workbench.explain.quality.removal import Score
    from workbench.explain.quality.study import Study

CURVES = ("deletion", "insertion")
ORDERS = (BY_MAP, RANDOM, EDGES)


def faithfulness(study: Study, *, steps: int = 16, fill: Any = "blur", seed: int = 0) -> Outcome:
    """Take pixels out of each image, and put them back, in the order of its map, and follow the explained score.

    **Deletion**: the part with the largest map values is replaced by the fill, from none of the image to all of it; a
    map that knows what the score rests on makes it fall at once, so a *small* area under the curve is good.
    **Insertion**: the same part is shown on the filled image; a *large* area is good. Areas are the trapezoid rule over
    the fraction 0–1 and thus a mean score.

    Scores are what was explained, a logit mostly, and areas are in its unit. RISE and Quantus use probabilities, which are
    flat where the network is sure; areas of the two kinds cannot be compared.

    A number alone means nothing: how fast the score falls depends on the network and the image. So the same images are
    also taken apart in random order and from the steepest edge on, by an order that knows nothing of the model. The
    reverse of a random order is one too, so that its deletion curve read backwards is its insertion curve and both
    areas are equal.

    Each image costs ``5 × (steps − 1) + 2`` forward passes, 77 by default.

    Parameters
    ----------
    steps : equal parts the image is taken out in, at least 2.
    fill : what replaces a pixel: ``"blur"``, ``"mean"``, ``"black"``, ``"inpaint"``, a number or an image, see
        :mod:`workbench.explain.fill`. Other fills give other numbers: a network may never have met a black hole, and its
        score then falls for that alone.
    seed : of ties and of random orders, together with each image's id.

    Returns
    -------
    Outcome : areas for the map and the two controls; ``curves["deletion and insertion"]`` with columns id, curve, order,
        fraction, score.

    Raises
    ------
    InputError : where a setting is out of range.
    """
    check_whole("steps", steps, least=2)
    check_fill(fill)
    fractions = (np.arange(steps + 1) / steps).tolist()
    rows: dict[str, dict[str, float]] = {}
    frames = []
    for batch, chosen, maps in with_evidence(study, "Faithfulness"):
        places = np.stack(
            [
                ranks(maps, batch.ids, seed=seed), random_ranks(batch.ids, maps.shape[1:], seed=seed),
                ranks(edge_strength(batch.inputs), batch.ids, seed=seed),
            ]
        )  # fmt: skip
        scores = removal_curves(
            score_of(study.task, chosen), Fill.of(batch.inputs, fill),
            places=places, steps=steps, at_once=study.task.batch_size,
        )  # fmt: skip
        areas = np.trapezoid(scores, fractions)
        for column, image_id in enumerate(batch.ids):
            rows[image_id] = {
                _column(curve, order): float(areas[k, o, column])
                for k, curve in enumerate(CURVES)
                for o, order in enumerate(ORDERS)
            }
        frames.append(curve_frame(scores, curves=CURVES, orders=ORDERS, ids=batch.ids, fractions=fractions))
    return outcome(study, rows, MEASURES, {"deletion and insertion": frames})


def removal_curves(score: Score, fill: Fill, *, places: np.ndarray, steps: int, at_once: int) -> np.ndarray:
    """Score images with more and more pixels replaced, and filled images with more and more pixels shown.

    Parameters
    ----------
    score : gives the score of altered inputs and the images they are made of.
    fill : the n images and what replaces them.
    places : int ``(orders, n, *spatial)``, from :func:`~workbench.explain.quality.orders.ranks`. Order number 1 must be
        random: its curves are one another's mirror image.
    steps : equal parts.
    at_once : altered inputs made at a time.

    Returns
    -------
    float64 ``(2, orders, n, steps + 1)``: deletion, then insertion, by fraction of pixels deleted or inserted.
    """
    orders, n = places.shape[:2]
    size = int(np.prod(places.shape[2:]))
    counts = np.round(np.arange(steps + 1) / steps * size).astype(int)
    random = ORDERS.index(RANDOM)
    # The ends are the same for every order, and are scored once: the image as it is, and the fill alone.
    inner = [
        (image, curve, order, step)
        for image in range(n)
        for curve in range(2)
        for order in range(orders)
        for step in range(1, steps)
        if not (curve == 1 and order == random)
    ]
    versions = np.array([(image, 0, 0, step) for image in range(n) for step in (0, steps)] + inner)
    where = torch.from_numpy(places).to(fill.images.device)

    def make(first: int, last: int) -> torch.Tensor:
        image, curve, order, step = (torch.from_numpy(column).to(where.device) for column in versions[first:last].T)
        each = (-1, *[1] * (where.dim() - 2))
        until = torch.from_numpy(counts).to(where)[step].reshape(each)
        return fill.hide((where[order, image] < until) ^ (curve == 1).reshape(each), image)

    flat = scores_of(score, versions[:, 0], make=make, at_once=at_once)
    curves = np.empty((2, orders, n, steps + 1))
    whole, bare = flat[: 2 * n].reshape(n, 2).T
    curves[0, ..., 0], curves[0, ..., -1] = whole, bare
    curves[1, ..., 0], curves[1, ..., -1] = bare, whole
    image, curve, order, step = versions[2 * n :].T
    curves[curve, order, image, step] = flat[2 * n :]
    curves[1, random] = curves[0, random, :, ::-1]
    return curves


def _column(curve: str, order: str) -> str:
    return f"{curve} area" if order == BY_MAP else f"{curve} area | {order}"


def _measures(curve: str, better: str, says: str) -> list[Measure]:
    """Return the area beside each of its controls."""
    return [
        Measure(_column(curve, BY_MAP), "faithfulness", better, _column(curve, control), proportion=False, says=says)
        for control in (RANDOM, EDGES)
    ]


MEASURES = (
    *_measures(
        "deletion", "lower",
        "Mean explained score while pixels are replaced, largest map values first; in score units (Petsiuk et al. 2018, arXiv:1806.07421).",
    ),
    *_measures(
        "insertion", "higher",
        "Mean explained score while pixels are shown on the filled image, largest map values first; in score units (Petsiuk et al. 2018, "
        "arXiv:1806.07421).",
    ),
)  # fmt: skip

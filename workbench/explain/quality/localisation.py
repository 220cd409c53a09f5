"""Localisation: do maps point at what a reader has marked, and better than the middle of the image would?"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InputError
from workbench.explain.quality.measure import Measure, Outcome
from workbench.explain.quality.places import POINTS, checked_masks, drawn_regions, pointing_masks
from workbench.explain.quality.pointing import (
    HALF,
    Ranked,
    average_precision,
    best_overlap,
    centre_prior,
    dice,
    mass_inside,
    overlap,
    pointing_game,
    rank_accuracy,
    ranked,
)
from workbench.explain.quality.similarity import flat
from workbench.progress import live

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workbench.explain.quality.study import Study

CENTRE, EVEN = "centre prior", "even map"
# Zhang et al. 2018 allow 15 pixels in images of about 500.
TOLERANCE = 0.03
# measure: the sentence, and whether an even map is a control of its own (it reaches the region's part of the area).
MEASURES = {
    "pointing game": ("1 where the map's maximum lies in {region} or within {tolerance} pixels of it, else 0 (Zhang et al. 2018)", False),
    "hit rate": ("1 where the map's maximum lies in {region}, else 0 (Saporta et al. 2022)", False),
    "mass inside": ("Part of the map's positive values inside {region}, 0–1 (Arras et al. 2022)", True),
    "rank accuracy": ("Part of the highest pixels, as many as {region} has, that lie inside it, 0–1 (Arras et al. 2022)", True),
    "IoU, best threshold": ("Overlap of {region} with the map cut at the threshold that suits this image best, 0–1: an upper bound", True),
    "Dice, best threshold": ("Dice of {region} and the map cut at the threshold that suits this image best, 0–1: an upper bound", False),
    "IoU, fixed threshold": ("Overlap of {region} with the pixels of at least {threshold:g} of the map's maximum, 0–1", False),
    "Dice, fixed threshold": ("Dice of {region} and the pixels of at least {threshold:g} of the map's maximum, 0–1", False),
    "average precision": ("Area under the precision–recall curve of the pixels of {region}, 0–1", True),
}  # fmt: skip
HITS = ("pointing game", "hit rate")


def localisation(
    study: Study,
    *,
    masks: Sequence[str] | None = None,
    boxes: Any = None,
    points: Any = None,
    tolerance: float | None = None,
    threshold: float = HALF,
) -> Outcome:
    """Measure how well each map points at the regions that a reader has marked.

    Beside each number stands what a Gaussian in the middle of the same image reaches (``centre prior``), and, where it has
    a meaning, an even map, which is the region's part of the area. Only what speaks for the class counts: positive values
    and the maximum. Left out, counted, and neither hit nor miss: images without the region, maps without evidence
    (zero or constant), and maps without a positive value. Regions are carried to the grid of the network's input, where the
    maps live; no forward pass is needed.

    Parameters
    ----------
    masks : names of the cohort's masks; by default those that cover less than a quarter of the image, a planted shortcut
        excepted. An empty list leaves the masks out.
    boxes, points : see :func:`~workbench.explain.quality.places.drawn_regions`. For points only the pointing game is played.
    tolerance : of the pointing game, in pixels of the input; by default 3 % of its shorter in-plane side.
    threshold : part of the map's maximum, above 0 and up to 1, for the overlap at a fixed threshold.

    Raises
    ------
    InputError : where a mask or id is unknown, a box or point does not lie in its image, or a setting is out of range.
    """
    import pandas as pd

    spatial = study.attributions.maps.shape[1:]
    allowed = _tolerance(tolerance, spatial)
    if not 0 < threshold <= 1:
        message = f"threshold {threshold!r} must be a part of the map's maximum, above 0 and up to 1; 0.5 is half."
        raise InputError(message)
    names = pointing_masks(study.cohort) if masks is None else checked_masks(study.cohort, masks)
    regions: dict[str, Callable[[str], np.ndarray | None]] = {name: partial(study.mask, name=name) for name in names}
    regions |= {kind: drawn.get for kind, drawn in drawn_regions(study, boxes, points).items()}
    prior = ranked(centre_prior(spatial))
    rows: list[dict[str, float]] = []
    left_out: dict[str, Counter[str]] = {region: Counter() for region in regions}
    with live("Localisation", len(study.attributions), keep=False) as shown:
        for image_id in study.attributions.ids:
            row: dict[str, float] = {}
            ranks = ranked(study.attributions.map(image_id))
            for region, find in regions.items():
                mask = find(image_id)
                reason = _reason(ranks, mask)
                if reason or mask is None:
                    left_out[region][reason] += 1
                    continue
                found = _scores(ranks, mask, region, tolerance=allowed, threshold=threshold)
                control = _scores(prior, mask, region, tolerance=allowed, threshold=threshold)
                for kind, value in found.items():
                    row |= {_name(kind, region): value, _name(kind, region, CENTRE): control[kind]}
                    if MEASURES[kind][1]:
                        row[_name(kind, region, EVEN)] = float(mask.mean())
            rows.append(row)
            shown.advance()
    measures = [one for region in regions for one in _measures(region, tolerance=allowed, threshold=threshold)]
    columns = list(dict.fromkeys(name for one in measures for name in (one.name, one.baseline) if name))
    table = pd.DataFrame(rows, index=pd.Index(study.attributions.ids, name="id"), columns=columns, dtype=np.float64)
    counted = {_name(kind, region): dict(c) for region, c in left_out.items() if c for kind in _kinds(region)}
    return Outcome(table, tuple(measures), counted)


def _tolerance(given: float | None, spatial: tuple[int, ...]) -> float:
    if given is None:
        return round(TOLERANCE * min(spatial[-2:]))
    if not (math.isfinite(given) and given >= 0):
        message = f"tolerance {given!r} must be a number of pixels, 0 or more."
        raise InputError(message)
    return given


def _reason(ranks: Ranked, mask: np.ndarray | None) -> str:
    """Say why this image has no value, or nothing."""
    if mask is None:
        return "no region known"
    if not mask.any():
        return "empty region"
    if flat(ranks.heat[None])[0]:
        return "map without evidence"
    return "" if ranks.points else "map without positive values"


def _scores(
    ranks: Ranked, mask: np.ndarray, region: str, *, tolerance: float, threshold: float
) -> dict[str, float]:  # fmt: skip
    found = {"pointing game": pointing_game(ranks, mask, tolerance=tolerance)}
    if region == POINTS:
        return found
    best, fixed = best_overlap(ranks, mask), overlap(ranks, mask, threshold=threshold)
    return found | {
        "hit rate": pointing_game(ranks, mask), "mass inside": mass_inside(ranks, mask),
        "rank accuracy": rank_accuracy(ranks, mask), "IoU, best threshold": best, "Dice, best threshold": dice(best),
        "IoU, fixed threshold": fixed, "Dice, fixed threshold": dice(fixed),
        "average precision": average_precision(ranks, mask),
    }  # fmt: skip


def _measures(region: str, *, tolerance: float, threshold: float) -> list[Measure]:
    named = f"the {region}" if region in {"boxes", POINTS} else f"mask {region}"
    measures = []
    for kind in _kinds(region):
        sentence, even = MEASURES[kind]
        says = sentence.format(region=named, tolerance=f"{tolerance:g}", threshold=threshold) + "."
        measures += [
            Measure(
                _name(kind, region), "localisation", "higher", _name(kind, region, control),
                proportion=kind in HITS, says=says,
            )
            for control in (CENTRE, *([EVEN] if even else []))
        ]  # fmt: skip
    return measures


def _kinds(region: str) -> tuple[str, ...]:
    return HITS[:1] if region == POINTS else tuple(MEASURES)


def _name(kind: str, region: str, control: str = "") -> str:
    return f"{kind}: {region}" + (f" | {control}" if control else "")

"""Shares: where the attribution lies, region by region, and whether a region holds more of it than its edges explain."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from workbench.explain.masks import mask_of
from workbench.explain.quality.measure import Measure, Outcome
from workbench.explain.quality.orders import EDGES, edge_strength
from workbench.explain.quality.places import checked_masks
from workbench.explain.quality.similarity import flat
from workbench.explain.quality.smoothness import as_smooth_as
from workbench.progress import live

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workbench.cohorts.cohort import Cohort
    from workbench.explain.quality.study import Study

EVEN = "even map"
ELSEWHERE = "elsewhere"
# A mask of which this much lies in a larger one is a part of it, as a lesion is of a breast.
WITHIN = 0.9
# Images in which two masks are compared.
ENOUGH = 50


def shares(study: Study, *, regions: Sequence[str] | None = None) -> Outcome:
    """Measure which part of each map lies in each mask of the cohort, and how dense it is there.

    **share**: part of the map's absolute values inside the region, 0–1, beside the region's part of the area, which an
    even map reaches. **positive share**, where some map is signed: the same of what speaks for the class. **density**:
    share over part of the area, how many times as strong the map is there as an even one, beside 1 and beside the
    density of an edge detector on the same image, blurred to the map's own smoothness. The last is the shortcut
    detector's control: a marker is bright and has sharp edges, and a map that merely follows edges is strong there too;
    only a map that is stronger than edges are says that the model looks at it.

    Regions are the masks, each for itself; masks that hold others, less these (``breast without lesion``); and what
    lies outside all (``elsewhere``). Shares of masks that overlap sum to more than 1. Maps are carried to the image's
    grid, so that a mask smaller than a pixel of the input still counts, and their part on the padding is left out. No
    forward pass is needed. Left out and counted: images without the region, and maps without evidence (zero or
    constant).

    Parameters
    ----------
    regions : names of masks; by default all the cohort has.

    Raises
    ------
    InputError : where a mask is unknown, or the maps cannot be carried to the images' grid.
    """
    import pandas as pd

    names = tuple(study.cohort.masks) if regions is None else checked_masks(study.cohort, regions)
    parts = _parts(study.cohort, names)
    wanted = (
        [*names, *(f"{whole} without {' or '.join(held)}" for whole, held in parts.items()), ELSEWHERE] if names else []
    )
    signed = study.attributions.signed
    rows: dict[str, dict[str, float]] = {}
    left_out: dict[str, Counter[str]] = {region: Counter() for region in wanted}
    for image_id, masks, edges in _images(study, names):
        found = _regions(masks, parts)
        weights = _weights(study, image_id, edges, found)
        rows[image_id] = {}
        for region in wanted:
            mask = found.get(region)
            reason = _reason(mask, evidence=bool(weights))
            if reason or mask is None:
                left_out[region][reason] += 1
            else:
                rows[image_id] |= _row(region, mask, weights, signed=signed)
    own = {region: _measures(region, signed=signed) for region in wanted}
    measures = [measure for listed in own.values() for measure in listed]
    columns = list(dict.fromkeys(name for one in measures for name in (one.name, one.baseline) if name))
    table = pd.DataFrame(list(rows.values()), index=pd.Index(list(rows), name="id"), columns=columns, dtype=np.float64)
    counted = {one.name: dict(left_out[region]) for region in wanted if left_out[region] for one in own[region]}
    return Outcome(table, tuple(measures), counted)


def share_of(weight: np.ndarray, mask: np.ndarray) -> float:
    """Return the part of a non-negative map that lies inside a mask, 0–1; NaN where the map is zero or the mask empty.

    Examples
    --------
    >>> share_of(np.array([[3.0, 1.0], [0.0, 0.0]]), np.array([[True, False], [True, False]]))
    0.75
    """
    total = float(weight.sum(dtype=np.float64))
    return float(weight[mask].sum(dtype=np.float64)) / total if total > 0 and mask.any() else float("nan")


def _images(study: Study, names: Sequence[str]) -> Iterator[tuple[str, dict[str, np.ndarray], np.ndarray]]:
    """Yield each image's id, those of its masks that are known, and the edges of what the network sees."""
    with live("Shares", len(study.attributions), keep=False) as shown:
        for batch in study.task.batches():
            for image_id, edges in zip(batch.ids, edge_strength(batch.inputs), strict=True):
                masks = {name: mask_of(study.cohort, image_id, name) for name in names}
                yield image_id, {name: mask for name, mask in masks.items() if mask is not None}, edges
                shown.advance()


def _parts(cohort: Cohort, names: Sequence[str]) -> dict[str, list[str]]:
    """Return, by mask, the masks that lie in it."""
    inside: dict[tuple[str, str], list[float]] = {}
    for image_id in cohort.ids[:ENOUGH]:
        masks = {name: mask for name in names if (mask := mask_of(cohort, image_id, name)) is not None and mask.any()}
        for small, part in masks.items():
            for large, whole in masks.items():
                if small != large and part.sum() < whole.sum():
                    inside.setdefault((large, small), []).append(float((part & whole).sum() / part.sum()))
    found: dict[str, list[str]] = {}
    for (large, small), covered in inside.items():
        if np.mean(covered) >= WITHIN:
            found.setdefault(large, []).append(small)
    return found


def _regions(masks: Mapping[str, np.ndarray], parts: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Return masks, masks without their parts, and what lies outside all; a mask that is not known holds nothing."""
    if not masks:
        return {}
    regions = dict(masks)
    for whole, own in parts.items():
        if whole in masks:
            taken = np.any([masks[name] for name in own if name in masks] or [masks[whole] & False], axis=0)
            regions[f"{whole} without {' or '.join(own)}"] = masks[whole] & ~taken
    return regions | {ELSEWHERE: ~np.any(list(masks.values()), axis=0)}


def _weights(
    study: Study, image_id: str, edges: np.ndarray, regions: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Carry a map's magnitude, its positive part and the edges to the image's grid; nothing for a map without evidence."""
    heat = study.attributions.map(image_id)
    if not regions or flat(heat[None])[0]:
        return {}
    spatial = regions[ELSEWHERE].shape
    weights = {"share": np.abs(heat), "positive share": np.maximum(heat, 0), EDGES: as_smooth_as(edges, np.abs(heat))}
    recipe = study.attributions.preprocessing
    if recipe is None:
        study.attributions.on_image(image_id, spatial)  # refuses another grid, and says what would help
        return weights
    return {name: recipe.to_image(weight, spatial) for name, weight in weights.items()}


def _reason(mask: np.ndarray | None, *, evidence: bool) -> str:
    if mask is None:
        return "no region known"
    if not mask.any():
        return "empty region"
    return "" if evidence else "map without evidence"


def _row(region: str, mask: np.ndarray, weights: Mapping[str, np.ndarray], *, signed: bool) -> dict[str, float]:
    area = float(mask.mean())
    share = share_of(weights["share"], mask)
    row = {
        f"share: {region}": share, f"share: {region} | {EVEN}": area,
        f"density: {region}": share / area, f"density: {region} | {EVEN}": 1.0,
        f"density: {region} | {EDGES}": share_of(weights[EDGES], mask) / area,
    }  # fmt: skip
    if signed:
        row |= {
            f"positive share: {region}": share_of(weights["positive share"], mask),
            f"positive share: {region} | {EVEN}": area,
        }
    return row


def _measures(region: str, *, signed: bool) -> list[Measure]:
    place = "outside all masks" if region == ELSEWHERE else f"inside {region}"
    says = {
        "share": f"Part of the map's absolute values {place}, 0–1.",
        "positive share": f"Part of the map's positive values {place}, 0–1.",
        "density": f"How many times as strong the map is {place} as an even map of the same sum; 1 is as strong.",
    }
    controls = [("share", EVEN), *([("positive share", EVEN)] if signed else []), ("density", EVEN), ("density", EDGES)]
    return [
        Measure(f"{kind}: {region}", "shares", "", f"{kind}: {region} | {control}", proportion=False, says=says[kind])
        for kind, control in controls
    ]

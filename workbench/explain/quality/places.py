"""Where a map should point: the cohort's masks, boxes drawn by a reader, or points, as regions on the input's grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown_name
from workbench.explain.carry import box_mask, on_input

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort
    from workbench.explain.quality.study import Study

BOXES, POINTS = "boxes", "points"
# A region that covers more, such as an organ, is hit by a map that knows nothing.
LARGEST = 0.25
# Masks looked at to tell how much of the image they cover.
ENOUGH = 50
CORNERS = {2: ("top", "left", "bottom", "right"), 3: ("first", "top", "left", "last", "bottom", "right")}
AXES = {2: ("row", "column"), 3: ("plane", "row", "column")}


def pointing_masks(cohort: Cohort) -> tuple[str, ...]:
    """Return the masks worth pointing at: those that cover less than a quarter of the image on average.

    The shortcut that a phantom has planted (``card["truth"]["shortcut_mask"]``) is not one of them.
    """
    truth = cohort.card.get("truth", {})
    planted = truth.get("shortcut_mask") if isinstance(truth, Mapping) else None
    return tuple(name for name in cohort.masks if name != planted and covers(cohort, name) < LARGEST)


def checked_masks(cohort: Cohort, names: Sequence[str]) -> tuple[str, ...]:
    """Refuse a mask that the cohort has not."""
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in cohort.masks:
            raise unknown_name("mask", name, cohort.masks)
    return names


def drawn_regions(study: Study, boxes: Any = None, points: Any = None) -> dict[str, dict[str, np.ndarray]]:
    """Turn boxes and points into regions ``{"boxes": {id: bool (*spatial)}}`` on the input's grid.

    Parameters
    ----------
    study : whose images; coordinates are in each image's own pixels, as stored.
    boxes : mapping of image id to ``(top, left, bottom, right)``, of a volume ``(first, top, left, last, bottom, right)``, or
        to a list of them; or a DataFrame with these columns and the ids in its index or in a column ``id``, a row a box.
        The second corner is not part of the box. Several boxes of one image are one region.
    points : the same with ``(row, column)`` or ``(plane, row, column)``.

    Raises
    ------
    InputError : where an id is unknown, a number is missing, corners are swapped, or something lies outside its image.
    """
    found = {}
    axes = study.attributions.maps.ndim - 1
    for kind, given, names in ((BOXES, boxes, CORNERS[axes]), (POINTS, points, AXES[axes])):
        if given is None:
            continue
        regions = {}
        for image_id, rows in _rows(given, names, kind).items():
            if image_id not in study.cohort.table.index:
                where = f"image id among the {kind}"
                raise unknown_name(where, image_id, study.cohort.ids[:5])
            spatial = study.cohort.image(image_id).shape[1:]
            region = np.zeros(spatial, dtype=bool)
            for row in rows:
                region |= _drawn(row, names, spatial=spatial, image_id=image_id, kind=kind)
            regions[image_id] = on_input(region, study.model, study.attributions.maps.shape[1:], image_id)
        found[kind] = regions
    return found


def _rows(given: Any, names: tuple[str, ...], kind: str) -> dict[str, list[tuple[float, ...]]]:
    """Bring a mapping or a DataFrame to ``{id: [numbers, …]}``."""
    wanted = f"({', '.join(names)})"
    if isinstance(given, pd.DataFrame):
        for name in names:
            if name not in given.columns:
                message = f"the {kind} have no column {name!r}, only {', '.join(map(str, given.columns))}; they need {wanted}."
                raise InputError(message)
        ids = given["id"] if "id" in given.columns else given.index.to_series()
        found: dict[str, list[tuple[float, ...]]] = {}
        for image_id, row in zip(ids, given[list(names)].itertuples(index=False), strict=True):
            found.setdefault(str(image_id), []).append(tuple(row))
        return found
    if not isinstance(given, Mapping):
        message = f"{kind} of type {type(given).__name__} cannot be read: give a mapping of image id to {wanted}, or a DataFrame."
        raise InputError(message)
    listed = {}
    for image_id, value in given.items():
        array = np.atleast_2d(np.asarray(value, dtype=object))
        if array.ndim != 2 or array.shape[1] != len(names):
            message = f"{kind} of image {image_id!r}: {value!r} is not {wanted}, nor a list of such."
            raise InputError(message)
        listed[str(image_id)] = [tuple(row) for row in array]
    return listed


def _drawn(
    row: tuple[float, ...], names: tuple[str, ...], *, spatial: tuple[int, ...], image_id: str, kind: str
) -> np.ndarray:
    try:
        numbers = np.array(row, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.full(len(row), np.nan)
    if not np.isfinite(numbers).all():
        message = (
            f"{kind} of image {image_id!r}: {row} holds something that is no number; {', '.join(names)} are needed."
        )
        raise InputError(message)
    if kind == BOXES:
        # A box between pixels covers those it cuts.
        half = len(row) // 2
        outward = [*np.floor(numbers[:half]).astype(int).tolist(), *np.ceil(numbers[half:]).astype(int).tolist()]
        return box_mask(outward, spatial, image_id)
    place = np.floor(numbers).astype(int)
    if (place < 0).any() or (place >= spatial).any():
        message = (
            f"the point ({', '.join(f'{number:g}' for number in numbers)}) does not lie in image {image_id!r} of "
            f"{' × '.join(map(str, spatial))} pixels; give ({', '.join(names)}), counted from 0."
        )
        raise InputError(message)
    region = np.zeros(spatial, dtype=bool)
    region[tuple(place)] = True
    return region


def covers(cohort: Cohort, name: str) -> float:
    """Return the mean part of the image that a mask covers where it is not empty; 1 where it always is."""
    parts: list[float] = []
    for image_id in cohort.ids:
        mask = cohort.mask(image_id, name)
        if mask is not None and mask.any():
            parts.append(float(mask.mean()))
        if len(parts) >= ENOUGH:
            break
    return float(np.mean(parts)) if parts else 1.0

"""Cases in columns, what each method saw in rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError, unknown_name
from workbench.explain.attributions import Attributions
from workbench.explain.masks import mask_of
from workbench.explain.titles import method_title
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import FAINT, POINTS_PER_MM, font_size, plainly, styled, width_in_mm, wrapped
from workbench.imaging.compose import DIVERGING, SEQUENTIAL, heat_limit, overlay, to_display, to_rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.cohorts.cohort import Cohort

OPACITY = 0.8
# A mask that covers more of the image than this frames it (the breast) and does not point.
POINTING = 0.25
OUTLINES = (
    ("white", "-", "white"),
    ("#56B4E9", (0, (3, 1.5)), "blue, dashed"),
    ("#E69F00", (0, (1, 1)), "orange, dotted"),
)
LEFT, FOOT, GAP = 18.0, 10.0, 1.5  # mm: the methods' names, the colour scales, between two tiles


def attribution_grid(
    attributions: Attributions | Sequence[Attributions] | Mapping[str, Attributions], cohort: Cohort, *,
    ids: Iterable[str] | None = None, cases: int = 4, width: float | str = "double", style: str = "default",
) -> Figure:  # fmt: skip
    """Draw cases side by side: the image on top, below it the map of each method over the image.

    Each method has one colour scale for all cases. Masks that point at something are outlined.

    Parameters
    ----------
    attributions : one value, several, or several by the name to print.
    cohort : holds the images, and the masks if there are any.
    ids : the cases; by default those that tell most: of the images that are of the class explained and of those that
        are not, the ones with the highest and the lowest score, in turn.
    cases : how many to pick where `ids` is not given.
    width : mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Returns
    -------
    The figure.

    Raises
    ------
    InputError : where an id has no map or no image.
    """
    methods = _named(attributions)
    first = next(iter(methods.values()))
    chosen = list(ids) if ids is not None else telling_cases(first, cases)
    for name, maps in methods.items():
        for image_id in chosen:
            if image_id not in maps.ids:
                kind = f"image id (in the maps of {name})"
                raise unknown_name(kind, image_id, get_close_matches(image_id, maps.ids, 5) or maps.ids[:5])
    if not chosen:
        message = "there is no case to draw; give ids=[…], or cases=1 or more."
        raise InputError(message)
    parents = {f"attributions {name}": maps.provenance for name, maps in methods.items()}
    settings = {"ids": chosen, "methods": list(methods), "style": style}
    made = figure_provenance("attribution_grid", settings, {**parents, "cohort": cohort.provenance})
    wide = width_in_mm(width, style)
    tile = (wide - LEFT - GAP * (len(chosen) - 1)) / len(chosen)
    drawn = [_case(methods, cohort, image_id) for image_id in chosen]
    high = tile * max(case.pictures[0].shape[0] / case.pictures[0].shape[1] for case in drawn)
    with styled(style):
        captions = [[line for said in case.caption for line in wrapped(said, _size(), tile)] for case in drawn]
        key = _key(drawn, list(cohort.masks))
        top = max(len(lines) for lines in captions) * _line() + 2
        foot = FOOT + (_line() + 1 if key else 0)
        tall = top + (len(methods) + 1) * (high + GAP) + foot
        figure = Figure(wide, tall, style=style, provenance=made)
        for column, case in enumerate(drawn):
            for row, name in enumerate(["image", *methods]):
                left, bottom = LEFT + column * (tile + GAP), tall - top - row * (high + GAP) - high
                ax = figure.add_axes((left / wide, bottom / tall, tile / wide, high / tall))
                _tile(ax, case, row)
                if column == 0:
                    method = name.replace(" ", "\n")
                    plainly(ax.text(-0.04, 0.5, method, transform=ax.transAxes, ha="right", va="center"))
                if row == 0:
                    plainly(ax.set_title("\n".join(captions[column]), fontsize=_size(), loc="left", pad=2))
        _scales(figure, methods, foot - FOOT)
        plainly(figure.text(LEFT / wide, 0.8 / tall, key, fontsize=_size(), color=FAINT))
    return figure


@dataclass(frozen=True)
class Case:
    """One column of the grid: the image and each method's map over it, masks by name, and what is said of them."""

    pictures: Sequence[np.ndarray]
    outlines: Mapping[int, np.ndarray]
    flags: Sequence[str]
    caption: Sequence[str]


def telling_cases(attributions: Attributions, count: int) -> list[str]:
    """Pick cases that tell most: of the explained class or not, with the highest and the lowest score, in turn."""
    label = attributions.table["label"].to_numpy()
    hit = label == np.asarray(attributions.target_names)
    order = np.argsort(-attributions.scores, kind="stable")
    of, not_of = [k for k in order if hit[k]], [k for k in order if not hit[k]]
    queues = [of, not_of, of[::-1], not_of[::-1]]
    picked: list[int] = []
    while len(picked) < min(count, len(order)):
        for queue in queues:
            fresh = next((k for k in queue if k not in picked), None)
            if fresh is not None and len(picked) < count:
                picked.append(fresh)
    return [attributions.ids[k] for k in picked]


def _named(given: Attributions | Sequence[Attributions] | Mapping[str, Attributions]) -> dict[str, Attributions]:
    if isinstance(given, Mapping):
        return dict(given)
    several = [given] if isinstance(given, Attributions) else list(given)
    named = {method_title(one.method): one for one in several}
    if not named or len(named) < len(several):
        message = "give at least one Attributions, and a dict {name: attributions} where two are of the same method."
        raise InputError(message)
    return named


def _case(methods: Mapping[str, Attributions], cohort: Cohort, image_id: str) -> Case:
    image = cohort.image(image_id)
    heats = [maps.on_image(image_id, image.shape[1:]) for maps in methods.values()]
    first = next(iter(methods.values()))
    row = first.row(image_id)
    score = f"{first.scores[row]:z.1f}".replace("-", "−")
    caption = [
        f"true class: {first.table['label'].iloc[row]}",
        f"score for {first.target_names[row]} ({first.explained}): {score}",
    ]
    at = _telling_slice(heats[0]) if image.ndim == 4 else None
    if at is not None:
        caption.append(f"slice {at + 1} of {image.shape[1]}")
    grey = to_display(image, at=at)
    pictures = [to_rgb(grey)]
    for maps, heat in zip(methods.values(), heats, strict=True):
        flat = heat if at is None else heat[at]
        pictures.append(overlay(grey, flat, opacity=OPACITY, limit=heat_limit(maps.maps), signed=maps.signed))
    outlines = {}
    for place, name in enumerate(cohort.masks):
        mask = mask_of(cohort, image_id, name)
        if mask is not None and 0 < mask.mean() < POINTING:
            flat_mask = mask if at is None else mask[at]
            if flat_mask.any() and not flat_mask.all():
                outlines[place] = flat_mask
    flags = ["", *(maps.flags[maps.row(image_id)] for maps in methods.values())]
    return Case(pictures, outlines, flags, caption)


def _telling_slice(heat: np.ndarray) -> int:
    """Return the slice with most evidence; the middle one where there is none, or as much everywhere."""
    strength = np.abs(heat).sum(axis=(1, 2))
    return int(strength.argmax()) if strength.max() > strength.min() else len(strength) // 2


def _tile(ax: Axes, case: Case, row: int) -> None:
    ax.imshow(case.pictures[row], interpolation="bilinear")
    for place, mask in case.outlines.items():
        colour, dash, _ = OUTLINES[place % len(OUTLINES)]
        ax.contour(mask, levels=[0.5], colors=[colour], linewidths=0.6, linestyles=[dash])
    ax.set_axis_off()
    if case.flags[row]:
        # That a map shows nothing is itself a finding.
        box = {"facecolor": "black", "edgecolor": "none", "pad": 1.5}
        ax.text(0.5, 0.04, case.flags[row], transform=ax.transAxes, ha="center", color="white", fontsize=_size(), bbox=box)  # fmt: skip


def _key(drawn: Sequence[Case], names: Sequence[str]) -> str:
    places = sorted({place for case in drawn for place in case.outlines})
    said = [f"{names[place]} ({OUTLINES[place % len(OUTLINES)][2]})" for place in places]
    return f"Outlined: {', '.join(said)}" if said else ""


def _size() -> float:
    return font_size("legend.fontsize") - 1


def _line() -> float:
    return _size() * 1.25 / POINTS_PER_MM


def _scales(figure: Figure, methods: Mapping[str, Attributions], above: float) -> None:
    """Draw a colour scale for unsigned and one for signed maps, `above` mm higher than the foot of the figure."""
    wide, tall = (float(side) * 25.4 for side in figure.get_size_inches())
    kinds = sorted({maps.signed for maps in methods.values()})
    for place, signed in enumerate(kinds):
        ramp = np.linspace(-1 if signed else 0, 1, 256)[None]
        left = LEFT + place * (wide - LEFT) / 2
        ax = figure.add_axes(
            (left / wide, (above + FOOT - 5) / tall, min(40, (wide - LEFT) / 2 - 14) / wide, 2.2 / tall)
        )
        cmap = DIVERGING if signed else SEQUENTIAL
        strip = overlay(np.full(ramp.shape, 0.35), ramp, opacity=OPACITY, limit=1, signed=signed, cmap=cmap)
        ax.imshow(strip, aspect="auto", extent=(float(ramp[0, 0]), 1, 0, 1))
        ax.set_yticks([])
        names = {-1: "against", 0: "0", 1: "for the class"} if signed else {0: "0", 1: "most evidence"}
        ax.set_xticks(list(names), list(names.values()))
        for spine in ax.spines.values():
            spine.set_visible(False)

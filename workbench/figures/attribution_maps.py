"""Cases in rows, what each method saw in columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError, unknown_name
from workbench.explain.attributions import Attributions
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import elided, plainly, styled, width_in_mm
from workbench.imaging.compose import DIVERGING, SEQUENTIAL, heat_limit, overlay, to_display, to_rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.cohorts.cohort import Cohort

NAMES = {"gradcam": "Grad-CAM", "shap": "SHAP", "expected-gradients": "Expected gradients"}
OPACITY = 0.8
# A mask that covers more of the image than this frames it (the breast) and does not point.
POINTING = 0.25
OUTLINES = (("white", "-"), ("#56B4E9", (0, (3, 1.5))))
CAPTION, HEAD, FOOT, GAP = 9.0, 5.0, 11.0, 1.5  # mm


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
    tile = (wide - 18 - GAP * (len(chosen) - 1)) / len(chosen)
    pictures = {image_id: _pictures(methods, cohort, image_id) for image_id in chosen}
    aspect = max(shown[0].shape[0] / shown[0].shape[1] for shown, _ in pictures.values())
    high = tile * aspect
    tall = CAPTION + (len(methods) + 1) * (high + GAP) + FOOT
    with styled(style):
        figure = Figure(wide, tall, style=style, provenance=made)
        for column, image_id in enumerate(chosen):
            shown, outlines = pictures[image_id]
            for row, picture in enumerate(shown):
                left, bottom = 18 + column * (tile + GAP), tall - CAPTION - row * (high + GAP) - high
                ax = figure.add_axes((left / wide, bottom / tall, tile / wide, high / tall))
                _tile(ax, picture, outlines)
                if row == 0:
                    _caption(ax, first, image_id, tile)
                if column == 0:
                    name = ["image", *methods][row]
                    plainly(
                        ax.text(-0.04, 0.5, name.replace(" ", "\n"), transform=ax.transAxes, ha="right", va="center")
                    )
        _scales(figure, methods, cohort, chosen)
    return figure


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
    named = {NAMES.get(one.method, one.method): one for one in several}
    if not named or len(named) < len(several):
        message = "give at least one Attributions, and a dict {name: attributions} where two are of the same method."
        raise InputError(message)
    return named


def _pictures(
    methods: Mapping[str, Attributions], cohort: Cohort, image_id: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    image = cohort.image(image_id)
    heats = [maps.on_image(image_id, image.shape[1:]) for maps in methods.values()]
    # Of a volume, the slice with most evidence by the first method is the one to see.
    at = int(np.abs(heats[0]).sum(axis=(1, 2)).argmax()) if image.ndim == 4 else None
    grey = to_display(image, at=at)
    shown = [to_rgb(grey)]
    for maps, heat in zip(methods.values(), heats, strict=True):
        flat = heat if at is None else heat[at]
        shown.append(overlay(grey, flat, opacity=OPACITY, limit=heat_limit(maps.maps), signed=maps.signed))
    outlines = []
    for name in cohort.masks:
        mask = cohort.mask(image_id, name)
        if mask is not None and 0 < mask.mean() < POINTING:
            outlines.append(mask if at is None else mask[at])
    return shown, outlines


def _tile(ax: Axes, picture: np.ndarray, outlines: Sequence[np.ndarray]) -> None:
    ax.imshow(picture, interpolation="bilinear")
    for place, mask in enumerate(outlines):
        colour, dash = OUTLINES[place % len(OUTLINES)]
        if mask.any() and not mask.all():
            ax.contour(mask, levels=[0.5], colors=[colour], linewidths=0.6, linestyles=[dash])
    ax.set_axis_off()


def _caption(ax: Axes, maps: Attributions, image_id: str, tile: float) -> None:
    import matplotlib as mpl

    size = mpl.rcParams["legend.fontsize"] - 1
    row = maps.ids.index(image_id)
    lines = [f"truth: {maps.table['label'].iloc[row]}", f"logit of {maps.target_names[row]}: {maps.scores[row]:.1f}"]
    lines[1] = maps.flags[row] or lines[1]
    text = "\n".join(elided(line, size, tile) for line in lines).replace("-", "−" if not maps.flags[row] else "-")
    plainly(ax.set_title(text, fontsize=size, loc="left", pad=2))


def _scales(figure: Figure, methods: Mapping[str, Attributions], cohort: Cohort, chosen: Sequence[str]) -> None:
    wide, tall = (float(side) * 25.4 for side in figure.get_size_inches())
    kinds = sorted({maps.signed for maps in methods.values()})
    for place, signed in enumerate(kinds):
        ramp = np.linspace(-1 if signed else 0, 1, 256)[None]
        left = 18 + place * (wide - 18) / 2
        ax = figure.add_axes((left / wide, (FOOT - 5) / tall, min(40, (wide - 22) / 2) / wide, 2.2 / tall))
        strip = overlay(
            np.full(ramp.shape, 0.35),
            ramp,
            opacity=OPACITY,
            limit=1,
            signed=signed,
            cmap=DIVERGING if signed else SEQUENTIAL,
        )
        ax.imshow(strip, aspect="auto", extent=(float(ramp[0, 0]), 1, 0, 1))
        ax.set_yticks([])
        ax.set_xticks(
            [-1, 0, 1] if signed else [0, 1], ["against", "0", "for the class"] if signed else ["0", "most evidence"]
        )
        for spine in ax.spines.values():
            spine.set_visible(False)

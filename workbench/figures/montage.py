"""Some images of a cohort side by side."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import POINTS_PER_MM, elided, font_size, plainly, styled, width_in_mm
from workbench.imaging.compose import to_display, to_rgb

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort

TILE, GAP = 28.0, 1.5  # mm; a tile is about this wide


def cohort_montage(cohort: Cohort, n: int = 12, *, width: float | str = "double", style: str = "default") -> Figure:
    """Draw `n` images, the classes in turn, evenly along the table, each with its class and id.

    Parameters
    ----------
    cohort : where they come from; of a volume the middle slice is shown.
    n : how many, 1 or more; fewer where a cohort or a class has fewer.
    width : mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Returns
    -------
    The figure.

    Raises
    ------
    InputError : where there is nothing to draw.
    """
    if n < 1 or len(cohort) == 0:
        message = f"there is nothing to draw: the cohort has {len(cohort)} images and n is {n}; both must be 1 or more."
        raise InputError(message)
    chosen = _spread(cohort, n)
    made = figure_provenance("cohort_montage", {"ids": chosen, "style": style}, {"cohort": cohort.provenance})
    wide = width_in_mm(width, style)
    columns = min(len(chosen), max(2, round(wide / TILE)))
    pictures = [to_rgb(to_display(cohort.image(image_id))) for image_id in chosen]
    tile = (wide - GAP * (columns - 1)) / columns
    high = tile * max(picture.shape[0] / picture.shape[1] for picture in pictures)
    with styled(style):
        size = font_size("legend.fontsize") - 1
        row_high = high + GAP + 2 * size * 1.25 / POINTS_PER_MM
        tall = row_high * -(-len(chosen) // columns)
        figure = Figure(wide, tall, style=style, provenance=made)
        for place, (image_id, picture) in enumerate(zip(chosen, pictures, strict=True)):
            row, column = divmod(place, columns)
            corner = (column * (tile + GAP) / wide, (tall - (row + 1) * row_high + GAP / 2) / tall)
            ax = figure.add_axes((*corner, tile / wide, high / tall))
            ax.imshow(picture, interpolation="bilinear")
            ax.set_axis_off()
            lines = (str(cohort.table.at[image_id, "label"]), image_id)
            said = "\n".join(elided(line, size, tile - 0.5) for line in lines)
            plainly(ax.set_title(said, fontsize=size, loc="left", pad=2))
    return figure


def _spread(cohort: Cohort, count: int) -> list[str]:
    ids, share = np.asarray(cohort.ids), -(-count // len(cohort.classes))
    parts = [ids[cohort.labels == place] for place in range(len(cohort.classes))]
    even = [part[np.linspace(0, len(part) - 1, min(share, len(part))).round().astype(int)] for part in parts]
    in_turn = chain.from_iterable(zip_longest(*even))
    return [str(image_id) for image_id in in_turn if image_id is not None][:count]

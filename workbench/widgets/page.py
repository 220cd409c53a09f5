"""What the widgets with pictures share: their module and style, thumbnails on request, and text for a table's cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.errors import InputError
from workbench.imaging.compose import thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workbench.cohorts.cohort import Cohort

STATIC = Path(__file__).parent / "static"


def source(*names: str) -> str:
    """Join scripts or style sheets of ``static/`` to one text: a widget is one module, and nothing has to be bundled."""
    return "\n".join((STATIC / name).read_text(encoding="utf-8") for name in names)


def thumbnails(cohort: Cohort, ids: Iterable[str], size: int = 112) -> dict[str, str]:
    """Return thumbnails as ``data:`` addresses by id; an image that cannot be read has an empty one."""
    pictures = {}
    for image_id in ids:
        try:
            pictures[image_id] = thumbnail(cohort.image(image_id), size)
        except InputError:
            pictures[image_id] = ""
    return pictures


def facts(cohort: Cohort, image_id: str) -> list[list[str]]:
    """Return what the table says of one image, as pairs of column and text, the usual ones first."""
    row = cohort.table.loc[image_id]
    first = ["patient", "label", *cohort.attributes]
    columns = [*first, *(column for column in cohort.table.columns if column not in first)]
    return [[str(column), text(row[column])] for column in columns]


def text(value: Any) -> str:
    """Return one value of a table as a reader writes it; a missing one is ``"missing"``."""
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "missing"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)

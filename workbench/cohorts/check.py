"""The check at a cohort's door: what it refuses, it refuses by row, column and mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort


def check_cohort(cohort: Cohort) -> None:
    """Raise InputError where the cohort's table, classes and pixels do not fit together."""
    table = cohort.table
    if len(table) == 0:
        message = "the cohort is empty: no row is left. Check the table, or the condition that chose its rows."
        raise InputError(message)
    for column in ("patient", "label", *cohort.attributes):
        if column not in table.columns:
            message = (
                f"column {column!r} is missing from the cohort's table; it has {', '.join(map(str, table.columns))}."
            )
            raise InputError(message)
    if not table.index.is_unique:
        twice = table.index[table.index.duplicated()][0]
        message = f"image id {twice!r} stands on two rows; give every image an id of its own."
        raise InputError(message)
    strange = ~table["label"].isin(cohort.classes)
    if strange.any():
        row = table.index[strange][0]
        message = f"row {row!r}, column 'label': {table.loc[row, 'label']!r} is none of the classes {cohort.classes}."
        raise InputError(message)
    for column in ("patient", "label"):
        missing = table[column].isna()
        if missing.any():
            message = (
                f"image {table.index[missing][0]!r}, column {column!r}: the value is missing, in {int(missing.sum())} rows. "
                "Fill it in, or leave the rows out."
            )
            raise InputError(message)
    without = next((image_id for image_id in table.index if not cohort.pixels.has(image_id)), None)
    if without is not None:
        message = f"row {without!r} has no image; leave the row out, or give its image."
        raise InputError(message)

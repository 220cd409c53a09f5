"""Two models' predictions of the same images: matched by id, and refused where they speak of different things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from workbench.predictions import Predictions


def matched(
    first: Predictions, second: Predictions, attributes: Sequence[str]
) -> tuple[Predictions, Predictions, tuple[str, ...]]:
    """Return the predictions of the images that both hold, in the first's order, and a sentence for what was left out.

    Attributes are the first's; where the second has them too, they must agree, as labels and patients must.

    Raises
    ------
    InputError : where no id stands in both, or label, patient or attribute of an image differ.
    """
    common = [image for image in first.ids if image in second.table.index]
    if not common:
        message = (
            f"no image id stands in both tables (the first has {first.ids[0]!r}, the second {second.ids[0]!r}); name the id "
            "column in Predictions.from_table(…, id=…), or compare different images with paired=False."
        )
        raise InputError(message)
    told = tuple(
        f"{len(one) - len(common)} of the {len(one)} images of the {name} model are left out: the other did not score them "
        f"({', '.join(map(repr, _without(one, other)[:3]))}{', …' if len(one) - len(common) > 3 else ''})."
        for name, one, other in (("first", first, second), ("second", second, first))
        if len(one) > len(common)
    )
    one, other = (
        made if len(made) == len(common) and made.ids == common else made.subset(common) for made in (first, second)
    )
    for column in ("label", "patient", *(name for name in attributes if name in second.attributes)):
        _agree(one.table[column], other.table[column], column)
    return one, _with_attributes(other, one), told


def _without(one: Predictions, other: Predictions) -> list[str]:
    return [image for image in one.ids if image not in other.table.index]


def _agree(first: pd.Series, second: pd.Series, column: str) -> None:
    differ = (first.to_numpy() != second.to_numpy()) & ~(first.isna().to_numpy() & second.isna().to_numpy())
    places = np.flatnonzero(differ)
    if not len(places):
        return
    image, values = first.index[places[0]], (first.iloc[places[0]], second.iloc[places[0]])
    more = f" {len(places)} images are like this." if len(places) > 1 else ""
    mend = (
        "Name the patient column of both tables."
        if column == "patient"
        else "Correct one, or check that ids mean the same images."
    )
    message = f"image {image!r}, column {column!r}: the first table says {values[0]!r}, the second {values[1]!r}.{more} {mend}"
    raise InputError(message)


def _with_attributes(other: Predictions, one: Predictions) -> Predictions:
    """Give the second model's table the first's attributes."""
    kept = other.table.drop(columns=list(other.attributes))
    return type(other)(
        kept.join(one.table[list(one.attributes)]), other.classes, one.attributes, other.provenance, other.task
    )

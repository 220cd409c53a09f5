"""What region SHAP found, as tables: one row a region, one row a pair of regions. Works on loaded values, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.explain.attributions import Attributions

VALUE, ERROR, AREA, PAIR = "found:shap:", "found:error:", "found:area:", "found:interaction:"


def region_table(attributions: Attributions) -> pd.DataFrame:
    """Return the Shapley value of each region of each image.

    Parameters
    ----------
    attributions : from ``wb.explain(…, method="region-shap")``, in memory or loaded.

    Returns
    -------
    One row an image and region: ``id``, ``region``, ``value`` (in units of the score; over the regions of an image
    they add up to its score less its empty score), ``error`` (its standard error; 0 where every coalition was
    scored), ``area`` (part of the input's pixels, 0–1). A region that the image lacks has area and value 0: leave
    such rows out before averaging, ``table[table["area"] > 0]``.

    Raises
    ------
    InputError : where the maps were made by another method.
    """
    found = attributions.table
    names = [column.removeprefix(VALUE) for column in found.columns if column.startswith(VALUE)]
    if not names:
        message = (
            f"these maps are by {attributions.method!r}, which has no regions; make some with method='region-shap'."
        )
        raise InputError(message)
    values = found[[VALUE + name for name in names]].to_numpy(dtype=np.float64)
    areas = found[[AREA + name for name in names]].to_numpy(dtype=np.float64)
    errors = np.zeros(values.shape)
    if ERROR + names[0] in found.columns:
        errors = found[[ERROR + name for name in names]].to_numpy(dtype=np.float64)
    return pd.DataFrame(
        {
            "id": np.repeat(list(attributions.ids), len(names)), "region": names * len(attributions),
            "value": values.ravel(), "error": errors.ravel(), "area": areas.ravel(),
        }
    )  # fmt: skip


def region_interactions(attributions: Attributions) -> pd.DataFrame:
    """Return how much more each two regions of each image add together than each alone (Grabisch & Roubens 1999).

    Parameters
    ----------
    attributions : as in :func:`region_table`.

    Returns
    -------
    One row an image and pair: ``id``, ``first``, ``second``, ``value`` (in units of the score; above 0 they need each
    other, below 0 either will do; 0 also where the image lacks one of them).

    Raises
    ------
    InputError : where the maps were made by another method, or without interactions.
    """
    found = attributions.table
    regions = list(region_table(attributions)["region"].unique())
    pairs = [(one, other) for place, one in enumerate(regions) for other in regions[place + 1 :]]
    columns = [f"{PAIR}{one} × {other}" for one, other in pairs]
    if not set(columns) <= set(found.columns):
        message = (
            f"these values of {len(regions)} regions came without interactions. They need every coalition: explain again with "
            "interactions=True and at most exact=12 (up to 16) regions."
        )
        raise InputError(message)
    values = found[columns].to_numpy(dtype=np.float64)
    return pd.DataFrame(
        {
            "id": np.repeat(list(attributions.ids), len(pairs)), "first": [one for one, _ in pairs] * len(attributions),
            "second": [other for _, other in pairs] * len(attributions), "value": values.ravel(),
        }
    )  # fmt: skip

"""ROC curves, for everybody or group by group."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.errors import unknown_name
from workbench.figures.curve_panel import Curve, Frame, bands_of, draw_curves
from workbench.figures.figure import figure_provenance

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.audit.result import Audit
    from workbench.figures.figure import Figure


def roc(
    audit: Audit,
    by: str | None = None,
    *,
    band: bool = False,
    ax: Axes | None = None,
    width: float | str = "single",
    style: str = "default",
) -> Figure | Axes:
    """Draw sensitivity against 1 − specificity, with AUROC and its interval in the legend.

    The dot on each curve is the audit's threshold. A group that has no curve is named and said to be not estimable; one
    that its sample can hardly carry is grey.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found.
    by : one of the audit's partitions (``"sex"``, ``"sex × age"``); by default everybody.
    band : shade where the whole curve lies with the audit's confidence, from
        :func:`workbench.audit.curves.bands.roc_bands`. With more than three groups each then has axes of its own, and
        everybody's curve in grey.
    ax : axes to draw into, in the settings they were made with; by default a new figure.
    width : of a new figure: mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Returns
    -------
    The figure, or `ax` where it was given.

    Raises
    ------
    InputError : where `by` is not one of the audit's partitions.
    """
    rows = rows_of(audit, by)
    settings = {"by": by, "style": style} | ({"band": True} if band else {})
    made = figure_provenance("roc", settings, {"audit": audit.provenance})
    frame = Frame("1 − specificity", "Sensitivity", (-0.02, 1.02), (-0.02, 1.02), ground=_chance)
    everybody = _curves(audit, None, rows_of(audit, None), band=False)[0] if by else None
    curves = _curves(audit, by, rows, band=band)
    return draw_curves(curves, frame, made, ax=ax, width=width, style=style, behind=everybody)


def rows_of(audit: Audit, by: str | None) -> pd.DataFrame:
    """Return the table's rows of one partition, or of everybody."""
    table = audit.to_frame()
    partitions = [name for name in table["by"].unique() if name]
    if by is not None and by not in partitions:
        raise unknown_name("by: partition", by, partitions)
    return table[table["by"] == (by or "")]


def area_said(rows: pd.DataFrame, area: str) -> str:
    """Return a group's area under a curve with its interval, and what it rests on."""
    numbers = rows.set_index("metric")
    first = rows.iloc[0]
    count = f"({first['positives']}/{first['n']} positive)"
    if area not in numbers.index:
        return count
    value, low, high = (float(numbers[name].loc[area]) for name in ("value", "low", "high"))
    if math.isnan(value):
        return f"{area} not estimable {count}"
    interval = "" if math.isnan(low) else f" [{low:.2f}–{high:.2f}]"
    return f"{area} {value:.2f}{interval} {count}"


def faintly(rows: pd.DataFrame, area: str) -> bool:
    """Say whether a group's sample can hardly carry its curve: its area, or without one anything, has a note."""
    noted = rows[rows["metric"] == area] if area in set(rows["metric"]) else rows
    return bool((noted["note"] != "").any())


def _curves(audit: Audit, by: str | None, rows: pd.DataFrame, *, band: bool) -> list[Curve]:
    from workbench.audit.curves.bands import roc_bands

    points = audit.curves(by or "")
    bands = roc_bands(audit, by or "") if band else None
    curves = []
    for place, (group, part) in enumerate(rows.groupby("group", sort=False)):
        curve = points[points["group"] == group]
        at = part.set_index("metric")["value"]
        mark = (1 - at["specificity"], at["sensitivity"]) if {"specificity", "sensitivity"} <= set(at.index) else None
        around = bands_of(bands, str(group), "fpr")
        curves.append(Curve(str(group), area_said(part, "AUROC"), place, curve["fpr"].to_numpy(), curve["tpr"].to_numpy(),
                            around, mark, faintly(part, "AUROC")))  # fmt: skip
    return curves


def _chance(ax: Axes) -> None:
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)

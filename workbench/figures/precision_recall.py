"""Precision–recall curves, for everybody or group by group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.figures.curve_panel import Curve, Frame, bands_of, draw_curves
from workbench.figures.figure import figure_provenance
from workbench.figures.roc_curve import area_said, faintly, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.audit.result import Audit
    from workbench.figures.figure import Figure


def precision_recall(
    audit: Audit,
    by: str | None = None,
    *,
    band: bool = False,
    ax: Axes | None = None,
    width: float | str = "single",
    style: str = "default",
) -> Figure | Axes:
    """Draw precision (PPV) against recall (sensitivity), with AUPRC in the legend where the audit has it.

    The dot on each curve is the audit's threshold. Each curve ends at its group's share of positives, which is the
    precision of a model without skill: curves of groups with different shares do not compare like ROC curves.

    Parameters
    ----------
    audit, by, ax, width, style : as for :func:`workbench.figures.roc`.
    band : shade where the whole curve lies with the audit's confidence, from
        :func:`workbench.audit.curves.bands.pr_bands`. With more than three groups each then has axes of its own, and
        everybody's curve in grey.

    Returns
    -------
    The figure, or `ax` where it was given.

    Raises
    ------
    InputError : where `by` is not one of the audit's partitions.
    """
    rows = rows_of(audit, by)
    settings = {"by": by, "style": style, "band": band}
    made = figure_provenance("precision_recall", settings, {"audit": audit.provenance})
    frame = Frame("Recall (sensitivity)", "Precision (PPV)", (-0.02, 1.02), (-0.02, 1.02))
    everybody = _curves(audit, None, rows_of(audit, None), band=False)[0] if by else None
    curves = _curves(audit, by, rows, band=band)
    return draw_curves(curves, frame, made, ax=ax, width=width, style=style, behind=everybody)


def _curves(audit: Audit, by: str | None, rows: pd.DataFrame, *, band: bool) -> list[Curve]:
    from workbench.audit.curves.bands import pr_bands, pr_curves

    points = pr_curves(audit, by or "")
    bands = pr_bands(audit, by or "") if band else None
    curves = []
    for place, (group, part) in enumerate(rows.groupby("group", sort=False)):
        curve = points[points["group"] == group]
        at = part.set_index("metric")["value"]
        mark = (at["sensitivity"], at["PPV"]) if {"sensitivity", "PPV"} <= set(at.index) else None
        around = bands_of(bands, str(group), "recall")
        said = area_said(part, "AUPRC") if len(curve) else area_said(part, "AUPRC").replace("(", "no curve (", 1)
        curves.append(Curve(str(group), said, place, curve["recall"].to_numpy(), curve["precision"].to_numpy(), around,
                            mark, faintly(part, "AUPRC")))  # fmt: skip
    return curves

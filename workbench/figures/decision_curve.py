"""Decision curves: net benefit over thresholds, beside treating all and treating none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError, unknown_name
from workbench.figures.curve_panel import Curve, Frame, draw_curves
from workbench.figures.figure import figure_provenance
from workbench.figures.style import FAINT, font_size, plainly

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.audit.finding import Finding
    from workbench.figures.figure import Figure


def decision_curve(
    finding: Finding, by: str | None = None, *, model: str | None = None, band: bool = True, ax: Axes | None = None,
    width: float | str = "single", style: str = "default",
) -> Figure | Axes:  # fmt: skip
    """Draw net benefit against the threshold probability, for everybody or group by group.

    For everybody each model has a curve, between the lines of treating all and treating none. Groups differ in prevalence and
    so in what treating all brings; with `by`, what is drawn is each group's gain over the better of the two.

    Parameters
    ----------
    finding : of :func:`workbench.audit.decision_curve`.
    by : one of the finding's partitions (``"sex"``); by default everybody.
    model : which model's groups are drawn; needed with `by` where there are several.
    band : shade the pointwise intervals; more than three of them get axes of their own.
    ax, width, style : as for :func:`workbench.figures.roc`.

    Returns
    -------
    The figure, or `ax` where it was given.

    Raises
    ------
    InputError : where the finding is of another kind, or a name is unknown.
    """
    if finding.kind != "decision_curve":
        message = (
            f"this is a finding of wb.audit.{finding.kind}; decision curves are drawn from wb.audit.decision_curve(…)."
        )
        raise InputError(message)
    rows = _chosen(finding.table, by, model)
    settings = {"by": by, "model": model, "band": band, "style": style}
    made = figure_provenance("decision_curve", settings, {"finding": finding.provenance})
    value, ends = ("value", ("low", "high")) if by is None else ("gain", ("gain_low", "gain_high"))
    names = "model" if by is None else "group"
    curves = []
    for place, name in enumerate(dict.fromkeys(rows[names])):
        own = rows[rows[names] == name]
        known = own[own[value].notna()]
        sure = known[known[ends[0]].notna()]
        around = [sure[["threshold", *ends]].to_numpy(dtype=np.float64).T] if band and len(sure) else []
        curves.append(Curve(
            str(name), _said(own), place, known["threshold"].to_numpy(), known[value].to_numpy(), around,
            faint=own["note"].iloc[0] != "",
        ))  # fmt: skip
    everybody = finding.table[finding.table["by"] == ""]
    return draw_curves(curves, _frame(rows, everybody, by, value), made, ax=ax, width=width, style=style)


def _chosen(table: pd.DataFrame, by: str | None, model: str | None) -> pd.DataFrame:
    models = list(dict.fromkeys(table["model"]))
    if model is not None and model not in models:
        raise unknown_name("model", model, models)
    if by is None:
        return table[(table["by"] == "") & (table["model"] == model if model else True)]
    partitions = [name for name in dict.fromkeys(table["by"]) if name]
    if by not in partitions:
        raise unknown_name("by: partition", by, partitions)
    if model is None and len(models) > 1:
        message = (
            f"there are {len(models)} models ({', '.join(models)}): say whose groups are drawn, model={models[0]!r}."
        )
        raise InputError(message)
    return table[(table["by"] == by) & (table["model"] == (model or models[0]))]


def _said(own: pd.DataFrame) -> str:
    first = own.iloc[0]
    return f"({first['positives']}/{first['n']} positive)"


def _frame(rows: pd.DataFrame, everybody: pd.DataFrame, by: str | None, value: str) -> Frame:
    points = rows["threshold"].to_numpy()
    left, right = (0.0, min(1.0, points.max() + 0.01)) if len(points) > 1 else (0.0, 1.0)
    highest = [
        *rows[value],
        *rows["high" if by is None else "gain_high"],
        *(rows["treat_all"] if by is None else []),
        0.01,
    ]
    top = float(np.nanmax(highest))
    if by is not None:
        # Net harm deeper than half of what the best gains is cut: nobody decides there.
        deepest = float(np.nanmin([*rows["gain"], *rows["gain_low"], 0.0]))
        return Frame(
            "Threshold probability",
            "Net benefit above all or none",
            (left, right),
            (max(deepest, -0.5 * top) - 0.06 * top, 1.06 * top),
            tall=0.75,
            left=15.0,
            ground=_zero,
        )
    line = everybody[everybody["model"] == everybody["model"].iloc[0]]

    def defaults(ax: Axes) -> None:
        _zero(ax)
        x, y = line["threshold"].to_numpy(), line["treat_all"].to_numpy()
        ax.plot(x, y, color=FAINT, linewidth=0.8, zorder=2)
        size = font_size("legend.fontsize")
        # Where the line falls through the lower part of the axes, on its left, away from the curves.
        place = int(np.argmin(np.abs(y - 0.1 * top)))
        plainly(ax.annotate("treat all", (x[place], y[place]), xytext=(-3, 0), textcoords="offset points", ha="right",
                            va="center", size=size, color=FAINT))  # fmt: skip
        plainly(ax.annotate("treat none", (1, 0), xycoords=("axes fraction", "data"), xytext=(0, -3), va="top", ha="right",
                            textcoords="offset points", size=size, color=FAINT))  # fmt: skip

    return Frame(
        "Threshold probability", "Net benefit", (left, right), (-0.14 * top, 1.06 * top), tall=0.75, ground=defaults
    )


def _zero(ax: Axes) -> None:
    ax.axhline(0, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)

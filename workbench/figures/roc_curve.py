"""ROC curves, for everybody or group by group."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.errors import unknown_name
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import plainly, styled, width_in_mm

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.audit.result import Audit

# Beside the palette's colour, so that curves are told apart in grey print too.
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
LINE = 3.6  # mm of legend a curve


def roc(
    audit: Audit,
    by: str | None = None,
    *,
    ax: Axes | None = None,
    width: float | str = "single",
    style: str = "default",
) -> Figure | Axes:
    """Draw sensitivity against 1 − specificity, with AUROC and its interval in the legend.

    The dot on each curve is the audit's threshold. A group that has no curve is named and said to be not estimable.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found.
    by : one of the audit's partitions (``"sex"``, ``"sex × age"``); by default everybody.
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
    table = audit.to_frame()
    partitions = [name for name in table["by"].unique() if name]
    if by is not None and by not in partitions:
        raise unknown_name("by: partition", by, partitions)
    rows = table[table["by"] == (by or "")]
    if ax is not None:
        _draw(ax, audit, rows, by)
        return ax
    made = figure_provenance("roc", {"by": by, "style": style}, {"audit": audit.provenance})
    wide = width_in_mm(width, style)
    legend = LINE * rows["group"].nunique() + 2
    side = wide - 17
    figure = Figure(wide, side + 13 + legend, style=style, provenance=made)
    tall = side + 13 + legend
    with styled(style):
        _draw(figure.add_axes((14 / wide, (10 + legend) / tall, side / wide, side / tall)), audit, rows, by)
    return figure


def _draw(ax: Axes, audit: Audit, rows: pd.DataFrame, by: str | None) -> None:
    curves = audit.curves(by or "")
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)
    for place, group in enumerate(rows["group"].unique()):
        curve = curves[curves["group"] == group]
        numbers = rows[rows["group"] == group].set_index("metric")
        colour, dash = f"C{place % 7}", DASHES[(place // 7 + place) % len(DASHES)]
        label = _label(group, numbers)
        if curve.empty:
            ax.plot([], [], color="0.6", label=label)
            continue
        ax.plot(curve["fpr"], curve["tpr"], color=colour, linestyle=dash, label=label, zorder=3)
        if {"sensitivity", "specificity"} <= set(numbers.index):
            mark = 1 - numbers.loc["specificity", "value"], numbers.loc["sensitivity", "value"]
            ax.plot(*mark, marker="o", color=colour, markeredgecolor="white", markeredgewidth=0.6, zorder=4)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 − specificity", ylabel="Sensitivity", aspect="equal")
    legend = ax.legend(loc="upper left", bbox_to_anchor=(-0.1, -0.13), borderaxespad=0)
    for text in legend.get_texts():
        plainly(text)


def _label(group: str, numbers: pd.DataFrame) -> str:
    metrics = numbers.to_dict("index")
    row, area = next(iter(metrics.values())), metrics.get("AUROC")
    count = f"n = {row['n']}, {row['positives']} positive"
    if area is None:
        return f"{group} ({count})"
    if math.isnan(area["value"]):
        return f"{group}: AUROC not estimable ({count})"
    return f"{group}: AUROC {area['value']:.2f} [{area['low']:.2f}–{area['high']:.2f}] ({count})"

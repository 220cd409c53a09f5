"""ROC curves, for everybody or group by group."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from workbench.errors import unknown_name
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import font_size, plainly, styled, width_in_mm, wrapped

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.audit.result import Audit

# Beside the palette's colour, so that curves are told apart in grey print too.
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
# mm: a line of the legend, its strokes, left of the axes, below them; from WIDE on the legend stands beside the curves.
LINE, HANDLE, LEFT, BELOW, WIDE = 3.7, 7.5, 13.0, 9.0, 120.0


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
        _legend(ax, (0, -0.16))
        return ax
    made = figure_provenance("roc", {"by": by, "style": style}, {"audit": audit.provenance})
    wide = width_in_mm(width, style)
    beside = wide >= WIDE
    side = 0.45 * wide if beside else wide - LEFT - 3
    with styled(style):
        room = (wide - LEFT - side - 4 if beside else wide - 2) - HANDLE
        lines = sum(len(label.splitlines()) for label in _labels(rows, room).values())
        legend = 0.0 if beside else 3 + LINE * lines
        tall = BELOW + legend + side + 3
        figure = Figure(wide, tall, style=style, provenance=made)
        ax = figure.add_axes((LEFT / wide, (BELOW + legend) / tall, side / wide, side / tall))
        _draw(ax, audit, rows, by, room=room)
        legend_at = (1 + 4 / side, 1) if beside else ((1 - LEFT) / side, -(BELOW + 2) / side)
        _legend(ax, legend_at)
    return figure


def _draw(ax: Axes, audit: Audit, rows: pd.DataFrame, by: str | None, *, room: float = math.inf) -> None:
    curves = audit.curves(by or "")
    labels = _labels(rows, room)
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)
    for place, group in enumerate(rows["group"].unique()):
        curve = curves[curves["group"] == group]
        numbers = rows[rows["group"] == group].set_index("metric")
        colour, dash = f"C{place % 7}", DASHES[(place // 7 + place) % len(DASHES)]
        label = labels[group]
        if curve.empty:
            ax.plot([], [], linestyle="none", label=label)
            continue
        ax.plot(curve["fpr"], curve["tpr"], color=colour, linestyle=dash, label=label, zorder=3)
        if {"sensitivity", "specificity"} <= set(numbers.index):
            mark = 1 - numbers.loc["specificity", "value"], numbers.loc["sensitivity", "value"]
            ax.plot(*mark, marker="o", color=colour, markeredgecolor="white", markeredgewidth=0.6, zorder=4)
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="1 − specificity", ylabel="Sensitivity", aspect="equal")


def _legend(ax: Axes, place: tuple[float, float]) -> None:
    legend = ax.legend(loc="upper left", bbox_to_anchor=place, borderaxespad=0, borderpad=0)
    for text in legend.get_texts():
        plainly(text)


def _labels(rows: pd.DataFrame, room: float) -> dict[str, str]:
    """Return each group's line in the legend, broken into lines of at most `room` mm."""
    size = font_size("legend.fontsize")
    said = {
        str(group): _label(str(group), part.set_index("metric")) for group, part in rows.groupby("group", sort=False)
    }
    return {group: "\n".join(wrapped(label, size, room)) for group, label in said.items()}


def _label(group: str, numbers: pd.DataFrame) -> str:
    metrics = numbers.to_dict("index")
    row, area = next(iter(metrics.values())), metrics.get("AUROC")
    count = f"{row['positives']}/{row['n']} positive"
    if area is None:
        return f"{group} ({count})"
    if math.isnan(area["value"]):
        return f"{group}: AUROC not estimable ({count})"
    return f"{group}: AUROC {area['value']:.2f} [{area['low']:.2f}–{area['high']:.2f}] ({count})"

"""The forest plot: every group's number, or its gap to the rest, with interval and sample size."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import unknown_name
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import FAINT, POINTS_PER_MM, plainly, styled, text_width, width_in_mm

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.audit.result import Audit

COUNTS = {"n": "n", "positives": "positive", "patients": "patients"}
ROW = 4.4  # mm a row


def forest(
    audit: Audit, *, metric: str = "sensitivity", which: Literal["gaps", "values"] = "gaps", ax: Axes | None = None,
    width: float | str = "double", style: str = "default",
) -> Figure | Axes:  # fmt: skip
    """Draw each group's gap to the rest, or its value, with the interval and what the number rests on.

    A group whose sample cannot carry the number is grey, and a footnote says why.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found.
    metric : one of the audit's metrics.
    which : ``"gaps"`` (group − rest, around zero) or ``"values"`` (with everybody's value as the line).
    ax : axes to draw into; the columns of text stand to its left and right. By default a new figure.
    width : of a new figure: mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Returns
    -------
    The figure, or `ax` where it was given.

    Raises
    ------
    InputError : where the audit has no such metric, or `which` is neither of the two.
    """
    tables = {"gaps": audit.gaps, "values": audit.to_frame()}
    if which not in tables:
        raise unknown_name("which:", which, tables)
    rows = tables[which][tables[which]["metric"] == metric]
    known = list(audit.to_frame()["metric"].unique())
    if metric not in known:
        raise unknown_name("metric", metric, known)
    if ax is not None:
        _draw(ax, rows, metric, which)
        return ax
    made = figure_provenance("forest", {"metric": metric, "which": which, "style": style}, {"audit": audit.provenance})
    wide = width_in_mm(width, style)
    with styled(style):
        left, right, columns = _margins(rows, wide)
        notes = sum(len(textwrap.wrap(note, 100)) for note in _notes(rows))
        below, above = 10 + (3.4 * notes + 1 if notes else 0), 6
        tall = below + above + ROW * max(1, len(rows))
        figure = Figure(wide, tall, style=style, provenance=made)
        inner = (left / wide, below / tall, (wide - left - right) / wide, ROW * max(1, len(rows)) / tall)
        _draw(figure.add_axes(inner), rows, metric, which, columns)
    return figure


def _margins(rows: pd.DataFrame, wide: float) -> tuple[float, float, list[str]]:
    """Return the room for the text on the left and right, in mm, and the counts that fit beside a readable plot."""
    import matplotlib as mpl

    size = mpl.rcParams["ytick.labelsize"]
    label = max([text_width(group, size) for group in rows["group"]], default=10.0)
    right = max([text_width(_said(row), size) for row in rows.to_dict("records")], default=10.0) + 9
    columns = list(COUNTS)
    while columns and wide - right - label - 14 * len(columns) - 4 < 0.3 * wide:
        columns.pop()
    return label + 14 * len(columns) + 4, right, columns


def _draw(ax: Axes, rows: pd.DataFrame, metric: str, which: str, columns: list[str] | None = None) -> None:
    import matplotlib as mpl

    columns = list(COUNTS) if columns is None else columns
    size = mpl.rcParams["ytick.labelsize"]
    notes = _notes(rows)
    everybody = rows[rows["group"] == "all"]["value"]
    line = 0.0 if which == "gaps" else float(everybody.iloc[0]) if len(everybody) else math.nan
    if math.isfinite(line):
        ax.axvline(line, color="0.3", linewidth=0.7, linestyle="-" if which == "gaps" else (0, (3, 2)), zorder=1)
    for place, row in enumerate(rows.to_dict("records")):
        colour = FAINT if row["note"] else "black"
        if not math.isnan(row["value"]):
            ax.plot([row["low"], row["high"]], [place, place], color=colour, solid_capstyle="butt", zorder=2)
            ax.plot(row["value"], place, marker="s", color=colour, zorder=3)
        _beside(ax, row["group"], (0, place), -14 * len(columns) - 2, ha="right", color=colour, size=size)
        for column, name in enumerate(columns):
            _beside(
                ax,
                str(row[name]),
                (0, place),
                14 * (column - len(columns) + 1) - 3,
                ha="right",
                color=colour,
                size=size,
            )
        mark = f" {_letter(notes.index(row['note']))}" if row["note"] else ""
        _beside(ax, _said(row) + mark, (1, place), 2, ha="left", color=colour, size=size)
    for column, name in enumerate(columns):
        _beside(ax, COUNTS[name], (0, -0.95), 14 * (column - len(columns) + 1) - 3, ha="right", size=size, color=FAINT)
    ax.set(ylim=(len(rows) - 0.4, -0.6), yticks=[])
    ax.spines["left"].set_visible(False)
    ax.set_xlabel(f"{metric}: group − rest" if which == "gaps" else metric)
    text = "\n".join(textwrap.fill(f"{_letter(k)}  {note}", 100) for k, note in enumerate(notes))
    if text:
        plainly(ax.annotate(text, (0.5, 0), xycoords="axes fraction", xytext=(0, -10.5 * POINTS_PER_MM), ha="center",
                            textcoords="offset points", va="top", size=size, color=FAINT, annotation_clip=False))  # fmt: skip


def _beside(ax: Axes, text: str, place: tuple[float, float], mm: float, **settings: Any) -> None:
    """Write `text` in a row, `mm` to the right of the axes' left (0) or right (1) edge."""
    plainly(ax.annotate(text, place, xycoords=("axes fraction", "data"), xytext=(mm * POINTS_PER_MM, 0), va="center_baseline",
                        textcoords="offset points", annotation_clip=False, **settings))  # fmt: skip


def _said(row: dict[Any, Any]) -> str:
    if math.isnan(row["value"]):
        return "not estimable"
    sign = "+" if "reference" in row else ""
    return f"{row['value']:{sign}.2f} [{row['low']:{sign}.2f}, {row['high']:{sign}.2f}]".replace("-", "−")


def _notes(rows: pd.DataFrame) -> list[str]:
    return [note for note in dict.fromkeys(rows["note"]) if note]


def _letter(place: int) -> str:
    return chr(ord("a") + place) if place < 26 else str(place + 1)

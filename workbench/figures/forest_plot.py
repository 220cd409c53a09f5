"""The forest plot: every group's number, or its gap to what it is held against, with interval and sample size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from workbench.errors import InputError, unknown_name
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import FAINT, POINTS_PER_MM, font_size, plainly, styled, text_width, width_in_mm, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from workbench.audit.result import Audit

Row = dict[str, Any]
# mm: between two texts, above and below a row's text, between two partitions, for the column heads, for the x axis.
SPACE, LEADING, PARTING, HEAD, AXIS = 3.0, 1.3, 1.4, 6.0, 10.0
# Of the width: what the plot should have beside the text (and names need no more), and what it gets at least.
READABLE, LEAST = 0.3, 0.2
TICK = 9.0  # mm from one number on the x axis to the next, at least
ROOMY = 400.0  # mm; there is always room around axes that the caller has placed


def forest(
    audit: Audit, *, metric: str = "sensitivity", which: Literal["gaps", "ratios", "values"] = "gaps",
    ax: Axes | None = None, width: float | str = "double", style: str = "default",
) -> Figure | Axes:  # fmt: skip
    """Draw each group's gap, or its value, with the interval and what the number rests on.

    The thick whisker is the interval of one number, the thin one the band that holds for all numbers at once, where the
    audit has it. A group whose sample cannot carry the number is grey, and a footnote says why. In a narrow figure the
    counts share one column.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found.
    metric : one of the audit's metrics.
    which : ``"gaps"`` (group − reference, around zero), ``"ratios"`` (group / reference, around one, on a log axis) or
        ``"values"`` (with everybody's value as the line).
    ax : axes to draw into; the columns of text stand to its left and right. By default a new figure.
    width : of a new figure: mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Returns
    -------
    The figure, or `ax` where it was given.

    Raises
    ------
    InputError : where the audit has no such metric or no groups, `which` is none of the three, or `width` leaves no
        room beside the text.
    """
    rows = _rows(audit, metric, which)
    if ax is not None:
        _draw(ax, _arranged(rows, ROOMY), metric, which)
        return ax
    made = figure_provenance("forest", {"metric": metric, "which": which, "style": style}, {"audit": audit.provenance})
    wide = width_in_mm(width, style)
    with styled(style):
        text = _arranged(rows, wide)
        below, inner = AXIS + text.notes_height, wide - text.left - text.right
        if inner < LEAST * wide:
            message = (
                f"width {wide:g} mm leaves no room for the plot beside its text; take {_least_width(rows)} mm or more."
            )
            raise InputError(message)
        tall = below + text.height + HEAD
        figure = Figure(wide, tall, style=style, provenance=made)
        place = (text.left / wide, below / tall, inner / wide, text.height / tall)
        _draw(figure.add_axes(place), text, metric, which)
    return figure


@dataclass(frozen=True)
class Arrangement:
    """Where the text of a forest plot stands; lengths in mm.

    Parameters
    ----------
    rows : the numbers, one dict a row.
    names : lines of each row's group name.
    heads, counts : the columns of counts; one text a row in each.
    ends : how far left of the axes each column of counts ends.
    left, right, line : room beside the axes, and the height of a line of text.
    notes : the footnotes, broken into lines.
    """

    rows: Sequence[Row]
    names: Sequence[Sequence[str]]
    heads: Sequence[str]
    counts: Sequence[Sequence[str]]
    ends: Sequence[float]
    left: float
    right: float
    line: float
    notes: Sequence[str]

    @property
    def middles(self) -> list[float]:
        """Each row's distance from the top of the axes."""
        middles, top = [], 0.0
        for place, (row, name) in enumerate(zip(self.rows, self.names, strict=True)):
            top += PARTING if place and row["by"] != self.rows[place - 1]["by"] else 0
            high = len(name) * self.line + LEADING
            middles.append(top + high / 2)
            top += high
        return middles

    @property
    def height(self) -> float:
        """Height of the axes."""
        return self.middles[-1] + (len(self.names[-1]) * self.line + LEADING) / 2

    @property
    def notes_height(self) -> float:
        """Height of the footnotes, with some space before them."""
        return len(self.notes) * self.line + 1.5 if self.notes else 0.0


def _rows(audit: Audit, metric: str, which: str) -> list[Row]:
    tables = {"gaps": "gaps", "ratios": "ratios", "values": "table"}
    if which not in tables:
        raise unknown_name("which:", which, tables)
    known = list(audit.table["metric"].unique())
    if metric not in known:
        raise unknown_name("metric", metric, known)
    table = getattr(audit, tables[which])
    rows: list[Row] = table[table["metric"] == metric].to_dict("records")
    for row in rows:
        if "class" in row:  # of several findings
            row |= {"group": f"{row['class']}: {row['group']}", "by": f"{row['class']}: {row['by']}"}
    if not rows:
        message = (
            "this audit has no groups, so there is no gap to draw: audit by an attribute, as in by=['sex'], or draw "
            "everybody's value with which='values'."
        )
        raise InputError(message)
    return rows


def _arranged(rows: Sequence[Row], wide: float) -> Arrangement:
    """Place the text: counts in three columns where that leaves a readable plot, else in one, and names broken to fit."""
    size = font_size("ytick.labelsize")
    line = size * 1.25 / POINTS_PER_MM
    right = max(text_width(_said(row) + " m", size) for row in rows) + SPACE
    three = {"n": "{n}", "positive": "{positives}", "patients": "{patients}"}
    longest = max(text_width(row["group"], size) for row in rows)
    for forms in (three, {"positive/n": "{positives}/{n}"}):
        counts = [[form.format_map(row) for row in rows] for form in forms.values()]
        ends: list[float] = []
        used = SPACE
        for head, column in reversed(list(zip(forms, counts, strict=True))):
            ends.insert(0, used)
            used += max(text_width(text, size) for text in (head, *column)) + SPACE
        if wide - right - used - min(longest, READABLE * wide) - 1 >= READABLE * wide:
            break
    plot = READABLE if len(forms) > 1 else LEAST + 0.02
    room = min(longest, max(wide * (1 - plot) - right - used - 1, 12.0))
    names = [wrapped(row["group"], size, room + 0.1) for row in rows]
    left = used + max(text_width(part, size) for name in names for part in name) + 1
    notes = [f"{_letter(place)}: {note}" for place, note in enumerate(_notes(rows))]
    broken = [part for note in notes for part in wrapped(note, size, min(wide, 183.0) - 4)]
    return Arrangement(rows, names, list(forms), counts, ends, left, right, line, broken)


def _least_width(rows: Sequence[Row]) -> int:
    wide = 30
    while wide - (text := _arranged(rows, wide)).left - text.right < LEAST * wide:
        wide += 1
    return wide


def _draw(ax: Axes, text: Arrangement, metric: str, which: str) -> None:
    from matplotlib.ticker import MaxNLocator

    size = font_size("ytick.labelsize")
    everybody = [row["value"] for row in text.rows if row["group"] == "all"]
    line = {"gaps": 0.0, "ratios": 1.0}.get(which, everybody[0] if everybody else math.nan)
    if math.isfinite(line):
        ax.axvline(line, color="0.3", linewidth=0.7, linestyle=(0, (3, 2)) if which == "values" else "-", zorder=1)
    notes = _notes(text.rows)
    for place, (row, middle) in enumerate(zip(text.rows, text.middles, strict=True)):
        colour = FAINT if row["note"] else "black"
        if not math.isnan(row["value"]):
            whisker: dict[str, Any] = {"color": colour, "solid_capstyle": "butt", "zorder": 2}
            if not math.isnan(row.get("band_low", math.nan)):
                ax.plot([row["band_low"], row["band_high"]], [middle, middle], linewidth=0.5, **whisker)
            ax.plot([row["low"], row["high"]], [middle, middle], **whisker)
            ax.plot(row["value"], middle, marker="s", color=colour, zorder=3)
        look = {"color": colour, "size": size}
        lines = text.names[place]
        upright = "center_baseline" if len(lines) == 1 else "center"
        _beside(ax, "\n".join(lines), (0, middle), 1 - text.left, ha="left", va=upright, **look)
        for column, end in zip(text.counts, text.ends, strict=True):
            _beside(ax, column[place], (0, middle), -end, ha="right", **look)
        mark = f" {_letter(notes.index(row['note']))}" if row["note"] else ""
        _beside(ax, _said(row) + mark, (1, middle), SPACE - 1, ha="left", **look)
    for head, end in zip(text.heads, text.ends, strict=True):
        _beside(ax, head, (0, -1.2), -end, ha="right", va="baseline", size=size, color=FAINT)
    ax.set(ylim=(text.height, 0), yticks=[])
    wide = ax.get_window_extent().width / ax.figure.dpi * 25.4
    most = max(2, min(8, int(wide / TICK)))
    if which == "ratios":
        _logarithmic(ax, most)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(most))
    ax.spines["left"].set_visible(False)
    references = list(dict.fromkeys(row["reference"] for row in text.rows)) if which != "values" else []
    beside = references[0] if len(references) == 1 else "reference"
    sign = {"gaps": f": group − {beside}", "ratios": f": group / {beside}"}
    plainly(ax.xaxis.label).set_text(metric + sign.get(which, ""))
    if text.notes:
        plainly(ax.annotate("\n".join(text.notes), (0, 0), xycoords="axes fraction",
                            xytext=((1 - text.left) * POINTS_PER_MM, -AXIS * POINTS_PER_MM), textcoords="offset points",
                            ha="left", va="top", size=size, linespacing=1.15, color=FAINT, annotation_clip=False))  # fmt: skip


def _logarithmic(ax: Axes, most: int) -> None:
    """Put ratios on a log axis; within less than a factor of three round numbers stand in even steps, beyond in 1, 2, 5."""
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(MaxNLocator(most) if high < 3 * low else LogLocator(subs=(1, 2, 5), numticks=2 * most))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda tick, _: f"{tick:.3g}")


def _beside(ax: Axes, text: str, place: tuple[float, float], mm: float, **settings: Any) -> None:
    """Write `text` at a height, `mm` to the right of the axes' left (0) or right (1) edge."""
    settings = {"va": "center_baseline", **settings}
    plainly(ax.annotate(text, place, xycoords=("axes fraction", "data"), xytext=(mm * POINTS_PER_MM, 0),
                        textcoords="offset points", annotation_clip=False, **settings))  # fmt: skip


def _said(row: Row) -> str:
    if math.isnan(row["value"]):
        return "not estimable"
    signed = row.get("kind", "difference" if "reference" in row else "") == "difference"
    value, low, high = (_number(row[name], signed=signed) for name in ("value", "low", "high"))
    return value if math.isnan(row["low"]) or math.isnan(row["high"]) else f"{value} [{low}, {high}]"


def _number(value: float, *, signed: bool) -> str:
    """Write two decimals with a true minus sign; what rounds to zero has no sign."""
    text = f"{value:{'+' if signed else ''}z.2f}".replace("-", "−")
    return "0.00" if text == "+0.00" else text


def _notes(rows: Sequence[Row]) -> list[str]:
    return [note for note in dict.fromkeys(row["note"] for row in rows) if note]


def _letter(place: int) -> str:
    return chr(ord("a") + place) if place < 26 else str(place + 1)

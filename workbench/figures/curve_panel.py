"""Curves of several groups in one pair of axes with a legend, or, with bands around many of them, in axes of their own."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.figures.figure import Figure
from workbench.figures.style import FAINT, POINTS_PER_MM, font_size, plainly, styled, width_in_mm, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.provenance import Provenance

# Beside the palette's colour, so that curves are told apart in grey print too.
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
# More bands than these in one pair of axes cover each other.
MOST_BANDS = 3
# mm: below the axes; from WIDE on the legend stands beside the curves.
BELOW, WIDE = 9.0, 120.0
# mm: between two axes, and what the axes of one group should be wide at least.
GUTTER, SMALL = 4.0, 33.0


@dataclass(frozen=True, eq=False)
class Curve:
    """One group's curve.

    Parameters
    ----------
    name, said : the group, and its numbers, as the legend has them.
    place : of the group in its partition; it chooses colour and dash.
    x, y : the line; empty where there is no curve.
    bands : x, lower and upper end ``(3, points)`` of each, the outermost first.
    mark : where the audit's threshold is.
    points : x, y, lower and upper end ``(4, points)`` of single points with whiskers.
    bars : left end, width and height ``(3, bars)`` of what stands below zero as a histogram.
    faint : whether the group's sample cannot carry the curve.
    """

    name: str
    said: str
    place: int
    x: np.ndarray
    y: np.ndarray
    bands: Sequence[np.ndarray] = ()
    mark: tuple[float, float] | None = None
    faint: bool = False
    points: np.ndarray | None = None
    bars: np.ndarray | None = None

    @property
    def label(self) -> str:
        """The line of the legend."""
        return (
            f"{self.name}{': ' if self.said and not self.said.startswith('(') else ' ' if self.said else ''}{self.said}"
        )

    @property
    def colour(self) -> str:
        """Of the line and the mark."""
        return FAINT if self.faint else f"C{self.place % 7}"


@dataclass(frozen=True, eq=False)
class Frame:
    """The axes that curves stand in.

    Parameters
    ----------
    xlabel, ylabel, xlim, ylim : of the axes.
    tall : height of the axes as a share of their width; 1 also fixes the aspect.
    yticks : numbers on the y axis, where not all of it is a scale.
    left : room for numbers and name left of the axes, mm.
    ground : draws what stands behind the curves, such as a line of no skill.
    """

    xlabel: str
    ylabel: str
    xlim: tuple[float, float]
    ylim: tuple[float, float]
    tall: float = 1.0
    left: float = 13.0
    yticks: Sequence[float] | None = None
    ground: Callable[[Axes], None] = field(default=lambda _: None)


def bands_of(table: pd.DataFrame | None, group: str, x: str, ends: Sequence[str] = ("band_",)) -> list[np.ndarray]:
    """Return a group's bands out of a table of the audit room, with columns `x`, ``band_low``, ``band_high`` …"""
    own = table if table is None else table[table["group"] == group]
    if own is None or own.empty:
        return []
    return [own[[x, f"{end}low", f"{end}high"]].to_numpy(dtype=np.float64).T for end in ends]


def draw_curves(
    curves: Sequence[Curve], frame: Frame, provenance: Provenance, *,
    ax: Axes | None, width: float | str, style: str, behind: Curve | None = None,
) -> Figure | Axes:  # fmt: skip
    """Draw curves into `ax`, or into a new figure: together with a legend, or each by itself where bands would overlap.

    `behind` is drawn in grey behind each curve that has axes of its own.
    """
    if ax is not None:
        _draw(ax, curves, frame, {curve.name: curve.label for curve in curves})
        _legend(ax, curves, (0, -0.16))
        return ax
    wide = width_in_mm(width, style)
    with styled(style):
        if sum(len(curve.bands) > 0 for curve in curves) > MOST_BANDS:
            return _apart(curves, frame, provenance, wide=wide, style=style, behind=behind)
        return _together(curves, frame, provenance, wide=wide, style=style)


def _together(curves: Sequence[Curve], frame: Frame, provenance: Provenance, *, wide: float, style: str) -> Figure:
    beside, left = wide >= WIDE, frame.left
    side = (0.45 if frame.tall == 1 else 0.52) * wide if beside else wide - left - 3
    size = font_size("legend.fontsize")
    handle = 2.7 * size / POINTS_PER_MM  # stroke and space of a line of the legend
    room = (wide - left - side - 4 if beside else wide - 2) - handle - 1.5
    labels = {curve.name: "\n".join(wrapped(curve.label, size, room)) for curve in curves}
    lines = sum(len(label.splitlines()) for label in labels.values())
    legend = (1.25 * lines + 0.55 * len(labels)) * size / POINTS_PER_MM
    below = BELOW + (0.0 if beside else 3 + legend)
    height = max(side * frame.tall, legend if beside else 0.0)
    tall = below + height + 3
    figure = Figure(wide, tall, style=style, provenance=provenance)
    ax = figure.add_axes(
        (left / wide, (below + height - side * frame.tall) / tall, side / wide, side * frame.tall / tall)
    )
    _draw(ax, curves, frame, labels)
    place = (1 + 4 / side, 1.0) if beside else ((1 - left) / side, -(BELOW + 2) / (side * frame.tall))
    _legend(ax, curves, place)
    return figure


def _apart(
    curves: Sequence[Curve], frame: Frame, provenance: Provenance, *, wide: float, style: str, behind: Curve | None
) -> Figure:
    """Give every curve axes of its own, in rows, with its name and numbers above; those without a curve are named below."""
    shown = [curve for curve in curves if len(curve.x)]
    edge = frame.left
    across = min(len(shown), max(2, int((wide - edge) / (SMALL + GUTTER))))
    side = (wide - edge - 3 - (across - 1) * GUTTER) / across
    size = font_size("legend.fontsize")
    line = size * 1.25 / POINTS_PER_MM
    heads = [[*wrapped(curve.name, size, side), *wrapped(curve.said, size, side)] for curve in shown]
    rows = [range(start, min(start + across, len(shown))) for start in range(0, len(shown), across)]
    head = [max(len(heads[place]) for place in row) * line + 3.0 for row in rows]
    notes = [part for curve in curves if not len(curve.x) for part in wrapped(curve.label, size, wide - 4)]
    foot = BELOW + (len(notes) * line + 1.5 if notes else 0)
    tall = foot + sum(head) + len(rows) * side * frame.tall + (len(rows) - 1) * 1.0
    figure = Figure(wide, tall, style=style, provenance=provenance)
    top = tall
    for row, above in zip(rows, head, strict=True):
        top -= above + side * frame.tall
        for column, place in enumerate(row):
            left = edge + column * (side + GUTTER)
            ax = figure.add_axes((left / wide, top / tall, side / wide, side * frame.tall / tall))
            last = place + across >= len(shown)
            drawn = [replace(behind, place=0, mark=None, bands=())] if behind is not None else []
            _draw(ax, [*drawn, shown[place]], replace(frame, xlabel="", ylabel=""), {}, grey=bool(drawn))
            ax.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
            ax.tick_params(labelleft=column == 0, labelbottom=last)
            plainly(ax.annotate("\n".join(heads[place]), (0, 1), xycoords="axes fraction", xytext=(0, 3), va="bottom",
                                textcoords="offset points", size=size, linespacing=1.15,
                                color=FAINT if shown[place].faint else "black"))  # fmt: skip
        top -= 1.0
    middle = (foot + (tall - foot - head[0]) / 2) / tall
    size = font_size("axes.labelsize")
    figure.text(
        (edge + (wide - edge - 3) / 2) / wide,
        (foot - BELOW + 0.6) / tall,
        frame.xlabel,
        ha="center",
        va="bottom",
        size=size,
    )
    plainly(figure.text(1.0 / wide, middle, frame.ylabel, ha="left", va="center", rotation=90, size=size))
    if notes:
        plainly(figure.text(2 / wide, (foot - BELOW - 0.5) / tall, "\n".join(notes), va="top", size=font_size("legend.fontsize"),
                            linespacing=1.15, color=FAINT))  # fmt: skip
    return figure


def _draw(ax: Axes, curves: Sequence[Curve], frame: Frame, labels: dict[str, str], *, grey: bool = False) -> None:
    """Draw the curves; with `grey` the first is a line that the others are seen against."""
    frame.ground(ax)
    for number, curve in enumerate(curves):
        label = labels.get(curve.name)
        if not len(curve.x):
            ax.plot([], [], linestyle="none", label=label)
            continue
        if grey and number == 0:
            ax.plot(curve.x, curve.y, color="0.62", linewidth=0.8, zorder=2)
            continue
        dash = DASHES[(curve.place // 7 + curve.place) % len(DASHES)] if labels else "-"
        for depth, (x, low, high) in enumerate(curve.bands):
            if curve.faint and labels:  # so wide that, filled, it would cover the others
                for end in (low, high):
                    ax.plot(x, end, color="0.75", linewidth=0.5, linestyle=dash, zorder=1)
                break
            ax.fill_between(
                x, low, high, color=curve.colour, alpha=0.14 + 0.1 * depth, linewidth=0, zorder=1 + 0.1 * depth
            )
        ax.plot(curve.x, curve.y, color=curve.colour, linestyle=dash, label=label, zorder=3)
        if curve.points is not None and not (curve.faint and labels):
            x, y, low, high = curve.points
            ax.vlines(x, low, high, color=curve.colour, linewidth=0.5, zorder=3.5)
            ax.plot(x, y, linestyle="none", marker="o", markersize=2.4, color=curve.colour, zorder=3.6)
        if curve.bars is not None and not (curve.faint and labels):
            left, across, up = curve.bars
            bottom = frame.ylim[0]
            ax.bar(
                left, up, across, bottom, align="edge", color="none", edgecolor=curve.colour, linewidth=0.5, zorder=2
            )
        if curve.mark is not None and all(map(math.isfinite, curve.mark)):
            ax.plot(*curve.mark, marker="o", color=curve.colour, markeredgecolor="white", markeredgewidth=0.6, zorder=4)
    ax.set(xlim=frame.xlim, ylim=frame.ylim)
    if frame.yticks is not None:
        ax.set_yticks(frame.yticks)
    ax.set_xlabel(frame.xlabel)
    plainly(ax.yaxis.label).set_text(frame.ylabel)
    if frame.tall == 1:
        ax.set_aspect("equal")


def _legend(ax: Axes, curves: Sequence[Curve], place: tuple[float, float]) -> None:
    legend = ax.legend(loc="upper left", bbox_to_anchor=place, borderaxespad=0, borderpad=0)
    faint = [curve.faint for curve in curves]
    for text, few in zip(legend.get_texts(), faint, strict=True):
        plainly(text).set_color(FAINT if few else "black")

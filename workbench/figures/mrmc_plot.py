"""A reader study: every reader with every modality, the means, and the differences."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.audit.paper import p_text
from workbench.errors import InputError
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import FAINT, elided, font_size, plainly, styled, text_width, width_in_mm, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from workbench.audit.finding import Finding

# mm: left of the values' axes, below axes, above them, their least height, one row of differences, a line of text, gaps.
LEFT, BELOW, ABOVE, HIGH, ROW, LINE, GAP = 13.0, 10.0, 5.0, 48.0, 4.2, 3.4, 3.0
# From WIDE mm on the panels stand side by side, the left one taking this share.
WIDE, SHARE = 120.0, 0.38
# More readers than the palette has colours are drawn in grey and not named in the left panel.
COLOURS = 7
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
WEIGHT = 1.08  # of bold type, against plain
BESIDE = 0.16  # of the step between modalities: how far right of the readers their mean stands
MEAN = "all readers"


def mrmc(finding: Finding, *, width: float | str = "double", style: str = "default") -> Figure:
    """Draw a reader study as :func:`workbench.audit.mrmc` found it.

    On the left each reader's value with each modality, joined by a line, beside the mean with its interval; a stand-alone
    model is a diamond. On the right the difference: with one, reader by reader (each interval holds for that reader) and
    for all; with several, each mean with the readers as ticks.

    Parameters
    ----------
    finding : of :func:`workbench.audit.mrmc`.
    width : mm, ``"single"`` (panels below each other) or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Raises
    ------
    InputError : where the finding is of another kind.
    """
    if finding.kind != "mrmc":
        message = f"this is a finding of kind {finding.kind!r}; give one of wb.audit.mrmc."
        raise InputError(message)
    made = figure_provenance("mrmc", {"style": style}, {"finding": finding.provenance})
    wide = width_in_mm(width, style)
    rows = _rows(finding)
    with styled(style):
        beside = wide >= WIDE and bool(rows)
        first = SHARE * wide if beside else wide
        text = _columns(rows, wide - first - GAP if beside else wide)
        names = _names(finding, (first - LEFT - 2) / len(_modalities(finding)))
        below = BELOW + LINE * (max(len(lines) for lines in names) - 1) + _legend_height(finding, first)
        tall_rows = text.height + 2
        high = max(HIGH, tall_rows) if beside else HIGH
        tall = below + high + ABOVE + (0 if beside or not rows else BELOW + tall_rows + ABOVE)
        figure = Figure(wide, tall, style=style, provenance=made)
        top = tall - ABOVE
        ax = figure.add_axes((LEFT / wide, (top - high) / tall, (first - LEFT - 2) / wide, high / tall))
        _draw_values(ax, finding, names)
        _legend(figure, ax, finding, first)
        if rows:
            left, upper, room = (
                (first + GAP, top, wide - first - GAP) if beside else (0.0, top - high - below - ABOVE, wide)
            )
            place = (
                (left + text.left) / wide,
                (upper - tall_rows) / tall,
                (room - text.left - text.right) / wide,
                tall_rows / tall,
            )
            second = figure.add_axes(place)
            _draw_differences(second, rows, text, finding)
            for letter, panel, offset in (("a", ax, LEFT), ("b", second, text.left)):
                across = panel.get_position().width * wide
                panel.text(-offset / across, 1.02, letter, transform=panel.transAxes, fontweight="bold", va="bottom")
    return figure


@dataclass(frozen=True)
class Columns:
    """The text beside the differences: mm left and right of the axes, and the lines of each row's name."""

    left: float
    right: float
    names: list[list[str]]

    @property
    def height(self) -> float:
        """Height of all rows, mm."""
        return sum(self.heights)

    @property
    def heights(self) -> list[float]:
        """Height of each row, mm."""
        return [ROW + LINE * (len(lines) - 1) for lines in self.names]


Row = dict[str, Any]


def _modalities(finding: Finding) -> list[str]:
    """Return the modalities as drawn: the one that others are compared with first, as things were before."""
    table = finding.table
    names = list(table[table["by"] == "modality"]["group"])
    return names[::-1] if finding.settings["reference"] else names


def _rows(finding: Finding) -> list[Row]:
    """Return the rows of the right panel: readers and their mean, or one a difference."""
    table, readers = finding.table, finding.tables["reader_differences"]
    gaps: list[Row] = table[table["by"] == "difference"].to_dict("records")  # type: ignore[assignment]
    if len(gaps) == 1 and len(readers):
        own: list[Row] = readers.to_dict("records")  # type: ignore[assignment]
        rows = [row | {"name": row["reader"], "main": False, "ticks": []} for row in own]
        return [*rows, gaps[0] | {"name": MEAN, "main": True, "ticks": []}]
    return [
        row | {"name": row["group"], "main": True, "ticks": list(readers[readers["group"] == row["group"]]["value"])} for row in gaps
    ]  # fmt: skip


def _columns(rows: list[Row], room: float) -> Columns:
    size = font_size("ytick.labelsize")
    if not rows:
        return Columns(0.0, 0.0, [])
    right = max(text_width(_said(row), size) for row in rows) + 4.0
    most = max(room - right - max(0.35 * room, 22.0), 14.0)
    names = [wrapped(row["name"], size * WEIGHT, most) for row in rows]
    left = max(text_width(line, size, bold=True) for lines in names for line in lines) + 3.2
    return Columns(left, right, names)


def _said(row: Row) -> str:
    value, low, high = (_number(row[name]) for name in ("value", "low", "high"))
    interval = "" if math.isnan(row["low"]) else f" [{low}, {high}]"
    p = row.get("p", math.nan)
    return value + interval + ("" if math.isnan(p) else f"  p = {p_text(p)}".replace("= <", "< "))


def _number(value: float) -> str:
    return f"{value:z.2f}".replace("-", "−")


def _names(finding: Finding, room: float) -> list[list[str]]:
    return [wrapped(name, font_size("ytick.labelsize"), room) for name in _modalities(finding)]


def _people(finding: Finding) -> list[str]:
    readers = finding.tables["readers"]
    return list(dict.fromkeys(readers[~readers["standalone"]]["reader"]))


def _draw_values(ax: Axes, finding: Finding, names: list[list[str]]) -> None:
    readers = finding.tables["readers"]
    means: dict[str, Row] = {row["group"]: row for row in finding.table.to_dict("records")}  # type: ignore[misc]
    places = {name: place for place, name in enumerate(_modalities(finding))}
    people = _people(finding)
    for number, reader in enumerate(people):
        own = readers[(readers["reader"] == reader) & ~readers["standalone"]]
        own = own.assign(x=own["modality"].map(places)).sort_values("x")
        colour, dash = (f"C{number}", DASHES[number % len(DASHES)]) if len(people) <= COLOURS else ("0.6", "-")
        ax.plot(own["x"], own["value"], color=colour, linestyle=dash, linewidth=0.7, marker="o", markersize=2.5, label=reader,
                zorder=2, clip_on=False)  # fmt: skip
    alone = set(readers[readers["standalone"]]["modality"])
    for name, place in places.items():
        row = means[name]
        x = place + (0 if name in alone else BESIDE)
        if not math.isnan(row["low"]):
            ax.plot([x, x], [row["low"], row["high"]], color="black", solid_capstyle="butt", zorder=3)
        ax.plot(x, row["value"], color="black", marker="D" if name in alone else "s", zorder=4)
    metric = str(finding.table["metric"].iloc[0])
    ax.set(xlim=(-0.35, len(places) - 0.65 + BESIDE), ylabel=metric[0].upper() + metric[1:], ylim=_limits(finding))
    ax.set_xticks(range(len(places)), ["\n".join(lines) for lines in names], fontsize=font_size("ytick.labelsize"))
    for label in ax.get_xticklabels():
        plainly(label)


def _limits(finding: Finding) -> tuple[float, float]:
    """Return ends around all values and the means' intervals, within 0–1 with room for a mark."""
    means = finding.table[finding.table["by"] == "modality"]
    shown = [*finding.tables["readers"]["value"], *means["low"].dropna(), *means["high"].dropna()]
    pad = 0.06 * max(max(shown) - min(shown), 0.05)
    return max(min(shown) - pad, -0.02), min(max(shown) + pad, 1.005 if max(shown) >= 1 else 1.0)


def _draw_differences(ax: Axes, rows: list[Row], text: Columns, finding: Finding) -> None:
    from matplotlib.ticker import MaxNLocator

    size = font_size("ytick.labelsize")
    ax.axvline(0, color="0.3", linewidth=0.7, zorder=1)
    top = 0.0
    for row, lines, high in zip(rows, text.names, text.heights, strict=True):
        middle, top = top + high / 2, top + high
        main = row["main"]
        colour = FAINT if row.get("note") else "black" if main else "0.35"
        if not math.isnan(row["low"]):
            ax.plot(
                [row["low"], row["high"]],
                [middle] * 2,
                color=colour,
                solid_capstyle="butt",
                linewidth=1.4 if main else 0.8,
                zorder=2,
            )
        if row["ticks"]:
            ax.plot(
                row["ticks"],
                [middle + 1.4] * len(row["ticks"]),
                linestyle="none",
                marker="|",
                markersize=3.5,
                color="0.55",
                zorder=2,
            )
        ax.plot(
            row["value"], middle, marker="s" if main else "o", markersize=4 if main else 2.5, color=colour, zorder=3
        )
        look = {"size": size, "color": colour, "va": "center_baseline" if len(lines) == 1 else "center"}
        bold = "bold" if main and row["name"] == MEAN else "normal"
        _beside(ax, "\n".join(lines), (0, middle), -2, ha="right", fontweight=bold, linespacing=1.1, **look)
        _beside(ax, _said(row), (1, middle), 2, ha="left", **look)
    ax.set(ylim=(text.height + 1, -1), yticks=[])
    ax.spines["left"].set_visible(False)
    across = ax.get_window_extent().width / ax.figure.dpi * 25.4
    ax.xaxis.set_major_locator(MaxNLocator(max(2, min(6, int(across / 10)))))
    gaps = finding.table[finding.table["by"] == "difference"]["group"]
    metric = str(finding.table["metric"].iloc[0])
    plainly(
        ax.set_xlabel(
            elided(f"{metric}: {gaps.iloc[0]}" if len(gaps) == 1 else f"{metric}: difference", size, across + text.left)
        )
    )


def _beside(ax: Axes, words: str, place: tuple[float, float], mm: float, **settings: Any) -> None:
    """Write at a height, `mm` to the right of the axes' left (0) or right (1) edge."""
    plainly(ax.annotate(words, place, xycoords=("axes fraction", "data"), xytext=(mm * 72 / 25.4, 0),
                        textcoords="offset points", annotation_clip=False, **settings))  # fmt: skip


def _legend_columns(finding: Finding, room: float) -> int:
    size, people = font_size("legend.fontsize"), _people(finding)
    most = max(1, int((room - 2) / (max(text_width(name, size) for name in people) + 11)))
    # As many rows as are needed, of equal length.
    return -(-len(people) // -(-len(people) // most))


def _legend_height(finding: Finding, room: float) -> float:
    people = _people(finding)
    if len(people) > COLOURS:
        return 0.0
    return LINE * -(-len(people) // _legend_columns(finding, room)) + 2.0


def _legend(figure: Figure, ax: Axes, finding: Finding, room: float) -> None:
    """Name the readers below the left panel, where there are colours for them."""
    if len(_people(finding)) > COLOURS:
        return
    wide, tall = figure.get_size_inches() * 25.4
    box = ax.get_position()
    lines = max(label.get_text().count("\n") for label in ax.get_xticklabels())
    top = box.y0 * tall - BELOW + 3 - LINE * lines
    legend = figure.legend(
        *ax.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(2 / wide, top / tall), ncols=_legend_columns(finding, room),
        fontsize=font_size("legend.fontsize"), borderaxespad=0, borderpad=0, columnspacing=1.0, handlelength=1.8,
    )  # fmt: skip
    for text in legend.get_texts():
        plainly(text)

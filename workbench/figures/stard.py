"""The STARD flow diagram: boxes, arrows, and who was left out on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.errors import InputError
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import POINTS_PER_MM, font_size, plainly, styled, width_in_mm, wrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.audit.finding import Finding

# mm: round the diagram, inside a box, between two rows, between two columns, from an arm's left edge to its arrow.
MARGIN, PADDING, GAP, GUTTER, INSET = 1.0, 1.2, 4.5, 3.0, 3.0
WIDEST, BESIDE = 62.0, 50.0  # mm; no box need be wider, nor need those beside the trunk have more
ROOMY = 183.0  # mm; the width that is laid out in axes given by the caller


@dataclass(frozen=True)
class Box:
    """A box: its lines of text, its left, top and width, mm; y grows downwards."""

    lines: Sequence[str]
    left: float
    top: float
    width: float
    line: float

    @property
    def height(self) -> float:
        """Of the box, mm."""
        return len(self.lines) * self.line + 2 * PADDING

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.top + self.height

    @property
    def middle(self) -> float:
        """Centre from the left."""
        return self.left + self.width / 2


@dataclass(frozen=True)
class Layout:
    """Boxes, and arrows as corners ``[(x, y), …]`` whose last has the head."""

    boxes: Sequence[Box]
    arrows: Sequence[Sequence[tuple[float, float]]]
    height: float


def stard(
    finding: Finding, *, ax: Axes | None = None, width: float | str = "double", style: str = "default"
) -> Figure | Axes:
    """Draw the flow of participants: who was potentially eligible, was left out and why, and what was found in the rest.

    Parameters
    ----------
    finding : of :func:`workbench.audit.stard`.
    ax : axes to fill with the diagram; by default a new figure, as high as the diagram is.
    width : of a new figure: mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Returns
    -------
    The figure, or `ax` where it was given.

    Raises
    ------
    InputError : where the finding is of another kind, or `width` leaves no room for the text.
    """
    if finding.kind != "stard":
        message = (
            f"this is a finding of wb.audit.{finding.kind}; the flow of participants is drawn from wb.audit.stard(…)."
        )
        raise InputError(message)
    if ax is not None:
        _draw(ax, _layout(finding, ROOMY), ROOMY)
        return ax
    wide = width_in_mm(width, style)
    if wide < 75:
        message = f"width {wide:g} mm is too narrow for the boxes side by side; take 75 mm or more."
        raise InputError(message)
    made = figure_provenance("stard", {"style": style}, {"finding": finding.provenance})
    with styled(style):
        layout = _layout(finding, wide)
        figure = Figure(wide, layout.height, style=style, provenance=made)
        _draw(figure.add_axes((0, 0, 1, 1)), layout, wide)
    return figure


def _layout(finding: Finding, wide: float) -> Layout:
    size = font_size("legend.fontsize")
    line = 1.22 * size / POINTS_PER_MM
    table, reasons, unit = finding.table, finding.to_frame("reasons"), finding.settings["unit"]

    def box(lines: Sequence[str], left: float, top: float, width: float) -> Box:
        broken = [part for text in lines for part in wrapped(text, size, width - 2 * PADDING)]
        return Box(broken, left, top, width, line)

    trunk = min((wide - 2 * MARGIN) * 0.46, WIDEST)
    # In the middle, unless those who were left out need the room on its right.
    aside = sum(_count(table, name) for name in ("excluded", "no index test")) > 0
    right = 2 * GUTTER + min(trunk, BESIDE) + MARGIN if aside else 0.0
    left = max(min((wide - trunk) / 2, wide - right - trunk), MARGIN)
    side_left = left + trunk + 2 * GUTTER
    side_width = wide - MARGIN - side_left
    boxes, arrows, top = [], [], MARGIN
    rows = [
        (f"Potentially eligible {unit}", "potentially eligible", "excluded", "Excluded"),
        (f"Eligible {unit}", "eligible", "no index test", "No index test"),
        ("Index test", "index test", None, ""),
    ]
    for text, name, left_out, head in rows:
        n = _count(table, name)
        if name == "potentially eligible" and not _count(table, "excluded"):
            continue
        one = box([f"{text} (n={n:,})"], left, top, trunk)
        boxes.append(one)
        if left_out is None:
            top = one.bottom
            continue
        lost = _count(table, left_out)
        below = one.bottom + GAP
        if lost:
            side = box(
                [f"{head} (n={lost:,})", *_because(reasons, left_out, "")],
                side_left,
                one.bottom + GAP / 2,
                side_width,
            )
            boxes.append(side)
            across = side.top + side.height / 2
            arrows.append([(one.middle, across), (side.left, across)])
            below = side.bottom + GAP / 2
        arrows.append([(one.middle, one.bottom), (one.middle, below)])
        top = below
    return _arms(box, finding, wide, (boxes, arrows))


def _arms(box, finding: Finding, wide: float, begun: tuple[list[Box], list[list[tuple[float, float]]]]) -> Layout:  # type: ignore[no-untyped-def]
    """Go on below the index test: a column for each of its results."""
    boxes, arrows = begun
    table, reasons = finding.table, finding.to_frame("reasons")
    cross = finding.to_frame("cross").set_index("index test")
    arms = list(cross.index)
    trunk = boxes[-1]
    width = min((wide - 2 * MARGIN - (len(arms) - 1) * GUTTER) / len(arms), WIDEST)
    across = len(arms) * width + (len(arms) - 1) * GUTTER
    start = min(max(trunk.middle - across / 2, MARGIN), wide - MARGIN - across)
    lefts = [start + place * (width + GUTTER) for place in range(len(arms))]
    split = trunk.bottom + GAP / 2
    heads = [
        box([f"Index test {arm} (n={_count(table, 'index test', arm):,})"], left, split + GAP / 2 + 1, width)
        for arm, left in zip(arms, lefts, strict=True)
    ]
    arrows.extend(
        [(trunk.middle, trunk.bottom), (trunk.middle, split), (one.middle, split), (one.middle, one.top)]
        for one in heads
    )
    below = max(one.bottom for one in heads)
    # Whoever had no reference standard stands beside the arrow, which runs near the column's left edge.
    sides = []
    for arm, left in zip(arms, lefts, strict=True):
        lost = _count(table, "no reference standard", arm)
        if lost:
            text = [f"No reference standard (n={lost:,})", *_because(reasons, "no reference standard", arm)]
            sides.append(box(text, left + 2 * INSET, below + GAP / 2, width - 2 * INSET))
            middle = sides[-1].top + sides[-1].height / 2
            arrows.append([(left + INSET, middle), (sides[-1].left, middle)])
    row = max([one.bottom for one in sides], default=below + GAP / 2) + GAP / 2
    verified = [
        box([f"Reference standard (n={_count(table, 'reference standard', arm):,})"], left, row, width)
        for arm, left in zip(arms, lefts, strict=True)
    ]
    last = max(one.bottom for one in verified) + GAP
    final = []
    for arm, left in zip(arms, lefts, strict=True):
        found = [
            f"{name} (n={cross.loc[arm, name]:,})"
            for name in cross.columns
            if name != "inconclusive" or cross[name].any()
        ]
        final.append(box(["Final diagnosis:", *found], left, last, width))
    for one, other, under, left in zip(heads, verified, final, lefts, strict=True):
        x = left + INSET if sides else one.middle
        arrows.extend([[(x, one.bottom), (x, other.top)], [(under.middle, other.bottom), (under.middle, under.top)]])
    return Layout([*boxes, *heads, *sides, *verified, *final], arrows, max(one.bottom for one in final) + MARGIN)


def _count(table: pd.DataFrame, name: str, arm: str = "") -> int:
    return int(table.loc[(table["box"] == name) & (table["arm"] == arm), "n"].iloc[0])


def _because(reasons: pd.DataFrame, name: str, arm: str) -> list[str]:
    own = reasons[(reasons["box"] == name) & (reasons["arm"] == arm)]
    return [f"{reason} (n={n:,})" for reason, n in zip(own["reason"], own["n"], strict=True)]


def _draw(ax: Axes, layout: Layout, wide: float) -> None:
    from matplotlib.patches import Rectangle

    ax.set(xlim=(0, wide), ylim=(layout.height, 0))
    ax.set_axis_off()
    size = font_size("legend.fontsize")
    for corners in layout.arrows:
        *start, before, end = corners
        if start:
            points = [*start, before]
            ax.plot(*zip(*points, strict=True), color="0.25", linewidth=0.7, solid_joinstyle="miter", zorder=1)
        ax.annotate("", end, before, zorder=1, arrowprops={"arrowstyle": "-|>,head_width=0.16,head_length=0.35", "color": "0.25",
                                                           "linewidth": 0.7, "shrinkA": 0, "shrinkB": 0})  # fmt: skip
    for one in layout.boxes:
        ax.add_patch(
            Rectangle(
                (one.left, one.top),
                one.width,
                one.height,
                facecolor="white",
                edgecolor="black",
                linewidth=0.7,
                zorder=2,
            )
        )
        for place, text in enumerate(one.lines):
            plainly(ax.text(one.left + PADDING, one.top + PADDING + (place + 0.5) * one.line, text, size=size, ha="left",
                            va="center_baseline", zorder=3))  # fmt: skip

"""The heat map of subgroups: every group's numbers, or its gaps, in one matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from workbench.errors import InputError, unknown_name
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import FAINT, POINTS_PER_MM, font_size, plainly, styled, text_width, width_in_mm, wrapped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from workbench.audit.metric import Metric
    from workbench.audit.result import Audit

# mm: around a text, between two partitions, the narrowest cell, the key below.
SPACE, PARTING, LEAST, KEY = 1.5, 1.6, 9.0, 13.0
# Blue is better than the reference, orange worse: told apart with any colour vision. White lies between.
WORSE, BETTER, UNCARRIED = "#D55E00", "#0072B2", "0.93"
# Printed letters may be wider than their outlines, by rounding to pixels.
WIDER = 1.04
# A difference of this much has full colour, unless a larger one is there.
FULL = 0.1


def subgroup_heatmap(
    audit: Audit, metrics: Sequence[str] | None = None, *, by: str | None = None,
    which: Literal["values", "gaps"] = "values", ax: Axes | None = None, width: float | str = "double",
    style: str = "default",
) -> Figure | Axes:  # fmt: skip
    """Write each group's numbers into a matrix, groups down and metrics across, coloured by how they compare.

    Blue is better, orange worse (white where neither more nor less is): than everybody (`which` = ``"values"``) or than the reference of the gap. What the
    sample cannot carry is grey whatever its number. A gap whose interval, adjusted for all numbers shown where
    the audit has such bands, does not hold zero is bold.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found.
    metrics : some of the audit's metrics, in this order; by default all that lie within 0–1.
    by : one of the audit's partitions; by default all, one below the other.
    which : ``"values"`` or ``"gaps"``.
    ax : axes to draw into; by default a new figure.
    width : of a new figure: mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Returns
    -------
    The figure, or `ax` where it was given.

    Raises
    ------
    InputError : where a name is unknown, there are no groups for gaps, or `width` leaves no room beside the text.
    """
    cells = _cells(audit, metrics, by, which)
    if ax is not None:
        _draw(ax, cells, which, [[group] for group in cells], Heads([[name] for name in next(iter(cells.values()))]))
        return ax
    settings = {"metrics": None if metrics is None else list(metrics), "by": by, "which": which, "style": style}
    made = figure_provenance("subgroup_heatmap", settings, {"audit": audit.provenance})
    wide = width_in_mm(width, style)
    with styled(style):
        size = font_size("ytick.labelsize")
        names = list(next(iter(cells.values())))
        longest = WIDER * max(text_width(group, size) for group in cells) + SPACE + 0.5
        left = wide - SPACE - LEAST * len(names)
        if left < 15:
            message = (
                f"width {wide:g} mm has no room for {len(names)} metrics beside the groups; take "
                f"{math.ceil(15 + SPACE + LEAST * len(names))} mm or more, or fewer metrics."
            )
            raise InputError(message)
        room = min(longest, left, max(0.4 * wide, 15.0))
        lines = [wrapped(group, size, (room - SPACE) / WIDER + 0.01) for group in cells]
        heads = [wrapped(name, size, (wide - room - SPACE) / len(names) / WIDER - 0.8) for name in names]
        upright = any("…" in line for head in heads for line in head)
        if upright:
            heads = [wrapped(name, size, 24.0) for name in names]
        head = SPACE + (max(WIDER * text_width(line, size) for head in heads for line in head) if upright
                        else max(map(len, heads)) * size * 1.25 / POINTS_PER_MM)  # fmt: skip
        height = _places(cells, lines, size)[1]
        tall = head + height + KEY
        figure = Figure(wide, tall, style=style, provenance=made)
        axes = figure.add_axes((room / wide, KEY / tall, (wide - room - SPACE) / wide, height / tall))
        _draw(axes, cells, which, lines, Heads(heads, upright))
    return figure


class Heads(NamedTuple):
    """The metrics' names, broken into lines, and whether they are written upwards."""

    names: Sequence[Sequence[str]]
    upright: bool = False


Cells = dict[str, dict[str, dict[str, Any]]]
"""Group → metric → row of the audit's table, with ``good``: how much better it is, as a signed number."""


def _cells(audit: Audit, metrics: Sequence[str] | None, by: str | None, which: str) -> Cells:
    tables = {"values": audit.table, "gaps": audit.gaps}
    if which not in tables:
        raise unknown_name("which:", which, tables)
    table = tables[which]
    known = list(audit.table["metric"].unique())
    partitions = [name for name in audit.table["by"].unique() if name]
    for metric in metrics or ():
        if metric not in known:
            raise unknown_name("metric", metric, known)
    if by is not None and by not in partitions:
        raise unknown_name("by: partition", by, partitions)
    from workbench.audit.reading import reading_of

    bounds = {found.name: found for found in reading_of(audit.settings).metrics}
    within = [name for name in known if bounds[name].bounds[0] >= -1 and bounds[name].bounds[1] <= 1]
    chosen = list(metrics) if metrics is not None else within or known
    table = table[table["metric"].isin(chosen) & table["by"].isin(["", by] if by else ["", *partitions])]
    if table.empty:
        message = "this audit has no groups, so there are no gaps to draw: audit by an attribute, as in by=['sex']."
        raise InputError(message)
    everybody = {_key(row): row["value"] for row in audit.table[audit.table["group"] == "all"].to_dict("records")}
    found: Cells = {}
    for row in table.to_dict("records"):
        metric, finding = _key(row)
        value = row["value"]
        good = (value if which == "gaps" else value - everybody[metric, finding]) * _direction(bounds[metric])
        group = f"{finding}: {row['group']}" if finding else str(row["group"])
        made = {str(name): entry for name, entry in row.items()} | {"good": good, "by": f"{finding}{row['by']}"}
        found.setdefault(group, {})[metric] = made
    return {group: {name: cells[name] for name in chosen} for group, cells in found.items()}


def _key(row: Mapping[Any, Any]) -> tuple[str, str]:
    """Return metric and finding of a row; only audits of several findings have the latter."""
    return str(row["metric"]), str(row.get("class", ""))


def _direction(metric: Metric) -> float:
    """Return 1 where more is better, −1 where less is, 0 where neither is."""
    if math.isnan(metric.best) or metric.bounds[0] < metric.best < metric.bounds[1]:
        return 0.0
    return 1.0 if metric.best == metric.bounds[1] else -1.0


def _places(cells: Cells, lines: Sequence[Sequence[str]], size: float) -> tuple[list[tuple[float, float]], float]:
    """Return top and height of each row in mm, and the height of all."""
    line = size * 1.25 / POINTS_PER_MM
    places, top, last = [], 0.0, None
    for group, name in zip(cells, lines, strict=True):
        by = next(iter(cells[group].values()))["by"]
        top += PARTING if last is not None and by != last else 0.0
        high = max(len(name) * line + SPACE, 1.9 * line)
        places.append((top, high))
        top, last = top + high, by
    return places, top


def _draw(ax: Axes, cells: Cells, which: str, lines: Sequence[Sequence[str]], heads: Heads) -> None:
    from matplotlib.patches import Rectangle

    size = font_size("ytick.labelsize")
    names = list(next(iter(cells.values())))
    places, height = _places(cells, lines, size)
    full = max([FULL, *(abs(cell["good"]) for row in cells.values() for cell in row.values()
                        if not cell["note"] and math.isfinite(cell["good"]))])  # fmt: skip
    ax.set(xlim=(0, len(names)), ylim=(height, 0), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    for (group, row), (top, high), name in zip(cells.items(), places, lines, strict=True):
        plainly(ax.annotate("\n".join(name), (0, top + high / 2), xycoords=("axes fraction", "data"),
                            xytext=(-SPACE * POINTS_PER_MM, 0), textcoords="offset points", ha="right", va="center",
                            size=size, linespacing=1.15, weight="bold" if group == "all" or group.endswith(": all") else "normal",
                            annotation_clip=False))  # fmt: skip
        for column, cell in enumerate(row.values()):
            ground, ink = _colours(cell, full)
            ax.add_patch(Rectangle((column, top), 1, high, facecolor=ground, edgecolor="white", linewidth=0.8))
            ax.text(column + 0.5, top + high / 2, _said(cell, which), ha="center", va="center_baseline", size=size, color=ink,
                    weight="bold" if _sure(cell, which) else "normal")  # fmt: skip
    for column, head in enumerate(heads.names):
        plainly(ax.annotate("\n".join(head), (column + 0.5, 0), xycoords="data", xytext=(0, 2), textcoords="offset points",
                            ha="center", va="bottom", size=size, linespacing=1.1, annotation_clip=False,
                            rotation=90 if heads.upright else 0))  # fmt: skip
    _legend(ax, which, full, size)


def _colours(cell: dict[str, Any], full: float) -> tuple[Any, str]:
    from matplotlib.colors import to_rgb

    if cell["note"] or math.isnan(cell["value"]):
        return UNCARRIED, FAINT
    share = max(-1.0, min(1.0, cell["good"] / full))
    strong = to_rgb(BETTER if share > 0 else WORSE)
    ground = tuple(1 - abs(share) * 0.85 * (1 - channel) for channel in strong)
    return ground, "white" if abs(share) > 0.7 else "black"


def _said(cell: dict[str, Any], which: str) -> str:
    if math.isnan(cell["value"]):
        return "–"
    text = f"{cell['value']:{'+' if which == 'gaps' else ''}z.2f}".replace("-", "−")
    return "0.00" if text == "+0.00" else text


def _sure(cell: dict[str, Any], which: str) -> bool:
    """Say whether a gap's widest interval leaves zero out."""
    low, high = (cell.get(f"band_{end}", math.nan) for end in ("low", "high"))
    if math.isnan(low):
        low, high = cell["low"], cell["high"]
    return which == "gaps" and not cell["note"] and (low > 0 or high < 0)


def _legend(ax: Axes, which: str, full: float, size: float) -> None:
    """Draw the scale of colours below, with what grey means."""
    from matplotlib.patches import Rectangle

    steps, wide = 41, 38.0
    box, bottom = (side / ax.figure.dpi * 25.4 for side in ax.get_window_extent().size)
    start = min(0.0, box - wide - 32)  # beside narrow cells it begins under the names

    def at(across: float, down: float) -> tuple[float, float]:
        return (start + across) / box, -down / bottom

    look: dict[str, Any] = {"transform": ax.transAxes, "clip_on": False, "linewidth": 0}
    for step in range(steps):
        ground, _ = _colours({"note": "", "value": 0.0, "good": full * (2 * step / (steps - 1) - 1)}, full)
        patch = Rectangle(
            at(wide / steps * step, 6.5), wide / steps / box * 1.05, 2.5 / bottom, facecolor=ground, **look
        )
        ax.add_patch(patch)
    words: dict[str, Any] = {"size": size, "color": "0.2", "transform": ax.transAxes}
    beside = "everybody" if which == "values" else "the reference"
    ax.text(*at(0, 7.2), f"{full:.2f} worse", ha="left", va="top", **words)
    ax.text(*at(wide, 7.2), f"{full:.2f} better", ha="right", va="top", **words)
    ax.text(*at(wide / 2, 3.4), f"than {beside}", ha="center", va="bottom", **words)
    ax.add_patch(Rectangle(at(wide + 6, 6.5), 4 / box, 2.5 / bottom, facecolor=UNCARRIED, **look))
    ax.text(*at(wide + 11.5, 5.3), "too few cases", ha="left", va="center", **words)

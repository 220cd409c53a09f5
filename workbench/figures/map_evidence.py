"""What speaks for heat maps: their change as the model is randomised, and the score as pixels are taken out and put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.clustered import means
from workbench.errors import InputError
from workbench.figures.figure import Figure, figure_provenance
from workbench.figures.style import font_size, plainly, styled, width_in_mm

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.explain.quality.result import Trust

# mm: left of each panel, right, below, above, height of the axes, one line of the legend; from WIDE on side by side.
LEFT, RIGHT, BELOW, ABOVE, HIGH, LINE, WIDE = 15.0, 3.0, 9.0, 5.0, 38.0, 3.7, 120.0
DASHES = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1, 1, 1, 1, 1)))
OTHER, OTHER_DASH = "map of another patient", (0, (1, 2))
CONTROLS = {"random order": (0, (1, 1)), "edges": (0, (3, 1.5))}
REMOVAL = "deletion and insertion"
PANELS = {"cascade": "rank correlation", "deletion": "deletion", "insertion": "insertion"}


def map_evidence(trust: Trust, *, width: float | str = "double", style: str = "default") -> Figure:
    """Draw how maps change as the model is randomised, and the score under deletion and insertion, beside the controls.

    Lines are means over images, bands their intervals, by patient. A map that explains the model falls to its control
    (the similarity of maps of two patients) on the left, lies below the controls in the middle, above them on the right.

    Parameters
    ----------
    trust : made by :func:`workbench.explain.trust`, with the parts sanity or faithfulness or both.
    width : mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Raises
    ------
    InputError : where neither part was asked for.
    """
    drawn = ["cascade"] if "cascade" in trust.curves else []
    drawn += ["deletion", "insertion"] if REMOVAL in trust.curves else []
    if not drawn:
        message = "this evidence has no curves; ask for them, wb.explain.trust(model, maps, parts=['sanity', 'faithfulness'])."
        raise InputError(message)
    made = figure_provenance("map_evidence", {"style": style}, {"trust": trust.provenance})
    wide = width_in_mm(width, style)
    # Side by side where there is room, else one below the other.
    across = len(drawn) if wide >= WIDE else 1
    side = wide / across - LEFT - RIGHT
    entries = len(trust.methods) + ("cascade" in trust.curves) + (len(CONTROLS) if REMOVAL in trust.curves else 0)
    columns = max(1, int(wide / 42))
    row = BELOW + HIGH + ABOVE
    tall = row * -(-len(drawn) // across) + LINE * -(-entries // columns)
    with styled(style):
        figure = Figure(wide, tall, style=style, provenance=made)
        for place, panel in enumerate(drawn):
            left, top = (place % across) * wide / across + LEFT, tall - (place // across) * row
            ax = figure.add_axes((left / wide, (top - ABOVE - HIGH) / tall, side / wide, HIGH / tall))
            if panel == "cascade":
                _draw_cascade(ax, trust, trust.curves["cascade"])
            else:
                _draw_removal(ax, trust, trust.curves[REMOVAL], panel)
            if len(drawn) > 1:
                ax.text(-LEFT / side, 1.02, "abc"[place], transform=ax.transAxes, fontweight="bold", va="bottom")
        lines = {str(line.get_label()): line for ax in figure.axes for line in ax.get_lines()}
        named = {label: line for label, line in lines.items() if not label.startswith("_")}
        legend = figure.legend(
            list(named.values()), list(named), loc="lower left", bbox_to_anchor=(LEFT / wide, 0), ncols=columns,
            fontsize=font_size("legend.fontsize"), borderaxespad=0.2,
        )  # fmt: skip
        for text in legend.get_texts():
            plainly(text)
    return figure


def _draw_cascade(ax: Axes, trust: Trust, curve: pd.DataFrame) -> None:
    curve = curve[curve["measure"] == PANELS["cascade"]]
    for place, method in enumerate(trust.methods):
        own = curve[curve["method"] == method]
        _line(
            ax,
            trust,
            own,
            "value",
            at="fraction",
            colour=f"C{place}",
            dash=DASHES[place % len(DASHES)],
            label=method,
            start=1.0,
        )
        row = trust.table.query("method == @method and group == 'all' and part == 'sanity'")
        control = row["baseline"].dropna()
        if len(control):
            ax.axhline(control.iloc[0], color=f"C{place}", linewidth=0.6, linestyle=OTHER_DASH, zorder=1)
    ax.axhline(0, color="0.6", linewidth=0.5, zorder=0)
    ax.plot([], [], color="0.45", linewidth=0.6, linestyle=OTHER_DASH, label=OTHER)
    ax.set(xlabel="Parameters randomised", ylabel="Rank correlation", xlim=(0, 1), ylim=(None, 1.03))


def _draw_removal(ax: Axes, trust: Trust, curves: pd.DataFrame, panel: str) -> None:
    curves = curves[curves["curve"] == PANELS[panel]]
    for place, method in enumerate(trust.methods):
        own = curves[(curves["method"] == method) & (curves["order"] == "map")]
        _line(
            ax, trust, own, "score", at="fraction", colour=f"C{place}", dash=DASHES[place % len(DASHES)], label=method
        )
    for name, dash in CONTROLS.items():
        # The controls do not depend on the method; those of the first stand for all.
        own = curves[(curves["method"] == trust.methods[0]) & (curves["order"] == name)]
        _line(ax, trust, own, "score", at="fraction", colour="0.45", dash=dash, label=name)
    said = "removed" if panel == "deletion" else "shown"
    ax.set(xlabel=f"Pixels {said}", ylabel="Explained score", xlim=(0, 1))


def _line(
    ax: Axes, trust: Trust, curve: pd.DataFrame, column: str, *, at: str, colour: str, dash: object, label: str,
    start: float | None = None,
) -> None:  # fmt: skip
    """Draw the mean over images with its interval by patient; `start` is the value of the untouched model."""
    wide = curve.pivot_table(index="id", columns=at, values=column, dropna=False)
    if wide.empty:
        return
    patients = trust.images.loc[trust.images["method"] == curve["method"].iloc[0], "patient"]
    mean = means(wide.to_numpy(dtype=np.float64), patients.loc[wide.index].to_numpy())
    low, high = mean.intervals(trust.settings["level"])
    x, y = wide.columns.to_numpy(dtype=np.float64), mean.values
    if start is not None:
        x, y, low, high = (np.r_[first, rest] for first, rest in ((0.0, x), (start, y), (start, low), (start, high)))
    ax.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
    ax.plot(x, y, color=colour, linestyle=dash, label=label, zorder=3)

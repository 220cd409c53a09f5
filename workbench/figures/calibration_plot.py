"""The reliability diagram, for everybody or group by group."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workbench.figures.curve_panel import Curve, Frame, bands_of, draw_curves
from workbench.figures.figure import figure_provenance
from workbench.figures.roc_curve import rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from workbench.audit.calibration.by_group import GroupCalibration
    from workbench.audit.result import Audit
    from workbench.figures.figure import Figure

# Of the axes: how high the largest bar of a histogram is, and where they begin.
BAR, LOWEST = 0.12, -0.18


def calibration(
    audit: Audit,
    by: str | None = None,
    *,
    bins: int = 10,
    ax: Axes | None = None,
    width: float | str = "single",
    style: str = "default",
) -> Figure | Axes:
    """Draw what share of the images with a score is positive, against the score.

    Dots with whiskers are bins that hold as many images each (Wilson's interval, patients kept together); the line is a
    smooth curve with the band that holds along the whole of it; the histogram below shows where the scores are. The
    legend gives the expected calibration error (ECE) and the range that chance alone would give a calibrated model in a
    sample like this: an error within it is no evidence against the model. With more than three groups each has axes of
    its own, and everybody's curve in grey.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found.
    by : one of the audit's partitions (``"sex"``, ``"sex × age"``); by default everybody.
    bins : number of dots, 2–50.
    ax : axes to draw into, in the settings they were made with; by default a new figure.
    width : of a new figure: mm, ``"single"`` or ``"double"`` column.
    style : ``"default"``, ``"nature"`` or ``"ieee"``.

    Returns
    -------
    The figure, or `ax` where it was given.

    Raises
    ------
    InputError : where `by` is not one of the audit's partitions, or `bins` out of range.
    """
    from workbench.audit.calibration.by_group import calibration_by_group

    rows = rows_of(audit, by)
    made = figure_provenance("calibration", {"by": by, "bins": bins, "style": style}, {"audit": audit.provenance})
    positive = audit.settings["positive"]
    frame = Frame(f"Score of {positive}", f"Share that is {positive}", (-0.02, 1.02), (LOWEST, 1.02),
                  tall=(1.02 - LOWEST) / 1.04, yticks=(0, 0.2, 0.4, 0.6, 0.8, 1), ground=_ideal)  # fmt: skip
    curves = _curves(calibration_by_group(audit, by or "", bins=bins), rows)
    behind = _curves(calibration_by_group(audit, bins=bins, replicates=100), rows_of(audit, None))[0] if by else None
    return draw_curves(curves, frame, made, ax=ax, width=width, style=style, behind=behind)


def _curves(found: GroupCalibration, rows: pd.DataFrame) -> list[Curve]:
    curves = []
    for place, (group, part) in enumerate(rows.groupby("group", sort=False)):
        tables = (found.shares, found.curves, found.errors, found.histogram)
        shares, curve, errors, histogram = (table[table["group"] == group] for table in tables)
        drawn = not curve.empty
        dots = shares[["score", "value", "low", "high"]].to_numpy(dtype=np.float64).T
        bars = np.array(
            [
                histogram["lowest"],
                histogram["highest"] - histogram["lowest"],
                BAR * histogram["n"] / histogram["n"].max(),
            ]
        )
        curves.append(Curve(
            str(group), _said(part, errors, drawn=drawn), place, curve["score"].to_numpy(dtype=np.float64),
            curve["value"].to_numpy(dtype=np.float64), bands_of(found.curves, str(group), "score"),
            faint=bool((part["note"] != "").any()), points=dots if drawn else None, bars=bars if drawn else None,
        ))  # fmt: skip
    return curves


def _said(rows: pd.DataFrame, errors: pd.DataFrame, *, drawn: bool) -> str:
    first = rows.iloc[0]
    count = f"({first['positives']}/{first['n']} positive)"
    error = errors.iloc[0]
    if not drawn or math.isnan(error["value"]):
        return f"calibration not estimable {count}"
    return f"ECE {error['value']:.3f} (by chance {error['low']:.3f}–{error['high']:.3f}) {count}"


def _ideal(ax: Axes) -> None:
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.6, linestyle=(0, (2, 2)), zorder=1)

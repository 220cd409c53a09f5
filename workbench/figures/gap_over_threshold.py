"""The gap between groups at every threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.figures.curve_panel import Curve, Frame, bands_of, draw_curves
from workbench.figures.figure import figure_provenance
from workbench.figures.roc_curve import faintly, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from workbench.audit.result import Audit
    from workbench.figures.figure import Figure


def gap_over_threshold(
    audit: Audit, by: str, *, metric: str = "sensitivity", reference: str = "rest", ax: Axes | None = None,
    width: float | str = "single", style: str = "default",
) -> Figure | Axes:  # fmt: skip
    """Draw how a metric of each group differs from that of a reference, at every threshold.

    The dark band holds at each threshold for itself, the light one at all thresholds at once; the dotted line is the
    audit's own threshold. With more than three groups each has axes of its own.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found.
    by : one of the audit's partitions.
    metric : one that depends on the threshold: ``sensitivity``, ``specificity``, ``PPV`` …
    reference : ``"rest"`` (everybody else) or a group of the partition.
    ax, width, style : as for :func:`workbench.figures.roc`.

    Returns
    -------
    The figure, or `ax` where it was given.

    Raises
    ------
    InputError : where a name is unknown, or the metric does not depend on the threshold.
    """
    from workbench.audit.curves.gap_over_threshold import gap_over_threshold as gaps_of

    gaps = gaps_of(audit, by, metric, reference=reference)
    settings = {"by": by, "metric": metric, "reference": reference, "style": style}
    made = figure_provenance("gap_over_threshold", settings, {"audit": audit.provenance})
    curves = []
    for place, (group, part) in enumerate(rows_of(audit, by).groupby("group", sort=False)):
        own = gaps[gaps["group"] == group]
        if group == reference:
            continue
        first = part.iloc[0]
        said = f"({first['positives']}/{first['n']} positive)"
        curves.append(Curve(
            str(group), said if len(own) else f"not estimable {said}", place, own["threshold"].to_numpy(dtype=np.float64),
            own["value"].to_numpy(dtype=np.float64), bands_of(own, str(group), "threshold", ("band_", "")), None, faintly(part, metric),
        ))  # fmt: skip
    frame = Frame("Threshold", f"{metric}: group − {reference}", (0, 1), _range(curves), tall=0.8, left=16.0,
                  ground=lambda axes: _ground(axes, audit.settings["threshold"]))  # fmt: skip
    return draw_curves(curves, frame, made, ax=ax, width=width, style=style)


def _range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Return limits of the axis, the same on both sides of zero: wide enough for every group that can carry its curve."""
    ends = [end for curve in curves if not curve.faint for _, *band in curve.bands for end in band]
    ends = ends or [end for curve in curves for _, *band in curve.bands for end in band]
    reach = 1.05 * max((float(np.nanmax(np.abs(end))) for end in ends), default=0.05)
    return -reach, reach


def _ground(ax: Axes, threshold: float) -> None:
    ax.axhline(0, color="0.3", linewidth=0.7, zorder=0.5)
    ax.axvline(threshold, color="0.5", linewidth=0.6, linestyle=(0, (1, 1.5)), zorder=0.5)

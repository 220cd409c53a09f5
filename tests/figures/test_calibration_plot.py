"""The reliability diagram: dots, curve, band and histogram are the audit room's."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure as PlainFigure

from workbench import figures
from workbench.audit.calibration.by_group import calibration_by_group
from workbench.errors import InputError


@pytest.fixture(scope="module")
def found(audit):
    return calibration_by_group(audit, "sex", bins=5)


def test_each_dot_is_the_share_of_positives_among_the_images_of_a_bin(audit, found) -> None:
    table = audit.predictions.table
    for row in found.shares.itertuples():
        group = table["sex"].isna() if row.group == "sex=missing" else table["sex"] == row.group.removeprefix("sex=")
        inside = table[group & (table["score:1"] > row.lowest) & (table["score:1"] <= row.highest)]
        assert row.value == pytest.approx((inside["label"] == "1").mean())


def test_the_histogram_counts_every_image_once(audit, found) -> None:
    counted = found.histogram.groupby("group")["n"].sum()
    sizes = audit.table[audit.table["by"] == "sex"].groupby("group")["n"].first()
    assert counted.to_dict() == sizes.to_dict()


def test_dots_and_curve_stand_where_the_tables_say(audit) -> None:
    everybody = calibration_by_group(audit, bins=7)
    ax = figures.calibration(audit, bins=7).axes[0]
    dots = next(line for line in ax.lines if line.get_linestyle() == "None")
    assert dots.get_ydata() == pytest.approx(everybody.shares["value"].to_numpy())
    curve = max(ax.lines, key=lambda line: len(line.get_xdata()))
    assert curve.get_ydata() == pytest.approx(everybody.curves["value"].to_numpy())
    heights = np.array([patch.get_height() for patch in ax.patches])
    shares = everybody.histogram["n"] / everybody.histogram["n"].max()
    assert heights / heights.max() == pytest.approx(shares.to_numpy())


def test_the_legend_gives_the_error_with_what_chance_would_make_it(audit, found, said) -> None:
    error = found.errors.set_index("group").loc["sex=F"]
    text = next(text for text in said(figures.calibration(audit, "sex")) if text.startswith("sex=F"))
    assert f"ECE {error['value']:.3f} (by chance {error['low']:.3f}–{error['high']:.3f})" in text.replace("\n", " ")


def test_a_group_without_positives_is_named_and_not_drawn(audit, said) -> None:
    texts = [text.replace("\n", " ") for text in said(figures.calibration(audit, "sex"))]
    assert "sex=X: calibration not estimable (0/3 positive)" in texts


@pytest.mark.parametrize(("width", "style"), [("single", "ieee"), ("double", "nature"), ("single", "default")])
def test_nothing_leaves_the_figure(audit, overhang, width, style) -> None:
    for by in ("sex", "sex × site"):
        assert overhang(figures.calibration(audit, by, width=width, style=style)) < 0.2  # mm


def test_it_draws_into_given_axes_and_refuses_what_it_does_not_know(audit) -> None:
    ax = PlainFigure().add_subplot()
    assert figures.calibration(audit, "site", ax=ax) is ax
    with pytest.raises(InputError, match="did you mean 'sex'"):
        figures.calibration(audit, "sexx")
    with pytest.raises(InputError, match="lies outside 2–50"):
        figures.calibration(audit, bins=1)

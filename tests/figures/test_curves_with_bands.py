"""Curves with bands: what is shaded is the audit room's band, and many bands stand apart."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure as PlainFigure

import workbench as wb
from workbench import figures
from workbench.audit.curves.bands import pr_bands, pr_curves, roc_bands
from workbench.audit.curves.gap_over_threshold import gap_over_threshold
from workbench.errors import EvidenceWarning, InputError


@pytest.fixture(scope="module")
def many():
    """Nine sites with long names, the last with few cases, and one without positives."""
    rng = np.random.default_rng(3)
    names = [f"Regional screening centre $number$ {k} & annexe" for k in range(8)]
    site = np.array([*names, "small", "none"])[rng.choice(10, 1600, p=[0.12] * 8 + [0.03, 0.01])]
    truth = (rng.random(1600) < 0.4) & (site != "none")
    score = 1 / (1 + np.exp(-(rng.normal(size=1600) + 1.5 * truth - 0.7)))
    table = pd.DataFrame({"y": truth.astype(int), "p": score, "who": np.arange(1600) // 2, "site": site})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        return wb.audit(table, by=["site"], label="y", score="p", patient="who", replicates=100)


def drawers():
    return {
        "roc": lambda audit, by, **look: figures.roc(audit, by, band=True, **look),
        "precision_recall": lambda audit, by, **look: figures.precision_recall(audit, by, band=True, **look),
        "gap_over_threshold": figures.gap_over_threshold,
    }


def shaded(ax) -> list[np.ndarray]:
    return [collection.get_paths()[0].vertices for collection in ax.collections]


@pytest.mark.parametrize(("name", "bands"), [("roc", roc_bands), ("precision_recall", pr_bands)])
def test_the_shade_is_the_simultaneous_band(audit, name, bands) -> None:
    table = bands(audit)
    [area] = shaded(drawers()[name](audit, None).axes[0])
    for column in ("band_low", "band_high"):
        wanted = set(map(tuple, table[[table.columns[2], column]].round(9).to_numpy()))
        assert wanted <= set(map(tuple, area.round(9)))


def test_a_gap_is_drawn_with_both_its_bands(audit) -> None:
    ax = figures.gap_over_threshold(audit, "site", metric="specificity").axes[0]
    gaps = gap_over_threshold(audit, "site", "specificity").query("group == 'site=North'")
    lines = [line.get_ydata() for line in ax.lines if line.get_label().startswith("site=North")]
    assert lines[0] == pytest.approx(gaps["value"].to_numpy(), nan_ok=True)
    ends = {round(float(end), 9) for area in shaded(ax) for end in area[:, 1] if np.isfinite(end)}
    assert set(gaps[["low", "band_high"]].to_numpy().ravel().round(9)) <= ends


def test_the_precision_recall_curve_is_that_of_the_audit_room(audit) -> None:
    ax = figures.precision_recall(audit).axes[0]
    curve = max(ax.lines, key=lambda line: len(line.get_xdata()))
    points = pr_curves(audit)
    assert curve.get_xdata() == pytest.approx(points["recall"].to_numpy())
    assert curve.get_ydata() == pytest.approx(points["precision"].to_numpy())


@pytest.mark.parametrize("name", ["roc", "precision_recall", "gap_over_threshold"])
def test_bands_of_many_groups_stand_apart_and_those_without_a_curve_are_named(many, said, name) -> None:
    figure = drawers()[name](many, "site", width="double")
    assert len(figure.axes) == 9
    words = [text.replace("\n", " ") for text in said(figure)]
    assert any(text.startswith("site=Regional screening centre $number$ 3 & annexe") for text in words)
    assert any(text.startswith("site=none") for text in words)


@pytest.mark.parametrize("name", ["roc", "precision_recall", "gap_over_threshold"])
@pytest.mark.parametrize(("width", "style"), [("single", "ieee"), ("double", "nature"), ("single", "default")])
def test_nothing_leaves_the_figure(audit, many, overhang, name, width, style) -> None:
    for value, by in ((audit, "sex"), (many, "site")):
        assert overhang(drawers()[name](value, by, width=width, style=style)) < 0.2  # mm


@pytest.mark.parametrize("width", ["single", "double"])
def test_the_names_above_axes_do_not_reach_into_others(many, width) -> None:
    figure = figures.roc(many, "site", band=True, width=width)
    figure.canvas.draw()
    heads = [ax.texts[0].get_window_extent() for ax in figure.axes]
    boxes = [ax.get_window_extent() for ax in figure.axes]
    for place, head in enumerate(heads):
        others = [*heads[:place], *heads[place + 1 :], *boxes]
        assert not any(head.overlaps(box) and not head.y0 >= box.y1 for box in others)


def test_a_group_that_its_sample_can_hardly_carry_is_grey(many) -> None:
    ax = figures.roc(many, "site").axes[0]
    colours = {text.get_text().split(":")[0]: text.get_color() for text in ax.get_legend().get_texts()}
    assert colours["site=small"] == "0.45"
    assert colours["site=Regional screening centre $number$ 0 & annexe"] == "black"


@pytest.mark.parametrize("name", ["roc", "precision_recall", "gap_over_threshold"])
def test_it_draws_into_given_axes(audit, said, name) -> None:
    ax = PlainFigure().add_subplot()
    assert drawers()[name](audit, "sex", ax=ax) is ax
    assert any(text.startswith("sex=F") for text in said(ax.figure))


def test_misspelt_names_are_offered_the_nearest(audit) -> None:
    with pytest.raises(InputError, match="did you mean 'site'"):
        figures.precision_recall(audit, "sight")
    with pytest.raises(InputError, match="did you mean 'specificity'"):
        figures.gap_over_threshold(audit, "site", metric="specificty")


def test_the_band_is_in_the_provenance(audit) -> None:
    plain, banded = figures.roc(audit), figures.roc(audit, band=True)
    assert banded.provenance.settings["band"]
    assert plain.provenance.content != banded.provenance.content

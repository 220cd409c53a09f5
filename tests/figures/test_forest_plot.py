"""The forest plot: groups that are missing, tiny or long of name, in wide and in narrow figures."""

from __future__ import annotations

import re
from itertools import pairwise

import pandas as pd
import pytest

import workbench as wb
from workbench import figures
from workbench.errors import InputError
from workbench.figures.forest_plot import _number


def test_a_missing_group_stands_there_and_a_tiny_one_is_not_estimable(audit, said) -> None:
    texts = said(figures.forest(audit))
    assert {"sex=F", "sex=M", "sex=X", "sex=missing"} <= set(texts)
    assert "not estimable a" in texts
    assert any(re.fullmatch(r"(.*\n)*a: not estimable: no positives(\n.*)*", text) for text in texts)


def test_each_row_prints_the_number_and_interval_of_the_table(audit, said) -> None:
    texts = said(figures.forest(audit, metric="specificity", which="values"))
    rows = audit.table[(audit.table["metric"] == "specificity") & audit.table["value"].notna()]
    for row in rows.itertuples():
        number = f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
        assert any(text.startswith(number) for text in texts), row.group


def test_the_marks_stand_at_the_values(audit) -> None:
    figure = figures.forest(audit, metric="AUROC")
    marks = [line.get_xdata()[0] for line in figure.axes[0].lines if line.get_marker() == "s"]
    gaps = audit.gaps[audit.gaps["metric"] == "AUROC"]["value"].dropna()
    assert marks == pytest.approx(list(gaps))


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("which", ["gaps", "values"])
def test_no_text_leaves_the_figure(audit, overhang, width, which) -> None:
    assert overhang(figures.forest(audit, width=width, which=which)) < 0.2  # mm


def test_a_narrow_figure_keeps_the_counts_in_one_column(audit, said) -> None:
    row = audit.gaps[(audit.gaps["metric"] == "sensitivity") & (audit.gaps["group"] == "sex=F")].iloc[0]
    narrow, wide = said(figures.forest(audit, width="single")), said(figures.forest(audit))
    assert {"positive/n", f"{row['positives']}/{row['n']}"} <= set(narrow)
    assert {"n", "positive", "patients", str(row["n"]), str(row["positives"])} <= set(wide)


def test_rows_do_not_overlap(audit) -> None:
    figure = figures.forest(audit, width="single")
    figure.canvas.draw()
    starts = ("sex=", "site=")
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text().startswith(starts)]
    boxes = sorted(boxes, key=lambda box: -box.y1)
    assert len(boxes) == len(audit.groups) - 1
    assert all(lower.y1 <= upper.y0 + 1 for upper, lower in pairwise(boxes))


@pytest.mark.parametrize(
    ("value", "signed", "text"),
    [(-0.001, True, "0.00"), (-0.001, False, "0.00"), (0.004, True, "0.00"), (-0.005001, True, "−0.01"), (0.1, True, "+0.10")],
)  # fmt: skip
def test_nothing_prints_as_minus_zero(value, signed, text) -> None:
    assert _number(value, signed=signed) == text


def test_a_misspelt_metric_is_offered_the_nearest(audit) -> None:
    with pytest.raises(InputError, match="did you mean 'sensitivity'"):
        figures.forest(audit, metric="sensitivty")
    with pytest.raises(InputError, match="did you mean 'gaps'"):
        figures.forest(audit, which="gap")


def test_misspelt_style_and_width_are_offered_the_nearest(audit) -> None:
    with pytest.raises(InputError, match="did you mean 'nature'"):
        figures.forest(audit, style="natur")
    with pytest.raises(InputError, match="did you mean 'double'"):
        figures.forest(audit, width="doubel")


def test_a_width_without_room_says_which_has(audit) -> None:
    with pytest.raises(InputError, match=r"take (\d+) mm or more") as refused:
        figures.forest(audit, width=40)
    enough = int(re.search(r"take (\d+) mm", str(refused.value))[1])
    figures.forest(audit, width=enough)


def test_an_audit_without_groups_has_no_gap_to_draw() -> None:
    table = pd.DataFrame({"y": [0, 1] * 30, "p": [k / 60 for k in range(60)], "who": range(60)})
    audit = wb.audit(table, label="y", score="p", patient="who", replicates=100)
    with pytest.raises(InputError, match="has no groups"):
        figures.forest(audit)
    figures.forest(audit, which="values")


def test_it_draws_into_given_axes(audit, said) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6))
    ax = figure.add_axes((0.4, 0.3, 0.3, 0.6))
    assert figures.forest(audit, ax=ax) is ax
    assert "sex=missing" in said(figure)


def test_the_band_of_all_numbers_is_a_thinner_whisker_than_the_interval_of_one(audit) -> None:
    figure = figures.forest(audit, metric="sensitivity", which="values")
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 2]
    row = audit.table.query("metric == 'sensitivity' and group == 'sex=F'").iloc[0]
    widths = {tuple(line.get_xdata()): line.get_linewidth() for line in lines}
    assert widths[row["band_low"], row["band_high"]] < widths[row["low"], row["high"]]
    assert row["band_low"] < row["low"]


def test_ratios_stand_on_a_log_axis_around_one(audit, said, overhang) -> None:
    figure = figures.forest(audit, metric="sensitivity", which="ratios")
    ax = figure.axes[0]
    assert ax.get_xscale() == "log"
    marks = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "s"]
    assert marks == pytest.approx(list(audit.ratios[audit.ratios["metric"] == "sensitivity"]["value"].dropna()))
    assert "sensitivity: group / rest" in said(figure)
    assert not any("+" in text for text in said(figure) if text.startswith("0."))
    assert 2 <= len([tick for tick in ax.get_xticks() if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]]) <= 9
    assert overhang(figure) < 0.2  # mm

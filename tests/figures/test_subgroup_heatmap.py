"""The heat map of subgroups: the audit's numbers, grey where the sample cannot carry them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as PlainFigure

import workbench as wb
from workbench import figures
from workbench.audit.metric import metric_of
from workbench.errors import InputError
from workbench.figures.subgroup_heatmap import UNCARRIED, _direction


@pytest.fixture(scope="module")
def scores():
    """An audit by sex alone."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"truth": rng.integers(0, 2, 300), "p": rng.random(300), "sex": np.tile(["F", "M"], 150)})
    return wb.audit(table.assign(who=range(300)), "sex", label="truth", score="p", patient="who", replicates=100)


def cells(figure) -> dict[tuple[str, str], tuple]:
    """Text, colour and weight of each cell by group and metric, read off the picture."""
    ax = figure.axes[0]
    around = [text for text in ax.texts if text.get_text()]
    numbers = [text for text in around if text.get_transform() == ax.transData and hasattr(text, "xy") is False]
    names = [text for text in around if hasattr(text, "xy")]
    rows = {round(text.xy[1], 3): text.get_text().replace("\n", " ") for text in names if text.get_ha() == "right"}
    heads = {text.xy[0]: text.get_text().replace("\n", " ") for text in names if text.get_ha() == "center"}
    grounds = {
        (patch.get_x() + 0.5, round(patch.get_y() + patch.get_height() / 2, 3)): patch.get_facecolor()[:3]
        for patch in ax.patches
        if patch.get_width() == 1
    }
    found = {}
    for text in numbers:
        x, y = text.get_position()
        place = x, round(y, 3)
        found[rows[place[1]], heads[x]] = text.get_text(), grounds[place], text.get_weight()
    return found


def test_every_number_of_the_table_stands_in_its_cell(audit) -> None:
    shown = cells(figures.subgroup_heatmap(audit, ["AUROC", "sensitivity"]))
    rows = audit.table[audit.table["metric"].isin(["AUROC", "sensitivity"])]
    assert len(shown) == len(rows)
    for row in rows.itertuples():
        text, _, _ = shown[row.group, row.metric]
        assert text == ("–" if row.value != row.value else f"{row.value:.2f}")


def test_what_the_sample_cannot_carry_is_grey_whatever_its_number(audit) -> None:
    shown = cells(figures.subgroup_heatmap(audit, ["specificity"], which="gaps"))
    noted = audit.gaps[(audit.gaps["metric"] == "specificity") & (audit.gaps["note"] != "")]
    assert len(noted)
    grey = {group for (group, _), (_, ground, _) in shown.items() if ground == pytest.approx(to_rgb(UNCARRIED))}
    assert grey == set(noted["group"])


def test_worse_is_orange_and_better_blue_whichever_way_a_metric_points(audit) -> None:
    shown = cells(figures.subgroup_heatmap(audit, which="gaps"))
    rows = audit.gaps[(audit.gaps["note"] == "") & (audit.gaps["value"].abs() > 0.005)]
    checked = 0
    for row in rows.itertuples():
        if (row.group, row.metric) in shown:
            _, (red, _, blue), _ = shown[row.group, row.metric]
            assert (blue > red) == (row.value * _direction(metric_of(row.metric)) > 0)
            checked += 1
    assert checked > 5


def test_less_is_better_of_errors_and_neither_of_how_often_the_model_calls() -> None:
    names = ("AUROC", "Brier score", "false positive rate", "positive rate", "calibration slope")
    assert [_direction(metric_of(name)) for name in names] == [1, -1, -1, 0, 0]


def test_a_gap_that_leaves_zero_out_is_bold(audit) -> None:
    shown = cells(figures.subgroup_heatmap(audit, which="gaps"))
    for row in audit.gaps.itertuples():
        if (row.group, row.metric) in shown:
            low, high = (row.band_low, row.band_high) if hasattr(row, "band_low") else (row.low, row.high)
            bold = shown[row.group, row.metric][2] == "bold"
            assert bold == (row.note == "" and (low > 0 or high < 0))


@pytest.mark.parametrize(("width", "style"), [("single", "ieee"), ("single", "default"), ("double", "nature")])
@pytest.mark.parametrize("which", ["values", "gaps"])
def test_nothing_leaves_the_figure(audit, overhang, width, style, which) -> None:
    assert overhang(figures.subgroup_heatmap(audit, which=which, width=width, style=style)) < 0.2  # mm


def test_one_partition_can_be_shown_alone(audit) -> None:
    groups = {group for group, _ in cells(figures.subgroup_heatmap(audit, by="sex"))}
    assert groups == {"all", "sex=F", "sex=M", "sex=X", "sex=missing"}


def test_wrong_names_and_widths_are_refused_in_a_sentence(audit) -> None:
    with pytest.raises(InputError, match="did you mean 'AUROC'"):
        figures.subgroup_heatmap(audit, ["AUROK"])
    with pytest.raises(InputError, match="did you mean 'sex'"):
        figures.subgroup_heatmap(audit, by="sexx")
    with pytest.raises(InputError, match="did you mean 'gaps'"):
        figures.subgroup_heatmap(audit, which="gap")
    with pytest.raises(InputError, match="has no room for"):
        figures.subgroup_heatmap(audit, width=30, metrics=["AUROC", "sensitivity", "specificity"])


def test_short_names_of_groups_and_few_metrics_have_room(scores, overhang) -> None:
    made = figures.subgroup_heatmap(scores, ["AUROC"], width="single")
    assert overhang(made) < 0.2  # mm
    assert {group for group, _ in cells(made)} == {"all", "sex=F", "sex=M"}


def test_it_draws_into_given_axes(audit, said) -> None:
    ax = PlainFigure(figsize=(8, 6)).add_axes((0.4, 0.2, 0.5, 0.6))
    assert figures.subgroup_heatmap(audit, ax=ax) is ax
    assert "sex=missing" in said(ax.figure)


def test_findings_of_several_stand_one_below_the_other(said) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"sex": rng.choice(["F", "M"], 300), "who": range(300)})
    for finding in ("mass", "calcium"):
        table[finding] = (rng.random(300) < 0.4).astype(int)
        table[f"p {finding}"] = (rng.random(300) + table[finding]) / 2
    predictions = wb.Predictions.from_table(
        table, task="multilabel", label={name: name for name in ("mass", "calcium")},
        score={name: f"p {name}" for name in ("mass", "calcium")}, patient="who", attributes=["sex"],
    )  # fmt: skip
    audit = wb.audit(predictions, by=["sex"], replicates=100, metrics=["AUROC", "sensitivity"])
    assert {"mass: sex=F", "calcium: all"} <= set(said(figures.subgroup_heatmap(audit)))
    assert {"mass: sex=F", "calcium: sex=M"} <= set(said(figures.forest(audit, metric="AUROC")))

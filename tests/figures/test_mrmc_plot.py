"""The picture of a reader study: two readers or twenty, one difference or several, a model beside them."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench import figures
from workbench.errors import InputError

COLUMNS = {"reader": "reader", "modality": "modality", "case": "case", "score": "score", "label": "label"}


def study(readers, modalities=("reader", "reader + model"), *, model=False, reference=None):
    rng = np.random.default_rng(readers)
    i, j, k = np.indices((len(modalities), readers, 60)).reshape(3, -1)
    score = rng.normal(size=len(i)) + (k % 2) * (1 + 0.3 * i) + 0.5 * rng.normal(size=60)[k]
    table = pd.DataFrame(
        {
            "modality": np.array(modalities)[i],
            "reader": [f"Dr {n + 1}" for n in j],
            "case": k,
            "score": score,
            "label": k % 2,
        }
    )
    if model:
        own = pd.DataFrame({"modality": "model", "reader": None, "case": range(60), "label": np.arange(60) % 2})
        table = pd.concat([table, own.assign(score=rng.normal(size=60) + 1.5 * own["label"])])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wb.EvidenceWarning)
        return wb.audit.mrmc(table, **COLUMNS, reference=reference)


@pytest.mark.parametrize(("width", "style"), [("single", "default"), ("double", "nature"), ("single", "ieee")])
@pytest.mark.parametrize(
    "asked",
    [{"readers": 2}, {"readers": 7, "model": True}, {"readers": 20},
     {"readers": 3, "modalities": ("$a$", "Full-field digital mammography with tomosynthesis", "c")}],
)  # fmt: skip
def test_no_text_leaves_the_figure(overhang, width, style, asked):
    assert overhang(figures.mrmc(study(**asked), width=width, style=style)) < 0.3  # mm


def test_readers_stand_at_their_values_and_are_joined(said):
    found = study(5)
    figure = figures.mrmc(found)
    lines = {
        line.get_label(): list(line.get_ydata()) for line in figure.axes[0].lines if line.get_label().startswith("Dr")
    }
    values = found.tables["readers"].pivot(index="reader", columns="modality", values="value")
    assert lines == {reader: pytest.approx(list(row)) for reader, row in values.iterrows()}
    assert {"Dr 1", "Dr 5", "reader", "reader + model", "AUROC"} <= set(said(figure))


def test_the_mean_stands_with_the_interval_of_the_table():
    found = study(4)
    ax = figures.mrmc(found).axes[0]
    squares = [line.get_ydata()[0] for line in ax.lines if line.get_marker() == "s"]
    means = found.table[found.table["by"] == "modality"]
    assert squares == pytest.approx(list(means["value"]))
    bars = [tuple(line.get_ydata()) for line in ax.lines if line.get_color() == "black" and len(line.get_ydata()) == 2]
    assert bars == [pytest.approx(tuple(row)) for row in means[["low", "high"]].to_numpy()]


def test_one_difference_is_shown_reader_by_reader_and_for_all(said):
    found = study(6)
    figure = figures.mrmc(found)
    texts = said(figure)
    row = found.table.iloc[2]
    number = f"{row['value']:z.2f} [{row['low']:z.2f}, {row['high']:z.2f}]".replace("-", "−")
    assert any(text.startswith(f"{number}  p") for text in texts)
    assert "all readers" in texts
    dots = [line.get_xdata()[0] for line in figure.axes[1].lines if line.get_marker() == "o"]
    assert dots == pytest.approx(list(found.tables["reader_differences"]["value"]))


def test_a_model_is_a_diamond_and_each_difference_a_row(said):
    figure = figures.mrmc(study(5, model=True, reference="reader"))
    assert [line.get_marker() for line in figure.axes[0].lines].count("D") == 1
    ticks = [label.get_text().replace("\n", " ") for label in figure.axes[0].get_xticklabels()]
    assert ticks[0] == "reader"
    assert len([line for line in figure.axes[1].lines if line.get_marker() == "s"]) == 3


def test_many_readers_are_grey_and_named_on_the_right_only(said):
    figure = figures.mrmc(study(20))
    assert {line.get_color() for line in figure.axes[0].lines} == {"0.6", "black"}
    assert not figure.legends
    assert said(figure).count("Dr 20") == 1
    assert figure.get_size_inches()[1] * 25.4 > 90


def test_one_modality_has_no_differences_to_show():
    assert len(figures.mrmc(study(4, ("CT",))).axes) == 1


def test_readers_of_one_modality_each_are_drawn_without_lines():
    rng = np.random.default_rng(1)
    i, k = np.indices((8, 60)).reshape(2, -1)
    nested = pd.DataFrame(
        {
            "modality": np.where(i < 4, "A", "B"),
            "reader": i,
            "case": k,
            "label": k % 2,
            "score": rng.normal(size=480) + k % 2,
        }
    )
    figure = figures.mrmc(wb.audit.mrmc(nested, **COLUMNS))
    assert len(figure.axes) == 2
    assert all(len(line.get_xdata()) == 1 for line in figure.axes[0].lines if line.get_marker() == "o")


def test_it_knows_the_way_back(tmp_path):
    found = study(3)
    figures.mrmc(found).savefig(tmp_path / "study.png")
    read = figures.read_provenance(tmp_path / "study.png")
    assert read.parents["finding"].content == found.provenance.content


def test_another_finding_is_refused():
    from dataclasses import replace

    with pytest.raises(InputError, match=r"kind 'drift'; give one of wb\.audit\.mrmc"):
        figures.mrmc(replace(study(3), kind="drift"))
    with pytest.raises(InputError, match="did you mean 'single'"):
        figures.mrmc(study(3), width="singel")

"""Decision curves: what is drawn is the table, nothing leaves the figure, nothing is drawn from another finding."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench import figures
from workbench.errors import EvidenceWarning, InputError


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    signal, noise = rng.normal(size=600) - 1, 0.7 * rng.normal(size=600)
    good, weak = (1 / (1 + np.exp(-value)) for value in (1.2 * signal + noise, signal))
    columns = {"truth": (rng.random(600) < good).astype(int), "who": np.arange(600), "good": good, "weak": weak}
    scores = pd.DataFrame(columns | {"sex": rng.choice(["F", "M"], 600), "site": rng.choice(list("ABCDE"), 600)})
    scores.loc[scores["site"] == "E", "truth"] = (scores.index[scores["site"] == "E"] % 40 == 0).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        return wb.audit.decision_curve(
            {"$ model A": scores, "B": scores}, score={"$ model A": "good", "B": "weak"}, label="truth", patient="who",
            by=["sex", "site"], replicates=100,
        )  # fmt: skip


def test_the_lines_are_those_of_the_table(found):
    ax = figures.decision_curve(found).axes[0]
    rows = found.table[(found.table["group"] == "all") & (found.table["model"] == "B")]
    drawn = {tuple(line.get_ydata()) for line in ax.lines}
    assert tuple(rows["value"]) in drawn
    assert tuple(rows["treat_all"]) in drawn


def test_groups_are_drawn_as_gain_over_all_or_none(found, said):
    ax = figures.decision_curve(found, "sex", model="B").axes[0]
    rows = found.table[(found.table["group"] == "sex=F") & (found.table["model"] == "B")]
    assert tuple(rows["gain"]) in {tuple(line.get_ydata()) for line in ax.lines}
    assert any(text.startswith("sex=F (") for text in said(ax.figure))


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("asked", [{}, {"by": "sex", "model": "B"}, {"by": "site", "model": "B"}])
def test_no_text_leaves_the_figure(found, overhang, width, asked):
    assert overhang(figures.decision_curve(found, width=width, **asked)) < 0.2  # mm


def test_a_refused_group_is_named_without_a_curve(found, said):
    assert any(text.startswith("site=E (") for text in said(figures.decision_curve(found, "site", model="B")))


def test_what_cannot_be_drawn_is_said(found):
    with pytest.raises(InputError, match="2 models"):
        figures.decision_curve(found, "sex")
    with pytest.raises(InputError, match="did you mean 'sex'"):
        figures.decision_curve(found, "sx", model="B")
    with pytest.raises(InputError, match="model 'C' is unknown"):
        figures.decision_curve(found, model="C")


def test_it_draws_into_given_axes_and_keeps_provenance(found, tmp_path):
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert figures.decision_curve(found, ax=ax) is ax
    figures.decision_curve(found).savefig(tmp_path / "d.pdf")
    kept = figures.read_provenance(tmp_path / "d.pdf")
    assert kept.parents["finding"].verb == "audit.decision_curve"

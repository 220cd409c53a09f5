"""ROC curves, with a missing group and one too small for a curve."""

from __future__ import annotations

import pytest
from sklearn.metrics import roc_curve

from workbench import figures
from workbench.errors import InputError


def test_a_group_without_a_curve_is_named_and_said_to_be_not_estimable(audit, said) -> None:
    texts = said(figures.roc(audit, "sex"))
    assert "sex=X: AUROC not estimable (0/3 positive)" in texts
    assert any(text.startswith("sex=missing: AUROC 0.") for text in texts)


def test_the_curve_of_everybody_is_that_of_scikit_learn(audit) -> None:
    ax = figures.roc(audit).axes[0]
    curve = max(ax.lines, key=lambda line: len(line.get_xdata()))
    fpr, tpr, _ = roc_curve(audit.predictions.labels, audit.predictions.scores[:, 1], drop_intermediate=False)
    drawn = set(zip(curve.get_xdata().round(9), curve.get_ydata().round(9), strict=True))
    assert drawn <= set(zip(fpr.round(9), tpr.round(9), strict=True))
    assert {(0, 0), (1, 1)} <= drawn


def test_the_dot_stands_at_the_threshold_of_the_audit(audit) -> None:
    [dot] = [line for line in figures.roc(audit).axes[0].lines if line.get_marker() == "o"]
    called = audit.predictions.scores[:, 1] >= 0.5
    truth = audit.predictions.labels == 1
    assert dot.get_xdata()[0] == pytest.approx(called[~truth].mean())
    assert dot.get_ydata()[0] == pytest.approx(called[truth].mean())


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("by", ["sex", "sex × site"])
def test_no_text_leaves_the_figure(audit, overhang, width, by) -> None:
    assert overhang(figures.roc(audit, by, width=width)) < 0.2  # mm


def test_curves_differ_in_dash_as_well_as_in_colour(audit) -> None:
    lines = [line for line in figures.roc(audit, "site").axes[0].lines if line.get_label().startswith("site=")]
    dashes = {str(line._unscaled_dash_pattern) for line in lines}
    assert len(lines) == len(dashes) == 2


def test_a_misspelt_partition_is_offered_the_nearest(audit) -> None:
    with pytest.raises(InputError, match="did you mean 'sex × site'"):
        figures.roc(audit, "sex x site")


def test_it_draws_into_given_axes(audit, said) -> None:
    from matplotlib.figure import Figure

    ax = Figure().add_subplot()
    assert figures.roc(audit, "sex", ax=ax) is ax
    assert any(text.startswith("sex=F: AUROC") for text in said(ax.figure))

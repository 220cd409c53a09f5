"""The montage of a cohort and the curve of a training."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from workbench import figures
from workbench.errors import InputError
from workbench.provenance import Provenance


def test_a_montage_takes_the_classes_in_turn(films, overhang) -> None:
    figure = figures.cohort_montage(films, 4)
    assert figure.provenance.settings["ids"] == ["film-0", "film-1", "film-4", "film-5"]
    assert [ax.get_title(loc="left").split("\n")[0] for ax in figure.axes] == ["healthy", "cancer"] * 2
    assert overhang(figure) < 0.2  # mm


def test_a_montage_of_more_than_there_are_shows_all(films) -> None:
    assert len(figures.cohort_montage(films, 50, width="single").axes) == 6


def test_a_montage_of_nothing_is_refused(films) -> None:
    with pytest.raises(InputError, match="nothing to draw"):
        figures.cohort_montage(films, 0)


def trained(epochs):
    history = [{"loss": 1 / k, "tune_loss": 1.1 / k, "tune_auroc": 1 - 0.5 / k} for k in range(1, epochs + 1)]
    return SimpleNamespace(record={"history": history, "best_epoch": epochs}, provenance=Provenance("train", {}, "ab"))


@pytest.mark.parametrize(("epochs", "width"), [(1, "single"), (12, "double")])
def test_a_learning_curve_draws_every_epoch(overhang, epochs, width) -> None:
    figure = figures.learning_curve(trained(epochs), width=width)
    loss, area = figure.axes
    assert list(loss.lines[1].get_ydata()) == pytest.approx([1.1 / k for k in range(1, epochs + 1)])
    assert area.lines[0].get_ydata()[-1] == pytest.approx(1 - 0.5 / epochs)
    assert overhang(figure) < 0.2  # mm


def test_a_wrapped_network_has_no_learning_curve() -> None:
    with pytest.raises(InputError, match="no record of its training"):
        figures.learning_curve(SimpleNamespace(record={"network": "ResNet"}, provenance=Provenance("wrap", {}, "ab")))

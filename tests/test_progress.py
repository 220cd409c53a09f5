"""Progress: everything passes through, a file stays quiet, a notebook sees one output drawn again in place."""

from __future__ import annotations

import io
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from workbench import progress
from workbench.progress import Live, live, track


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Output:
    """What IPython's display(display_id=True) gives back."""

    def __init__(self) -> None:
        self.drawn: list[dict[str, str]] = []

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        assert raw
        self.drawn.append(content)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Output:
    """Stand in for a Jupyter kernel's IPython."""
    output = Output()
    shell = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))

    def display(content: dict[str, str], *, raw: bool, display_id: bool) -> Output:
        assert (content, raw, display_id) == ({"text/plain": ""}, True, True)
        return output

    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))
    monkeypatch.setattr(progress, "INTERVAL", 0.0)
    return output


@pytest.mark.parametrize("items", [[3, 1, 2], range(5), (letter for letter in "abc"), []])
def test_track_yields_everything_in_order(items: Any) -> None:
    if hasattr(items, "__len__"):
        assert list(track(items, "Reading")) == list(items)
    else:
        assert list(track(items, "Reading")) == ["a", "b", "c"]


def test_track_stays_lazy_where_the_total_is_given() -> None:
    endless = iter(int, 1)
    shown = track(endless, "Reading", total=10)
    assert [next(shown) for _ in range(3)] == [0, 0, 0]


def test_track_lets_an_error_through() -> None:
    with pytest.raises(ZeroDivisionError):
        [1 / item for item in track([1, 0], "Reading")]


def test_nothing_is_drawn_where_output_goes_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    err, out = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "stdout", out)
    assert list(track(range(50), "Reading")) == list(range(50))
    assert (err.getvalue(), out.getvalue()) == ("", "")


def test_a_terminal_sees_label_and_facts_and_a_clean_line_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with live("Training compact", 2, unit="step") as shown:
        shown.advance(loss=0.25)
        shown._bar.refresh()
    assert "Training compact" in terminal.getvalue()
    assert "loss=0.25" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r")


def test_a_notebook_sees_progress_drawn_in_place_and_gone_at_the_end(notebook: Output) -> None:
    list(track(range(3), "Reading <b>scans</b>"))
    first, last = notebook.drawn[0], notebook.drawn[-1]
    assert "1 of 3 images" in first["text/html"]
    assert "Reading &lt;b&gt;scans" in first["text/html"]
    assert first["text/plain"] == "Reading <b>scans</b>: 1 of 3 images"
    assert last == {"text/plain": ""}


def test_batches_are_spelt_as_such(notebook: Output) -> None:
    list(track(range(2), "Predicting", unit="batch"))
    assert "1 of 2 batches" in notebook.drawn[0]["text/html"]
    assert notebook.drawn[0]["text/plain"].endswith("1 of 2 batches")


def test_a_notebook_keeps_the_learning_curve(notebook: Output) -> None:
    history = [
        {"loss": 0.7, "tune_loss": 0.6, "tune_auroc": 0.75},
        {"loss": 0.5, "tune_loss": 0.4, "tune_auroc": 0.875},
    ]
    with live("Training compact", 4, unit="step") as shown:
        shown.restore(2, history[:1])
        shown.advance(loss=0.5)
        shown.point(history)
    html = notebook.drawn[-1]["text/html"]
    assert "3 of 4 steps" in html
    assert "tune AUROC 0.875" in html
    assert "<svg" in html


def test_a_notebook_is_drawn_at_most_every_interval(notebook: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL", 3600.0)
    monkeypatch.setattr(time, "monotonic", lambda: 1e6)
    list(track(range(500), "Reading"))
    assert len(notebook.drawn) == 2  # the first step, and the end


def test_seconds_left_follow_the_pace_of_this_run_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 110.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    shown = Live("Training", 100, "step")
    shown.restore(40, [])
    assert shown.seconds_left is None
    shown.done = 60  # twenty steps in ten seconds
    assert shown.seconds_left == pytest.approx(20.0)

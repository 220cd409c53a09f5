"""Progress of long work, live in a terminal and in a notebook, at most ten times a second.

Where output goes to a file (a log, CI) nothing is drawn. In a notebook one output is drawn again in place; it is plain
HTML, so that a saved notebook keeps no widget state.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Item = TypeVar("Item")
INTERVAL = 0.1  # seconds between two drawings


def track(items: Iterable[Item], label: str, *, total: int | None = None, unit: str = "image") -> Iterator[Item]:
    """Yield `items` while a bar shows how many are done and how long the rest takes; it vanishes at the end."""
    items = items if total is not None or hasattr(items, "__len__") else list(items)
    with live(label, total if total is not None else len(items), unit=unit, keep=False) as shown:  # type: ignore[arg-type]
        for item in items:
            yield item
            shown.advance()


@contextmanager
def live(label: str, total: int, *, unit: str = "image", keep: bool = True) -> Iterator[Live]:
    """Show a bar for the length of a block; in a notebook, with `keep`, its last state and learning curve stay."""
    shown = Live(label, total, unit)
    try:
        yield shown
    finally:
        shown.close(keep=keep)


class Live:
    """A bar with facts beside it, and a learning curve below it in a notebook."""

    def __init__(self, label: str, total: int, unit: str) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.facts, self.history = 0, dict[str, float](), list[dict[str, float]]()
        self._begun, self._start, self._drawn = time.monotonic(), 0, 0.0
        self._output = _notebook_output()
        self._bar = None
        if self._output is None:
            self._bar = tqdm(desc=label, total=total, unit=unit, leave=False, mininterval=INTERVAL, disable=None)

    def restore(self, done: int, history: Sequence[dict[str, float]]) -> None:
        """Begin at `done`, as a resumed training does."""
        self.done = self._start = done
        self.history = list(history)
        if self._bar is not None:
            self._bar.update(done)

    def advance(self, count: int = 1, **facts: float) -> None:
        """Count one more, or `count`, with what is known now (``loss=0.41``)."""
        self.done += count
        self.facts |= facts
        if self._bar is not None:
            self._bar.set_postfix(self.facts, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._drawn > INTERVAL:
            self._draw()

    def point(self, history: Sequence[dict[str, float]]) -> None:
        """Show the learning curve after an epoch."""
        self.history = list(history)
        self.facts["tune AUROC"] = self.history[-1]["tune_auroc"]
        if self._output is not None:
            self._draw()

    def close(self, *, keep: bool) -> None:
        """Leave the last state, or nothing."""
        if self._bar is not None:
            self._bar.close()
        elif keep:
            self._draw()
        elif self._output is not None:
            self._output.update({"text/plain": ""}, raw=True)

    @property
    def units(self) -> str:
        """The unit's plural."""
        return self.unit + ("es" if self.unit.endswith("ch") else "s")

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end at the pace so far; None before the first step."""
        steps = self.done - self._start
        return (time.monotonic() - self._begun) / steps * (self.total - self.done) if steps else None

    def _draw(self) -> None:
        from workbench.html import render

        self._drawn = time.monotonic()
        text = f"{self.label}: {self.done} of {self.total} {self.units}"
        if self._output is not None:
            self._output.update({"text/html": render("progress.html", live=self), "text/plain": text}, raw=True)


def _notebook_output() -> Any:
    """Return a display that can be drawn again, in a notebook; else None. IPython is there if it is imported already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display({"text/plain": ""}, raw=True, display_id=True)  # type: ignore[no-untyped-call]

"""Progress of long work, live in a terminal and in a notebook, at most ten times a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")


def track(items: Iterable[Item], label: str, *, total: int | None = None, unit: str = "image") -> Iterator[Item]:
    """Yield `items` while a bar shows how many are done and how long the rest takes.

    The bar is shown in a terminal and in notebooks, not where output goes to a file, and vanishes when it ends.
    """
    yield from tqdm(items, desc=label, total=total, unit=unit, leave=False, mininterval=0.1, disable=None)

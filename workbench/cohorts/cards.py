"""The cards of known datasets: where each comes from, under what licence, and how to get it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Every card has these; `reading` is there where a local copy can be read with load(name, path=…).
NEEDED = ("name", "title", "origin", "licence", "consent", "attributes", "get", "layout")
PACKAGE = Path(__file__).parents[1]


@functools.cache
def cards() -> Mapping[str, Mapping[str, Any]]:
    """Return every dataset card by name, checked."""
    return {card["name"]: card for card in map(read_card, sorted(cards_folder().glob("*.yaml")))}


def cards_folder() -> Path:
    """Find the cards: inside an installed package, or at the root of a checkout."""
    installed = PACKAGE / "_datasets"
    return installed if installed.is_dir() else PACKAGE.parent / "datasets"


def read_card(path: Path) -> dict[str, Any]:
    """Read one card.

    Raises
    ------
    FileError : where it is no YAML mapping, lacks a key, or is named otherwise than its file.
    """
    import yaml

    try:
        card = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        message = f"{path} is not readable YAML ({error}); correct the card."
        raise FileError(message) from error
    lacking = [key for key in NEEDED if not isinstance(card, dict) or not card.get(key)]
    if lacking:
        message = f"{path}: the card lacks {', '.join(lacking)}; add {'it' if len(lacking) == 1 else 'them'}."
        raise FileError(message)
    if card["name"] != path.stem:
        message = f"{path}: the card is named {card['name']!r}; name card and file alike."
        raise FileError(message)
    return dict(card)

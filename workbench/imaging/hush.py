"""Quiet around other people's decoders: what they mumble is not shown, what they raise is."""

from __future__ import annotations

import logging
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Both filters are the interpreter's own and shared by all threads, so one reader at a time may change them.
_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def hushed(*loggers: str) -> Iterator[list[warnings.WarningMessage]]:
    """Hold back warnings, and the messages of these loggers, while the block runs; give the warnings as a list."""
    named = [logging.getLogger(name) for name in loggers]
    with _ONE_AT_A_TIME, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        before = [logger.disabled for logger in named]
        for logger in named:
            logger.disabled = True
        try:
            yield said
        finally:
            for logger, state in zip(named, before, strict=True):
                logger.disabled = state

"""The methods by name, and what each lets the user set."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from workbench.errors import unknown_name
from workbench.explain.expected_gradients import expected_gradients
from workbench.explain.gradcam import gradcam
from workbench.explain.task import Answer

Method = Callable[..., Answer]
"""Takes a `Task` and its own settings by keyword, and gives an `Answer`; what can be set is read off its signature."""

METHODS: dict[str, Method] = {"gradcam": gradcam, "shap": expected_gradients}
ALSO_CALLED = {"expected-gradients": "shap"}


def find_method(name: str) -> tuple[str, Method]:
    """Return a method's own name and its function.

    Raises
    ------
    InputError : where the name is unknown; the nearest is offered.
    """
    own = ALSO_CALLED.get(name, name)
    if own not in METHODS:
        raise unknown_name("method", name, [*METHODS, *ALSO_CALLED])
    return own, METHODS[own]


def check_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a method, defaults included; a misspelt one is refused with the nearest."""
    parameters = inspect.signature(METHODS[name]).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    kind = f"{name} setting"
    for given in settings:
        if given not in known:
            raise unknown_name(kind, given, [*known, "target", "batch_size"])
    return known | dict(settings)

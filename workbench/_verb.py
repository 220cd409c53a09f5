"""Rooms that are also verbs: ``wb.explain(model, cohort)`` and ``wb.explain.trust(…)`` share one name."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class VerbModule(ModuleType):
    """A module that can be called: the call goes to the function of the same name inside it.

    The public verbs ``wb.explain`` and ``wb.audit`` are named like the packages that hold them. Python binds a
    package to its parent's attribute at first import, so whichever import came first would decide what
    ``wb.explain`` is; a callable module is the same thing in either order.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])(*args, **kwargs)


def make_callable(module_name: str) -> None:
    """Turn the named, already imported module into a `VerbModule`."""
    sys.modules[module_name].__class__ = VerbModule

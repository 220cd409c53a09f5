"""How a validation's findings are put into words, and kept."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import TYPE_CHECKING, Any

from workbench.audit.finding import Finding
from workbench.errors import EvidenceWarning, InputError
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def told(
    kind: str, title: str, table: pd.DataFrame, *, sentences: Sequence[str],
    methods: Sequence[str], said: Sequence[str], settings: dict[str, Any], parents: dict[str, Provenance],
    tables: dict[str, pd.DataFrame] | None = None,
) -> Finding:  # fmt: skip
    """Make a finding with its provenance, and warn of what a reader must know."""
    seed, tables = settings.get("seed"), tables or {}
    kept = {name: value for name, value in settings.items() if name != "seed"}
    provenance = Provenance(f"audit.{kind}", kept, digest(table, *tables.values()), parents, seed=seed)
    made = Finding(kind, title, table, tables, tuple(sentences), tuple(methods), tuple(said), settings, provenance)
    if said:
        # 3: the verb that calls this is what the user called.
        warnings.warn(" ".join(said), EvidenceWarning, stacklevel=3)
    return made


def check_level(level: Any) -> None:
    """Refuse a confidence that is none."""
    number = isinstance(level, numbers.Real)
    if not number or not 0.5 <= level <= 0.999:
        message = f"level {level!r} lies outside 0.5–0.999; 0.95 gives 95 % intervals."
        raise InputError(message)


def check_between(value: Any, least: float, most: float, name: str) -> None:
    """Refuse a number out of its range."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        message = f"{name}={value!r} must lie in {least:g}–{most:g}."
        raise InputError(message)


def with_interval(row: dict[str, Any], level: float, *, signed: bool = False) -> str:
    """Write a number with its interval as journals do: ``0.812 (95% CI 0.700 to 0.900)``."""
    if math.isnan(row["value"]):
        return "not estimable"
    form = "+.3f" if signed else ".3f"
    value, low, high = (f"{row[name]:{form}}".replace("-", "−") for name in ("value", "low", "high"))
    return value if math.isnan(row["low"]) else f"{value} ({100 * level:g}% CI {low} to {high})"

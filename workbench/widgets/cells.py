"""What the dashboard shows of an audit's rows: numbers to draw and words to read, as plain JSON."""

from __future__ import annotations

import math
import re
from typing import Any

import pandas as pd

from workbench.audit.paper import p_text
from workbench.widgets.sentences import isolated, number, signed

OVERALL = "Overall"


def row_of(group: str, rows: list[dict[Any, Any]], by: str) -> dict[str, Any]:
    """Return what is shown of a group: its counts, and a cell for each of its rows in the audit's table."""
    first = rows[0]
    return {
        "group": group,
        "label": label_of(group, by),
        "n": f"{first['n']:,}",
        "positives": f"{first['positives']:,}",
        "patients": f"{first['patients']:,}",
        "few": any(row["note"] for row in rows),
        "cells": {row["metric"]: cell_of(row) for row in rows},
    }


def cell_of(cell: dict[Any, Any]) -> dict[str, Any]:
    """Return what is shown of one number: its ends to draw, and its words."""
    ends = {name: _finite(cell[name]) for name in ("value", "low", "high", "band_low", "band_high")}
    value, low, high = ends["value"], ends["low"], ends["high"]
    interval = "" if low is None or high is None else f"{number(low)}–{number(high)}"
    return {**ends, "text": "" if value is None else number(value), "interval": interval, "note": cell["note"]}


def gap_cell(gap: dict[Any, Any]) -> dict[str, Any]:
    """Return what is shown of a gap, with its p-values."""
    cell = cell_of(gap)
    value, low, high = cell["value"], cell["low"], cell["high"]
    return cell | {
        "text": "" if value is None else signed(value),
        "interval": "" if low is None or high is None else f"{signed(low)} to {signed(high)}",
        "p": p_text(gap["p"]),
        "holm": p_text(gap["p_holm"]),
        "bh": p_text(gap["p_bh"]),
    }


def reference_of(gaps: pd.DataFrame) -> str:
    """Return what the groups shown are held against: ``"rest"``, ``"mean"``, a group, or ``"reference"`` where it varies."""
    names = list(dict.fromkeys(gaps["reference"]))
    return isolated(names[0]) if len(names) == 1 else "reference"


def _finite(value: Any) -> float | None:
    """Return a number that JSON knows."""
    return None if pd.isna(value) or math.isinf(value) else float(value)


def label_of(group: str, by: str) -> str:
    """Return a group's name without the attributes' names, which stand in the heading: ``"F · 50–59"``."""
    if group == "all":
        return OVERALL
    pattern = " & ".join(f"{re.escape(name)}=(.*)" for name in by.split(" × "))
    values = re.fullmatch(pattern, group, re.DOTALL)
    return " · ".join(map(isolated, values.groups())) if values else group

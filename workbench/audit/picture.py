"""The audit as a table in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.html import render

if TYPE_CHECKING:
    from workbench.audit.result import Audit


def as_html(audit: Audit) -> str:
    """Return groups as rows and metrics as columns, faint with the reason where the sample cannot carry the number."""
    metrics = list(dict.fromkeys(audit.table["metric"]))
    blocks = []
    for by, part in audit.table.groupby("by", sort=False):
        rows = [_row(group, rows, metrics) for group, rows in part.groupby("group", sort=False)]
        blocks.append({"by": by, "rows": rows})
    return render("audit.html", audit=audit, metrics=metrics, blocks=blocks,
                  percent=f"{100 * audit.settings['level']:g}")  # fmt: skip


def _row(group: Any, rows: pd.DataFrame, metrics: list[str]) -> dict[str, Any]:
    first = rows.iloc[0]
    return {
        "group": group,
        "n": int(first["n"]),
        "positives": int(first["positives"]),
        "patients": int(first["patients"]),
        "cells": [_cell(rows[rows["metric"] == metric].iloc[0]) for metric in metrics],
        "notes": list(dict.fromkeys(text for note in rows["note"] for text in note.split("; ") if text)),
    }


def _cell(row: pd.Series) -> dict[str, Any]:
    estimable = not pd.isna(row["value"])
    return {
        "value": f"{row['value']:.3f}" if estimable else "–",
        "interval": f"{row['low']:.3f}–{row['high']:.3f}" if estimable else "",
        "low": row["low"] if estimable else 0.0,
        "high": row["high"] if estimable else 0.0,
        "at": row["value"] if estimable else None,
        "faint": bool(row["note"]),
        "method": row["method"],
    }

"""The audit as a table in a notebook."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.audit.reading import BINARY, MULTILABEL
from workbench.audit.words import missing_in_words
from workbench.html import render

if TYPE_CHECKING:
    from workbench.audit.result import Audit


def as_html(audit: Audit) -> str:
    """Return groups as rows and metrics as columns, faint with the reason where the sample cannot carry the number."""
    table = audit.table.assign(part=[_part(*row) for row in zip(_classes(audit), audit.table["by"], strict=True)])
    metrics = list(dict.fromkeys(table["metric"]))
    ends = {metric: _ends(table[table["metric"] == metric]) for metric in metrics}
    blocks = []
    for heading, part in table.groupby("part", sort=False):
        by = str(part["by"].iloc[0])
        rows = [_row(group, rows, ends) for group, rows in part.groupby("group", sort=False)]
        blocks.append(
            {"heading": heading, "missing": missing_in_words(audit, by.split(" × ")) if by else "", "rows": rows}
        )
    return render("audit.html", audit=audit, metrics=metrics, blocks=blocks, facts=_facts(audit),
                  percent=f"{100 * audit.settings['level']:g}")  # fmt: skip


def _classes(audit: Audit) -> list[str]:
    return [str(name) for name in audit.table["class"]] if "class" in audit.table else [""] * len(audit.table)


def _part(finding: str, by: str) -> str:
    return ", ".join(text for text in (finding, f"by {by}" if by else "") if text)


def _facts(audit: Audit) -> list[str]:
    settings = audit.settings
    facts = [f"{len(audit.predictions):,} images"]
    if settings["positive"] is not None:
        facts.append(f"positive: {settings['positive']}")
    if settings["task"] not in (BINARY, MULTILABEL):
        facts.append(settings["task"])
    elif settings["thresholds"] is None:
        facts.append(f"called positive at a score of {settings['threshold']:g} or more")
    else:
        facts.append("called positive at each group's own threshold")
    if settings["prevalence"] is not None:
        facts.append(f"weighted to a prevalence of {100 * settings['prevalence']:g} %")
    return [*facts, f"{100 * settings['level']:g} % intervals", f"seed {settings['seed']}"]


def _row(group: Any, rows: pd.DataFrame, ends: dict[str, tuple[float, float]]) -> dict[str, Any]:
    first = rows.iloc[0]
    return {
        "group": group,
        "n": int(first["n"]),
        "positives": int(first["positives"]),
        "patients": int(first["patients"]),
        "cells": [_cell(rows[rows["metric"] == metric].iloc[0], *scale) for metric, scale in ends.items()],
        "notes": list(dict.fromkeys(text for note in rows["note"] for text in note.split("; ") if text)),
    }


def _cell(row: pd.Series, least: float, most: float) -> dict[str, Any]:
    estimable, told = not pd.isna(row["value"]), not (pd.isna(row["low"]) or math.isinf(row["high"]))
    wide = most - least or 1.0
    return {
        "value": f"{row['value']:.3f}" if estimable else "–",
        "interval": f"{row['low']:.3f}–{row['high']:.3f}" if estimable and told else "",
        "low": (row["low"] - least) / wide if told else 0.0,
        "high": (row["high"] - least) / wide if told else 0.0,
        "at": (row["value"] - least) / wide if estimable and told else None,
        "faint": bool(row["note"]),
        "method": ": ".join(text for text in (row["method"], row["reason"]) if text),
    }


def _ends(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of a metric's whiskers: 0–1 where all bounds lie there, else the outermost bounds."""
    bounds = rows[["low", "high"]].to_numpy(dtype=float).ravel()
    bounds = bounds[~(pd.isna(bounds) | (abs(bounds) == math.inf))]
    if not len(bounds):
        return 0.0, 1.0
    return (0.0, 1.0) if bounds.min() >= 0 and bounds.max() <= 1 else (float(bounds.min()), float(bounds.max()))

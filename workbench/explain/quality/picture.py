"""The picture of trust in a notebook: plain answers first, then each measure beside its control, then the gaps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.groups import ALL
from workbench.html import render

if TYPE_CHECKING:
    import pandas as pd

    from workbench.explain.quality.result import Trust

# Rows of the table of gaps that are shown; the rest is counted.
GAPS_SHOWN = 8
# Measures that are named where several leave out images for one reason.
NAMED = 2


def trust_html(trust: Trust) -> str:
    """Return the HTML."""
    everybody = trust.table[trust.table["group"] == ALL]
    blocks = [
        {"method": method, "parts": [(part, _rows(rows, trust)) for part, rows in own.groupby("part", sort=False)]}
        for method, own in everybody.groupby("method", sort=False)
    ]
    gaps = trust.gaps.dropna(subset=["p_adjusted"]).sort_values("p_adjusted", kind="stable")
    return render(
        "trust.html", trust=trust, blocks=blocks, gaps=[_gap(row) for row in gaps.head(GAPS_SHOWN).to_dict("records")],
        compared=len(gaps), images=trust.images.index.nunique(), agreement=_matrix(trust.agreement),
        level=round(100 * trust.settings["level"]), left_out=_left_out(trust),
    )  # fmt: skip


def _rows(table: pd.DataFrame, trust: Trust) -> list[dict[Any, Any]]:
    """Return the rows as text; a measure with two controls is told once."""
    rows = [
        {
            "measure": row["measure"], "value": number(row["value"], row["low"], row["high"]),
            "baseline": number(row["baseline"]), "control": row["control"],
            "gain": number(row["gain"], row["gain_low"], row["gain_high"], sign=True), "better": row["better"],
            "n": int(row["n"]), "patients": int(row["patients"]), "note": row["note"],
            "says": trust.says.get(row["measure"], ""), "again": False,
        }
        for row in table.to_dict("records")
    ]  # fmt: skip
    for row, before in zip(rows[1:], rows, strict=False):
        row["again"] = row["measure"] == before["measure"]
    return rows


def _gap(row: dict[Any, Any]) -> dict[Any, Any]:
    return row | {
        "text": number(row["gap"], row["low_together"], row["high_together"], sign=True),
        "p": p_text(row["p_adjusted"]),
    }


def number(value: float, low: float | None = None, high: float | None = None, *, sign: bool = False) -> str:
    """Write a number with its interval, three figures: ``0.412 [0.370 to 0.455]``; a dash where there is none."""
    if np.isnan(value):
        return "–"
    text = _figures(value, sign=sign)
    if low is None or high is None:
        return text
    if np.isnan(low) or np.isnan(high):
        return f"{text} [no interval]"
    return f"{text} [{_figures(low, sign=sign)} to {_figures(high, sign=sign)}]"


def p_text(p: float) -> str:
    """Write a p-value: ``< 0.001``, ``0.03``."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _figures(value: float, *, sign: bool) -> str:
    size = abs(value)
    digits = 3 if size < 1 else 2 if size < 10 else 1
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−")


def _left_out(trust: Trust) -> list[dict[Any, Any]]:
    """Return why images have no value, the measures that one reason is common to in one row."""
    found = []
    for (method, reason, images), rows in trust.left_out.groupby(["method", "reason", "images"], sort=False):
        measures = list(rows["measure"])
        named = ", ".join(measures[:NAMED])
        more = f" and {len(measures) - NAMED} other measures" if len(measures) > NAMED else ""
        found.append({"method": method, "reason": reason, "images": images, "measures": named + more})
    return found


def _matrix(agreement: pd.DataFrame) -> list[dict[Any, Any]]:
    return [row | {"text": number(row["value"], row["low"], row["high"])} for row in agreement.to_dict("records")]

"""Tables for a paper: numbers with their interval in one cell, in Markdown and in LaTeX."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd

SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "−": r"$-$", "≥": r"$\geq$", "≤": r"$\leq$",
        "×": r"$\times$", "<": r"\textless{}", ">": r"\textgreater{}", "κ": r"$\kappa$", "χ": r"$\chi$", "²": r"\textsuperscript{2}", "±": r"$\pm$",
        "→": r"$\rightarrow$",
    }
)  # fmt: skip
PS = ("p", "p_permutation", "p_holm", "p_bh", "p_adjusted")


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table as it is printed: ``value [low, high]`` in one cell, p-values as journals write them, the rest short.

    Parameters
    ----------
    table : any; ``value``, ``low``, ``high`` become one column, columns that are empty throughout are left out.
    """
    made = {}
    for name in table.columns:
        if name in ("low", "high") and "value" in table:
            continue
        if name == "value" and {"low", "high"} <= set(table.columns):
            made["value [interval]"] = [_with_interval(*row) for row in table[["value", "low", "high"]].to_numpy()]
        elif name in PS:
            made[name] = [p_text(value) for value in table[name]]
        else:
            made[name] = _column(table[name])
    result = pd.DataFrame(made)
    return result[[name for name in result if (result[name] != "").any()]]


def markdown(table: pd.DataFrame) -> str:
    """Return a table as Markdown, see :func:`shown`; ``|`` in names is escaped."""
    text = shown(table)
    lines = [list(text.columns), ["---"] * len(text.columns), *text.to_numpy().tolist()]
    # A name that reads as an HTML tag is no tag.
    cells = [[re.sub(r"<(?=[A-Za-z/!?])", "&lt;", _line(cell)).replace("|", r"\|") for cell in line] for line in lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def latex(table: pd.DataFrame, *, caption: str = "", label: str = "") -> str:
    """Return a table as LaTeX for ``booktabs``, see :func:`shown`; what LaTeX would read as commands is escaped."""
    text = shown(table)
    numbers = [pd.api.types.is_numeric_dtype(table[name]) if name in table else True for name in text.columns]
    # LaTeX would take a bracket or star after the last row's end for its argument.
    rows = [
        re.sub(r"^(?=[\[*])", "{}", " & ".join(_line(cell).translate(SPECIAL) for cell in line)) + r" \\"
        for line in text.to_numpy().tolist()
    ]
    head = " & ".join(str(name).translate(SPECIAL) for name in text.columns) + r" \\"
    said = [rf"\caption{{{caption.translate(SPECIAL)}}}"] if caption else []
    said += [rf"\label{{{label}}}"] if label else []
    columns = "".join("r" if number else "l" for number in numbers)
    body = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    return "\n".join([r"\begin{table}", r"\centering", *said, *body, r"\end{table}"])


def p_text(p: float) -> str:
    """Write a p-value: three decimals, two significant digits below 0.01, ``<0.0001`` below that; nothing for NaN.

    Examples
    --------
    >>> p_text(0.0312), p_text(0.00042), p_text(1e-9)
    ('0.031', '0.00042', '<0.0001')
    """
    if math.isnan(p):
        return ""
    if p < 1e-4:
        return "<0.0001"
    return f"{p:.3f}" if p >= 0.01 else f"{p:.2g}"


def p_said(p: float) -> str:
    """Write ``p = 0.031`` or ``p < 0.0001``.

    Examples
    --------
    >>> p_said(0.0312), p_said(1e-9)
    ('p = 0.031', 'p < 0.0001')
    """
    text = p_text(p)
    return f"p {text[0]} {text[1:]}" if text.startswith("<") else f"p = {text}"


def _line(cell: object) -> str:
    """Return a cell on one line."""
    return " ".join(str(cell).split("\n"))


def _with_interval(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return ""
    ends = "" if math.isnan(low) or math.isnan(high) else f" [{low:.3f}, {high:.3f}]"
    return f"{value:.3f}{ends}".replace("-", "−")


def _column(values: pd.Series) -> list[str]:
    """Write numbers of one column with as many decimals as the largest of them calls for, and words as they are."""
    if not pd.api.types.is_float_dtype(values):
        return [_text(value) for value in values]
    known = values[np.isfinite(values.to_numpy(dtype=np.float64))].abs()
    if (known == known.round()).all():
        decimals = 0
    else:
        largest = max(float(known.max()), 1e-9)
        decimals = int(np.clip(3 - np.floor(np.log10(largest)), 1, 3)) if largest >= 0.01 else 5
        # A scale of round steps (0.01, 0.02, …) is written in these.
        decimals = min(
            decimals, next(more for more in range(7) if more == 6 or np.allclose(known, known.round(more), atol=1e-9))
        )
    return ["" if math.isnan(value) else f"{value:,.{decimals}f}".replace("-", "−") for value in values]


def _text(value: Any) -> str:
    if value is None or value is pd.NA or value is pd.NaT or value != value:  # noqa: PLR0124  NaN is not itself
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)

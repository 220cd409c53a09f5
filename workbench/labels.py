"""Labels as text, and the order of the classes: one rule for every table that comes in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# In a two-class task the last class is the positive one, so words of absence stand first and words of disease last.
NEGATIVE = frozenset(
    [
        "0",
        "-1",
        "-",
        "n",
        "no",
        "neg",
        "negative",
        "false",
        "normal",
        "healthy",
        "benign",
        "control",
        "controls",
        "absent",
        "none",
        "nothing",
    ]
) | {"no finding", "no disease", "not present"}
POSITIVE = frozenset(
    [
        "1",
        "+",
        "y",
        "yes",
        "pos",
        "positive",
        "true",
        "abnormal",
        "malignant",
        "cancer",
        "tumor",
        "tumour",
        "disease",
        "diseased",
        "case",
        "cases",
        "present",
    ]
)
NEGATING = ("no ", "no-", "no_", "non ", "non-", "non_", "not ", "not-", "not_", "without ")


def class_order(values: Iterable[object]) -> tuple[str, ...]:
    """Put class names in order: numbers by size; else words of absence first, of disease last, the rest by alphabet.

    Parameters
    ----------
    values : labels as text (from :func:`label_text`), each as often as one likes.

    Examples
    --------
    >>> class_order(["malignant", "benign", "malignant"])
    ('benign', 'malignant')
    >>> class_order(["10", "9"])
    ('9', '10')
    """
    names = sorted({str(value) for value in values})
    if all(_number(name) is not None for name in names):
        return tuple(sorted(names, key=float))
    return tuple(sorted(names, key=lambda name: (_rank(name), name.casefold(), name)))


def label_text(series: pd.Series, *, where: str = "the table", first_row: int = 2) -> pd.Series:
    """Return labels as text: 0, 1, 1.0 and "1.0" become "0" and "1", words keep their spelling without outer blanks.

    Parameters
    ----------
    series : labels, one a row; its name is the column's.
    where : the file or table, for the message.
    first_row : row number of the first label as a spreadsheet counts (2: the header stands in row 1).

    Raises
    ------
    InputError : where a label is missing, a fraction, numbers and words are mixed, or a word is spelled in two ways; it names
        column and rows.
    """
    column = f"{where}, column {str(series.name)!r}"
    text = as_text(series)
    missing = series.isna().to_numpy() | (text == "")
    if missing.any():
        rows = _rows(missing.nonzero()[0], first_row)
        message = f"{column}, {rows}: the label is missing. Fill it in, or leave the rows out."
        raise InputError(message)
    numbers = {value: _number(value) for value in set(text)}
    words = {value for value in numbers if numbers[value] is None}
    # "4a" beside "3" is one scale; "malignant" beside "1" is two.
    strange = {value for value in words if not any(sign.isdigit() for sign in value)}
    if strange and len(words) < len(numbers):
        word = min(strange)
        number = next(value for value in text if numbers[value] is not None)
        message = (
            f"{column} mixes numbers and words: {number!r} in row {first_row + _first(text, number)}, "
            f"{word!r} in row {first_row + _first(text, word)}. Use one spelling for each class."
        )
        raise InputError(message)
    if words:
        _refuse_spellings(text, words, column, first_row)
        return pd.Series(text, index=series.index, name=series.name, dtype=object)
    fractions = [value for value, number in numbers.items() if number is not None and not number.is_integer()]
    if fractions:
        position, value = min((_first(text, value), value) for value in fractions)
        message = (
            f"{column}, row {first_row + position}: label {value} is a fraction; labels are classes. "
            "Is this the column of scores?"
        )
        raise InputError(message)
    whole = {value: str(int(number)) for value, number in numbers.items() if number is not None}
    return pd.Series(text, index=series.index, name=series.name, dtype=object).map(whole)


def as_text(values: pd.Series, write: Callable[[object], str] = str) -> np.ndarray:
    """Return each value as text without outer blanks, objects ``(n,)``; every distinct value is written once."""
    codes, distinct = pd.factorize(values.to_numpy(dtype=object), use_na_sentinel=False)
    return np.array([write(value).strip() for value in distinct], dtype=object)[codes]


def _first(text: np.ndarray, word: str) -> int:
    return int((text == word).argmax())


def _refuse_spellings(text: np.ndarray, words: set[str], column: str, first_row: int) -> None:
    """Refuse words that differ in nothing but capitals: they would count as two classes."""
    seen: dict[str, str] = {}
    for word in sorted(words):
        other = seen.setdefault(word.casefold(), word)
        if other != word:
            message = (
                f"{column} spells one class in two ways: {other!r} in row {first_row + _first(text, other)}, {word!r} in row "
                f"{first_row + _first(text, word)}. Use one spelling for each class."
            )
            raise InputError(message)


def _rank(name: str) -> int:
    folded = name.casefold().strip()
    if folded in NEGATIVE or folded.startswith(NEGATING):
        return 0
    return 2 if folded in POSITIVE else 1


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _rows(positions: Iterable[int], first_row: int) -> str:
    rows = [int(position) + first_row for position in positions]
    named = ", ".join(str(row) for row in rows[:5])
    more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {named}{more}"

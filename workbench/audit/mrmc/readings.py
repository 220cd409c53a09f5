"""Readings: who rated which case with which modality, as one array, checked at the door."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown_name
from workbench.labels import class_order, label_text
from workbench.spreadsheet import Spreadsheet, read_spreadsheet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, eq=False)
class Readings:
    """All scores of a reader study.

    Parameters
    ----------
    scores : float64 ``(I, J, K)``, modality × reader × case; NaN where there is no such reading.
    modalities, readers, cases : their names, in the order of the axes.
    truth : whether the case is of the positive class, bool ``(K,)``.
    patients : each case's patient as a number, int64 ``(K,)``.
    classes : names of the negative and the positive class.
    blank : rows of the table that had no score.
    """

    scores: np.ndarray
    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    cases: tuple[str, ...]
    truth: np.ndarray
    patients: np.ndarray
    classes: tuple[str, str]
    blank: int

    @property
    def read(self) -> np.ndarray:
        """Where there is a reading, bool ``(I, J, K)``."""
        return np.asarray(np.isfinite(self.scores))

    @property
    def clustered(self) -> bool:
        """Whether some patient has more than one case."""
        return len(np.unique(self.patients)) < len(self.patients)


def readings(
    table: str | Path | pd.DataFrame,
    columns: Mapping[str, str | None],
    *,
    positive: str | None = None,
    reference: str | None = None,
) -> Readings:
    """Read a long table, one row a reading.

    Parameters
    ----------
    table : CSV, Excel, Parquet or DataFrame.
    columns : names of the columns ``reader``, ``modality``, ``case``, ``score``, ``label`` and ``patient`` (or None).
    positive : the positive class; by default the last of two.
    reference : the modality that stands last, so that the others are compared with it.

    Raises
    ------
    InputError : for a reading that stands there twice, a case with two labels or two patients, a score that is no
        number, other than two classes; the message names the rows.
    """
    exact = tuple(str(columns[role]) for role in ("reader", "modality", "case", "patient") if columns[role] is not None)
    sheet = read_spreadsheet(table, text=exact)
    modality = _names(sheet, columns["modality"], "modality")
    # A row without a reader is the stand-alone model's.
    reader = _names(sheet, columns["reader"], "reader", otherwise=modality)
    case = _names(sheet, columns["case"], "case")
    score = _scores(sheet, str(columns["score"]))
    labels = label_text(
        sheet.column(str(columns["label"]), "label"), where=sheet.name, first_row=sheet.first_row
    ).to_numpy()
    patient = _names(sheet, columns["patient"], "patient") if columns["patient"] is not None else case
    _once(sheet, reader, modality, case)
    _same_for_a_case(sheet, case, labels, f"label (column {columns['label']!r})")
    _same_for_a_case(sheet, case, patient, f"patient (column {columns['patient']!r})")
    classes = _classes(sheet, labels, str(columns["label"]), positive)
    kept = np.isfinite(score)
    modalities, readers, cases = (_ordered(names[kept]) for names in (modality, reader, case))
    if reference is not None:
        if reference not in modalities:
            raise unknown_name("reference: modality", reference, modalities)
        modalities = [*(name for name in modalities if name != reference), reference]
    place = [pd.Index(names).get_indexer(values[kept]) for names, values in
             ((modalities, modality), (readers, reader), (cases, case))]  # fmt: skip
    scores = np.full((len(modalities), len(readers), len(cases)), np.nan)
    scores[tuple(place)] = score[kept]
    first = np.unique(place[2], return_index=True)[1]
    return Readings(
        scores, tuple(modalities), tuple(readers), tuple(cases), labels[kept][first] == classes[1],
        np.unique(patient[kept][first].astype(str), return_inverse=True)[1].astype(np.int64), classes, int((~kept).sum()),
    )  # fmt: skip


def _names(sheet: Spreadsheet, column: str | None, role: str, otherwise: np.ndarray | None = None) -> np.ndarray:
    values = sheet.column(str(column), role)
    codes, distinct = pd.factorize(values.to_numpy(dtype=object), use_na_sentinel=False)
    texts = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v).strip() for v in distinct]
    names = np.array(texts, dtype=object)[codes]
    missing = values.isna().to_numpy() | (names == "")
    if otherwise is not None:
        return np.where(missing, otherwise, names)
    if missing.any():
        message = f"{sheet.cell(int(missing.argmax()), str(column))}: the {role} is missing; fill it in, or leave the row out."
        raise InputError(message)
    return names


def _scores(sheet: Spreadsheet, column: str) -> np.ndarray:
    values = sheet.column(column, "score")
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    wrong = (np.isnan(numbers) & ~values.isna().to_numpy()) | np.isinf(numbers)
    if wrong.any():
        at = int(wrong.argmax())
        cell = repr(values.iloc[at]) if isinstance(values.iloc[at], str) else str(values.iloc[at])
        message = (
            f"{sheet.cell(at, column)}: the score {cell} is not a finite number ({int(wrong.sum())} of "
            f"{len(values)} rows); ratings are numbers that rise with suspicion, such as 1–5 or 0–100."
        )
        raise InputError(message)
    if not np.isfinite(numbers).any():
        message = f"{sheet.name}, column {column!r} holds no score."
        raise InputError(message)
    return numbers


def _once(sheet: Spreadsheet, reader: np.ndarray, modality: np.ndarray, case: np.ndarray) -> None:
    keys = pd.DataFrame({"reader": reader, "modality": modality, "case": case})
    twice = keys.duplicated().to_numpy()
    if twice.any():
        at = int(twice.argmax())
        first = int((keys == keys.iloc[at]).all(axis=1).to_numpy().argmax())
        message = (
            f"{sheet.name}, rows {sheet.first_row + first} and {sheet.first_row + at}: reader {reader[at]!r} read case "
            f"{case[at]!r} with {modality[at]!r} twice ({int(twice.sum())} such rows). Keep one reading, or name the "
            "second session as another modality."
        )
        raise InputError(message)


def _same_for_a_case(sheet: Spreadsheet, case: np.ndarray, values: np.ndarray, what: str) -> None:
    first = pd.Series(values).groupby(case).transform("first").to_numpy()
    other = values != first
    if other.any():
        at = int(other.argmax())
        before = int((case == case[at]).argmax())
        message = (
            f"{sheet.name}, rows {sheet.first_row + before} and {sheet.first_row + at}: case {case[at]!r} changes its "
            f"{what} from {values[before]!r} to {values[at]!r}. A case has one; mend the rows, or name the cases apart."
        )
        raise InputError(message)


def _classes(sheet: Spreadsheet, labels: np.ndarray, column: str, positive: str | None) -> tuple[str, str]:
    classes = class_order(labels)
    if len(classes) != 2:
        message = (
            f"{sheet.name}, column {column!r} holds {len(classes)} classes ({', '.join(classes[:6])}); a reader study "
            "needs two, diseased and not. Leave the other rows out, or join classes."
        )
        raise InputError(message)
    if positive is None:
        return classes[0], classes[1]
    if str(positive) not in classes:
        raise unknown_name("positive: class", positive, classes)
    return next(name for name in classes if name != str(positive)), str(positive)


def _ordered(names: Sequence[object] | np.ndarray) -> list[str]:
    """Return the distinct names by alphabet, numbers in them by size, so that the order of rows does not matter."""

    def key(name: str) -> tuple[list[tuple[bool, int, str]], str]:
        parts = re.split(r"(\d+)", name.casefold())
        return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts if part], name

    return sorted(map(str, pd.unique(np.asarray(names))), key=key)

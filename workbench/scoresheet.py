"""What anybody's table of scores must hold for each task: the columns found, checked cell by cell, and turned into numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown_name
from workbench.labels import as_text, class_order, label_text

if TYPE_CHECKING:
    from workbench.spreadsheet import Spreadsheet

SCORE = "score:"
LABEL = "label:"
WEIGHT = "sample_weight"

Columns = str | Sequence[str] | Mapping[str, str]
"""One column, several in order, or one for each name."""


@dataclass(frozen=True, eq=False)
class Scores:
    """Labels and scores of a table.

    Parameters
    ----------
    classes : of a classification in order, the positive one last; the findings of a multi-label task; the quantity of a
        regression; the per-image measures of a segmentation.
    values : columns as `Predictions` names them, labels first, each ``(n,)``.
    used : columns of the table they were taken from.
    """

    classes: tuple[str, ...]
    values: dict[str, np.ndarray]
    used: frozenset[str]


def classification(sheet: Spreadsheet, label: object, score: Columns, classes: Sequence[str] | None) -> Scores:
    """Take one label of two or more classes, and a probability for each class or for the positive one of two."""
    column = _one(sheet, label, "label", "classification")
    labels = label_text(sheet.column(column, "label"), where=sheet.name, first_row=sheet.first_row)
    order = _order(sheet, labels, column, classes)
    columns = _score_columns(sheet, score, order, labels)
    found = {name: _probabilities(sheet, given) for name, given in columns.items()}
    if len(found) == 1:
        found = {order[0]: 1 - found[order[1]], order[1]: found[order[1]]}
    values = {"label": labels.to_numpy()} | {SCORE + name: found[name] for name in order}
    return Scores(order, values, frozenset([column, *columns.values()]))


def multilabel(sheet: Spreadsheet, label: object, score: Columns, classes: Sequence[str] | None) -> Scores:
    """Take a label of 0 or 1, or none, and a probability for each finding."""
    labels = _named(sheet, label, "label", classes)
    scores = _named(sheet, score, "score", tuple(labels))
    for name in scores:
        if name not in labels:
            raise unknown_name("score: finding", name, labels)
    for name in labels:
        if name not in scores:
            raise unknown_name("label: finding", name, scores)
    values = {LABEL + name: _presence(sheet, column) for name, column in labels.items()}
    values |= {SCORE + name: _probabilities(sheet, scores[name]) for name in labels}
    return Scores(tuple(labels), values, frozenset([*labels.values(), *scores.values()]))


def regression(sheet: Spreadsheet, label: object, score: Columns, classes: Sequence[str] | None) -> Scores:
    """Take the measured and the predicted number; the quantity is called as the column of the label."""
    truth, given = _one(sheet, label, "label", "regression"), _one(sheet, score, "score", "regression")
    name = truth if classes is None else str(classes[0])
    values = {"label": _numbers(sheet, truth, "label"), SCORE + name: _numbers(sheet, given, "score")}
    return Scores((name,), values, frozenset([truth, given]))


def segmentation(sheet: Spreadsheet, label: object, score: Columns, classes: Sequence[str] | None) -> Scores:
    """Take the measures of each image, such as Dice; an empty cell says that it cannot be told for this image."""
    if label is not None:
        message = "task='segmentation' takes no label=: its scores already compare each mask with the reference."
        raise InputError(message)
    columns = _named(sheet, score, "score", classes)
    values = {SCORE + name: _numbers(sheet, column, "score", empty=True) for name, column in columns.items()}
    return Scores(tuple(columns), values, frozenset(columns.values()))


TASKS = {
    "classification": classification, "multilabel": multilabel, "regression": regression, "segmentation": segmentation,
}  # fmt: skip


def row_weights(sheet: Spreadsheet, column: str) -> np.ndarray:
    """Return what each row counts, above 0."""
    values = _numbers(sheet, column, "weight")
    wrong = np.flatnonzero(values <= 0)
    if len(wrong):
        message = (
            f"{sheet.cell(wrong[0], column)}: the weight {values[wrong[0]]:g} is not above 0 ({len(wrong)} of {len(values)} "
            "rows); leave rows out that shall not count."
        )
        raise InputError(message)
    return values


def taken_name(sheet: Spreadsheet, name: str) -> InputError:
    """Build the error for an attribute that is called as one of the columns of `Predictions`."""
    mend = {"patient": "name it: patient='patient'.", WEIGHT: f"name it: weight={WEIGHT!r}."}
    return InputError(
        f"{sheet.name}, column {name!r}: an attribute cannot have this name, which stands for something else in "
        f"predictions; {mend.get(name, 'rename it, or leave it out with attributes=[…].')}"
    )


def row_names(sheet: Spreadsheet, column: str | None, role: str, prefix: str) -> np.ndarray:
    """Return a column of ids or patients as text; without one, rows are numbered as the user sees them."""
    if column is None:
        numbered = [f"{prefix}{sheet.first_row + position}" for position in range(len(sheet.frame))]
        return np.array(numbered, dtype=object)
    values = sheet.column(column, role)
    missing = np.flatnonzero(values.isna())
    if len(missing):
        message = f"{sheet.cell(missing[0], column)}: the {role} is missing; fill it in, or leave the row out."
        raise InputError(message)
    names = as_text(values, lambda v: str(int(v)) if isinstance(v, float) and v.is_integer() else str(v))
    if role == "id":
        twice = pd.Index(names).duplicated()
        if twice.any():
            position = int(np.flatnonzero(twice)[0])
            message = f"{sheet.cell(position, column)}: id {names[position]!r} stands on two rows; ids must be unique."
            raise InputError(message)
    return names


def attribute_values(series: pd.Series) -> np.ndarray:
    """Keep numbers as numbers and make the rest text, so that a column of mixed kinds can be saved; missing stays so."""
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
        return series.to_numpy()
    text = as_text(series)
    text[series.isna().to_numpy() | (text == "")] = None
    return text


def _one(sheet: Spreadsheet, given: object, role: str, task: str) -> str:
    """Return the only column of a role."""
    if isinstance(given, str):
        sheet.column(given, role)
        return given
    message = f"task={task!r} needs {role}= as the name of one column of {sheet.name}; {given!r} was given." + (
        " Several findings an image: task='multilabel'." if role == "label" and given is not None else ""
    )
    raise InputError(message)


def _named(sheet: Spreadsheet, given: object, role: str, names: Sequence[str] | None) -> dict[str, str]:
    """Return name → column; without names, columns are called as they are."""
    if isinstance(given, Mapping):
        columns = {str(name): str(column) for name, column in given.items()}
    else:
        listed = [given] if isinstance(given, str) else list(given) if isinstance(given, Sequence) else []
        called = listed if names is None else [str(name) for name in names]
        if not listed or len(called) != len(listed):
            message = (
                f"{sheet.name}: {role}= names {len(listed)} column(s)"
                + (f" for {len(called)} names ({', '.join(called)})" if names is not None else "")
                + f"; give one for each, {role}={{'name': 'column', …}}."
            )
            raise InputError(message)
        columns = dict(zip(called, map(str, listed), strict=True))
    for column in columns.values():
        sheet.column(column, role)
    return columns


def _order(sheet: Spreadsheet, labels: pd.Series, column: str, classes: Sequence[str] | None) -> tuple[str, ...]:
    found = class_order(labels.unique())
    order = found if classes is None else tuple(str(name) for name in classes)
    unlisted = [name for name in found if name not in order]
    if unlisted:
        position = int(np.flatnonzero((labels == unlisted[0]).to_numpy())[0])
        place = f"{sheet.cell(position, column)}: label"
        raise unknown_name(place, unlisted[0], order)
    if len(found) < 2:
        message = (
            f"{sheet.name}, column {column!r}: every label is {found[0]!r}. With one class only, AUROC cannot be "
            "estimated, nor either sensitivity or specificity; add images of the other class."
        )
        raise InputError(message)
    return order


def _score_columns(sheet: Spreadsheet, score: Columns, order: tuple[str, ...], labels: pd.Series) -> dict[str, str]:
    """Return class → column; one column alone is that of the positive class of two."""
    if isinstance(score, str):
        columns = {order[-1]: score}
    elif isinstance(score, Mapping):
        columns = {str(name): column for name, column in score.items()}
        for name in columns:
            if name not in order:
                raise unknown_name("score: class", name, order)
    else:
        columns = dict(zip(order, score, strict=False)) if len(score) == len(order) else {}
    one_will_do = len(order) == 2 and set(columns) == {order[-1]}
    if set(columns) != set(order) and not one_will_do:
        counts = labels.value_counts()
        listed = ", ".join(f"{name} ({counts.get(name, 0)} rows)" for name in order[:6])
        rarest = min(order, key=lambda name: (counts.get(name, 0), name))
        message = (
            f"{sheet.name}, column {str(labels.name)!r} has {len(order)} classes: {listed}{', …' if len(order) > 6 else ''}; and score names "
            f"{1 if isinstance(score, str) else len(score)} column(s). Give one for each, "
            "score={" + ", ".join(f"{name!r}: …" for name in order[:6]) + "}."
        )
        if len(order) > 2 and counts.get(rarest, 0):
            row = sheet.first_row + int(np.flatnonzero((labels == rarest).to_numpy())[0])
            message += f" If there should be two: {rarest!r} stands first in row {row}."
        raise InputError(message)
    for column in columns.values():
        sheet.column(column, "score")
    return columns


def _numbers(sheet: Spreadsheet, column: str, role: str, *, empty: bool = False) -> np.ndarray:
    """Return a column of finite numbers; with `empty`, missing cells come as NaN."""
    given = sheet.column(column, role)
    values = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64)
    missing = given.isna().to_numpy()
    broken = np.flatnonzero(~np.isfinite(values) & ~(missing if empty else False))
    if len(broken):
        more = f" So are {len(broken) - 1} other rows." if len(broken) > 1 else ""
        cell = given.iloc[broken[0]]
        problem = f"the {role} is missing" if missing[broken[0]] else f"the {role} {_said(cell)} is not a finite number"
        mend = "leave the cell empty where it cannot be told" if empty else "fill it in, or leave the row out"
        message = f"{sheet.cell(broken[0], column)}: {problem}; {_written(cell) or mend}.{more}"
        raise InputError(message)
    return values


def _written(cell: object) -> str:
    """Say how a number is to be written, where a cell holds one with a comma or in per cent; else nothing."""
    text = cell.strip() if isinstance(cell, str) else ""
    try:
        number = float(text.replace(",", ".").removesuffix("%")) / (100 if "%" in text else 1)
    except ValueError:
        return ""
    return f"write it as {number:g}" if math.isfinite(number) else ""


def _probabilities(sheet: Spreadsheet, column: str) -> np.ndarray:
    values = _numbers(sheet, column, "score")
    outside = np.flatnonzero((values < 0) | (values > 1))
    if len(outside):
        message = (
            f"{sheet.cell(outside[0], column)}: the score {values[outside[0]]:g} lies outside 0–1 ({len(outside)} of "
            f"{len(values)} rows do). If these are logits, turn them into probabilities first: 1 / (1 + exp(-logit)); "
            "percentages: divide by 100."
        )
        raise InputError(message)
    return values


def _presence(sheet: Spreadsheet, column: str) -> np.ndarray:
    """Return 0, 1 or NaN."""
    given = sheet.column(column, "label")
    values = pd.to_numeric(given, errors="coerce").to_numpy(dtype=np.float64)
    missing = given.isna().to_numpy()
    wrong = np.flatnonzero(~missing & ~np.isin(values, (0.0, 1.0)))
    if len(wrong):
        message = (
            f"{sheet.cell(wrong[0], column)}: label {_said(given.iloc[wrong[0]])} is neither 0 (absent) nor 1 (present); "
            f"{len(wrong)} row(s) are like this. Where a finding is uncertain or nobody looked, leave the cell empty."
        )
        raise InputError(message)
    return values


def _said(cell: object) -> str:
    return repr(cell) if isinstance(cell, str) else str(cell)

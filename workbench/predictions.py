"""Predictions: what a model, or anybody's table of scores, says of each image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown_name
from workbench.labels import class_order, label_text
from workbench.provenance import Provenance, digest, file_digest
from workbench.spreadsheet import Spreadsheet, read_spreadsheet
from workbench.storage import read_json, reading, write_json, writing

SCORE = "score:"
# Rows written with four decimals sum to 1 within this.
SUM_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Predictions:
    """A table of scores, one row an image, and what the audit needs beside them. Knows nothing of torch.

    Parameters
    ----------
    table : index ``id`` (unique text); columns ``patient`` (text), ``label`` (one of `classes`), one column
        ``score:<class>`` for each class (probabilities in 0–1 that sum to 1), and the attributes.
    classes : in order; in a two-class task the last is the positive one.
    attributes : columns by which results may be broken down; missing values stay missing.
    provenance : which model, which cohort.

    Raises
    ------
    InputError : where the table does not fit the above; the message names the row, the column and the mend.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    provenance: Provenance

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "attributes", tuple(self.attributes))
        _check(self)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> list[str]:
        """Image ids in table order."""
        return list(self.table.index)

    @property
    def scores(self) -> np.ndarray:
        """Score of every class, float64 ``(n, K)``, in the order of `classes`."""
        return self.table[[SCORE + name for name in self.classes]].to_numpy(dtype=np.float64)

    @property
    def positive(self) -> np.ndarray:
        """Score of the last class, which is the positive one of a two-class task: float64 ``(n,)``."""
        return self.table[SCORE + self.classes[-1]].to_numpy(dtype=np.float64)

    @property
    def labels(self) -> np.ndarray:
        """Each image's label as an index into `classes`, int64 ``(n,)``."""
        return pd.Categorical(self.table["label"], categories=self.classes).codes.astype(np.int64)

    @property
    def patients(self) -> np.ndarray:
        """Each image's patient, ``(n,)`` of text."""
        return self.table["patient"].to_numpy()

    @classmethod
    def from_table(
        cls,
        source: str | Path | pd.DataFrame,
        *,
        label: str,
        score: str | Sequence[str] | Mapping[str, str],
        patient: str | None = None,
        attributes: Sequence[str] | None = None,
        id: str | None = None,  # what the column is called everywhere in this package
        classes: Sequence[str] | None = None,
    ) -> Self:
        """Take anybody's table of scores: CSV, Excel, Parquet or a DataFrame, one row an image.

        Parameters
        ----------
        source : path or DataFrame.
        label : column of the truth: two or more classes, as words or numbers.
        score : column with the probability (0–1) of the positive class; for several classes a mapping class → column,
            or the columns in the order of `classes`.
        patient : column of the patient. Without it every image counts as a patient of its own, which makes intervals
            too narrow where patients have several images.
        attributes : columns to break results down by; by default every other column.
        id : column of the image id; by default rows are numbered.
        classes : their order, the positive one last; by default words of absence and 0 stand first.

        Raises
        ------
        FileError : where the file cannot be read.
        InputError : naming file, row, column, problem and mend.
        """
        exact = tuple(name for name in (patient, id) if name is not None)
        sheet = read_spreadsheet(source, text=exact)
        labels = label_text(sheet.column(label, "label"), where=sheet.name, first_row=sheet.first_row)
        order = _order(sheet, labels, label, classes)
        columns = _score_columns(sheet, score, order)
        table = pd.DataFrame({"patient": _names(sheet, patient, "patient", "image "), "label": labels.to_numpy()})
        table.index = pd.Index(_names(sheet, id, "id", ""), name="id")
        values = {name: _probabilities(sheet, column) for name, column in columns.items()}
        if len(values) == 1:
            values = {order[0]: 1 - values[order[1]], order[1]: values[order[1]]}
        for name in order:
            table[SCORE + name] = values[name]
        used = {label, patient, id, *columns.values()}
        chosen = sheet.others(used) if attributes is None else list(attributes)
        for name in chosen:
            table[str(name)] = _attribute(sheet.column(name, "attribute"))
        settings = {
            "label": label, "score": score, "patient": patient, "attributes": chosen, "id": id, "classes": order,
        }  # fmt: skip
        origin = {} if isinstance(source, pd.DataFrame) else {"file": Path(source).name, "sha256": file_digest(source)}
        provenance = Provenance("from_table", settings | origin, digest(table))
        return cls(table, order, tuple(map(str, chosen)), provenance)

    def subset(self, ids: Iterable[str], *, verb: str = "subset", **settings: Any) -> Self:
        """Return the predictions of these ids, in this order."""
        wanted = list(ids)
        absent = [image_id for image_id in wanted if image_id not in self.table.index]
        if absent:
            raise unknown_name("image id", absent[0], self.ids[:5])
        made = Provenance(
            verb, {"images": len(wanted), **settings}, digest(self.provenance.content, wanted),
            {"predictions": self.provenance},
        )  # fmt: skip
        return type(self)(self.table.loc[wanted], self.classes, self.attributes, made)

    def save(self, folder: str | Path) -> Path:
        """Write ``predictions.parquet`` and its record to `folder`."""
        with writing(folder, "Predictions") as scratch:
            self.table.to_parquet(scratch / "predictions.parquet")
            write_json(scratch / "predictions.json", {"classes": self.classes, "attributes": self.attributes})
            self.provenance.save(scratch)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote, after checking every byte."""
        path = reading(folder, "Predictions")
        record = read_json(path / "predictions.json")
        table = pd.read_parquet(path / "predictions.parquet")
        return cls(table, tuple(record["classes"]), tuple(record["attributes"]), Provenance.load(path))

    def __repr__(self) -> str:
        counts = self.table["label"].value_counts()
        shares = ", ".join(f"{name} {counts.get(name, 0)}" for name in self.classes)
        return f"Predictions({len(self)} images of {self.table['patient'].nunique()} patients: {shares})"

    def _repr_html_(self) -> str:
        from workbench.html import render

        counts = self.table["label"].value_counts()
        classes = [
            {
                "name": name,
                "count": int(counts.get(name, 0)),
                "share": counts.get(name, 0) / len(self),
                "mean": float(self.table[SCORE + name].mean()),
            }
            for name in self.classes
        ]
        attributes = [
            {
                "name": name,
                "values": int(self.table[name].nunique()),
                "missing": float(self.table[name].isna().mean()),
            }
            for name in self.attributes
        ]
        return render("predictions.html", predictions=self, classes=classes, attributes=attributes,
                      patients=self.table["patient"].nunique())  # fmt: skip


def _check(predictions: Predictions) -> None:
    """Raise InputError where table, classes and attributes do not fit together."""
    table = predictions.table
    if len(table) == 0:
        message = "the predictions are empty: no row is left. Check the table, or the condition that chose its rows."
        raise InputError(message)
    scores = [SCORE + name for name in predictions.classes]
    for column in ("patient", "label", *scores, *predictions.attributes):
        if column not in table.columns:
            raise unknown_name("predictions: column", column, map(str, table.columns))
    if len(predictions.classes) < 2:
        message = f"predictions need at least two classes; there is only {predictions.classes}."
        raise InputError(message)
    twice = table.index.duplicated()
    if twice.any():
        message = f"image id {table.index[twice][0]!r} stands on two rows; give every image an id of its own."
        raise InputError(message)
    _refuse(table, table["patient"].isna(), "patient", "the patient is missing; fill it in, or leave the row out.")
    strange = ~table["label"].isin(predictions.classes)
    _refuse(table, strange, "label", f"the label is none of the classes {', '.join(predictions.classes)}.")
    for column in scores:
        values = table[column].to_numpy(dtype=np.float64)
        mend = "scores are probabilities; apply a sigmoid or softmax to logits."
        _refuse(table, ~np.isfinite(values), column, "the score is not a finite number.")
        _refuse(table, (values < 0) | (values > 1), column, f"the score lies outside 0–1; {mend}")
    total = predictions.scores.sum(axis=1)
    mend = "apply a softmax, or give all classes."
    _refuse(table, abs(total - 1) > SUM_TOLERANCE, "score:…", f"the scores of all classes do not sum to 1; {mend}")


def _refuse(table: pd.DataFrame, wrong: pd.Series | np.ndarray, column: str, problem: str) -> None:
    rows = np.flatnonzero(np.asarray(wrong))
    if len(rows):
        value = f" ({table[column].iloc[rows[0]]!r})" if column in table.columns else ""
        more = f" {len(rows)} rows are like this." if len(rows) > 1 else ""
        message = f"predictions, row {table.index[rows[0]]!r}, column {column!r}{value}: {problem}{more}"
        raise InputError(message)


def _order(sheet: Spreadsheet, labels: pd.Series, column: str, classes: Sequence[str] | None) -> tuple[str, ...]:
    found = class_order(labels)
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


def _score_columns(
    sheet: Spreadsheet, score: str | Sequence[str] | Mapping[str, str], order: tuple[str, ...]
) -> dict[str, str]:
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
        message = (
            f"{sheet.name} has {len(order)} classes ({', '.join(order)}), and score names "
            f"{1 if isinstance(score, str) else len(score)} column(s): give one for each, "
            "score={" + ", ".join(f"{name!r}: …" for name in order) + "}."
        )
        raise InputError(message)
    for column in columns.values():
        sheet.column(column, "score")
    return columns


def _probabilities(sheet: Spreadsheet, column: str) -> np.ndarray:
    values = pd.to_numeric(sheet.frame[column], errors="coerce").to_numpy(dtype=np.float64)
    broken = np.flatnonzero(~np.isfinite(values))
    more = f" So are {len(broken) - 1} other rows." if len(broken) > 1 else ""
    if len(broken):
        given = sheet.frame[column].iloc[broken[0]]
        problem = "the score is missing" if pd.isna(given) else f"the score {given!r} is not a finite number"
        message = f"{sheet.cell(broken[0], column)}: {problem}; fill it in, or leave the row out.{more}"
        raise InputError(message)
    outside = np.flatnonzero((values < 0) | (values > 1))
    if len(outside):
        message = (
            f"{sheet.cell(outside[0], column)}: the score {values[outside[0]]:g} lies outside 0–1 ({len(outside)} of "
            f"{len(values)} rows do). If these are logits, turn them into probabilities first: 1 / (1 + exp(-logit)); "
            "percentages: divide by 100."
        )
        raise InputError(message)
    return values


def _names(sheet: Spreadsheet, column: str | None, role: str, prefix: str) -> list[str]:
    """Return a column of ids as text; without one, rows are numbered as the user sees them."""
    if column is None:
        return [f"{prefix}{sheet.first_row + position}" for position in range(len(sheet.frame))]
    values = sheet.column(column, role)
    missing = np.flatnonzero(values.isna())
    if len(missing):
        message = f"{sheet.cell(missing[0], column)}: the {role} is missing; fill it in, or leave the row out."
        raise InputError(message)
    names = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v).strip() for v in values]
    if role == "id":
        twice = pd.Index(names).duplicated()
        if twice.any():
            position = int(np.flatnonzero(twice)[0])
            message = f"{sheet.cell(position, column)}: id {names[position]!r} stands on two rows; ids must be unique."
            raise InputError(message)
    return names


def _attribute(series: pd.Series) -> np.ndarray:
    """Keep numbers as numbers and make the rest text, so that a column of mixed kinds can be saved; missing stays so."""
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
        return series.to_numpy()
    text = series.astype(object)
    blank = series.isna() | (series.astype(str).str.strip() == "")
    return text.map(lambda value: str(value).strip()).where(~blank, None).to_numpy()

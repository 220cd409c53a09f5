"""Predictions: what a model, or anybody's table of scores, says of each image."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from workbench.errors import EvidenceWarning, InputError, unknown_name
from workbench.provenance import Provenance, digest, file_digest
from workbench.scoresheet import (
    LABEL,
    SCORE,
    TASKS,
    WEIGHT,
    Columns,
    attribute_values,
    row_names,
    row_weights,
    taken_name,
)
from workbench.spreadsheet import read_spreadsheet
from workbench.storage import read_record, read_table, reading, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["LABEL", "SCORE", "WEIGHT", "Predictions"]

# Rows written with four decimals sum to 1 within this.
SUM_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Predictions:
    """A table of scores, one row an image, and what the audit needs beside them. Knows nothing of torch.

    Parameters
    ----------
    table : index ``id`` (unique text); columns ``patient`` (text), the label, one column ``score:<class>`` for each class,
        ``sample_weight`` (above 0) where rows do not count the same, and the attributes.
    classes : in order; in a two-class task the last is the positive one.
    attributes : columns by which results may be broken down; missing values stay missing.
    provenance : which model, which cohort.
    task : what labels and scores are.

        - ``"classification"``: ``label`` is one of `classes`; the scores are probabilities in 0–1 that sum to 1.
        - ``"multilabel"``: `classes` are findings; ``label:<finding>`` is 0, 1 or missing; each score is a probability.
        - ``"regression"``: `classes` names the one quantity; ``label`` and score are finite numbers.
        - ``"segmentation"``: `classes` are per-image measures such as Dice, their values the scores; no label. A missing
          value says that the measure cannot be told for that image.

    Raises
    ------
    InputError : where the table does not fit the above; the message names the row, the column and the mend.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    provenance: Provenance
    task: str = "classification"

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
        """Each image's label, ``(n,)``: an index into `classes`, int64, or the measured number of a regression, float64.

        Of a multi-label task ``(n, K)`` of 0, 1 and NaN; of a segmentation, which has none, ``(n, 0)``.
        """
        if self.task == "classification":
            return pd.Categorical(self.table["label"], categories=self.classes).codes.astype(np.int64)
        return (
            self.table[_label_columns(self)].to_numpy(dtype=np.float64).squeeze(1 if self.task == "regression" else ())
        )

    @property
    def weights(self) -> np.ndarray:
        """What each image counts, float64 ``(n,)``; 1 where no weights were given."""
        if WEIGHT not in self.table or WEIGHT in self.attributes:
            return np.ones(len(self))
        return self.table[WEIGHT].to_numpy(dtype=np.float64)

    @property
    def missing(self) -> dict[str, int]:
        """Number of images without a label for a finding, or without a value of a measure; only where there are some."""
        prefix = {"multilabel": LABEL, "segmentation": SCORE}.get(self.task)
        counts = {} if prefix is None else {name: int(self.table[prefix + name].isna().sum()) for name in self.classes}
        return {name: count for name, count in counts.items() if count}

    @property
    def patients(self) -> np.ndarray:
        """Each image's patient, ``(n,)`` of text."""
        return self.table["patient"].to_numpy()

    @classmethod
    def from_table(
        cls,
        source: str | Path | pd.DataFrame,
        *,
        label: Columns | None = None,
        score: Columns,
        patient: str | None = None,
        attributes: Sequence[str] | None = None,
        id: str | None = None,  # what the column is called everywhere in this package
        classes: Sequence[str] | None = None,
        task: str = "classification",
        weight: str | None = None,
    ) -> Self:
        """Take anybody's table of scores: CSV, Excel, Parquet or a DataFrame, one row an image.

        Parameters
        ----------
        source : path or DataFrame.
        label : column of the truth: two or more classes, as words or numbers; the measured number of a regression. Of a
            multi-label task a mapping finding → column of 0 and 1, empty where unknown. A segmentation has none.
        score : column with the probability (0–1) of the positive class; for several classes a mapping class → column,
            or the columns in the order of `classes`. Of a multi-label task a mapping finding → column of probabilities;
            of a regression the column of the predicted number; of a segmentation one column for each measure.
        patient : column of the patient. Without it every image counts as a patient of its own, which makes intervals
            too narrow where patients have several images.
        attributes : columns to break results down by; by default every other column.
        id : column of the image id; by default rows are numbered.
        classes : their order, the positive one last; by default words of absence and 0 stand first.
        task : ``"classification"``, ``"multilabel"``, ``"regression"`` or ``"segmentation"``.
        weight : column of row weights above 0, where the sample was drawn unequally (one over the chance of being drawn).

        Warns
        -----
        EvidenceWarning
            Where labels of a finding, or values of a measure, are missing: with how many.

        Raises
        ------
        FileError : where the file cannot be read.
        InputError : naming file, row, column, problem and mend.
        """
        if task not in TASKS:
            raise unknown_name("task", task, TASKS)
        exact = tuple(name for name in (patient, id) if name is not None)
        sheet = read_spreadsheet(source, text=exact)
        taken = TASKS[task](sheet, label, score, classes)
        table = pd.DataFrame({"patient": row_names(sheet, patient, "patient", "image ")} | taken.values)
        table.index = pd.Index(row_names(sheet, id, "id", ""), name="id")
        if weight is not None:
            table[WEIGHT] = row_weights(sheet, weight)
        chosen = sheet.others({patient, id, weight, *taken.used}) if attributes is None else list(attributes)
        for name in chosen:
            if str(name) in {*table.columns, WEIGHT}:
                raise taken_name(sheet, str(name))
            table[str(name)] = attribute_values(sheet.column(name, "attribute"))
        settings = {
            "label": label, "score": score, "patient": patient, "attributes": chosen, "id": id, "classes": taken.classes,
        }  # fmt: skip
        # Beyond what every table of one label has always said, only what differs is told.
        settings |= {} if task == "classification" else {"task": task}
        settings |= {} if weight is None else {"weight": weight}
        origin = {} if isinstance(source, pd.DataFrame) else {"file": Path(source).name, "sha256": file_digest(source)}
        provenance = Provenance("from_table", settings | origin, digest(table))
        found = cls(table, taken.classes, tuple(map(str, chosen)), provenance, task)
        if found.missing:
            warnings.warn(_told(found), EvidenceWarning, stacklevel=2)
        return found

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
        return type(self)(self.table.loc[wanted], self.classes, self.attributes, made, self.task)

    def save(self, folder: str | Path) -> Path:
        """Write ``predictions.parquet`` and its record to `folder`."""
        with writing(folder, "Predictions") as scratch:
            self.table.to_parquet(scratch / "predictions.parquet")
            record = {"classes": self.classes, "attributes": self.attributes, "task": self.task}
            write_json(scratch / "predictions.json", record)
            self.provenance.save(scratch)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote, after checking every byte."""
        path = reading(folder, "Predictions")
        record = read_record(path / "predictions.json", "classes", "attributes")
        table = read_table(path / "predictions.parquet")
        # Folders from before there were other tasks do not name theirs.
        task = record.get("task", "classification")
        return cls(table, tuple(record["classes"]), tuple(record["attributes"]), Provenance.load(path), task)

    def __repr__(self) -> str:
        told = ", ".join(f"{row[0]} {row[1]}" for row in _summary(self)[1])
        return f"Predictions({len(self)} images of {self.table['patient'].nunique()} patients: {told})"

    def _repr_html_(self) -> str:
        from workbench.html import render

        header, rows = _summary(self)
        attributes = [
            {
                "name": name,
                "values": int(self.table[name].nunique()),
                "missing": float(self.table[name].isna().mean()),
            }
            for name in self.attributes
        ]
        return render("predictions.html", predictions=self, header=header, rows=rows, attributes=attributes,
                      patients=self.table["patient"].nunique(), told=_told(self))  # fmt: skip


def _label_columns(predictions: Predictions) -> list[str]:
    if predictions.task == "multilabel":
        return [LABEL + name for name in predictions.classes]
    return [] if predictions.task == "segmentation" else ["label"]


def _summary(predictions: Predictions) -> tuple[tuple[str, ...], list[tuple[str, str, str, str]]]:
    """Header and rows of what is shown first: a row a class, finding, quantity or measure."""
    table = predictions.table
    scores = {name: table[SCORE + name] for name in predictions.classes}
    if predictions.task == "classification":
        counts = table["label"].value_counts()
        return ("class", "images", "share", "mean score"), [
            (name, f"{counts.get(name, 0):,}", f"{100 * counts.get(name, 0) / len(table):.0f}", f"{score.mean():.3f}")
            for name, score in scores.items()
        ]
    if predictions.task == "multilabel":
        labels = {name: table[LABEL + name] for name in predictions.classes}
        return ("finding", "positive", "of labelled", "mean score"), [
            (name, f"{int(labels[name].sum()):,}", f"{labels[name].notna().sum():,}", f"{score.mean():.3f}")
            for name, score in scores.items()
        ]
    if predictions.task == "regression":
        name = predictions.classes[0]
        return ("quantity", "measured, mean ± SD", "predicted, mean ± SD", "correlation"), [
            (name, _spread(table["label"]), _spread(scores[name]), _correlation(table["label"], scores[name]))
        ]
    return ("measure", "median (quartiles)", "images", "not estimable"), [
        (name, _quartiles(score), f"{score.notna().sum():,}", f"{score.isna().sum():,}")
        for name, score in scores.items()
    ]


def _spread(values: pd.Series) -> str:
    return f"{values.mean():.4g} ± {values.std():.3g}" if len(values) > 1 else f"{values.mean():.4g}"


def _correlation(first: pd.Series, second: pd.Series) -> str:
    return f"{first.corr(second):.3f}" if first.nunique() > 1 and second.nunique() > 1 else "–"


def _quartiles(values: pd.Series) -> str:
    low, middle, high = values.quantile([0.25, 0.5, 0.75])
    return f"{middle:.4g} ({low:.3g}–{high:.3g})"


def _told(predictions: Predictions) -> str:
    """Say how many labels or values are missing, and what follows; nothing where none is."""
    missing = predictions.missing
    if not missing:
        return ""
    named = ", ".join(f"{name} ({count})" for name, count in missing.items())
    if predictions.task == "multilabel":
        return f"Images without a label: {named}, of {len(predictions)}. Each finding is measured on its labelled images alone."
    return (
        f"Not estimable for some images: {named}, of {len(predictions)}. Each measure is summed up over the others, and "
        "where the missing ones are failures it looks too good."
    )


def _check(predictions: Predictions) -> None:
    """Raise InputError where table, classes and attributes do not fit together."""
    table = predictions.table
    if len(table) == 0:
        message = "the predictions are empty: no row is left. Check the table, or the condition that chose its rows."
        raise InputError(message)
    if predictions.task not in TASKS:
        raise unknown_name("predictions: task", predictions.task, TASKS)
    scores = [SCORE + name for name in predictions.classes]
    for column in ("patient", *_label_columns(predictions), *scores, *predictions.attributes):
        if column not in table.columns:
            raise unknown_name("predictions: column", column, map(str, table.columns))
    twice = table.index.duplicated()
    if twice.any():
        message = f"image id {table.index[twice][0]!r} stands on two rows; give every image an id of its own."
        raise InputError(message)
    _refuse(table, table["patient"].isna(), "patient", "the patient is missing; fill it in, or leave the row out.")
    weights = predictions.weights
    _refuse(table, ~(np.isfinite(weights) & (weights > 0)), WEIGHT, "the weight is not a finite number above 0.")
    _check_labels(predictions)
    for column in scores:
        values = table[column].to_numpy(dtype=np.float64)
        empty = np.isnan(values) if predictions.task == "segmentation" else np.zeros(len(values), dtype=bool)
        _refuse(table, ~np.isfinite(values) & ~empty, column, "the score is not a finite number.")
        if predictions.task in ("classification", "multilabel"):
            mend = "scores are probabilities; apply a sigmoid or softmax to logits."
            _refuse(table, (values < 0) | (values > 1), column, f"the score lies outside 0–1; {mend}")
        if empty.all():
            message = f"predictions, column {column!r}: the measure has no value for any image; leave the column out."
            raise InputError(message)
    if predictions.task == "classification":
        total = predictions.scores.sum(axis=1)
        mend = "apply a softmax, or give all classes."
        _refuse(table, abs(total - 1) > SUM_TOLERANCE, "score:…", f"the scores of all classes do not sum to 1; {mend}")


def _check_labels(predictions: Predictions) -> None:
    table, classes, task = predictions.table, predictions.classes, predictions.task
    fewest = {"classification": "two classes", "regression": "one quantity", "multilabel": "one finding"}.get(
        task, "one measure"
    )
    if len(classes) < (2 if task == "classification" else 1) or (task == "regression" and len(classes) > 1):
        message = f"predictions need {'' if task == 'regression' else 'at least '}{fewest}; there is only {classes}."
        raise InputError(message)
    if task == "classification":
        strange = ~table["label"].isin(classes)
        _refuse(table, strange, "label", f"the label is none of the classes {', '.join(classes)}.")
        return
    for column in _label_columns(predictions):
        values = table[column].to_numpy(dtype=np.float64)
        if task == "regression":
            _refuse(table, ~np.isfinite(values), column, "the label is not a finite number.")
        else:
            known = np.isnan(values) | np.isin(values, (0, 1))
            _refuse(table, ~known, column, "the label is neither 0 nor 1; leave it missing where it is unknown.")


def _refuse(table: pd.DataFrame, wrong: pd.Series | np.ndarray, column: str, problem: str) -> None:
    rows = np.flatnonzero(np.asarray(wrong))
    if len(rows):
        value = f" ({table[column].iloc[rows[0]]!r})" if column in table.columns else ""
        more = f" {len(rows)} rows are like this." if len(rows) > 1 else ""
        message = f"predictions, row {table.index[rows[0]]!r}, column {column!r}{value}: {problem}{more}"
        raise InputError(message)

"""Two models, or one: on the same images, or each on images of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.audit.asked import positive_class
from workbench.audit.estimation.evidence import ENOUGH, FEWEST
from workbench.audit.validation.areas import Areas, areas
from workbench.errors import InputError
from workbench.predictions import LABEL, SCORE, Predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.provenance import Provenance

Source = Predictions | pd.DataFrame | str | Path


@dataclass(frozen=True)
class Columns:
    """Columns of anybody's table of scores, as :meth:`workbench.Predictions.from_table` takes them; none for Predictions."""

    label: str | None = None
    score: str | Sequence[str] | None = None
    patient: str | None = None
    id: str | None = None  # what the column is called everywhere in this package


@dataclass(frozen=True, eq=False)
class Scored:
    """One model's images: scores of the positive class ``(n,)``, truth ``(n,)`` bool, patients as names ``(n,)``."""

    scores: np.ndarray
    truth: np.ndarray
    patients: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def clustered(self) -> bool:
        """Whether some patient has several images."""
        return len(np.unique(self.patients)) < len(self.patients)

    def right(self, metric: str, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """Return which images of a metric's class are called right, and their patients."""
        called = self.scores >= threshold
        rows = {"sensitivity": self.truth, "specificity": ~self.truth}.get(metric, np.ones(len(self), dtype=bool))
        return (called == self.truth)[rows], self.patients[rows]

    def note(self, metric: str) -> str:
        """Say what is wrong with the evidence for a metric, or nothing; "refused" begins what must not be shown."""
        sides = {"sensitivity": [self.truth], "specificity": [~self.truth]}.get(metric, [self.truth, ~self.truth])
        found = []
        for side in sides:
            kind, count = ("positives" if side is self.truth else "negatives"), len(np.unique(self.patients[side]))
            if count < FEWEST:
                return f"refused: only {count} patients with {kind}; at least {FEWEST} are needed"
            if count < ENOUGH:
                found.append(f"only {count} patients with {kind}: wide interval, do not rely on it")
        return "; ".join(found)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two models to be compared; `paired`: row k of both is the same image."""

    first: Scored
    second: Scored
    paired: bool
    positive: str
    warnings: tuple[str, ...]
    parents: dict[str, Provenance]

    @property
    def clustered(self) -> bool:
        """Whether some patient has several images, in one of the sides or in the two together."""
        sides = [self.first] if self.paired else [self.first, self.second]
        names = np.concatenate([side.patients for side in sides])
        return len(np.unique(names)) < len(names)

    def areas(self) -> Areas:
        """Return both AUROCs with their covariance."""
        if self.paired:
            scores, truth, patients = (
                np.stack([self.first.scores, self.second.scores]),
                self.first.truth,
                self.first.patients,
            )
        else:
            gap = [np.full(len(side), np.nan) for side in (self.first, self.second)]
            scores = np.stack(
                [np.concatenate([self.first.scores, gap[1]]), np.concatenate([gap[0], self.second.scores])]
            )
            truth = np.concatenate([self.first.truth, self.second.truth])
            patients = np.concatenate([self.first.patients, self.second.patients])
        return areas(scores, truth, patients)


def pair_of(
    first: Source,
    second: Source,
    columns: Columns,
    *,
    positive: str | None,
    paired: bool | None,
    roles: tuple[str, str],
) -> Pair:
    """Open two sources and lay the images of both side by side.

    Parameters
    ----------
    first, second : Predictions, a folder of saved ones, or a table with `columns`; two score columns are the two models'.
    columns : of tables.
    positive : the positive class; by default the last of two.
    paired : by default, paired where both have the same image ids, unpaired where they share none.
    roles : what the two are called in messages.

    Raises
    ------
    InputError : where the sides share some ids only and `paired` does not say what to do; where the same image has two
        labels or two patients; where a class is missing.
    """
    if isinstance(roles, str) or len(roles) != 2 or roles[0] == roles[1]:
        message = f"names={roles!r} must be two different names, one for each model."
        raise InputError(message)
    scores = columns.score
    both = list(scores) if isinstance(scores, list | tuple) else [scores, scores]
    if len(both) != 2:
        message = f"score={scores!r}: name one column for both models, or two: one of {roles[0]} and one of {roles[1]}."
        raise InputError(message)
    opened = [
        predictions_of(source, Columns(columns.label, one, columns.patient, columns.id))
        for source, one in zip((first, second), both, strict=True)
    ]
    chosen = positive_class(opened[0], positive)
    positive_class(opened[1], chosen)
    known = set(opened[0].ids) & set(opened[1].ids)
    everything = len(known) == len(opened[0]) == len(opened[1])
    counts = f"{roles[0]} has {len(opened[0])} images, {roles[1]} {len(opened[1])}, and {len(known)} ids are in both"
    numbered = [one.provenance.verb == "from_table" and one.provenance.settings.get("id") is None for one in opened]
    if paired is None:
        if known and not everything:
            message = f"{counts}: say paired=True to compare on those alone, or paired=False if equal ids are different images (without id=, rows are numbered)."
            raise InputError(message)
        paired = everything
    warnings = list(dict.fromkeys(sentence for one in opened for sentence in unused(one, chosen)))
    if paired:
        if not known:
            message = f"{counts}: there is nothing to pair. Name the column of image ids with id=, or say paired=False."
            raise InputError(message)
        if not everything:
            warnings.append(
                f"{counts}: {len(opened[0]) - len(known)} images of {roles[0]} and {len(opened[1]) - len(known)} of "
                f"{roles[1]} are left out."
            )
        files = [one.provenance.settings.get("sha256") for one in opened]
        if any(numbered) and first is not second and (None in files or files[0] != files[1]):
            warnings.append("Without id= the images of the two tables are paired by the number of their row.")
        order = sorted(known)
        _same(opened, order, roles, _label_column(opened[0], chosen, roles[0]))
        opened = opened if everything else [one.subset(order) for one in opened]
    sides = [scored(one, chosen, role) for one, role in zip(opened, roles, strict=True)]
    if not paired and any(map(no_patients, opened)):
        # Row 7 of one table is not the patient of row 7 of the other.
        sides = [replace(side, patients=np.char.add(f"{k}: ", side.patients)) for k, side in enumerate(sides)]
    parents = {role: one.provenance for role, one in zip(roles, opened, strict=True)}
    return Pair(sides[0], sides[1], bool(paired), chosen, tuple(warnings), parents)


def predictions_of(source: Source, columns: Columns) -> Predictions:
    """Take Predictions as they are, open a folder of saved ones, or read a table by the columns named."""
    if isinstance(source, str | Path) and Path(source).is_dir():
        source = Predictions.load(source)
    if isinstance(source, Predictions):
        return source
    if columns.label is None or columns.score is None:
        message = (
            "a table needs label= (column of the truth) and score= (column of the positive class's probability), and "
            "patient= where patients have several images."
        )
        raise InputError(message)
    return Predictions.from_table(
        source, label=columns.label, score=columns.score, patient=columns.patient, id=columns.id
    )


def scored(predictions: Predictions, positive: str, role: str) -> Scored:
    """Return the arrays of one model, in the order of image ids so that the order of rows leaves no trace.

    Images on which a finding of a multi-label task was not labelled are left out; see :func:`unused`.
    """
    table = predictions.table.sort_index()
    labels = table[_label_column(predictions, positive, role)]
    known = labels.notna().to_numpy()
    truth = (labels[known] == (1 if predictions.task == "multilabel" else positive)).to_numpy(dtype=bool)
    if truth.all() or not truth.any():
        message = (
            f"{role}: all {len(truth)} images are {'' if truth.all() else 'not '}of class {positive!r}; a comparison needs "
            "images of both classes."
        )
        raise InputError(message)
    scores, patients = table[SCORE + positive][known], table["patient"][known]
    return Scored(scores.to_numpy(dtype=np.float64), truth, patients.astype(str).to_numpy(dtype=str))


def unused(predictions: Predictions, positive: str) -> list[str]:
    """Say what of the predictions does not enter: weights of rows, images without a label."""
    said = [sentence for sentence in [no_patients(predictions)] if sentence]
    missing = predictions.missing.get(positive, 0) if predictions.task == "multilabel" else 0
    if missing:
        said.append(f"{missing} images without a label for {positive} are left out.")
    if (predictions.weights != 1).any():
        said.append("The weights of rows are not used: every image counts one.")
    return said


def _label_column(predictions: Predictions, positive: str, role: str) -> str:
    if predictions.task not in ("classification", "multilabel"):
        message = (
            f"{role} is a {predictions.task}, which has no two classes to tell apart; give predictions of classes."
        )
        raise InputError(message)
    return "label" if predictions.task == "classification" else LABEL + positive


def _same(opened: list[Predictions], order: list[str], roles: tuple[str, str], label: str) -> None:
    for column, mend in (
        (label, "the truth must be the same for both models; correct one of the tables."),
        ("patient", "name the same column of patients for both tables."),
    ):
        values = [one.table.loc[order, column].astype(object).fillna("missing").to_numpy() for one in opened]
        differ = np.flatnonzero(values[0] != values[1])
        if len(differ):
            image, (one, other) = order[differ[0]], (value[differ[0]] for value in values)
            message = (
                f"image {image!r}, column {column!r}: {one!r} in {roles[0]}, {other!r} in {roles[1]} ({len(differ)} of "
                f"{len(order)} images differ); {mend}"
            )
            raise InputError(message)


def no_patients(predictions: Predictions) -> str:
    """Say that no patient column was named, or nothing."""
    source = predictions.provenance
    if source.verb != "from_table" or source.settings.get("patient") is not None:
        return ""
    return (
        "No patient column was named, so each image counts as a patient of its own; where patients have several images, "
        "all intervals are too narrow. Name it: patient='column'."
    )

"""Samples: the scores of one group's positives and negatives, and which patient each belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError, unknown_name
from workbench.groups import Partition, partitions
from workbench.predictions import LABEL, SCORE, Predictions

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, eq=False)
class Arm:
    """The images of one class in one group.

    Parameters
    ----------
    scores : score of the positive class, float64 ``(n,)``; as in `Design` for other tasks.
    patients : each image's patient, int64 ``(n,)``, the same number in every group.
    clusters : the same, numbered without gaps within this arm.
    present : these patients, as in `patients` and rising, int64 ``(k,)``.
    sizes : images of each of them, int64 ``(k,)``.
    """

    scores: np.ndarray
    patients: np.ndarray
    clusters: np.ndarray
    present: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def clustered(self) -> bool:
        """Whether some patient has more than one image here."""
        return len(self.sizes) < len(self.scores)

    @property
    def fully_correlated_size(self) -> float:
        """Kish's effective sample size if a patient's images all told the same: (Σm)² / Σm²."""
        return float(len(self)) ** 2 / float((self.sizes.astype(np.float64) ** 2).sum()) if len(self) else 0.0


@dataclass(frozen=True, eq=False)
class Sample:
    """One group: its name, how it came about, and its two arms."""

    group: str
    by: str
    positives: Arm
    negatives: Arm
    patients: int

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.positives) + len(self.negatives)


@dataclass(frozen=True, eq=False)
class Design:
    """The audited images as plain arrays: what every metric and interval is computed from.

    Parameters
    ----------
    scores : float64. Two classes, or one finding: score of the positive class, ``(n,)``. Several classes: of each,
        ``(n, K)``. A regression: the predicted number, ``(n,)``. A segmentation: its measures, ``(n, M)``, NaN where one
        cannot be told.
    truth : two classes, or one finding: whether the image is of the positive class, bool ``(n,)``. Several classes: which
        one, int64 ``(n,)``. A regression: the measured number, float64 ``(n,)``. A segmentation: NaN, float64 ``(n,)``.
    patients : each image's patient as a number, in alphabetical order of their names, int64 ``(n,)``. Numbers may be left
        out: a patient has the same one whichever finding is asked about.
    partitions : who is compared; the first is everybody.
    weights : what each row counts, float64 ``(n,)`` above 0; all 1 unless the sample was drawn unequally.
    left_out : number of images that are not here because the finding was not labelled on them.
    """

    scores: np.ndarray
    truth: np.ndarray
    patients: np.ndarray
    partitions: tuple[Partition, ...]
    weights: np.ndarray
    left_out: int = 0

    @property
    def positives(self) -> np.ndarray:
        """Which images stand in the positives' arm, bool ``(n,)``; without two classes all stand in the negatives'."""
        return self.truth if self.truth.dtype == np.bool_ else np.zeros(len(self.truth), dtype=bool)

    def sample(self, partition: Partition, code: int) -> Sample:
        """Return one group."""
        return self._sample(partition.codes == code, partition.names[code], partition.by)

    def rest(self, partition: Partition, code: int) -> Sample:
        """Return everybody who is not in the group."""
        return self._sample(partition.codes != code, f"not {partition.names[code]}", partition.by)

    @cached_property
    def samples(self) -> list[Sample]:
        """Every group of every partition, in order."""
        return [self.sample(part, code) for part in self.partitions for code in range(len(part.names))]

    @cached_property
    def rests(self) -> list[Sample]:
        """What is left of its partition without each of `samples`; empty for everybody."""
        return [self.rest(part, code) for part in self.partitions for code in range(len(part.names))]

    def _sample(self, chosen: np.ndarray, group: str, by: str) -> Sample:
        arms = [self._arm(np.flatnonzero(chosen & side)) for side in (self.positives, ~self.positives)]
        patients = int(np.count_nonzero(np.bincount(self.patients[chosen])))
        return Sample(group, by, arms[0], arms[1], patients)

    def _arm(self, rows: np.ndarray) -> Arm:
        patients = self.patients[rows]
        images = np.bincount(patients)
        present = np.flatnonzero(images)
        number = np.cumsum(images > 0) - 1
        return Arm(self.scores[rows], patients, number[patients], present, images[present])


def design_of(predictions: Predictions, by: Sequence[str | Sequence[str]], positive: str | None = None) -> Design:
    """Turn predictions into the arrays of an audit.

    Parameters
    ----------
    predictions : of any task.
    by : attributes to break down by.
    positive : the class held against all others, or the finding asked about; then the design has two classes. None keeps
        several classes apart. A regression and a segmentation have none.

    Raises
    ------
    InputError : where the images are all of one class, no image is labelled, or a name is unknown.
    """
    parts = tuple(partitions(predictions, by))
    _, patients = np.unique(predictions.patients.astype(str), return_inverse=True)
    patients = patients.astype(np.int64)
    if predictions.task in ("regression", "segmentation"):
        if positive is not None:
            message = f"positive={positive!r}: a {predictions.task} has no classes; leave it out."
            raise InputError(message)
        one = predictions.task == "regression"
        truth = predictions.labels if one else np.full(len(predictions), np.nan)
        return Design(predictions.positive if one else predictions.scores, truth, patients, parts, predictions.weights)
    if positive is None and predictions.task == "classification":
        return Design(predictions.scores, predictions.labels, patients, parts, predictions.weights)
    kept, truth = _against_others(predictions, positive)
    scores = predictions.table[f"{SCORE}{positive}"].to_numpy(dtype=np.float64)
    parts = tuple(Partition(part.by, part.names, part.codes[kept]) for part in parts)
    return Design(
        scores[kept], truth, patients[kept], parts, predictions.weights[kept], left_out=len(predictions) - len(truth)
    )


def _against_others(predictions: Predictions, positive: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that are labelled, and whether each of them is of the positive class."""
    if positive not in predictions.classes:
        kind = "positive: class" if predictions.task == "classification" else "positive: finding"
        raise unknown_name(kind, positive, predictions.classes)
    if predictions.task == "classification":
        kept, truth = np.arange(len(predictions)), (predictions.table["label"] == positive).to_numpy(dtype=bool)
    else:
        labels = predictions.table[LABEL + positive].to_numpy(dtype=np.float64)
        kept = np.flatnonzero(~np.isnan(labels))
        truth = labels[kept] == 1
        if not len(kept):
            message = f"no image is labelled for the finding {positive!r}; leave it out, or label some."
            raise InputError(message)
    if truth.all() or not truth.any():
        message = (
            f"all {len(truth)} images are {'' if truth.all() else 'not '}of class {positive!r}: with one class only, "
            "AUROC cannot be estimated. Audit images of both classes."
        )
        raise InputError(message)
    return kept, truth

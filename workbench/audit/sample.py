"""Samples: the scores of one group's positives and negatives, and which patient each belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError
from workbench.groups import Partition, partitions
from workbench.predictions import SCORE, Predictions

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, eq=False)
class Arm:
    """The images of one class in one group.

    Parameters
    ----------
    scores : score of the positive class, float64 ``(n,)``.
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
    scores : score of the positive class, float64 ``(n,)``.
    truth : whether the image is of the positive class, bool ``(n,)``.
    patients : each image's patient as a number, in alphabetical order of their names, int64 ``(n,)``.
    partitions : who is compared; the first is everybody.
    weights : what each row counts, float64 ``(n,)`` above 0; all 1 unless the sample was drawn unequally.
    """

    scores: np.ndarray
    truth: np.ndarray
    patients: np.ndarray
    partitions: tuple[Partition, ...]
    weights: np.ndarray

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
        arms = [self._arm(np.flatnonzero(chosen & side)) for side in (self.truth, ~self.truth)]
        patients = int(np.count_nonzero(np.bincount(self.patients[chosen])))
        return Sample(group, by, arms[0], arms[1], patients)

    def _arm(self, rows: np.ndarray) -> Arm:
        patients = self.patients[rows]
        images = np.bincount(patients)
        present = np.flatnonzero(images)
        number = np.cumsum(images > 0) - 1
        return Arm(self.scores[rows], patients, number[patients], present, images[present])


def design_of(predictions: Predictions, by: Sequence[str | Sequence[str]], positive: str) -> Design:
    """Turn predictions into the arrays of an audit, with `positive` held against all other classes.

    Raises
    ------
    InputError : where the images are all of one class, or `by` names an unknown attribute.
    """
    truth = (predictions.table["label"] == positive).to_numpy(dtype=bool)
    if truth.all() or not truth.any():
        message = (
            f"all {len(truth)} images are {'' if truth.all() else 'not '}of class {positive!r}: with one class only, "
            "AUROC cannot be estimated. Audit images of both classes."
        )
        raise InputError(message)
    _, patients = np.unique(predictions.patients.astype(str), return_inverse=True)
    scores = predictions.table[SCORE + positive].to_numpy(dtype=np.float64)
    return Design(scores, truth, patients.astype(np.int64), tuple(partitions(predictions, by)), np.ones(len(scores)))

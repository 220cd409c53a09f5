"""Several predictions in one design: patients keep one number, and groups one name and one cut, across all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.audit.sample import Design
from workbench.errors import InputError, unknown_name
from workbench.groups import Partition, partitions
from workbench.predictions import SCORE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.predictions import Predictions


@dataclass(frozen=True, eq=False)
class Stack:
    """The attributes of several tables below each other, as groups are made from them."""

    table: pd.DataFrame
    attributes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.table)


def joint_design(
    parts: Mapping[str, Predictions], by: Sequence[str | Sequence[str]], positive: str
) -> tuple[Design, np.ndarray]:
    """Put predictions below each other; a patient in several of them is one patient, drawn or left out in all at once.

    Parameters
    ----------
    parts : by the role each has, which messages name: ``{"tuning": …, "test": …}``.
    by : attributes and crossings, as in :func:`workbench.groups.partitions`; numbers are cut at quartiles of all parts.
    positive : the positive class, which all parts must have.

    Returns
    -------
    design, part : all rows, and which of `parts` each is from, int64 ``(n,)``.

    Raises
    ------
    InputError : where a part lacks a class or an attribute, or an attribute is a number in one and text in another.
    """
    names = list(dict.fromkeys(name for entry in by for name in ((entry,) if isinstance(entry, str) else entry)))
    for role, predictions in parts.items():
        _check(role, predictions, names, positive)
    for name in names:
        kinds = {role: pd.api.types.is_numeric_dtype(made.table[name]) for role, made in parts.items()}
        if len(set(kinds.values())) > 1:
            told = ", ".join(f"{'numbers' if number else 'text'} in {role}" for role, number in kinds.items())
            message = f"attribute {name!r} holds {told}; write it in one way, so that groups can be matched."
            raise InputError(message)
    attributes = pd.concat([made.table[names] for made in parts.values()], ignore_index=True)
    patients = np.concatenate([made.patients.astype(str) for made in parts.values()])
    codes = np.unique(patients, return_inverse=True)[1].astype(np.int64)
    scores = np.concatenate([made.table[SCORE + positive].to_numpy(dtype=np.float64) for made in parts.values()])
    truth = np.concatenate([(made.table["label"] == positive).to_numpy(dtype=bool) for made in parts.values()])
    groups = tuple(partitions(Stack(attributes, tuple(names)), by))
    part = np.repeat(np.arange(len(parts)), [len(made) for made in parts.values()])
    weights = np.concatenate([made.weights for made in parts.values()])
    return Design(scores, truth, codes, groups, weights), part


def rows_of(design: Design, rows: np.ndarray) -> Design:
    """Return the design of some rows, bool ``(n,)``; patients keep their numbers."""
    groups = tuple(Partition(one.by, one.names, one.codes[rows]) for one in design.partitions)
    return Design(design.scores[rows], design.truth[rows], design.patients[rows], groups, design.weights[rows])


def _check(role: str, predictions: Predictions, names: list[str], positive: str) -> None:
    kind = f"{role}: positive class"
    if positive not in predictions.classes:
        raise unknown_name(kind, positive, predictions.classes)
    kind = f"{role}: attribute"
    for name in names:
        if name not in predictions.attributes:
            raise unknown_name(kind, name, predictions.attributes)
    truth = (predictions.table["label"] == positive).to_numpy(dtype=bool)
    if truth.all() or not truth.any():
        message = (
            f"{role}: all {len(truth)} images are {'' if truth.all() else 'not '}of class {positive!r}; give images of both "
            "classes."
        )
        raise InputError(message)

"""What a question is asked of: predictions with one positive class, a threshold, and settings that make sense."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.audit.estimation.evidence import FEWEST
from workbench.audit.finding import Finding
from workbench.errors import InputError, unknown_name
from workbench.predictions import LABEL, SCORE, WEIGHT, Predictions
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

By = "Sequence[str | Sequence[str]] | str"


def checked(given: object, role: str) -> Predictions:
    """Return predictions as they are; `role` names the argument in the message where they are something else."""
    if isinstance(given, Predictions):
        return given
    message = (
        f"{role} is a {type(given).__name__}; give Predictions. A table of scores becomes one by "
        "wb.Predictions.from_table(table, label=…, score=…, patient=…)."
    )
    raise InputError(message)


def positive_class(predictions: Predictions, positive: str | None) -> str:
    """Return the class held against all others: the last of two, unless `positive` names it."""
    classes = predictions.classes
    if positive is not None:
        if str(positive) not in classes:
            raise unknown_name("positive: class", positive, classes)
        return str(positive)
    if len(classes) > 2:
        message = (
            f"there are {len(classes)} classes ({', '.join(classes)}): say which one is held against all others, "
            f"positive={classes[-1]!r}."
        )
        raise InputError(message)
    return classes[-1]


def cut(threshold: float | Finding) -> float:
    """Return a threshold 0–1, given as a number or as what :func:`workbench.audit.operating_point` found."""
    if isinstance(threshold, Finding):
        if "threshold" not in threshold.settings:
            message = (
                f"the finding of wb.audit.{threshold.kind} holds no threshold; take one of wb.audit.operating_point."
            )
            raise InputError(message)
        threshold = threshold.settings["threshold"]
    return share(threshold, "threshold")


def share(given: Any, name: str, *, ends: bool = True) -> float:
    """Return a number of 0–1; without `ends` it must lie between them."""
    number = isinstance(given, numbers.Real) and not isinstance(given, bool)
    if not number or not (0 <= given <= 1 if ends else 0 < given < 1):
        message = f"{name}={given!r} must be a number {'from 0 to 1' if ends else 'between 0 and 1'}."
        raise InputError(message)
    return float(given)


def whole(given: Any, name: str, *, least: int = 0) -> int:
    """Return a whole number of `least` or more."""
    number = isinstance(given, numbers.Integral) and not isinstance(given, bool)
    if not number or given < least:
        message = f"{name}={given!r} must be a whole number of {least} or more."
        raise InputError(message)
    return int(given)


def check_interval(level: Any, replicates: Any, seed: Any = 0) -> None:
    """Refuse levels, numbers of replicates and seeds that make no interval."""
    number = isinstance(level, numbers.Real)
    if not number or not 0.5 <= level <= 0.999:
        message = f"level {level!r} lies outside 0.5–0.999; 0.95 gives 95 % intervals."
        raise InputError(message)
    whole(seed, "seed")
    if whole(replicates, "replicates") < 100:
        message = f"{replicates} replicates cannot place the ends of an interval; take 100 or more (1000 is usual)."
        raise InputError(message)


def entries(by: Sequence[str | Sequence[str]] | str, *, needed: bool = False) -> list[str | tuple[str, ...]]:
    """Return the attributes (text) and crossings (tuples) to break down by.

    Raises
    ------
    InputError : where `by` holds something else than names, or one attribute or crossing twice.
    """
    given = [by] if isinstance(by, str) else list(by) if isinstance(by, Iterable) else [by]
    if needed and not given:
        message = "by is empty: name at least one attribute whose groups are compared, by=['sex']."
        raise InputError(message)
    found: list[str | tuple[str, ...]] = []
    seen: set[frozenset[str]] = set()
    for entry in given:
        names = [entry] if isinstance(entry, str) else list(entry) if isinstance(entry, Iterable) else []
        if not names or not all(isinstance(name, str) for name in names):
            message = f"by={by!r}: {entry!r} is no name of an attribute; give names, and tuples of names to cross them, by=['sex', ('sex', 'age')]."
            raise InputError(message)
        if len(set(names)) < len(names) or frozenset(names) in seen:
            message = f"by={by!r} names {' × '.join(names)!r} twice, which would count its groups twice; leave one out."
            raise InputError(message)
        seen.add(frozenset(names))
        found.append(entry if isinstance(entry, str) else names[0] if len(names) == 1 else tuple(names))
    return found


def refuse_few(counts: Mapping[str, int], where: str) -> None:
    """Refuse a choice that rests on fewer than `FEWEST` patients of a class, ``{"positives": 3, …}``."""
    for kind, patients in counts.items():
        if patients < FEWEST:
            message = (
                f"{where} has {kind} of {patients} patient{'' if patients == 1 else 's'} only; nothing can be chosen on "
                f"fewer than {FEWEST}. Add images, or choose on a larger set."
            )
            raise InputError(message)


def two_classes(given: object, role: str, positive: str | None) -> tuple[Predictions, str]:
    """Return predictions of two classes, or of one class against all others, and the positive class.

    A finding of a multi-label task is taken out as a task of its own; images on which it is not labelled are left out, and
    the record of the result says how many.

    Parameters
    ----------
    given : what the user gave as `role`.
    positive : the class, or finding, asked about; None takes the last of two classes.

    Raises
    ------
    InputError : where it is no `Predictions`, the task has no classes, or it is not clear which one is meant.
    """
    predictions = checked(given, role)
    if predictions.task not in ("classification", "multilabel"):
        message = f"{role} is a {predictions.task}, which has no positive class; this question is about two classes."
        raise InputError(message)
    positive = positive_class(predictions, positive)
    if predictions.task == "classification":
        return predictions, positive
    known = predictions.table[LABEL + positive].notna()
    table, other = predictions.table.loc[known].copy(), f"not {positive}"
    table["label"] = np.where(table[LABEL + positive] == 1, positive, other)
    table[SCORE + other] = 1 - table[SCORE + positive]
    kept = ["patient", "label", SCORE + other, SCORE + positive, *predictions.attributes]
    kept += [WEIGHT] if WEIGHT in table and WEIGHT not in predictions.attributes else []
    settings = {"finding": positive, "left_out": int((~known).sum())}
    record = Provenance("finding", settings, digest(table[kept]), {"predictions": predictions.provenance})
    return Predictions(table[kept], (other, positive), predictions.attributes, record), positive

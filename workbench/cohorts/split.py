"""Parts for training, tuning and testing that share no patient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.cohorts.cohort import Cohort

NAMES = ("train", "tune", "test")
# What a given assignment may call the parts.
PARTS = {
    "train": 0, "training": 0, "tune": 1, "val": 1, "valid": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2,
}  # fmt: skip


def split_cohort(
    cohort: Cohort, by: str, *, fractions: Sequence[float], seed: int, column: str | None
) -> tuple[Cohort, Cohort, Cohort]:
    """Do what :meth:`workbench.Cohort.split` says."""
    if column is not None:
        parts = _given(cohort, column)
        settings: dict[str, object] = {"column": column}
    else:
        parts = _drawn(cohort, by, fractions, seed)
        settings = {"by": by, "fractions": list(fractions), "seed": seed}
    ids = np.asarray(cohort.ids, dtype=object)
    for number, name in enumerate(NAMES):
        _check_part(cohort, cohort.labels[parts == number], name)
    train, tune, test = (
        cohort.subset(list(ids[parts == number]), verb="split", part=name, **settings)
        for number, name in enumerate(NAMES)
    )
    return train, tune, test


def _drawn(cohort: Cohort, by: str, fractions: Sequence[float], seed: int) -> np.ndarray:
    shares = _shares(fractions)
    if by not in {"patient", "image"}:
        raise unknown_name("by", by, ("patient", "image"))
    if by == "image":
        _check_one_image_each(cohort)
    patients, owner = np.unique(cohort.patients.astype(str), return_inverse=True)
    # A patient belongs to the stratum of the last class any image shows; in a two-class task: any positive.
    stratum = np.zeros(len(patients), dtype=np.int64)
    np.maximum.at(stratum, owner, cohort.labels)
    generator = np.random.default_rng(seed)
    part = np.empty(len(patients), dtype=np.int64)
    for kind in np.unique(stratum):
        members = generator.permutation(np.flatnonzero(stratum == kind))
        if len(members) < len(NAMES):
            message = (
                f"class {cohort.classes[kind]!r} has {len(members)} patient(s), and train, tune and test need one each. "
                "Gather more patients, or leave the class out."
            )
            raise InputError(message)
        part[members] = np.repeat(np.arange(len(NAMES)), _counts(len(members), shares))
    assigned: np.ndarray = part[owner]
    return assigned


def _shares(fractions: Sequence[float]) -> tuple[float, ...]:
    shares = tuple(float(share) for share in fractions)
    if len(shares) != len(NAMES) or min(shares) <= 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
        message = f"fractions {shares} must be three positive numbers (train, tune, test) that sum to 1."
        raise InputError(message)
    return shares


def _counts(members: int, shares: tuple[float, ...]) -> list[int]:
    """Share out whole patients, by largest remainder, at least one a part."""
    exact = [members * share for share in shares]
    counts = [max(1, math.floor(value)) for value in exact]
    while sum(counts) < members:
        counts[int(np.argmax([value - count for value, count in zip(exact, counts, strict=True)]))] += 1
    while sum(counts) > members:
        counts[int(np.argmax(counts))] -= 1
    return counts


def _check_one_image_each(cohort: Cohort) -> None:
    several = cohort.table["patient"].duplicated(keep=False)
    if several.any():
        patient = cohort.table.loc[several, "patient"].iloc[0]
        count = int((cohort.table["patient"] == patient).sum())
        message = (
            f"by='image' would put images of one patient on both sides: patient {patient!r} has {count} images. "
            "Use by='patient'."
        )
        raise InputError(message)


def _given(cohort: Cohort, column: str) -> np.ndarray:
    if column not in cohort.table.columns:
        raise unknown_name("split column", column, map(str, cohort.table.columns))
    said = cohort.table[column]
    parts = said.astype(str).str.strip().str.lower().map(PARTS)
    if parts.isna().any():
        image_id = cohort.table.index[parts.isna()][0]
        message = (
            f"image {image_id!r}, column {column!r}: {said[image_id]!r} names no part ({int(parts.isna().sum())} such rows). "
            "Write train, tune (or valid, val) and test."
        )
        raise InputError(message)
    numbers = parts.to_numpy(dtype=np.int64)
    _check_apart(cohort, numbers, column)
    return numbers


def _check_apart(cohort: Cohort, parts: np.ndarray, column: str) -> None:
    """Refuse an assignment by which a model would be tested on a patient it was trained on."""
    frame = pd.DataFrame({"patient": cohort.patients, "part": parts, "id": cohort.ids})
    torn = frame.groupby("patient", sort=True)["part"].transform("nunique") > 1
    if not torn.any():
        return
    leaks = frame[torn]
    pairs: dict[str, int] = {}
    examples = []
    for patient, rows in leaks.sort_values(["patient", "part"], kind="stable").groupby("patient", sort=True):
        firsts = rows.drop_duplicates("part")
        names = [NAMES[part] for part in firsts["part"]]
        pairs[" and ".join(names)] = pairs.get(" and ".join(names), 0) + 1
        shown = ", ".join(f"{i} in {name}" for i, name in zip(firsts["id"], names, strict=True))
        examples.append(f"patient {patient} ({shown})")
    counted = ", ".join(f"{count} in {names}" for names, count in pairs.items())
    message = (
        f"column {column!r} puts {len(examples)} patient(s) into more than one part ({counted}): "
        f"{'; '.join(examples[:3])}. A test on them flatters the model; use cohort.split(by='patient'), or correct the column."
    )
    raise InputError(message)


def _check_part(cohort: Cohort, labels: np.ndarray, name: str) -> None:
    if len(labels) == 0:
        message = (
            f"part {name!r} would be empty; the cohort has {len(cohort)} images. Give it a larger share, or more data."
        )
        raise InputError(message)
    absent = sorted(set(cohort.labels.tolist()) - set(labels.tolist()))
    if absent or len(set(labels.tolist())) < 2:
        lost = cohort.classes[absent[0]] if absent else next(c for k, c in enumerate(cohort.classes) if k not in labels)
        message = (
            f"part {name!r} would have no image of class {lost!r}: one class only cannot be learned or judged. "
            "Use another seed, larger fractions, or more patients of that class."
        )
        raise InputError(message)

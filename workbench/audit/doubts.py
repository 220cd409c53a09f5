"""What a reader must know before the numbers: what the table of scores itself makes doubtful."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.groups import MISSING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.sample import Design
    from workbench.groups import Partition
    from workbench.predictions import Predictions

# Words in the names of attributes that a patient has once and for all.
FIXED = ("sex", "gender", "race", "ethnic", "birth")
# Other words (no numbers) are taken for a patient's own where nearly all patients with several images have one value.
NEARLY_ALL, PATIENTS = 0.95, 20


def two_values(predictions: Predictions, attributes: Sequence[str], who: np.ndarray | None = None) -> list[str]:
    """Name patients with two values of an attribute that a patient has once.

    Such are attributes named after sex, gender, race, ethnicity or birth, and any in words of which at least 95 % of 20
    or more patients with several images have one value. `who` numbers each image's patient, where that is known already.
    """
    who = pd.factorize(predictions.table["patient"])[0] if who is None else who
    patients = int(who.max()) + 1
    if patients == len(who):
        return []
    said = []
    for name in attributes:
        column = predictions.table[name]
        value, _ = pd.factorize(column)
        known = value >= 0
        pairs = np.unique(who[known] * (value.max(initial=0) + 1) + value[known])
        values = np.bincount(pairs // (value.max(initial=0) + 1), minlength=patients)
        several = int((np.bincount(who[known], minlength=patients) > 1).sum())
        different = int((values > 1).sum())
        named = any(word in name.casefold() for word in FIXED)
        words = not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)
        alike = several >= PATIENTS and different <= (1 - NEARLY_ALL) * several
        if different and (named or (words and alike)):
            mine = who == np.flatnonzero(values > 1)[0]
            patient = predictions.patients[mine][0]
            held = ", ".join(sorted({str(one) for one in column[known & mine]}))
            others = f" ({different - 1} more patients have two)" if different > 1 else ""
            said.append(
                f"Patient {patient!r} has two values of {name!r}: {held}{others}; each image was counted in the group it "
                "names. Check the table."
            )
    return said


def two_spellings(predictions: Predictions, attributes: Sequence[str]) -> list[str]:
    """Name values of attributes that differ in nothing but capitals, and so make two groups."""
    said = []
    for name in attributes:
        words = [value for value in predictions.table[name].dropna().unique() if isinstance(value, str)]
        alike: dict[str, list[str]] = {}
        for word in sorted(words):
            alike.setdefault(word.casefold(), []).append(word)
        twice = [" and ".join(map(repr, spelt)) for spelt in alike.values() if len(spelt) > 1]
        if twice:
            said.append(
                f"{', '.join(twice)} of {name!r} are groups of their own; use one spelling if they mean the same."
            )
    return said


def empty_crossings(partitions: Sequence[Partition]) -> list[str]:
    """Say which combinations of crossed attributes no image has; those of missing values are not expected."""
    said = []
    for partition in partitions:
        if " × " not in partition.by:
            continue
        parts = [tuple(name.split(" & ")) for name in partition.names]
        if len({len(part) for part in parts}) > 1:
            continue
        present = set(parts)
        values = [sorted({part[axis] for part in present}) for axis in range(len(parts[0]))]
        absent = [
            " & ".join(one)
            for one in itertools.product(*values)
            if one not in present and not any(value.endswith(f"={MISSING}") for value in one)
        ]
        if absent:
            more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
            said.append(f"No image is {', '.join(absent[:3])}{more}.")
    return said


def unlabelled(predictions: Predictions, designs: Sequence[Design], positive: str | None) -> list[str]:
    """Say how many images a finding was not labelled on, and so left out."""
    findings = predictions.classes if positive is None else [positive]
    return [
        f"{design.left_out} of {len(predictions)} images are not labelled for {finding!r} and were left out of its numbers."
        for finding, design in zip(findings, designs, strict=False)
        if design.left_out
    ]


def no_patients(predictions: Predictions) -> list[str]:
    """Say that images were taken for patients."""
    source = predictions.provenance
    if source.verb != "from_table" or source.settings.get("patient") is not None:
        return []
    return [
        "No patient column was named, so each image counts as a patient of its own; where patients have several "
        "images, all intervals are too narrow. Name it: patient='column'."
    ]

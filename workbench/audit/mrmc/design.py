"""Designs: which readers read which cases with which modalities, found from the readings themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workbench.audit.mrmc.readings import Readings

CROSSED = "fully crossed"
SPLIT_PLOT = "split-plot: cases nested in groups of readers"
OWN_CASES = "cases nested in readers"
CASES_NESTED = "cases nested in modalities"
READERS_NESTED = "readers nested in modalities"
UNPAIRED = "unpaired: readers and cases nested in modalities"
IRREGULAR = "irregular"


@dataclass(frozen=True, eq=False)
class Design:
    """The layout of a reader study.

    Parameters
    ----------
    kind : one of the names above, of the panel.
    why : what keeps the study from an analysis of variance; empty where nothing does.
    panel : modalities read by several people, as places on the first axis of the scores.
    alone : stand-alone models: modalities with one reader of their own.
    groups : for each reader of the panel (in the order of the scores), the group that reads the same cases.
    panel_readers : the panel's readers, as places on the second axis.
    """

    kind: str
    why: str
    panel: tuple[int, ...]
    alone: tuple[int, ...]
    groups: np.ndarray
    panel_readers: np.ndarray

    @property
    def readers_nested(self) -> bool:
        """Whether each reader reads with one modality only."""
        return self.kind in {READERS_NESTED, UNPAIRED}

    def __str__(self) -> str:
        name = f"{self.kind} ({self.why})" if self.kind == IRREGULAR else self.kind
        return (
            f"{name}, beside {len(self.alone)} stand-alone model{'s' * (len(self.alone) > 1)}" if self.alone else name
        )


def design_of(readings: Readings) -> Design:
    """Find the design: which cases each reader read with each modality."""
    read = readings.read
    present = np.asarray(read.any(2))
    several = present.sum(1) > 1
    own = present[:, present.sum(0) == 1].sum(1) == 1
    alone = ~several & own & several.any()
    panel = np.flatnonzero(~alone)
    people = np.flatnonzero(present[panel].any(0))
    part = read[np.ix_(panel, people)]
    kind, why, groups = _panel(part, readings, panel, people)
    for place in np.flatnonzero(alone):
        if not why and (kind != CROSSED or (read[place].any(0) != part[0, 0]).any()):
            why = f"{readings.modalities[place]!r} and each of the readers read different cases"
    return Design(kind, why, tuple(map(int, panel)), tuple(map(int, np.flatnonzero(alone))), groups, people)


def _panel(read: np.ndarray, readings: Readings, panel: np.ndarray, people: np.ndarray) -> tuple[str, str, np.ndarray]:
    one = np.zeros(len(people), dtype=np.int64)
    present = np.asarray(read.any(2))
    if present.all():
        return _same_readers(read, readings, panel, people)
    if len(panel) > 1 and (present.sum(0) == 1).all():
        sets = np.asarray(read.any(1))
        if any((read[place][present[place]] != sets[place]).any() for place in range(len(panel))):
            return IRREGULAR, "readers of one modality read different cases", one
        if (sets == sets[0]).all():
            return READERS_NESTED, "", one
        if (sets.sum(0) <= 1).all():
            return UNPAIRED, "", one
        return IRREGULAR, "the modalities share only some of their cases", one
    reader = int((~present.all(0)).argmax())
    return IRREGULAR, f"reader {readings.readers[people[reader]]!r} read with only some of the modalities", one


def _same_readers(
    read: np.ndarray, readings: Readings, panel: np.ndarray, people: np.ndarray
) -> tuple[str, str, np.ndarray]:
    one = np.zeros(len(people), dtype=np.int64)
    if (read == read[0]).all():
        sets, groups = np.unique(read[0], axis=0, return_inverse=True)
        groups = groups.reshape(-1).astype(np.int64)
        if len(sets) == 1:
            return CROSSED, "", groups
        if (sets.sum(0) <= 1).all():
            return (OWN_CASES if len(sets) == len(people) else SPLIT_PLOT), "", groups
    elif (read == read[:, :1]).all():
        if (read[:, 0].sum(0) <= 1).all():
            return CASES_NESTED, "", one
        return IRREGULAR, "the modalities share only some of their cases", one
    missing = ~read
    share = missing.mean()
    if share < 0.1:
        at = np.argwhere(missing)[0]
        return (
            IRREGULAR,
            f"{int(missing.sum())} of {missing.size} readings are missing, the first of reader "
            f"{readings.readers[people[at[1]]]!r} on case {readings.cases[at[2]]!r} with {readings.modalities[panel[at[0]]]!r}",
            one,
        )
    return IRREGULAR, "readers share only some of their cases", one

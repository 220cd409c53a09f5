"""The groups of a design: who is in them, and how many images and patients of each class."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.estimation.clusters import Clusters, clusters_of, counts
from workbench.audit.metric import NEGATIVES, POSITIVES

if TYPE_CHECKING:
    from workbench.audit.sample import Design

GROUP, REST = 0, 1
IMAGES = "images"
# Blocks of patients that the jackknife leaves out, one after the other; with fewer patients each is a block.
BLOCKS = 200


@dataclass(frozen=True)
class Place:
    """One group: its name, how it came about, where it stands in its partition, and its images, positives and patients."""

    group: str
    by: str
    partition: int
    code: int
    n: int
    positives: int
    patients: int


@dataclass(frozen=True, eq=False)
class Roster:
    """A design's groups, counted once however often it is measured."""

    design: Design

    @cached_property
    def places(self) -> list[Place]:
        """All groups in the order of ``design.samples``, everybody first."""
        found = []
        for number, partition in enumerate(self.design.partitions):
            images, patients = (array[GROUP] for array in self.counts[IMAGES][number])
            positives = self.counts[POSITIVES][number][0][GROUP]
            for code, name in enumerate(partition.names):
                sizes = int(images[code]), int(positives[code]), int(patients[code])
                found.append(Place(name, partition.by, number, code, *sizes))
        return found

    @cached_property
    def clusters(self) -> list[Clusters]:
        """Patients within groups, one for each partition."""
        return [clusters_of(self.design, partition) for partition in self.design.partitions]

    @cached_property
    def counts(self) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
        """Images and patients by kind, for each partition ``(2, G)``: groups, then rests."""
        truth = self.design.positives
        kinds = {IMAGES: np.ones(len(truth), dtype=bool), POSITIVES: truth, NEGATIVES: ~truth}
        return {kind: [counts(one, chosen) for one in self.clusters] for kind, chosen in kinds.items()}

    @cached_property
    def block(self) -> np.ndarray:
        """Each patient's block for the jackknife: patients, in an order that means nothing, dealt into `BLOCKS`."""
        patients = int(self.design.patients.max()) + 1
        return np.random.default_rng(0).permutation(patients) % min(patients, BLOCKS)

    @cached_property
    def order(self) -> np.ndarray:
        """Rows by rising score, int64 ``(n,)``."""
        return np.argsort(self.design.scores, kind="stable")

    def rows(self, side: int, place: int) -> np.ndarray:
        """Return the rows of a group, or of its rest."""
        return np.flatnonzero(self._inside(side, place))

    def rising(self, side: int, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return scores, truth, patients and weights of a group, or of its rest, by rising score."""
        at = self.places[place]
        inside = self._ordered_codes[at.partition] == at.code
        chosen = np.flatnonzero(inside if side == GROUP else ~inside)
        scores, truth, patients, weights = (one[chosen] for one in self._ordered)
        return scores, truth, patients, weights

    @cached_property
    def _ordered(self) -> list[np.ndarray]:
        design = self.design
        return [one[self.order] for one in (design.scores, design.truth, design.patients, design.weights)]

    @cached_property
    def _ordered_codes(self) -> list[np.ndarray]:
        return [partition.codes[self.order] for partition in self.design.partitions]

    def split(self, place: int) -> bool:
        """Whether some patient has images in this group's partition under more than one group."""
        return self.clusters[self.places[place].partition].split

    def _inside(self, side: int, place: int) -> np.ndarray:
        at = self.places[place]
        inside = self.design.partitions[at.partition].codes == at.code
        return np.asarray(inside if side == GROUP else ~inside)

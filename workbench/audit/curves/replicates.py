"""Replicates of whole curves: how many are called positive at or above every score, with patients drawn anew.

One replicate weights every patient by a Poisson(1) number, as all the audit's replicates do. Two imagined patients of each
class, one with the highest score of all and one with the lowest, are drawn with the others: where a curve touches 0 or 1
the replicates could not vary otherwise, and a band would have no width there. Of a share at a fixed threshold the
replicates then vary as Agresti & Coull's adjusted share does (1998, Am Stat 52:119: one success and one failure more).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from workbench.audit.engine.blocks import LANES, blocks_of, packed_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.audit.sample import Design

# Steps of a curve that replicates are read from: two neighbours are at most 2 / STEPS apart along the curve.
STEPS = 1000
# Imagined patients: (positives, negatives) × (above, below) of a group, and the same of the rest.
IMAGINED = 8

Read = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""``(found (T + 4, B), wrong (T + 4, B)) -> (points, B)``: what a curve is at fixed places, from the weight of positives and
of negatives at or above each score: none, the highest imagined patient, T steps downwards, the rest, all."""


@dataclass(frozen=True, eq=False)
class Tallies:
    """The rows of one group: positives and negatives by step of the score and patient.

    Parameters
    ----------
    found, wrong : ``(steps, patients)``, weight of the rows.
    patient : mean weight of a patient's rows, which is what an imagined patient counts.
    """

    found: sparse.csr_array
    wrong: sparse.csr_array
    patient: float


def falling_steps(design: Design, rows: np.ndarray, most: int) -> np.ndarray:
    """Return distinct scores of some rows, falling; of more than `most`, those nearest to even steps along the ROC curve."""
    distinct, place = np.unique(-design.scores[rows], return_inverse=True)
    if len(distinct) > most:
        length = np.zeros(len(distinct))
        for side in (design.truth[rows], ~design.truth[rows]):
            counts = np.bincount(place, weights=design.weights[rows] * side, minlength=len(distinct))
            length += np.cumsum(counts) / counts.sum()
        even = np.linspace(length[0], length[-1], most)
        distinct = distinct[np.unique(np.searchsorted(length, even).clip(max=len(distinct) - 1))]
    return -distinct


def tallies(design: Design, rows: np.ndarray, steps: np.ndarray) -> Tallies:
    """Sort rows into the steps of the score: at or above ``steps[0]``, then down to ``steps[1]`` …, and below the last."""
    patients = int(design.patients.max()) + 1
    place = np.searchsorted(-steps, -design.scores[rows])
    sides = []
    for side in (design.truth[rows], ~design.truth[rows]):
        entries = place[side], design.patients[rows][side]
        matrix = sparse.csr_array((design.weights[rows][side], entries), shape=(len(steps) + 1, patients))
        matrix.sum_duplicates()
        sides.append(matrix)
    weight = float(design.weights[rows].sum()) / len(np.unique(design.patients[rows]))
    return Tallies(sides[0], sides[1], weight)


def as_it_is(group: Tallies, read: Read) -> np.ndarray:
    """Read the curve of the group itself, ``(points,)``."""
    found, wrong = (side.sum(axis=1)[:, None] for side in (group.found, group.wrong))
    return read(*_curve(found, wrong, np.zeros((4, 1))))[:, 0]


def drawn(groups: list[Tallies], read: Read, *, replicates: int, seed: int) -> list[np.ndarray]:
    """Read the curves of several groups in every replicate, ``(points, R)`` each."""
    found: list[list[np.ndarray]] = [[] for _ in groups]
    for weights, imagined in _blocks(groups[0].found.shape[1] if groups else 0, replicates, seed):
        for group, parts in zip(groups, found, strict=True):
            parts.append(read(*_curve(group.found @ weights, group.wrong @ weights, group.patient * imagined[:4])))
    return [np.concatenate(parts, axis=-1) for parts in found]


def drawn_pairs(
    groups: list[Tallies], others: list[Tallies | None], everybody: Tallies, read: Read, *, replicates: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read the curves of several groups, and of what each is compared with; `None` stands for everybody else.

    All tallies must share their steps.
    """
    pairs: list[tuple[list[np.ndarray], list[np.ndarray]]] = [([], []) for _ in groups]
    for weights, imagined in _blocks(everybody.found.shape[1], replicates, seed):
        all_found, all_wrong = everybody.found @ weights, everybody.wrong @ weights
        for group, other, (own, beside) in zip(groups, others, pairs, strict=True):
            found, wrong = group.found @ weights, group.wrong @ weights
            own.append(read(*_curve(found, wrong, group.patient * imagined[:4])))
            if other is None:
                rest = all_found - found, all_wrong - wrong
            else:
                rest = other.found @ weights, other.wrong @ weights
            size = (other or everybody).patient
            beside.append(read(*_curve(*rest, size * imagined[4:])))
    return [(np.concatenate(own, axis=-1), np.concatenate(beside, axis=-1)) for own, beside in pairs]


def _blocks(patients: int, replicates: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the weights of the patients and of the imagined ones, a block of replicates at a time."""
    for block in range(blocks_of(replicates)):
        packed = packed_weights(patients + IMAGINED, seed, block)
        # The first lane of the first block is the sample itself.
        lanes = np.hstack([packed & 15, packed >> 4])[:, block == 0 : 1 + replicates - block * LANES].astype(np.float64)
        yield lanes[:patients], lanes[patients:]


def _curve(found: np.ndarray, wrong: np.ndarray, imagined: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up from the highest score down; `imagined` are a positive and a negative above all, and one of each below."""
    none = np.zeros((1, found.shape[1]))
    return (
        np.cumsum(np.vstack([none, imagined[:1], found, imagined[2:3]]), axis=0),
        np.cumsum(np.vstack([none, imagined[1:2], wrong, imagined[3:4]]), axis=0),
    )

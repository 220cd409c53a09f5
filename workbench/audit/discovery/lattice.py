"""The search for slices: crossings of up to three attribute values, clusters and a score band, worst first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

if TYPE_CHECKING:
    from collections.abc import Sequence

DEPTH = 3
# Of the slices of one depth, so many of the worst are crossed further.
BEAM = 200
# Standard errors by which a slice must be worse than the rest to be worth a test: each test makes the others harder.
WORTH = 1.0
# Entries (slices × images) looked at together.
BLOCK = 2**22

Excess = Callable[[np.ndarray], np.ndarray]
"""``masks (B, n) -> (B,)``: how much worse a slice is than the rest, in standard errors; −inf where too small."""


@dataclass(frozen=True)
class Candidate:
    """A slice of the search: its literals, rising, and by how many standard errors it is worse than the rest."""

    parts: tuple[int, ...]
    excess: float


def search(literals: np.ndarray, owners: Sequence[str], excess: Excess, *, depth: int = DEPTH) -> list[list[Candidate]]:
    """Look at all crossings of literals up to `depth`; those below the worst `BEAM` of a depth are not crossed further.

    Parameters
    ----------
    literals : bool ``(L, n)``, which images have an attribute value.
    owners : the attribute of each literal; two values of one attribute are not crossed.
    excess : see `Excess`.

    Returns
    -------
    For each depth, every slice that is large enough.
    """
    owner = np.unique(np.asarray(owners), return_inverse=True)[1]
    parts = np.arange(len(literals))[:, None]
    levels = []
    for level in range(1, depth + 1):
        scores = _scores(literals, parts, excess)
        kept = np.flatnonzero(np.isfinite(scores))
        levels.append([Candidate(tuple(int(p) for p in parts[k]), float(scores[k])) for k in kept])
        beam = sorted(levels[-1], key=lambda one: (-one.excess, one.parts))[:BEAM]
        usable = [one.parts[0] for one in levels[0]]
        crossed = {
            tuple(sorted((*one.parts, new)))
            for one in (beam if level > 1 else levels[0])
            for new in usable
            if owner[new] not in owner[list(one.parts)]
        }
        parts = np.array(sorted(crossed), dtype=np.int64).reshape(len(crossed), level + 1)
    return levels


def distinct(
    candidates: Sequence[Candidate], masks: np.ndarray, *, most: int, overlap: float = 0.5
) -> list[tuple[int, Candidate]]:
    """Take candidates from the worst down, without those that share too many images with one already taken.

    Parameters
    ----------
    candidates : any order.
    masks : bool ``(len(candidates), n)``, the images of each.
    most : how many are taken.
    overlap : images in both, over the images of the smaller one, above which two slices tell the same story.

    Returns
    -------
    Position and candidate. Of two slices that are equally bad, the simpler comes first.
    """
    order = sorted(
        range(len(candidates)), key=lambda k: (-round(candidates[k].excess, 9), len(candidates[k].parts), candidates[k].parts)
    )  # fmt: skip
    taken: list[int] = []
    for k in order:
        if len(taken) == most:
            break
        if not any((masks[k] & masks[t]).sum() > overlap * min(masks[k].sum(), masks[t].sum()) for t in taken):
            taken.append(k)
    return [(k, candidates[k]) for k in taken]


def share_excess(bad: np.ndarray, patients: np.ndarray, least: int) -> Excess:
    """Return the excess of a share: the score test of slice against rest, with the images of a patient kept together.

    Parameters
    ----------
    bad : bool ``(n,)``, whether an image speaks against the model.
    patients : ``(n,)``, numbers without gaps.
    least : patients that a slice, and the rest, must have.
    """
    gather = sparse.csr_array((np.ones(len(patients)), (np.arange(len(patients)), patients)))
    total = np.bincount(patients).astype(np.float64)
    overall = bad.mean()
    residual = sparse.csr_array((bad - overall, (np.arange(len(patients)), patients)))
    residuals = np.bincount(patients, weights=bad - overall)

    def excess(masks: np.ndarray) -> np.ndarray:
        inside = masks.astype(np.float64)
        counts, sums = inside @ gather, inside @ residual
        size = counts.sum(1)
        left = len(patients) - size
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = sums.sum(1) / size - (residuals - sums).sum(1) / left
            pull = sums / size[:, None] - (residuals - sums) / left[:, None]
            value = gap / np.sqrt((pull**2).sum(1))
        enough = ((counts > 0).sum(1) >= least) & ((total - counts > 0).sum(1) >= least)
        # Where nobody errs, slice and rest are alike.
        return np.where(enough, np.nan_to_num(value), -np.inf)

    return excess


def area_excess(scores: np.ndarray, truth: np.ndarray, patients: np.ndarray, least: int) -> Excess:
    """Return the excess of 1 − AUROC, with Hanley and McNeil's standard error (Radiology 1982, 143:29, eq. 2).

    Parameters
    ----------
    scores, truth, patients : ``(n,)``.
    least : patients of each class that a slice, and the rest, must have.
    """
    positives, negatives = (np.flatnonzero(side)[np.argsort(scores[side], kind="stable")] for side in (truth, ~truth))
    below = [np.searchsorted(scores[negatives], scores[positives], side) for side in ("left", "right")]
    everybody = (below[0] + below[1]) / 2
    sides = [
        (rows, sparse.csr_array((np.ones(len(rows)), (np.arange(len(rows)), patients[rows]))))
        for rows in (positives, negatives)
    ]

    def excess(masks: np.ndarray) -> np.ndarray:
        chosen = masks[:, positives]
        # Negatives of the slice up to each score; what stands below a positive, ties half, is read off.
        passed = np.zeros((len(masks), len(negatives) + 1), dtype=np.int32)
        np.cumsum(masks[:, negatives], axis=1, out=passed[:, 1:])
        own = (passed[:, below[0]] + passed[:, below[1]]) / 2
        inside = (own * chosen).sum(1)
        outside = everybody.sum() - chosen @ everybody - own.sum(1) + inside
        with np.errstate(invalid="ignore", divide="ignore"):
            whole = everybody.sum() / (len(positives) * len(negatives))
            m, k = chosen.sum(1), passed[:, -1].astype(np.float64)
            rest_m, rest_k = len(positives) - m, len(negatives) - k
            variance = _hanley_mcneil(whole, m, k) + _hanley_mcneil(whole, rest_m, rest_k)
            value = (outside / (rest_m * rest_k) - inside / (m * k)) / np.sqrt(variance)
        enough = np.ones(len(masks), dtype=bool)
        for rows, gather in sides:
            count = masks[:, rows].astype(np.float64) @ gather
            enough &= ((count > 0).sum(1) >= least) & ((gather.sum(0) - count > 0).sum(1) >= least)
        # Where nobody errs, slice and rest are alike.
        return np.where(enough, np.nan_to_num(value), -np.inf)

    return excess


def _hanley_mcneil(area: float, positives: np.ndarray, negatives: np.ndarray) -> np.ndarray:
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (one - area**2) + (negatives - 1) * (two - area**2)
    return np.asarray(spread / (positives * negatives))


def _scores(literals: np.ndarray, parts: np.ndarray, excess: Excess) -> np.ndarray:
    step = max(1, BLOCK // max(literals.shape[1], 1))
    blocks = [
        excess(np.logical_and.reduce([literals[column] for column in parts[start : start + step].T]))
        for start in range(0, len(parts), step)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0)

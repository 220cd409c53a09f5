"""Whether two sets hold the same images, told by patients and scores alone: whatever else stands in their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable

# Hashes that are kept of a set. The share that two sets have in common is told to ± 0.06.
KEPT = 64
# Two sets of numbered patients and rounded scores share some rows by chance.
BY_CHANCE = 0.05


def marks(patients: np.ndarray, scores: np.ndarray) -> list[str]:
    """Return the smallest hashes of images, from which nobody can read whose they are.

    Parameters
    ----------
    patients, scores : of each image, ``(n,)``; scores of the positive class.
    """
    rows = pd.DataFrame({"patient": patients.astype(str), "score": scores.astype(np.float64)})
    hashes = np.unique(pd.util.hash_pandas_object(rows, index=False).to_numpy())
    return [f"{one:016x}" for one in hashes[:KEPT]]


def shared(first: Iterable[str], second: Iterable[str]) -> float:
    """Estimate from their marks how many of the images of two sets are in both, 0–1; exact up to `KEPT` images.

    References
    ----------
    Broder 1997, Proc Compression and Complexity of Sequences 21 (resemblance of documents).
    """
    one, other = set(first), set(second)
    smallest = sorted(one | other)[:KEPT]
    return sum(mark in one and mark in other for mark in smallest) / max(len(smallest), 1)

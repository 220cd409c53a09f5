"""Whether two sets hold the same images, told by patients and scores alone: whatever else stands in their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.predictions import SCORE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workbench.predictions import Predictions

# Hashes that are kept of a set. The share that two sets have in common is told to ± 0.06.
KEPT = 64
# Two sets of numbered patients and rounded scores share some rows by chance.
BY_CHANCE = 0.05


def marks(predictions: Predictions, positive: str) -> list[str]:
    """Return the smallest hashes of the rows (patient and score), from which nobody can read who they are."""
    rows = pd.DataFrame(
        {"patient": predictions.patients.astype(str), "score": predictions.table[SCORE + positive].to_numpy(np.float64)}
    )
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

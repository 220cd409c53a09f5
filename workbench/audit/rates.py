"""The rates at a threshold, of any rows, with intervals that keep a patient's images together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import clustered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.sample import Design

RATES = ("sensitivity", "specificity", "PPV", "NPV", "positive rate")
METHOD = "Wilson, patients kept together"


def hits(truth: np.ndarray, called: np.ndarray, rate: str) -> np.ndarray:
    """Return 1 and 0 for rows that count for and against a rate, NaN for those that do not matter to it, ``(n,)``."""
    counted, right = {
        "sensitivity": (truth, called),
        "specificity": (~truth, ~called),
        "PPV": (called, truth),
        "NPV": (~called, ~truth),
        "positive rate": (np.ones_like(truth), called),
    }[rate]
    return np.where(counted, right.astype(np.float64), np.nan)


def rate_rows(
    design: Design, rows: np.ndarray, called: np.ndarray, *, rates: Sequence[str] = RATES, level: float = 0.95
) -> list[dict[str, Any]]:
    """Return a row of a table for each rate: ``metric, value, low, high, n, positives, patients, method, note``.

    Parameters
    ----------
    rows : which rows of the design, bool ``(n,)``.
    called : which rows of the design are called positive, bool ``(n,)``.
    rates : any of `RATES`.
    level : of the intervals, Wilson's with an effective number of images (:mod:`workbench.clustered`).
    """
    truth, inside = design.truth[rows], called[rows]
    columns = np.column_stack([hits(truth, inside, rate) for rate in rates])
    found = clustered.means(columns, design.patients[rows], proportion=True)
    low, high = found.intervals(level)
    size = {
        "n": int(rows.sum()), "positives": int(truth.sum()),
        "patients": int(np.count_nonzero(np.bincount(design.patients[rows]))),
    }  # fmt: skip
    return [
        {"metric": rate, "value": float(found.values[place]), "low": float(low[place]), "high": float(high[place])}
        | size
        | {"method": METHOD, "note": found.notes[place]}
        for place, rate in enumerate(rates)
    ]

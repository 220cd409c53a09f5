"""The rates at a threshold, of any rows, with intervals that keep a patient's images together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.audit.estimation.closed_forms import share
from workbench.audit.estimation.clusters import clusters_of, shares
from workbench.audit.estimation.joint import rows_of
from workbench.audit.fairness.carriers import too_few
from workbench.groups import ALL, Partition
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.sample import Design

RATES = ("sensitivity", "specificity", "PPV", "NPV", "positive rate")


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
    level : of the intervals, Wilson's with an effective number of images (:mod:`workbench.audit.estimation.closed_forms`).
    """
    part, inside = rows_of(design, rows), called[rows]
    everybody = Partition("", (ALL,), np.zeros(len(inside), dtype=np.int64))
    patients, z = clusters_of(part, everybody), normal_quantile(level)
    size = {
        "n": len(inside), "positives": int(part.truth.sum()),
        "patients": int(np.count_nonzero(np.bincount(part.patients))),
    }  # fmt: skip
    made = []
    for rate in rates:
        found = shares(patients, hits(part.truth, inside, rate), part.weights)
        closed = share(found, 0, 0)
        low, high = closed.interval(z)
        row = {"metric": rate, "value": closed.value, "low": low, "high": high}
        kind = {"sensitivity": "positives", "specificity": "negatives"}.get(rate, "images it is a share of")
        made.append(row | size | {"method": closed.method, "note": too_few(int(found.patients[0, 0]), kind)})
    return made

"""The method of Dorfman, Berbaum and Metz: a three-way ANOVA of jackknife pseudovalues.

References
----------
Dorfman, Berbaum & Metz 1992, Invest Radiol 27:723; Hillis, Berbaum & Metz 2008, Acad Radiol 15:647 (normalised
pseudovalues, error term and degrees of freedom, with which it equals Obuchowski–Rockette with jackknife covariances).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from workbench.audit.mrmc.estimate import Analysis, EqualityTest, Estimate, root, satterthwaite


def pseudovalues(values: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Return normalised pseudovalues ``(I, J, K)``: ``K·θ − (K−1)·θ(k)``, shifted so that their mean is θ.

    Parameters
    ----------
    values : figures of merit ``(I, J)``.
    left : the same without each of K patients, ``(I, J, K)``.
    """
    count = left.shape[2]
    raw = count * values[:, :, None] - (count - 1) * left
    return np.asarray(raw + (values - raw.mean(2))[:, :, None])


@dataclass(frozen=True)
class Squares:
    """Mean squares of modality, reader, case and their interactions."""

    t: float
    r: float
    c: float
    tr: float
    tc: float
    rc: float
    trc: float


def dorfman_berbaum_metz(pseudo: np.ndarray, *, random_readers: bool, random_cases: bool) -> Analysis:
    """Compare modalities of a fully crossed study.

    Parameters
    ----------
    pseudo : from :func:`pseudovalues`, float64 ``(I, J, K)``.
    random_readers, random_cases : whether the result shall hold for other readers, and for other cases.
    """
    t, r, c = pseudo.shape
    values = pseudo.mean(2)
    squares = _squares(pseudo)
    below, df2 = _error_term(squares.tr, squares.tc, squares.trc, (t - 1) * (r - 1), (t - 1) * (c - 1),
                             random_readers=random_readers, random_cases=random_cases)  # fmt: skip
    error = root(2 * below / (r * c))
    differences = {
        (a, b): Estimate(float(values[a].mean() - values[b].mean()), error, df2) for a, b in combinations(range(t), 2)
    }
    means = {}
    for i in range(t):
        own = _squares(pseudo[i : i + 1])
        total, df = _error_term(own.r, own.c, own.rc, r - 1, c - 1,
                                random_readers=random_readers, random_cases=random_cases)  # fmt: skip
        means[i] = Estimate(float(values[i].mean()), root(total / (r * c)), df)
    test = EqualityTest(squares.t / below if below > 0 else math.nan, t - 1, df2) if t > 1 else None
    return Analysis(means, differences, test, _components(squares, t, r, c), {"anova": _anova(squares, t, r, c)})


def _error_term(
    readers: float,
    cases: float,
    rest: float,
    df_readers: int,
    df_cases: int,
    *,
    random_readers: bool,
    random_cases: bool,
) -> tuple[float, float]:
    """Return the denominator of F and its degrees of freedom, from three mean squares."""
    if not random_readers:
        return cases, df_cases
    if not random_cases:
        return readers, df_readers
    total = readers + max(cases - rest, 0.0)
    return total, satterthwaite(total, readers, df_readers)


def _squares(pseudo: np.ndarray) -> Squares:
    t, r, c = pseudo.shape
    grand = pseudo.mean()
    a, b, k = (pseudo.mean(axes, keepdims=True) - grand for axes in ((1, 2), (0, 2), (0, 1)))
    ab = pseudo.mean(2, keepdims=True) - grand - a - b
    ac = pseudo.mean(1, keepdims=True) - grand - a - k
    bc = pseudo.mean(0, keepdims=True) - grand - b - k
    abc = pseudo - grand - a - b - k - ab - ac - bc

    def mean_square(effect: np.ndarray, times: int, df: int) -> float:
        return float(times * (effect**2).sum() / df) if df > 0 else math.nan

    return Squares(
        mean_square(a, r * c, t - 1), mean_square(b, t * c, r - 1), mean_square(k, t * r, c - 1),
        mean_square(ab, c, (t - 1) * (r - 1)), mean_square(ac, r, (t - 1) * (c - 1)), mean_square(bc, t, (r - 1) * (c - 1)),
        mean_square(abc, 1, (t - 1) * (r - 1) * (c - 1)),
    )  # fmt: skip


def _components(ms: Squares, t: int, r: int, c: int) -> pd.DataFrame:
    """Return the variance components of the pseudovalues; they can come out negative."""
    if t == 1:
        found = {"reader": (ms.r - ms.rc) / c, "case": (ms.c - ms.rc) / r, "reader × case and error": ms.rc}
    else:
        found = {
            "reader": (ms.r - ms.tr - ms.rc + ms.trc) / (t * c), "case": (ms.c - ms.tc - ms.rc + ms.trc) / (t * r),
            "modality × reader": (ms.tr - ms.trc) / c, "modality × case": (ms.tc - ms.trc) / r,
            "reader × case": (ms.rc - ms.trc) / t, "modality × reader × case and error": ms.trc,
        }  # fmt: skip
    return pd.DataFrame({"component": list(found), "value": list(found.values()), "correlation": math.nan})


def _anova(ms: Squares, t: int, r: int, c: int) -> pd.DataFrame:
    rows = [
        ("modality", t - 1, ms.t), ("reader", r - 1, ms.r), ("case", c - 1, ms.c), ("modality × reader", (t - 1) * (r - 1), ms.tr),
        ("modality × case", (t - 1) * (c - 1), ms.tc), ("reader × case", (r - 1) * (c - 1), ms.rc),
        ("modality × reader × case", (t - 1) * (r - 1) * (c - 1), ms.trc),
    ]  # fmt: skip
    return pd.DataFrame([row for row in rows if row[1] > 0], columns=["source", "df", "mean_square"])

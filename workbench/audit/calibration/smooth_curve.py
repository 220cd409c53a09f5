"""The calibration curve of each group, smooth and with a band: share of positives along the score.

Logistic regression of truth on a restricted cubic spline of the score's logit. The band rests on the sandwich covariance
with each patient's images kept together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr

from workbench.audit.calibration.bins import at_prevalence, of_two_classes
from workbench.audit.definitions.probabilities import EPS
from workbench.audit.estimation.evidence import FEWEST
from workbench.errors import InputError
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from workbench.audit.metric import Setting
    from workbench.audit.sample import Design

COLUMNS = ["group", "by", "score", "value", "low", "high", "band_low", "band_high"]
# Where Harrell places knots, as shares of the rows (Regression Modeling Strategies, 2nd ed., table 2.3).
KNOTS = {
    5: (0.05, 0.275, 0.5, 0.725, 0.95), 4: (0.05, 0.35, 0.65, 0.95), 3: (0.1, 0.5, 0.9), 2: (0.1, 0.9),
}  # fmt: skip
# Patients of the smaller class from which the spline may bend more.
PATIENTS = {5: 100, 4: 50, 3: 20, 2: 0}
# The curve is drawn where scores are: the outer hundredths would be told by a few images.
ENDS = (0.01, 0.99)
MOST_STEPS = 100


def smooth_curves(design: Design, setting: Setting, *, level: float = 0.95, points: int = 101) -> pd.DataFrame:
    """Return the smooth calibration curve of every group.

    Parameters
    ----------
    design : of two classes.
    setting : with a `prevalence`, every group is weighted to it.
    level : of interval and band.
    points : at how many scores, evenly between the first and the last hundredth of the group's own scores.

    Returns
    -------
    Columns ``group, by, score, value, low, high, band_low, band_high``: the interval at each score for itself, and the
    band that holds along the whole curve at once. The spline has 5 knots where at least 100 patients of each class are
    there, 4 from 50, 3 from 20; with fewer it is a straight line on the logit scale. A group with fewer than five patients
    of a class, or whose scores separate the classes, has no rows.

    References
    ----------
    Harrell 2015, Regression Modeling Strategies, ch. 2.4; Van Calster et al. 2016, J Clin Epidemiol 74:167 (flexible
    calibration curves); Liang & Zeger 1986, Biometrika 73:13 (sandwich); Sun & Loader 1994, Ann Stat 22:1328 (band).
    """
    of_two_classes(design)
    if points < 2:
        message = f"points={points}: a curve has at least 2."
        raise InputError(message)
    tables = []
    for part in design.partitions:
        weights = at_prevalence(design, part, setting.prevalence)
        for code, name in enumerate(part.names):
            rows = np.flatnonzero(part.codes == code)
            curve = _curve(design, rows, weights[rows], level=level, points=points)
            if curve is not None:
                tables.append(curve.assign(group=name, by=part.by))
    return pd.concat(tables, ignore_index=True)[COLUMNS] if tables else pd.DataFrame(columns=COLUMNS)


def _curve(design: Design, rows: np.ndarray, weights: np.ndarray, *, level: float, points: int) -> pd.DataFrame | None:
    truth, scores, patients = design.truth[rows], design.scores[rows], design.patients[rows]
    fewest = min(len(np.unique(patients[side])) for side in (truth, ~truth))
    if fewest < FEWEST:
        return None
    odds = logit(np.clip(scores, EPS, 1 - EPS))
    # Sorted, so that sums do not depend on the order of rows.
    order = np.lexsort([weights, truth, patients, odds])
    truth, patients, weights, odds = truth[order], patients[order], weights[order], odds[order]
    for count, places in KNOTS.items():
        knots = np.unique(np.quantile(odds, places, method="inverted_cdf"))
        if fewest < PATIENTS[count] or len(knots) < count:
            continue
        basis = spline(odds, knots)
        fitted = _fitted(basis, truth, weights)
        if fitted is None:
            continue
        covariance = _sandwich(basis, truth, weights, patients=patients, chance=expit(basis @ fitted))
        first, last = (float(np.quantile(scores, end, method="inverted_cdf")) for end in ENDS)
        grid = np.linspace(first, last, points)
        return _with_band(grid, spline(logit(np.clip(grid, EPS, 1 - EPS)), knots), fitted, covariance, level)
    return None


def spline(x: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return the basis of a restricted cubic spline, ``(n, k)`` for k knots: 1, x, and k − 2 terms that bend.

    Beyond the outer knots it is straight. Two knots give a straight line.
    """
    scale = knots[-1] - knots[0]
    x, at = (x - knots[0]) / scale, (knots - knots[0]) / scale
    cubes = np.maximum(x[:, None] - at, 0) ** 3
    last, before = at[-1], at[-2]
    bends = [
        cubes[:, j]
        - cubes[:, -2] * (last - at[j]) / (last - before)
        + cubes[:, -1] * (before - at[j]) / (last - before)
        for j in range(len(at) - 2)
    ]
    return np.column_stack([np.ones(len(x)), x, *bends])


def _fitted(basis: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """Maximise the weighted likelihood by Newton's method, its steps shortened as for the calibration slope.

    None where it does not settle: then the scores separate the classes, and the curve would be a step.
    """
    coefficients = np.zeros(basis.shape[1])
    for _ in range(MOST_STEPS):
        chance = expit(basis @ coefficients)
        bend = (basis * (weights * chance * (1 - chance))[:, None]).T @ basis
        try:
            step = np.linalg.solve(bend, basis.T @ (weights * (truth - chance)))
        except np.linalg.LinAlgError:
            return None
        change = float(np.abs(basis @ step).max())
        coefficients = coefficients + step * (math.log1p(change) / change if change > 0 else 1)
        if change < 1e-9:
            return coefficients
    return None


def _sandwich(
    basis: np.ndarray, truth: np.ndarray, weights: np.ndarray, *, patients: np.ndarray, chance: np.ndarray
) -> np.ndarray:
    """Covariance of the coefficients when patients, not images, are drawn; with the correction G / (G − 1)."""
    _, owner = np.unique(patients, return_inverse=True)
    pull = basis * (weights * (truth - chance))[:, None]
    pulls = np.column_stack([np.bincount(owner, weights=column) for column in pull.T])
    bread = np.linalg.inv((basis * (weights * chance * (1 - chance))[:, None]).T @ basis)
    return np.asarray(len(pulls) / (len(pulls) - 1) * bread @ (pulls.T @ pulls) @ bread)


def _with_band(
    grid: np.ndarray, basis: np.ndarray, coefficients: np.ndarray, covariance: np.ndarray, level: float
) -> pd.DataFrame:
    middle = basis @ coefficients
    error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", basis, covariance, basis), 0))
    z, farther = normal_quantile(level), _critical(basis, covariance, level)
    return pd.DataFrame({
        "score": grid, "value": expit(middle), "low": expit(middle - z * error), "high": expit(middle + z * error),
        "band_low": expit(middle - farther * error), "band_high": expit(middle + farther * error),
    })  # fmt: skip


def _critical(basis: np.ndarray, covariance: np.ndarray, level: float) -> float:
    """Return how many standard errors hold along the whole curve: the tube formula, from the length of its path.

    The path is that of the standardised curve on the unit sphere (Sun & Loader 1994, for a curve, two-sided).
    """
    values, vectors = np.linalg.eigh(covariance)
    path = basis @ (vectors * np.sqrt(np.maximum(values, 0)))
    size = np.linalg.norm(path, axis=1, keepdims=True)
    path = path[size[:, 0] > 0] / size[size > 0][:, None]
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())

    def excess(c: float) -> float:
        return length / math.pi * math.exp(-c * c / 2) + 2 * float(ndtr(-c)) - (1 - level)

    return float(brentq(excess, normal_quantile(level) - 1e-9, 20))

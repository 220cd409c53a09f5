"""Logistic recalibration: how the scores would have to be stretched and shifted, on the logit scale, to be right."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from workbench.audit.definitions.probabilities import EPS
from workbench.audit.metric import BOTH, Metric, Setting, define

if TYPE_CHECKING:
    from collections.abc import Callable

# Numbers (replicates × rows) worked on together: 2 MB an array.
AT_ONCE = 2**18
MOST_STEPS = 100


def calibration_slope(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray, setting: Setting) -> np.ndarray:
    """Slope b of the weighted logistic regression logit P(truth) = a + b · logit(score).

    NaN where the maximum of the likelihood does not exist: one class, or scores that separate the classes.
    """
    odds = logit(np.clip(scores, EPS, 1 - EPS))
    return _by_replicates(truth, weights, setting, lambda some: _slope(truth, odds, some))


def calibration_intercept(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray, setting: Setting) -> np.ndarray:
    """Intercept a of logit P(truth) = a + logit(score), the slope held at 1; NaN where a class is missing."""
    odds = logit(np.clip(scores, EPS, 1 - EPS))
    return _by_replicates(truth, weights, setting, lambda some: _intercept(truth, odds, some))


def _by_replicates(
    truth: np.ndarray, weights: np.ndarray, setting: Setting, fit: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Fit every replicate that has both classes, a few at a time."""
    rows = weights.shape[-1]
    flat = weights.reshape(math.prod(weights.shape[:-1]), rows).astype(np.float64)
    values = np.full(len(flat), np.nan)
    positives, negatives = flat @ truth, flat @ ~truth
    known = np.flatnonzero((positives > 0) & (negatives > 0))
    few = max(1, AT_ONCE // max(rows, 1))
    for start in range(0, len(known), few):
        some = known[start : start + few]
        weight = flat[some]
        if setting.prevalence is not None:
            sides = setting.prevalence / positives[some], (1 - setting.prevalence) / negatives[some]
            weight = weight * np.where(truth, sides[0][:, None], sides[1][:, None])
        values[some] = fit(weight)
    return values.reshape(weights.shape[:-1])


def _slope(truth: np.ndarray, odds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Newton's method for intercept and slope of several replicates ``(R, n)`` at once, from a calibrated model on.

    Steps are shortened to log(1 + d) / d, with d the greatest change of a row's logit, so that they converge from anywhere
    (Sun & Tran-Dinh 2019, Math Program 178:145).
    """
    present = weights > 0
    highest, lowest = (
        [bound.reduce(np.where(present & side, odds, outside), axis=-1) for side in (truth, ~truth)]
        for bound, outside in ((np.maximum, -np.inf), (np.minimum, np.inf))
    )
    separated = (highest[0] <= lowest[1]) | (highest[1] <= lowest[0])
    ends = np.stack([np.minimum(*lowest), np.maximum(*highest)])
    weights = weights / weights.sum(-1, keepdims=True)
    # Centred, so that the two unknowns hardly pull at each other.
    centre = weights @ odds
    spread = odds - centre[:, None]
    ends = ends - centre
    level, slope = centre.copy(), np.ones(len(weights))
    moving = ~separated
    for _ in range(MOST_STEPS):
        if not moving.any():
            break
        x, w = spread[moving], weights[moving]
        share = expit(level[moving, None] + slope[moving, None] * x)
        pull, bend = w * (truth - share), w * share * (1 - share)
        up, turn = pull.sum(-1), (pull * x).sum(-1)
        zero, one, two = bend.sum(-1), (bend * x).sum(-1), (bend * x * x).sum(-1)
        determinant = zero * two - one * one
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            shift, stretch = (two * up - one * turn) / determinant, (zero * turn - one * up) / determinant
            change = np.abs(shift + stretch * ends[:, moving]).max(0)
            part = _shortened(change)
        level[moving] += part * shift
        slope[moving] += part * stretch
        moving[moving] = ~(change < 1e-10)
    return np.where(separated | moving, np.nan, slope)


def _intercept(truth: np.ndarray, odds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Newton's method for the intercept alone, shortened in the same way."""
    weights = weights / weights.sum(-1, keepdims=True)
    level = np.zeros(len(weights))
    moving = np.ones(len(weights), dtype=bool)
    for _ in range(MOST_STEPS):
        if not moving.any():
            break
        w = weights[moving]
        share = expit(level[moving, None] + odds)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            shift = (w * (truth - share)).sum(-1) / (w * share * (1 - share)).sum(-1)
            part = _shortened(np.abs(shift))
        level[moving] += part * shift
        moving[moving] = ~(np.abs(shift) < 1e-10)
    return np.where(moving, np.nan, level)


def _shortened(change: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(np.log1p(change), change, out=np.ones(change.shape), where=change > 0))


define(Metric(
    "calibration slope", ("binary",), 1, (-np.inf, np.inf),
    "Slope of the logistic regression of truth on the score's logit, intercept free (Cox 1958, Biometrika 45:562); below "
    "1 the scores are too extreme. NaN where the scores separate the classes.",
    arms=BOTH, of_rows=calibration_slope,
))  # fmt: skip
define(Metric(
    "calibration intercept", ("binary",), 0, (-np.inf, np.inf),
    "Calibration in the large: intercept of the logistic regression of truth on the score's logit with the slope held at 1 "
    "(Cox 1958, Biometrika 45:562; Van Calster et al. 2019, BMC Med 17:230); above 0 the scores are too low.",
    arms=BOTH, of_rows=calibration_intercept,
))  # fmt: skip

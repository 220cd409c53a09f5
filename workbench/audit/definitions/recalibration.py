"""Logistic recalibration: how the scores would have to be stretched and shifted, on the logit scale, to be right."""

from __future__ import annotations

import math

import numpy as np

from workbench.audit.definitions.probabilities import EPS
from workbench.audit.metric import BOTH, Metric, Setting, define


def calibration_slope(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray, setting: Setting) -> np.ndarray:
    """Slope b of the weighted logistic regression logit P(truth) = a + b · logit(score).

    NaN where the maximum of the likelihood does not exist: one class, or scores that separate the classes.
    """
    return _recalibrated(truth, scores, weights, setting, free=True)[..., 1]


def calibration_intercept(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray, setting: Setting) -> np.ndarray:
    """Intercept a of logit P(truth) = a + logit(score), the slope held at 1; NaN where a class is missing."""
    return _recalibrated(truth, scores, weights, setting, free=False)[..., 0]


def _recalibrated(
    truth: np.ndarray, scores: np.ndarray, weights: np.ndarray, setting: Setting, *, free: bool
) -> np.ndarray:
    """Return level and slope of every replicate, ``(…, 2)``."""
    from scipy.special import logit

    from workbench.audit.definitions.recalibration_kernel import recalibrate

    odds = logit(np.clip(scores, EPS, 1 - EPS))
    # Centred, so that level and slope hardly pull at each other; with the slope held, the level must be that at 0.
    odds = odds - odds.mean() if free and len(odds) else odds
    flat = weights.reshape(math.prod(weights.shape[:-1]), len(odds)).astype(np.float64)
    if setting.prevalence is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            sides = setting.prevalence / (flat @ truth), (1 - setting.prevalence) / (flat @ ~truth)
            flat = np.nan_to_num(flat * np.where(truth, sides[0][:, None], sides[1][:, None]), posinf=0.0)
    even = np.array([0.0, 1.0])
    start = recalibrate(odds, truth, np.ones((1, len(odds))), even, free)[0]
    # All replicates are near what the rows say unweighted: two or three steps from there.
    found = recalibrate(odds, truth, flat, start if np.isfinite(start).all() else even, free)
    return np.asarray(found.reshape(*weights.shape[:-1], 2))


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

"""The loop of logistic recalibration, compiled: one replicate after the other, each by Newton's method."""

from __future__ import annotations

import math

import numpy as np

from workbench.audit.engine.kernels import compiled

MOST_STEPS = 100
# Errors square from step to step: after one this small, that of the next is below rounding.
SMALL = 1e-6


@compiled
def recalibrate(odds: np.ndarray, truth: np.ndarray, weights: np.ndarray, begin: np.ndarray, free: bool) -> np.ndarray:
    """Fit logit P(truth) = level + slope · odds to each row of `weights`.

    Parameters
    ----------
    odds, truth : float64 and bool ``(n,)``.
    weights : float64 ``(R, n)``, 0 or above.
    begin : level and slope to begin with, float64 ``(2,)``.
    free : whether the slope is fitted; else it stays.

    Returns
    -------
    Level and slope, float64 ``(R, 2)``; NaN where the maximum does not exist: a class is missing, or, for a free slope,
    the scores separate the classes.

    Notes
    -----
    Steps are shortened to log(1 + d) / d, with d the greatest change of a row's logit, so that they converge from anywhere
    (Sun & Tran-Dinh 2019, Math Program 178:145).
    """
    found = np.full((len(weights), 2), np.nan)
    for replicate in range(len(weights)):
        low, high = np.array([np.inf, np.inf]), np.array([-np.inf, -np.inf])
        for row in range(len(odds)):
            if weights[replicate, row] > 0:
                side = 1 if truth[row] else 0
                low[side] = min(low[side], odds[row])
                high[side] = max(high[side], odds[row])
        if not (high[0] >= low[0] and high[1] >= low[1]):
            continue
        if free and (high[0] <= low[1] or high[1] <= low[0]):
            continue
        first, last = min(low[0], low[1]), max(high[0], high[1])
        here, steep = begin[0], begin[1]
        for _ in range(MOST_STEPS):
            up, turn, zero, one, two = 0.0, 0.0, 0.0, 0.0, 0.0
            for row in range(len(odds)):
                weight, x = weights[replicate, row], odds[row]
                line = here + steep * x
                small = math.exp(-abs(line))
                share = 1 / (1 + small) if line >= 0 else small / (1 + small)
                pull = weight * ((1.0 if truth[row] else 0.0) - share)
                bend = weight * small / ((1 + small) * (1 + small))
                up += pull
                zero += bend
                turn += pull * x
                one += bend * x
                two += bend * x * x
            if free:
                determinant = zero * two - one * one
                if not determinant > 0:
                    break
                shift, stretch = (two * up - one * turn) / determinant, (zero * turn - one * up) / determinant
            else:
                if not zero > 0:
                    break
                shift, stretch = up / zero, 0.0
            change = max(abs(shift + stretch * first), abs(shift + stretch * last))
            part = math.log1p(change) / change if change > SMALL else 1.0
            here += part * shift
            steep += part * stretch
            if change <= SMALL:
                found[replicate, 0], found[replicate, 1] = here, steep
                break
    return found

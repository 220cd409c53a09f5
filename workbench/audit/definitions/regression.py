"""Metrics of a measured and a predicted number; an error is predicted − measured, in the unit of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.metric import Metric, Setting, define, quotient

if TYPE_CHECKING:
    from collections.abc import Callable

# A spread below this share of what it is computed from is rounding: the values are all the same.
ROUNDING = 1e-12
AGREEMENT = 1.96


def moments(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row; measured, predicted, their squares and product; the error, its size and its square.

    Measured and predicted count from the mean of all measured, so that squares lose no digits.
    """
    measured, predicted, error = truth - truth.mean(), scores - truth.mean(), scores - truth
    return np.column_stack([
        np.ones(len(truth)), measured, predicted, measured**2, predicted**2, measured * predicted, error, np.abs(error),
        error**2,
    ])  # fmt: skip


def mae(s: np.ndarray) -> np.ndarray:
    """Mean |error|."""
    return quotient(s[7], s[0])


def rmse(s: np.ndarray) -> np.ndarray:
    """Root of the mean squared error."""
    return np.asarray(np.sqrt(quotient(s[8], s[0])))


def bias(s: np.ndarray) -> np.ndarray:
    """Mean error."""
    return quotient(s[6], s[0])


def lower_limit(s: np.ndarray) -> np.ndarray:
    """Mean error − 1.96 standard deviations of the error."""
    return bias(s) - AGREEMENT * _deviation(s)


def upper_limit(s: np.ndarray) -> np.ndarray:
    """Mean error + 1.96 standard deviations of the error."""
    return bias(s) + AGREEMENT * _deviation(s)


def r_squared(s: np.ndarray) -> np.ndarray:
    """1 − sum of squared errors / sum of squared deviations of the measured from the group's own mean."""
    return 1 - quotient(s[8], _squares(s[3], s[1], s[0]))


def correlation(s: np.ndarray) -> np.ndarray:
    """Pearson's r of measured and predicted."""
    scale = np.sqrt(_squares(s[3], s[1], s[0])) * np.sqrt(_squares(s[4], s[2], s[0]))
    return quotient(_products(s), scale)


def concordance(s: np.ndarray) -> np.ndarray:
    """2 · covariance / (both variances + squared bias), all with divisor n."""
    spread = _squares(s[3], s[1], s[0]) + _squares(s[4], s[2], s[0])
    return quotient(2 * _products(s), spread + quotient(s[6] ** 2, s[0]))


def slope(s: np.ndarray) -> np.ndarray:
    """Least-squares slope of measured on predicted."""
    return quotient(_products(s), _squares(s[4], s[2], s[0]))


def _deviation(s: np.ndarray) -> np.ndarray:
    """Standard deviation of the error with divisor Σ weights − 1; 0 where all errors are the same."""
    return np.asarray(np.sqrt(quotient(_squares(s[8], s[6], s[0]), s[0] - 1)))


def _squares(square: np.ndarray, total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Sum of squared deviations from the mean."""
    centred = square - quotient(total**2, count)
    return np.where(centred > ROUNDING * square, centred, np.where(np.isnan(centred), np.nan, 0))


def _products(s: np.ndarray) -> np.ndarray:
    return np.asarray(s[5] - quotient(s[1] * s[2], s[0]))


def _define(
    name: str, formula: Callable[[np.ndarray], np.ndarray], best: float, bounds: tuple[float, float], source: str
) -> None:
    def of_sums(sums: np.ndarray, setting: Setting) -> np.ndarray:
        return formula(np.moveaxis(sums.sum(-2), -1, 0))

    define(Metric(name, ("regression",), best, bounds, source, columns=moments, of_sums=of_sums))


_ANY = (-np.inf, np.inf)
_LIMIT = "1.96 standard deviations of the error (Bland & Altman 1986, Lancet 327:307); images of a patient taken as independent."
_define("MAE", mae, 0, (0, np.inf), "Mean of |predicted − measured|.")
_define("RMSE", rmse, 0, (0, np.inf), "Root of the mean of (predicted − measured)².")
_define("bias", bias, 0, _ANY, "Mean of predicted − measured.")
_define("lower limit of agreement", lower_limit, 0, _ANY, f"Bias − {_LIMIT}")
_define("upper limit of agreement", upper_limit, 0, _ANY, f"Bias + {_LIMIT}")
_define(
    "R²", r_squared, 1, (-np.inf, 1),
    "1 − Σ (predicted − measured)² / Σ (measured − mean of the group)²: low in a group that varies little.",
)  # fmt: skip
_define("Pearson r", correlation, 1, (-1, 1), "Correlation of measured and predicted; blind to bias.")
_define(
    "concordance correlation", concordance, 1, (-1, 1),
    "2 · covariance / (both variances + squared bias) (Lin 1989, Biometrics 45:255).",
)  # fmt: skip
_define(
    "calibration slope", slope, 1, _ANY,
    "Least-squares slope of measured on predicted; below 1 the predictions are too extreme.",
)  # fmt: skip

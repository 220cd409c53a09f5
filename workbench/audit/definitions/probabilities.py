"""Metrics of the scores as probabilities: Brier score, log loss, calibration errors.

With ``Setting.prevalence`` they are what they would be in a population with that share of positives, the scores staying
as they are.
"""

from __future__ import annotations

import numpy as np

from workbench.audit.metric import Columns, Metric, OfSums, Setting, define, quotient, standardised

# Scores of exactly 0 or 1 have no logarithm of their own; they are taken this far inside, as scikit-learn does.
EPS = float(np.finfo(np.float64).eps)


def squared_error(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and (score − truth)²."""
    return np.column_stack([np.ones(len(truth)), (scores - truth) ** 2])


def surprise(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and −log of the probability given to what is true."""
    given = np.clip(scores, EPS, 1 - EPS)
    return np.column_stack([np.ones(len(truth)), -np.log(np.where(truth, given, 1 - given))])


def excess_in_equal_widths(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and truth − score in its bin of (0, 1/B], (1/B, 2/B], …; 0 belongs to the first."""
    return excess_in_bins(truth, scores, np.linspace(0, 1, setting.bins + 1)[1:-1])


def excess_in_equal_masses(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and truth − score in its bin; bins end at the quantiles of all rows' scores.

    The quantiles are scores that occur and count each row once, whatever its weight: groups and bootstrap replicates are
    measured with the same bins. Where scores tie there are fewer bins.
    """
    steps = np.arange(1, setting.bins) / setting.bins
    return excess_in_bins(truth, scores, np.quantile(scores, steps, method="inverted_cdf"))


def excess_in_bins(truth: np.ndarray, scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Columns: one a row, and truth − score in its bin; an edge belongs to the bin below it."""
    columns = np.zeros((len(truth), len(edges) + 2))
    columns[:, 0] = 1
    columns[np.arange(len(truth)), 1 + np.searchsorted(edges, scores, side="left")] = truth - scores
    return columns


def mean_of(sums: np.ndarray, setting: Setting) -> np.ndarray:
    """Second column a row."""
    count, total = np.moveaxis(standardised(sums, setting).sum(-2), -1, 0)
    return quotient(total, count)


def mean_excess(sums: np.ndarray, setting: Setting) -> np.ndarray:
    """Sum over bins of |observed − expected positives|, a row."""
    both = standardised(sums, setting).sum(-2)
    return quotient(np.abs(both[..., 1:]).sum(-1), both[..., 0])


def _define(name: str, columns: Columns, of_sums: OfSums, source: str, most: float = 1) -> None:
    define(Metric(name, ("binary",), 0, (0, most), source, columns=columns, of_sums=of_sums))


_define("Brier score", squared_error, mean_of, "Mean of (score − truth)² (Brier 1950, Mon Weather Rev 78:1).")
_define(
    "log loss", surprise, mean_of,
    "Mean of −log of the probability given to what is true, scores kept 2.2e-16 inside 0–1 "
    "(Good 1952, J R Stat Soc B 14:107).",
    most=np.inf,
)  # fmt: skip
_define(
    "ECE (equal width)", excess_in_equal_widths, mean_excess,
    "Mean over bins of equal width of |observed share − mean score| of the positive class, by number of rows "
    "(Naeini et al. 2015, Proc AAAI 2901); too high in small groups, even for a calibrated model.",
)  # fmt: skip
_define(
    "ECE (equal mass)", excess_in_equal_masses, mean_excess,
    "The same over bins that hold equal numbers of the whole sample's rows (Nixon et al. 2019, Proc CVPR Workshops); "
    "groups are measured with the whole sample's bins; too high in small groups, even for a calibrated model.",
)  # fmt: skip

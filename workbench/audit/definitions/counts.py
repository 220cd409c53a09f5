"""Metrics of how many are called positive at a threshold: sensitivity, specificity and their kin."""

from __future__ import annotations

import numpy as np

from workbench.audit.metric import NEGATIVES, POSITIVES, Metric, Setting, define, standardised


def called(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and whether it is called positive."""
    return np.column_stack([np.ones(len(truth)), scores >= setting.threshold])


def _four(sums: np.ndarray, setting: Setting) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """True positives, false negatives, false positives, true negatives ``(…)`` each."""
    sums = standardised(sums, setting)
    negatives, positives = sums[..., 0, :], sums[..., 1, :]
    return (
        positives[..., 1],
        positives[..., 0] - positives[..., 1],
        negatives[..., 1],
        negatives[..., 0] - negatives[..., 1],
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0))


def sensitivity(sums: np.ndarray, setting: Setting) -> np.ndarray:
    """TP / (TP + FN)."""
    found, missed, _, _ = _four(sums, setting)
    return _share(found, found + missed)


def specificity(sums: np.ndarray, setting: Setting) -> np.ndarray:
    """TN / (TN + FP)."""
    _, _, wrong, spared = _four(sums, setting)
    return _share(spared, spared + wrong)


define(Metric(
    "sensitivity", ("binary",), 1, (0, 1), "TP / (TP + FN): share of positives called positive (Yerushalmy 1947).",
    arms=(POSITIVES,), proportion=True, moves=True, columns=called, of_sums=sensitivity,
))  # fmt: skip
define(Metric(
    "specificity", ("binary",), 1, (0, 1), "TN / (TN + FP): share of negatives not called positive (Yerushalmy 1947).",
    arms=(NEGATIVES,), proportion=True, moves=True, columns=called, of_sums=specificity,
))  # fmt: skip

"""Metrics of how the scores rank: areas under curves, and points read off them."""

from __future__ import annotations

import numpy as np

from workbench.audit.metric import BOTH, Metric, Setting, define


def auroc(found: np.ndarray, wrong: np.ndarray, setting: Setting) -> np.ndarray:
    """Share of pairs of a positive and a negative in the right order; ties count half."""
    steps = np.diff(wrong, axis=-1)
    area = (steps * (found[..., 1:] + found[..., :-1]) / 2).sum(-1)
    pairs = found[..., -1] * wrong[..., -1]
    return np.asarray(np.divide(area, pairs, out=np.full(np.shape(pairs), np.nan), where=pairs > 0))


define(Metric(
    "AUROC", ("binary",), 1, (0, 1), "Area under the ROC curve, ties half (Hanley & McNeil 1982, Radiology 143:29).",
    arms=BOTH, of_curve=auroc,
))  # fmt: skip

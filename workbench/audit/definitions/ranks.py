"""Metrics of how the scores rank: areas under curves, and points read off them.

All take the steps of the ROC curve (see ``OfCurve``). Only the precision–recall curve depends on the share of positives,
and so on ``Setting.prevalence``.
"""

from __future__ import annotations

import numpy as np

from workbench.audit.metric import BOTH, Metric, Setting, define, quotient

# Weights are added up in floating point: a share may miss what is asked by this much and still count as reaching it.
TOLERANCE = 1e-9


def auroc(found: np.ndarray, wrong: np.ndarray, setting: Setting) -> np.ndarray:
    """Share of pairs of a positive and a negative in the right order; ties count half."""
    steps = np.diff(wrong, axis=-1)
    area = (steps * (found[..., 1:] + found[..., :-1]) / 2).sum(-1)
    return quotient(area, found[..., -1] * wrong[..., -1])


def average_precision(found: np.ndarray, wrong: np.ndarray, setting: Setting) -> np.ndarray:
    """Sum over distinct scores of (rise in sensitivity) × (PPV there): no interpolation, ties are one step.

    Without negatives it is 1, as PPV is everywhere.
    """
    if setting.prevalence is not None:
        odds = setting.prevalence / (1 - setting.prevalence) if setting.prevalence < 1 else np.inf
        found, wrong = quotient(found, found[..., -1:]) * odds, quotient(wrong, wrong[..., -1:])
    rise = quotient(np.diff(found, axis=-1), found[..., -1:])
    total = found[..., 1:] + wrong[..., 1:]
    precision = np.divide(found[..., 1:], total, out=np.zeros(total.shape), where=total != 0)
    return np.asarray((rise * precision).sum(-1))


def sensitivity_at_specificity(found: np.ndarray, wrong: np.ndarray, setting: Setting) -> np.ndarray:
    """Greatest sensitivity at a threshold whose specificity is at least ``setting.specificity``; no interpolation."""
    positives, negatives = found[..., -1], wrong[..., -1]
    allowed = wrong <= ((1 - setting.specificity + TOLERANCE) * negatives)[..., None]
    best = quotient(np.where(allowed, found, 0).max(-1), positives)
    return np.where(negatives > 0, best, np.nan)


def specificity_at_sensitivity(found: np.ndarray, wrong: np.ndarray, setting: Setting) -> np.ndarray:
    """Greatest specificity at a threshold whose sensitivity is at least ``setting.sensitivity``; no interpolation."""
    positives, negatives = found[..., -1], wrong[..., -1]
    enough = found >= ((setting.sensitivity - TOLERANCE) * positives)[..., None]
    best = 1 - quotient(np.where(enough, wrong, np.inf).min(-1), negatives)
    return np.where(positives > 0, best, np.nan)


def partial_area(found: np.ndarray, wrong: np.ndarray, setting: Setting) -> np.ndarray:
    """Area under the ROC curve, its points joined by lines, between two false positive rates."""
    low, high = setting.partial
    across, up = quotient(wrong, wrong[..., -1:]), quotient(found, found[..., -1:])
    start, end = across[..., :-1], across[..., 1:]
    width = end - start
    slope = np.divide(np.diff(up, axis=-1), width, out=np.zeros(width.shape), where=width > 0)
    left, right = np.clip(start, low, high), np.clip(end, low, high)
    middle = up[..., :-1] + slope * ((left + right) / 2 - start)
    return np.asarray(((right - left) * middle).sum(-1))


def standardised_partial_area(found: np.ndarray, wrong: np.ndarray, setting: Setting) -> np.ndarray:
    """½ (1 + (area − least) / (most − least)), least that of the diagonal and most the width of the range."""
    low, high = setting.partial
    least, most = (high**2 - low**2) / 2, high - low
    return np.asarray((1 + (partial_area(found, wrong, setting) - least) / (most - least)) / 2)


define(Metric(
    "AUROC", ("binary",), 1, (0, 1), "Area under the ROC curve, ties half (Hanley & McNeil 1982, Radiology 143:29).",
    arms=BOTH, of_curve=auroc,
))  # fmt: skip
define(Metric(
    "AUPRC", ("binary",), 1, (0, 1),
    "Average precision: area under the precision–recall curve in steps, which lines would overstate "
    "(Davis & Goadrich 2006, Proc ICML 233).",
    arms=BOTH, of_curve=average_precision,
))  # fmt: skip
define(Metric(
    "sensitivity at fixed specificity", ("binary",), 1, (0, 1),
    "Sensitivity at the lowest threshold that keeps at least the specificity asked for in the group itself, without "
    "interpolation; chosen where it is measured, so somewhat too good in small groups.",
    arms=BOTH, of_curve=sensitivity_at_specificity,
))  # fmt: skip
define(Metric(
    "specificity at fixed sensitivity", ("binary",), 1, (0, 1),
    "Specificity at the highest threshold that reaches at least the sensitivity asked for in the group itself, without "
    "interpolation; chosen where it is measured, so somewhat too good in small groups.",
    arms=BOTH, of_curve=specificity_at_sensitivity,
))  # fmt: skip
define(Metric(
    "partial AUROC", ("binary",), 1, (0, 1),
    "Area under the ROC curve between two false positive rates, at most the width between them "
    "(McClish 1989, Med Decis Making 9:190).",
    arms=BOTH, of_curve=partial_area,
))  # fmt: skip
define(Metric(
    "partial AUROC (standardised)", ("binary",), 1, (-np.inf, 1),
    "Partial area scaled so that 0.5 is chance and 1 is perfect (McClish 1989, Med Decis Making 9:190); below 0.5, and "
    "even below 0, where the curve lies under the diagonal.",
    arms=BOTH, of_curve=standardised_partial_area,
))  # fmt: skip

"""Metrics of how many are called positive at a threshold: sensitivity, predictive values and their kin.

Each is a function of true positives, false negatives, false positives and true negatives, counted by weight and, with
``Setting.prevalence``, as they would be in a population with that share of positives.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from workbench.audit.metric import (
    BOTH,
    NEGATIVES,
    POSITIVES,
    Columns,
    Metric,
    OfSums,
    Setting,
    define,
    quotient,
    standardised,
)

Formula = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""``(tp, fn, fp, tn) -> value``, each of the same shape; NaN where not defined."""


def called(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and whether it is called positive."""
    return np.column_stack([np.ones(len(truth)), scores >= setting.threshold])


def sensitivity(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """TP / (TP + FN)."""
    return quotient(tp, tp + fn)


def specificity(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """TN / (TN + FP)."""
    return quotient(tn, tn + fp)


def underdiagnosis_rate(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """FN / (TP + FN)."""
    return quotient(fn, tp + fn)


def false_positive_rate(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """FP / (TN + FP)."""
    return quotient(fp, tn + fp)


def ppv(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """TP / (TP + FP); not defined where nobody is called positive."""
    return quotient(tp, tp + fp)


def npv(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """TN / (TN + FN); not defined where everybody is called positive."""
    return quotient(tn, tn + fn)


def accuracy(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """(TP + TN) / all."""
    return quotient(tp + tn, tp + fn + fp + tn)


def positive_rate(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """(TP + FP) / all."""
    return quotient(tp + fp, tp + fn + fp + tn)


def balanced_accuracy(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """(Sensitivity + specificity) / 2."""
    return np.asarray((quotient(tp, tp + fn) + quotient(tn, tn + fp)) / 2)


def youden(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """Sensitivity + specificity − 1."""
    return np.asarray(quotient(tp, tp + fn) + quotient(tn, tn + fp) - 1)


def f1(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """2 TP / (2 TP + FP + FN); not defined where nobody is positive nor called so."""
    return quotient(2 * tp, 2 * tp + fp + fn)


def mcc(tp: np.ndarray, fn: np.ndarray, fp: np.ndarray, tn: np.ndarray) -> np.ndarray:
    """(TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)); not defined where a factor is 0 (scikit-learn says 0)."""
    # Roots first: the product of four counts of a million each is near what a float can tell apart.
    scale = np.sqrt(np.maximum((tp + fp) * (tp + fn), 0)) * np.sqrt(np.maximum((tn + fp) * (tn + fn), 0))
    return quotient(tp * tn - fp * fn, scale)


def _of_counts(formula: Formula) -> OfSums:
    def of_sums(sums: np.ndarray, setting: Setting) -> np.ndarray:
        sums = standardised(sums, setting)
        (negatives, wrong), (positives, found) = np.moveaxis(sums, (-2, -1), (0, 1))
        return formula(found, positives - found, wrong, negatives - wrong)

    return of_sums


def _rows(
    whole: Callable[[np.ndarray, np.ndarray], np.ndarray], hit: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> Columns:
    """Columns of a proportion from truth and calls: the rows it is a share of, and those it counts."""

    def share(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
        call = scores >= setting.threshold
        denominator = whole(truth, call)
        return np.column_stack([denominator, denominator & hit(truth, call)]).astype(np.float64)

    return share


def _everybody(truth: np.ndarray, call: np.ndarray) -> np.ndarray:
    return np.ones(len(truth), dtype=bool)


def _truth(truth: np.ndarray, call: np.ndarray) -> np.ndarray:
    return truth


def _well(truth: np.ndarray, call: np.ndarray) -> np.ndarray:
    return ~truth


def _call(truth: np.ndarray, call: np.ndarray) -> np.ndarray:
    return call


def _no_call(truth: np.ndarray, call: np.ndarray) -> np.ndarray:
    return ~call


def _right(truth: np.ndarray, call: np.ndarray) -> np.ndarray:
    return np.asarray(truth == call)


def _define(
    name: str,
    formula: Formula,
    source: str,
    *,
    best: float = 1,
    low: float = 0,
    arms: tuple[str, ...] = (),
    share: Columns | None = None,
) -> None:
    define(Metric(
        name, ("binary",), best, (low, 1), source, arms=arms, proportion=share is not None, share=share, moves=True,
        columns=called, of_sums=_of_counts(formula),
    ))  # fmt: skip


_define(
    "sensitivity", sensitivity, "TP / (TP + FN): share of positives called positive (Yerushalmy 1947).",
    arms=(POSITIVES,), share=_rows(_truth, _call),
)  # fmt: skip
_define(
    "specificity", specificity, "TN / (TN + FP): share of negatives not called positive (Yerushalmy 1947).",
    arms=(NEGATIVES,), share=_rows(_well, _no_call),
)  # fmt: skip
_define(
    "PPV", ppv, "TP / (TP + FP): share of those called positive who are (Altman & Bland 1994, BMJ 309:102).",
    share=_rows(_call, _truth),
)  # fmt: skip
_define(
    "NPV", npv, "TN / (TN + FN): share of those called negative who are (Altman & Bland 1994, BMJ 309:102).",
    share=_rows(_no_call, _well),
)  # fmt: skip
_define("accuracy", accuracy, "(TP + TN) / all: share of right calls.", share=_rows(_everybody, _right))
_define(
    "balanced accuracy", balanced_accuracy,
    "Mean of sensitivity and specificity (Brodersen et al. 2010, Proc ICPR 3121).", arms=BOTH,
)  # fmt: skip
_define(
    "F1", f1, "2 TP / (2 TP + FP + FN): harmonic mean of PPV and sensitivity (van Rijsbergen 1979).", arms=(POSITIVES,)
)
_define(
    "MCC", mcc, "Correlation of truth and call (Matthews 1975, Biochim Biophys Acta 405:442); NaN where either is constant.",
    low=-1, arms=BOTH,
)  # fmt: skip
_define("Youden's J", youden, "Sensitivity + specificity − 1 (Youden 1950, Cancer 3:32).", low=-1, arms=BOTH)
_define(
    "positive rate", positive_rate, "(TP + FP) / all: share called positive, which demographic parity compares.",
    best=math.nan, share=_rows(_everybody, _call),
)  # fmt: skip
_define(
    "underdiagnosis rate", underdiagnosis_rate,
    "FN / (TP + FN): share of the ill called healthy, which is the false positive rate of 'no finding' "
    "(Seyyed-Kalantari et al. 2021, Nat Med 27:2176).",
    best=0, arms=(POSITIVES,), share=_rows(_truth, _no_call),
)  # fmt: skip
_define(
    "false positive rate", false_positive_rate, "FP / (TN + FP): share of negatives called positive.",
    best=0, arms=(NEGATIVES,), share=_rows(_well, _call),
)  # fmt: skip

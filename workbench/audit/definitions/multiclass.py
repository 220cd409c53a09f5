"""Metrics of several classes: what is called is the class of the highest score, of equal ones the first.

Scores are ``(n, K)`` and sum to 1, truth is the number of the class. Macro averages count every class the same; where a
group has no row of some class they are not defined there, because a mean over the other classes is another measure.
"""

from __future__ import annotations

import numpy as np

from workbench.audit.definitions.probabilities import EPS, excess_in_bins, mean_excess, mean_of
from workbench.audit.definitions.ranks import auroc
from workbench.audit.metric import Columns, Metric, OfRows, OfSums, Setting, define, quotient


def right(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and whether the class called is the true one."""
    return np.column_stack([np.ones(len(truth)), scores.argmax(1) == truth])


def squared_errors(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and the sum over classes of (score − truth)²."""
    return np.column_stack([np.ones(len(truth)), ((scores - _one_hot(truth, scores)) ** 2).sum(1)])


def surprise(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and −log of the probability given to the true class."""
    given = np.clip(scores[np.arange(len(truth)), truth], EPS, 1)
    return np.column_stack([np.ones(len(truth)), -np.log(given)])


def top_excess(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns: one a row, and right − highest score in its bin of equal width."""
    edges = np.linspace(0, 1, setting.bins + 1)[1:-1]
    return excess_in_bins(scores.argmax(1) == truth, scores.max(1), edges)


def hits(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns, K of each: rows of a class, rows called so, and rows that are both."""
    true, called = _one_hot(truth, scores), _one_hot(scores.argmax(1), scores)
    return np.hstack([true, called, true * called])


def each_class(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Sets of rows: those of each class."""
    return _one_hot(truth, scores)


def balanced_accuracy(sums: np.ndarray, setting: Setting) -> np.ndarray:
    """Mean over classes of the share of its rows that are called so."""
    true, _, both = np.split(sums.sum(-2), 3, axis=-1)
    return np.asarray(quotient(both, true).mean(-1))


def macro_f1(sums: np.ndarray, setting: Setting) -> np.ndarray:
    """Mean over classes of 2 · both / (true + called)."""
    true, called, both = np.split(sums.sum(-2), 3, axis=-1)
    return np.asarray(np.where(true > 0, quotient(2 * both, true + called), np.nan).mean(-1))


def macro_auroc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray, setting: Setting) -> np.ndarray:
    """Mean over classes of the AUROC of its score, the class against all others."""
    return np.asarray(np.mean([
        _area(truth == place, scores[:, place], weights, setting) for place in range(scores.shape[1])
    ], axis=0))  # fmt: skip


def _area(side: np.ndarray, scores: np.ndarray, weights: np.ndarray, setting: Setting) -> np.ndarray:
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    # The last row of each distinct score, after a start at which no row is called.
    ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True)) + 1
    start = np.zeros((*weights.shape[:-1], 1))
    found, wrong = (
        np.concatenate([start, np.cumsum(weights[..., order] * one[order], axis=-1)], axis=-1)[..., [0, *ends]]
        for one in (side, ~side)
    )
    return auroc(found, wrong, setting)


def _kappa(power: int) -> tuple[Columns, OfSums]:
    """Columns and value of Cohen's κ with disagreement |i − j|^power between classes in their order; 0: any counts one."""

    def margins(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
        called = scores.argmax(1)
        apart = np.abs(truth - called).astype(np.float64)
        apart = apart**power if power else (apart > 0).astype(np.float64)
        return np.column_stack([apart, _one_hot(truth, scores), _one_hot(called, scores)])

    def kappa(sums: np.ndarray, setting: Setting) -> np.ndarray:
        both = sums.sum(-2)
        true, called = np.split(both[..., 1:], 2, axis=-1)
        place = np.arange(true.shape[-1])
        apart = np.abs(place[:, None] - place).astype(np.float64)
        apart = apart**power if power else (apart > 0).astype(np.float64)
        expected = quotient(((true @ apart) * called).sum(-1), true.sum(-1))
        return 1 - quotient(both[..., 0], expected)

    return margins, kappa


def _one_hot(classes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return np.asarray(classes[:, None] == np.arange(scores.shape[1]), dtype=np.float64)


def _define(
    name: str, source: str, *, best: float = 1, bounds: tuple[float, float] = (0, 1), columns: Columns | None = None,
    of_sums: OfSums | None = None, of_rows: OfRows | None = None, share: Columns | None = None,
    rests_on: Columns | None = None,
) -> None:  # fmt: skip
    define(Metric(
        name, ("multiclass",), best, bounds, source, proportion=share is not None, share=share, rests_on=rests_on,
        columns=columns, of_sums=of_sums, of_rows=of_rows,
    ))  # fmt: skip


_define(
    "macro AUROC", "Mean over classes of the area under the ROC curve of a class against all others, ties half.",
    of_rows=macro_auroc, rests_on=each_class,
)  # fmt: skip
_define(
    "accuracy",
    "Share of rows whose class of the highest score is the true one.",
    columns=right,
    of_sums=mean_of,
    share=right,
)
_define(
    "balanced accuracy", "Mean over classes of the share of its rows that are called so (macro-averaged recall).",
    columns=hits, of_sums=balanced_accuracy, rests_on=each_class,
)  # fmt: skip
_define(
    "macro F1",
    "Mean over classes of F1, the class against all others.",
    columns=hits,
    of_sums=macro_f1,
    rests_on=each_class,
)
for _name, _power, _source in (
    ("kappa", 0, "Agreement of truth and call beyond chance (Cohen 1960, Educ Psychol Meas 20:37)."),
    ("linear-weighted kappa", 1, "κ with disagreement growing by the number of steps between classes in their order (Cohen 1968, Psychol Bull 70:213)."),
    ("quadratic-weighted kappa", 2, "κ with disagreement growing by the square of the steps between classes in their order (Cohen 1968, Psychol Bull 70:213)."),
):  # fmt: skip
    _columns, _value = _kappa(_power)
    _define(_name, _source, bounds=(-1, 1), columns=_columns, of_sums=_value)
_define(
    "Brier score", "Mean of the sum over classes of (score − truth)², 0–2 (Brier 1950, Mon Weather Rev 78:1).",
    best=0, bounds=(0, 2), columns=squared_errors, of_sums=mean_of,
)  # fmt: skip
_define(
    "log loss", "Mean of −log of the probability given to the true class, at least 2.2e-16 (Good 1952, J R Stat Soc B 14:107).",
    best=0, bounds=(0, np.inf), columns=surprise, of_sums=mean_of,
)  # fmt: skip
_define(
    "ECE (top label)",
    "Mean over bins of equal width of |share of right calls − mean highest score|, by number of rows (Guo et al. 2017, "
    "Proc ICML 1321); too high in small groups, even for a calibrated model.",
    best=0, columns=top_excess, of_sums=mean_excess,
)  # fmt: skip

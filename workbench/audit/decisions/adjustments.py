"""Ways to change scores group by group after training: what is learnt from the tuning set, and how it is applied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import expit, logit

from workbench.audit.calibration.steps import fitted
from workbench.audit.decisions.thresholds import Rule, choose
from workbench.audit.definitions.probabilities import EPS
from workbench.audit.estimation.evidence import FEWEST
from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.audit.sample import Design

Scores = Callable[[np.ndarray], np.ndarray]
# Half widths of the critical region that are tried: more are no surer.
WIDTHS = 101


@dataclass(frozen=True, eq=False)
class Adjustment:
    """What was learnt, ready to be applied.

    Parameters
    ----------
    apply : ``(scores (n,), groups (n,)) -> scores (n,)``; NaN where nobody decides (abstention).
    choice : by group, what was chosen, in words.
    values : by group, the number chosen: threshold, slope, half width; NaN where there is no single one.
    borrowed : groups that had too few patients of a class and got what everybody gets.
    """

    apply: Callable[[np.ndarray, np.ndarray], np.ndarray]
    choice: list[str]
    values: list[float]
    borrowed: list[int]


def by_thresholds(design: Design, groups: np.ndarray, count: int, *, rule: Rule, threshold: float) -> Adjustment:
    """Give each group the threshold at which the rule holds, and move its scores so that `threshold` becomes that of all.

    Scores keep their order within a group; they are no probabilities any more.
    """
    everybody = choose(design, np.ones(len(groups), dtype=bool), rule, replicates=0, seed=0).threshold
    own = [_own_threshold(design, groups == group, rule) for group in range(count)]
    borrowed = [group for group, value in enumerate(own) if value is None]
    values = [everybody if value is None else value for value in own]
    cuts = np.array(values)

    def apply(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return moved(scores, cuts[groups], threshold)

    return Adjustment(apply, [f"threshold {value:.4f}" for value in values], values, borrowed)


def _own_threshold(design: Design, rows: np.ndarray, rule: Rule) -> float | None:
    """Return the threshold that the rule finds in some rows; None where too few patients are there, or none reaches the target."""
    if _thin(design, rows):
        return None
    try:
        return choose(design, rows, rule, replicates=0, seed=0).threshold
    except InputError:
        return None


def by_recalibration(design: Design, groups: np.ndarray, count: int, *, kind: str) -> Adjustment:
    """Fit each group's scores to its own truth: logistic (``"platt"``), by one slope (``"temperature"``), or ``"isotonic"``.

    Raises
    ------
    InputError : where the scores of the whole set part its classes, or are all the same, and a logistic fit has no end.
    """
    everybody = np.ones(len(groups), dtype=bool)
    if kind != "isotonic" and _separated(design, everybody):
        message = (
            f"in the tuning set every positive scores at or above every negative, or the reverse: method={kind!r} has no end there. "
            "Give more images, or take method='isotonic'."
        )
        raise InputError(message)
    maps: list[tuple[Scores, str, float]] = [_calibrated(design, everybody, kind)] * count
    borrowed = []
    for group in range(count):
        rows = groups == group
        if _thin(design, rows) or _separated(design, rows):
            borrowed.append(group)
        else:
            maps[group] = _calibrated(design, rows, kind)

    def apply(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
        made = np.empty(len(scores))
        for group, (one, _, _) in enumerate(maps):
            made[groups == group] = one(scores[groups == group])
        return made

    return Adjustment(apply, [said for _, said, _ in maps], [value for _, _, value in maps], borrowed)


def by_abstention(design: Design, count: int, *, coverage: float, threshold: float) -> Adjustment:
    """Decide only on scores far enough from the threshold, as far as leaves `coverage` of the tuning images decided.

    References
    ----------
    Chow 1970, IEEE Trans Inf Theory 16:41.
    """
    distance = np.sort(abs(design.scores - threshold))
    # Of n images, those from the k-th smallest distance on are kept: n − k of them, at least the coverage.
    width = float(distance[int(np.floor((1 - coverage) * len(distance) + 1e-9))])

    def apply(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return np.where(abs(scores - threshold) >= width, scores, np.nan)

    return Adjustment(apply, [f"no decision within {width:.4f} of the threshold"] * count, [width] * count, [])


def by_flipping(design: Design, groups: np.ndarray, count: int, *, threshold: float) -> Adjustment:
    """Near the threshold, call positive those of groups that are found less often, and negative those of the others.

    The half width is the one that makes the sensitivities in the tuning set most alike; of equal ones the smallest.

    References
    ----------
    Kamiran, Karim & Zhang 2012, Proc IEEE Int Conf Data Min 924 (reject option based classification).
    """
    found = np.where(design.truth, (design.scores >= threshold).astype(np.float64), np.nan)
    thin = [group for group in range(count) if _thin(design, groups == group)]
    rates = np.array([np.nanmean(found[groups == group]) if group not in thin else np.nan for group in range(count)])
    favoured = np.where(np.isnan(rates), 0, np.sign(np.nanmean(found) - rates))

    def flipped(scores: np.ndarray, groups: np.ndarray, width: float) -> np.ndarray:
        distance = abs(scores - threshold)
        below = np.minimum(threshold - distance, np.nextafter(threshold, 0))
        target = np.where(favoured[groups] > 0, threshold + distance, np.where(favoured[groups] < 0, below, scores))
        return np.asarray(np.clip(np.where(distance <= width, target, scores), 0, 1))

    def gap(width: float) -> float:
        called = flipped(design.scores, groups, width) >= threshold
        each = [called[design.truth & (groups == group)].mean() for group in range(count) if group not in thin]
        return float(max(each) - min(each))

    widths = np.unique(np.append(0.0, np.quantile(abs(design.scores - threshold), np.linspace(0, 1, WIDTHS)[:-1])))
    gaps = np.array([gap(float(width)) for width in widths])
    width = float(widths[int(np.argmax(gaps <= gaps.min() + 1e-12))])
    words = {1.0: "called positive", -1.0: "called negative", 0.0: "left as they are"}
    said = [f"within {width:.4f} of the threshold {words[float(sign)]}" for sign in favoured]
    return Adjustment(lambda scores, groups: flipped(scores, groups, width), said, [width] * count, thin)


def moved(scores: np.ndarray, cuts: np.ndarray, threshold: float) -> np.ndarray:
    """Stretch scores so that those at or above their cut, and only those, are at or above `threshold`; order is kept."""
    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.minimum(np.where(cuts > 0, scores * threshold / cuts, 0.0), np.nextafter(threshold, -1))
        share = np.where(cuts < 1, (scores - cuts) / (1 - cuts), 0.0)
    above = threshold + (1 - threshold) * share
    return np.asarray(np.clip(np.where(scores >= cuts, above, below), 0, 1))


def _calibrated(design: Design, rows: np.ndarray, kind: str) -> tuple[Scores, str, float]:
    truth, odds, weights = design.truth[rows].astype(np.float64), _odds(design.scores[rows]), design.weights[rows]
    if kind == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        steps = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
        steps.fit(design.scores[rows], truth, sample_weight=weights)
        return (
            (lambda scores: np.asarray(steps.predict(scores)) if len(scores) else scores),
            f"{len(steps.X_thresholds_)} steps",
            np.nan,
        )
    columns = odds[:, None] if kind == "temperature" else np.column_stack([np.ones(len(odds)), odds])
    values, _ = fitted(truth, columns, np.zeros(len(odds)), weights)
    slope, intercept = float(values[-1]), 0.0 if kind == "temperature" else float(values[0])
    return (lambda scores: expit(intercept + slope * _odds(scores))), f"logit × {slope:.3f} {intercept:+.3f}", slope


def _odds(scores: np.ndarray) -> np.ndarray:
    return np.asarray(logit(np.clip(scores, EPS, 1 - EPS)))


def _thin(design: Design, rows: np.ndarray) -> bool:
    """Whether too few patients of a class are there to choose by."""
    return any(len(np.unique(design.patients[rows & side])) < FEWEST for side in (design.truth, ~design.truth))


def _separated(design: Design, rows: np.ndarray) -> bool:
    """Whether a logistic fit would have no end."""
    positive, negative = design.scores[rows & design.truth], design.scores[rows & ~design.truth]
    return bool(positive.min() >= negative.max() or negative.min() >= positive.max())

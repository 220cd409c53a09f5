"""Where to cut the scores: rules that choose a threshold on a ROC curve, and how the choice moves between samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from workbench.audit.engine.blocks import blocks_of, packed_weights
from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from workbench.audit.sample import Design

RULES = ("fixed", "youden", "sensitivity", "specificity", "cost")
# Rates that differ by less are equal: sums of weights are exact, their quotients are not.
ROUNDING = 1e-12
NOBODY = -1
# Thresholds that replicates choose from. Between two of so many lie fewer images than chance moves a threshold by.
MOST = 2000


@dataclass(frozen=True)
class Rule:
    """How a threshold is chosen.

    Parameters
    ----------
    name : one of `RULES`.
    target : the threshold itself of ``"fixed"``, the rate to reach of ``"sensitivity"`` and ``"specificity"``, 0–1.
    cost : of ``"cost"``: what a missed positive costs, in false alarms; above 0.
    prevalence : of ``"cost"``: share of positives where the threshold will be used, 0–1; None takes the sample's.
    """

    name: str
    target: float | None = None
    cost: float | None = None
    prevalence: float | None = None

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise unknown_name("rule", self.name, RULES)
        for setting, rules in (("target", ("fixed", "sensitivity", "specificity")), ("cost", ("cost",))):
            given = getattr(self, setting)
            if (given is None) == (self.name in rules):
                message = f"rule {self.name!r} {'needs' if given is None else 'takes no'} {setting}."
                raise InputError(message)
        if self.prevalence is not None and self.name != "cost":
            message = f"rule {self.name!r} takes no prevalence; it matters for rule 'cost' only."
            raise InputError(message)

    def __str__(self) -> str:
        """Return the rule in words."""
        prevalence = "" if self.prevalence is None else f" at a prevalence of {self.prevalence:g}"
        return {
            "fixed": f"fixed at {self.target}",
            "youden": "largest sensitivity + specificity (Youden)",
            "sensitivity": f"highest threshold with a sensitivity of at least {self.target}",
            "specificity": f"lowest threshold with a specificity of at least {self.target}",
            "cost": f"least cost, a missed positive costing {self.cost:g} false alarms{prevalence}"
            if self.cost
            else "",
        }[self.name]


@dataclass(frozen=True, eq=False)
class Steps:
    """The rows of a design from the highest score down, and the distinct scores, each of which may be the threshold.

    Parameters
    ----------
    order : rows by falling score, int64 ``(n,)``.
    ends : place in `order` of the last row of each distinct score, int64 ``(T,)``.
    thresholds : the distinct scores, falling, float64 ``(T,)``.
    """

    order: np.ndarray
    ends: np.ndarray
    thresholds: np.ndarray


@dataclass(frozen=True, eq=False)
class Choice:
    """A threshold, the rates it has in the sample it was chosen on, and replicates of choosing it.

    Parameters
    ----------
    threshold : rows with a score at or above it are called positive.
    sensitivity, specificity : in the sample, as they stand; they flatter where the rule looked for them.
    thresholds : chosen on each replicate, float64 ``(R,)``; inf where nobody is called positive.
    sensitivities, specificities : what to expect of new patients at `threshold`, replicates ``(R,)``: the rate in the sample
        plus (rate in the sample at a replicate's threshold − rate in that replicate), which is the error of judging a
        threshold by the patients it was chosen on.
    everybody : whether the threshold calls every row positive.
    """

    threshold: float
    sensitivity: float
    specificity: float
    thresholds: np.ndarray
    sensitivities: np.ndarray
    specificities: np.ndarray
    everybody: bool


def choose(design: Design, rows: np.ndarray, rule: Rule, *, replicates: int, seed: int) -> Choice:
    """Choose a threshold on some rows of a design, and again on every replicate of its patients.

    A threshold is always a score that occurs, so that it does not depend on how scores are scaled. For a target the choice
    is the careful one: the rate in the sample is at least the target. Of thresholds that are equally good for ``"youden"``
    or ``"cost"``, the lowest (most sensitive) is taken.

    Raises
    ------
    InputError : where no threshold reaches the target, or where it is cheapest to call nobody positive.
    """
    steps, truth, weights = _steps(design.scores[rows]), design.truth[rows], design.weights[rows]
    found, wrong = _curve(steps, truth, weights)
    sensitivity, specificity = _rates(found, wrong)
    place = int(_place(rule, steps.thresholds, found, wrong)[0])
    if place == NOBODY and rule.name != "fixed":
        raise _unreachable(rule, float(specificity[0, 0]))
    own = _at(sensitivity, specificity, np.array([place]))
    looked = _looked_at(len(steps.thresholds), place)
    thresholds, kept = steps.thresholds[looked], (sensitivity[:, looked], specificity[:, looked])
    patients, count = design.patients[rows], int(design.patients.max()) + 1
    gather = [_gather(steps, looked, patients, weights * side, count) for side in (truth, ~truth)]
    parts = []
    for block in range(blocks_of(replicates) if replicates else 0):
        packed = packed_weights(count, seed, block)
        drawn = np.hstack([packed & 15, packed >> 4]).astype(np.float64)
        curves = [np.cumsum(each @ drawn, axis=0).T for each in gather]
        places, rates = _place(rule, thresholds, *curves), _rates(*curves)
        optimism = np.stack(_at(*kept, places)) - np.stack(_at(*rates, places))
        known = np.isfinite(rates[0][:, -1]) & np.isfinite(rates[1][:, -1])
        chosen = np.where(places == NOBODY, np.inf, thresholds[places])
        parts.append(np.where(known, np.concatenate([chosen[None], optimism]), np.nan))
    # The first lane of all blocks is the sample itself.
    replicated = np.concatenate(parts, axis=1)[:, 1 : 1 + replicates] if parts else np.empty((3, 0))
    fixed = rule.target if rule.name == "fixed" else None
    return Choice(
        threshold=float(steps.thresholds[place]) if fixed is None else fixed,
        sensitivity=float(own[0][0]), specificity=float(own[1][0]),
        thresholds=replicated[0] if fixed is None else np.full(replicates, fixed),
        sensitivities=np.clip(own[0] + replicated[1], 0, 1), specificities=np.clip(own[1] + replicated[2], 0, 1),
        everybody=place == len(steps.thresholds) - 1,
    )  # fmt: skip


def _steps(scores: np.ndarray) -> Steps:
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    return Steps(order, ends, falling[ends])


def _curve(steps: Steps, truth: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of negatives at or above each threshold, ``(1, T)`` each."""
    ordered, positive = weights[steps.order], truth[steps.order]
    found, wrong = (np.cumsum(ordered * side)[None, steps.ends] for side in (positive, ~positive))
    return found, wrong


def _looked_at(count: int, place: int) -> np.ndarray:
    """Return the thresholds that replicates choose from: all, or `MOST` evenly among them, the chosen one too."""
    some = np.arange(count) if count <= MOST else np.round(np.linspace(0, count - 1, MOST)).astype(np.int64)
    return np.unique(np.append(some, place if place != NOBODY else some[0]))


def _gather(
    steps: Steps, looked: np.ndarray, patients: np.ndarray, weights: np.ndarray, count: int
) -> sparse.csr_array:
    """Return each patient's weight between one threshold looked at and the next, ``(thresholds, patients)``."""
    distinct = np.repeat(np.arange(len(steps.ends)), np.diff(steps.ends, prepend=-1))
    step = np.searchsorted(looked, distinct)
    gathered = sparse.csr_array((weights[steps.order], (step, patients[steps.order])), shape=(len(looked), count))
    gathered.eliminate_zeros()
    return gathered


def _rates(found: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sensitivity and specificity at each threshold; NaN without positives or without negatives."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return found / found[:, -1:], 1 - wrong / wrong[:, -1:]


def _place(rule: Rule, thresholds: np.ndarray, found: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Index of the threshold of each row, `NOBODY` where only calling nobody positive will do."""
    sensitivity, specificity = _rates(found, wrong)
    last = len(thresholds) - 1
    if rule.name == "fixed":
        assert rule.target is not None
        return np.full(len(found), int((thresholds >= rule.target).sum()) - 1)
    if rule.name == "sensitivity":
        return np.asarray(np.argmax(sensitivity >= _needed(rule), axis=1))
    if rule.name == "specificity":
        reached = specificity >= _needed(rule)
        return np.where(reached.any(axis=1), last - np.argmax(reached[:, ::-1], axis=1), NOBODY)
    worth = sensitivity + specificity
    nobody = np.ones(len(found))
    if rule.name == "cost":
        positives, negatives = found[:, -1:], wrong[:, -1:]
        with np.errstate(invalid="ignore"):
            share = positives / (positives + negatives) if rule.prevalence is None else np.full((1, 1), rule.prevalence)
        missed, alarms = (rule.cost or 0) * share, 1 - share
        worth = -(missed * (1 - sensitivity) + alarms * (1 - specificity))
        nobody = -np.broadcast_to(missed, (len(found), 1))[:, 0]
    most = worth.max(axis=1)
    best = last - np.argmax((worth >= most[:, None] - ROUNDING)[:, ::-1], axis=1)
    return np.where(most >= nobody - ROUNDING, best, NOBODY)


def _needed(rule: Rule) -> float:
    return (rule.target or 0.0) - ROUNDING


def _at(sensitivity: np.ndarray, specificity: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rates of each row at its place; one row serves all places."""
    rows = np.arange(len(places)) if len(sensitivity) == len(places) else np.zeros(len(places), dtype=np.int64)
    nobody = places == NOBODY
    return np.where(nobody, 0.0, sensitivity[rows, places]), np.where(nobody, 1.0, specificity[rows, places])


def _unreachable(rule: Rule, highest: float) -> InputError:
    if rule.name == "cost":
        return InputError(
            f"where a missed positive costs {rule.cost:g} false alarms, it is cheapest to call nobody positive: no threshold is "
            "worth its false alarms. Check that cost is that of a missed positive divided by that of a false alarm."
        )
    return InputError(
        f"no threshold has a specificity of {rule.target}: even at the highest score it is {highest:.3f}, because negatives "
        "have that score too. Take a lower target."
    )

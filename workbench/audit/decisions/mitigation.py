"""Mitigation after training: ``wb.audit.mitigate(tuning, test, by, method=…)``; chosen on one set, judged on another."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.audit.asked import check_interval, cut, entries, refuse_few, share, two_classes
from workbench.audit.decisions import adjustments
from workbench.audit.decisions.thresholds import Rule
from workbench.audit.estimation.joint import joint_design, rows_of
from workbench.audit.fairness.two_models import compare
from workbench.audit.finding import Finding
from workbench.errors import EvidenceWarning, InputError, unknown_name
from workbench.predictions import SCORE, Predictions
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.decisions.adjustments import Adjustment
    from workbench.audit.sample import Design
    from workbench.groups import Partition

RECALIBRATIONS = ("platt", "isotonic", "temperature")
METHODS = ("thresholds", *RECALIBRATIONS, "abstain", "flip")
BY_CALLS, BY_SCORES = (
    ("sensitivity", "specificity", "PPV"),
    ("AUROC", "Brier score", "ECE (equal mass)", "sensitivity", "specificity"),
)


@dataclass(frozen=True, eq=False)
class Mitigated:
    """What a mitigation did, and the predictions it made.

    Parameters
    ----------
    finding : before and after on the test set.
    predictions : of the test set, changed; audited at the same threshold as before.
    """

    finding: Finding
    predictions: Predictions

    def _repr_html_(self) -> str:
        return self.finding._repr_html_()


def mitigate(
    tuning: Predictions,
    test: Predictions,
    by: str | Sequence[str],
    *,
    method: str,
    goal: str = "sensitivity",
    target: float | None = None,
    coverage: float = 0.9,
    threshold: float | Finding = 0.5,
    metrics: Sequence[str] | None = None,
    positive: str | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Mitigated:
    """Change the scores of groups after training, and say on other patients whom it helped and whom it cost.

    Parameters
    ----------
    tuning : what the change is learnt from.
    test : what it is judged on: other patients.
    by : one attribute, or several to be crossed.
    method : ``"thresholds"`` (each group its own, so that `goal` is at least `target` in all of them: equal opportunity with
        ``"sensitivity"``, equal false positive rates with ``"specificity"``); ``"platt"``, ``"isotonic"``, ``"temperature"``
        (each group recalibrated); ``"abstain"`` (no decision near the threshold); ``"flip"`` (reject option: near the threshold,
        in favour of groups that are found less often).
    goal, target : of ``"thresholds"``; by default everybody's rate at `threshold` in the tuning set.
    coverage : of ``"abstain"``: share of the tuning images that are decided, between 0 and 1.
    threshold : 0–1, or what :func:`workbench.audit.operating_point` found; the same before and after.
    metrics : to compare; by default those that the method moves.
    positive : the positive class; by default the last of two.
    level, replicates, seed : of the intervals.

    Returns
    -------
    Mitigated
        ``.predictions``, and ``.finding`` with each metric by group before and after (paired intervals), the tables ``"gaps"``
        (before and after, and how much was levelling down; see :func:`workbench.audit.compare`), ``"choice"`` (what each group
        got) and ``"coverage"`` (how many are still decided).

    Raises
    ------
    InputError : where a patient is in both sets, they are the same, a group of the test set is not in the tuning set, or a
        setting does not fit the method.

    Warns
    -----
    EvidenceWarning : where a group has fewer than 5 patients of a class in the tuning set and gets what everybody gets, where a gap
        closes by levelling down, or where patients are not named and cannot be told apart.

    References
    ----------
    Hardt, Price & Srebro 2016, Adv Neural Inf Process Syst 29 (thresholds); Platt 1999, Advances in Large Margin Classifiers
    61; Zadrozny & Elkan 2002, Proc ACM SIGKDD 694 (isotonic); Guo et al. 2017, Proc Int Conf Mach Learn 70:1321 (temperature);
    Kamiran, Karim & Zhang 2012, Proc IEEE Int Conf Data Min 924 (reject option).

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> def made(seed):
    ...     rng = np.random.default_rng(seed)
    ...     truth, old = rng.integers(0, 2, 1000), rng.integers(0, 2, 1000)
    ...     p = 1 / (1 + np.exp(-(rng.normal(size=1000) + 2 * truth - 1 - old)))
    ...     table = pd.DataFrame({"truth": truth, "p": p, "old": old, "who": [f"{seed}-{k}" for k in range(1000)]})
    ...     return wb.Predictions.from_table(table, label="truth", score="p", patient="who")
    >>> done = wb.audit.mitigate(made(0), made(1), "old", method="thresholds")
    >>> gap = done.finding.to_frame("gaps").set_index("metric").loc["sensitivity"]
    >>> bool(gap["first_gap"] > 0.2 and abs(gap["second_gap"]) < 0.1)
    True
    """
    tuning, positive = two_classes(tuning, "tuning", positive)
    test, _ = two_classes(test, "test", positive)
    at = cut(threshold)
    _check(method, goal, target, coverage)
    check_interval(level, replicates, seed)
    told = _apart(tuning, test)
    entry = by if isinstance(by, str) else tuple(by)
    design, part = joint_design({"tuning": tuning, "test": test}, entries([entry], needed=True), positive)
    learnt, judged = rows_of(design, part == 0), rows_of(design, part == 1)
    _same_groups(learnt.partitions[1], judged.partitions[1])
    made = _adjustment(learnt, method, goal, target, coverage=coverage, threshold=at)
    partition = learnt.partitions[1]
    if made.borrowed:
        names = ", ".join(partition.names[group] for group in made.borrowed)
        told += (
            f"Too few patients, or no end to the fit, in the tuning set: {names} got what everybody gets, or stayed.",
        )
    scores = made.apply(judged.scores, judged.partitions[1].codes)
    settings = {
        "by": [entry if isinstance(entry, str) else list(entry)], "method": method, "threshold": at, "positive": positive,
        "goal": goal if method == "thresholds" else None, "target": target, "coverage": coverage if method == "abstain" else None,
        "chosen_on": tuning.provenance.content,
    }  # fmt: skip
    changed = _changed(test, scores, positive, settings | {"seed": int(seed)}, tuning)
    with warnings.catch_warnings():
        # What it warns of stands in its finding, and is told once, below.
        warnings.simplefilter("ignore", EvidenceWarning)
        found = compare(
            test, changed, [entry], metrics=metrics or (BY_SCORES if method in RECALIBRATIONS else BY_CALLS), threshold=at,
            names=("before", "after"), paired=method != "abstain", positive=positive, level=level, replicates=replicates, seed=seed,
        )  # fmt: skip
    told += found.warnings
    if told:
        warnings.warn(" ".join(told), EvidenceWarning, stacklevel=2)
    choice = pd.DataFrame({"group": partition.names, "choice": made.choice, "value": made.values})
    choice["note"] = ["what everybody gets" if group in made.borrowed else "" for group in range(len(partition.names))]
    tables = {"gaps": found.tables["gaps"], "choice": choice, "coverage": _coverage(judged, scores)}
    table = found.table.rename(columns={"first": "before", "second": "after"})
    settings |= {"level": float(level), "replicates": int(replicates)}
    parents = {"tuning": tuning.provenance, "test": test.provenance}
    finding = Finding(
        "mitigate", f"Mitigation by {method}, before and after", table, tables, found.sentences,
        (_method(method, goal, partition.by), *found.methods), told, settings | {"seed": int(seed)},
        Provenance("audit.mitigate", settings, digest(table, choice), parents, seed=seed),
    )  # fmt: skip
    return Mitigated(finding, changed)


def _check(method: str, goal: str, target: float | None, coverage: float) -> None:
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if goal not in ("sensitivity", "specificity"):
        raise unknown_name("goal", goal, ("sensitivity", "specificity"))
    if target is not None:
        if method != "thresholds":
            message = f"method {method!r} takes no target; it is the rate that method 'thresholds' makes equal."
            raise InputError(message)
        share(target, "target")
    share(coverage, "coverage", ends=False)


def _apart(tuning: Predictions, test: Predictions) -> tuple[str, ...]:
    """Refuse sets that share patients; say where that cannot be known."""
    if tuning.provenance.content == test.provenance.content:
        message = "test is the tuning set: what is chosen on some images cannot be judged on the same ones. Give other patients."
        raise InputError(message)
    origins = [_origin(made) for made in (tuning, test)]
    unnamed = any(origin.verb == "from_table" and origin.settings.get("patient") is None for origin in origins)
    if unnamed and origins[0].content != origins[1].content:
        return (
            "No patient column was named, so it cannot be checked that no patient is in both sets: patient='column' in "
            "Predictions.from_table.",
        )
    both = sorted({str(name) for name in tuning.patients} & {str(name) for name in test.patients})
    if both:
        message = (
            f"{len(both)} patient{'s are' if len(both) > 1 else ' is'} in the tuning and in the test set: "
            f"{', '.join(map(repr, both[:5]))}{', …' if len(both) > 5 else ''}. What is learnt from a patient cannot be judged on "
            "the same one; split by patient."
        )
        raise InputError(message)
    return ()


def _origin(predictions: Predictions) -> Provenance:
    """Return the record of the table that predictions are, or are a part of."""
    record = predictions.provenance
    while record.verb != "from_table" and "predictions" in record.parents:
        record = record.parents["predictions"]
    return record


def _same_groups(learnt: Partition, judged: Partition) -> None:
    absent = sorted(set(np.unique(judged.codes)) - set(np.unique(learnt.codes)))
    if absent:
        names = ", ".join(judged.names[code] for code in absent)
        message = f"the test set has groups that the tuning set lacks: {names}. Nothing can be learnt for them; leave them out, or merge them."
        raise InputError(message)


def _adjustment(
    design: Design, method: str, goal: str, target: float | None, *, coverage: float, threshold: float
) -> Adjustment:
    groups, count = design.partitions[1].codes, len(design.partitions[1].names)
    patients = {kind: len(np.unique(design.patients[side])) for kind, side in
                (("positives", design.truth), ("negatives", ~design.truth))}  # fmt: skip
    refuse_few(patients, "the tuning set")
    if method == "thresholds":
        side, right = (
            (design.truth, design.scores >= threshold)
            if goal == "sensitivity"
            else (~design.truth, design.scores < threshold)
        )
        rate = float(np.average(right[side], weights=design.weights[side])) if target is None else target
        return adjustments.by_thresholds(design, groups, count, rule=Rule(goal, rate), threshold=threshold)
    if method in RECALIBRATIONS:
        return adjustments.by_recalibration(design, groups, count, kind=method)
    if method == "abstain":
        return adjustments.by_abstention(design, count, coverage=coverage, threshold=threshold)
    return adjustments.by_flipping(design, groups, count, threshold=threshold)


def _changed(
    test: Predictions, scores: np.ndarray, positive: str, settings: dict[str, object], tuning: Predictions
) -> Predictions:
    """Return the test set with new scores of the positive class; the other classes share the rest as they did."""
    kept = np.isfinite(scores)
    if not kept.any():
        message = "no image of the test set is decided any more; ask for a higher coverage."
        raise InputError(message)
    table = test.table.loc[kept].copy()
    before, new = table[SCORE + positive].to_numpy(dtype=np.float64), scores[kept]
    others = [SCORE + name for name in test.classes if name != positive]
    for column in others:
        left = np.divide(table[column].to_numpy(), 1 - before, out=np.full(len(new), 1 / len(others)), where=before < 1)
        table[column] = left * (1 - new)
    table[SCORE + positive] = new
    provenance = Provenance(
        "audit.mitigate", settings, digest(table), {"predictions": test.provenance, "tuning": tuning.provenance}
    )
    return Predictions(table, test.classes, test.attributes, provenance, test.task)


def _coverage(judged: Design, scores: np.ndarray) -> pd.DataFrame:
    rows = []
    for partition in judged.partitions:
        for code, group in enumerate(partition.names):
            inside = partition.codes == code
            decided = int(np.isfinite(scores[inside]).sum())
            rows.append(
                {"group": group, "by": partition.by, "n": int(inside.sum()), "decided": decided,
                 "value": decided / max(int(inside.sum()), 1)}
            )  # fmt: skip
    return pd.DataFrame(rows)


def _method(method: str, goal: str, by: str) -> str:
    said = {
        "thresholds": f"Each group by {by} got the threshold that makes the {goal} equal; scores were stretched within groups so that one "
        "threshold serves all, and are no probabilities any more.",
        "platt": f"Scores were recalibrated within each group by {by} by logistic regression on their logit.",
        "isotonic": f"Scores were recalibrated within each group by {by} by isotonic regression.",
        "temperature": f"Scores were recalibrated within each group by {by} by one factor on their logit.",
        "abstain": "Images with scores near the threshold were left undecided; after is what is left.",
        "flip": f"Near the threshold, groups by {by} found less often than average were called positive and the others negative "
        "(reject option based classification).",
    }[method]
    return f"{said} This was chosen on the tuning set, and judged on other patients."

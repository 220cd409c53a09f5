"""One model's shortcut: is it right where an attribute agrees with the label, and wrong where it does not?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from workbench.audit.estimation.evidence import FEWEST
from workbench.audit.paper import p_text
from workbench.clustered import Estimates, gaps, joined
from workbench.comparisons import holm
from workbench.errors import InputError
from workbench.groups import Partition, partitions
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from workbench.audit.discovery.cases import Cases

BALANCED = "balanced accuracy"


@dataclass(frozen=True, eq=False)
class Sides:
    """Groups in which the positive class is commoner (`high`) or rarer (`low`) in training than in all, with its share."""

    high: dict[str, float]
    low: dict[str, float]
    overall: float


def sides_of(training: Cases, attribute: str, positive: str) -> Sides:
    """Read off the training set which groups go with the positive class.

    Raises
    ------
    InputError : where no group of 5 patients has another prevalence than the whole.
    """
    part = _partition(training, attribute)
    truth = (training.table["label"].astype(str) == positive).to_numpy(dtype=bool)
    overall, high, low = float(truth.mean()), {}, {}
    for code, name in enumerate(part.names):
        rows = part.codes == code
        if len(np.unique(training.patients[rows])) < FEWEST:
            continue
        share = float(truth[rows].mean())
        if share > overall:
            high[name] = share
        elif share < overall:
            low[name] = share
    if not high or not low:
        message = (
            f"in training, {positive!r} is as common in every group of {attribute!r} as in all ({overall:.2f}): there is no "
            "association that a shortcut could follow."
        )
        raise InputError(message)
    return Sides(high, low, overall)


def conflict_table(
    cases: Cases, attribute: str, sides: Sides, *, truth: np.ndarray, called: np.ndarray, level: float
) -> pd.DataFrame:
    """Compare aligned with conflicting images: rows sensitivity, specificity and their mean.

    Aligned are positives of groups with much of the positive class and negatives of groups with little of it; all others are
    conflicting. Images of groups that the training set does not tell of are left out.
    """
    part = _partition(cases, attribute)
    names = np.array(part.names)[part.codes]
    high, low = np.isin(names, list(sides.high)), np.isin(names, list(sides.low))
    right = np.where(called == truth, 1.0, 0.0)
    rows = {"sensitivity": (truth & high, truth & low), "specificity": (~truth & low, ~truth & high)}
    parts = [
        gaps(np.where(aligned, right, np.nan), np.where(conflicting, right, np.nan), cases.patients, proportion=True)
        for aligned, conflicting in rows.values()
    ]
    both = joined(parts)
    bounds, p = both.intervals(level), both.p_values()
    value, low_end, high_end, whole_p = _balanced(both, level)
    aligned, conflicting = both.shares
    masks = [rows["sensitivity"], rows["specificity"], tuple(a | b for a, b in zip(*rows.values(), strict=True))]
    used = [first | second for first, second in masks]
    fewest = int(both.fewest.min())
    note = f"only {fewest} patients on one side: do not rely on it" if fewest < 20 else ""
    return pd.DataFrame(
        {
            "group": "aligned − conflicting", "by": attribute, "metric": [*rows, BALANCED],
            "value": [*both.values, value], "low": [*bounds[0], low_end], "high": [*bounds[1], high_end],
            "aligned": [*aligned, float(aligned.mean())], "conflicting": [*conflicting, float(conflicting.mean())],
            "p": [*p, whole_p], "p_adjusted": holm(np.array([*p, whole_p])), "n": [int(mask.sum()) for mask in used],
            "patients": [len(np.unique(cases.patients[mask])) for mask in used], "note": [*both.notes, note],
        }
    )  # fmt: skip


def conflict_sentences(table: pd.DataFrame, sides: Sides, attribute: str, level: float) -> list[str]:
    """Say which way the model errs, and what that does and does not mean."""
    sensitivity, specificity, whole = (row for _, row in table.iterrows())
    said = [
        f"In training the positive class is commoner in {', '.join(f'{n} ({s:.2f})' for n, s in sides.high.items())} and rarer in "
        f"{', '.join(f'{n} ({s:.2f})' for n, s in sides.low.items())} than in all ({sides.overall:.2f}).",
        f"Where {attribute} agrees with the label the model's balanced accuracy is {whole['aligned']:.2f}, where it conflicts "
        f"{whole['conflicting']:.2f}: a difference of {whole['value']:+.2f} ({100 * level:g} % interval {whole['low']:+.2f} to "
        f"{whole['high']:+.2f}, adjusted p {p_text(whole['p_adjusted'])}).",
    ]
    if not whole["p_adjusted"] <= 1 - level:
        return [*said, "No shortcut is shown; that is no proof that there is none."]
    if whole["value"] < 0:
        return [*said, "The model errs against the association of the training set: no sign of a shortcut along it."]
    if sensitivity["value"] > 0 and specificity["value"] > 0:
        return [
            *said,
            "The model's errors follow the association of the training set, among positives and negatives alike, as those of a "
            f"model do that uses {attribute}. A model that rightly counts {attribute} as a risk errs in the same way; whether "
            "it is a shortcut depends on what the score is for.",
        ]
    return [*said, "The difference is made by one class alone, which a harder group explains as well as a shortcut."]


def _balanced(both: Estimates, level: float) -> tuple[float, float, float, float]:
    """Mean of the two gaps, from each patient's pull on it."""
    value, error = float(both.values.mean()), float(np.sqrt((both.influence.mean(1) ** 2).sum()))
    if not error > 0 or both.fewest.min() < FEWEST:
        return value, np.nan, np.nan, np.nan
    half = normal_quantile(level) * error
    return value, value - half, value + half, float(2 * stats.norm.sf(abs(value) / error))


def _partition(cases: Cases, attribute: str) -> Partition:
    return partitions(cases, [attribute])[1]

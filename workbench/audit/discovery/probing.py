"""How well a target is read from embeddings: the number, its interval, and what shuffled targets give."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from workbench.audit.discovery.cases import Cases, known_attribute
from workbench.audit.discovery.crossfit import (
    Probed,
    crossfit,
    patient_folds,
    permutations,
    rotated,
    scaled,
    stratified_area,
)
from workbench.audit.engine.measure import measure
from workbench.audit.estimation.evidence import FEWEST
from workbench.audit.metric import Setting, metric_of
from workbench.audit.sample import Design
from workbench.clustered import means
from workbench.errors import InputError
from workbench.groups import ALL, MOST_GROUPS, MOST_VALUES, Partition
from workbench.intervals import Interval, area_score, logit, normal_quantile

REPLICATES = 1000
LEAST_PATIENTS = 20


@dataclass(frozen=True, eq=False)
class Target:
    """What is to be read from embeddings.

    Parameters
    ----------
    name : the attribute.
    groups : its values in order; empty for a number.
    values : float64 ``(n,)``, the number, or the index of the group.
    vectors : ``(n, D)``.
    patients : ``(n,)``, rising without gaps.
    labels : ``(n,)``, index of each image's label among those that occur.
    ids : of the images.
    left_out : rows that were left out, by reason.
    """

    name: str
    groups: tuple[str, ...]
    values: np.ndarray
    vectors: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    ids: np.ndarray
    left_out: dict[str, int]

    @property
    def metric(self) -> str:
        """How it is judged."""
        return "R²" if not self.groups else "AUROC" if len(self.groups) == 2 else "balanced accuracy"


@dataclass(frozen=True, eq=False)
class Judged:
    """A probe's value with interval, the values ``(P,)`` of shuffled targets, and its score of each image, ``(n,)``."""

    value: float
    interval: Interval
    shuffled: np.ndarray
    scores: np.ndarray

    @property
    def p(self) -> float:
        """Share of shuffles that were read as well; NaN without shuffles."""
        count = len(self.shuffled)
        return (1 + float((self.shuffled >= self.value - 1e-12).sum())) / (1 + count) if count else float("nan")


def target_of(cases: Cases, attribute: str) -> Target:
    """Take an attribute for a target; images where it is missing, and groups of fewer than 5 patients, are left out.

    Raises
    ------
    InputError : where it is unknown, has one value, too many, or too few patients.
    """
    column = known_attribute(cases, attribute)
    known = column.notna().to_numpy().copy()
    left_out = {"missing": int((~known).sum())} if not known.all() else {}
    number = (
        pd.api.types.is_numeric_dtype(column)
        and not pd.api.types.is_bool_dtype(column)
        and column.nunique() > MOST_VALUES
    )
    groups: tuple[str, ...] = ()
    values = np.zeros(len(column))
    if number:
        values[known] = column[known].to_numpy(dtype=np.float64)
    else:
        plain = column[known]
        names = sorted(plain.unique()) if pd.api.types.is_numeric_dtype(plain) else sorted(plain.astype(str).unique())
        _check_groups(names, attribute)
        values[known] = pd.Categorical(
            plain if pd.api.types.is_numeric_dtype(plain) else plain.astype(str), names
        ).codes
        enough = []
        for code, name in enumerate(names):
            rows = known & (values == code)
            if len(np.unique(cases.patients[rows])) >= FEWEST:
                enough.append(code)
            else:
                left_out[f"{attribute}={name} (fewer than {FEWEST} patients)"] = int(rows.sum())
                known &= ~rows
        values = np.searchsorted(enough, values).astype(np.float64)
        groups = tuple(f"{names[code]:g}" if isinstance(names[code], float) else str(names[code]) for code in enough)
    chosen = cases.where(known)
    patients = chosen.patients if len(chosen) else np.empty(0, dtype=np.int64)
    if len(np.unique(patients)) < LEAST_PATIENTS or (not number and len(groups) < 2):
        message = (
            f"attribute {attribute!r} is known of {len(np.unique(patients))} patients in {len(groups) if not number else 'all'} "
            f"usable group(s): a probe needs {LEAST_PATIENTS} patients or more, and two groups of {FEWEST} or more."
        )
        raise InputError(message)
    labels = np.unique(chosen.table["label"].astype(str), return_inverse=True)[1].astype(np.int64)
    if chosen.vectors is None:
        message = "no embeddings were given; take them from a model with model.embed(cohort)."
        raise InputError(message)
    ids = chosen.table.index.astype(str).to_numpy()
    return Target(attribute, groups, values[known], chosen.vectors, patients, labels, ids, left_out)


def judged(target: Target, strata: np.ndarray | None, *, permuted: int, level: float, seed: int) -> Judged:
    """Probe a target, as it is or within strata, and `permuted` shuffles of it."""
    drawn = permutations(target.values, target.patients, strata, count=permuted, seed=seed)
    columns = np.column_stack([target.values, drawn])
    folds = patient_folds(target.values, target.patients, seed)
    groups, points = len(target.groups), rotated(scaled(target.vectors))
    if groups == 2:
        probed = crossfit(points, columns, folds, strata)
        values = stratified_area(probed.scores, columns == 1, strata)
        interval = _area_interval(target, probed.scores[:, 0], strata, level, seed)
    elif groups:
        onehot = (columns[:, :, None] == np.arange(groups)).astype(np.float64)
        probed = crossfit(points, onehot.reshape(len(columns), -1), folds, strata)
        # Over the share that each group has: what the embedding adds to it, so that rare groups are called, too.
        relative = (probed.scores / np.maximum(probed.centres, 1e-9)).reshape(onehot.shape)
        right = relative.argmax(2) == columns
        values = np.mean([_share(right, columns == group) for group in range(groups)], axis=0)
        interval = _accuracy_interval(right[:, 0], target, level)
    else:
        probed = crossfit(points, columns, folds, strata)
        error = (columns - probed.centres - probed.scores) ** 2
        spread = (columns - _stratum_means(columns, strata)) ** 2
        values = 1 - error.sum(0) / spread.sum(0)
        interval = _r2_interval(error[:, 0], spread[:, 0], target.patients, level)
    return Judged(float(values[0]), interval, values[1:], _shown(probed, groups))


def _check_groups(names: list[object], attribute: str) -> None:
    if len(names) > MOST_GROUPS:
        message = (
            f"attribute {attribute!r} has {len(names)} different values, too many to be groups; probe a column with "
            "fewer, such as bands of it."
        )
        raise InputError(message)


def _shown(probed: Probed, groups: int) -> np.ndarray:
    """Return the score of an image: of the second group, of the number, or of the group whose score is highest."""
    if groups > 2:
        return np.asarray((probed.scores / np.maximum(probed.centres, 1e-9))[:, :groups].argmax(1).astype(np.float64))
    return np.asarray(probed.scores[:, 0] + probed.centres[:, 0])


def _share(hit: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.asarray((hit & rows).sum(0) / np.maximum(rows.sum(0), 1))


def _stratum_means(columns: np.ndarray, strata: np.ndarray | None) -> np.ndarray:
    strata = np.zeros(len(columns), dtype=np.int64) if strata is None else strata
    result = np.empty_like(columns)
    for stratum in np.unique(strata):
        result[strata == stratum] = columns[strata == stratum].mean(0)
    return result


def _area_interval(target: Target, scores: np.ndarray, strata: np.ndarray | None, level: float, seed: int) -> Interval:
    """Interval of the area within strata on the logit scale, its variance from a bootstrap of patients."""
    truth = target.values == 1
    everybody = Partition("", (ALL,), np.zeros(len(scores), dtype=np.int64))
    parts = [everybody]
    if strata is not None:
        names = tuple(str(number) for number in range(int(strata.max()) + 1))
        parts.append(Partition("label", names, strata))
    design = Design(scores, truth, target.patients, tuple(parts), np.ones(len(scores)))
    drawn = measure(design, [metric_of("AUROC")], Setting(), replicates=REPLICATES, seed=seed).drawn["AUROC"]
    if strata is None:
        drawn, pairs = drawn[:1], np.ones(1)
    else:
        drawn = drawn[1:]
        pairs = np.array(
            [truth[strata == s].sum() * (~truth[strata == s]).sum() for s in range(len(drawn))], dtype=float
        )
    known = np.isfinite(drawn) & (pairs[:, None] > 0)
    weights = np.where(known, pairs[:, None], 0)
    areas = (np.where(known, drawn, 0) * weights).sum(0) / np.where(weights.sum(0) > 0, weights.sum(0), np.nan)
    value = float(stratified_area(scores[:, None], truth[:, None], strata)[0])
    variance, z = float(np.nanvar(areas, ddof=1)), normal_quantile(level)
    if 0 < value < 1 and variance > 0:
        return logit(value, variance, z)
    sides = [len(np.unique(target.patients[truth == side])) for side in (True, False)]
    return area_score(value, sides[0], sides[1], z)


def _accuracy_interval(right: np.ndarray, target: Target, level: float) -> Interval:
    """Interval of the mean recall: a t interval from each patient's pull on it; Wilson's, averaged, where all are right."""
    hits = np.column_stack([np.where(target.values == k, right, np.nan) for k in range(len(target.groups))])
    recalls = means(hits, target.patients, proportion=True)
    value, error = float(recalls.values.mean()), float(np.sqrt((recalls.influence.mean(1) ** 2).sum()))
    if error == 0:
        low, high = recalls.intervals(level)
        return float(low.mean()), float(high.mean())
    half = normal_quantile(level) * error
    return max(value - half, 0.0), min(value + half, 1.0)


def _r2_interval(error: np.ndarray, spread: np.ndarray, patients: np.ndarray, level: float) -> Interval:
    """Normal interval of 1 − Σe/Σs, from each patient's pull on this ratio."""
    ratio, count = error.sum() / spread.sum(), int(patients.max()) + 1
    pull = np.bincount(patients, weights=error - ratio * spread) / spread.sum()
    half = normal_quantile(level) * float(np.sqrt((pull**2).sum() * count / (count - 1)))
    return float(1 - ratio - half), min(float(1 - ratio + half), 1.0)

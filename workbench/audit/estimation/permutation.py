"""Permutation tests of gaps: patients change groups, and what they carry stays theirs.

If scores did not depend on the group, every way of dealing the patients to groups of these sizes would be as likely as the
one seen. For metrics within a class (AUROC, sensitivity) only patients with the same classes change places, so that groups
keep their positives and negatives and a difference in prevalence alone raises no alarm. The gap is divided by its standard
error in each permutation, so that the test also holds its level where groups differ in spread but not in the metric.

References
----------
Chung & Romano 2013, Ann Stat 41:484 (studentised permutation tests); Phipson & Smyth 2010, Stat Appl Genet Mol Biol 9:39
(one more than counted, in both).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.engine.weighted import weighted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workbench.audit.estimation.estimates import Estimates
    from workbench.audit.estimation.roster import Place
    from workbench.audit.metric import Metric, Setting

# Numbers (permutations × rows or patients) worked on together: 8 MB an array.
AT_ONCE = 2**20
# Standard errors come from products of all pairs of sums; metrics of more sums than this (ECE) are left unstudentised.
MOST_SUMS = 4
STEP = 1e-5
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class _Dealt:
    """Numbers of all groups of a partition, and of their rests, and their squared errors, ``(B, 2, G)`` each."""

    values: np.ndarray
    squares: np.ndarray


def permuted(
    estimates: Estimates, held_against: Sequence[str | int | None], *, permutations: int, seed: int
) -> dict[tuple[str, str], float]:
    """Return a two-sided p-value of no difference for each metric and group.

    Parameters
    ----------
    held_against : of each place, see :func:`workbench.audit.estimation.gaps.against`.
    permutations : number B, from 19 on; no p-value is below 1 / (B + 1).
    seed : of the permutations; all metrics see the same ones.

    NaN where the gap cannot be told, and in partitions where a patient has images in several groups.
    """
    found: dict[tuple[str, str], float] = {}
    for number, partition in enumerate(estimates.design.partitions):
        places = [place for place, one in enumerate(estimates.places) if one.partition == number]
        asked = [place for place in places if held_against[place] is not None]
        if not asked or estimates.roster.split(places[0]):
            continue
        for metric in estimates.reading.metrics:
            parts = [
                _dealt(estimates, metric, codes, len(partition.names))
                for codes in _labels(estimates, metric, number, permutations, seed)
            ]
            dealt = _Dealt(*(np.concatenate([getattr(one, name) for one in parts]) for name in ("values", "squares")))
            for place in asked:
                t = np.abs(_statistic(dealt, estimates.places[place], held_against[place], places))
                reached = ~(t[1:] < t[0] * (1 - ROUNDING))
                p = (1 + int(reached.sum())) / (1 + permutations)
                found[metric.name, estimates.places[place].group] = p if np.isfinite(t[0]) else np.nan
    return found


def _labels(estimates: Estimates, metric: Metric, partition: int, permutations: int, seed: int) -> Iterator[np.ndarray]:
    """Yield each patient's group ``(b, P)``, some at a time: as it is first, then as dealt within strata."""
    design = estimates.design
    count = int(design.patients.max()) + 1
    own = np.zeros(count, dtype=np.int64)
    own[design.patients] = design.partitions[partition].codes
    stratum = np.full(count, -1)
    classes = np.zeros(count, dtype=np.int64)
    if metric.arms:
        for bit, side in ((1, design.positives), (2, ~design.positives)):
            classes[np.unique(design.patients[side])] += bit
    stratum[design.patients] = classes[design.patients]
    strata = [np.flatnonzero(stratum == one) for one in np.unique(stratum) if one >= 0]
    generator = np.random.default_rng([seed, partition])
    some = max(1, AT_ONCE // len(design.truth))
    block = [own]
    for _ in range(permutations):
        dealt = own.copy()
        for members in strata:
            dealt[members] = generator.permutation(own[members])
        block.append(dealt)
        if len(block) >= some:
            yield np.stack(block)
            block = []
    if block:
        yield np.stack(block)


def _dealt(estimates: Estimates, metric: Metric, codes: np.ndarray, groups: int) -> _Dealt:
    """Measure a metric in groups of patients ``(b, P)``."""
    if metric.name == "AUROC" and estimates.design.truth.dtype == np.bool_:
        sides = [[_areas(estimates, inside) for inside in (codes == one, codes != one)] for one in range(groups)]
    elif metric.of_sums is not None and _width(estimates, metric) <= MOST_SUMS:
        sides = _sums(estimates, metric, codes, groups)
    else:
        sides = [
            [_plain(estimates, metric, inside) for inside in (codes == one, codes != one)] for one in range(groups)
        ]
    both = np.array(sides)  # (G, 2 sides, 2 numbers, b)
    return _Dealt(both[:, :, 0].transpose(2, 1, 0), both[:, :, 1].transpose(2, 1, 0))


def _statistic(dealt: _Dealt, place: Place, other: str | int | None, mates: list[int]) -> np.ndarray:
    """Return the gap over its standard error, or the gap alone where errors are not known, ``(B,)``."""
    values, squares = dealt.values[:, 0], dealt.squares[:, 0]
    code = place.code
    if other == "mean":
        share = -np.full(values.shape[1], 1 / values.shape[1])
        share[code] += 1
        gap, square = values @ share, squares @ share**2
    elif other == "rest":
        gap, square = values[:, code] - dealt.values[:, 1, code], squares[:, code] + dealt.squares[:, 1, code]
    else:
        reference = mates.index(int(other or 0))
        gap, square = values[:, code] - values[:, reference], squares[:, code] + squares[:, reference]
    if np.isnan(square).all():
        return np.asarray(gap)
    with np.errstate(invalid="ignore", divide="ignore"):
        # Without any spread on either side a gap is either none or beyond measure.
        return np.where((square == 0) & (gap == 0), 0.0, gap / np.sqrt(square))


def _width(estimates: Estimates, metric: Metric) -> int:
    return int(_columns(estimates, metric).shape[1])


def _columns(estimates: Estimates, metric: Metric) -> np.ndarray:
    assert metric.columns is not None
    design = estimates.design
    columns = metric.columns(design.truth, design.scores, estimates.reading.setting)
    return np.asarray(columns * design.weights[:, None])


def _sums(
    estimates: Estimates, metric: Metric, codes: np.ndarray, groups: int
) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Metrics of sums: the delta method from each patient's sums, with the gradient at the group's own."""
    design, setting = estimates.design, estimates.reading.setting
    columns = _columns(estimates, metric)
    arms = np.hstack([columns * side[:, None] for side in (~design.positives, design.positives)])
    patient = np.stack([np.bincount(design.patients, weights=one, minlength=codes.shape[1]) for one in arms.T], axis=1)
    first, second = np.triu_indices(patient.shape[1])
    both = np.hstack([patient, patient[:, first] * patient[:, second]])
    total = both.sum(0)
    width = patient.shape[1]
    found = []
    for one in range(groups):
        inside = (codes == one).astype(np.float64) @ both
        sides = []
        for sums in (inside, total - inside):
            slope = np.empty((len(sums), width))
            for place in range(width):
                step = np.zeros(width)
                step[place] = STEP
                scale = np.abs(sums[:, :width]).max(1, keepdims=True)
                up, down = (_value(metric, sums[:, :width] + sign * scale * step, setting) for sign in (1, -1))
                slope[:, place] = (up - down) / (2 * STEP * scale[:, 0])
            products = slope[:, first] * slope[:, second] * np.where(first == second, 1, 2)
            square = np.maximum((products * sums[:, width:]).sum(1), 0)
            sides.append((_value(metric, sums[:, :width], setting), square))
        found.append(sides)
    return found


def _value(metric: Metric, sums: np.ndarray, setting: Setting) -> np.ndarray:
    assert metric.of_sums is not None
    return metric.of_sums(sums.reshape(len(sums), 2, -1), setting)


def _areas(estimates: Estimates, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas under ROC curves, with DeLong's or Obuchowski's variance, of groups of patients ``(b, P)``."""
    design, order = estimates.design, estimates.roster.order
    who, truth, scores = design.patients[order], design.truth[order], design.scores[order]
    mass = inside[:, who] * design.weights[order]
    arms = mass * truth, mass * ~truth
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))
    total = [one.sum(1, keepdims=True) for one in arms]
    with np.errstate(invalid="ignore", divide="ignore"):
        pairs = total[0] * total[1]
        met = arms[0] * _below(arms[1], ends), arms[1] * (total[0] - _below(arms[0], ends))
        value = met[0].sum(1, keepdims=True) / pairs
        pulls = [
            _by_patient((one - arm * value * other) / pairs, who)
            for one, arm, other in zip(met, arms, reversed(total), strict=True)
        ]
        square = np.zeros(len(inside))
        for pull, side in zip(pulls, (truth, ~truth), strict=True):
            patients = inside[:, np.unique(who[side])].sum(1)
            square += patients / (patients - 1) * (pull**2).sum(1)
        patients = inside[:, np.unique(who)].sum(1)
        square += 2 * patients / (patients - 1) * (pulls[0] * pulls[1]).sum(1)
    return value[:, 0], np.where(np.isfinite(square), np.maximum(square, 0), np.nan)


def _below(mass: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Weight below each row, ties half: ``(b, n)`` by rising score, `ends` the last row of each score."""
    sums = np.cumsum(mass, axis=1)
    if len(ends) == mass.shape[1]:
        return np.asarray(sums - mass / 2)
    upper = sums[:, ends]
    middle = (upper + np.hstack([np.zeros((len(mass), 1)), upper[:, :-1]])) / 2
    return np.repeat(middle, np.diff(ends, prepend=-1), axis=1)


def _by_patient(rows: np.ndarray, who: np.ndarray) -> np.ndarray:
    """Add up each patient's rows, ``(b, n)`` to ``(b, patients)``."""
    order = np.argsort(who, kind="stable")
    starts = np.flatnonzero(np.diff(who[order], prepend=-1))
    return np.asarray(np.add.reduceat(rows[:, order], starts, axis=1))


def _plain(estimates: Estimates, metric: Metric, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Any other metric, without its error."""
    design = estimates.design
    kept = (one[design.patients].astype(np.float64) for one in inside)
    rows = np.arange(len(design.truth))
    return weighted(design, metric, estimates.reading.setting, rows, kept), np.full(len(inside), np.nan)

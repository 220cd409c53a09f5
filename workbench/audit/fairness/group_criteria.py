"""The criteria that have a name: ``wb.audit.criteria(predictions, by)``; each with its interval, none of them a verdict."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench import clustered, comparisons
from workbench.audit.asked import check_interval, cut, entries, two_classes
from workbench.audit.calibration import steps as calibration_steps
from workbench.audit.decisions.cutting import chosen_on
from workbench.audit.engine.measure import measure
from workbench.audit.fairness.carriers import carriers, steadied
from workbench.audit.fairness.disparities import UNKNOWN, Disparity, equity_scaled, largest_gap, smallest_ratio, worst
from workbench.audit.fairness.group_values import group_table
from workbench.audit.fairness.named_criteria import CRITERIA, GAP, RATIO, SCALED, SPREAD, WORST, Criterion
from workbench.audit.finding import Finding
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.paper import p_said
from workbench.audit.sample import design_of
from workbench.errors import EvidenceWarning
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.engine.measure import Measured
    from workbench.audit.finding import Finding as Point
    from workbench.audit.metric import Metric
    from workbench.audit.sample import Design
    from workbench.groups import Partition
    from workbench.predictions import Predictions

COLUMNS = ("criterion", "by", "metric", "value", "low", "high", "p", "p_holm", "group", "chance", "verdict", "note")


def criteria(
    predictions: Predictions,
    by: Sequence[str | Sequence[str]] | str,
    *,
    threshold: float | Point = 0.5,
    positive: str | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Finding:
    """Work out the named criteria of group fairness, each with its interval, and say which cannot hold at once.

    A criterion is a question, not a verdict: which of them matters depends on what a call leads to. A difference that was
    not shown is not a difference that is not there; the upper end of its interval says how large it may be.

    Parameters
    ----------
    predictions : scores with labels and attributes.
    by : attributes, or tuples to be crossed; the criteria are worked out for each.
    threshold : 0–1, or what :func:`workbench.audit.operating_point` found.
    positive : the positive class, which is the disease; by default the last of two.
    level, replicates, seed : of the intervals; patients are resampled, the same ones in all groups.

    Returns
    -------
    Finding
        Table: a row for each criterion and each entry of `by`; `group` names the groups that make the number, `p` tests
        that all groups are equal (already corrected for the number of groups), `p_holm` for all rows too. `chance` is what
        equal groups would show on average (of a gap), or by how much chance moves the number (of a worst group: its bias).
        Tables ``"groups"`` (every metric in every group) and ``"definitions"``.

    Raises
    ------
    InputError : where `by` is empty or unknown, or a setting out of range.

    Warns
    -----
    EvidenceWarning : where groups had to be left out because fewer than 5 patients carry a metric there.

    References
    ----------
    Kleinberg, Mullainathan & Raghavan 2017, Proc Innov Theor Comput Sci; Chouldechova 2017, Big Data 5:153 (which cannot hold
    at once). Those of each criterion stand in the table ``"definitions"``.

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> truth, old = rng.integers(0, 2, 900), rng.integers(0, 2, 900)
    >>> p = np.clip(0.3 * truth * (1 - old / 2) + 0.7 * rng.random(900), 0, 1)
    >>> table = pd.DataFrame({"truth": truth, "p": p, "old": old})
    >>> found = wb.audit.criteria(wb.Predictions.from_table(table, label="truth", score="p"), ["old"])
    >>> found.table.set_index("criterion").loc["equal opportunity", ["value", "group"]].tolist()[1]
    'old=1 < old=0'
    """
    predictions, positive = two_classes(predictions, "predictions", positive)
    at, by = Setting(threshold=cut(threshold)), entries(by, needed=True)
    check_interval(level, replicates, seed)
    design = design_of(predictions, by, positive)
    metrics = metrics_of(list(dict.fromkeys(name for one in CRITERIA for name in one.metrics)))
    found = _measured(design, metrics, at, replicates=replicates, seed=seed)
    told = {metric.name: carriers(design, metric, at) for metric in metrics}
    shown = {metric.name: np.where(told[metric.name].enough, found.values[metric.name], np.nan) for metric in metrics}
    drawn = {
        metric.name: steadied(metric, told[metric.name], shown[metric.name], found.drawn[metric.name], seed=seed)
        for metric in metrics
    }  # fmt: skip
    rows, start = [], 1
    for partition in design.partitions[1:]:
        places = np.arange(start, start + len(partition.names))
        start += len(partition.names)
        for criterion in CRITERIA:
            groups = [(shown[name][places], drawn[name][places]) for name in criterion.metrics]
            everybody = shown[criterion.metrics[0]][0], drawn[criterion.metrics[0]][0]
            rows.append(_row(criterion, partition, _disparity(criterion, everybody, groups, level), groups, level))
    table = pd.DataFrame(rows)
    table["p_holm"] = comparisons.holm(table["p"].to_numpy())
    table = table[list(COLUMNS)]
    groups_table = group_table(design, metrics, at, found, level=level)
    definitions = pd.DataFrame(
        [{"criterion": c.name, "number": c.number, "definition": c.definition, "source": c.source} for c in CRITERIA]
    )
    thin = groups_table["note"].str.contains("refused|not estimable", regex=True)
    left_out = groups_table.loc[thin, "group"].unique()
    said = chosen_on(threshold, predictions)
    if len(left_out):
        said += (f"Left out of some criteria, because too few patients carry the metric there: {', '.join(left_out)}.",)
    if said:
        warnings.warn(" ".join(said), EvidenceWarning, stacklevel=2)
    settings = {
        "by": [list(entry) if isinstance(entry, tuple) else entry for entry in by], "threshold": at.threshold,
        "positive": positive, "level": float(level), "replicates": int(replicates),
    }  # fmt: skip
    provenance = Provenance(
        "audit.criteria", settings, digest(table, groups_table), {"predictions": predictions.provenance}, seed=seed
    )
    sentences = tuple(
        text
        for partition in design.partitions[1:]
        for text in [*_shown(table, partition, level), *_incompatible(design, partition, level)]
    )
    return Finding(
        "criteria", "Named criteria of group fairness", table, {"groups": groups_table, "definitions": definitions}, sentences,
        (_method(at.threshold, replicates, level),), said, settings | {"seed": int(seed)}, provenance,
    )  # fmt: skip


def _measured(design: Design, metrics: list[Metric], at: Setting, *, replicates: int, seed: int) -> Measured:
    """Measure all metrics; those of calibration get their replicates by one step each."""
    fitted = [metric for metric in metrics if metric.name in calibration_steps.NAMES]
    found = measure(
        design, [metric for metric in metrics if metric not in fitted], at, replicates=replicates, seed=seed
    )
    more = measure(design, fitted, at)
    drawn = calibration_steps.calibration_replicates(
        design, more.values["calibration slope"], replicates=replicates, seed=seed
    )
    return replace(found, values=found.values | more.values, drawn=found.drawn | drawn)


def _disparity(
    criterion: Criterion,
    everybody: tuple[float, np.ndarray],
    groups: list[tuple[np.ndarray, np.ndarray]],
    level: float,
) -> Disparity:
    known = np.all([np.isfinite(values) for values, _ in groups], axis=0)
    if known.sum() < 2:
        return UNKNOWN
    # Places stay those of the whole partition: what is not known stays NaN.
    groups = [(np.where(known, values, np.nan), np.where(known[:, None], drawn, np.nan)) for values, drawn in groups]
    if criterion.number == GAP:
        return largest_gap(groups, level)
    if criterion.number == RATIO:
        return smallest_ratio(*groups[0], level)
    if criterion.number == WORST:
        return worst(*groups[0], level, lowest=criterion.name != "underdiagnosis")
    sides = groups[0][0][known], groups[0][1][known]
    return equity_scaled(everybody, sides, level, by_spread=criterion.number == SPREAD)


def _row(
    criterion: Criterion,
    partition: Partition,
    found: Disparity,
    groups: list[tuple[np.ndarray, np.ndarray]],
    level: float,
) -> dict[str, Any]:
    names = [partition.names[place] for place in found.groups]
    values = [float(groups[found.family][0][place]) for place in found.groups]
    unknown = np.any([np.isnan(each) for each, _ in groups], axis=0)
    left_out = [name for name, missing in zip(partition.names, unknown, strict=True) if missing]
    return {
        "criterion": criterion.name, "by": partition.by,
        "metric": criterion.metrics[found.family] if criterion.number == GAP else criterion.metrics[0],
        "value": found.value, "low": found.low, "high": found.high, "p": found.p,
        "group": " < ".join(names), "chance": found.noise, "verdict": _verdict(criterion, found, names, values, level),
        "note": f"without {', '.join(left_out)}: too few patients, or not defined there" if left_out else "",
    }  # fmt: skip


def _verdict(criterion: Criterion, found: Disparity, names: list[str], values: list[float], level: float) -> str:
    """Say in plain words what was and what was not shown."""
    if math.isnan(found.value):
        return "cannot be told: fewer than two groups carry it"
    if criterion.number in (SCALED, SPREAD):
        return "for comparing models on the same groups only"
    if criterion.number == WORST:
        return f"{values[0]:.3f} in {names[0]}"
    sides = f"{values[0]:.3f} in {names[0]}, {values[1]:.3f} in {names[1]}"
    if math.isnan(found.p):
        return f"{sides}; no interval can be given"
    if found.p <= 1 - level:
        return f"a difference was shown: {sides}"
    still = f"a ratio as low as {found.low:.3f}" if criterion.number == RATIO else f"one of up to {found.high:.3f}"
    return f"no difference was shown ({sides}); {still} fits these data"


def _shown(table: pd.DataFrame, partition: Partition, level: float) -> list[str]:
    """Sentences on the criteria that test something."""
    rows = table[(table["by"] == partition.by) & table["p"].notna()]
    some = rows[rows["p_holm"] <= 1 - level]
    said = [
        f"{row['criterion']}: {row['value']:.3f} ({row['low']:.3f}–{row['high']:.3f}, Holm {p_said(row['p_holm'])}; {row['group']})"
        for row in some.to_dict("records")
    ]
    lead = f"Between groups by {partition.by}, {len(some)} of {len(rows)} criteria showed a difference after Holm's correction"
    return [
        f"{lead}{': ' + '; '.join(said) if said else ''}. What was not shown may still be there; see the upper ends."
    ]


def _incompatible(design: Design, partition: Partition, level: float) -> list[str]:
    """Say which criteria cannot hold at once where groups differ in how many are positive."""
    inside = partition.codes[:, None] == np.arange(len(partition.names))
    present = inside.any(0)
    if present.sum() < 2:
        return []
    truth = design.truth[:, None].astype(np.float64)
    inside = inside[:, present]
    shares = [float(design.truth[column].mean()) for column in inside.T]
    gaps = clustered.gaps(
        np.where(inside, truth, np.nan), np.where(~inside, truth, np.nan), design.patients.astype(str), proportion=True
    )
    adjusted = comparisons.together(gaps, level=level).p
    spread = (
        f"Between groups by {partition.by}, the share of positives runs from {min(shares):.3f} to {max(shares):.3f}"
    )
    if np.isnan(adjusted).all() or np.nanmin(adjusted) > 1 - level:
        return [f"{spread}, which may be chance; where it is truly equal, all criteria can hold at once."]
    return [
        f"{spread} ({p_said(float(np.nanmin(adjusted)))}). Scores that do not separate the classes perfectly then cannot be "
        "calibrated within groups, or have predictive parity, and have equalised odds at once (Kleinberg, Mullainathan & Raghavan "
        "2017; Chouldechova 2017), and demographic parity would need unequal error rates: one of them has to be chosen for what a "
        "call leads to."
    ]


def _method(threshold: float, replicates: int, level: float) -> str:
    return (
        f"Criteria of group fairness were worked out at a threshold of {threshold:g}, with {replicates} bootstrap replicates of "
        f"patients that all groups and metrics share. The interval of a largest gap or worst group comes from {level:.0%} intervals "
        "of all pairs or groups that hold at once (max-T), so that it allows for having chosen the pair by looking; p-values are "
        "adjusted likewise, and by Holm's method over all criteria. Shares of 0 or 1 were given the spread of Agresti and Coull; replicates of calibration slope and intercept are one Newton "
        "step from the sample's."
    )

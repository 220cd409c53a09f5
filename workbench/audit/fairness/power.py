"""What a sample could have found: ``wb.audit.detectable(predictions, by)``; absence of evidence told from its opposite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench import clustered
from workbench.audit.asked import cut, entries, share, two_classes
from workbench.audit.estimation.evidence import FEWEST
from workbench.audit.fairness.power_formulas import FARTHEST, area_power, area_variance, share_power, smallest
from workbench.audit.finding import Finding
from workbench.audit.metric import POSITIVES, Setting, metrics_of
from workbench.audit.sample import design_of
from workbench.errors import InputError
from workbench.intervals import NONE, area_score, difference, logit, normal_quantile, wilson
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.metric import Metric
    from workbench.audit.sample import Design
    from workbench.predictions import Predictions

AREA = "AUROC"
FOUND, ENOUGH, ABSENT = "a difference was found", "would probably have been found", "absence of evidence"


@dataclass(frozen=True)
class Side:
    """A group, or the rest: its value and the number of independent images that would tell as much.

    Parameters
    ----------
    value : of the metric, NaN where none.
    sizes : effective images, one number for a share, positives and negatives for an area.
    images : as many as there are, in the same order.
    patients : fewest that carry it.
    """

    value: float
    sizes: tuple[float, ...]
    images: tuple[int, ...]
    patients: int


def detectable(
    predictions: Predictions,
    by: Sequence[str | Sequence[str]] | str,
    *,
    metrics: Sequence[str] = ("AUROC", "sensitivity", "specificity"),
    gap: float = 0.05,
    power: float = 0.8,
    threshold: float | Finding = 0.5,
    positive: str | None = None,
    level: float = 0.95,
) -> Finding:
    """Say what difference between each group and the rest this sample could have found, and how many images it would take.

    Parameters
    ----------
    predictions : scores with labels and attributes.
    by : attributes, or tuples to be crossed.
    metrics : AUROC, and shares such as sensitivity, specificity, PPV.
    gap : the smallest difference that would matter, between 0 and 1. It is for people who know the disease to say.
    power : probability of finding a difference that is there, between 0 and 1.
    threshold : 0–1, or what :func:`workbench.audit.operating_point` found.
    positive : the positive class; by default the last of two.
    level : of the intervals; tests are at 1 − `level`.

    Returns
    -------
    Finding
        Table, a row a metric and group: the gap to the rest (`value`, `low`, `high`), the smallest gap that would be found with
        `power` (`detectable`; `detectable_corrected` if tested beside all other rows, by Bonferroni), the power for `gap`, and
        `reading`: a difference was found; one of `gap` would probably have been found; or absence of evidence. Table
        ``"needed"``: how many images of the group it would take to find `gap`, and to know the metric to ± `gap`.

    Raises
    ------
    InputError : where a metric is neither AUROC nor a share, or a setting out of range.

    Notes
    -----
    The group is taken to be served worse than the rest. Images of a patient count as the number of independent ones that
    would vary as much (from cluster-robust variances). A patient on both sides of a gap makes it better known than told.

    References
    ----------
    Hanley & McNeil 1982, Radiology 143:29; Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, ch. 6;
    Altman & Bland 1995, BMJ 311:485 (absence of evidence is not evidence of absence).

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 2, 200)
    >>> table = pd.DataFrame({"truth": truth, "p": (truth + 2 * rng.random(200)) / 3, "sex": rng.choice(["F", "M"], 200)})
    >>> found = wb.audit.detectable(wb.Predictions.from_table(table, label="truth", score="p"), "sex", metrics=["AUROC"])
    >>> found.table["reading"].tolist()
    ['absence of evidence', 'absence of evidence']
    """
    predictions, positive = two_classes(predictions, "predictions", positive)
    groups_by, chosen, at = entries(by, needed=True), metrics_of(metrics), Setting(threshold=cut(threshold))
    share(gap, "gap", ends=False), share(power, "power", ends=False), share(level, "level", ends=False)
    for metric in chosen:
        if metric.name != AREA and metric.share is None:
            message = f"the power for {metric.name!r} is not known in closed form; ask for AUROC or a share such as sensitivity."
            raise InputError(message)
    design = design_of(predictions, groups_by, positive)
    rows, needed = [], []
    comparisons = len(chosen) * (len(design.samples) - 1)
    for metric in chosen:
        place = 0
        for partition in design.partitions[1:]:
            for code in range(len(partition.names)):
                place += 1
                sample, inside = design.samples[place], partition.codes == code
                sides = _side(design, metric, at, inside), _side(design, metric, at, ~inside)
                named = {"group": sample.group, "by": sample.by, "metric": metric.name}
                sized = {"n": sample.n, "positives": len(sample.positives), "patients": sample.patients}
                asked = (gap, power, 1 - level)
                both = bool(np.intersect1d(design.patients[inside], design.patients[~inside]).size)
                rows.append(
                    named | _detected(metric, sides, asked, comparisons) | sized | {"note": _note(sides, both=both)}
                )
                needed.append(named | _needed(metric, sides, asked) | sized)
    table, more = pd.DataFrame(rows), pd.DataFrame(needed)
    told = (
        ()
        if (design.weights == 1).all()
        else ("Row weights are not used: this is what the images as they are could show.",)
    )
    settings = {
        "by": [list(entry) if isinstance(entry, tuple) else entry for entry in groups_by], "metrics": list(metrics), "gap": gap,
        "power": power, "threshold": at.threshold, "positive": positive, "level": level,
    }  # fmt: skip
    provenance = Provenance("audit.detectable", settings, digest(table, more), {"predictions": predictions.provenance})
    return Finding(
        "detectable", "What this sample could have found", table, {"needed": more}, _sentences(table, gap, power),
        (_method(gap, power, level),), told, settings, provenance,
    )  # fmt: skip


def _side(design: Design, metric: Metric, at: Setting, rows: np.ndarray) -> Side:
    """Value and effective sizes of some rows."""
    truth, scores, patients = design.truth[rows], design.scores[rows], design.patients[rows].astype(str)
    if metric.share is not None:
        counted, right = metric.share(truth, scores, at).T
        values = np.where(counted > 0, right, np.nan)[:, None]
    else:
        values = _placements(truth, scores)
    if not np.isfinite(values).any(0).all():
        return Side(math.nan, (0.0,) * values.shape[1], (0,) * values.shape[1], 0)
    found = clustered.means(values, patients, proportion=metric.share is not None)
    known = np.isfinite(values)
    images = known.sum(0)
    spread = np.nanvar(values, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        sizes = spread / found.errors**2
    sizes = np.where(np.isfinite(sizes) & (spread > 0), np.clip(sizes, found.kish[0], images), found.kish[0])
    return Side(float(found.values[0]), tuple(map(float, sizes)), tuple(map(int, images)), int(found.patients.min()))


def _placements(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Share of the other class that each row stands on the right side of, ``(n, 2)``: positives, then negatives; else NaN."""
    values = np.full((len(truth), 2), np.nan)
    if truth.all() or not truth.any():
        return values
    for column, (mine, sign) in enumerate(((truth, 1), (~truth, -1))):
        others = np.sort(sign * scores[~mine])
        own = sign * scores[mine]
        values[mine, column] = (np.searchsorted(others, own, "left") + np.searchsorted(others, own, "right")) / (
            2 * len(others)
        )
    return values


def _power(metric: Metric, sides: tuple[Side, Side], scale: float = 1.0) -> Any:
    """Return the power as a function of the gap and alpha, the group made `scale` times as large."""
    group, rest = sides
    worse = 1.0 if metric.best == 0 else -1.0

    def at(gap: float, alpha: float) -> float:
        there = rest.value + worse * gap
        if not 0 <= there <= 1:
            return 0.0
        if metric.name == AREA:
            sizes = (group.sizes[0] * scale, group.sizes[1] * scale), (rest.sizes[0], rest.sizes[1])
            return area_power(there, rest.value, sizes, alpha)
        return share_power(there, rest.value, (group.sizes[0] * scale, rest.sizes[0]), alpha)

    return at


def _detected(
    metric: Metric, sides: tuple[Side, Side], asked: tuple[float, float, float], comparisons: int
) -> dict[str, Any]:
    gap, power, alpha = asked
    group, rest = sides
    nothing = dict.fromkeys(("value", "low", "high", "detectable", "detectable_corrected", "power"), math.nan)
    if min(group.patients, rest.patients) < FEWEST:
        return {**nothing, "reading": "cannot be told"}
    z = normal_quantile(1 - alpha)
    low, high = difference(group.value, _interval(metric, group, z), rest.value, _interval(metric, rest, z))
    at = _power(metric, sides)
    farthest = 1 - rest.value if metric.best == 0 else rest.value
    found = smallest(lambda size: at(size, alpha) >= power, 0.0, farthest)
    corrected = smallest(lambda size: at(size, alpha / comparisons) >= power, 0.0, farthest)
    reach = at(gap, alpha)
    reading = FOUND if low > 0 or high < 0 else f"a difference of {gap:g} {ENOUGH}" if reach >= power else ABSENT
    return {
        "value": group.value - rest.value, "low": low, "high": high, "detectable": found, "detectable_corrected": corrected,
        "power": reach, "reading": reading,
    }  # fmt: skip


def _interval(metric: Metric, side: Side, z: float) -> tuple[float, float]:
    if math.isnan(side.value):
        return NONE
    if metric.name != AREA:
        return wilson(side.value, side.sizes[0], z)
    variance = area_variance(side.value, side.sizes[0], side.sizes[1])
    edge = not 0 < side.value < 1
    return area_score(side.value, side.sizes[0], side.sizes[1], z) if edge else logit(side.value, variance, z)


def _needed(metric: Metric, sides: tuple[Side, Side], asked: tuple[float, float, float]) -> dict[str, Any]:
    """Images of the group's scarcer arm that it takes, at the patients, images and prevalence a patient that it has now."""
    gap, power, alpha = asked
    group, rest = sides
    arm = int(np.argmin(group.images))
    kinds = (POSITIVES, "negatives") if metric.name == AREA else (metric.arms[0] if metric.arms else "images",)
    start = {"kind": kinds[arm], "now": group.images[arm], "effective": group.sizes[arm]}
    if min(group.patients, rest.patients) < FEWEST:
        return start | {"for_gap": math.nan, "for_precision": math.nan}
    bound = gap / normal_quantile(1 - alpha)

    def precise(scale: float) -> bool:
        if metric.name == AREA:
            return area_variance(group.value, group.sizes[0] * scale, group.sizes[1] * scale) <= bound**2
        # A share of 0 or 1 would seem to be known already: two cases are added to each kind, as Agresti and Coull do.
        size = group.sizes[0]
        value = (group.value * size + 2) / (size + 4)
        return value * (1 - value) / (size * scale) <= bound**2

    least = 1 / max(group.sizes)
    found = (
        smallest(lambda scale: _power(metric, sides, scale)(gap, alpha) >= power, least, FARTHEST),
        smallest(precise, least, FARTHEST),
    )
    for_gap, for_precision = (
        math.ceil(scale * group.images[arm]) if math.isfinite(scale) else math.nan for scale in found
    )
    return start | {"for_gap": for_gap, "for_precision": for_precision}


def _note(sides: tuple[Side, Side], *, both: bool) -> str:
    few = [f"only {side.patients} patients carry it in {who}" for side, who in zip(sides, ("the group", "the rest"), strict=True)
           if side.patients < FEWEST]  # fmt: skip
    shared = ["some patients are in the group and in the rest: more can be found than told"] if both else []
    return "; ".join([*few, *shared])


def _sentences(table: pd.DataFrame, gap: float, power: float) -> tuple[str, ...]:
    told = table[table["reading"] != "cannot be told"]
    if not len(told):
        return ("No group has enough patients for a comparison.",)
    absent = told[told["reading"] == ABSENT]
    said = [
        f"A difference was found in {int((told['reading'] == FOUND).sum())} of {len(told)} comparisons of a group with the rest; in "
        f"{int(told['reading'].str.endswith(ENOUGH).sum())} more, one of {gap:g} would have been found with a power of {power:.0%}; in "
        f"{len(absent)} it could well have been missed, and not finding it is no evidence of its absence."
    ]
    rows = absent.sort_values(["power", "group", "metric"]).head(3).to_dict("records")
    said += [
        f"{row['metric']} in {row['group']}: the power for a difference of {gap:g} was {row['power']:.0%}; only differences of "
        f"{'more than can be' if math.isnan(row['detectable']) else format(row['detectable'], '.3f')} or more could be found reliably."
        for row in rows
    ]
    return tuple(said)


def _method(gap: float, power: float, level: float) -> str:
    return (
        f"Detectable differences are those found with a power of {power:.0%} in a two-sided test at {1 - level:.0%}, the group being "
        "served worse than the rest: for the AUROC by Hanley and McNeil's variance, for shares by the arcsine approximation, with "
        "effective numbers of images that allow for patients with several. Observed gaps have square-and-add intervals. "
        f"Sample sizes are for finding, and for knowing the metric to within, {gap:g}."
    )

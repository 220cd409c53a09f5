"""Two models on the same patients: ``wb.audit.compare(first, second, by)``; who gains, who loses, and how a gap closed."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.asked import check_interval, cut, entries, two_classes
from workbench.audit.decisions.cutting import chosen_on
from workbench.audit.engine.measure import measure
from workbench.audit.engine.replicates import p_zero, percentiles, spread
from workbench.audit.estimation.joint import joint_design, rows_of
from workbench.audit.fairness.carriers import carriers
from workbench.audit.fairness.levelling import levelling
from workbench.audit.fairness.matching import matched
from workbench.audit.finding import Finding
from workbench.audit.metric import Setting, metric_of, metrics_of
from workbench.audit.paper import p_said
from workbench.audit.sample import Design
from workbench.comparisons import benjamini_hochberg, holm
from workbench.errors import EvidenceWarning, InputError
from workbench.groups import ALL, Partition
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.audit.metric import Metric
    from workbench.predictions import Predictions

USUAL = ("AUROC", "sensitivity", "specificity")
COLUMNS = (
    "group", "by", "metric", "first", "second", "value", "low", "high", "p", "p_holm", "p_bh", "verdict", "n", "positives",
    "patients", "note",
)  # fmt: skip
Threshold = float | Finding


def compare(
    first: Predictions,
    second: Predictions,
    by: Sequence[str | Sequence[str]] | str = (),
    *,
    metrics: Sequence[str] = USUAL,
    threshold: Threshold | tuple[Threshold, Threshold] = 0.5,
    names: tuple[str, str] = ("first", "second"),
    paired: bool = True,
    positive: str | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Finding:
    """Compare two models in every group, and tell how a gap between groups closed: by raising one or by lowering the other.

    Parameters
    ----------
    first, second : their predictions; differences are second − first.
    by : attributes, or tuples to be crossed, whose groups are compared besides everybody.
    metrics : names of metrics of two classes.
    threshold : 0–1, or what :func:`workbench.audit.operating_point` found; a pair where the models have their own.
    names : what the models are called in sentences.
    paired : whether both scored the same images, matched by id. ``False`` takes different images; patients in both are
        still resampled together.
    positive : the positive class; by default the last of two.
    level, replicates, seed : of the intervals; both models are measured on the same replicates of patients.

    Returns
    -------
    Finding
        Table: a row a metric and group with both values, their difference, p (adjusted by Holm and by Benjamini and Hochberg
        over all rows) and whether the group gains or loses. Table ``"gaps"``: of each entry of `by`, the group that the
        first model served best and the one it served worst, their gap under both models, and how it changed: see
        :func:`workbench.audit.fairness.levelling.levelling`.

    Raises
    ------
    InputError : where ids do not match, or label, patient or attribute of an image differ between the tables.

    Warns
    -----
    EvidenceWarning : where images are left out because one model did not score them, or a gap closed by levelling down.

    References
    ----------
    Zietlow et al. 2022, Proc IEEE/CVF Conf Comput Vis Pattern Recognit 10410 (levelling down in computer vision).

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> truth, noise = rng.integers(0, 2, 300), rng.normal(size=300)
    >>> made = [pd.DataFrame({"truth": truth, "p": 1 / (1 + np.exp(-noise - d * truth))}) for d in (1, 2)]
    >>> old, new = (wb.Predictions.from_table(table, label="truth", score="p") for table in made)
    >>> wb.audit.compare(old, new, metrics=["AUROC"]).table["verdict"].tolist()
    ['gains']
    """
    first, positive = two_classes(first, "first", positive)
    second, _ = two_classes(second, "second", positive)
    groups_by, chosen = entries(by), metrics_of(metrics)
    check_interval(level, replicates, seed)
    cuts = tuple(threshold) if isinstance(threshold, list | tuple) else (threshold, threshold)
    if len(cuts) != 2:
        message = f"threshold={threshold!r} must be one threshold for both models, or two: one of each."
        raise InputError(message)
    settings_of = [Setting(threshold=cut(each)) for each in cuts]
    told: tuple[str, ...] = ()
    if paired:
        attributes = [name for entry in groups_by for name in ((entry,) if isinstance(entry, str) else entry)]
        first, second, told = matched(first, second, attributes)
    _check_names(names)
    told += tuple(dict.fromkeys([*chosen_on(cuts[0], first), *chosen_on(cuts[1], second)]))
    design, part = joint_design({names[0]: first, names[1]: second}, groups_by, positive)
    values, drawn = _measured(design, part, chosen, settings_of, replicates=replicates, seed=seed)
    scored = rows_of(design, part == 0)
    rows: list[dict[str, Any]] = []
    gaps: list[dict[str, Any]] = []
    for metric in chosen:
        start = 0
        for partition in scored.partitions:
            places = slice(start, start + len(partition.names))
            start += len(partition.names)
            sides = values[metric.name][:, places], drawn[metric.name][:, places]
            rows += _rows(scored, partition, metric, sides, level)
            if partition.by:
                gaps.append(
                    {"metric": metric.name, "by": partition.by} | levelling(partition.names, metric, *sides, level)
                )
    table = pd.DataFrame(rows)
    table["p_holm"], table["p_bh"] = (adjust(table["p"].to_numpy()) for adjust in (holm, benjamini_hochberg))
    table["verdict"] = [_verdict(metric_of(str(row["metric"])), dict(row), level) for row in table.to_dict("records")]
    table = table[list(COLUMNS)]
    gap_table = pd.DataFrame(gaps)
    told += tuple(
        f"{row['metric']} by {row['by']}: {row['verdict']}."
        for row in gaps
        if str(row["verdict"]).startswith("levelling down")
    )
    if told:
        warnings.warn(" ".join(told), EvidenceWarning, stacklevel=2)
    settings = {
        "by": [list(entry) if isinstance(entry, tuple) else entry for entry in groups_by], "metrics": list(metrics),
        "threshold": [each.threshold for each in settings_of], "names": list(names), "paired": paired, "positive": positive,
        "level": float(level), "replicates": int(replicates),
    }  # fmt: skip
    parents = {"first": first.provenance, "second": second.provenance}
    provenance = Provenance("audit.compare", settings, digest(table, gap_table), parents, seed=seed)
    return Finding(
        "compare", "Two models compared", table, {"gaps": gap_table} if gaps else {}, _sentences(table, gaps, names, level),
        (_method(replicates, paired=paired),), told, settings | {"seed": int(seed)}, provenance,
    )  # fmt: skip


def _check_names(names: tuple[str, str]) -> None:
    if len(names) != 2 or names[0] == names[1]:
        message = f"names={names!r} must be two different names, one for each model."
        raise InputError(message)


def _measured(
    design: Design, part: np.ndarray, metrics: list[Metric], settings: list[Setting], *, replicates: int, seed: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values ``(2, G)`` and replicates ``(2, G, R)`` of each metric: the two models are two groups of one design."""
    everybody = Partition("", (ALL,), np.zeros(len(part), dtype=np.int64))
    split = [
        Partition(
            f"model × {one.by}", tuple(f"{model}: {name}" for model in (0, 1) for name in one.names),
            one.codes + part * len(one.names),
        )
        for one in design.partitions
    ]  # fmt: skip
    both = Design(design.scores, design.truth, design.patients, (everybody, *split), design.weights)
    found = [measure(both, metrics, at, replicates=replicates, seed=seed) for at in dict.fromkeys(settings)]
    # Everybody stands first; then, for each partition, the groups under the first model, and again under the second.
    sizes = [len(one.names) for one in design.partitions]
    starts = 1 + np.cumsum([0, *(2 * size for size in sizes)])[:-1]
    places = [
        np.concatenate([start + model * size + np.arange(size) for start, size in zip(starts, sizes, strict=True)])
        for model in (0, 1)
    ]
    enough = [
        {metric.name: carriers(both, metric, at).enough[place] for metric in metrics}
        for at, place in zip(settings, places, strict=True)
    ]
    values, drawn = {}, {}
    for name in (metric.name for metric in metrics):
        made = [
            np.where(fine[name], each.values[name][place], np.nan)
            for fine, each, place in zip(enough, (found[0], found[-1]), places, strict=True)
        ]
        values[name] = np.stack(made)
        drawn[name] = np.stack(
            [each.drawn[name][place] for each, place in zip((found[0], found[-1]), places, strict=True)]
        )
    return values, drawn


def _rows(
    design: Design, partition: Partition, metric: Metric, sides: tuple[np.ndarray, np.ndarray], level: float
) -> list[dict[str, Any]]:
    values, drawn = sides
    change, replicated = values[1] - values[0], drawn[1] - drawn[0]
    # Replicates of a biased metric (a calibration error) can all lie on one side of the change itself.
    low, high = (
        end(change, ends) for end, ends in zip((np.fmin, np.fmax), percentiles(replicated, level), strict=True)
    )
    p, still = p_zero(replicated), spread(replicated) == 0
    made = []
    for code, group in enumerate(partition.names):
        inside = partition.codes == code
        unknown, same = bool(np.isnan(change[code])), bool(still[code])
        none = unknown or same
        note = (
            "refused: fewer than 5 patients carry it under one of the models, or it is not defined" if unknown else ""
        )
        made.append(
            {
                "group": group, "by": partition.by, "metric": metric.name, "first": values[0, code], "second": values[1, code],
                "value": change[code], "low": np.nan if none else low[code], "high": np.nan if none else high[code],
                "p": np.nan if none else p[code], "n": int(inside.sum()), "positives": int(design.truth[inside].sum()),
                "patients": len(np.unique(design.patients[inside])),
                "note": "no replicate differs between the models: no interval" if same and not unknown else note,
            }
        )  # fmt: skip
    return made


def _verdict(metric: Metric, row: Mapping[Any, Any], level: float) -> str:
    if np.isnan(row["p"]):
        return "cannot be told" if np.isnan(row["value"]) else "the same"
    if row["p_holm"] > 1 - level:
        return "no difference shown"
    if np.isnan(metric.best):
        return "changes"
    return "gains" if abs(row["second"] - metric.best) < abs(row["first"] - metric.best) else "loses"


def _sentences(
    table: pd.DataFrame, gaps: list[dict[str, Any]], names: tuple[str, str], level: float
) -> tuple[str, ...]:
    said = []
    for row in table[table["group"] == ALL].to_dict("records"):
        interval = "" if np.isnan(row["low"]) else f" ({row['low']:+.3f} to {row['high']:+.3f}, {p_said(row['p'])})"
        sides = [
            f"{'not estimable' if np.isnan(row[side]) else format(row[side], '.3f')} with {name}"
            for side, name in zip(("first", "second"), names, strict=True)
        ]
        gap = "" if np.isnan(row["value"]) else f", a difference of {row['value']:+.3f}{interval}"
        said.append(f"{row['metric']}: {', '.join(sides)}{gap}.")
    groups = table[table["group"] != ALL]
    if len(groups):
        parts = []
        for verdict in ("gains", "loses"):
            found = groups[groups["verdict"] == verdict]
            parts.append(f"{len(found)} {verdict.removesuffix('s')}{_listed(found)}")
        others = len(groups) - int(groups["verdict"].isin(["gains", "loses"]).sum())
        rest = f"; of the other {others} no difference was shown" if others else ""
        said.append(
            f"With {names[1]} instead of {names[0]}, of {len(groups)} differences in groups {parts[0]} and {parts[1]} (Holm, "
            f"{level:.0%}){rest}."
        )
    said += [f"{row['metric']} by {row['by']}: {row['verdict']}." for row in gaps if row["verdict"]]
    return tuple(said)


def _listed(rows: pd.DataFrame) -> str:
    named = [f"{row['metric']} in {row['group']} {row['value']:+.3f}" for row in rows.to_dict("records")]
    return f" ({'; '.join(named[:6])}{'; …' if len(named) > 6 else ''})" if named else ""


def _method(replicates: int, *, paired: bool) -> str:
    same = "on the same images, matched by id" if paired else "on different images"
    return (
        f"Two models were compared {same}, with {replicates} bootstrap replicates of patients that both models and all groups "
        "share; intervals are percentiles of the differences, p-values where these intervals begin to hold zero, adjusted by "
        "Holm's and by Benjamini and Hochberg's method over all metrics and groups. A gap counts as levelled down by the part of "
        "its closing that is the loss of the group served better before."
    )

"""Where to cut: ``wb.audit.operating_point(tuning, rule=…)``, chosen on one set and carried to another."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.asked import check_interval, entries, refuse_few, share, two_classes
from workbench.audit.decisions.rates import rate_rows
from workbench.audit.decisions.sameness import BY_CHANCE, marks, shared
from workbench.audit.decisions.thresholds import Choice, Rule, choose
from workbench.audit.engine.replicates import percentiles, spread
from workbench.audit.estimation.evidence import ENOUGH, FEWEST
from workbench.audit.estimation.joint import joint_design
from workbench.audit.finding import Finding
from workbench.errors import EvidenceWarning, InputError
from workbench.groups import ALL
from workbench.predictions import SCORE
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.sample import Design
    from workbench.predictions import Predictions

BY_GROUP = (
    "Thresholds by group need the attribute of every patient at the time of use, treat two patients with the same score "
    "differently, and may be unlawful. They make one rate equal by moving others; look at all of them in the table 'carried'."
)
COLUMNS = (
    "group", "by", "metric", "value", "low", "high", "in_sample", "n", "positives", "patients", "method", "note",
)  # fmt: skip


def operating_point(
    tuning: Predictions,
    *,
    rule: str,
    target: float | None = None,
    cost: float | None = None,
    prevalence: float | None = None,
    by: Sequence[str | Sequence[str]] | str = (),
    test: Predictions | None = None,
    positive: str | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Finding:
    """Choose the threshold above which an image is called positive, on predictions that are not the test set's.

    Hand the finding on: ``wb.audit(test, threshold=point)``.

    Parameters
    ----------
    tuning : predictions to choose on. The rates found there flatter the threshold; what to expect of new patients
        stands beside them.
    rule : ``"fixed"`` (at `target`), ``"youden"`` (largest sensitivity + specificity), ``"sensitivity"`` (the highest
        threshold that finds at least `target` of the positives), ``"specificity"`` (the lowest that spares at least
        `target` of the negatives), ``"cost"`` (least expected cost). Equal thresholds: the most sensitive.
    target : 0–1.
    cost : of ``"cost"``: what a missed positive costs, in false alarms, above 0.
    prevalence : of ``"cost"``: share of positives where the threshold will be used, between 0 and 1; by default the
        tuning set's.
    by : attributes, or tuples to be crossed: a threshold for each group too.
    test : where the threshold is carried to; its rates there stand in the table ``"carried"``.
    positive : the positive class; by default the last of two.
    level, replicates, seed : of the intervals; patients are resampled and the threshold is chosen again each time.

    Returns
    -------
    Finding
        ``settings["threshold"]``, ``["rule"]``, ``["chosen_on"]`` (content of the tuning predictions) and, with `by`,
        ``["thresholds"]`` by group. Table: threshold, sensitivity and specificity of each group: `value` is what to
        expect of new patients at this threshold, `in_sample` what it was on the tuning set. Tables ``"carried"``: the rates at
        the threshold; ``"marks"``: hashes by which an audit of the same images is told.

    Raises
    ------
    InputError : where the rule does not fit its settings, the target cannot be reached, it is cheapest to call nobody
        positive, or the tuning set has fewer than 5 patients of a class.

    Warns
    -----
    EvidenceWarning : where few patients carry the choice, everybody is called positive, or `test` is `tuning`.

    References
    ----------
    Youden 1950, Cancer 3:32; Metz 1978, Semin Nucl Med 8:283 (cost); Efron 1983, J Am Stat Assoc 78:316 (optimism).

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 2, 400)
    >>> table = pd.DataFrame({"truth": truth, "p": (truth + 2 * rng.random(400)) / 3})
    >>> tuning = wb.Predictions.from_table(table, label="truth", score="p")
    >>> point = wb.audit.operating_point(tuning, rule="sensitivity", target=0.9)
    >>> round(point.settings["threshold"], 2)
    0.44
    """
    tuning, positive = two_classes(tuning, "tuning", positive)
    chosen_by = _rule(rule, target, cost, prevalence)
    check_interval(level, replicates, seed)
    groups_by = entries(by)
    parts = {"tuning": tuning} if test is None else {"tuning": tuning, "test": two_classes(test, "test", positive)[0]}
    design, part = joint_design(parts, groups_by, positive)
    found: list[tuple[str, str, np.ndarray, Choice | None]] = []
    for partition in design.partitions:
        for code, group in enumerate(partition.names):
            rows = partition.codes == code
            few = min(_carriers(design, rows & (part == 0)).values()) < FEWEST
            if not partition.by:
                refuse_few(_carriers(design, rows & (part == 0)), "the tuning set")
            made = None if few else choose(design, rows & (part == 0), chosen_by, replicates=replicates, seed=seed)
            found.append((group, partition.by, rows, made))
    table = pd.DataFrame(
        [
            row
            for group, by_, rows, made in found
            for row in _rows(design, rows & (part == 0), (group, by_), made, level)
        ],
        columns=list(COLUMNS),
    )
    carried = _carried(design, part, found, level)
    everybody = found[0][3]
    assert everybody is not None
    settings = {
        "threshold": everybody.threshold, "rule": rule, "target": target, "cost": cost, "prevalence": prevalence,
        "chosen_on": tuning.provenance.content, "positive": positive, "by": [list(e) if isinstance(e, tuple) else e for e in groups_by],
        "level": float(level), "replicates": int(replicates), "seed": int(seed),
    }  # fmt: skip
    if groups_by:
        settings["thresholds"] = {group: made.threshold for group, _, _, made in found[1:] if made is not None}
    marked = {role: marks(made.patients, made.table[SCORE + positive].to_numpy()) for role, made in parts.items()}
    told = _warnings(found, marked, groups_by=bool(groups_by))
    if told:
        warnings.warn(" ".join(told), EvidenceWarning, stacklevel=2)
    kept = {name: value for name, value in settings.items() if name != "seed"}
    parents = {role: made.provenance for role, made in parts.items()}
    tables = {"carried": carried, "marks": pd.DataFrame({"mark": marked["tuning"]})}
    provenance = Provenance("audit.operating_point", kept, digest(table, carried), parents, seed=seed)
    return Finding(
        "operating_point", "Operating point", table, tables, _sentences(table, carried, chosen_by, level),
        (_method(chosen_by, replicates, groups_by=bool(groups_by)),), told, settings, provenance,
    )  # fmt: skip


def _rule(rule: str, target: float | None, cost: float | None, prevalence: float | None) -> Rule:
    made = Rule(rule, target, cost, prevalence)
    if target is not None:
        share(target, "target")
    if prevalence is not None:
        share(prevalence, "prevalence", ends=False)
    if cost is not None and not 0 < cost < np.inf:
        message = (
            f"cost={cost!r} must be above 0: what a missed positive costs, in false alarms (10 for ten times as much)."
        )
        raise InputError(message)
    return made


def _carriers(design: Design, rows: np.ndarray) -> dict[str, int]:
    """Patients with positives, and with negatives."""
    sides = {"positives": design.truth, "negatives": ~design.truth}
    return {kind: len(np.unique(design.patients[rows & side])) for kind, side in sides.items()}


def _rows(
    design: Design, rows: np.ndarray, named: tuple[str, str], choice: Choice | None, level: float
) -> list[dict[str, Any]]:
    """Threshold, sensitivity and specificity of one group."""
    carriers = _carriers(design, rows)
    threshold = choice.threshold if choice is not None else np.nan
    closed = rate_rows(
        design, rows, design.scores >= threshold, rates=("sensitivity", "specificity"), level=level
    ) if rows.any() else []  # fmt: skip
    size = {
        "n": int(rows.sum()), "positives": int(design.truth[rows].sum()), "patients": len(np.unique(design.patients[rows])),
    }  # fmt: skip
    note = "; ".join(
        f"{'refused: ' if count < FEWEST else ''}only {count} patients with {kind}"
        for kind, count in carriers.items() if count < ENOUGH
    )  # fmt: skip
    start = {"group": named[0], "by": named[1]}
    if choice is None:
        nothing = {name: np.nan for name in ("value", "low", "high", "in_sample")}
        return [
            start | {"metric": metric, **nothing, **size, "method": "", "note": note}
            for metric in ("threshold", "sensitivity", "specificity")
        ]
    low, high = (np.clip(end, 0, 1) for end in percentiles(np.minimum(choice.thresholds, 1.0), level))
    method = "bootstrap of patients, threshold chosen anew"
    made = [
        start | {"metric": "threshold", "value": threshold, "low": float(low), "high": float(high), "in_sample": threshold}
        | size | {"method": method, "note": note}
    ]  # fmt: skip
    for row, rate, drawn in zip(
        closed, (choice.sensitivity, choice.specificity), (choice.sensitivities, choice.specificities), strict=True
    ):
        # A threshold that no replicate moves, or a rate that none changes, leaves the closed form.
        if float(spread(choice.thresholds)) == 0 or float(spread(drawn)) == 0:
            ends, value, how = (float(row["low"]), float(row["high"])), rate, str(row["method"])
        else:
            value, how = float(np.nanmean(drawn)), method
            # Where a threshold maximises something, replicates move it too little (measured: 88 % of 95 % intervals hold the
            # truth); the interval is never narrower than Wilson's around what is to be expected.
            low, high = percentiles(drawn, level)
            ends = (
                max(0.0, min(float(low), row["low"] + value - rate)),
                min(1.0, max(float(high), row["high"] + value - rate)),
            )
        made.append(
            start | {"metric": row["metric"], "value": value, "low": ends[0], "high": ends[1], "in_sample": rate}
            | size | {"method": how, "note": note}
        )  # fmt: skip
    return made


def _carried(
    design: Design, part: np.ndarray, found: list[tuple[str, str, np.ndarray, Choice | None]], level: float
) -> pd.DataFrame:
    """Rates of each group at its own threshold, on the tuning and on the test set."""
    made = []
    for place, role in enumerate(("tuning", "test")[: int(part.max()) + 1]):
        for group, by, rows, choice in found:
            inside = rows & (part == place)
            if choice is None or not inside.any():
                continue
            start = {"set": role, "group": group, "by": by, "threshold": choice.threshold}
            made += [start | row for row in rate_rows(design, inside, design.scores >= choice.threshold, level=level)]
    return pd.DataFrame(made)


def _warnings(
    found: list[tuple[str, str, np.ndarray, Choice | None]], marked: dict[str, list[str]], *, groups_by: bool
) -> tuple[str, ...]:
    told = []
    everything = [group for group, _, _, made in found if made is not None and made.everybody]
    if everything:
        told.append(f"The threshold calls every image positive in {', '.join(everything)}.")
    refused = [group for group, _, _, made in found if made is None]
    if refused:
        told.append(
            f"No threshold was chosen for {', '.join(refused)}: fewer than {FEWEST} patients of a class. Use that of everybody."
        )
    if shared(marked["tuning"], marked.get("test", [])) > BY_CHANCE:
        told.append(
            "The test set holds images of the tuning set: the threshold was chosen on images it is judged by, and its rates are "
            "too good."
        )
    return (*told, BY_GROUP) if groups_by else tuple(told)


def _sentences(table: pd.DataFrame, carried: pd.DataFrame, rule: Rule, level: float) -> tuple[str, ...]:
    row = {metric: table[(table["metric"] == metric) & (table["group"] == ALL)].iloc[0] for metric in table["metric"]}
    point = row["threshold"]
    said = [
        f"The threshold was {point['value']:.3f} ({rule}; {level:.0%} interval {point['low']:.3f}–{point['high']:.3f}), chosen on "
        f"{point['n']} images of {point['patients']} patients, {point['positives']} of them positive. There the sensitivity was "
        f"{row['sensitivity']['in_sample']:.3f} and the specificity {row['specificity']['in_sample']:.3f}; of new patients like "
        f"these, {_interval(row['sensitivity'])} and {_interval(row['specificity'])} are to be expected."
    ]
    test = carried[(carried["set"] == "test") & (carried["group"] == ALL)].set_index("metric")
    if len(test):
        parts = [f"{metric} {_interval(test.T[metric])}" for metric in ("sensitivity", "specificity")]
        said.append(f"Carried to the test set of {test['n'].iloc[0]} images, it had {' and '.join(parts)}.")
    return tuple(said)


def _interval(row: pd.Series) -> str:
    return f"{row['value']:.3f} ({row['low']:.3f}–{row['high']:.3f})"


def _method(rule: Rule, replicates: int, *, groups_by: bool) -> str:
    return (
        f"The operating point ({rule}) was chosen on the tuning set{', for everybody and for each group' if groups_by else ''}. In "
        f"{replicates} bootstrap replicates of patients it was chosen anew; the rates to expect are those of the tuning set, "
        "corrected by how much better each replicate's threshold did on its own patients than on the whole tuning set (optimism). "
        "Rates at the carried threshold have Wilson intervals that keep a patient's images together."
    )

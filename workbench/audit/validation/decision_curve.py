"""``wb.audit.decision_curve``: would patients be better off if the model decided?"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.asked import check_interval, entries, positive_class, share
from workbench.audit.engine.replicates import percentiles
from workbench.audit.estimation.evidence import FEWEST, Carrier, note
from workbench.audit.metric import Setting, metric_of
from workbench.audit.sample import design_of
from workbench.audit.validation.net_benefit import net_benefit
from workbench.audit.validation.net_benefit_words import methods, sentences, thin, uncalibrated
from workbench.audit.validation.pairing import Columns, Source, no_patients, predictions_of
from workbench.audit.validation.telling import told
from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.finding import Finding
    from workbench.audit.sample import Design
    from workbench.predictions import Predictions

BOOTSTRAP = "bootstrap of patients"


def decision_curve(
    predictions: Source | Mapping[str, Source], *, by: Sequence[str | Sequence[str]] | str = (),
    thresholds: Sequence[float] | None = None, prevalence: float | None = None, level: float = 0.95, replicates: int = 500,
    seed: int = 0, label: str | None = None, score: str | None = None, patient: str | None = None, id: str | None = None,
    positive: str | None = None,
) -> Finding:  # fmt: skip
    """Measure the net benefit of treating those whose score reaches a threshold, against treating all and treating none.

    At the threshold probability t a false alarm weighs t/(1 − t) of a missed case: that is what choosing t means. The net
    benefit is TP/n − FP/n · t/(1 − t), in true positives per patient. All of it supposes calibrated scores; the finding warns
    where they are not.

    Parameters
    ----------
    predictions : Predictions, a folder of saved ones, or anybody's table; or several by name, on the same images, whose
        differences are then told too.
    by : attributes to break down by, as in :func:`workbench.audit`.
    thresholds : threshold probabilities, between 0 and 1; by default 0.01 to 0.99. Give the range in which reasonable people
        would choose.
    prevalence : weigh every group to this share of positives, as after case–control sampling; by default as it is.
    level, replicates, seed : of the intervals, by the bootstrap over patients. They hold at one threshold at a time.
    label, score, patient, id, positive : as in :func:`workbench.audit.delong`; `score` is one column, or the models' names
        with a column each: ``predictions={"a": table, "b": table}, score={"a": "p1", "b": "p2"}``.

    Returns
    -------
    Finding
        `table`: a row for each model, group and threshold: ``value`` (net benefit), ``low, high``, `treat_all`, `gain` over
        the better of treating all and none with `gain_low`, `gain_high`, `standardised` (value / prevalence) and `avoided`
        (treatments avoided per 100 patients, against treating all, at equal true positives). Where fewer than five images are treated the bootstrap cannot tell how sure that is, and there is
        no interval. Table ``"differences"``: first
        model minus each other one. Table ``"calibration"``: slope, and observed over expected positives, of each model.

    Warns
    -----
    EvidenceWarning : where scores are not calibrated, or few patients carry a curve.

    Raises
    ------
    InputError : where models have different images, or a threshold or prevalence is out of range.

    References
    ----------
    Vickers & Elkin 2006, Med Decis Making 26:565; Kerr et al. 2016, J Clin Oncol 34:2534 (standardised); Vickers et al.
    2008, BMC Med Inform Decis Mak 8:53 (treatments avoided, intervals).

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> p = rng.beta(1, 3, 800)
    >>> scores = pd.DataFrame({"truth": (rng.random(800) < p).astype(int), "p": p, "who": range(800)})
    >>> found = wb.audit.decision_curve(scores, label="truth", score="p", patient="who", thresholds=[0.1, 0.3])
    >>> found.table[["threshold", "value", "treat_all"]].round(3)
       threshold  value  treat_all
    0        0.1  0.161      0.143
    1        0.3  0.085     -0.102
    """
    check_interval(level, replicates, seed)
    points = _points(thresholds, prevalence)
    models = _opened(predictions, Columns(label, None, patient, id), score)
    first = next(iter(models.values()))
    chosen, asked = positive_class(first, positive), entries(by)
    designs = {name: design_of(one, asked, chosen) for name, one in models.items()}
    curves = [
        Curve(name, design, *net_benefit(design, points, prevalence=prevalence, replicates=replicates, seed=seed))
        for name, design in designs.items()
    ]
    table = pd.concat([_rows(curve, points, prevalence, level) for curve in curves], ignore_index=True)
    calibration = pd.DataFrame([_calibration(name, designs[name]) for name in models])
    tables = {"differences": _differences(curves, points, level), "calibration": calibration}
    settings = {
        "by": [entry if isinstance(entry, str) else list(entry) for entry in asked], "thresholds": points.tolist(),
        "prevalence": prevalence, "level": float(level), "replicates": int(replicates), "positive": chosen, "seed": int(seed),
    }  # fmt: skip
    said = [sentence for sentence in [no_patients(first)] if sentence]
    said += uncalibrated(calibration) + thin(table)
    return told(
        "decision_curve", "Net benefit", table, sentences=sentences(table, tables["differences"], level), said=said,
        methods=methods(prevalence, level, replicates), settings=settings, tables=tables,
        parents={name: one.provenance for name, one in models.items()},
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Curve:
    """One model: net benefit of deciding by it, and of treating all, float64 ``(1 + R, G, T)``, the sample itself first; and
    how many images it treats, ``(G, T)``.
    """

    name: str
    design: Design
    value: np.ndarray
    treat_all: np.ndarray
    treated: np.ndarray


def _points(thresholds: Any, prevalence: float | None) -> np.ndarray:
    if prevalence is not None:
        share(prevalence, "prevalence", ends=False)
    if thresholds is None:
        return np.round(np.arange(1, 100) / 100, 2)
    given = list(thresholds) if isinstance(thresholds, Iterable) else [thresholds]
    outside = [one for one in given if not (isinstance(one, numbers.Real) and 0 < float(one) < 1)]
    if outside or not given:
        message = (
            f"threshold {outside[0] if outside else thresholds!r} must lie between 0 and 1: it is the probability of "
            "disease at which treating and waiting are worth the same."
        )
        raise InputError(message)
    return np.unique(np.asarray(given, dtype=np.float64))


def _opened(given: Source | Mapping[str, Source], columns: Columns, score: Any) -> dict[str, Predictions]:
    sources = dict(given) if isinstance(given, Mapping) else {"the model": given}
    if not sources:
        message = "predictions is empty: give at least one model."
        raise InputError(message)
    models: dict[str, Predictions] = {}
    for name, source in sources.items():
        column = score.get(name) if isinstance(score, Mapping) else score
        models[str(name)] = predictions_of(source, Columns(columns.label, column, columns.patient, columns.id))
    first, *others = models
    for other in others:
        if set(models[first].ids) != set(models[other].ids):
            common = len(set(models[first].ids) & set(models[other].ids))
            message = (
                f"{first!r} and {other!r} share {common} images, of {len(models[first])} and {len(models[other])}: curves are "
                "compared on the same images. Leave out those that one of them lacks, or ask for each model alone."
            )
            raise InputError(message)
        models[other] = models[other].subset(models[first].ids)
        labels = [np.nan_to_num(models[name].labels, nan=-1) for name in (first, other)]
        differ = np.flatnonzero((labels[0] != labels[1]).reshape(len(labels[0]), -1).any(1))
        if len(differ):
            message = (
                f"image {models[first].ids[differ[0]]!r} has different labels in {first!r} and {other!r}, and so have "
                f"{len(differ) - 1} more; the truth must be the same for all models."
            )
            raise InputError(message)
    return models


def _groups(design: Design) -> list[dict[str, Any]]:
    """Size and evidence of each group."""
    rows = []
    for sample in design.samples:
        carriers = [
            Carrier(kind, len(arm), len(arm.sizes))
            for kind, arm in (("positives", sample.positives), ("negatives", sample.negatives))
        ]
        rows.append(
            {"group": sample.group, "by": sample.by, "n": sample.n, "positives": len(sample.positives),
             "patients": sample.patients, "note": note(carriers)}
        )  # fmt: skip
    return rows


def _rows(curve: Curve, points: np.ndarray, prevalence: float | None, level: float) -> pd.DataFrame:
    value, treat_all = curve.value, curve.treat_all
    default = np.maximum(treat_all[0], 0)
    # Against the strategy that is better in the sample, at each threshold.
    gain = value - np.where(treat_all[0] > 0, treat_all, 0.0)
    odds = points / (1 - points)
    parts = []
    for place, group in enumerate(_groups(curve.design)):
        share = group["positives"] / group["n"] if prevalence is None else prevalence
        low, high = percentiles(value[1:, place].T, level)
        gain_low, gain_high = percentiles(gain[1:, place].T, level)
        few = curve.treated[place] < FEWEST
        low, high, gain_low, gain_high = (np.where(few, np.nan, bound) for bound in (low, high, gain_low, gain_high))
        numbers = {
            "value": value[0, place], "low": low, "high": high, "treat_all": treat_all[0, place],
            "gain": value[0, place] - default[place], "gain_low": gain_low, "gain_high": gain_high,
            "standardised": value[0, place] / share if share else np.full(len(points), np.nan),
            "avoided": 100 * (value[0, place] - treat_all[0, place]) / odds,
        }  # fmt: skip
        refused = group["note"].startswith(("refused", "not estimable")) or "; refused" in group["note"]
        numbers = {key: np.where(refused, np.nan, column) for key, column in numbers.items()}
        head = {"model": curve.name, "group": group["group"], "by": group["by"], "threshold": points}
        tail = {key: group[key] for key in ("n", "positives", "patients")} | {
            "method": BOOTSTRAP,
            "note": group["note"],
        }
        parts.append(pd.DataFrame(head | numbers | tail))
    return pd.concat(parts, ignore_index=True)


def _differences(curves: list[Curve], points: np.ndarray, level: float) -> pd.DataFrame:
    first, *others = curves
    parts = []
    for other in others:
        lead = first.value - other.value
        for place, group in enumerate(_groups(first.design)):
            low, high = percentiles(lead[1:, place].T, level)
            few = np.minimum(first.treated[place], other.treated[place]) < FEWEST
            low, high = np.where(few, np.nan, low), np.where(few, np.nan, high)
            parts.append(
                pd.DataFrame({"model": first.name, "reference": other.name, "group": group["group"], "threshold": points,
                              "value": lead[0, place], "low": low, "high": high, "n": group["n"], "note": group["note"]})
            )  # fmt: skip
    columns = ["model", "reference", "group", "threshold", "value", "low", "high", "n", "note"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)


def _calibration(name: str, design: Design) -> dict[str, Any]:
    of_rows = metric_of("calibration slope").of_rows
    assert of_rows is not None
    slope = float(of_rows(design.truth, design.scores, design.weights[None], Setting())[0])
    observed, expected = (float((side * design.weights).sum()) for side in (design.truth, design.scores))
    return {"model": name, "slope": slope, "observed_over_expected": observed / expected if expected else np.inf}

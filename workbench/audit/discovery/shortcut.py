"""Does the model take a shortcut: ``wb.audit.shortcut([(scores, embeddings), …], "sex")``."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from workbench.audit.discovery.cases import Cases, Images, cases_of, checked, found, known_attribute, positive_class
from workbench.audit.discovery.conflict import conflict_sentences, conflict_table, sides_of
from workbench.audit.discovery.probing import judged, target_of
from workbench.audit.engine.measure import measure
from workbench.audit.estimation.evidence import FEWEST
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.paper import p_text
from workbench.audit.sample import Design
from workbench.errors import InputError, unknown_name
from workbench.groups import MISSING, MOST_VALUES, partitions
from workbench.intervals import normal_quantile
from workbench.predictions import SCORE, Predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.finding import Finding

FEWEST_MODELS = 5
REPLICATES = 500
# Up to this many models all orders are tried; 8! = 40,320.
EXACT = 8
DRAWS = 9999
GAPS = {
    "equalised odds": ("sensitivity", "specificity"), "sensitivity": ("sensitivity",), "specificity": ("specificity",),
    "AUROC": ("AUROC",),
}  # fmt: skip


def shortcut(
    models: Predictions | Sequence[tuple[Predictions, np.ndarray | pd.DataFrame]], attribute: str, *,
    training: Images | None = None, gap: str = "equalised odds", threshold: float = 0.5, positive: str | None = None,
    level: float = 0.95, seed: int = 0,
) -> Finding:  # fmt: skip
    """Ask whether a model's unfairness comes of its using an attribute.

    Of several models, trained alike but for how far they may encode the attribute (strengths of an adversarial or a helping
    head, seeds, checkpoints), the encoding is set against the gap between groups: if the models that encode more are the
    less fair ones, a shortcut explains the gap (Brown et al.). Of one model, its errors are compared where the attribute
    agrees with what the label mostly was in training, and where it conflicts.

    Parameters
    ----------
    models : five or more pairs of predictions and embeddings of the same images; or the predictions of one model.
    attribute : of the images.
    training : needed for one model: the cohort (or predictions) that it learned from.
    gap : of several models: ``"equalised odds"`` (mean of the ranges of sensitivity and specificity over groups), or the
        range of ``"sensitivity"``, ``"specificity"`` or ``"AUROC"``.
    threshold : images with a score at or above it are called positive.
    positive : the positive class; by default the last of two.
    level : of intervals.
    seed : of folds, bootstrap and permutations.

    Returns
    -------
    Finding
        Of several models, `table` has one row: Spearman's correlation of encoding and gap, and table ``"models"`` one row each.
        Of one model, a row each for sensitivity, specificity and balanced accuracy, aligned − conflicting.

    Raises
    ------
    InputError : where there are two to four models, they do not score the same images, or `training` is missing.

    References
    ----------
    Brown et al. 2023, Nat Commun, s41467-023-39902-7 (ShorT); Bonett & Wright 2000, Psychometrika 65:23 (interval of
    Spearman's correlation).
    """
    checked("threshold", threshold, 0, 1, "scores are probabilities, and so is the threshold")
    checked("level", level, 0.5, 0.999, "0.95 is usual")
    if gap not in GAPS:
        raise unknown_name("gap", gap, GAPS)
    settings = {"attribute": attribute, "threshold": threshold, "positive": positive, "level": level}
    if isinstance(models, Predictions):
        answer = _one(models, attribute, training, settings)
    else:
        answer = _several(list(models), attribute, gap, settings, seed)
    return found("shortcut", f"Is {attribute} a shortcut?", **answer)


def _one(predictions: Predictions, attribute: str, training: Images | None, settings: dict[str, Any]) -> dict[str, Any]:
    if training is None:
        message = (
            "for one model the set it learned from is needed, training=cohort, to know which groups go with the label; or give "
            f"{FEWEST_MODELS} or more pairs (predictions, embeddings) of models that encode the attribute more and less."
        )
        raise InputError(message)
    cases, learned = cases_of(predictions), cases_of(training)
    for column in (known_attribute(cases, attribute), known_attribute(learned, attribute)):
        if pd.api.types.is_numeric_dtype(column) and column.nunique() > MOST_VALUES:
            message = (
                f"attribute {attribute!r} is a number; cut it into the same bands in both sets (pd.cut), so that a group of the training "
                "set is one of the tested images, too."
            )
            raise InputError(message)
    chosen, level = positive_class(cases, settings["positive"]), settings["level"]
    sides = sides_of(learned, attribute, chosen)
    truth = (cases.table["label"].astype(str) == chosen).to_numpy(dtype=bool)
    called = cases.table[SCORE + chosen].to_numpy(dtype=np.float64) >= settings["threshold"]
    table = conflict_table(cases, attribute, sides, truth=truth, called=called, level=level)
    thin = table[table["note"] != ""]
    return {
        "table": table, "tables": {}, "sentences": conflict_sentences(table, sides, attribute, level),
        "methods": [
            f"Groups of {attribute} were called high or low by whether the positive class is commoner in them, in the training "
            "set, than in all. Positives of high groups and negatives of low groups (aligned) were compared with all others "
            f"(conflicting) at the threshold {settings['threshold']:g}, with the images of a patient kept together (Holm over the three rows)."
        ],
        "cautions": [f"Too few patients: {thin['note'].iloc[0]}." if len(thin) else ""],
        "settings": settings, "parents": {"predictions": predictions.provenance, "training": training.provenance},
    }  # fmt: skip


def _several(
    models: list[Any], attribute: str, gap: str, settings: dict[str, Any], seed: int
) -> dict[str, Any]:  # fmt: skip
    if len(models) < FEWEST_MODELS:
        message = (
            f"{len(models)} model(s) given; a correlation over fewer than {FEWEST_MODELS} says nothing. Train the same network with "
            "other seeds, keep its checkpoints, or, best, give it a head that learns or unlearns the attribute with several "
            "strengths. For one model give its predictions alone, and training=."
        )
        raise InputError(message)
    level = settings["level"]
    rows, first = [], set(models[0][0].ids)
    for place, (predictions, embeddings) in enumerate(models):
        if set(predictions.ids) != first:
            message = f"model {place} scores other images than model 0; all models must score the same ones."
            raise InputError(message)
        cases = cases_of(predictions, embeddings)
        encoding = judged(target_of(cases, attribute), None, permuted=0, level=level, seed=seed)
        value, error = _gap(cases, attribute, gap, settings, seed)
        rows.append((place, encoding.value, *encoding.interval, value, error))
    names = ["model", "encoding", "encoding_low", "encoding_high", "gap", "gap_error"]
    each = pd.DataFrame(rows, columns=names)
    rho, low, high, p = correlation(each["encoding"].to_numpy(), each["gap"].to_numpy(), level=level, seed=seed)
    table = pd.DataFrame(
        {"group": ["models"], "by": [attribute], "metric": ["Spearman's ρ of encoding and gap"], "value": [rho], "low": [low],
         "high": [high], "p": [p], "n": [len(models)]}
    )  # fmt: skip
    spread = each["encoding"].max() - each["encoding"].min()
    width = (each["encoding_high"] - each["encoding_low"]).median()
    narrow = (
        f"The models hardly differ in how far they encode {attribute} ({each['encoding'].min():.2f} to {each['encoding'].max():.2f}, with "
        f"intervals {width:.2f} wide): such models cannot tell. Let a head unlearn it with several strengths."
    )
    return {
        "table": table, "tables": {"models": each}, "sentences": _sentences(each, table.iloc[0], attribute, gap, level),
        "methods": [
            f"For each of {len(models)} models, the encoding of {attribute} is how well a linear probe reads it from the embeddings "
            f"(nested cross-validation grouped by patient); the gap is {_gap_words(gap)}. They were correlated over models by "
            f"Spearman's ρ, with Bonett and Wright's interval and a p-value from "
            f"{'all' if len(models) <= EXACT else f'{DRAWS:,} random'} permutations of models."
        ],
        "cautions": [
            narrow if spread < width else "",
            "With so few models only a very strong correlation can be found." if len(models) < 10 else "",
        ],
        "settings": settings | {"gap": gap},
        "parents": {f"model {place}": predictions.provenance for place, (predictions, _) in enumerate(models)}, "seed": seed,
    }  # fmt: skip


def _gap(cases: Cases, attribute: str, gap: str, settings: dict[str, Any], seed: int) -> tuple[float, float]:
    """Range of the metrics over known groups with 5 patients of each class, and its bootstrap standard error."""
    positive = positive_class(cases, settings["positive"])
    truth = (cases.table["label"].astype(str) == positive).to_numpy(dtype=bool)
    everybody, part = partitions(cases, [attribute])
    scores = cases.table[SCORE + positive].to_numpy(dtype=np.float64)
    design = Design(scores, truth, cases.patients, (everybody, part), np.ones(len(truth)))
    enough = [
        min(len(sample.positives.sizes), len(sample.negatives.sizes)) >= FEWEST
        and not sample.group.endswith(f"={MISSING}")
        for sample in design.samples[1:]
    ]
    if sum(enough) < 2:
        message = f"fewer than two groups of {attribute!r} have {FEWEST} patients with and without a positive image: there is no gap to tell."
        raise InputError(message)
    setting = Setting(threshold=settings["threshold"])
    measured = measure(design, metrics_of(GAPS[gap]), setting, replicates=REPLICATES, seed=seed)
    chosen = np.flatnonzero(enough) + 1
    value = np.mean([np.ptp(measured.values[name][chosen]) for name in GAPS[gap]])
    drawn = np.mean([np.ptp(measured.drawn[name][chosen], axis=0) for name in GAPS[gap]], axis=0)
    return float(value), float(np.nanstd(drawn, ddof=1))


def correlation(first: np.ndarray, second: np.ndarray, *, level: float, seed: int) -> tuple[float, float, float, float]:
    """Spearman's correlation, its interval, and a two-sided p-value by permutation (exact up to `EXACT` pairs)."""
    ranks = [stats.rankdata(values) for values in (first, second)]
    if min(np.ptp(values) for values in ranks) == 0:
        return math.nan, math.nan, math.nan, math.nan
    a, b = ((values - values.mean()) / values.std() for values in ranks)
    count = len(a)
    if count <= EXACT:
        orders = np.array(list(itertools.permutations(range(count))))
    else:
        generator = np.random.default_rng([seed, 6])
        orders = np.array([np.arange(count), *(generator.permutation(count) for _ in range(DRAWS))])
    null = b[orders] @ a / count
    rho = float(null[0])
    p = float((np.abs(null) >= abs(rho) - 1e-12).mean())
    if abs(rho) > 1 - 1e-12:
        return rho, math.nan, math.nan, p
    half = normal_quantile(level) * math.sqrt((1 + rho**2 / 2) / (count - 3))
    return rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half), p


def _gap_words(gap: str) -> str:
    ranges = (
        "the mean of the ranges of sensitivity and specificity" if gap == "equalised odds" else f"the range of {gap}"
    )
    return f"{ranges} over its groups"


def _sentences(each: pd.DataFrame, row: Any, attribute: str, gap: str, level: float) -> list[str]:
    said = [
        f"Over {len(each)} models, {attribute} is read from the embeddings with {each['encoding'].min():.2f} to "
        f"{each['encoding'].max():.2f}, and the gap ({gap}) is {each['gap'].min():.2f} to {each['gap'].max():.2f}."
    ]
    if math.isnan(row["value"]):
        return [*said, "All models encode it alike, or are as unfair as each other: there is no correlation to tell."]
    interval = "" if math.isnan(row["low"]) else f"{100 * level:g} % interval {row['low']:+.2f} to {row['high']:+.2f}, "
    said.append(f"Spearman's correlation of encoding and gap is {row['value']:+.2f} ({interval}p {p_text(row['p'])}).")
    if not row["p"] <= 1 - level:
        said.append(f"So it is not shown that using {attribute} makes the gap; nor that it does not.")
    elif row["value"] > 0:
        said.append(
            f"Models that encode {attribute} more are the less fair ones, as they are where it is a shortcut. How the models were made "
            "to differ decides how far this shows a cause: it does where nothing but the encoding was changed."
        )
    else:
        said.append(f"Models that encode {attribute} more are the fairer ones: the gap does not come of encoding it.")
    return said

"""A metric along a continuous attribute: ``wb.audit.along(predictions, "age", "sensitivity")``, without cutting it into bands."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.asked import check_interval, cut, two_classes
from workbench.audit.decisions.cutting import chosen_on
from workbench.audit.engine.measure import measure
from workbench.audit.engine.replicates import Band, percentiles, spread, together
from workbench.audit.estimation.evidence import ENOUGH, FEWEST
from workbench.audit.estimation.joint import rows_of
from workbench.audit.finding import Finding
from workbench.audit.metric import NEGATIVES, POSITIVES, Metric, Setting, metric_of
from workbench.audit.paper import p_said
from workbench.audit.sample import Design, design_of
from workbench.errors import EvidenceWarning, InputError, unknown_name
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from workbench.predictions import Predictions

# Silverman's rule for a Gaussian kernel, 1.06 σ n^(−1/5) (1986, eq. 3.28), and how much wider Epanechnikov's is for the same
# smoothing (ratio of canonical bandwidths, 1.7188 / 0.7764).
SILVERMAN, EPANECHNIKOV = 1.06, 2.2138


def along(
    predictions: Predictions,
    attribute: str,
    metric: str = "AUROC",
    *,
    bandwidth: float | None = None,
    points: int = 25,
    threshold: float | Finding = 0.5,
    positive: str | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    seed: int = 0,
) -> Finding:
    """Follow a metric along a continuous attribute, age say, as a smooth curve with a band that holds for the whole of it.

    At each point the metric is that of all images, weighted by how near their attribute is (Epanechnikov's kernel: none
    beyond one bandwidth).

    Parameters
    ----------
    predictions : scores with labels and attributes.
    attribute : a column of numbers.
    metric : name of a metric of two classes.
    bandwidth : in units of the attribute, above 0. By default Silverman's rule with the number of patients that carry the metric.
    points : of the curve, 5–200, evenly between the 2.5 % and the 97.5 % quantile of the attribute.
    threshold : 0–1, or what :func:`workbench.audit.operating_point` found.
    positive : the positive class; by default the last of two.
    level, replicates, seed : of the intervals; all points share the replicates of patients.

    Returns
    -------
    Finding
        Table, a row a point: `at` (the attribute), `value`, `low`, `high` (this point alone), `band_low`, `band_high` (the whole
        curve at once), `effective` (patients that carry the point, by Kish's formula) and `note` where they are few: below 20
        grey, below 5 refused. ``settings["bandwidth"]``.

    Raises
    ------
    InputError : where the attribute is unknown, not numbers, or has fewer than 5 values; or a setting out of range.

    Warns
    -----
    EvidenceWarning : where points rest on few patients, or images are left out because their attribute is missing.

    Notes
    -----
    The band is that of the smoothed curve. What changes within a bandwidth is flattened, and at the ends the curve leans
    towards the inside, where its images are.

    References
    ----------
    Nadaraya 1964, Theory Probab Appl 9:141; Watson 1964, Sankhyā A 26:359; Silverman 1986, Density Estimation, eq. 3.28;
    Marron & Nolan 1988, Stat Probab Lett 7:195 (canonical bandwidths).

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> age, truth = rng.integers(20, 80, 2000), rng.integers(0, 2, 2000)
    >>> p = 1 / (1 + np.exp(-(rng.normal(size=2000) + truth * (3 - age / 40))))
    >>> table = pd.DataFrame({"truth": truth, "p": p, "age": age})
    >>> curve = wb.audit.along(wb.Predictions.from_table(table, label="truth", score="p"), "age", replicates=100)
    >>> bool(curve.table["value"].iloc[0] > curve.table["value"].iloc[-1] + 0.1)
    True
    """
    predictions, positive = two_classes(predictions, "predictions", positive)
    asked, at = metric_of(metric), Setting(threshold=cut(threshold))
    check_interval(level, replicates, seed)
    if not 5 <= points <= 200:
        message = f"points={points} lies outside 5–200; 25 draw a smooth curve."
        raise InputError(message)
    design = design_of(predictions, (), positive)
    numbers = _numbers(predictions, attribute)
    known = np.isfinite(numbers)
    missing = int((~known).sum())
    design, numbers = rows_of(design, known), numbers[known]
    arms = _arms(design, asked, at)
    wide = _bandwidth(numbers, design, arms) if bandwidth is None else float(bandwidth)
    if not 0 < wide < np.inf:
        message = f"bandwidth={bandwidth!r} must be above 0, in units of {attribute!r}."
        raise InputError(message)
    ends = np.quantile(numbers, [0.025, 0.975])
    grid = np.linspace(float(ends[0]), float(ends[1]), points)
    values, drawn, effective, counts = _curve(
        design, (numbers, grid, wide), (asked, at), arms, replicates=replicates, seed=seed
    )
    everybody = measure(design, [asked], at, replicates=replicates, seed=seed)
    overall = float(everybody.values[asked.name][0]), everybody.drawn[asked.name][0]
    low, high = percentiles(drawn, level)
    band = _band(asked, values, drawn, level)
    apart = together(values - overall[0], drawn - overall[1], level)
    table = pd.DataFrame(
        {
            "at": grid, "metric": asked.name, "value": values, "low": low, "high": high, "band_low": band.low, "band_high": band.high,
            "effective": effective, "n": counts, "note": [_note(size) for size in effective],
        }
    )  # fmt: skip
    table.loc[np.isnan(values) | (spread(drawn) == 0), ["low", "high"]] = np.nan
    flat = float(np.nanmin(apart.p)) if np.isfinite(apart.p).any() else float("nan")
    settings = {
        "attribute": attribute, "metric": metric, "bandwidth": wide, "points": points, "threshold": at.threshold,
        "positive": positive, "level": float(level), "replicates": int(replicates), "overall": overall[0], "p_flat": flat,
    }  # fmt: skip
    told = chosen_on(threshold, predictions) + _warnings(table, missing, attribute)
    if told:
        warnings.warn(" ".join(told), EvidenceWarning, stacklevel=2)
    provenance = Provenance("audit.along", settings, digest(table), {"predictions": predictions.provenance}, seed=seed)
    return Finding(
        "along", f"{metric} along {attribute}", table, {}, _sentences(table, attribute, overall[0], flat),
        (_method(attribute, wide, level, replicates),), told, settings | {"seed": int(seed)}, provenance,
    )  # fmt: skip


def _numbers(predictions: Predictions, attribute: str) -> np.ndarray:
    if attribute not in predictions.attributes:
        raise unknown_name("attribute", attribute, predictions.attributes)
    column = predictions.table[attribute]
    if not pd.api.types.is_numeric_dtype(column):
        message = f"attribute {attribute!r} holds text ({column.dropna().iloc[0]!r}); a curve needs numbers. Groups: wb.audit(…, by=…)."
        raise InputError(message)
    if column.nunique() < 5:
        message = f"attribute {attribute!r} has only {column.nunique()} values; audit it as groups, wb.audit(…, by=[{attribute!r}])."
        raise InputError(message)
    return column.to_numpy(dtype=np.float64, na_value=np.nan)


def _arms(design: Design, metric: Metric, at: Setting) -> list[np.ndarray]:
    """Which rows carry the metric, bool ``(n,)`` for each arm it needs."""
    if metric.share is not None:
        return [metric.share(design.truth, design.scores, at)[:, 0] > 0]
    sides = {POSITIVES: design.truth, NEGATIVES: ~design.truth}
    return [sides[arm] for arm in metric.arms] or [np.ones(len(design.truth), dtype=bool)]


def _bandwidth(numbers: np.ndarray, design: Design, arms: list[np.ndarray]) -> float:
    patients = min(len(np.unique(design.patients[arm])) for arm in arms)
    return float(EPANECHNIKOV * SILVERMAN * numbers.std() * max(patients, 1) ** -0.2)


def _curve(
    design: Design,
    place: tuple[np.ndarray, np.ndarray, float],
    asked: tuple[Metric, Setting],
    arms: list[np.ndarray],
    *,
    replicates: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values ``(T,)``, replicates ``(T, R)``, effective patients and images of each point; NaN where too few carry it."""
    numbers, grid, wide = place
    metric, at = asked
    values, drawn = np.full(len(grid), np.nan), np.full((len(grid), replicates), np.nan)
    effective, counts = np.zeros(len(grid)), np.zeros(len(grid), dtype=np.int64)
    for point, centre in enumerate(grid):
        kernel = np.maximum(1 - ((numbers - centre) / wide) ** 2, 0) * design.weights
        near = kernel > 0
        counts[point] = int(near.sum())
        effective[point] = min(_effective(kernel[arm], design.patients[arm]) for arm in arms)
        if effective[point] < FEWEST:
            continue
        here = rows_of(design, near)
        here = Design(here.scores, here.truth, here.patients, here.partitions, kernel[near])
        found = measure(here, [metric], at, replicates=replicates, seed=seed)
        values[point], drawn[point] = found.values[metric.name][0], found.drawn[metric.name][0]
    return values, drawn, effective, counts


def _effective(weights: np.ndarray, patients: np.ndarray) -> float:
    """Kish's number of patients, (Σw)² / Σw²."""
    if not len(weights) or not weights.any():
        return 0.0
    held = np.bincount(patients, weights=weights)
    return float(held.sum() ** 2 / (held**2).sum())


def _band(metric: Metric, values: np.ndarray, drawn: np.ndarray, level: float) -> Band:
    """Band of the whole curve, on the logit scale where the metric lies in 0–1, so that it stays there."""
    if tuple(metric.bounds) != (0, 1):
        return together(values, drawn, level)
    inside = np.where((values > 0) & (values < 1), values, np.nan)
    # The slope of the logit at the value: replicates of 0 and 1 have no logit of their own.
    slope = 1 / (inside * (1 - inside))
    odds = np.log(inside / (1 - inside))
    made = together(odds, odds[:, None] + (drawn - inside[:, None]) * slope[:, None], level)
    return Band(1 / (1 + np.exp(-made.low)), 1 / (1 + np.exp(-made.high)), made.p, made.width)


def _note(effective: float) -> str:
    if effective < FEWEST:
        return f"refused: {effective:.1f} effective patients; at least {FEWEST} are needed"
    return f"only {effective:.0f} effective patients: wide interval, do not rely on it" if effective < ENOUGH else ""


def _warnings(table: pd.DataFrame, missing: int, attribute: str) -> tuple[str, ...]:
    told = []
    if missing:
        told.append(
            f"{missing} images are left out because their {attribute!r} is missing; audit them as a group of their own."
        )
    few = int((table["note"] != "").sum())
    if few:
        told.append(f"{few} of {len(table)} points of the curve rest on fewer than {ENOUGH} effective patients.")
    return tuple(told)


def _sentences(table: pd.DataFrame, attribute: str, overall: float, flat: float) -> tuple[str, ...]:
    known = table[table["value"].notna()]
    if not len(known):
        return (f"No point along {attribute} has enough patients.",)
    ends = [known.iloc[int(place)].to_dict() for place in (known["value"].argmin(), known["value"].argmax())]
    low, high = (f"{row['value']:.3f}{_banded(row)} at {attribute} {row['at']:.3g}" for row in ends)
    shown = f"{p_said(flat)} for a curve that does not move" if np.isfinite(flat) else "whether it moves cannot be told"
    return (f"{ends[0]['metric']} was {overall:.3f} overall; along {attribute} it ran from {low} to {high}; {shown}.",)


def _banded(row: dict[Any, Any]) -> str:
    return "" if np.isnan(row["band_low"]) else f" (band {row['band_low']:.3f}–{row['band_high']:.3f})"


def _method(attribute: str, wide: float, level: float, replicates: int) -> str:
    return (
        f"The metric was estimated along {attribute} with Epanechnikov's kernel (bandwidth {wide:.3g}, weights falling to none there), "
        f"with {replicates} bootstrap replicates of patients shared by all points; the {level:.0%} band holds for the whole smoothed "
        "curve at once (max-T; on the logit scale for metrics within 0–1)."
    )

"""From predictions and settings to the tables of an audit."""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.asked import share, whole
from workbench.audit.decisions.cutting import cut_by_group
from workbench.audit.engine.measure import measure
from workbench.audit.estimation.estimates import Estimates, Reading
from workbench.audit.estimation.gaps import against
from workbench.audit.estimation.permutation import permuted
from workbench.audit.estimation.roster import Roster
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.sample import design_of
from workbench.audit.tables import adjusted, gap_tables, metric_table
from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workbench.audit.sample import Design
    from workbench.predictions import Predictions

BINARY, MULTILABEL = "binary", "multilabel"
DEFAULTS = {
    BINARY: ("AUROC", "sensitivity", "specificity", "PPV", "NPV", "Brier score"),
    "multiclass": ("macro AUROC", "accuracy", "balanced accuracy", "macro F1", "Brier score"),
    "regression": ("MAE", "bias", "lower limit of agreement", "upper limit of agreement", "R²"),
}


@dataclass(frozen=True, eq=False)
class Read:
    """The tables of an audit, the designs they speak of, and how wide the tables' bands are in standard errors."""

    table: pd.DataFrame
    gaps: pd.DataFrame
    ratios: pd.DataFrame
    designs: list[Design]
    widths: dict[str, float | None]


def task_of(predictions: Predictions, positive: str | None) -> str:
    """Return what is audited: ``"binary"`` (two classes, one against all others, one finding) or the predictions' task."""
    if predictions.task == MULTILABEL:
        return MULTILABEL if positive is None and len(predictions.classes) > 1 else BINARY
    if predictions.task != "classification":
        return predictions.task
    return BINARY if positive is not None or len(predictions.classes) == 2 else "multiclass"


def defaults(predictions: Predictions, task: str) -> list[str]:
    """Return the metrics that are shown where none is asked for."""
    if task == "segmentation":
        return [f"mean {measure}" for measure in predictions.classes]
    return list(DEFAULTS[BINARY if task == MULTILABEL else task])


def read(predictions: Predictions, settings: Mapping[str, Any]) -> Read:
    """Measure everything and make the tables: one after the other for the findings of a multi-label task.

    Bands of several findings hold for all of them at once (Bonferroni over findings, max-T within one).
    """
    if settings["task"] != MULTILABEL:
        return _read(predictions, settings, settings["positive"], settings["level"])
    level = 1 - (1 - settings["level"]) / len(predictions.classes)
    found = [_read(predictions, settings, finding, level) for finding in predictions.classes]
    table, gaps, ratios = (
        pd.concat(
            [
                getattr(one, name).assign(**{"class": finding})
                for one, finding in zip(found, predictions.classes, strict=True)
            ],
            ignore_index=True,
        )
        for name in ("table", "gaps", "ratios")
    )
    gaps = adjusted(gaps)
    ratios = ratios.assign(p_holm=gaps["p_holm"], p_bh=gaps["p_bh"])
    return Read(table, gaps, ratios, [one.designs[0] for one in found], {"band": None, "gap_band": None})


def _read(predictions: Predictions, settings: Mapping[str, Any], positive: str | None, level: float) -> Read:
    design = design_of(predictions, settings["by"], positive)
    reading = replace(reading_of(settings), joint_level=level)
    if settings["thresholds"] is not None:
        reading = replace(reading, metrics=tuple(cut_by_group(reading.metrics, settings["thresholds"], design)))
    asked = {"replicates": settings["replicates"], "seed": settings["seed"]}
    measured = measure(design, reading.metrics, reading.setting, **asked)
    estimates = Estimates(Roster(design), reading, measured)
    table, width = metric_table(estimates)
    held_against = against(estimates, settings["reference"])
    gaps, ratios, gap_width = gap_tables(estimates, held_against)
    if settings["permutations"]:
        found = permuted(estimates, held_against, permutations=settings["permutations"], seed=settings["seed"])
        p = [found.get((metric, group), math.nan) for metric, group in zip(gaps["metric"], gaps["group"], strict=True)]
        gaps, ratios = (
            table.assign(p_permutation=np.where(table["p"].isna(), math.nan, p)) for table in (gaps, ratios)
        )
    widths = {name: None if math.isnan(one) else one for name, one in (("band", width), ("gap_band", gap_width))}
    return Read(table, gaps, ratios, [design], widths)


def reading_of(settings: Mapping[str, Any], threshold: float | None = None) -> Reading:
    """Turn an audit's settings into what its tables are read by, at its own or at another threshold."""
    cut = settings["threshold"] if threshold is None else threshold
    asked: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings["asked"].items()
    }
    task = BINARY if settings["task"] == MULTILABEL else settings["task"]
    metrics = metrics_of(settings["metrics"], task, settings["classes"] if task == "segmentation" else ())
    return Reading(
        tuple(metrics), Setting(threshold=cut, prevalence=settings["prevalence"], **asked), settings["level"],
        settings["level"], settings["interval"], settings["enough"], settings["fewest"],
    )  # fmt: skip


def setting_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Check further settings of metrics by their names and ranges.

    Raises
    ------
    InputError : where a name is unknown or a value out of range.
    """
    known = [field.name for field in fields(Setting) if field.name not in ("threshold", "prevalence")]
    for name in asked:
        if name not in known:
            raise unknown_name("setting", name, known)
    made = Setting(**asked)
    for name in ("specificity", "sensitivity"):
        share(getattr(made, name), name, ends=False)
    ends = made.partial if isinstance(made.partial, list | tuple) else ()
    if not (len(ends) == 2 and all(isinstance(end, numbers.Real) for end in ends) and 0 <= ends[0] < ends[1] <= 1):
        message = f"partial={made.partial!r} must be two false positive rates from 0 to 1, rising, such as (0, 0.1)."
        raise InputError(message)
    if whole(made.bins, "bins") < 2:
        message = f"bins={made.bins!r} is too few for a calibration error; 10 or 15 are usual."
        raise InputError(message)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}

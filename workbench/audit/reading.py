"""From predictions and settings to the tables of an audit."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from workbench.audit.cutting import cut_by_group
from workbench.audit.estimates import Estimates, Reading
from workbench.audit.gaps import against
from workbench.audit.measure import measure
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.roster import Roster
from workbench.audit.sample import design_of
from workbench.audit.tables import gap_tables, metric_table
from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from workbench.predictions import Predictions

DEFAULTS = ("AUROC", "sensitivity", "specificity", "PPV", "NPV", "Brier score")


@dataclass(frozen=True, eq=False)
class Read:
    """The tables of an audit, the groups they speak of, and how wide the tables' bands are in standard errors."""

    table: pd.DataFrame
    gaps: pd.DataFrame
    ratios: pd.DataFrame
    roster: Roster
    widths: dict[str, float | None]


def read(predictions: Predictions, settings: Mapping[str, Any]) -> Read:
    """Measure everything and make the tables."""
    design = design_of(predictions, settings["by"], settings["positive"])
    roster = Roster(design)
    reading = reading_of(settings)
    metrics = list(reading.metrics)
    if settings["thresholds"] is not None:
        metrics = cut_by_group(metrics, settings["thresholds"], design)
    reading = replace(reading, metrics=tuple(metrics))
    measured = measure(design, metrics, reading.setting, replicates=settings["replicates"], seed=settings["seed"])
    estimates = Estimates(roster, reading, measured)
    table, width = metric_table(estimates)
    gaps, ratios, gap_width = gap_tables(estimates, against(estimates, settings["reference"]))
    return Read(table, gaps, ratios, roster, _plain({"band": width, "gap_band": gap_width}))


def reading_of(settings: Mapping[str, Any], threshold: float | None = None) -> Reading:
    """Turn an audit's settings into what its tables are read by, at its own or at another threshold."""
    cut = settings["threshold"] if threshold is None else threshold
    asked: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in settings["asked"].items()
    }
    setting = Setting(threshold=cut, prevalence=settings["prevalence"], **asked)
    return Reading(
        tuple(metrics_of(settings["metrics"])), setting, settings["level"], settings["interval"], settings["enough"],
        settings["fewest"],
    )  # fmt: skip


def setting_of(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Check further settings of metrics by their names and ranges."""
    known = [field.name for field in fields(Setting) if field.name not in ("threshold", "prevalence")]
    for name in asked:
        if name not in known:
            raise unknown_name("setting", name, known)
    try:
        made = Setting(**asked)
    except (TypeError, ValueError) as error:
        raise InputError(str(error)) from error
    shares = {name: getattr(made, name) for name in ("specificity", "sensitivity") if name in asked}
    for name, value in shares.items():
        if not 0 < value < 1:
            message = f"{name}={value!r} must be a number between 0 and 1."
            raise InputError(message)
    if not (len(made.partial) == 2 and 0 <= made.partial[0] < made.partial[1] <= 1):
        message = f"partial={made.partial!r} must be two false positive rates from 0 to 1, rising, such as (0, 0.1)."
        raise InputError(message)
    if made.bins < 2:
        message = f"bins={made.bins!r} is too few for a calibration error; 10 or 15 are usual."
        raise InputError(message)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}


def _plain(widths: dict[str, float]) -> dict[str, float | None]:
    """JSON knows no NaN."""
    return {name: None if math.isnan(width) else width for name, width in widths.items()}

"""An audit's calibration, group by group: what a reliability diagram is drawn from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.audit.calibration.bins import chance_errors, reliability
from workbench.audit.calibration.smooth_curve import smooth_curves
from workbench.audit.curves.bands import partition_of
from workbench.audit.metric import Setting
from workbench.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from workbench.audit.result import Audit

# Bins of the histogram of scores.
HISTOGRAM = 25


@dataclass(frozen=True, eq=False)
class GroupCalibration:
    """Tables of one partition, each with a column ``group``.

    Parameters
    ----------
    shares : share of positives in bins that hold as many images: see :func:`workbench.audit.calibration.bins.reliability`.
    curves : smooth curves with bands: see :func:`workbench.audit.calibration.smooth_curve.smooth_curves`.
    errors : the calibration error beside that of a calibrated model: see :func:`workbench.audit.calibration.bins.chance_errors`.
    histogram : ``lowest, highest, n``: how many images have which score, in bins of equal width.
    """

    shares: pd.DataFrame
    curves: pd.DataFrame
    errors: pd.DataFrame
    histogram: pd.DataFrame


def calibration_by_group(audit: Audit, by: str = "", *, bins: int = 10, replicates: int = 1000) -> GroupCalibration:
    """Measure how well the scores are probabilities, for each group of one of the audit's partitions.

    Parameters
    ----------
    audit : what :func:`workbench.audit` found; its level, prevalence, seed, and number of bins of the error.
    by : one of its partitions; everybody unless given.
    bins : of `shares`, 2–50.
    replicates : samples of a calibrated model, for `errors`.

    Raises
    ------
    InputError : where a name is unknown or a setting out of range.
    """
    if not 2 <= bins <= 50:
        message = f"bins={bins} lies outside 2–50; 10 is usual."
        raise InputError(message)
    design = replace(audit._design, partitions=(partition_of(audit, by),))
    asked, level = audit.settings["asked"], audit.settings["level"]
    setting = Setting(prevalence=audit.settings["prevalence"], bins=asked.get("bins", Setting.bins))
    return GroupCalibration(
        shares=reliability(design, replace(setting, bins=bins), equal="mass", level=level),
        curves=smooth_curves(design, setting, level=level),
        errors=chance_errors(
            design, setting, equal=["mass"], level=level, replicates=replicates, seed=audit.settings["seed"]
        ),
        histogram=reliability(design, replace(setting, bins=HISTOGRAM), equal="width", level=level)[
            ["group", "by", "bin", "lowest", "highest", "n"]
        ],
    )

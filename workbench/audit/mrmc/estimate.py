"""What every method of analysis returns: means, differences, one test, and where the variance comes from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


@dataclass(frozen=True)
class Estimate:
    """A number, its standard error, and the degrees of freedom of its t distribution (``inf``: normal).

    Parameters
    ----------
    value, error, freedom : NaN where they cannot be estimated.
    note : why they cannot.
    """

    value: float
    error: float
    freedom: float
    note: str = ""

    def interval(self, level: float) -> tuple[float, float]:
        """Return the two-sided interval; NaN without an error."""
        if math.isnan(self.error) or math.isnan(self.freedom):
            return math.nan, math.nan
        half = float(stats.t.isf((1 - level) / 2, self.freedom)) * self.error
        return self.value - half, self.value + half

    @property
    def statistic(self) -> float:
        """The value in standard errors; NaN where the error is unknown or 0."""
        return self.value / self.error if self.error > 0 else math.nan

    @property
    def p(self) -> float:
        """Two-sided p-value of the value being 0."""
        return float(2 * stats.t.sf(abs(self.statistic), self.freedom))


@dataclass(frozen=True)
class EqualityTest:
    """The test of all modalities of the panel being equal: F, or χ² / df1 where `df2` is ``inf``."""

    statistic: float
    df1: float
    df2: float

    @property
    def p(self) -> float:
        """The p-value."""
        if math.isinf(self.df2):
            return float(stats.chi2.sf(self.df1 * self.statistic, self.df1))
        return float(stats.f.sf(self.statistic, self.df1, self.df2))


@dataclass(frozen=True, eq=False)
class Analysis:
    """The outcome of one method.

    Parameters
    ----------
    means : by modality, as its place on the first axis of the readings.
    differences : by pair of modalities (a, b): a − b.
    test : of the panel's modalities being equal; None for one modality.
    components : where the variance comes from; columns ``component, value, correlation``.
    tables : further tables by name.
    """

    means: Mapping[int, Estimate]
    differences: Mapping[tuple[int, int], Estimate]
    test: EqualityTest | None
    components: pd.DataFrame
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def satterthwaite(total: float, mean_square: float, freedom: float) -> float:
    """Return Hillis' degrees of freedom of ``total = mean_square + covariance``, the covariance being known.

    Hillis 2007, Stat Med 26:596: total² / (mean_square² / freedom).
    """
    if mean_square <= 0:
        return math.inf if total > 0 else math.nan
    return float(total**2 / (mean_square**2 / freedom)) if freedom > 0 else math.nan


def root(variance: float) -> float:
    """Return the square root; NaN below 0."""
    return float(np.sqrt(variance)) if variance >= 0 else math.nan

"""One look at two sets: a statistic, how it varies when patients change places, and what it could have found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from workbench.audit.discovery.modes import ks_distance
from workbench.groups import MISSING, MOST_GROUPS, MOST_VALUES

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.audit.shift.pooled import Pooled

POWER = 0.8
BEYOND = float(stats.norm.ppf(POWER))


@dataclass(frozen=True, eq=False)
class Look:
    """One row of the table.

    Parameters
    ----------
    by : ``label, score, attribute, images, embedding, metric`` or the attribute of a subgroup.
    group : what was compared.
    metric : the statistic.
    value, p : of the statistic; before, after : what it compares, NaN where that is no number.
    smd : standardised mean difference; of several values the largest.
    reach : from the level of one test to the smallest true `value` that it finds in 80 of 100 samples.
    n, patients : that carry it.
    note : what speaks against it, and values that are new or lost.
    low, high : of metrics, the interval.
    in_words : from the level to what `reach` means, where its number says little.
    """

    by: str
    group: str
    metric: str
    value: float
    p: float
    before: float
    after: float
    smd: float
    reach: Callable[[float], float]
    n: int
    patients: int
    note: str = ""
    low: float = float("nan")
    high: float = float("nan")
    in_words: Callable[[float], str] = lambda _: ""


def shares(pool: Pooled, column: pd.Series, *, by: str, group: str) -> Look:
    """Compare how often each value occurs: χ² by permutation; the value whose share changed most (by SMD) is shown."""
    missing = column.isna().to_numpy()
    words = np.where(missing, MISSING, column.astype(str).to_numpy().astype(object)).astype(str)
    names, codes = np.unique(words, return_inverse=True)
    total = np.bincount(codes)[:, None]
    later = np.column_stack([np.bincount(codes[moved], minlength=len(names)) for moved in pool.exchanged.T])
    size = later.sum(0)
    earlier = (total - later) / (len(codes) - size)
    later, overall = later / size, total / len(codes)
    chi = ((later - earlier) ** 2 / overall).sum(0) * size * (len(codes) - size) / len(codes)
    difference = later - earlier
    spread = np.sqrt((later * (1 - later) + earlier * (1 - earlier))[:, 0] / 2)
    smd = np.divide(difference[:, 0], spread, out=np.zeros(len(names)), where=spread > 0)
    smd[(spread == 0) & (difference[:, 0] != 0)] = np.inf
    # Of two values that moved alike the last is shown, which of a label is the positive class.
    worst = len(smd) - 1 - int(np.round(np.abs(smd), 12)[::-1].argmax())
    error = float(difference[worst, 1:].std(ddof=1))
    new = [name for name, share in zip(names, earlier[:, 0], strict=True) if share == 0]
    lost = [name for name, share in zip(names, later[:, 0], strict=True) if share == 0]
    said = [f"{word}: {_listed(some)}" for word, some in (("new", new), ("lost", lost)) if some]
    return Look(
        by, group, f"share of {names[worst]}", float(difference[worst, 0]), _p(chi), float(earlier[worst, 0]),
        float(later[worst, 0]), float(smd[worst]), lambda level: (_z(level) + BEYOND) * error, len(codes),
        pool.count(np.ones(len(codes), dtype=bool)), "; ".join(said),
    )  # fmt: skip


def numbers(pool: Pooled, values: np.ndarray, *, by: str, group: str, rows: np.ndarray | None = None) -> Look:
    """Compare how numbers are distributed: the Kolmogorov–Smirnov distance by permutation; medians are shown."""
    rows = np.isfinite(values) if rows is None else rows & np.isfinite(values)
    some, after = values[rows], pool.exchanged_of(rows)
    sides = [some[~after[:, 0]], some[after[:, 0]]]
    patients = min(pool.count(rows & pool.after), pool.count(rows & ~pool.after))
    # A permutation may leave nobody on one side of a small group.
    usable = after.any(0) & ~after.all(0)
    if patients < 5:
        return Look(by, group, "Kolmogorov–Smirnov distance", np.nan, np.nan, *(np.nan,) * 3, lambda _: float("nan"),
                    len(some), pool.count(rows), f"not estimable: {patients} patients on one side, 5 are needed")  # fmt: skip
    after = after[:, usable]
    distances = ks_distance(some, after)
    # How much the two curves differ by chance where they are steepest for chance: at the median.
    below = some <= np.median(some)
    size = after.sum(0)
    share = np.array([np.count_nonzero(column & below) for column in after.T])
    error = float((share / size - (below.sum() - share) / (len(some) - size))[1:].std(ddof=1))
    spread = np.sqrt((sides[0].var(ddof=1) + sides[1].var(ddof=1)) / 2) if min(map(len, sides)) > 1 else 0.0
    lead = float(sides[1].mean() - sides[0].mean())
    return Look(
        by, group, "Kolmogorov–Smirnov distance", float(distances[0]), _p(distances), float(np.median(sides[0])),
        float(np.median(sides[1])), lead / spread if spread > 0 else 0.0,
        lambda level: min(float(np.quantile(distances[1:], 1 - level)) + BEYOND * error, 1.0), len(some),
        pool.count(rows), "" if patients >= 20 else f"only {patients} patients on one side: do not rely on it",
    )  # fmt: skip


def attribute(pool: Pooled, name: str) -> list[Look]:
    """Look at one attribute: a number (more than ten values) by its distribution and its gaps, else shares of values."""
    column = pool.cases.table[name]
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if not (number and column.nunique() > MOST_VALUES):
        return [shares(pool, column, by="attribute", group=name)] if column.nunique() <= MOST_GROUPS else []
    missing = column.isna()
    looks = [numbers(pool, column.to_numpy(dtype=np.float64, na_value=np.nan), by="attribute", group=name)]
    if missing.any():
        known = missing.map({True: MISSING, False: "known"})
        looks.append(shares(pool, known, by="attribute", group=f"{name} missing"))
    return looks


def images_a_patient(pool: Pooled) -> Look:
    """Look at how many images a patient has; where that changed, all permutations say less."""
    keys = pool.patients * 2 + pool.after
    _, first, inverse, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    rows = np.zeros(len(keys), dtype=bool)
    rows[first] = True
    return numbers(pool, counts[inverse].astype(np.float64), by="images", group="images a patient", rows=rows)


def _p(statistic: np.ndarray) -> float:
    """Share of permutations at least as far out as the first entry, which is the observed one."""
    return float((1 + (statistic[1:] >= statistic[0] - 1e-12).sum()) / len(statistic))


def _z(level: float) -> float:
    return float(stats.norm.isf(level / 2))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

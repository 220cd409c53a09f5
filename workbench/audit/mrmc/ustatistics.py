"""The one-shot method of Gallas: U-statistics, for any design, with readings missing or modalities unpaired.

The reader-averaged figure of merit is pooled: all pairs won, over all pairs read, so that a reader counts by the pairs
read. Its variance is a weighted sum of eight second moments M1–M8 of the wins. In M1–M4 the two wins are one reader's, in
M5–M8 two readers'; within each four they share both cases, the positive, the negative, or none. Each moment is estimated
without bias from the pairs that the design has.

References
----------
Gallas 2006, Acad Radiol 13:353; Gallas & Brown 2008, Neural Netw 21:387 (arbitrary designs); Gallas, Bandos, Samuelson &
Wagner 2009, Commun Stat Theory Methods 38:2586 (components, eq. 19); Obuchowski, Gallas & Hillis 2012, Acad Radiol
19:1508 (degrees of freedom, split-plot designs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.audit.mrmc.covariance import distinct, pair_sums
from workbench.audit.mrmc.estimate import Analysis, EqualityTest, Estimate, root
from workbench.audit.mrmc.merit import NOBODY

if TYPE_CHECKING:
    from workbench.audit.mrmc.merit import Sides

MOMENTS = tuple(f"M{number}" for number in range(1, 9))
# Components of variance as sums of moments: what is common to two wins that share a reader, a positive, a negative case.
COMPONENTS = {
    "negative case": (0, 0, 0, 0, 0, 0, 1, -1),
    "positive case": (0, 0, 0, 0, 0, 1, 0, -1),
    "negative × positive case": (0, 0, 0, 0, 1, -1, -1, 1),
    "reader": (0, 0, 0, 1, 0, 0, 0, -1),
    "reader × negative case": (0, 0, 1, -1, 0, 0, -1, 1),
    "reader × positive case": (0, 1, 0, -1, 0, -1, 0, 1),
    "reader × negative × positive case": (1, -1, -1, 1, -1, 1, 1, -1),
}
# The share of each main component in the variance is the sum of the coefficients of the moments that hold it.
SHARES = {"negative case": (1, 0, 1, 0, 1, 0, 1, 0), "positive case": (1, 1, 0, 0, 1, 1, 0, 0), "reader": (1, 1, 1, 1, 0, 0, 0, 0)}  # fmt: skip


# A source that makes up half of the pairs or more has fewer than two levels left to vary.
MOST_SHARE = 0.499


@dataclass(frozen=True, eq=False)
class Moments:
    """The covariance of two modalities' pooled figures of merit, and what it is made of.

    Parameters
    ----------
    moments : unbiased M1–M8; NaN where the design has no such pairs.
    biased : the same with the shared cases and readers among the different ones, for the degrees of freedom.
    coefficients : their weights in the covariance; M8's less 1 for the product of the means.
    covariance : unbiased; a variance may come out negative.
    """

    moments: np.ndarray
    biased: np.ndarray
    coefficients: np.ndarray
    covariance: float

    def component(self, name: str) -> float:
        """Return a component of variance; NaN where the design has no pairs that share what it stands for."""
        return _dot(COMPONENTS[name], self.moments)

    def share(self, name: str) -> float:
        """Return a main component's weight in the covariance: one over the number of its levels, in a balanced design."""
        return float(np.dot(SHARES[name], self.coefficients))


def u_statistics(sides: Sides, *, random_readers: bool) -> Analysis:
    """Compare modalities in any design.

    Parameters
    ----------
    sides : the scores of all readers with all modalities, one case a patient.
    random_readers : whether the result shall hold for other readers. A modality with one reader, such as a stand-alone
        model, has no variance of readers.
    """
    won, pairs = pair_sums(sides)
    modalities = [int(each) for each in np.unique(sides.modality)]
    rows = {each: np.flatnonzero(sides.modality == each) for each in modalities}
    value = {each: float(np.sqrt(np.diagonal(won[3])[rows[each]]).sum() / np.sqrt(np.diagonal(pairs[3])[rows[each]]).sum())
             for each in modalities}  # fmt: skip
    found = {}
    for a in modalities:
        for b in modalities:
            cut = np.ix_(np.arange(4), rows[a], rows[b])
            same = sides.reader[rows[a]][:, None] == sides.reader[rows[b]]
            found[a, b] = _moments(won[cut], pairs[cut], same, random_readers=random_readers)
    main = [name for name, patients in (("negative case", sides.negative_patients), ("positive case", sides.positive_patients))
            if (patients != NOBODY).any()]  # fmt: skip
    means = {each: _estimate(value[each], [found[each, each]], [1], main) for each in modalities}
    differences = {
        (a, b): _estimate(value[a] - value[b], [found[a, a], found[b, b], found[a, b]], [1, 1, -2], main)
        for a, b in combinations(modalities, 2)
    }
    test = None
    if len(differences) == 1:
        only = next(iter(differences.values()))
        test = EqualityTest(only.statistic**2, 1, only.freedom)
    return Analysis(means, differences, test, _components(found), {"moments": _table(found)})


def _moments(won: np.ndarray, pairs: np.ndarray, same: np.ndarray, *, random_readers: bool) -> Moments:
    """Average the sums of pairs ``(4, R, R')`` over one reader (`same`) and over two."""
    if not random_readers:
        return _fixed(won, pairs)
    if same.size == 1 and same.all():
        # One reader is taken for a model that does not vary: two copies of it read the same.
        return _moments(np.tile(won, (1, 2, 2)), np.tile(pairs, (1, 2, 2)), np.eye(2, dtype=bool), random_readers=True)
    won_sums, pair_sums_ = (
        np.concatenate([(sums * same).sum((1, 2)), (sums * ~same).sum((1, 2))]) for sums in (won, pairs)
    )
    every = pair_sums_[3] + pair_sums_[7]
    wins, counts = (np.concatenate([distinct(sums[:4]), distinct(sums[4:])]) for sums in (won_sums, pair_sums_))
    moments = _ratio(wins, counts)
    coefficients = counts / every
    coefficients[7] -= 1
    # With every pair of readers among the two readers' pairs.
    nested = [np.concatenate([sums[:4], sums[:4] + sums[4:]]) for sums in (won_sums, pair_sums_)]
    return Moments(moments, _ratio(*nested), coefficients, float(coefficients @ np.nan_to_num(moments)))


def _fixed(won: np.ndarray, pairs: np.ndarray) -> Moments:
    """Keep the readers: the product of means is that of each pair of readers, so that only cases vary."""
    wins, counts = distinct(won), distinct(pairs)
    means = _ratio(wins, counts)
    weights = counts / pairs[3].sum()
    total = float(np.nansum(weights * means) - (weights.sum(0) * np.nan_to_num(means[3])).sum())
    sums = [np.concatenate([np.zeros(4), each.sum((1, 2))]) for each in (wins, counts)]
    coefficients = np.concatenate([np.zeros(4), weights.sum((1, 2))])
    coefficients[7] -= 1
    nested = [np.concatenate([np.zeros(4), each.sum((1, 2))]) for each in (won, pairs)]
    return Moments(_ratio(*sums), _ratio(*nested), coefficients, total)


def _estimate(value: float, parts: list[Moments], signs: list[int], main: list[str]) -> Estimate:
    """Estimate a mean or a difference with Satterthwaite's degrees of freedom, at least those of the scarcest source."""
    variance = float(sum(sign * part.covariance for sign, part in zip(signs, parts, strict=True)))
    if variance < 0:
        return Estimate(value, math.nan, math.nan, "the unbiased variance came out negative: too few readers or cases")
    spread, freedoms = 0.0, []
    for name in ("reader", *main):
        # A model that stands alone has no readers of whom there could be more.
        shares = [part.share(name) for part, sign in zip(parts, signs, strict=True) if sign > 0]
        levels = [1 / share for share in shares if 0 < share < MOST_SHARE]
        component = sum(
            sign * _dot(COMPONENTS[name], part.biased)
            for sign, part in zip(signs, parts, strict=True)
            if part.share(name) > 0
        )
        if levels:
            freedoms.append(min(levels) - 1)
            spread += component**2 / freedoms[-1] ** 3
    freedom = variance**2 / spread if spread > 0 else math.inf
    return Estimate(value, root(variance), max(freedom, min(freedoms)) if freedoms else freedom)


def _components(found: dict[tuple[int, int], Moments]) -> pd.DataFrame:
    rows = [
        {"modality_1": a, "modality_2": b, "component": name, "value": each.component(name)}
        for (a, b), each in found.items() if a <= b for name in COMPONENTS
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(correlation=math.nan)


def _table(found: dict[tuple[int, int], Moments]) -> pd.DataFrame:
    rows = [
        {"modality_1": a, "modality_2": b, "covariance": each.covariance}
        | dict(zip(MOMENTS, each.moments, strict=True))
        | {f"c{number}": value for number, value in enumerate(each.coefficients, 1)}
        for (a, b), each in found.items() if a <= b
    ]  # fmt: skip
    return pd.DataFrame(rows)


def _dot(weights: tuple[int, ...], moments: np.ndarray) -> float:
    """Add up moments, of which those with weight 0 may be unknown."""
    return float(sum(weight * moment for weight, moment in zip(weights, moments, strict=True) if weight))


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))

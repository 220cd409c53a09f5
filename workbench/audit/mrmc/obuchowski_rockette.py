"""The method of Obuchowski and Rockette, with Hillis' degrees of freedom: an ANOVA of the readers' figures of merit.

A reader's figure of merit is ``μ + modality + reader + modality × reader + error``, and the errors of two of them are
correlated where they rest on the same cases: Cov1 for one reader with two modalities, Cov2 for two readers with one, Cov3
for two readers with two. F is the mean square of the modalities over what it is expected to be if they are equal.

References
----------
Obuchowski & Rockette 1995, Commun Stat Simul Comput 24:285; Hillis 2007, Stat Med 26:596 (degrees of freedom);
Hillis 2014, Stat Med 33:330 (nested and split-plot designs, as an ANOVA of marginal means).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.audit.mrmc.estimate import Analysis, EqualityTest, Estimate, root, satterthwaite

if TYPE_CHECKING:
    from workbench.audit.mrmc.design import Design


@dataclass(frozen=True, eq=False)
class Panel:
    """The figures of merit of the people, and what may vary.

    Parameters
    ----------
    values : float64 ``(I, R)``; NaN where a reader does not read with a modality.
    covariance : float64 ``(I, R, I, R)``.
    groups : the group of readers of the same cases, int64 ``(R,)``.
    random_readers, random_cases : what the result shall hold for: others like them, or just these.
    """

    values: np.ndarray
    covariance: np.ndarray
    groups: np.ndarray
    random_readers: bool
    random_cases: bool


def obuchowski_rockette(
    values: np.ndarray, covariance: np.ndarray, design: Design, *, random_readers: bool, random_cases: bool
) -> Analysis:
    """Compare modalities of a regular design.

    Parameters
    ----------
    values : figures of merit, float64 ``(I, J)``; NaN where there is none.
    covariance : of their errors from the cases, float64 ``(I, J, I, J)``.
    design : which modalities and readers form the panel, and which stand alone.
    random_readers, random_cases : whether the result shall hold for other readers, and for other cases.
    """
    panel, people = np.array(design.panel), design.panel_readers
    grid = np.ix_(panel, people, panel, people)
    part = Panel(values[np.ix_(panel, people)], covariance[grid], design.groups, random_readers, random_cases)
    result = _nested(part) if design.readers_nested else _crossed(part)
    place = {number: int(modality) for number, modality in enumerate(panel)}
    means = {place[number]: mean for number, mean in result.means.items()}
    differences = {(place[a], place[b]): each for (a, b), each in result.differences.items()}
    models = {modality: int(np.flatnonzero(np.isfinite(values[modality]))[0]) for modality in design.alone}
    for modality, reader in models.items():
        own = covariance[modality, reader, modality, reader]
        means[modality] = Estimate(float(values[modality, reader]), root(own) if random_cases else 0.0, math.inf)
        for other in panel:
            estimate = _against(part, int(np.flatnonzero(panel == other)[0]), float(values[modality, reader]),
                                covariance[modality, reader][np.ix_(panel, people)], own)  # fmt: skip
            pair = (int(other), modality) if other < modality else (modality, int(other))
            sign = 1 if pair[0] == other else -1
            differences[pair] = Estimate(sign * estimate.value, estimate.error, estimate.freedom)
    for a, b in combinations(design.alone, 2):
        i, j = models[a], models[b]
        variance = covariance[a, i, a, i] + covariance[b, j, b, j] - 2 * covariance[a, i, b, j]
        gap = float(values[a, i] - values[b, j])
        differences[a, b] = Estimate(gap, root(variance) if random_cases else 0.0, math.inf)
    return Analysis(means, dict(sorted(differences.items())), result.test, result.components, result.tables)


def _crossed(panel: Panel) -> Analysis:
    """Analyse readers that read with every modality: fully crossed, split-plot, or cases nested in readers or modalities."""
    values, groups = panel.values, panel.groups
    t, r = values.shape
    together = (groups[:, None] == groups) & ~np.eye(r, dtype=bool)
    sizes = np.bincount(groups)
    # Readers who share their cases, as many as each reader has on average (itself among them); r if fully crossed.
    sharing = float((sizes**2).sum() / r)
    centred, freedom = _within(values, groups)
    error, cov1, cov2, cov3 = _covariances(panel.covariance, together)
    interaction = centred - centred.mean(0)
    df = (t - 1) * freedom
    ms_tr = float((interaction**2).sum() / df) if df else math.nan
    ms_t = float(r * ((values.mean(1) - values.mean()) ** 2).sum() / (t - 1)) if t > 1 else math.nan
    ms_r = float(t * (centred.mean(0) ** 2).sum() / freedom) if freedom else math.nan
    shared = max(cov2 - cov3, 0.0)
    if not panel.random_readers:
        below, df2 = error - cov1 + (sharing - 1) * shared, math.inf
    else:
        below = ms_tr + (sharing * shared if panel.random_cases else 0.0)
        df2 = satterthwaite(below, ms_tr, df)
    differences = {
        (a, b): Estimate(float(values[a].mean() - values[b].mean()), root(2 * below / r), df2)
        for a, b in combinations(range(t), 2)
    }
    means = {i: _mean(panel, i, centred[i], freedom=freedom, together=together, sharing=sharing) for i in range(t)}
    test = EqualityTest(ms_t / below if below > 0 else math.nan, t - 1, df2) if t > 1 else None
    found = {"error": error, "Cov1": cov1, "Cov2": cov2, "Cov3": cov3}
    if t > 1:
        found = {"reader": (ms_r - ms_tr) / t - cov1 + cov3, "modality × reader": ms_tr - error + cov1 + shared} | found
    else:
        found = {"reader": ms_r - error + max(cov2, 0.0)} | found
    rows = [("modality", t - 1, ms_t), ("reader", freedom, ms_r), ("modality × reader", df, ms_tr)]
    anova = pd.DataFrame([row for row in rows if row[1] > 0], columns=["source", "df", "mean_square"])
    return Analysis(means, differences, test, _components(found), {"anova": anova})


def _mean(panel: Panel, i: int, centred: np.ndarray, *, freedom: int, together: np.ndarray, sharing: float) -> Estimate:
    """Estimate the mean of one modality from its own readings only."""
    r = len(centred)
    own = panel.covariance[i, :, i, :]
    error, cov2 = float(np.diagonal(own).mean()), _mean_of(own[together])
    value = float(panel.values[i].mean())
    if not panel.random_readers:
        return Estimate(value, root((error + (sharing - 1) * max(cov2, 0.0)) / r), math.inf)
    ms = float((centred**2).sum() / freedom) if freedom else math.nan
    total = ms + (sharing * max(cov2, 0.0) if panel.random_cases else 0.0)
    return Estimate(value, root(total / r), satterthwaite(total, ms, freedom))


def _nested(panel: Panel) -> Analysis:
    """Analyse readers of whom each reads with one modality only."""
    values = panel.values
    t = len(values)
    has = np.isfinite(values)
    r = has.sum(1)
    means = np.nansum(values, 1) / r
    centred = np.where(has, values - means[:, None], 0.0)
    df = int((r - 1).sum())
    ms = float((centred**2).sum() / df) if df else math.nan
    # An unbalanced panel counts like one of the harmonic mean of its sizes in each modality (unweighted means).
    typical = float(t / (1 / r).sum())
    rows = [np.flatnonzero(each) for each in has]
    blocks = {(a, b): panel.covariance[a][rows[a]][:, b][:, rows[b]] for a in range(t) for b in range(t)}
    error = float(np.concatenate([np.diagonal(blocks[a, a]) for a in range(t)]).mean())
    cov2 = float(np.mean([_mean_of(blocks[a, a][~np.eye(r[a], dtype=bool)]) for a in range(t)]))
    cov3 = float(np.mean([blocks[a, b].mean() for a, b in combinations(range(t), 2)]))
    covered = max(cov2 - cov3, 0.0) if panel.random_cases else 0.0

    def difference(a: int, b: int) -> Estimate:
        value, readers = float(means[a] - means[b]), float(1 / r[a] + 1 / r[b])
        if not panel.random_readers:
            variance = float(blocks[a, a].mean() + blocks[b, b].mean() - 2 * blocks[a, b].mean())
            return Estimate(value, root(variance), math.inf)
        variance = ms * readers + 2 * covered
        return Estimate(value, root(variance), satterthwaite(variance, ms * readers, df))

    differences = {pair: difference(*pair) for pair in combinations(range(t), 2)}
    single = {}
    for i in range(t):
        part = Panel(values[i : i + 1, rows[i]], blocks[i, i][None, :, None, :], np.zeros(r[i], np.int64),
                     panel.random_readers, panel.random_cases)  # fmt: skip
        together = ~np.eye(r[i], dtype=bool)
        single[i] = _mean(part, 0, centred[i, rows[i]], freedom=int(r[i] - 1), together=together, sharing=float(r[i]))
    ms_t = float(typical * ((means - means.mean()) ** 2).sum() / (t - 1))
    # Balanced, with random readers, this is MS(R(T)) + r·max(Cov2 − Cov3, 0).
    below = typical / 2 * float(np.mean([each.error**2 for each in differences.values()]))
    df2 = satterthwaite(below, ms, df) if panel.random_readers else math.inf
    found = {"reader (within modality)": ms - error + cov2, "error": error, "Cov2": cov2, "Cov3": cov3}
    anova = pd.DataFrame(
        [("modality", t - 1, ms_t), ("reader (within modality)", df, ms)], columns=["source", "df", "mean_square"]
    )
    test = EqualityTest(ms_t / below if below > 0 else math.nan, t - 1, df2)
    return Analysis(single, differences, test, _components(found), {"anova": anova})


def _against(panel: Panel, i: int, value: float, covariance: np.ndarray, own: float) -> Estimate:
    """Estimate the readers' mean with modality `i` minus a stand-alone model.

    The model has no readers that vary, so each reader's difference from it is one number, and their mean is analysed as
    a single modality: Var = (MS(R) + r·max(Cov2, 0)) / r, with MS(R) and Cov2 those of the differences (Hillis 2007,
    section 5.3; Chakraborty 2017, Observer Performance Methods, chapter 22).
    """
    mine = panel.covariance[i, :, i, :] - covariance[i][:, None] - covariance[i][None, :] + own
    has = np.isfinite(panel.values[i])
    gaps, mine = panel.values[i, has] - value, mine[np.ix_(has, has)]
    part = Panel(
        gaps[None], mine[None, :, None, :], np.zeros(len(gaps), np.int64), panel.random_readers, panel.random_cases
    )
    together = ~np.eye(len(gaps), dtype=bool)
    return _mean(part, 0, gaps - gaps.mean(), freedom=len(gaps) - 1, together=together, sharing=float(len(gaps)))


def _covariances(covariance: np.ndarray, together: np.ndarray) -> tuple[float, float, float, float]:
    """Average the error variance, Cov1, Cov2 and Cov3 over modalities and readers; 0 where there is no such pair."""
    t = len(covariance)
    same = [covariance[i, :, i, :] for i in range(t)]
    other = [covariance[i, :, k, :] for i in range(t) for k in range(t) if i != k]
    error = float(np.mean([np.diagonal(each) for each in same]))
    cov1 = float(np.mean([np.diagonal(each) for each in other])) if other else 0.0
    cov2 = float(np.mean([_mean_of(each[together]) for each in same]))
    cov3 = float(np.mean([_mean_of(each[together]) for each in other])) if other else 0.0
    return error, cov1, cov2, cov3


def _within(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, int]:
    """Centre figures of merit in each group of readers, and count the readers' degrees of freedom.

    Where every reader has cases of their own, readers are centred together: their errors are independent.
    """
    if len(np.unique(groups)) == values.shape[1]:
        groups = np.zeros_like(groups)
    share = groups[:, None] == np.unique(groups)
    means = (values @ share) / share.sum(0)
    return values - means @ share.T, int(values.shape[1] - share.shape[1])


def _mean_of(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _components(found: dict[str, float]) -> pd.DataFrame:
    table = pd.DataFrame({"component": list(found), "value": list(found.values())})
    error = found["error"]
    correlation = [value / error if name.startswith("Cov") and error > 0 else math.nan for name, value in found.items()]
    return table.assign(correlation=correlation)

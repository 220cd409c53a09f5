"""Whom a metric rests on in each group, and what its replicates cannot see at the edge of its range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.engine.replicates import spread
from workbench.audit.estimation.evidence import ENOUGH, FEWEST
from workbench.audit.metric import POSITIVES
from workbench.intervals import area_score

if TYPE_CHECKING:
    from workbench.audit.metric import Metric, Setting
    from workbench.audit.sample import Design

# Agresti and Coull add two cases and two of the other kind: z² / 2 at 95 %.
ADDED = 1.96**2


@dataclass(frozen=True, eq=False)
class Carriers:
    """What carries one metric in each group of a design, in the order of its samples.

    Parameters
    ----------
    patients : of the arm that has fewest, int64 ``(G,)``.
    kinds : how those are called: ``"positives"``, ``"negatives"`` or ``"images it is a share of"``, G of them.
    sizes : of every arm, images as they would count if a patient's images all told the same (Kish), ``(arms, G)``.
    """

    patients: np.ndarray
    kinds: tuple[str, ...]
    sizes: np.ndarray

    @property
    def enough(self) -> np.ndarray:
        """Where a number may be shown at all, bool ``(G,)``."""
        return np.asarray(self.patients >= FEWEST)

    def note(self, place: int) -> str:
        """Say what is wrong with the evidence in one group, or nothing."""
        return too_few(int(self.patients[place]), self.kinds[place])


def too_few(patients: int, kind: str) -> str:
    """Say what is wrong with so many patients, or nothing."""
    if patients >= ENOUGH:
        return ""
    if patients == 0:
        return f"not estimable: no {kind}"
    said = f"only {patients} patient{'' if patients == 1 else 's'} with {kind}"
    return (
        f"refused: {said}; at least {FEWEST} are needed"
        if patients < FEWEST
        else f"{said}: wide interval, do not rely on it"
    )


def carriers(design: Design, metric: Metric, setting: Setting) -> Carriers:
    """Count the patients that carry a metric in each group of a design."""
    if metric.share is not None:
        arms = {"images it is a share of": metric.share(design.truth, design.scores, setting)[:, 0] > 0}
        if metric.arms:
            arms = {metric.arms[0]: next(iter(arms.values()))}
    elif metric.arms:
        arms = {arm: design.truth if arm == POSITIVES else ~design.truth for arm in metric.arms}
    else:
        arms = {"images": np.ones(len(design.truth), dtype=bool)}
    counts, sizes = [], []
    for rows in arms.values():
        images = [
            np.bincount(design.patients[rows & (partition.codes == code)]).astype(np.float64)
            for partition in design.partitions for code in range(len(partition.names))
        ]  # fmt: skip
        counts.append([np.count_nonzero(each) for each in images])
        sizes.append([each.sum() ** 2 / max((each**2).sum(), 1.0) for each in images])
    patients, names = np.array(counts, dtype=np.int64), list(arms)
    return Carriers(patients.min(0), tuple(names[place] for place in patients.argmin(0)), np.array(sizes))


def steadied(metric: Metric, carried: Carriers, values: np.ndarray, drawn: np.ndarray, *, seed: int) -> np.ndarray:
    """Return replicates ``(G, R)``, spread out where a share is 0 or 1, or an AUROC, and none of them differs.

    Such a group has not shown how it varies; without this it would seem to be known exactly. It gets normal errors with
    the standard deviation that Agresti and Coull give to a share (1998, Am Stat 52:119), and Newcombe's score interval to
    an area (2006, Stat Med 25:559), with as many images as if those of a patient all told the same.
    """
    result = drawn.copy()
    still = np.isfinite(values) & (spread(drawn) == 0)
    for place in np.flatnonzero(still):
        sizes = carried.sizes[:, place]
        if metric.proportion:
            total = sizes[0] + ADDED
            share = (values[place] * sizes[0] + ADDED / 2) / total
            error = math.sqrt(share * (1 - share) / total)
        elif metric.name == "AUROC":
            low, high = area_score(float(values[place]), float(sizes[0]), float(sizes[1]), 1.0)
            error = high - low
        else:
            continue
        result[place] += np.random.default_rng([seed, int(place)]).normal(0, error, drawn.shape[1])
    return result

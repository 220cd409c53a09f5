"""Patients within groups: how many carry a number, and how a share varies between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workbench.audit.sample import Design
    from workbench.groups import Partition


@dataclass(frozen=True, eq=False)
class Clusters:
    """One partition's clusters: each patient's images in each group.

    Parameters
    ----------
    row : each image's cluster, int64 ``(n,)``.
    group, patient : of each cluster, int64 ``(C,)``; groups rise.
    patients : how many there are.
    starts : first cluster of each group, int64 ``(G,)``.
    split : whether some patient has images in several groups.
    """

    row: np.ndarray
    group: np.ndarray
    patient: np.ndarray
    patients: int
    starts: np.ndarray
    split: bool


@dataclass(frozen=True, eq=False)
class Shares:
    """A weighted share of rows in G groups, and in the rest of each: arrays ``(2, G)``, groups first, then the rests.

    Parameters
    ----------
    values : 0–1; NaN without rows.
    images, patients : that the share is of, int64.
    variance : between patients, linearised; NaN below two patients.
    alone : effective number of rows if the rows of a patient all told the same, (Σw)² / Σ(patient's w)² (Kish).
    covariance : of the errors of group and rest through the patients in both, ``(G,)``.
    """

    values: np.ndarray
    images: np.ndarray
    patients: np.ndarray
    variance: np.ndarray
    alone: np.ndarray
    covariance: np.ndarray

    @cached_property
    def sizes(self) -> np.ndarray:
        """Effective number of rows: as many independent ones would make the share vary as much as it does.

        With one row a patient and equal weights it is their number. At 0 and 1 no variance can be seen, and the rows
        of a patient count as one.
        """
        plain = self.alone >= self.images * (1 - 1e-12)
        inside = (self.values > 0) & (self.values < 1) & (self.variance > 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            seen = np.clip(self.values * (1 - self.values) / self.variance, self.alone, self.images)
        still = (self.values > 0) & (self.values < 1) & (self.variance == 0)
        return np.where(plain | still, self.images, np.where(inside, seen, self.alone))


def clusters_of(design: Design, partition: Partition) -> Clusters:
    """Number the patients of each group."""
    patients = int(design.patients.max()) + 1
    key, row = np.unique(partition.codes * patients + design.patients, return_inverse=True)
    group = key // patients
    starts = np.searchsorted(group, np.arange(len(partition.names)))
    patient = key % patients
    split = len(patient) > int(np.count_nonzero(np.bincount(patient)))
    return Clusters(row, group, patient, patients, starts, split)


def counts(clusters: Clusters, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the images chosen (bool ``(n,)``) and their patients, ``(2, G)`` int64 each: groups, then rests."""
    return _counted(_Sums.of(clusters, np.bincount(clusters.row, weights=chosen, minlength=len(clusters.group))))


def shares(clusters: Clusters, hits: np.ndarray, weights: np.ndarray) -> Shares:
    """Estimate the share of hits.

    Parameters
    ----------
    hits : float64 ``(n,)``: 1, 0, or NaN for a row that the share is not of.
    weights : what each row counts, ``(n,)``.

    References
    ----------
    Korn & Graubard 1998, Survey Methodology 24:193 (effective sample size); Kish 1965, Survey Sampling.
    """
    counted = np.isfinite(hits)
    inside = np.where(counted, weights, 0.0)
    rows = [inside, np.where(counted, weights * hits, 0.0)]
    whole, hit = (
        _Sums.of(clusters, np.bincount(clusters.row, weights=one, minlength=len(clusters.group))) for one in rows
    )
    even = bool((weights == 1).all())
    images, patients = _counted(whole) if even else counts(clusters, counted)
    total = np.stack([whole.by_group(), whole.by_rest()])
    found = np.stack([hit.by_group(), hit.by_rest()])
    square = whole.products(whole)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The rest is a difference of sums, whose rounding must not carry a share of weights beyond 0 or 1.
        values = np.where(patients > 0, np.clip(found / total, 0, 1), np.nan)
        spread = hit.products(hit) - 2 * values * hit.products(whole) + values**2 * square
        variance = np.where(patients > 1, patients / (patients - 1.0), np.nan) * np.maximum(spread, 0) / total**2
        alone = total**2 / square
        first, second = values
        both = hit.across(hit) - second * hit.across(whole) - first * whole.across(hit)
        covariance = (both + first * second * whole.across(whole)) / (total[0] * total[1])
    return Shares(values, images, patients, variance, alone, covariance)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over each cluster ``(C,)``, over the same patient's rows in other groups ``(C,)``, and over each patient."""

    clusters: Clusters
    inside: np.ndarray
    outside: np.ndarray
    everywhere: np.ndarray

    @classmethod
    def of(cls, clusters: Clusters, inside: np.ndarray) -> _Sums:
        if not clusters.split:
            # Each patient is one cluster, in whatever order, and has nothing outside.
            return cls(clusters, inside, np.broadcast_to(0.0, inside.shape), inside)
        everywhere = np.bincount(clusters.patient, weights=inside, minlength=clusters.patients)
        return cls(clusters, inside, everywhere[clusters.patient] - inside, everywhere)

    def by_group(self) -> np.ndarray:
        return _by_group(self.clusters, self.inside)

    def by_rest(self) -> np.ndarray:
        return np.asarray(self.everywhere.sum() - self.by_group())

    def products(self, other: _Sums) -> np.ndarray:
        """Add up products over the patients of each group and of each rest, ``(2, G)``."""
        mine = _by_group(self.clusters, self.inside * other.inside)
        if not self.clusters.split:
            return np.stack([mine, mine.sum() - mine])
        full = self.inside + self.outside, other.inside + other.outside
        changed = self.outside * other.outside - full[0] * full[1]
        rest = self.everywhere @ other.everywhere + _by_group(self.clusters, changed)
        return np.stack([mine, rest])

    def across(self, other: _Sums) -> np.ndarray:
        """Add up products of a patient's rows in the group and those of `other` in the rest, ``(G,)``."""
        if not self.clusters.split:
            return np.zeros(len(self.clusters.starts))
        return _by_group(self.clusters, self.inside * other.outside)


def _counted(images: _Sums) -> tuple[np.ndarray, np.ndarray]:
    """Images and patients of groups and rests, from the images of each cluster."""
    patients = [
        _by_group(images.clusters, (one > 0).astype(np.float64))
        for one in (images.inside, images.inside + images.outside)
    ]
    left = _by_group(images.clusters, (images.outside > 0).astype(np.float64))
    rest = np.count_nonzero(images.everywhere) - patients[1] + left
    found = np.stack([images.by_group(), images.by_rest()]), np.stack([patients[0], rest])
    return found[0].astype(np.int64), found[1].astype(np.int64)


def _by_group(clusters: Clusters, values: np.ndarray) -> np.ndarray:
    # Clusters stand group by group. A group is empty where a finding is labelled on none of its images; without a number of
    # its own it would get the next one's.
    ends = np.append(clusters.starts[1:], len(values))
    return np.where(ends > clusters.starts, np.add.reduceat(np.append(values, 0.0), clusters.starts), 0.0)

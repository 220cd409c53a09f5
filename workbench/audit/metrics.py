"""The metrics of one group, each with its closed-form interval that keeps a patient's images together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.intervals import NONE, Interval, area_score, logit, wilson

if TYPE_CHECKING:
    from workbench.audit.sample import Arm, Sample

METRICS = ("AUROC", "sensitivity", "specificity")
BY_PATIENT = ", images of a patient kept together"


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, and the name of the interval's method. NaN where it cannot be estimated."""

    value: float
    interval: Interval
    method: str


def estimate(metric: str, sample: Sample, threshold: float, z: float) -> Estimate:
    """Return one metric of one group."""
    if metric == "AUROC":
        return auroc(sample.positives, sample.negatives, z)
    arm = evidence_arms(metric, sample)[0]
    called = arm.scores >= threshold
    return rate(arm, called if metric == "sensitivity" else ~called, z)


def evidence_arms(metric: str, sample: Sample) -> tuple[Arm, ...]:
    """Return the images that carry a metric: positives, negatives, or both."""
    arms = {"sensitivity": (sample.positives,), "specificity": (sample.negatives,)}
    return arms.get(metric, (sample.positives, sample.negatives))


def rate(arm: Arm, hit: np.ndarray, z: float) -> Estimate:
    """Share of hits with Wilson's interval.

    Where patients have several images, the interval takes the effective number of images: the number of independent
    ones whose share would vary as much as this share does between patients (linearised ratio variance). At 0 or 1
    that variance cannot be seen, and the images of a patient count as if they all told the same.
    """
    n = len(arm)
    if n == 0:
        return Estimate(math.nan, NONE, "")
    share = int(hit.sum()) / n
    if not arm.clustered:
        return Estimate(share, wilson(share, n, z), "Wilson")
    size = arm.fully_correlated_size
    patients = len(arm.sizes)
    if 0 < share < 1 and patients > 1:
        deviation = np.bincount(arm.clusters, weights=hit, minlength=patients) - share * arm.sizes
        variance = patients / (patients - 1) * float((deviation**2).sum()) / n**2
        size = min(max(share * (1 - share) / variance, size), n) if variance > 0 else n
    return Estimate(share, wilson(share, size, z), "Wilson" + BY_PATIENT)


def auroc(positives: Arm, negatives: Arm, z: float) -> Estimate:
    """Area under the ROC curve (ties count half) with a logit interval from DeLong's variance, or Obuchowski's.

    Where no pair is out of order that variance is 0 and Newcombe's score interval stands in.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; Obuchowski 1997, Biometrics 53:567, eq. 4–6.
    """
    if not len(positives) or not len(negatives):
        return Estimate(math.nan, NONE, "")
    above, below = _placements(positives.scores, negatives.scores)
    area = float(above.sum()) / (len(positives) * len(negatives))
    clustered = positives.clustered or negatives.clustered or _shared(positives, negatives)
    variance = _variance(positives, negatives, above / len(negatives), below / len(positives), area)
    if not 0 < area < 1 or not variance > 0:
        sizes = positives.fully_correlated_size, negatives.fully_correlated_size
        return Estimate(area, area_score(area, *sizes, z), "Newcombe" + (BY_PATIENT if clustered else ""))
    name = "logit Obuchowski" + BY_PATIENT if clustered else "logit DeLong"
    return Estimate(area, logit(area, variance, z), name)


def _placements(positive: np.ndarray, negative: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each positive the number of negatives below it, for each negative the number of positives above it."""
    ordered = np.sort(negative)
    above = (np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")) / 2
    ordered = np.sort(positive)
    below = (np.searchsorted(ordered, negative, "left") + np.searchsorted(ordered, negative, "right")) / 2
    return above, len(positive) - below


def _variance(positives: Arm, negatives: Arm, above: np.ndarray, below: np.ndarray, area: float) -> float:
    """Obuchowski's variance of the area; with one image a patient it is DeLong's."""
    first = np.bincount(positives.clusters, weights=above - area)
    second = np.bincount(negatives.clusters, weights=below - area)
    if len(first) < 2 or len(second) < 2:
        return math.nan
    m, n = len(positives), len(negatives)
    total = len(first) / (len(first) - 1) * float(first @ first) / m**2
    total += len(second) / (len(second) - 1) * float(second @ second) / n**2
    if _shared(positives, negatives):
        codes, left, right = np.intersect1d(
            positives.present, negatives.present, assume_unique=True, return_indices=True
        )
        patients = len(first) + len(second) - len(codes)
        total += 2 * patients / (patients - 1) * float(first[left] @ second[right]) / (m * n)
    return total


def _shared(positives: Arm, negatives: Arm) -> bool:
    """Whether some patient has images of both classes."""
    return len(np.intersect1d(positives.present, negatives.present, assume_unique=True)) > 0

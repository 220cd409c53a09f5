"""How large a calibration error would be by chance alone, were the model calibrated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from workbench.audit.metric import Metric, Setting
    from workbench.audit.sample import Design
    from workbench.groups import Partition


def chance_error(design: Design, metric: Metric, setting: Setting, partition: Partition) -> np.ndarray:
    """Return the mean binned calibration error of a calibrated model in every group and in the rest of each, ``(2, G)``.

    In a bin, Σ (truth − score) then has mean 0 and variance Σ score·(1 − score), and is about normal, so that its mean
    size is √(2/π) of its standard deviation. Images of a patient that agree make it larger still.
    """
    assert metric.columns is not None
    excess = metric.columns(design.truth, design.scores, setting)[:, 1:]
    bins, groups = excess.shape[1], len(partition.names)
    # Of several classes the highest score is the one that is binned.
    scores = design.scores if design.scores.ndim == 1 else design.scores.max(1)
    row = design.weights**2 * scores * (1 - scores)
    place = partition.codes * bins + np.argmax(excess != 0, axis=1)
    variance = np.bincount(place, weights=row, minlength=groups * bins).reshape(groups, bins)
    total = np.bincount(partition.codes, weights=design.weights, minlength=groups)
    both = np.stack([variance, np.maximum(variance.sum(0) - variance, 0)]), np.stack([total, total.sum() - total])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(math.sqrt(2 / math.pi) * np.sqrt(both[0]).sum(-1) / both[1])

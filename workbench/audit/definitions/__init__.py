"""The metrics, each with its definition and source; importing this package fills ``METRICS``."""

from workbench.audit.definitions import (
    counts,
    multiclass,
    probabilities,
    ranks,
    recalibration,
    regression,
    segmentation,
)
from workbench.audit.metric import METRICS

__all__ = ["METRICS", "counts", "multiclass", "probabilities", "ranks", "recalibration", "regression", "segmentation"]

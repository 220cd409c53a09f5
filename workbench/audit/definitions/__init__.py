"""The metrics, each with its definition and source; importing this package fills ``METRICS``."""

from workbench.audit.definitions import counts, probabilities, ranks, recalibration
from workbench.audit.metric import METRICS

__all__ = ["METRICS", "counts", "probabilities", "ranks", "recalibration"]

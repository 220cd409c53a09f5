"""Compile the loops of the bootstrap once, so that the first audit need not: ``python -m workbench.audit.engine.warm``.

It takes some seconds where nothing is compiled yet, and is not needed: the first call compiles what it finds missing.
"""

from __future__ import annotations

import numpy as np

from workbench.audit.definitions import METRICS
from workbench.audit.engine.measure import measure
from workbench.audit.metric import Setting
from workbench.audit.sample import Design
from workbench.groups import Partition


def warm() -> None:
    """Measure every metric of two classes in a sample of four rows."""
    everybody = Partition("", ("all",), np.zeros(4, dtype=np.int64))
    truth = np.array([False, True, False, True])
    design = Design(np.array([0.2, 0.3, 0.4, 0.4]), truth, np.arange(4), (everybody,), np.ones(4))
    metrics = [metric for metric in METRICS.values() if "binary" in metric.tasks]
    measure(design, metrics, Setting(prevalence=0.5), replicates=1)


if __name__ == "__main__":
    warm()

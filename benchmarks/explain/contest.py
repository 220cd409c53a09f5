"""What the scripts of this folder share: contestants who take turns, the cohort they explain, the networks, the machine.

CPU seconds are of this process on one thread. Contestants take turns within each repeat, so that load on the machine
meets all of them, and ratios are medians over repeats of the ratio within one repeat.
"""

from __future__ import annotations

import os
import platform
import time
import warnings
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Contest = Mapping[str, Callable[[], Any]]
    Seconds = dict[str, list[float]]


def quiet_and_single() -> None:
    """One thread, no denormals, no warnings: what all timings have in common."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def take_turns(contestants: Contest, repeats: int, *, clock: Callable[[], float] = time.process_time) -> Seconds:
    """Let everybody run once a repeat; the first repeat warms up and is not counted.

    A contestant that returns a float has taken its own time, and that counts.
    """
    seconds: Seconds = {who: [] for who in contestants}
    for repeat in range(repeats + 1):
        for who, run in contestants.items():
            start = clock()
            took = run()
            if repeat:
                seconds[who].append(took if isinstance(took, float) else clock() - start)
    return seconds


def ratio(seconds: Seconds, who: str, against: str = "forward") -> float:
    """Return the median over repeats of the ratio of two contestants."""
    return median(own / other for own, other in zip(seconds[who], seconds[against], strict=True))


def as_cohort(images: torch.Tensor | np.ndarray, classes: Sequence[str] = ("no", "yes")) -> Cohort:
    """Make a cohort of images ``(n, C, *spatial)``, each of a patient of its own."""
    ids = [str(row) for row in range(len(images))]
    table = pd.DataFrame({"patient": ids, "label": classes[0]}, index=pd.Index(ids, name="id"))
    return Cohort(table, tuple(classes), (), ArrayPixels.of(np.asarray(images), ids))


def densenet(outputs: int = 2) -> torch.nn.Module:
    """MONAI's DenseNet121 for one channel, untrained."""
    from monai.networks.nets import DenseNet121

    torch.manual_seed(0)
    return DenseNet121(2, 1, outputs).eval()


def resnet(axes: int = 2, outputs: int = 2) -> torch.nn.Module:
    """MONAI's ResNet18 for one channel of two or three axes, untrained."""
    from monai.networks.nets import resnet18

    torch.manual_seed(0)
    return resnet18(spatial_dims=axes, n_input_channels=1, num_classes=outputs, conv1_t_stride=2).eval()


def machine() -> str:
    """Name what it ran on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    return f"{name}, {torch.get_num_threads()} of {os.cpu_count()} cores; {versions}."

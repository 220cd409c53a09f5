"""What does the sanity check cost, in units of what the maps themselves cost? Prints a Markdown table.

    nice python benchmarks/explain/quality_cost.py [--images 64] [--size 64] [--repeats 3] [--stages 6]

CPU seconds of this process on one thread; within each repeat explaining and checking take turns, so that load on the
machine meets both; ratios are medians over repeats. The check makes every map once more at each stage: `stages` is the floor.
Stability makes it three times more.
"""

from __future__ import annotations

import argparse
import time
import warnings
from statistics import median
from typing import TYPE_CHECKING

import pandas as pd
import torch

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.explain.attribute import explain
from workbench.explain.quality.sanity import sanity
from workbench.explain.quality.stability import stability
from workbench.explain.quality.study import study_of
from workbench.models.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

METHODS = {"gradcam": {}, "saliency": {}, "shap": {"samples": 16}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 64), ("size", 64), ("repeats", 3), ("stages", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    cohort = as_cohort(options.images, options.size)
    print(f"## Sanity ({options.stages} stages) and stability, {options.images} images of {options.size}²\n")
    print("| network | method | maps, CPU s | sanity, × the maps | stability, × the maps |")
    print("|---|---|---|---|---|")
    for name, network in networks().items():
        model = Model.wrap(network, classes=["no", "yes"])
        for method, settings in METHODS.items():
            seconds = take_turns(contest(model, cohort, method, settings, options.stages), options.repeats)
            own = seconds["maps"]
            ratios = [median(a / b for a, b in zip(seconds[who], own, strict=True)) for who in ("sanity", "stability")]
            print(f"| {name} | {method} | {median(own):.2f} | {ratios[0]:.1f} | {ratios[1]:.1f} |", flush=True)


def networks() -> dict[str, torch.nn.Module]:
    from monai.networks.nets import DenseNet121, resnet18

    torch.manual_seed(0)
    return {
        "DenseNet121": DenseNet121(2, 1, 2).eval(),
        "ResNet18": resnet18(spatial_dims=2, n_input_channels=1, num_classes=2, conv1_t_stride=2).eval(),
    }


def contest(model: Model, cohort: Cohort, method: str, settings: dict, stages: int) -> dict[str, Callable]:
    maps = explain(model, cohort, method, **settings)
    return {
        "maps": lambda: explain(model, cohort, method, **settings),
        "sanity": lambda: sanity(study_of(model, maps), stages=stages),
        "stability": lambda: stability(study_of(model, maps)),
    }


def take_turns(contestants: dict[str, Callable], repeats: int) -> dict[str, list[float]]:
    """Let everybody run once a repeat; the first repeat warms up and is not counted."""
    seconds: dict[str, list[float]] = {who: [] for who in contestants}
    for repeat in range(repeats + 1):
        for who, run in contestants.items():
            start = time.process_time()
            run()
            if repeat:
                seconds[who].append(time.process_time() - start)
    return seconds


def as_cohort(count: int, size: int) -> Cohort:
    images = torch.randn(count, 1, size, size, generator=torch.Generator().manual_seed(0)).numpy()
    ids = [str(row) for row in range(count)]
    table = pd.DataFrame({"patient": ids, "label": "no"}, index=pd.Index(ids, name="id"))
    return Cohort(table, ("no", "yes"), (), ArrayPixels.of(images, ids))


if __name__ == "__main__":
    main()

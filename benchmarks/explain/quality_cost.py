"""What does the sanity check cost, in units of what the maps themselves cost? Prints a Markdown table.

    nice python benchmarks/explain/quality_cost.py [--images 64] [--size 64] [--repeats 3] [--stages 6]

CPU seconds of this process on one thread; within each repeat explaining and checking take turns, so that load on the
machine meets both; ratios are medians over repeats. The check makes every map once more at each stage: `stages` is the floor.
Stability makes it three times more.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import TYPE_CHECKING

import torch
from contest import as_cohort, densenet, machine, quiet_and_single, ratio, resnet, take_turns

from workbench.explain.attribute import explain
from workbench.explain.quality.sanity import sanity
from workbench.explain.quality.stability import stability
from workbench.explain.quality.study import study_of
from workbench.models.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.cohorts.cohort import Cohort

METHODS = {"gradcam": {}, "saliency": {}, "shap": {"samples": 16}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 64), ("size", 64), ("repeats", 3), ("stages", 6)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    quiet_and_single()
    images = torch.randn(options.images, 1, options.size, options.size, generator=torch.Generator().manual_seed(0))
    cohort = as_cohort(images)
    print(f"{machine()}\n")
    print(f"## Sanity ({options.stages} stages) and stability, {options.images} images of {options.size}²\n")
    print("| network | method | maps, CPU s | sanity, × the maps | stability, × the maps |")
    print("|---|---|---|---|---|")
    for name, network in {"DenseNet121": densenet(), "ResNet18": resnet()}.items():
        model = Model.wrap(network, classes=["no", "yes"])
        for method, settings in METHODS.items():
            seconds = take_turns(contest(model, cohort, method, settings, options.stages), options.repeats)
            ratios = [ratio(seconds, who, "maps") for who in ("sanity", "stability")]
            print(
                f"| {name} | {method} | {median(seconds['maps']):.2f} | {ratios[0]:.1f} | {ratios[1]:.1f} |", flush=True
            )


def contest(model: Model, cohort: Cohort, method: str, settings: dict, stages: int) -> dict[str, Callable]:
    maps = explain(model, cohort, method, **settings)
    return {
        "maps": lambda: explain(model, cohort, method, **settings),
        "sanity": lambda: sanity(study_of(model, maps), stages=stages),
        "stability": lambda: stability(study_of(model, maps)),
    }


if __name__ == "__main__":
    main()

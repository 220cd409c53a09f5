"""What do expected gradients cost, in forward passes, beside shap's? Prints a Markdown table.

    nice python benchmarks/explain/gradcam_cost.py [--repeats 7]

CPU seconds of this process on one thread; the contestants take turns within each repeat, so that load on the machine
meets all of them; ratios are medians over repeats of the ratio to the forward pass of the same repeat.
"""

from __future__ import annotations

import argparse
import time
import warnings
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from workbench.cohorts.cohort import Cohort
from workbench.explain.attribute import explain
from workbench.provenance import Provenance

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    print("## Expected gradients, one image, 50 samples, 64² ResNet18\n")
    print("| | CPU s | forward passes |\n|---|---|---|")
    seconds = take_turns(shap_contest(networks()["ResNet18"]), options.repeats)
    for who in ("workbench", "shap, one output", "shap, both outputs"):
        print(f"| {who} | {median(seconds[who]):.2f} | {ratio(seconds, who):.0f} |")


def networks() -> dict[str, torch.nn.Module]:
    from monai.networks.nets import DenseNet121, resnet18

    torch.manual_seed(0)
    return {
        "DenseNet121": DenseNet121(2, 1, 2).eval(),
        "ResNet18": resnet18(spatial_dims=2, n_input_channels=1, num_classes=2, conv1_t_stride=2).eval(),
    }


def shap_contest(network: torch.nn.Module) -> dict[str, Callable]:
    import shap

    images = torch.randn(21, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    model, cohort = as_model(network, images), as_cohort(images)
    background, one = cohort.subset(cohort.ids[1:]), cohort.subset(cohort.ids[:1])
    peer = shap.GradientExplainer(network, images[1:], batch_size=10)

    def forward() -> None:
        with torch.inference_mode():
            network(images[:1])

    return {
        "forward": forward,
        "workbench": lambda: explain(model, one, "shap", background=background, samples=50, batch_size=10),
        "shap, one output": lambda: peer.shap_values(images[:1], nsamples=50, ranked_outputs=1, rseed=0),
        "shap, both outputs": lambda: peer.shap_values(images[:1], nsamples=50, rseed=0),
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


def ratio(seconds: dict[str, list[float]], who: str) -> float:
    return median(own / forward for own, forward in zip(seconds[who], seconds["forward"], strict=True))


def as_model(network: torch.nn.Module, images: torch.Tensor) -> SimpleNamespace:
    def inputs(_cohort: Cohort, ids: list[str]) -> torch.Tensor:
        return images[[int(image_id) for image_id in ids]]

    made = Provenance("benchmark", {}, "00")
    return SimpleNamespace(network=network, classes=("no", "yes"), inputs=inputs, preprocessing=None, provenance=made)


def as_cohort(images: torch.Tensor) -> Cohort:
    from workbench.cohorts.pixels import ArrayPixels

    ids = [str(row) for row in range(len(images))]
    table = pd.DataFrame({"patient": ids, "label": "no"}, index=pd.Index(ids, name="id"))
    return Cohort(table, ("no", "yes"), (), ArrayPixels.of(np.asarray(images), ids))


if __name__ == "__main__":
    main()

"""What do exact Shapley values of regions cost, beside captum's estimates of them? Prints Markdown.

    nice python benchmarks/explain/region_shap_cost.py [--size 64] [--batch 32] [--repeats 3] [--most 12]

One image, a grid of 8 and of 12 regions, one network (MONAI's ResNet18), the blurred image as fill, both outputs. CPU
seconds of this process on one thread. The contestants take turns within each repeat, so that load on the machine meets
all of them; "× bare" is the median over repeats of the ratio to the 2^P bare forward passes of the same repeat. The
error is the largest over the regions, as a part of the range of the exact values, and for estimates the mean of it
over 5 seeds. captum explains one output a run.
"""

from __future__ import annotations

import argparse
import time
from statistics import mean, median
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from contest import as_cohort, machine, quiet_and_single, resnet

import workbench as wb
from workbench.explain.fill import fill_images
from workbench.explain.region_tables import region_interactions, region_table
from workbench.explain.regions import grid

if TYPE_CHECKING:
    from collections.abc import Callable

SEEDS = range(5)


class Contest(NamedTuple):
    """One image, its regions, and who explains it: functions of a seed that return the regions' values, or None."""

    players: int
    network: torch.nn.Module
    contestants: dict[str, Callable[[int], np.ndarray | None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("size", 64), ("batch", 32), ("repeats", 3), ("most", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    quiet_and_single()
    print(f"## Region SHAP, one image of {options.size}², batches of {options.batch}\n\n{machine()}\n")
    print("| regions | | network inputs | CPU s | × bare | largest error | left of the score |")
    print("|---|---|---|---|---|---|---|")
    for parts in ((2, 4), (3, 4)):
        players = int(np.prod(parts))
        if players <= options.most:
            # 4,096 forward passes a turn: once is enough.
            report(contest(parts, options), options.repeats if players < 10 else 1)


def contest(parts: tuple[int, int], options: argparse.Namespace) -> Contest:
    from captum.attr import KernelShap, ShapleyValueSampling

    network = resnet()
    mammograms = wb.load("phantom-mammography", n=20, shape=(options.size, options.size), seed=1)
    prepared = wb.Preprocessing(shape=(options.size, options.size))(mammograms.image(mammograms.ids[3]))
    image, labels = torch.from_numpy(prepared)[None], grid(prepared.shape[1:], parts)
    model, cohort = wb.Model.wrap(network, classes=["no", "yes"]), as_cohort(image)
    players, batch = int(np.prod(parts)), options.batch
    asked = {"regions": labels, "names": {0: "region 0"}, "batch_size": batch}
    captum = {
        "baselines": fill_images(image, "blur"), "feature_mask": torch.from_numpy(labels)[None, None],
        "perturbations_per_eval": batch, "target": 1,
    }  # fmt: skip
    versions = image.repeat(batch, 1, 1, 1)

    def bare(_seed: int) -> None:
        with torch.inference_mode():
            for start in range(0, 2**players, batch):
                network(versions[: min(batch, 2**players - start)])

    def exact(_seed: int) -> np.ndarray:
        found = wb.explain(model, cohort, "region-shap", target="each", **asked)
        region_interactions(found["yes"])
        return region_table(found["yes"])["value"].to_numpy()

    def sampled(seed: int) -> np.ndarray:
        # 2^8 coalitions of 8 regions are all there are.
        few = {"exact": players - 1, "samples": min(256, 2**players // 2), "error": None, "seed": seed}
        found = wb.explain(model, cohort, "region-shap", target="each", **asked, **few)
        return region_table(found["yes"])["value"].to_numpy()

    def peer(method: object, samples: int) -> Callable[[int], np.ndarray]:
        def run(seed: int) -> np.ndarray:
            torch.manual_seed(seed)
            np.random.seed(seed)  # noqa: NPY002  captum's permutations come from it
            spread = method.attribute(image, n_samples=samples, **captum)[0, 0].numpy()
            return np.array([spread[labels == region].mean() for region in range(players)])

        return run

    return Contest(
        players,
        network,
        {
            "bare forward passes": bare,
            "exact, all interactions": exact,
            "sampled": sampled,
            "captum ShapleyValueSampling, 25": peer(ShapleyValueSampling(network), 25),
            "captum KernelShap, 256": peer(KernelShap(network), 256),
        },
    )


def report(given: Contest, repeats: int) -> None:
    seconds: dict[str, list[float]] = {who: [] for who in given.contestants}
    answers: dict[str, list[np.ndarray]] = {who: [] for who in given.contestants}
    counts: dict[str, int] = {}
    for repeat in range(max(repeats, len(SEEDS))):
        for who, run in given.contestants.items():
            estimate = who not in {"bare forward passes", "exact, all interactions"}
            if repeat >= (len(SEEDS) if estimate else repeats):
                continue
            start = time.process_time()
            counts[who], values = counted(given.network, run, repeat)
            seconds[who].append(time.process_time() - start)
            if values is not None:
                answers[who].append(values)
    right = answers["exact, all interactions"][0]
    for who, taken in seconds.items():
        ratio = median(own / bare for own, bare in zip(taken, seconds["bare forward passes"], strict=False))
        row = [str(given.players), who, f"{counts[who]:,}", f"{median(taken):.2f}", f"{ratio:.2f}"]
        if answers[who]:
            off = mean(float(np.abs(values - right).max()) for values in answers[who]) / np.ptp(right)
            left = mean(float(abs(values.sum() - right.sum())) for values in answers[who]) / np.ptp(right)
            row += [f"{off:.1%}", f"{left:.1%}"]
        else:
            row += ["", ""]
        print(f"| {' | '.join(row)} |", flush=True)


def counted(
    network: torch.nn.Module, run: Callable[[int], np.ndarray | None], seed: int
) -> tuple[int, np.ndarray | None]:
    """Run, and count the inputs that the network got."""
    seen = [0]

    def add(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        seen[0] += len(inputs[0])

    handle = network.register_forward_pre_hook(add)
    try:
        values = run(seed)
    finally:
        handle.remove()
    return seen[0], values


if __name__ == "__main__":
    main()

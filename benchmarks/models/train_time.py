"""How long does the default training take, how good does it get, and what does our loop cost beside a bare one?

    nice python benchmarks/models/train_time.py [--seeds 7 8] [--repeats 5]

Prints two Markdown tables: the default phantom under the default training, and milliseconds a step of the same network
on the same batches, with augmentation off. The two loops take turns, so that load on the machine meets both.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from statistics import median

import torch
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy

import workbench as wb
from workbench.models import train as loop_module
from workbench.models.networks import build_network
from workbench.models.parts import default_preprocessing
from workbench.models.train import WEIGHT_DECAY

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="*", default=[7, 8])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    build_network("compact", channels=1, classes=2, dimensions=2)  # MONAI's import is not the training's time
    print(f"## Default training on the default phantom, {torch.get_num_threads()} threads\n")
    print("| seed | images trained on | epochs | seconds | CPU seconds | best tune AUROC | test AUROC | ideal AUROC |")
    print("|---|---|---|---|---|---|---|---|")
    for seed in options.seeds:
        print(trained_row(seed), flush=True)
    parts = wb.load("phantom-mammography", seed=options.seeds[0]).split(by="patient", seed=options.seeds[0])
    turns = [(ours(parts), bare(parts)) for _ in range(options.repeats)]
    print(f"\n## One step, compact, {BATCH} images, augmentation off; median of {options.repeats} epochs\n")
    print("| loop | ms | CPU ms |\n|---|---|---|")
    for name, epochs in zip(("Workbench", "bare PyTorch"), zip(*turns, strict=True), strict=True):
        print(f"| {name} | {' | '.join(f'{median(column) * 1e3:.1f}' for column in zip(*epochs, strict=True))} |")
    ratios = [ours_cpu / bare_cpu for (_, ours_cpu), (_, bare_cpu) in turns]
    print(f"\nCPU time, ours to bare, in the same turn: {median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})")


def trained_row(seed: int) -> str:
    cohort = wb.load("phantom-mammography", seed=seed)
    train, tune, test = cohort.split(by="patient", seed=seed)
    wall, cpu = time.perf_counter(), time.process_time()
    model = wb.train(train, tune, seed=seed)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    predictions, truth = model.predict(test), cohort.card["truth"]
    history = model.record["history"]
    return (
        f"| {seed} | {len(train)} | {len(history)} | {wall:.0f} | {cpu:.0f} | {max(e['tune_auroc'] for e in history):.3f} "
        f"| {roc_auc_score(predictions.labels, predictions.scores[:, 1]):.3f} | {truth['ideal_auroc']:.3f} "
        f"({truth['ideal_auroc_low']:.3f}–{truth['ideal_auroc_high']:.3f}) |"
    )


def ours(parts: tuple[wb.Cohort, ...]) -> tuple[float, float]:
    """Seconds and CPU seconds from one step's beginning to the next's, in one epoch of `wb.train`."""
    stamps, step = [], loop_module._step
    loop_module._step = lambda *given: (stamps.append(now()), step(*given))[1]
    try:
        wb.train(*parts[:2], epochs=1, augment=False, batch_size=BATCH)
    finally:
        loop_module._step = step
    return between(stamps)


def bare(parts: tuple[wb.Cohort, ...]) -> tuple[float, float]:
    """The same of the shortest loop one could write."""
    recipe = default_preprocessing(parts[0])
    images = torch.stack([torch.from_numpy(recipe(parts[0].image(name))) for name in parts[0].ids])
    labels = torch.from_numpy(parts[0].labels)
    network = build_network("compact", channels=1, classes=2, dimensions=2).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=WEIGHT_DECAY)
    stamps = []
    for chosen in torch.randperm(len(images)).split(BATCH):
        stamps.append(now())
        loss = cross_entropy(network(images[chosen]), labels[chosen])
        loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return between(stamps)


def now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def between(stamps: list[tuple[float, float]]) -> tuple[float, float]:
    """Median seconds and CPU seconds from one stamp to the next, the first two (warming up) left out."""
    pairs = list(pairwise(stamps[2:]))
    return median(b[0] - a[0] for a, b in pairs), median(b[1] - a[1] for a, b in pairs)


if __name__ == "__main__":
    main()

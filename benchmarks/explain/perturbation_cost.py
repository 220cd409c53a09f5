"""What do occlusion and RISE cost beside the bare forward passes they need, and with how few do they come near the map?

    nice python benchmarks/explain/perturbation_cost.py [--size 128] [--side 32] [--batch 16] [--repeats 3] [--masks 1024]
        [--seeds 6] [--images 12]

Prints three Markdown tables. The first: one image, CPU seconds as a ratio to as many bare forward passes under inference
mode, in batches of the same size, on one thread; the contestants take turns within each repeat and ratios are medians
over repeats. The second and third ask small networks that were trained here, within seconds, to find one bright
spot in noise, so that there is a local cue: how near coarse-to-fine occlusion comes to the full map, and how much a
RISE map differs from one seed to the next beside RISE as its authors draw it.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from contest import as_cohort, machine, quiet_and_single, ratio, resnet, take_turns
from scipy.ndimage import gaussian_filter
from torch import nn

from workbench.explain.attribute import explain
from workbench.explain.fill import FILLS, fill_images
from workbench.explain.windows import Windows
from workbench.models.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

OCCLUSION = ("black", "blur", "inpaint", "captum", "MONAI")
BUDGETS = (0.1, 0.2, 0.33, 0.5)
RISE_MASKS = 256
CELLS = {2: 7, 3: 4}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    defaults = {"size": 128, "side": 32, "batch": 16, "repeats": 3, "masks": 1024, "seeds": 6, "images": 12}
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    quiet_and_single()
    print(f"{machine()}\n\n## Beside the bare forward passes, one image in batches of {options.batch}\n")
    columns = [*(f"occlusion, {who}" if who in FILLS else who for who in OCCLUSION), f"RISE, {RISE_MASKS} masks"]
    print(f"| network | forward, ms | windows | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 3)}")
    for axes, side in ((2, options.size), (3, options.side)):
        print_cost(axes, side, options)
    trained = {axes: spot_finder(axes, side) for axes, side in ((2, 64), (3, 32))}
    print("\n## Coarse to fine: correlation with the full map of the same fill (median, lowest)\n")
    print(f"| images | fill | {' | '.join(f'{budget:.0%} of the passes' for budget in BUDGETS)} | a window a stride |")
    print(f"|{'---|' * (len(BUDGETS) + 3)}")
    for axes, (network, images) in trained.items():
        print_narrowed(axes, network, images[: options.images])
    print(
        f"\n## RISE, {options.masks} masks: how far maps of {options.seeds} seeds lie apart, as a part of the map's spread\n"
    )
    print(
        "| images | fill | here | told by the map | paper's | paper's less the mean | mask and opposite | paper's masks for the same |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for axes, (network, images) in trained.items():
        for fill in ("black", "blur"):
            print_spread(axes, network, images[:1], (fill, options))


def print_cost(axes: int, side: int, options: argparse.Namespace) -> None:
    network, image = resnet(axes), torch.randn(1, 1, *[side] * axes, generator=torch.Generator().manual_seed(0))
    window = side // (8 if axes == 2 else 4)
    seconds = take_turns(contest(network, image, window=window, batch=options.batch), options.repeats)
    windows = (side // window) ** axes
    forward = np.median(seconds["forward"]) / (windows + 1) * 1e3
    ratios = [*(ratio(seconds, who) for who in OCCLUSION), ratio(seconds, "RISE", "forward for RISE")]
    told = " | ".join(f"{one:.2f}" for one in ratios)
    print(f"| ResNet18, {' × '.join([str(side)] * axes)} | {forward:.1f} | {windows} | {told} |", flush=True)


def contest(network: nn.Module, image: torch.Tensor, *, window: int, batch: int) -> dict[str, Callable[[], Any]]:
    from captum.attr import Occlusion
    from monai.visualize import OcclusionSensitivity

    model, cohort, sides = (
        Model.wrap(network, classes=("no", "yes")),
        as_cohort(image),
        (1, *[window] * (image.dim() - 2)),
    )
    captum = Occlusion(network)
    monai = OcclusionSensitivity(network, window, batch, verbose=False, mode=0.0, overlap=0.0, activate=False)
    settings = {"target": "yes", "batch_size": batch}

    def forward(count: int) -> None:
        # As the work really comes: the image alone, then full batches.
        with torch.inference_mode():
            network(image)
            for first in range(0, count, batch):
                network(image.expand(min(batch, count - first), *image.shape[1:]).contiguous())

    def occlude(fill: str) -> Callable[[], Any]:
        return lambda: explain(model, cohort, "occlusion", window=window, stride=window, fill=fill, **settings)

    def with_captum() -> None:
        with torch.inference_mode():
            captum.attribute(image, sides, sides, target=1, perturbations_per_eval=batch)

    def with_monai() -> None:
        with torch.inference_mode():
            monai(image)

    windows = Windows.over(image.shape[2:], window=window, stride=window).count
    return {
        "forward": lambda: forward(windows), **{fill: occlude(fill) for fill in ("black", "blur", "inpaint")},
        "captum": with_captum, "MONAI": with_monai, "forward for RISE": lambda: forward(RISE_MASKS),
        "RISE": lambda: explain(model, cohort, "rise", masks=RISE_MASKS, **settings),
    }  # fmt: skip


def print_narrowed(axes: int, network: nn.Module, images: np.ndarray) -> None:
    model, cohort, settings = (
        Model.wrap(network, classes=("no", "yes")),
        as_cohort(images),
        {"target": "yes", "batch_size": 64},
    )
    for fill in FILLS:
        full = explain(model, cohort, "occlusion", fill=fill, **settings).maps
        told = []
        for budget in BUDGETS:
            found = explain(model, cohort, "occlusion", fill=fill, coarse_to_fine=budget, **settings).maps
            told.append(correlation(full, found))
        window = Windows.over(images.shape[2:]).window
        plain = explain(model, cohort, "occlusion", fill=fill, stride=window, **settings)
        whole = Windows.over(images.shape[2:]).count
        part = plain.to_frame()["evaluations"].iloc[0] / whole
        told.append(f"{correlation(full, plain.maps)} at {part:.0%}")
        print(f"| {axes}-D, {whole} windows | {fill} | {' | '.join(told)} |", flush=True)


def correlation(full: np.ndarray, found: np.ndarray) -> str:
    values = [np.corrcoef(one.ravel(), other.ravel())[0, 1] for one, other in zip(full, found, strict=True)]
    return f"{np.median(values):.3f}, {np.min(values):.2f}"


def print_spread(axes: int, network: nn.Module, images: np.ndarray, asked: tuple[str, argparse.Namespace]) -> None:
    fill, options = asked
    model, cohort = Model.wrap(network, classes=("no", "yes")), as_cohort(images)
    settings = {"target": "yes", "batch_size": 64, "masks": options.masks, "cells": CELLS[axes], "fill": fill}
    runs = [explain(model, cohort, "rise", seed=seed, **settings) for seed in range(options.seeds)]
    own, scale = spread([run.maps[0] for run in runs])
    told = np.sqrt(np.mean([run.errors**2 for run in runs])) / scale
    apart = [
        spread(
            [papers(network, images, (fill, how), masks=options.masks, seed=seed) for seed in range(options.seeds)],
            scale,
        )[0]
        for how in ("plain", "less the mean", "opposites")
    ]
    times = (apart[0] / own) ** 2
    columns = [f"{one:.3f}" for one in (own, told, *apart)]
    print(f"| {axes}-D | {fill} | {' | '.join(columns)} | {times:.0f} × as many |", flush=True)


def spread(maps: list[np.ndarray], scale: float | None = None) -> tuple[float, float]:
    """Return the standard deviation between maps, as a part of their mean's over the image (or of `scale`), and that."""
    scale = scale or float(np.mean(maps, axis=0).std())
    return float(np.sqrt(np.var(maps, axis=0, ddof=1).mean())) / scale, scale


def papers(network: nn.Module, images: np.ndarray, how: tuple[str, str], *, masks: int, seed: int) -> np.ndarray:
    """RISE as its authors draw it: independent masks, each with a shift of its own."""
    fill, kind = how
    image, generator = torch.from_numpy(images), np.random.default_rng(seed)
    axes, sides = images.ndim - 2, images.shape[2:]
    cells = CELLS[axes]
    width = -(-sides[0] // cells)
    drawn = []
    for _ in range(masks // 2 if kind == "opposites" else masks):
        grid = torch.from_numpy(generator.random((1, 1, *[cells + 1] * axes)) < 0.5).float()
        large = nn.functional.interpolate(grid, scale_factor=width, mode="bilinear" if axes == 2 else "trilinear")
        first = generator.integers(0, width, axes)
        drawn.append(large[(0, 0, *[slice(a, a + side) for a, side in zip(first, sides, strict=True)])])
    seen = torch.stack(drawn)
    if kind == "opposites":
        seen = torch.cat([seen, 1 - seen])
    behind = fill_images(image, fill)
    with torch.inference_mode():
        scores = torch.cat([network(torch.lerp(behind, image, part[:, None]))[:, 1] for part in seen.split(64)])
    if kind != "plain":
        scores = scores - scores.mean()
    return (torch.einsum("m,m...->...", scores, seen) / len(seen) / 0.5).numpy()


def spot_finder(axes: int, side: int) -> tuple[nn.Module, np.ndarray]:
    """Train a small network to tell smooth noise with one bright spot from noise alone; return it, and images with one."""
    torch.manual_seed(0)
    conv, norm, pool = (
        (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d),
        (nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d),
    )[axes - 2]
    layers, before = [], 1
    for width in (8, 16, 16, 32):
        stride = 1 if before == 1 and axes == 2 else 2
        layers += [conv(before, width, 3, stride=stride, padding=1), norm(width), nn.ReLU()]
        before = width
    network = nn.Sequential(*layers, pool(1), nn.Flatten(), nn.Linear(before, 2))
    images, labels = (torch.from_numpy(values) for values in spots(800, axes, side=side, seed=0))
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(6):
        for part in torch.randperm(len(images)).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[part]), labels[part]).backward()
            optimiser.step()
    shown, labels = spots(200, axes, side=side, seed=1)
    network.eval()
    return network, shown[labels == 1]


def spots(count: int, axes: int, *, side: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator, grid = np.random.default_rng(seed), np.indices([side] * axes)
    images = np.stack([2 * gaussian_filter(generator.normal(size=[side] * axes), 2)[None] for _ in range(count)])
    labels = generator.integers(0, 2, count)
    for row in np.flatnonzero(labels):
        centre = generator.uniform(0.2 * side, 0.8 * side, axes).reshape(-1, *[1] * axes)
        images[row, 0] += 2.5 * np.exp(-0.5 * ((grid - centre) ** 2).sum(0) / (0.053 * side) ** 2)
    return images.astype(np.float32), labels


if __name__ == "__main__":
    main()

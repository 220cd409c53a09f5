"""What do deletion, insertion and ROAD cost beside the bare forward passes they need? Prints two Markdown tables.

    nice python benchmarks/explain/faithfulness_cost.py [--images 2] [--repeats 2] [--size 96] [--large 224] [--depth 16]

The first tells CPU seconds for one cohort as a ratio to as many bare forward passes in batches of the same size.
The second compares the imputation of removed pixels with the direct sparse solve that pytorch-grad-cam, Quantus and the
paper's own code do for each image and percentile (one equation a pixel in a ``lil_matrix``, ``spsolve``), and with the
quickest direct solve we could write (assembled at once, SuperLU with symmetric ordering), on the same holes.

CPU seconds of this process on one thread; the contestants take turns within each repeat, so that load on the machine
meets all of them; ratios are medians over repeats.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import product
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch
from contest import as_cohort, densenet, machine, quiet_and_single, resnet, take_turns
from scipy.ndimage import gaussian_filter
from scipy.sparse import csc_matrix, lil_matrix
from scipy.sparse.linalg import splu, spsolve

from workbench.explain.attribute import explain
from workbench.explain.quality.faithfulness import faithfulness
from workbench.explain.quality.imputation import impute
from workbench.explain.quality.infidelity import infidelity
from workbench.explain.quality.road import road
from workbench.explain.quality.study import study_of
from workbench.models.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 16
WEIGHTS = {2: {1: 1 / 6, 2: 1 / 12}, 3: {1: 4 / 56, 2: 2 / 56, 3: 1 / 56}}
PASSES = {"deletion and insertion": 77, "ROAD": 72, "infidelity": 65}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 2), ("repeats", 2), ("size", 96), ("large", 224), ("depth", 16)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    quiet_and_single()
    print(f"{machine()}\n")
    print(
        f"## Beside the bare forward passes, {options.images} images of {options.size}² and one volume of {options.depth} × {2 * options.depth}²\n"
    )
    print(f"| network | forward, ms | {' | '.join(f'{part}, {passes} passes' for part, passes in PASSES.items())} |")
    print("|---|---|---|---|---|")
    for name, (network, images) in networks(options).items():
        seconds = take_turns(contest(network, images), options.repeats)
        ratios = [
            f"{median(own / bare / PASSES[part] for own, bare in zip(seconds[part], seconds['forward'], strict=True)):.2f}"
            for part in PASSES
        ]
        print(f"| {name} | {median(seconds['forward']) * 1e3:.1f} | {' | '.join(ratios)} |", flush=True)
    print("\n## Imputing removed pixels, ms an image and percentile\n")
    print(
        "| image | removed | as peers | direct, at best | Workbench | as peers ÷ Workbench | largest difference, in SD |"
    )
    print("|---|---|---|---|---|---|---|")
    for shape in ((options.size,) * 2, (options.large,) * 2, (options.depth,) * 3):
        for kind, part in product(("scattered", "blob"), (0.1, 0.5, 0.9)):
            print(imputation_row(shape, kind, part, options.repeats), flush=True)


def networks(options: argparse.Namespace) -> dict[str, tuple[torch.nn.Module, torch.Tensor]]:
    draw = torch.Generator().manual_seed(0)
    plane = torch.randn(options.images, 1, options.size, options.size, generator=draw)
    volume = torch.randn(1, 1, options.depth, 2 * options.depth, 2 * options.depth, generator=draw)
    return {
        "DenseNet121": (densenet(), plane),
        "ResNet18": (resnet(), plane),
        "ResNet18, 3-D": (resnet(3), volume),
    }


def contest(network: torch.nn.Module, images: torch.Tensor) -> dict[str, Callable[[], float | None]]:
    model, cohort = Model.wrap(network, classes=("no", "yes")), as_cohort(images)
    # Smooth maps: what a class activation map looks like, and what is hardest to impute.
    maps = gaussian_filter(np.random.default_rng(0).normal(size=images[:, 0].shape), [0, *[3] * (images.dim() - 2)])
    study = study_of(model, replace(explain(model, cohort, "saliency", target="yes"), maps=maps), batch_size=BATCH)
    batch = images[:1].repeat(BATCH, *[1] * (images.dim() - 1))

    def forward() -> float:
        """Seconds for one image in a full batch, the median of four batches."""
        seconds = []
        for _ in range(4):
            start = time.process_time()
            with torch.inference_mode():
                network(batch)
            seconds.append(time.process_time() - start)
        return median(seconds) / BATCH

    def each(run: Callable[[], object]) -> Callable[[], float]:
        def timed() -> float:
            start = time.process_time()
            run()
            return (time.process_time() - start) / len(images)

        return timed

    return {
        "forward": forward,
        "deletion and insertion": each(lambda: faithfulness(study)),
        "ROAD": each(lambda: road(study)),
        "infidelity": each(lambda: infidelity(study)),
    }


def imputation_row(shape: tuple[int, ...], kind: str, part: float, repeats: int) -> str:
    draw = np.random.default_rng(0)
    image = (gaussian_filter(draw.normal(size=shape), 3) * 8 + 0.3 * draw.normal(size=shape)).astype(np.float32)
    field = draw.normal(size=shape)
    field = gaussian_filter(field, [side / 6 for side in shape]) if kind == "blob" else field
    removed = field >= np.quantile(field, 1 - part)
    images = torch.from_numpy(image)[None, None].repeat(BATCH, *[1] * (len(shape) + 1))
    holes = torch.from_numpy(removed)[None].repeat(BATCH, *[1] * len(shape))
    results: dict[str, np.ndarray] = {}

    def timed(who: str, run: Callable[[], np.ndarray], count: int = 1) -> Callable[[], float]:
        def once() -> float:
            start = time.process_time()
            results[who] = run()
            return (time.process_time() - start) / count

        return once

    seconds = take_turns(
        {
            "peers": timed("peers", lambda: spsolve(*system(image, removed, row_by_row=True))),
            "direct": timed("direct", lambda: quick_direct(*system(image, removed))),
            "ours": timed("ours", lambda: impute(images, holes)[0, 0].numpy()[removed], BATCH),
        },
        repeats,
    )
    peers, direct, ours = (median(seconds[who]) * 1e3 for who in ("peers", "direct", "ours"))
    far = np.abs(results["ours"] - results["peers"]).max() / image.std()
    size = " × ".join(map(str, shape))
    return f"| {size} | {kind}, {part:.0%} | {peers:.1f} | {direct:.1f} | {ours:.1f} | {peers / ours:.0f} | {far:.0e} |"


def system(image: np.ndarray, removed: np.ndarray, *, row_by_row: bool = False) -> tuple[csc_matrix, np.ndarray]:
    """One equation a removed pixel: its neighbours' weights times (itself − neighbour) add up to zero."""
    number = np.full(removed.shape, -1)
    number[removed] = np.arange(removed.sum())
    places, count = np.argwhere(removed), int(removed.sum())
    matrix = lil_matrix((count, count)) if row_by_row else None
    right, total = np.zeros(count), np.zeros(count)
    entries: list[tuple[np.ndarray, np.ndarray, float]] = []
    for offset in product((-1, 0, 1), repeat=removed.ndim):
        if not any(offset):
            continue
        weight = WEIGHTS[removed.ndim][sum(map(abs, offset))]
        near = places + offset
        within = ((near >= 0) & (near < removed.shape)).all(1)
        rows, near = np.flatnonzero(within), tuple(near[within].T)
        total[rows] += weight
        column = number[near]
        known = column < 0
        right[rows[known]] += weight * image[near][known]
        if matrix is not None:
            matrix[rows[~known], column[~known]] = -weight
        else:
            entries.append((rows[~known], column[~known], -weight))
    if matrix is not None:
        matrix[np.arange(count), np.arange(count)] = total
        return csc_matrix(matrix), right
    rows = np.concatenate([np.arange(count), *(row for row, _, _ in entries)])
    columns = np.concatenate([np.arange(count), *(column for _, column, _ in entries)])
    values = np.concatenate([total, *(np.full(len(row), weight) for row, _, weight in entries)])
    return csc_matrix((values, (rows, columns)), shape=(count, count)), right


def quick_direct(matrix: csc_matrix, right: np.ndarray) -> np.ndarray:
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    return factors.solve(right)


if __name__ == "__main__":
    main()

"""What does it cost to explain a large cohort to disk, beside the bare forward passes? Prints a Markdown table.

    nice python benchmarks/explain/streaming.py [--images 2000] [--size 224] [--network densenet121] [--batch 16]

Images lie in a memory-mapped array, as a saved cohort's do. Bare: read a batch, run the network under inference mode,
drop the answer. Workbench: Grad-CAM of every image, maps on the input's grid written to a folder, hashed, sealed, and
opened again. The two run in turns on chunks of the cohort, so that load on the machine meets both; then the whole cohort
is explained by one call, whose time and memory are told. Peak memory is the process's own (anonymous) memory.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import threading
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import psutil
import torch

import workbench as wb
from workbench.cohorts.pixels import ArrayPixels
from workbench.models.networks import build_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("images", 2000), ("size", 224), ("batch", 16), ("turns", 5), ("chunk", 160)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--network", default="densenet121")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cohort, model = set_up(folder, options)
        print(f"{platform.platform()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
        print(f"## Grad-CAM to disk, {options.network} at {options.size}², batches of {options.batch}\n")
        turns = take_turns(model, cohort, folder, options)
        bare, ours = (median(times) for times in zip(*turns, strict=True))
        print("| | images/s | share of bare |\n|---|---|---|")
        print(f"| bare forward passes, in turns of {options.chunk} | {options.chunk / bare:.1f} | 1.00 |")
        share = median(b / o for b, o in turns)
        print(f"| workbench, in the same turns | {options.chunk / ours:.1f} | {share:.2f} |")
        for images in (options.images // 10, options.images):
            seconds, growth, size = one_call(
                model, cohort.subset(cohort.ids[:images]), folder / f"all-{images}", options.batch
            )
            print(
                f"| workbench, {images} images by one call | {images / seconds:.1f} | memory +{growth:.0f} MiB, "
                f"{size:.0f} MiB of maps |",
                flush=True,
            )


def set_up(folder: Path, options: argparse.Namespace) -> tuple[wb.Cohort, wb.Model]:
    shape = (options.images, 1, options.size, options.size)
    stored = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.float32, shape=shape)
    generator = np.random.default_rng(0)
    for start in range(0, options.images, 256):
        stored[start : start + 256] = generator.standard_normal(
            (min(256, options.images - start), *shape[1:]), np.float32
        )
    stored.flush()
    ids = [f"i{row:06d}" for row in range(options.images)]
    table = pd.DataFrame({"patient": ids, "label": "no"}, index=pd.Index(ids, name="id"))
    pixels = ArrayPixels.of(np.load(folder / "images.npy", mmap_mode="r"), ids)
    torch.manual_seed(0)
    network = build_network(options.network, channels=1, classes=2, dimensions=2)
    return wb.Cohort(table, ("no", "yes"), (), pixels), wb.Model.wrap(network, classes=["no", "yes"])


def take_turns(
    model: wb.Model, cohort: wb.Cohort, folder: Path, options: argparse.Namespace
) -> list[tuple[float, float]]:
    times = []
    for turn in range(options.turns + 1):
        first = (turn * options.chunk) % max(1, len(cohort) - options.chunk)
        part = cohort.subset(cohort.ids[first : first + options.chunk])
        start = time.perf_counter()
        bare(model, part, options.batch)
        middle = time.perf_counter()
        wb.explain(model, part, "gradcam", batch_size=options.batch, out=folder / f"turn-{turn}")
        if turn:  # the first warms up
            times.append((middle - start, time.perf_counter() - middle))
    return times


def bare(model: wb.Model, cohort: wb.Cohort, batch: int) -> None:
    model.network.eval()
    with torch.inference_mode():
        for start in range(0, len(cohort), batch):
            model.network(model.inputs(cohort, cohort.ids[start : start + batch]))


def one_call(model: wb.Model, cohort: wb.Cohort, out: Path, batch: int) -> tuple[float, float, float]:
    process, peak, running = psutil.Process(), [0], threading.Event()

    def watch() -> None:
        while not running.wait(0.05):
            memory = process.memory_info()
            peak[0] = max(peak[0], memory.rss - memory.shared)

    before = process.memory_info().rss - process.memory_info().shared
    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    maps = wb.explain(model, cohort, "gradcam", batch_size=batch, out=out)
    seconds = time.perf_counter() - start
    running.set()
    watcher.join()
    return seconds, (peak[0] - before) / 2**20, maps.maps.nbytes / 2**20


if __name__ == "__main__":
    main()

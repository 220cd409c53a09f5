"""What does an audit of somebody's CSV cost in a fresh process, and what does moving the threshold? Prints Markdown.

    python benchmarks/audit/front_door.py [--rows 10000 1000000] [--slider 100000] [--moves 20]

Eighteen groups (everybody, two sexes, five ages, their crossings; attributes are the patient's), 2.5 images a patient, the
default metrics, 1,000 replicates. A fresh process imports, reads the CSV and audits it; peak memory is all that it held. A
move of the threshold makes both tables that the dashboard shows, values and gaps, with 200 replicates.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

BY = ["sex", "age", ("sex", "age")]
FRESH = """
import resource, time
start = time.perf_counter()
import workbench as wb
wb.audit({path!r}, {by!r}, label="truth", score="p", patient="who")
used = resource.getrusage(resource.RUSAGE_SELF)
print(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""


def scores(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    who, truth = rng.integers(0, int(rows / 2.5), rows), (rng.random(rows) < 0.1).astype(int)
    patient = {"sex": rng.choice(["F", "M"], rows)[who], "age": rng.choice(list("abcde"), rows)[who]}
    p = 1 / (1 + np.exp(-(rng.normal(size=rows) + 2 * truth - 1)))
    return pd.DataFrame({"truth": truth, "p": p, "who": who, **patient})


def fresh(rows: int) -> list[float]:
    """Wall seconds, CPU seconds and MB of the best of three processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "scores.csv")
        scores(rows).to_csv(path, index=False)
        command = [sys.executable, "-W", "ignore", "-c", FRESH.format(path=path, by=BY)]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)]
    return min([float(number) for number in run.split()] for run in runs)


def moves(rows: int, count: int) -> tuple[float, float]:
    """Wall and CPU milliseconds of one move."""
    import workbench as wb

    metrics = ["AUROC", "sensitivity", "specificity", "PPV"]
    audit = wb.audit(scores(rows), BY, label="truth", score="p", patient="who", metrics=metrics, replicates=200)
    thresholds = 0.3 + 0.4 * np.arange(count + 1) / count
    for place, threshold in enumerate(thresholds):
        if place == 1:  # the first move sorts the rows
            wall, cpu = time.perf_counter(), time.process_time()
        audit.at(float(threshold))
        audit.gaps_at(float(threshold))
    return 1e3 * (time.perf_counter() - wall) / count, 1e3 * (time.process_time() - cpu) / count


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000])
    asked.add_argument("--slider", type=int, default=100_000)
    asked.add_argument("--moves", type=int, default=20)
    options = asked.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores; Python {platform.python_version()}.\n"
    )
    print("| rows of the CSV | wall, s | CPU, s | peak memory of the process, MB |\n|---:|---:|---:|---:|")
    for rows in options.rows:
        wall, cpu, memory = fresh(rows)
        print(f"| {rows:,} | {wall:.2f} | {cpu:.2f} | {memory:.0f} |", flush=True)
    wall, cpu = moves(options.slider, options.moves)
    print(
        f"\nMoving the threshold at {options.slider:,} rows: {wall:.0f} ms, of which CPU {cpu:.0f} ms, for values and gaps."
    )


if __name__ == "__main__":
    main()

"""How long 1,000 patient-clustered replicates of an audit take, beside a scikit-learn loop and fairlearn.

    python benchmarks/audit/bootstrap.py [--rows 10000 1000000] [--largest 4000000] [--replicates 1000]

Five metrics (AUROC, sensitivity, specificity, PPV, Brier score) in 18 groups: everybody, two sexes, five ages, their ten
crossings; 2.5 images a patient, a tenth positive. Ours also measures the rest of each group, the peers do not. The peers
draw patients with replacement and run a few replicates only; their time for all is that times a factor, marked with ≈.
fairlearn is no dependency: where it cannot be imported its column is left out.

Seconds are of wall clock and of this process's processors. Peak memory is what a fresh process gains on top of what it
held with the data loaded and the loops compiled. "First call" is a fresh process that imports, loads the compiled loops
from their cache and measures 10,000 rows; "first of all" has an empty cache.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from workbench.audit.engine.measure import measure, prepare
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.sample import Design
from workbench.groups import Partition

NAMES = ("AUROC", "sensitivity", "specificity", "PPV", "Brier score")
RATES = ("sensitivity", "specificity", "PPV")


def cohort(rows: int, prevalence: float = 0.1, seed: int = 0) -> Design:
    """Make scores of patients, each of one sex and age, with 2.5 images on average."""
    rng = np.random.default_rng(seed)
    truth = rng.random(rows) < prevalence
    scores = 1 / (1 + np.exp(-(rng.normal(size=rows) + 2 * truth - 1)))
    _, patients = np.unique(rng.integers(0, int(rows / 2.5), rows), return_inverse=True)
    sex, age = rng.integers(0, 2, patients.max() + 1)[patients], rng.integers(0, 5, patients.max() + 1)[patients]
    partitions = (
        Partition("", ("all",), np.zeros(rows, dtype=np.int64)), Partition("sex", ("F", "M"), sex),
        Partition("age", tuple("abcde"), age), Partition("sex × age", tuple("abcdefghij"), sex * 5 + age),
    )  # fmt: skip
    return Design(scores, truth, patients, partitions, np.ones(rows))


def ours(design: Design, replicates: int) -> None:
    measure(design, metrics_of(NAMES), Setting(), replicates=replicates)


def drawn_rows(design: Design, replicates: int):
    """Yield the rows of patients drawn with replacement."""
    rng = np.random.default_rng(0)
    order = np.argsort(design.patients, kind="stable")
    starts = np.searchsorted(design.patients[order], np.arange(design.patients.max() + 2))
    for _ in range(replicates):
        drawn = rng.integers(0, len(starts) - 1, len(starts) - 1)
        length = (starts[1:] - starts[:-1])[drawn]
        within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
        yield order[np.repeat(starts[drawn], length) + within]


def loop(design: Design, replicates: int) -> None:
    """scikit-learn's functions, group by group."""
    from sklearn.metrics import brier_score_loss, precision_score, recall_score, roc_auc_score

    for rows in drawn_rows(design, replicates):
        for partition in design.partitions:
            for code in range(len(partition.names)):
                mine = rows[partition.codes[rows] == code]
                truth, score = design.truth[mine], design.scores[mine]
                call = score >= 0.5
                roc_auc_score(truth, score)
                recall_score(truth, call)
                recall_score(truth, call, pos_label=0)
                precision_score(truth, call)
                brier_score_loss(truth, score)


def fairlearn(design: Design, replicates: int) -> None:
    """Build the three frames that give the same groups; rates want calls, the others scores."""
    from fairlearn.metrics import MetricFrame
    from sklearn.metrics import brier_score_loss, precision_score, recall_score, roc_auc_score

    metrics = {
        "AUROC": roc_auc_score, "Brier score": brier_score_loss,
        "sensitivity": lambda truth, score: recall_score(truth, score >= 0.5),
        "specificity": lambda truth, score: recall_score(truth, score >= 0.5, pos_label=0),
        "PPV": lambda truth, score: precision_score(truth, score >= 0.5),
    }  # fmt: skip
    sex, age = (design.partitions[place].codes for place in (1, 2))
    for rows in drawn_rows(design, replicates):
        for features in ({"sex": sex[rows]}, {"age": age[rows]}, {"sex": sex[rows], "age": age[rows]}):
            frame = MetricFrame(
                metrics=metrics, y_true=design.truth[rows].astype(int), y_pred=design.scores[rows],
                sensitive_features=features,
            )  # fmt: skip
            assert len(frame.overall) == len(frame.by_group.columns)


def seconds(call, repeats: int = 1) -> tuple[float, float]:
    """Return the medians of wall and processor seconds."""
    wall, cpu = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    return statistics.median(wall), statistics.median(cpu)


def resident(field: str) -> int:
    """Return a number of bytes from the kernel's account of this process; 0 where there is none."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.is_file() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), 0)


def peak(rows: int, replicates: int) -> None:
    """Print the megabytes gained at the worst moment, over what is held with the data in memory."""
    ours(cohort(1000), 100)
    design = cohort(rows)
    gc.collect()
    clear = Path("/proc/self/clear_refs")
    clear.write_text("5", encoding="utf-8")  # set the peak back to what is held now
    before = resident("VmRSS")
    ours(design, replicates)
    print((resident("VmHWM") - before) / 2**20)


def fresh(code: str, **environment: str) -> list[float]:
    """Run code in a new process and return the numbers that it prints."""
    place = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": place} | environment,
    )  # fmt: skip
    return [float(number) for number in done.stdout.split()]


FIRST_CALL = """
import time
start = time.perf_counter()
from bootstrap import cohort, ours
imported, making = time.perf_counter(), time.process_time()
design = cohort(10_000)
made, making = time.perf_counter(), time.process_time() - making
ours(design, 1000)
print(time.perf_counter() - made + imported - start, time.process_time() - making)
"""


def machine() -> str:
    """Name what it ran on."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text(encoding="utf-8").splitlines() if cpu.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    load = f", load {os.getloadavg()[0]:.1f} at the start" if hasattr(os, "getloadavg") else ""
    return f"{name}, {os.cpu_count()} cores{load}; Python {platform.python_version()}, numpy {np.__version__}."


def peers() -> dict:
    """Return the peers that are installed, each with its number of replicates for a million rows' worth of work."""
    try:
        import fairlearn as _  # noqa: F401
    except ImportError:
        print("fairlearn is not installed; its column is left out.\n")
        return {"scikit-learn loop": loop}
    return {"scikit-learn loop": loop, "fairlearn MetricFrame": fairlearn}


def main() -> None:
    warnings.simplefilter("ignore")
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    asked.add_argument("--largest", type=int, default=4_000_000)
    asked.add_argument("--replicates", type=int, default=1000)
    given = asked.parse_args()
    print(machine() + "\n")
    beside = peers()
    heads = "".join(f" {who}, CPU s | times ours |" for who in beside)
    print(f"| rows | {given.replicates} replicates, wall s | CPU s | ns a row and replicate | peak, MB |{heads}")
    print("| ---: " * (5 + 2 * len(beside)) + "|")
    ours(cohort(1000), 100)
    for rows in [*given.rows, given.largest]:
        design = cohort(rows)
        wall, cpu = seconds(lambda design=design: ours(design, given.replicates), 9 if rows <= 10_000 else 1)
        (more,) = fresh(f"from bootstrap import peak; peak({rows}, {given.replicates})")
        cells = ""
        for peer in beside.values():
            if rows > 100_000:
                cells += " not run | |"
                continue
            few = 2
            taken = seconds(lambda peer=peer, design=design, few=few: peer(design, few))[1] / few * given.replicates
            cells += f" ≈ {taken:,.0f} | {taken / cpu:,.0f} |"
        print(
            f"| {rows:,} | {wall:.3f} | {cpu:.3f} | {cpu / rows / given.replicates * 1e9:.1f} | {more:.0f} |{cells}",
            flush=True,
        )
    others(given.replicates)


def others(replicates: int) -> None:
    """Print the first call and the slider."""
    fresh(FIRST_CALL)
    again = min(fresh(FIRST_CALL) for _ in range(5))
    with tempfile.TemporaryDirectory() as empty:
        first = fresh(FIRST_CALL, NUMBA_CACHE_DIR=empty)
    design = cohort(100_000)
    held = prepare(design, replicates=200)
    held.measure(metrics_of(RATES), Setting())
    moves = [
        seconds(lambda cut=cut: held.measure(metrics_of(RATES), Setting(threshold=cut)))
        for cut in np.linspace(0.2, 0.8, 21)
    ]
    wall, cpu = (statistics.median(part) for part in zip(*moves, strict=True))
    worst = max(move[0] for move in moves)
    print("\n| what | wall s | CPU s |\n| --- | ---: | ---: |")
    print(
        f"| first call in a fresh process: import, load the loops, {replicates} replicates of 10,000 rows; the best of 5 | {again[0]:.2f} | {again[1]:.2f} |"
    )
    print(f"| first of all, nothing compiled yet | {first[0]:.2f} | {first[1]:.2f} |")
    print(
        f"| threshold moved at 100,000 rows, 200 replicates, sensitivity, specificity, PPV: median | {wall:.3f} | {cpu:.3f} |"
    )
    print(f"| the slowest of 21 moves | {worst:.3f} | |")


if __name__ == "__main__":
    main()

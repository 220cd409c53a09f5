"""How long 1,000 patient-clustered replicates of an audit take, beside a loop over scikit-learn.

    python benchmarks/audit/bootstrap.py [--replicates 1000] [--loop 3]

The loop draws patients with replacement and computes AUROC, sensitivity and specificity of every group; it runs only
`--loop` replicates, and its time for all is that times a factor, marked with ≈.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from workbench.audit.bootstrap import bootstrap
from workbench.audit.sample import design_of
from workbench.predictions import Predictions

BY = ("sex", "age", ("sex", "age"))


def predictions(rows: int, prevalence: float = 0.1, seed: int = 0) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = (rng.random(rows) < prevalence).astype(int)
    frame = {
        "truth": truth, "p": 1 / (1 + np.exp(-(rng.normal(size=rows) + 2 * truth - 1))),
        "who": rng.integers(0, int(rows / 2.5), rows),
        "sex": rng.choice(["F", "M"], rows), "age": rng.choice(list("abcde"), rows),
    }  # fmt: skip
    return Predictions.from_table(pd.DataFrame(frame), label="truth", score="p", patient="who")


def loop(design, replicates: int) -> None:
    rng = np.random.default_rng(0)
    order = np.argsort(design.patients, kind="stable")
    starts = np.searchsorted(design.patients[order], np.arange(design.patients.max() + 2))
    for _ in range(replicates):
        drawn = rng.integers(0, len(starts) - 1, len(starts) - 1)
        rows = np.concatenate([order[starts[patient] : starts[patient + 1]] for patient in drawn])
        for partition in design.partitions:
            codes = partition.codes[rows]
            for code in range(len(partition.names)):
                truth, score = design.truth[rows[codes == code]], design.scores[rows[codes == code]]
                roc_auc_score(truth, score)
                (score[truth] >= 0.5).mean(), (score[~truth] < 0.5).mean()


def seconds(call) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--replicates", type=int, default=1000)
    asked.add_argument("--loop", type=int, default=3)
    given = asked.parse_args()
    print(f"| rows | groups | {given.replicates} replicates, wall s | CPU s | loop, CPU s | ratio a replicate |")
    print("| --- | --- | --- | --- | --- | --- |")
    for rows in (10_000, 100_000):
        design = design_of(predictions(rows), BY, "1")
        wall, cpu = seconds(lambda design=design: bootstrap(design, 0.5, replicates=given.replicates, seed=0))
        _, peer = seconds(lambda design=design: loop(design, given.loop))
        whole = peer / given.loop * given.replicates
        groups = sum(len(partition.names) for partition in design.partitions)
        print(f"| {rows:,} | {groups} and their rests | {wall:.2f} | {cpu:.2f} | ≈ {whole:.0f} | {whole / cpu:.0f} × |")


if __name__ == "__main__":
    main()

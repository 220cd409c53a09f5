"""How long a reader study takes to analyse, beside a plain jackknife loop.

    python benchmarks/audit/mrmc.py [--readers 20] [--cases 200 2000 10000] [--loop 5]

The loop leaves out one case at a time and computes every reader's area with scikit-learn, as published scripts do; it
runs for only `--loop` of the cases, and its time for all is that times a factor, marked with ≈. All times are of one call
from table to finding, the best of three.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

import workbench as wb

COLUMNS = {"reader": "reader", "modality": "modality", "case": "case", "score": "score", "label": "label"}
ROUTES = {
    "OR, DeLong": {}, "OR, jackknife": {"covariance": "jackknife"}, "OR, unbiased": {"covariance": "unbiased"},
    "DBM": {"method": "DBM"}, "U": {"method": "U"}, "U, a tenth missing": {"method": "U"},
}  # fmt: skip


def study(readers: int, cases: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    i, j, k = np.indices((2, readers, cases)).reshape(3, -1)
    label = (np.arange(cases) % 4 == 0).astype(int)
    score = 1.2 * label[k] + 0.6 * rng.normal(size=cases)[k] + 0.8 * rng.normal(size=len(k))
    return pd.DataFrame(
        {"modality": np.array(["A", "B"])[i], "reader": j, "case": k, "score": score, "label": label[k]}
    )


def loop(table: pd.DataFrame, cases: int, times: int) -> float:
    """Return the seconds that leaving out every case would take."""
    scores = table["score"].to_numpy().reshape(-1, cases)
    label = table["label"].to_numpy()[:cases]
    start = time.perf_counter()
    for left in range(times):
        rest = np.delete(label, left)
        for row in scores:
            roc_auc_score(rest, np.delete(row, left))
    return (time.perf_counter() - start) * cases / times


def best(table: pd.DataFrame, asked: dict[str, str]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        wb.audit.mrmc(table, **COLUMNS, **asked)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--cases", type=int, nargs="+", default=[200, 2000, 10000])
    parser.add_argument("--loop", type=int, default=5)
    asked = parser.parse_args()
    warnings.simplefilter("ignore", wb.EvidenceWarning)
    print(f"{asked.readers} readers, 2 modalities; seconds")
    print("| analysis | " + " | ".join(f"{cases:,} cases" for cases in asked.cases) + " |")
    print("| --- |" + " ---: |" * len(asked.cases))
    tables = {cases: study(asked.readers, cases) for cases in asked.cases}
    for name, how in ROUTES.items():
        times = []
        for table in tables.values():
            used = table.sample(frac=0.9, random_state=0) if "missing" in name else table
            times.append(best(used, how))
        print(f"| {name} | " + " | ".join(f"{each:.3f}" for each in times) + " |")
    times = [loop(table, cases, asked.loop) for cases, table in tables.items()]
    print("| jackknife loop (scikit-learn) | " + " | ".join(f"≈ {each:,.1f}" for each in times) + " |")


if __name__ == "__main__":
    main()

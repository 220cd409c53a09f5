"""DeLong's AUROC and variance: time against a sort, scikit-learn's AUROC alone, all pairs, and ranks by SciPy.

    python benchmarks/audit/delong.py

Every line is the least of several runs. The naive form stops where its matrix of pairs would pass 3 GB.
"""

from __future__ import annotations

import time

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from workbench.audit.validation.areas import areas

ROWS = (10_000, 30_000, 100_000, 1_000_000, 4_000_000)


def main() -> None:
    print(f"{'rows':>10} {'task':<44} {'ms':>10} {'of np.sort':>11} {'off by':>9}")
    for rows in ROWS:
        measure(rows)


def measure(rows: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(rows) < 0.3
    scores = rng.normal(size=(2, rows)) + truth
    patients = np.arange(rows)
    variance = areas(scores[0], truth).covariance[0, 0]
    tasks = {
        "np.sort": lambda: np.sort(scores[0]),
        "np.argsort": lambda: np.argsort(scores[0]),
        "areas, one model": lambda: areas(scores[0], truth),
        "areas, one model, two decimals (ties)": lambda: areas(scores[0].round(2), truth),
        "areas, two models, paired": lambda: areas(scores, truth, patients),
        "areas, two models, five images a patient": lambda: areas(scores, truth, patients // 5),
        "scikit-learn roc_auc_score (no variance)": lambda: roc_auc_score(truth, scores[0]),
        "midranks by scipy.stats.rankdata": lambda: by_ranks(scores[0], truth),
    }
    if truth.sum() * (~truth).sum() * 8 < 3e9:
        tasks["all pairs (O(mn))"] = lambda: by_pairs(scores[0], truth)
    sort = 0.0
    for name, task in tasks.items():
        took, value = least(task, 5 if rows > 200_000 or "pairs" in name else 9)
        sort = sort or took
        off = f"{abs(value[1] / variance - 1):.0e}" if isinstance(value, tuple) else ""
        print(f"{rows:>10,} {name:<44} {took * 1e3:>10.2f} {took / sort:>11.1f} {off:>9}")


def least(task, runs: int):
    best, value = np.inf, None
    for _ in range(runs):
        start = time.perf_counter()
        value = task()
        best = min(best, time.perf_counter() - start)
    return best, value


def by_ranks(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Sun and Xu's form with midranks."""
    everybody = rankdata(scores)
    m, n = truth.sum(), (~truth).sum()
    ten = (everybody[truth] - rankdata(scores[truth])) / n
    one = 1 - (everybody[~truth] - rankdata(scores[~truth])) / m
    return ten.mean(), ten.var(ddof=1) / m + one.var(ddof=1) / n


def by_pairs(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    pairs = (scores[truth][:, None] > scores[~truth]) + 0.5 * (scores[truth][:, None] == scores[~truth])
    return pairs.mean(), pairs.mean(1).var(ddof=1) / truth.sum() + pairs.mean(0).var(ddof=1) / (~truth).sum()


if __name__ == "__main__":
    main()

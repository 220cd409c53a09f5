"""Drift of embeddings: the discrepancy, what it detects and a classifier, beside the same sums one exchange at a time.

    python benchmarks/audit/drift.py

500 images before and 200 after, 1,024 features, 1,000 exchanges of patients. Every line is the least of three runs.
"""

from __future__ import annotations

import time

import numpy as np
from scipy.spatial.distance import cdist

from workbench.audit.discovery.crossfit import scaled
from workbench.audit.shift.kernel import bandwidth, detectable_shift, discrepancy, squared_distances, told_apart
from workbench.audit.shift.pooled import exchanged

BEFORE, AFTER, FEATURES, EXCHANGES = 500, 200, 1024, 999


def main() -> None:
    rng = np.random.default_rng(0)
    points = scaled(rng.normal(size=(BEFORE + AFTER, FEATURES)))
    after = exchanged(np.arange(len(points)) >= BEFORE, np.arange(len(points)), count=EXCHANGES, seed=0)
    distances = squared_distances(points)
    values = discrepancy(np.exp(-distances / bandwidth(distances)), after)
    critical = float(np.quantile(values[1:], 0.95))
    tasks = {
        "discrepancy with 999 exchanges": lambda: ours(points, after),
        "by scipy's cdist, one exchange at a time": lambda: one_by_one(points, after),
        "what shift it detects (simulated)": lambda: detectable_shift(
            points, distances, after[:, 1:], critical=critical, power=0.8, seed=0
        ),
        "classifier with 999 exchanges": lambda: told_apart(points, after, np.arange(len(points)), seed=0),
    }
    for name, task in tasks.items():
        print(f"{name:<45} {least(task):>8.2f} s")
    print(f"largest difference of the two: {np.abs(values - one_by_one(points, after)).max():.0e}")


def ours(points: np.ndarray, after: np.ndarray) -> np.ndarray:
    distances = squared_distances(points)
    return discrepancy(np.exp(-distances / bandwidth(distances)), after)


def one_by_one(points: np.ndarray, after: np.ndarray) -> np.ndarray:
    distances = cdist(points, points, "sqeuclidean")
    kernel = np.exp(-distances / (2 * np.median(distances[np.triu_indices(len(points), 1)])))
    np.fill_diagonal(kernel, 0)
    values = []
    for column in after.T:
        m, k = column.sum(), (~column).sum()
        within = kernel[np.ix_(column, column)].sum() / (m * (m - 1))
        others = kernel[np.ix_(~column, ~column)].sum() / (k * (k - 1))
        values.append(within + others - 2 * kernel[np.ix_(column, ~column)].mean())
    return np.array(values)


def least(task) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main()

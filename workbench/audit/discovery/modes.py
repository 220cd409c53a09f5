"""Principal components of embeddings, and whether an attribute's groups lie differently along them."""

from __future__ import annotations

import numpy as np
import pandas as pd

from workbench.audit.discovery.crossfit import permutations

MODES = 10


def mode_table(
    vectors: np.ndarray, groups: np.ndarray, labels: np.ndarray, patients: np.ndarray, *, count: int, seed: int
) -> pd.DataFrame:
    """Return ``mode, variance, ks, p, p_adjusted, ks_label`` for the first `MODES` principal components.

    Parameters
    ----------
    vectors : ``(n, D)``.
    groups, labels : int ``(n,)``.
    patients : ``(n,)``, rising without gaps.
    count : permutations of patients for the p-values; `p_adjusted` takes the largest distance of all modes (max-T).
    """
    centred = vectors - vectors.mean(0)
    _, lengths, axes = np.linalg.svd(centred, full_matrices=False)
    kept = int((lengths[:MODES] > 1e-9 * max(float(lengths[0]), 1e-300)).sum())
    points = centred @ axes[:kept].T
    drawn = permutations(groups, patients, None, count=count, seed=seed)
    columns = np.column_stack([groups, drawn])
    distances = np.array([ks_distance(points[:, mode], columns) for mode in range(kept)]).reshape(kept, -1)
    observed, null = distances[:, :1], distances[:, 1:]
    largest = null.max(0) if kept else np.zeros(count)
    return pd.DataFrame(
        {
            "mode": np.arange(1, kept + 1), "variance": (lengths**2 / (lengths**2).sum())[:kept], "ks": observed[:, 0],
            "p": (1 + (null >= observed - 1e-12).sum(1)) / (1 + count),
            "p_adjusted": (1 + (largest >= observed - 1e-12).sum(1)) / (1 + count),
            "ks_label": [float(ks_distance(points[:, mode], labels[:, None])[0]) for mode in range(kept)],
        }
    )  # fmt: skip


def ks_distance(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Kolmogorov–Smirnov distance, ``(T,)``, of the `values` ``(n,)`` of each group to all others, the largest of groups.

    Parameters
    ----------
    values : ``(n,)``; equal ones form one step.
    groups : ``(n, T)``, T ways to group by the same names; quickest in Fortran order.
    """
    order = np.argsort(values, kind="stable")
    steps = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)
    counted = steps + 1.0
    names = np.unique(groups[:, 0])
    result = np.zeros(groups.shape[1])
    for column in range(groups.shape[1]):
        sorted_groups = groups[:, column][order]
        # Of two groups, one against the rest says all.
        for name in names[: 1 if len(names) == 2 else None]:
            inside = np.cumsum(sorted_groups == name, dtype=np.int32)
            size = int(inside[-1])
            if 0 < size < len(values):
                share = inside[steps]
                gap = np.abs(share / size - (counted - share) / (len(values) - size)).max()
                result[column] = max(result[column], gap)
    return result

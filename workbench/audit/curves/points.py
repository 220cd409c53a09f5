"""The ROC curve as points to draw."""

from __future__ import annotations

import numpy as np
import pandas as pd


def roc_points(positive: np.ndarray, negative: np.ndarray, most: int) -> pd.DataFrame:
    """Return the corners of the curve, columns ``fpr, tpr, threshold``, thresholds falling from ``inf``.

    Points on a straight piece between two corners are left out; of more than `most` corners, those nearest to even
    steps along the curve stay, each of them exact, so that the drawing is nowhere off by more than 2 / `most`.
    """
    scores = np.concatenate([positive, negative])
    threshold, place = np.unique(-scores, return_inverse=True)
    found = np.cumsum(np.bincount(place[: len(positive)], minlength=len(threshold)))
    wrong = np.cumsum(np.bincount(place[len(positive) :], minlength=len(threshold)))
    found, wrong = np.concatenate([[0], found]), np.concatenate([[0], wrong])
    threshold = np.concatenate([[np.inf], -threshold])
    up, across = np.diff(found), np.diff(wrong)
    corner = np.ones(len(found), dtype=bool)
    corner[1:-1] = up[:-1] * across[1:] != up[1:] * across[:-1]
    points = pd.DataFrame({"fpr": wrong / len(negative), "tpr": found / len(positive), "threshold": threshold}).loc[
        corner
    ]
    if len(points) > most:
        length = (points["fpr"] + points["tpr"]).to_numpy()
        points = points.iloc[np.unique(np.searchsorted(length, np.linspace(0, length[-1], most)))]
    return points.reset_index(drop=True)

"""Mean and median over images of each measure of a segmentation: Dice, HD95 and whatever else stands in the table.

Images for which a measure cannot be told count for nothing in it; `Predictions.missing` says how many they are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.metric import Columns, Metric, OfRows, OfSums, Setting, quotient

if TYPE_CHECKING:
    from collections.abc import Sequence

# Best value and bounds of measures by what their names begin with; of others nothing is known.
KNOWN = {
    "dice": (1, (0, 1)), "surface dice": (1, (0, 1)), "iou": (1, (0, 1)), "jaccard": (1, (0, 1)), "hd": (0, (0, np.inf)),
    "absolute": (0, (0, np.inf)), "relative": (0, (-np.inf, np.inf)), "volume error": (0, (-np.inf, np.inf)),
    "area error": (0, (-np.inf, np.inf)),
}  # fmt: skip


# Weights are added up in floating point: half may be missed by this share.
ROUNDING = 1e-12


def metrics_of_measures(measures: Sequence[str]) -> list[Metric]:
    """Return mean and median of each measure, in the order of the columns of the scores: ``"mean Dice"``, ``"median Dice"``."""
    found = []
    for place, measure in enumerate(measures):
        best, bounds = next(
            (known for start, known in KNOWN.items() if measure.casefold().startswith(start)),
            (math.nan, (-np.inf, np.inf)),
        )
        kept = "over the images for which it can be told"
        found += [
            Metric(
                f"mean {measure}", ("segmentation",), best, bounds, f"Mean of {measure} {kept}.",
                rests_on=_known(place), columns=told, of_sums=_mean(place),
            ),
            Metric(
                f"median {measure}", ("segmentation",), best, bounds,
                f"Median of {measure} {kept}, by weight; halfway between two images where each side holds half.",
                rests_on=_known(place), of_rows=_median(place),
            ),
        ]  # fmt: skip
    return found


def told(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
    """Columns, M of each: whether the measure is told, and its value or 0."""
    known = ~np.isnan(scores)
    return np.hstack([known, np.where(known, scores, 0)])


def _known(place: int) -> Columns:
    def known(truth: np.ndarray, scores: np.ndarray, setting: Setting) -> np.ndarray:
        return np.asarray(~np.isnan(scores[:, [place]]))

    return known


def _mean(place: int) -> OfSums:
    def mean(sums: np.ndarray, setting: Setting) -> np.ndarray:
        count, total = np.split(sums.sum(-2), 2, axis=-1)
        return quotient(total[..., place], count[..., place])

    return mean


def _median(place: int) -> OfRows:
    def median(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray, setting: Setting) -> np.ndarray:
        known = np.flatnonzero(~np.isnan(scores[:, place]))
        values = np.full(weights.shape[:-1], np.nan)
        if not len(known):
            return values
        order = known[np.argsort(scores[known, place], kind="stable")]
        rising, below = scores[order, place], np.cumsum(weights[..., order], axis=-1)
        half = below[..., -1:] / 2
        # Images of weight 0 must not be taken: the first whose sum reaches half, and the first whose sum passes it.
        low, high = (below >= half * (1 - ROUNDING)).argmax(-1), (below > half * (1 + ROUNDING)).argmax(-1)
        return np.where(half[..., 0] > 0, (rising[low] + rising[high]) / 2, np.nan)

    return median

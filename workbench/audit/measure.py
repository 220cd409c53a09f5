"""All metrics of all groups, and of everybody else, with bootstrap replicates of each: what every table is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.bootstrap import BLOCK, _weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.metric import Metric, Setting
    from workbench.audit.sample import Design


@dataclass(frozen=True, eq=False)
class Measured:
    """Values by metric name, in the order of ``design.samples`` (G groups), and of the rest of each.

    Parameters
    ----------
    values, rest : float64 ``(G,)``; NaN where not defined (the rest of everybody is nobody).
    drawn, rest_drawn : float64 ``(G, R)``, the replicates; R may be 0. Column r of all groups and metrics comes from the
        same patients, so that differences, ratios and maxima of columns are replicates too.
    """

    values: dict[str, np.ndarray]
    rest: dict[str, np.ndarray]
    drawn: dict[str, np.ndarray]
    rest_drawn: dict[str, np.ndarray]


def measure(
    design: Design, metrics: Sequence[Metric], setting: Setting, *, replicates: int = 0, seed: int = 0
) -> Measured:
    """Compute every metric in every group of a binary design, as it is and in replicates that draw patients.

    Each replicate gives every patient a Poisson(1) weight, times the row's own.
    """
    inside = [partition.codes == code for partition in design.partitions for code in range(len(partition.names))]
    patients = int(design.patients.max()) + 1
    blocks = [_weights(patients, seed, block) for block in range(-(-replicates // BLOCK))]
    drawn = np.concatenate([np.ones((patients, 1)), *blocks], axis=1)[:, : 1 + replicates].T
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for metric in metrics:
        sides = [
            np.stack([_value(design, metric, setting, chosen, drawn) for chosen in side])
            for side in (inside, [~one for one in inside])
        ]
        found[metric.name] = sides[0], sides[1]
    return Measured(
        values={name: group[:, 0] for name, (group, _) in found.items()},
        rest={name: rest[:, 0] for name, (_, rest) in found.items()},
        drawn={name: group[:, 1:] for name, (group, _) in found.items()},
        rest_drawn={name: rest[:, 1:] for name, (_, rest) in found.items()},
    )


def _value(design: Design, metric: Metric, setting: Setting, rows: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return one metric of some rows, ``(1 + R,)``."""
    truth, scores = design.truth[rows], design.scores[rows]
    weights = drawn[:, design.patients[rows]] * design.weights[rows]
    if metric.of_rows is not None:
        return metric.of_rows(truth, scores, weights, setting)
    if metric.of_curve is not None:
        distinct, place = np.unique(-scores, return_inverse=True)
        gather = place[:, None] == np.arange(len(distinct))
        found, wrong = (np.cumsum((weights * side) @ gather, axis=1) for side in (truth, ~truth))
        start = np.zeros((len(weights), 1))
        return metric.of_curve(np.hstack([start, found]), np.hstack([start, wrong]), setting)
    assert metric.columns is not None
    assert metric.of_sums is not None
    columns = metric.columns(design.truth, design.scores, setting)[rows]
    sums = np.stack([(weights * side) @ columns for side in (~truth, truth)], axis=-2)
    return metric.of_sums(sums, setting)

"""Ask a model what is left of its score when part of an image is gone: many altered images in full batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.explain.quality.measure import Outcome
from workbench.explain.quality.similarity import flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

    from workbench.explain.chosen import Chosen
    from workbench.explain.quality.measure import Measure
    from workbench.explain.quality.study import Study
    from workbench.explain.task import Batch, Task

Score = Callable[[torch.Tensor, np.ndarray], np.ndarray]
"""Gives the explained score, float ``(m,)``, of altered inputs ``(m, C, *spatial)`` made of the images ``rows (m,)``."""
Make = Callable[[int, int], torch.Tensor]
"""Makes versions number `first` to `last` (not part of them) of the altered inputs, ``(last - first, C, *spatial)``."""
WITHOUT_EVIDENCE = "map without evidence"
CURVE_COLUMNS = ["id", "curve", "order", "fraction", "score"]


def scores_of(score: Score, rows: np.ndarray, *, make: Make, at_once: int) -> np.ndarray:
    """Score every version; they are made `at_once` at a time, so that all batches but the last are full.

    Parameters
    ----------
    rows : int64 ``(m,)``, the image that each version is made of.

    Returns
    -------
    float64 ``(m,)``.
    """
    scores = np.empty(len(rows))
    for first in range(0, len(rows), at_once):
        last = min(first + at_once, len(rows))
        scores[first:last] = score(make(first, last), rows[first:last])
    return scores


def score_of(task: Task, chosen: Chosen) -> Score:
    """Return the explained score as a function of altered inputs."""

    def score(inputs: torch.Tensor, rows: np.ndarray) -> np.ndarray:
        values: np.ndarray = chosen.scores(task.evaluate(inputs), rows)[0].cpu().numpy()
        return values

    return score


def with_evidence(study: Study, label: str) -> Iterator[tuple[Batch, Chosen, np.ndarray]]:
    """Yield the images whose map is not flat, what was explained of each, and their maps ``(n, *spatial)``."""
    from workbench.explain.task import Batch

    for batch, chosen, maps in study.batches(label):
        kept = np.flatnonzero(~flat(maps))
        if len(kept) == 0:
            continue
        where = torch.from_numpy(kept).to(batch.inputs.device)
        yield Batch([batch.ids[row] for row in kept], batch.inputs[where]), chosen.take(kept), maps[kept]


def curve_frame(
    scores: np.ndarray, *, curves: Sequence[str], orders: Sequence[str], ids: list[str], fractions: Sequence[float]
) -> pd.DataFrame:
    """Lay out scores ``(curves, orders, n, fractions)`` in rows: columns id, curve, order, fraction, score."""
    import pandas as pd

    index = pd.MultiIndex.from_product([curves, orders, ids, fractions], names=["curve", "order", "id", "fraction"])
    return pd.DataFrame({"score": scores.ravel()}, index=index).reset_index()[CURVE_COLUMNS]


def outcome(
    study: Study,
    rows: Mapping[str, Mapping[str, float]],
    measures: tuple[Measure, ...],
    curves: Mapping[str, Sequence[pd.DataFrame]] | None = None,
) -> Outcome:
    """Put the numbers, by id, into the attributions' order; images that have none were maps without evidence.

    `curves` holds, by name, one frame a batch from :func:`curve_frame`.
    """
    import pandas as pd

    columns = list(dict.fromkeys(name for own in measures for name in (own.name, own.baseline) if name))
    table = pd.DataFrame(list(rows.values()), index=list(rows), columns=columns, dtype=np.float64)
    table = table.reindex(pd.Index(study.attributions.ids, name="id"))
    missing = len(table) - len(rows)
    left_out = {own.name: {WITHOUT_EVIDENCE: missing} for own in measures} if missing else {}
    whole = {
        name: pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=CURVE_COLUMNS)
        for name, frames in (curves or {}).items()
    }
    return Outcome(table, measures, left_out, whole)

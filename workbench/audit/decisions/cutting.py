"""Where the scores are cut: at a number, where an operating point was chosen, or for each group on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.audit.asked import cut
from workbench.audit.decisions.sameness import BY_CHANCE, marks, shared
from workbench.audit.finding import Finding
from workbench.errors import InputError, unknown_name
from workbench.predictions import SCORE

if TYPE_CHECKING:
    from workbench.audit.metric import Columns, Metric
    from workbench.audit.sample import Design
    from workbench.predictions import Predictions

USUAL = 0.5
SAME_IMAGES = (
    "The threshold was chosen on these very images, or on some of them, so that sensitivity, specificity and whatever else depends on it look "
    "better than they are. Choose it on other patients: wb.audit.operating_point(tuning, …)."
)
BY_GROUP = (
    "Each group has a threshold of its own: that needs the attribute of every patient at the time of use, treats two "
    "patients with the same score differently, and may be unlawful. Thresholds from few patients are themselves uncertain, "
    "which these intervals do not count."
)


@dataclass(frozen=True)
class Cut:
    """Where the scores are cut.

    Parameters
    ----------
    threshold : of everybody, 0–1; with `by_group` that of the group that stands first.
    origin : in words, for a methods section.
    by_group : threshold of each group of one partition, or None.
    warning : what a reader must know about it, or nothing.
    """

    threshold: float
    origin: str
    by_group: Mapping[str, float] | None = None
    warning: str = ""


def cut_at(threshold: float | Finding | Mapping[str, float] | None, predictions: Predictions) -> Cut:
    """Read what was given as threshold.

    Raises
    ------
    InputError : where a threshold lies outside 0–1, or what was given is none.
    """
    if threshold is None:
        return Cut(USUAL, f"{USUAL:g}, as none was given")
    if isinstance(threshold, Mapping):
        by_group = {str(group): cut(value) for group, value in threshold.items()}
        if not by_group:
            message = (
                "threshold={} names no group; give one threshold a group, {'sex=F': 0.4, 'sex=M': 0.5}, or a number."
            )
            raise InputError(message)
        return Cut(next(iter(by_group.values())), "one for each group", by_group, BY_GROUP)
    value = cut(threshold)
    settings: Mapping[str, Any] = getattr(threshold, "settings", {})
    if not settings:
        return Cut(value, "given")
    target = "" if settings.get("target") is None else f" {settings['target']:g}"
    own = chosen_on(threshold, predictions)
    where = "these very images" if own else "other predictions"
    return Cut(value, f"chosen on {where} by the rule '{settings.get('rule', '')}{target}'", None, " ".join(own))


def chosen_on(threshold: Any, predictions: Predictions) -> tuple[str, ...]:
    """Say that a threshold was chosen on these images, or on some of them, or nothing; of a number nobody knows."""
    positive = threshold.settings.get("positive") if isinstance(threshold, Finding) else None
    if positive not in predictions.classes:
        return ()
    return chosen_among(threshold, predictions.patients, predictions.table[SCORE + positive].to_numpy())


def chosen_among(threshold: Any, patients: np.ndarray, scores: np.ndarray) -> tuple[str, ...]:
    """Say the same of images by their patients and scores, each ``(n,)``."""
    if not isinstance(threshold, Finding) or "marks" not in threshold.tables:
        return ()
    same = shared(threshold.tables["marks"]["mark"], marks(patients, scores)) > BY_CHANCE
    return (SAME_IMAGES,) if same else ()


def cut_by_group(metrics: Sequence[Metric], by_group: Mapping[str, float], design: Design) -> list[Metric]:
    """Return the metrics with every row called positive at its own group's threshold.

    Raises
    ------
    InputError : where the groups named are not exactly those of one attribute (or crossing) of the audit.
    """
    known = [name for partition in design.partitions if partition.by for name in partition.names]
    for group in by_group:
        if group not in known:
            raise unknown_name("threshold: group", group, known)
    fitting = [partition for partition in design.partitions if set(by_group) & set(partition.names)]
    if len(fitting) > 1 or set(fitting[0].names) != set(by_group):
        absent = [name for name in fitting[0].names if name not in by_group]
        message = (
            f"threshold has none for {absent[0]!r}; give every group of {fitting[0].by!r} its own: {', '.join(fitting[0].names)}."
            if absent
            else f"threshold names groups of {' and '.join(repr(one.by) for one in fitting)}; give those of one of them."
        )
        raise InputError(message)
    rows = np.array([by_group[name] for name in fitting[0].names])[fitting[0].codes]
    made: dict[Columns, Columns] = {}

    def with_rows(columns: Columns | None) -> Columns | None:
        # One function for all metrics that share columns, as these are added up once.
        if columns is not None and columns not in made:
            made[columns] = lambda truth, scores, setting: columns(truth, scores, replace(setting, threshold=rows))
        return None if columns is None else made[columns]

    return [
        replace(metric, columns=with_rows(metric.columns), share=with_rows(metric.share)) if metric.moves else metric
        for metric in metrics
    ]

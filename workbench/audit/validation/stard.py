"""``wb.audit.stard``: who came into the study, who left it where and why, and what was found in the rest."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.audit.asked import positive_class
from workbench.audit.validation.contrasts import Contrast, share
from workbench.audit.validation.flow import (
    ARMS,
    DIAGNOSES,
    ELIGIBLE,
    ENROLLED,
    EXCLUDED,
    TESTED,
    UNTESTED,
    VERIFIED,
    Flow,
)
from workbench.audit.validation.mcnemar import thresholds
from workbench.audit.validation.pairing import Columns, Source, predictions_of, scored, unused
from workbench.audit.validation.telling import told
from workbench.errors import InputError, unknown_name
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    import pandas as pd

    from workbench.audit.finding import Finding
    from workbench.provenance import Provenance

Counts = Mapping[str, int]
# Which result of the index test is right for which diagnosis.
ACCURACIES = (("Sensitivity", "positive", "present"), ("Specificity", "negative", "absent"))


def stard(
    predictions: Source | None = None, *, results: Mapping[str, Counts] | None = None, excluded: Counts | None = None,
    untested: Counts | None = None, unverified: Mapping[str, Counts] | None = None, totals: Counts | None = None,
    threshold: float = 0.5, inconclusive: tuple[float, float] | None = None, unit: str | None = None,
    label: str | None = None, score: str | None = None, patient: str | None = None, id: str | None = None,
    positive: str | None = None,
) -> Finding:  # fmt: skip
    """Lay out a STARD 2015 flow diagram as data, from predictions or from counts, and check that its numbers add up.

    Boxes are counted from the bottom up: final diagnoses and those without a reference standard make up each result of the
    index test, these and the untested make up the eligible, these and the excluded the potentially eligible. Totals that are
    known from elsewhere are held against that. :func:`workbench.figures.stard` draws it.

    Parameters
    ----------
    predictions : of the index test, for its results and the final diagnoses; or leave it out and give `results`.
    results : final diagnoses by result of the index test: ``{"positive": {"present": 80, "absent": 20}, "negative": {…},
        "inconclusive": {…}}``; diagnoses are ``present``, ``absent`` and ``inconclusive``.
    excluded : why potentially eligible ones were not eligible, and how many: ``{"no consent": 12}``.
    untested : why eligible ones had no index test.
    unverified : by result of the index test, why there was no reference standard: ``{"negative": {"lost": 3}}``.
    totals : numbers to be checked, by box: ``"potentially eligible"``, ``"eligible"``, ``"index test"``, ``"index test
        positive"``, ``"reference standard, index test positive"`` …
    threshold : scores at or above it are positive.
    inconclusive : scores from the first up to, but not including, the second are inconclusive.
    unit : what is counted; by default patients where each has one image, else images.
    label, score, patient, id, positive : as in :func:`workbench.audit.delong`.

    Returns
    -------
    Finding
        `table`: a row a box: `box`, `arm`, `after` (the box that leads to it), `n`. Tables: ``"reasons"`` (`box`, `arm`,
        `reason`, `n`) and ``"cross"``, final diagnoses by result of the index test (STARD's item 23).

    Raises
    ------
    InputError : where a count is not a whole number of 0 or more, or a total is not what its parts add up to; it names the box.

    References
    ----------
    Bossuyt et al. 2015, BMJ 351:h5527, item 19; Cohen et al. 2016, BMJ Open 6:e012799 (the diagram).

    Examples
    --------
    >>> import workbench as wb
    >>> results = {"positive": {"present": 80, "absent": 20}, "negative": {"present": 5, "absent": 195}}
    >>> found = wb.audit.stard(results=results, excluded={"no consent": 12}, totals={"eligible": 300}, unit="patients")
    >>> found.table[["box", "arm", "n"]].head(4)
                        box       arm    n
    0  potentially eligible            312
    1              eligible            300
    2            index test            300
    3            index test  positive  100
    """
    if (predictions is None) == (results is None):
        message = "give either predictions or results=, the final diagnoses by result of the index test."
        raise InputError(message)
    parents: dict[str, Provenance] = {}
    shares, ignored = None, list[str]()
    if predictions is not None:
        opened = predictions_of(predictions, Columns(label, score, patient, id))
        chosen = positive_class(opened, positive)
        side, ignored = scored(opened, chosen, "the table"), unused(opened, chosen)
        unit = unit or ("images" if side.clustered else "patients")
        cut, _ = thresholds(threshold)
        low, high = _band(inconclusive, cut)
        unclear = (side.scores >= low) & (side.scores < high)
        called = np.select([unclear, side.scores >= cut], ["inconclusive", "positive"], "negative")
        results = {
            arm: {
                name: int(((called == arm) & (side.truth == truth)).sum())
                for name, truth in (("present", True), ("absent", False))
            }
            for arm in np.unique(called).tolist()
        }
        # Intervals keep the images of a patient together.
        told_apart = [(side.truth & ~unclear, "positive"), (~side.truth & ~unclear, "negative")]
        shares = [share(called[rows] == hit, side.patients[rows]) for rows, hit in told_apart]
        parents = {"predictions": opened.provenance}
    flow = Flow(
        _arms(results or {}, "results", DIAGNOSES), _counts(excluded, EXCLUDED), _counts(untested, UNTESTED),
        _arms(unverified or {}, "unverified", None),
    )  # fmt: skip
    table = flow.table()
    _check(table, totals or {}, flow)
    unit = unit or "participants"
    settings = {"threshold": threshold if predictions is not None else None, "inconclusive": list(inconclusive) if inconclusive else None,
                "unit": unit}  # fmt: skip
    return told(
        "stard", "Flow of participants", table, sentences=_sentences(flow, unit, shares or _shares(flow)), methods=_methods(settings),
        said=[*ignored, *_said(flow, unit)], settings=settings, parents=parents,
        tables={"reasons": flow.reasons(), "cross": flow.cross()},
    )  # fmt: skip


def _band(inconclusive: Any, cut: float) -> tuple[float, float]:
    if inconclusive is None:
        return 2.0, 2.0
    given = list(inconclusive) if isinstance(inconclusive, Iterable) else []
    ends = [float(end) for end in given if isinstance(end, numbers.Real)]
    low, high = ends if len(ends) == 2 else (1.0, 0.0)
    if not 0 <= low < high <= 1 or not low <= cut <= high:
        message = f"inconclusive={inconclusive} must rise within 0–1 and hold the threshold {cut:g}: scores between are neither."
        raise InputError(message)
    return low, high


def _counts(given: Any, box: str) -> dict[str, int]:
    counts = {}
    if given is not None and not isinstance(given, Mapping):
        message = f"box {box!r} is {given!r}; give counts by reason, {{'no consent': 12}}."
        raise InputError(message)
    for reason, n in (given or {}).items():
        number = isinstance(n, numbers.Real) and not isinstance(n, bool)
        if not number or int(n) != n or n < 0:
            message = f"box {box!r}, {reason!r}: {n!r} is not a count; give a whole number of 0 or more."
            raise InputError(message)
        counts[str(reason)] = int(n)
    return counts


def _arms(given: Mapping[str, Counts], name: str, inside: tuple[str, ...] | None) -> dict[str, dict[str, int]]:
    made = {}
    for arm, counts in given.items():
        if arm not in ARMS:
            kind = f"{name}: result of the index test"
            raise unknown_name(kind, arm, ARMS)
        if not hasattr(counts, "items"):
            message = f"{name}[{arm!r}] is {counts!r}; give counts by {'diagnosis' if inside else 'reason'}."
            raise InputError(message)
        for one in counts:
            if inside and one not in inside:
                kind = f"{name}[{arm!r}]: diagnosis"
                raise unknown_name(kind, one, inside)
        made[arm] = _counts(counts, f"{name}, {arm}")
    return made


def _check(table: pd.DataFrame, totals: Counts, flow: Flow) -> None:
    """Hold totals against the sums of their parts."""
    boxes = {_key(row): int(row["n"]) for row in table.to_dict("records")}
    parts = {
        ENROLLED: f"{flow.eligible} eligible + {sum(flow.excluded.values())} excluded",
        ELIGIBLE: f"{flow.tested} with the index test + {sum(flow.untested.values())} without",
        TESTED: " + ".join(f"{flow.verified(arm) + flow.lost(arm)} {arm}" for arm in flow.arms),
    }
    for arm in flow.arms:
        parts[f"{TESTED} {arm}"] = f"{flow.verified(arm)} with the reference standard + {flow.lost(arm)} without"
        parts[f"{VERIFIED}, {TESTED} {arm}"] = (
            " + ".join(f"{n} {name}" for name, n in flow.results.get(arm, {}).items()) or "none"
        )
    for box, n in totals.items():
        if box not in boxes:
            raise unknown_name("totals: box", box, boxes)
        if n != boxes[box]:
            made = f", which is {parts[box]}" if box in parts else ""
            message = f"box {box!r}: {n} were told, but its parts add up to {boxes[box]}{made}. Correct the total, or the part that lacks {abs(n - boxes[box])}."
            raise InputError(message)


def _key(row: Mapping[Any, Any]) -> str:
    if not row["arm"]:
        return str(row["box"])
    return f"{TESTED} {row['arm']}" if row["box"] == TESTED else f"{row['box']}, {TESTED} {row['arm']}"


def _sentences(flow: Flow, unit: str, shares: list[Contrast]) -> list[str]:
    said = [
        f"Of {flow.enrolled:,} potentially eligible {unit}, {flow.eligible:,} were eligible and {flow.tested:,} had the index test."
    ]
    for counts, what in ((flow.excluded, "excluded"), (flow.untested, "without the index test")):
        if counts:
            reasons = ", ".join(f"{reason}: {n:,}" for reason, n in counts.items())
            said.append(f"{sum(counts.values()):,} were {what} ({reasons}).")
    lost, verified = sum(flow.lost(arm) for arm in flow.arms), sum(flow.verified(arm) for arm in flow.arms)
    said.append(f"{verified:,} had the reference standard{f', {lost:,} had none' if lost else ''}.")
    for (name, hit, diagnosis), accuracy in zip(ACCURACIES, shares, strict=True):
        hits, all_of = _counted(flow, hit, diagnosis)
        if all_of:
            low, high = accuracy.bounds(normal_quantile(0.95))
            said.append(f"{name} was {hits:,}/{all_of:,} = {accuracy.value:.3f} (95% CI {low:.3f} to {high:.3f}).")
    return said


def _shares(flow: Flow) -> list[Contrast]:
    """Sensitivity and specificity of counts, each one of them a patient."""
    made = []
    for _, hit, diagnosis in ACCURACIES:
        hits, all_of = _counted(flow, hit, diagnosis)
        made.append(share(np.arange(all_of) < hits, np.arange(all_of)))
    return made


def _counted(flow: Flow, hit: str, diagnosis: str) -> tuple[int, int]:
    found = {arm: flow.results.get(arm, {}).get(diagnosis, 0) for arm in ("positive", "negative")}
    return found[hit], sum(found.values())


def _methods(settings: dict[str, Any]) -> list[str]:
    said = "The flow of participants is reported as STARD 2015 asks (item 19)."
    if settings["inconclusive"]:
        low, high = settings["inconclusive"]
        said += f" Scores from {low:g} up to {high:g} counted as inconclusive."
    return [said]


def _said(flow: Flow, unit: str) -> list[str]:
    unclear = sum(flow.results.get("inconclusive", {}).values()) + flow.lost("inconclusive")
    unclear_truth = sum(flow.results.get(arm, {}).get("inconclusive", 0) for arm in ("positive", "negative"))
    said = []
    if unclear or unclear_truth:
        said.append(
            f"Sensitivity and specificity leave out {unclear:,} {unit} with an inconclusive index test and {unclear_truth:,} with an "
            "inconclusive diagnosis; say in the paper how these are counted (STARD item 15)."
        )
    lost = sum(flow.lost(arm) for arm in ("positive", "negative"))
    if lost and flow.lost("positive") * flow.verified("negative") != flow.lost("negative") * flow.verified("positive"):
        said.append(
            f"{lost:,} {unit} had no reference standard, not as often after a positive as after a negative index test: sensitivity and "
            "specificity of the verified ones are biased (partial verification)."
        )
    return said

"""May these maps be believed, and do they hold for everybody: every part of the evidence in one table."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.errors import InputError, unknown_name
from workbench.explain.methods import check_settings
from workbench.explain.quality.agreement import agreement, by_name
from workbench.explain.quality.result import Trust
from workbench.explain.quality.study import study_of
from workbench.explain.quality.tables import GAP_COLUMNS, gap_table, merged, trust_table, usable_groups
from workbench.explain.quality.verdicts import verdicts_of
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.cohorts.cohort import Cohort
    from workbench.explain.attributions import Attributions
    from workbench.explain.quality.measure import Outcome
    from workbench.explain.quality.study import Study
    from workbench.models.model import Model

# part: module of this package, function. In the order of the table.
PARTS = {
    "sanity": ("sanity", "sanity"),
    "faithfulness": ("faithfulness", "faithfulness"),
    "road": ("road", "road"),
    "infidelity": ("infidelity", "infidelity"),
    "localisation": ("localisation", "localisation"),
    "shares": ("shares", "shares"),
    "stability": ("stability", "stability"),
    "sensitivity": ("infidelity", "sensitivity"),
}
# These need masks, boxes or points.
PLACES = ("localisation", "shares")


def trust(
    model: Model,
    attributions: Attributions | Sequence[Attributions] | Mapping[str, Attributions],
    *,
    by: Sequence[Any] | None = None,
    parts: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
    cohort: Cohort | None = None,
    settings: Mapping[str, Any] | None = None,
    permuted: Model | None = None,
    masks: Sequence[str] | None = None,
    boxes: Any = None,
    points: Any = None,
    level: float = 0.95,
    seed: int = 0,
    batch_size: int = 16,
) -> Trust:
    """Gather what speaks for and against heat maps: sanity, faithfulness, localisation, shares, stability, by subgroup.

    Each number stands beside what a control (a random order, an edge detector, a centre prior, another patient's map)
    reaches on the same images, with an interval that respects that patients have several images. Maps without evidence
    and images without a mask are counted apart, never as hits.

    Parameters
    ----------
    model : the model that was explained.
    attributions : of one method, or several (a list, or a mapping with names) of the same images and targets, which are
        then also compared with each other.
    by : attributes, or tuples of them, whose groups are compared with the rest; by default every attribute that makes
        groups. Their gaps are corrected for all that is compared.
    parts : names of the parts to do (``sanity, faithfulness, road, infidelity, localisation, shares, stability,
        sensitivity``), or a mapping of names to their settings, ``{"sanity": {"stages": 3}}``; by default all that
        apply. Each part's function tells its settings and its cost in forward passes.
    cohort : the images, needed only where the attributions were loaded from a folder.
    settings : the method's own values that a folder does not keep, ``{"background": train}``; needed only where the
        attributions were loaded and were made with such.
    permuted : a model trained on permuted labels, for the second sanity check.
    masks : the cohort's masks that the maps should point at; by default those that cover less than a quarter of the
        image.
    boxes, points : where the maps should point, by image id; see
        :func:`~workbench.explain.quality.localisation.localisation`.
    level : of the intervals.
    seed : of everything random.
    batch_size : inputs that go through the network at once.

    Returns
    -------
    Trust : ``table`` (in sum and by group), ``gaps``, ``images`` (one row an image), ``verdicts`` (plain sentences).

    Raises
    ------
    InputError : where maps and model do not belong together, or a name or setting is wrong.

    Examples
    --------
    >>> evidence = wb.explain.trust(model, maps, by=["density"])  # doctest: +SKIP
    >>> evidence.verdict("depends on the model").sentence  # doctest: +SKIP
    """
    named, again = by_name(attributions), dict(settings or {})
    by = [by] if isinstance(by, str) else by
    for name in again:
        known = dict.fromkeys(key for maps in named.values() for key in check_settings(maps.method, {}))
        if name not in known:
            kind = "setting"
            raise unknown_name(kind, name, known)
    chosen = _chosen_parts(parts)
    alike = _agreement(named)  # first of all: it refuses maps of different images before any work
    given = {"permuted": permuted, "masks": masks, "boxes": boxes, "points": points, "seed": seed}
    tables, gaps, images, left_out, verdicts = [], [], [], [], []
    curves: dict[str, list[pd.DataFrame]] = {}
    says: dict[str, str] = {}
    for method, maps in named.items():
        own = {name: value for name, value in again.items() if name in check_settings(maps.method, {})}
        study = study_of(model, maps, cohort=cohort, batch_size=batch_size, **own)
        study.check()
        groups = usable_groups(maps) if by is None else list(by)
        asked = [_asked(study, part, settings, given, all_asked=parts is None) for part, settings in chosen.items()]
        outcomes = [outcome for outcome in asked if outcome is not None]
        if not any(outcome.measures for outcome in outcomes):
            message = (
                "there is nothing to measure: no part was asked for, or every mask covers more than a quarter of the image and is no "
                "place to point at. Name parts=[…], or masks=[…]."
            )
            raise InputError(message)
        values, measures = merged(outcomes)
        table = trust_table(values, measures, maps, by=groups, level=level)
        gap = gap_table(values, measures, maps, by=groups, level=level, seed=seed)
        verdicts += verdicts_of(method, table, gap, study, masks=masks)
        tables.append(table.assign(method=method))
        gaps.append(gap.assign(method=method))
        images.append(values.assign(method=method, patient=maps.table["patient"], flag=list(maps.flags)))
        left_out += _left_out(method, outcomes)
        says |= {measure.name: measure.says for measure in measures}
        for outcome in outcomes:
            for name, curve in outcome.curves.items():
                curves.setdefault(name, []).append(curve.assign(method=method))
    result = pd.concat(tables, ignore_index=True)
    record = {
        "by": groups, "parts": list(chosen), "level": level, "permuted": None if permuted is None else permuted.name,
        **{part: dict(own) for part, own in chosen.items() if own},
    }  # fmt: skip
    parents = {f"attributions {method}": maps.provenance for method, maps in named.items()}
    parents |= {"model": model.provenance} | ({} if permuted is None else {"permuted": permuted.provenance})
    return Trust(
        table=_first(result, "method"), gaps=_first(pd.concat(gaps, ignore_index=True), "method", GAP_COLUMNS),
        images=_first(pd.concat(images), "method"), verdicts=tuple(verdicts), says=says,
        left_out=pd.DataFrame(left_out, columns=["method", "measure", "reason", "images"]),
        curves={name: pd.concat(frames, ignore_index=True) for name, frames in curves.items()},
        agreement=alike, settings=record,
        provenance=Provenance("trust", record, digest(result), parents, seed=seed),
    )  # fmt: skip


def _chosen_parts(parts: Sequence[str] | Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    if isinstance(parts, str):
        parts = [parts]
    given = PARTS if parts is None else parts
    chosen = {part: dict(parts[part]) if isinstance(parts, Mapping) else {} for part in given}
    for part, settings in chosen.items():
        if part not in PARTS:
            raise unknown_name("part", part, PARTS)
        known = _settings_of(part)
        for name in settings:
            if name not in known:
                kind = f"{part} setting"
                raise unknown_name(kind, name, known)
    return {part: chosen[part] for part in PARTS if part in chosen}


def _settings_of(part: str) -> list[str]:
    return [p.name for p in inspect.signature(_function(part)).parameters.values() if p.kind is p.KEYWORD_ONLY]


def _function(part: str) -> Any:
    module, name = PARTS[part]
    return getattr(importlib.import_module(f"workbench.explain.quality.{module}"), name)


def _asked(
    study: Study, part: str, settings: Mapping[str, Any], given: Mapping[str, Any], *, all_asked: bool
) -> Outcome | None:
    """Do one part; None where nobody asked for it by name and there is nothing to hold the maps against."""
    known = _settings_of(part)
    own = {name: value for name, value in given.items() if name in known} | dict(settings)
    nowhere = part in PLACES and not study.cohort.masks and own.get("boxes") is None and own.get("points") is None
    if all_asked and nowhere:
        return None
    if nowhere:
        more = ", boxes or points" if "boxes" in known else ""
        message = f"the part {part!r} needs masks{more}, and there are none; make the cohort with masks, or leave the part out."
        raise InputError(message)
    outcome: Outcome = _function(part)(study, **own)
    return outcome


def _left_out(method: str, outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [
        {"method": method, "measure": measure, "reason": reason, "images": count}
        for outcome in outcomes
        for measure, reasons in outcome.left_out.items()
        for reason, count in reasons.items()
        if count
    ]


def _agreement(named: Mapping[str, Attributions]) -> pd.DataFrame:
    if len(named) > 1:
        return agreement(named)
    return pd.DataFrame(columns=["first", "second", "value", "low", "high", "n", "patients"])


def _first(table: pd.DataFrame, column: str, order: Sequence[str] | None = None) -> pd.DataFrame:
    others = [name for name in (order or table.columns) if name != column]
    return table[[column, *others]]

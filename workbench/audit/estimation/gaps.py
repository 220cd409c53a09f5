"""Gaps: how far a group's number lies from that of everybody else, of another group, or from the groups' mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.estimation.choose import UNKNOWN, Bounds, Quantity, choose, p_value
from workbench.audit.estimation.roster import GROUP, REST
from workbench.errors import unknown_name
from workbench.intervals import NONE, Interval, difference, ratio

if TYPE_CHECKING:
    from workbench.audit.estimation.estimates import Estimates
    from workbench.audit.estimation.roster import Place
    from workbench.audit.metric import Metric

REFERENCES = ("rest", "mean", "largest")
SQUARE_AND_ADD = "square-and-add"
MEAN = "mean of the groups"


@dataclass(frozen=True, eq=False)
class Gap:
    """A group's number against another.

    Parameters
    ----------
    metric, place, reference : whose number, and against what.
    value, drawn, difference : the difference, its replicates and its interval.
    quotient, ratio : the ratio and its interval; NaN where the reference is 0 or the metric can be negative.
    p : two-sided, of no difference; where the interval touches 0.
    mirrored : whether it is another gap of the table with the sign turned round.
    note : what speaks against it.
    """

    metric: str
    place: Place
    reference: str
    value: float
    drawn: np.ndarray
    difference: Bounds
    quotient: float
    ratio: Bounds
    p: float
    mirrored: bool
    note: str


def against(estimates: Estimates, reference: str | Mapping[str, str]) -> list[str | int | None]:
    """Return what each place is held against: ``"rest"``, ``"mean"``, the place of a group, or None for no gap.

    Raises
    ------
    InputError : where `reference` is unknown, or names an attribute or group that the audit does not have.
    """
    places = estimates.places
    named = _named(places, reference) if isinstance(reference, Mapping) else {}
    if not isinstance(reference, Mapping) and reference not in REFERENCES:
        raise unknown_name("reference", reference, [*REFERENCES, "{'attribute': 'group'}"])
    found: list[str | int | None] = []
    for number, place in enumerate(places):
        mates = [other for other, one in enumerate(places) if one.partition == place.partition]
        if len(mates) < 2:
            found.append(None)
        elif place.by in named or reference == "largest":
            chosen = named.get(place.by, max(mates, key=lambda other: places[other].n))
            found.append(None if chosen == number else chosen)
        else:
            found.append("mean" if reference == "mean" else "rest")
    return found


def gap(estimates: Estimates, metric: Metric, number: int, other: str | int) -> Gap:
    """Hold the group at place `number` against `other`, as :func:`against` returns it."""
    place = estimates.places[number]
    group = _side(estimates, metric, GROUP, number)
    if other == "mean":
        mates = [one for one, mate in enumerate(estimates.places) if mate.partition == place.partition]
        return _shrunk(
            _gap(estimates, metric, place, (group, _mean(estimates, metric, [m for m in mates if m != number]))),
            len(mates),
        )
    if other == "rest":
        pair = _gap(
            estimates,
            metric,
            place,
            (group, _side(estimates, metric, REST, number)),
            estimates.correlation(metric, number),
        )
        two = len(estimates.design.partitions[place.partition].names) == 2
        return replace(pair, mirrored=two and place.code == 1)
    return _gap(estimates, metric, place, (group, _side(estimates, metric, GROUP, int(other))))


@dataclass(frozen=True, eq=False)
class _Side:
    """One of the two numbers of a gap, with its own interval."""

    name: str
    quantity: Quantity
    bounds: Bounds
    note: str


def _side(estimates: Estimates, metric: Metric, side: int, number: int) -> _Side:
    quantity = estimates.quantity(metric, side, number)
    name = "rest" if side == REST else estimates.places[number].group
    return _Side(name, quantity, choose(quantity, estimates.reading.interval), estimates.note(metric, side, number))


def _mean(estimates: Estimates, metric: Metric, mates: list[int]) -> _Side:
    """Average other groups, those that can be estimated, each counting the same."""
    sides = [_side(estimates, metric, GROUP, mate) for mate in mates]
    known = [side for side in sides if not math.isnan(side.quantity.value)]
    if not known:
        return _Side(
            MEAN,
            Quantity(
                math.nan, metric.bounds, None, np.full_like(sides[0].quantity.drawn, np.nan), lambda: np.empty(0), 0
            ),
            UNKNOWN,
            "no other group can be estimated",
        )
    value = float(np.mean([side.quantity.value for side in known]))

    def at(z: float) -> Interval:
        ends = np.array([side.bounds.at(z) for side in known]) - np.array([[side.quantity.value] for side in known])
        low, high = np.sqrt((ends**2).sum(0)) / len(known)
        return value - float(low), value + float(high)

    left_out = [side.quantity.left_out for side in known]
    quantity = Quantity(
        value, metric.bounds, None, np.mean([side.quantity.drawn for side in known], axis=0),
        lambda: np.mean([one() for one in left_out], axis=0), min(side.quantity.patients for side in known),
    )  # fmt: skip
    notes = (
        [f"{len(sides) - len(known)} groups that cannot be estimated are left out of the mean"]
        if len(known) < len(sides)
        else []
    )
    return _Side(MEAN, quantity, Bounds(at, SQUARE_AND_ADD, ""), "; ".join(notes))


def _gap(
    estimates: Estimates, metric: Metric, place: Place, sides: tuple[_Side, _Side], correlation: float = 0.0
) -> Gap:
    first, second = (side.quantity for side in sides)
    value, drawn = first.value - second.value, first.drawn - second.drawn
    bounds = _interval(estimates, metric, sides, correlation, difference)
    sized = metric.bounds[0] >= 0 and second.value > 0
    notes = [sides[0].note] + (
        [f"{sides[1].name if sides[1].name != 'rest' else 'the rest'}: {sides[1].note}"] if sides[1].note else []
    )
    return Gap(
        metric.name, place, sides[1].name, value, drawn, bounds, first.value / second.value if sized else math.nan,
        _interval(estimates, metric, sides, correlation, ratio) if sized else UNKNOWN,
        p_value(bounds, 0.0, int(np.isfinite(drawn).sum())), False, "; ".join(text for text in notes if text),
    )  # fmt: skip


def _interval(
    estimates: Estimates, metric: Metric, sides: tuple[_Side, _Side], correlation: float,
    form: Callable[..., Interval],
) -> Bounds:  # fmt: skip
    """Choose the interval of a difference or a ratio.

    Two shares, or two areas, add the squares of their own intervals (Newcombe), with the correlation of their errors where
    patients are on both sides. Other numbers are taken from replicates that both sides
    share, where both are carried and neither stands at the end of its scale; else they add squares too.
    """
    (first, own), (second, other) = ((side.quantity, side.bounds) for side in sides)
    if math.isnan(first.value) or math.isnan(second.value):
        return UNKNOWN

    def added(z: float) -> Interval:
        return form(first.value, own.at(z), second.value, other.at(z), correlation=correlation)

    asked, enough = estimates.reading.interval, estimates.reading.enough
    if asked == "auto" and first.closed is not None and second.closed is not None:
        kind = "shares" if metric.share is not None else "areas"
        return Bounds(added, SQUARE_AND_ADD, f"two {kind} with formulas: from the interval of each (Newcombe)")
    shared = np.isfinite(first.drawn) & np.isfinite(second.drawn)
    few = min(first.patients, second.patients) < enough
    edge = any(one.value in one.scale for one in (first, second))
    if few or edge or not shared.any():
        why = (
            f"fewer than {enough} patients carry a side"
            if few
            else "a side stands at the end of its scale"
            if edge
            else "no replicates"
        )
        if math.isnan(own.at(1.0)[0]) or math.isnan(other.at(1.0)[0]):
            return Bounds(lambda z: NONE, "", f"{why}, and one has no interval of its own")
        return Bounds(added, SQUARE_AND_ADD, f"{why}: from the interval of each")
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = _combined(form, first.drawn, second.drawn)
    low, high = first.scale
    scale = (-(high - low), high - low) if form is difference else (0.0, math.inf)
    made = Quantity(
        float(_combined(form, np.array(first.value), np.array(second.value))), scale, None, drawn,
        lambda: _combined(form, first.left_out(), second.left_out()), estimates.places[0].patients, first.biased,
    )  # fmt: skip
    return choose(made, asked, "replicates that both sides share" if asked == "auto" else "asked for")


def _combined(form: Callable[..., Interval], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(first - second if form is difference else first / second)


def _shrunk(found: Gap, groups: int) -> Gap:
    """Turn a gap to the mean of the others into one to the mean of all `groups`, this one with them.

    The difference is (k − 1) / k of it, and a ratio r becomes k·r / (r + k − 1): p-values stay as they are.
    """
    keep = (groups - 1) / groups

    def difference_of(ends: Interval) -> Interval:
        return ends[0] * keep, ends[1] * keep

    def ratio_of(ends: Interval) -> Interval:
        return tuple(groups if math.isinf(r) else groups * r / (r + groups - 1) for r in ends)  # type: ignore[return-value]

    return replace(
        found, value=found.value * keep, drawn=found.drawn * keep, difference=_mapped(found.difference, difference_of),
        quotient=groups * found.quotient / (found.quotient + groups - 1), ratio=_mapped(found.ratio, ratio_of),
    )  # fmt: skip


def _mapped(bounds: Bounds, change: Callable[[Interval], Interval]) -> Bounds:
    return replace(
        bounds,
        at=lambda z: change(bounds.at(z)),
        band=None if bounds.band is None else lambda z: change(bounds.wide(z)),
    )


def _named(places: list[Place], reference: Mapping[str, str]) -> dict[str, int]:
    """Return the place of each reference group, by partition; a group is named whole (``sex=M``) or by its value (``M``)."""
    found = {}
    for by, name in reference.items():
        mates = [number for number, place in enumerate(places) if place.by == str(by) and by]
        if not mates:
            raise unknown_name("reference: attribute", by, dict.fromkeys(place.by for place in places if place.by))
        chosen = [number for number in mates if places[number].group in (str(name), f"{by}={name}")]
        if not chosen:
            where = f"reference: group of {by!r}"
            raise unknown_name(where, name, [places[number].group for number in mates])
        found[str(by)] = chosen[0]
    return found

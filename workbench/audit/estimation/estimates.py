"""Every number of an audit with what speaks for it: the formula of its interval, its replicates, and who carries it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from workbench.audit.engine.measure import Measured
from workbench.audit.engine.weighted import without
from workbench.audit.estimation import closed_forms
from workbench.audit.estimation.choose import INTERVALS, SMALL, Quantity
from workbench.audit.estimation.clusters import Shares, counts, shares
from workbench.audit.estimation.evidence import ENOUGH, FEWEST, Carrier, fewest_patients, note
from workbench.audit.estimation.noise import chance_error
from workbench.audit.estimation.roster import GROUP, IMAGES, REST, Roster

if TYPE_CHECKING:
    from workbench.audit.estimation.closed_forms import Closed
    from workbench.audit.metric import Metric, Setting


@dataclass(frozen=True)
class Reading:
    """How an audit is read: metrics and where they are taken, how sure the intervals are, and what a number must rest on.

    Parameters
    ----------
    metrics, setting : what is measured, and where.
    level, joint_level : of one interval, and of all simultaneous bands of a table.
    interval : one of :data:`workbench.audit.estimation.choose.INTERVALS`.
    enough, fewest : patients below which a number is grey, and below which it is refused.
    """

    metrics: tuple[Metric, ...]
    setting: Setting
    level: float = 0.95
    joint_level: float = 0.95
    interval: str = INTERVALS[0]
    enough: int = ENOUGH
    fewest: int = FEWEST


class Estimates:
    """The numbers of a design, of every group (`GROUP`) and of everybody else (`REST`), by place in ``design.samples``."""

    def __init__(self, roster: Roster, reading: Reading, measured: Measured) -> None:
        self.roster, self.reading, self.measured = roster, reading, measured
        self.design, self.places = roster.design, roster.places
        self._shares: dict[tuple[str, int], Shares] = {}
        self._closed = cache(self._made)
        self._known = cache(self._quantity)
        self._chance = cache(self._chance_error)
        self._sets = cache(self._counted)

    def quantity(self, metric: Metric, side: int, place: int) -> Quantity:
        """Return a metric of a group or of its rest; NaN where fewer than `fewest` patients carry it."""
        return self._known(metric.name, side, place)

    def note(self, metric: Metric, side: int, place: int) -> str:
        """Say what speaks against the number, or nothing."""
        said = note(self.carriers(metric, side, place), self.reading.enough, self.reading.fewest)
        return said or (self._noise(metric, side, place) if _biased(metric) else "")

    def patients(self, metric: Metric, side: int, place: int) -> int:
        """Count the patients that carry the number: those of the class that has fewest."""
        return fewest_patients(self.carriers(metric, side, place))

    def carriers(self, metric: Metric, side: int, place: int) -> list[Carrier]:
        """Return the images that carry a metric: those of the classes it needs, or those that it is a share of."""
        at = self.places[place]
        if metric.rests_on is not None:
            sets = self._sets(metric, at.partition)
            images, patients = min(sets, key=lambda one: int(one[1][side, at.code]))
            kind = IMAGES if len(sets) == 1 else "images of the rarest class"
            return [Carrier(kind, int(images[side, at.code]), int(patients[side, at.code]))]
        kinds = metric.arms or (IMAGES,)
        found = []
        for kind in kinds:
            images, patients = self.roster.counts[kind][at.partition]
            found.append(Carrier(kind, int(images[side, at.code]), int(patients[side, at.code])))
        if metric.share is not None and not metric.arms:
            one = self.shares(metric, at.partition)
            found = [
                Carrier(
                    WHOLES.get(metric.name, IMAGES), int(one.images[side, at.code]), int(one.patients[side, at.code])
                )
            ]
        return found

    def _counted(self, metric: Metric, partition: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Count images and patients of each set of rows that a metric rests on, ``(2, G)`` each."""
        assert metric.rests_on is not None
        sets = metric.rests_on(self.design.truth, self.design.scores, self.reading.setting) > 0
        return [counts(self.roster.clusters[partition], one) for one in sets.T]

    def shares(self, metric: Metric, partition: int) -> Shares:
        """Return a proportion in all groups of a partition."""
        key = metric.name, partition
        if key not in self._shares:
            assert metric.share is not None
            whole, hit = metric.share(self.design.truth, self.design.scores, self.reading.setting).T
            self._shares[key] = shares(
                self.roster.clusters[partition], np.where(whole > 0, hit, np.nan), self.design.weights
            )
        return self._shares[key]

    def correlation(self, metric: Metric, place: int) -> float:
        """Correlate the errors of a group's number and of its rest's, through the patients in both; 0 without a formula."""
        at = self.places[place]
        if not self.roster.split(place):
            return 0.0
        if metric.share is not None:
            one = self.shares(metric, at.partition)
            scale = math.sqrt(one.variance[GROUP, at.code] * one.variance[REST, at.code])
            return float(np.clip(one.covariance[at.code] / scale, -1, 1)) if scale > 0 else 0.0
        first, second = (self._pulls(side, place) if metric.name == "AUROC" else None for side in (GROUP, REST))
        return 0.0 if first is None or second is None else first.correlation(second)

    def _quantity(self, name: str, side: int, place: int) -> Quantity:
        metric = next(one for one in self.reading.metrics if one.name == name)
        values, drawn = (
            (self.measured.values, self.measured.drawn), (self.measured.rest, self.measured.rest_drawn),
        )[side]  # fmt: skip
        patients = self.patients(metric, side, place)
        value = float(values[name][place]) if patients >= self.reading.fewest else math.nan
        return Quantity(
            value, metric.bounds, None if math.isnan(value) else self._closed(name, side, place), drawn[name][place],
            lambda: self._left_out(metric, side, place), patients, _biased(metric),
        )  # fmt: skip

    def _made(self, name: str, side: int, place: int) -> Closed | None:
        """Return the formula of a number, where there is one."""
        at = self.places[place]
        if side == REST and len(self.design.partitions[at.partition].names) == 2:
            # The rest of one of two groups is the other.
            return self._closed(name, GROUP, place + 1 - 2 * at.code)
        metric = next(one for one in self.reading.metrics if one.name == name)
        if metric.share is not None and (self.reading.setting.prevalence is None or len(metric.arms) == 1):
            return closed_forms.share(self.shares(metric, at.partition), side, at.code)
        if name == "AUROC" and self.design.truth.dtype == np.bool_:
            found = self._pulls(side, place)
            return None if found is None else closed_forms.area(found)
        return None

    def _pulls(self, side: int, place: int) -> closed_forms.Pulls | None:
        scores, truth, patients, weights = self.roster.rising(side, place)
        return closed_forms.pulls(scores, truth, patients=patients, weights=weights)

    def _left_out(self, metric: Metric, side: int, place: int) -> np.ndarray:
        """Return the number without each block of patients; blocks that have no row in it leave it as it is."""
        rows = self.roster.rows(side, place)
        block = self.roster.block[self.design.patients[rows]]
        values = (self.measured.values, self.measured.rest)[side]
        found = np.full(int(self.roster.block.max()) + 1, values[metric.name][place])
        present = np.unique(block)
        found[present] = without(self.design, metric, self.reading.setting, rows, block)
        return found

    def _noise(self, metric: Metric, side: int, place: int) -> str:
        """Say, in a small group, how much of a calibration error is noise, where that is half of it or more."""
        at = self.places[place]
        value = (self.measured.values, self.measured.rest)[side][metric.name][place]
        floor = self._chance(metric.name, at.partition)[side, at.code]
        if self.patients(metric, side, place) >= SMALL or not floor >= value / 2:
            return ""
        return f"biased upwards: by chance alone a calibrated model would show about {floor:.3f} here"

    def _chance_error(self, name: str, partition: int) -> np.ndarray:
        metric = next(one for one in self.reading.metrics if one.name == name)
        return chance_error(self.design, metric, self.reading.setting, self.design.partitions[partition])


def counted(roster: Roster, reading: Reading) -> Estimates:
    """Return the estimates of metrics that are all shares, which need counting alone: no replicates, nothing measured."""
    groups = np.empty((len(roster.places), 0))
    values: list[dict[str, np.ndarray]] = [{}, {}]
    made = Estimates(roster, reading, Measured(values[GROUP], values[REST], {}, {}))
    for metric in reading.metrics:
        found = [made.shares(metric, number).values for number in range(len(roster.design.partitions))]
        for side in (GROUP, REST):
            values[side][metric.name] = np.concatenate([one[side] for one in found])
        made.measured.drawn[metric.name] = made.measured.rest_drawn[metric.name] = groups
    return made


def _biased(metric: Metric) -> bool:
    """Whether noise makes a metric larger than it is: the binned calibration errors, which add up absolute values."""
    return metric.name.startswith("ECE")


# What shares without a class of their own are shares of.
WHOLES = {"PPV": "images called positive", "NPV": "images called negative"}

"""The flow of participants as counts: what is given at the bottom, and the boxes above that are sums of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

ARMS = ("positive", "negative", "inconclusive")
DIAGNOSES = ("present", "absent", "inconclusive")
ENROLLED, ELIGIBLE, TESTED = "potentially eligible", "eligible", "index test"
EXCLUDED, UNTESTED, UNVERIFIED = "excluded", "no index test", "no reference standard"
VERIFIED, DIAGNOSED = "reference standard", "final diagnosis"


@dataclass(frozen=True)
class Flow:
    """The counts at the bottom of the diagram; all others are sums of them."""

    results: dict[str, dict[str, int]]
    excluded: dict[str, int]
    untested: dict[str, int]
    unverified: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def arms(self) -> list[str]:
        """Results of the index test that occurred, in order; positive and negative always."""
        return [arm for arm in ARMS if arm != "inconclusive" or arm in self.results or arm in self.unverified]

    def verified(self, arm: str) -> int:
        """Count those of a result that had the reference standard."""
        return sum(self.results.get(arm, {}).values())

    def lost(self, arm: str) -> int:
        """Count those of a result that had none."""
        return sum(self.unverified.get(arm, {}).values())

    @property
    def tested(self) -> int:
        """Count those who had the index test."""
        return sum(self.verified(arm) + self.lost(arm) for arm in self.arms)

    @property
    def eligible(self) -> int:
        """Count the eligible."""
        return self.tested + sum(self.untested.values())

    @property
    def enrolled(self) -> int:
        """Count the potentially eligible."""
        return self.eligible + sum(self.excluded.values())

    def table(self) -> pd.DataFrame:
        """Return one row a box, from the top down."""
        rows = [
            (ENROLLED, "", "", self.enrolled),
            (ELIGIBLE, "", ENROLLED, self.eligible),
            (TESTED, "", ELIGIBLE, self.tested),
            *((TESTED, arm, TESTED, self.verified(arm) + self.lost(arm)) for arm in self.arms),
            *((VERIFIED, arm, TESTED, self.verified(arm)) for arm in self.arms),
            *((DIAGNOSED, arm, VERIFIED, self.verified(arm)) for arm in self.arms),
        ]
        left = [
            (EXCLUDED, "", ENROLLED, sum(self.excluded.values())),
            (UNTESTED, "", ELIGIBLE, sum(self.untested.values())),
        ]
        left += [(UNVERIFIED, arm, TESTED, self.lost(arm)) for arm in self.arms]
        return pd.DataFrame([*rows, *left], columns=["box", "arm", "after", "n"])

    def reasons(self) -> pd.DataFrame:
        """Return why whom was left out."""
        rows = [(EXCLUDED, "", reason, n) for reason, n in self.excluded.items()]
        rows += [(UNTESTED, "", reason, n) for reason, n in self.untested.items()]
        rows += [
            (UNVERIFIED, arm, reason, n) for arm in self.arms for reason, n in self.unverified.get(arm, {}).items()
        ]
        return pd.DataFrame(rows, columns=["box", "arm", "reason", "n"])

    def cross(self) -> pd.DataFrame:
        """Return final diagnoses by result of the index test."""
        rows = [
            {"index test": arm} | {name: self.results.get(arm, {}).get(name, 0) for name in DIAGNOSES}
            for arm in self.arms
        ]
        return pd.DataFrame(rows)

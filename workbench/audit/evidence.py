"""What a sample can carry: where a number is shown with a warning, and where it is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.audit.metrics import evidence_arms

if TYPE_CHECKING:
    from workbench.audit.sample import Arm, Sample

# Below ENOUGH patients of a class every interval is wide and its coverage doubtful; below FEWEST (measured: intervals
# that should hold in 95 of 100 cases hold in 70–80) a number would mislead.
ENOUGH = 20
FEWEST = 5

REFUSED = "refused"
NOT_ESTIMABLE = "not estimable"


def note(metric: str, sample: Sample) -> str:
    """Say what is wrong with the evidence for a metric in a group, or nothing."""
    return "; ".join(
        sentence
        for arm in evidence_arms(metric, sample)
        if (sentence := _sentence(arm, "positives" if arm is sample.positives else "negatives"))
    )


def weight(metric: str, sample: Sample) -> int:
    """Count the patients that carry a metric: those of the smaller class it needs."""
    return min(len(arm.sizes) for arm in evidence_arms(metric, sample))


def _sentence(arm: Arm, kind: str) -> str:
    patients = len(arm.sizes)
    if patients >= ENOUGH:
        return ""
    singular = kind[:-1]
    count = f"{len(arm)} {singular if len(arm) == 1 else kind}"
    if patients < len(arm):
        count += f" of {patients} patient{'s' if patients > 1 else ''}"
    if patients == 0:
        return f"{NOT_ESTIMABLE}: no {kind}"
    if patients < FEWEST:
        return f"{REFUSED}: only {count}; at least {FEWEST} are needed"
    return f"only {count}: wide interval, do not rely on it"

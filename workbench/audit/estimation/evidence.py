"""What a sample can carry: where a number is shown with a warning, and where it is refused."""

from __future__ import annotations

from dataclasses import dataclass

# Below ENOUGH patients of a class every interval is wide and its coverage doubtful; below FEWEST (measured: intervals
# that should hold in 95 of 100 cases hold in 70–80) a number would mislead.
ENOUGH = 20
FEWEST = 5

REFUSED = "refused"
NOT_ESTIMABLE = "not estimable"


@dataclass(frozen=True)
class Carrier:
    """The images that carry a number: what they are, how many, and of how many patients."""

    kind: str
    images: int
    patients: int


def note(carriers: list[Carrier], enough: int = ENOUGH, fewest: int = FEWEST) -> str:
    """Say what is wrong with the evidence, or nothing."""
    return "; ".join(text for carrier in carriers if (text := _sentence(carrier, enough, fewest)))


def fewest_patients(carriers: list[Carrier]) -> int:
    """Count the patients of the class that has fewest."""
    return min(carrier.patients for carrier in carriers)


def _sentence(carrier: Carrier, enough: int, fewest: int) -> str:
    if carrier.patients >= enough:
        return ""
    kind = carrier.kind
    if carrier.images == 1:
        first, _, rest = kind.partition(" ")
        kind = first.removesuffix("s") + (f" {rest}" if rest else "")
    count = f"{carrier.images} {kind}"
    if carrier.patients < carrier.images:
        count += f" of {carrier.patients} patient{'s' if carrier.patients > 1 else ''}"
    if carrier.patients == 0:
        return f"{NOT_ESTIMABLE}: no {carrier.kind}"
    if carrier.patients < fewest:
        return f"{REFUSED}: only {count}; at least {fewest} are needed"
    return f"only {count}: wide interval, do not rely on it"

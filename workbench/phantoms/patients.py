"""The people of a phantom cohort: age, density, site, group, and who has a lesion. All of them are invented."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DENSITIES = ("A", "B", "C", "D")
SITES = {"North": 0.6, "South": 0.25, "East": 0.15}
# Fictional peoples: no real group is meant, and nothing in the images depends on them.
ETHNICITIES = {"Venn": 0.6, "Tolmar": 0.25, "Quessi": 0.15}
MISSING = 0.03
MAJORITY = "North"
BLOCK = 10


@dataclass(frozen=True)
class Patient:
    """One invented patient; `diseased` is the truth, `flipped` whether the label says otherwise."""

    number: int
    age: int
    density: str
    site: str
    ethnicity: str | None
    laterality: str
    diseased: bool
    flipped: bool
    markers: tuple[bool, bool]

    @property
    def age_band(self) -> str:
        """The decade of age, ``"40-49"`` to ``"70-79"``."""
        return f"{self.age // 10 * 10}-{self.age // 10 * 10 + 9}"


def draw_patient(number: int, *, seed: int, prevalence: float, shortcut: float, label_noise: float) -> Patient:
    """Draw patient `number`; the same draws lie behind every setting of the knobs."""
    rng = np.random.default_rng([seed, 1, number])
    age = int(np.clip(round(rng.normal(58, 10)), 40, 79))
    # BI-RADS shares near 10/40/40/10 % at 58 years, shifting to fat with age.
    lean = rng.normal() - (age - 58) / 25
    density = DENSITIES[int(np.digitize(lean, [-1.35, 0.0, 1.3]))]
    site = _choice(rng, SITES)
    ethnicity = _choice(rng, ETHNICITIES)
    missing = rng.random() < MISSING
    laterality = "L" if rng.random() < 0.5 else "R"
    flipped = bool(rng.random() < label_noise)
    diseased = _diseased(number, seed=seed, prevalence=prevalence)
    # Only this site lays a lead marker beside the breast.
    marked = 0.5 + (shortcut if diseased else -shortcut) / 2 if site == MAJORITY else 0.0
    markers = rng.random(2) < marked
    return Patient(
        number, age, density, site, None if missing else ethnicity, laterality, diseased, flipped,
        (bool(markers[0]), bool(markers[1])),
    )  # fmt: skip


def _diseased(number: int, *, seed: int, prevalence: float) -> bool:
    """Spread the disease evenly over blocks of ten patients, in random order within a block."""
    rng = np.random.default_rng([seed, 2, number // BLOCK])
    place = rng.permutation(BLOCK)[number % BLOCK]
    return bool((place + rng.random(BLOCK)[number % BLOCK]) / BLOCK < prevalence)


def _choice(rng: np.random.Generator, shares: dict[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))

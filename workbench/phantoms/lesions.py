"""Breast lesions as a finite set of templates: masses of several margins, and clusters of microcalcifications."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# Peak of a template, in standard deviations of the tissue's texture.
MASS_PEAK = 13.0
SPECK_PEAK = 30.0
# Half the side of the square that holds any lesion, spicules included.
REACH_MM = 26.0
SHAPES = ("lobulated", "irregular", "spiculated", "irregular")
RADII_MM = (10.5, 14.0)
CLUSTERS = 6


@dataclass(frozen=True, eq=False)
class LesionBank:
    """All lesions the phantom knows.

    Parameters
    ----------
    templates : float32 ``(J, h, w)``, h = w odd; the lesion's centre is the middle pixel.
    regions : bool ``(J, h, w)``, what a radiologist would outline.
    kinds : ``"mass"`` or ``"calcifications"`` for each.
    """

    templates: np.ndarray
    regions: np.ndarray
    kinds: tuple[str, ...]


@lru_cache(maxsize=4)
def lesion_bank(spacing_mm: float) -> LesionBank:
    """Draw the templates for pixels of side `spacing_mm`; the same lesions at every resolution."""
    half = round(REACH_MM / spacing_mm)
    axis = np.arange(-half, half + 1) * spacing_mm
    y, x = np.meshgrid(axis, axis, indexing="ij")
    drawn = []
    for number, (shape, radius) in enumerate((s, r) for s in SHAPES for r in RADII_MM):
        drawn.append(_mass(np.random.default_rng([11, number]), y, x, shape=shape, radius=radius))
    for number in range(CLUSTERS):
        drawn.append(_cluster(np.random.default_rng([12, number]), y, x, spacing_mm=spacing_mm))
    # Nothing reaches the square's rim: a template is whole, wherever it is placed.
    window = np.clip((REACH_MM - np.hypot(y, x)) / 3, 0, 1)
    templates = np.stack([profile * window for profile, _ in drawn]).astype(np.float32)
    regions = np.stack([region for _, region in drawn])
    kinds = ("mass",) * (len(SHAPES) * len(RADII_MM)) + ("calcifications",) * CLUSTERS
    return LesionBank(templates, regions, kinds)


def _mass(
    rng: np.random.Generator, y: np.ndarray, x: np.ndarray, *, shape: str, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    angle, distance = np.arctan2(y, x), np.hypot(y, x)
    roughness = {"lobulated": (0.16, 0.5), "irregular": (0.16, 0.8), "spiculated": (0.10, 0.9)}[shape]
    rim = np.ones_like(angle)
    for order in range(2, 12):
        phase, size = rng.uniform(0, 2 * np.pi), rng.normal() * roughness[0] * (order / 2) ** (-1 / roughness[1])
        rim += size * np.cos(order * angle + phase)
    rim = radius * np.clip(rim, 0.5, 1.5)
    margin = {"lobulated": 0.9, "irregular": 1.3, "spiculated": 1.6}[shape]
    core = 1 / (1 + np.exp((distance - rim) / margin))
    # Thicker in the middle, as a ball is.
    profile = core * (0.72 + 0.28 * np.sqrt(np.clip(1 - (distance / (1.5 * rim)) ** 2, 0, 1)))
    if shape == "spiculated":
        for _ in range(rng.integers(13, 18)):
            profile = np.maximum(profile, _spicule(rng, angle, distance, radius))
    region = (core > 0.3) | (profile > 0.4)
    return MASS_PEAK * profile, region


def _spicule(rng: np.random.Generator, angle: np.ndarray, distance: np.ndarray, radius: float) -> np.ndarray:
    direction, length = rng.uniform(-np.pi, np.pi), radius * rng.uniform(1.4, 1.9)
    bend = rng.normal() * 0.02
    off = np.angle(np.exp(1j * (angle - direction - bend * (distance - radius))))
    width = 1.0 - 0.5 * np.clip(distance / length, 0, 1)
    ray = np.exp(-0.5 * (distance * np.sin(off) / width) ** 2) * (np.cos(off) > 0)
    ray_profile: np.ndarray = 0.75 * ray * np.clip(1.15 - distance / length, 0, 1)
    return ray_profile


def _cluster(
    rng: np.random.Generator, y: np.ndarray, x: np.ndarray, *, spacing_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Specks of 0.4–0.7 mm (standard deviation), blurred by the pixel that holds them, in a field of about 2.5 cm."""
    tilt, spread = rng.uniform(0, np.pi), rng.uniform(6.5, 8.5)
    profile, nearest = np.zeros_like(x), np.full_like(x, np.inf)
    for _ in range(rng.integers(44, 60)):
        along, across = rng.normal() * spread, rng.normal() * spread * 0.7
        at_x = np.clip(along * np.cos(tilt) - across * np.sin(tilt), -18, 18)
        at_y = np.clip(along * np.sin(tilt) + across * np.cos(tilt), -18, 18)
        size, bright = rng.uniform(0.4, 0.7), rng.uniform(0.6, 1.0)
        squared = (y - at_y) ** 2 + (x - at_x) ** 2
        blurred = size**2 + (0.45 * spacing_mm) ** 2
        # The speck's content stays, its peak falls with the pixel's size.
        profile += bright * np.exp(-0.5 * squared / blurred) * (size**2 + 0.3) / (blurred + 0.1)
        nearest = np.minimum(nearest, squared)
    return SPECK_PEAK * profile, nearest < 2.5**2

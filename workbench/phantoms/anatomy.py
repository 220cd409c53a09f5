"""The breast without its lesion: outline, skin, fat, glandular tissue, ligaments and pectoral muscle, in one view.

Lengths are in millimetres. Everything is drawn as a left breast, chest wall at column 0, and mirrored for a right one.
Brightness is in units of log-exposure before the display curve: fat 0, dense tissue about 2, air -4.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import ndimage

from workbench.phantoms.texture import enlarge, fractal_field, smooth_field

# The film that the image covers, top to bottom and chest wall to edge.
FILM_MM = (240.0, 180.0)
AIR = -4.0
# Standard deviation of the random texture, and how little of it is left in air.
TEXTURE, TEXTURE_IN_AIR = 0.22, 0.04
# Glandular share of the breast's area by BI-RADS density class, as (mean of a threshold field, brightness).
GLANDULAR = {"A": (-1.05, 0.75), "B": (-0.35, 0.95), "C": (0.35, 1.15), "D": (1.05, 1.3)}
# Side of the coarse cells on which distances are measured.
COARSE_MM = 2.0
# Lesions are centred on a lattice of this pitch: fine enough that nobody sees it, coarse enough to sum over.
LATTICE_MM = 3.0


@dataclass(frozen=True)
class Build:
    """One patient's breast: what its two views share.

    Parameters
    ----------
    depth_mm : nipple to chest wall.
    width_mm : half the breast's extent along the chest wall.
    density : BI-RADS class, ``"A"`` (fat) to ``"D"`` (extremely dense).
    """

    depth_mm: float
    width_mm: float
    density: str


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One view of a healthy breast, all of it known to the ideal observer.

    Parameters
    ----------
    background : float32 ``(H, W)``, expected log-exposure.
    scale : float32 ``(H, W)``, standard deviation of the random texture.
    breast : bool ``(H, W)``.
    depth : int ``(P,)``, distance from the nipple to each place where a lesion may lie, in cells of 10 mm.
    positions : int ``(P, 2)``, those places, rows and columns.
    """

    background: np.ndarray
    scale: np.ndarray
    breast: np.ndarray
    depth: np.ndarray
    positions: np.ndarray


def draw_build(rng: np.random.Generator, density: str) -> Build:
    """Draw a breast's size; dense breasts tend to be smaller."""
    smaller = {"A": 8.0, "B": 4.0, "C": -2.0, "D": -8.0}[density]
    depth = float(np.clip(rng.normal(98 + smaller, 10), 72, 125))
    return Build(depth, float(np.clip(depth * rng.normal(0.84, 0.05), 64, 104)), density)


def draw_anatomy(rng: np.random.Generator, build: Build, *, view: str, shape: tuple[int, int]) -> Anatomy:
    """Draw one view (``"CC"`` or ``"MLO"``) of a breast on `shape` pixels; the draws do not depend on `shape`."""
    y, x, spacing = film(shape)
    centre = 120.0 + rng.normal() * 3 + (14.0 if view == "MLO" else 0.0)
    # A technician moves the film until a large breast lies on it whole.
    centre = float(np.clip(centre, build.width_mm + 8, FILM_MM[0] - 8 - build.width_mm))
    nipple_y = centre + rng.normal() * 4
    edge, top_width = _outline(rng, build, view=view, centre=centre, nipple_y=nipple_y)
    inside = enlarge(_distance(edge), shape)
    muscle = _muscle(rng, y, x, top_width) if view == "MLO" else np.full(shape, -50.0, np.float32)

    nipple_x = float(np.interp(nipple_y, np.arange(edge.size) * COARSE_MM, edge))
    radius = np.hypot(x - nipple_x, y - nipple_y)
    angle = np.arctan2(y - nipple_y, nipple_x - x)
    glandular = _glandular(rng, build, inside=inside, muscle=muscle, radius=radius, angle=angle)
    strands = _strands(rng, radius=radius, angle=angle, shape=shape)

    thickness = 1 - np.exp(-np.clip(inside, 0, None) / 9.0)
    tissue = glandular * (GLANDULAR[build.density][1] + 0.28 * fractal_field(rng, (14, 11), shape))
    lobules = 0.1 * fractal_field(rng, (10, 8), shape) + 0.45 * strands * (0.35 + 0.65 * np.sqrt(glandular))
    skin = 0.75 * np.exp(-(((inside - 1.0) / 1.1) ** 2))
    areola = 0.9 * np.exp(-(((radius - 1.0) / 5.0) ** 2)) + 0.3 * np.exp(-((radius / 14.0) ** 2))
    in_muscle = _step(muscle / 1.6)
    flesh = (1.0 * tissue + lobules) * (1 - 0.9 * in_muscle) + in_muscle * _muscle_brightness(rng, muscle, shape)
    body = -1.3 + 1.3 * thickness + flesh * thickness + skin + areola
    within = _step(inside / (0.5 * max(spacing, 0.5)))
    background = AIR + (body - AIR) * within
    scale = TEXTURE_IN_AIR + (TEXTURE * (0.85 + 0.15 * glandular) - TEXTURE_IN_AIR) * within * np.sqrt(thickness)
    positions = _lattice(shape, spacing, (inside > 11) & (muscle < -9) & (x > 19) & (np.abs(y - 120) < 96))
    at = tuple(positions.T)
    depth = (radius[at] // 10).astype(np.int64)
    return Anatomy(background.astype(np.float32), scale.astype(np.float32), inside > 0, depth, positions)


def shared_position_weights(first: Anatomy, second: Anatomy) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each position in two views of one breast, such that both agree on the depth.

    A lesion lies as far from the nipple in one view as in the other, so depth is drawn once, from this common
    distribution, and the place at that depth in each view by itself. A second view that shares no depth with the first
    (never seen) would leave nothing to draw from, so the weights fall back to uniform.
    """
    cells = int(max(first.depth.max(), second.depth.max())) + 1
    counts = [np.bincount(view.depth, minlength=cells).astype(float) for view in (first, second)]
    common = np.sqrt(counts[0] * counts[1])
    return tuple(  # type: ignore[return-value]
        common[view.depth] / count[view.depth] / common.sum()
        if common.any()
        else np.full(len(view.depth), 1 / len(view.depth))
        for view, count in zip((first, second), counts, strict=True)
    )


@lru_cache(maxsize=4)
def film(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the pixel centres y ``(H, 1)`` and x ``(1, W)`` in mm, and the pixel's side; the film fits whole."""
    spacing = max(FILM_MM[0] / shape[0], FILM_MM[1] / shape[1])
    y = (np.arange(shape[0], dtype=np.float32)[:, None] + 0.5) * spacing + (FILM_MM[0] - shape[0] * spacing) / 2
    return y, (np.arange(shape[1], dtype=np.float32)[None] + 0.5) * spacing, spacing


def _step(value: np.ndarray) -> np.ndarray:
    step: np.ndarray = 0.5 + 0.5 * np.tanh(value)
    return step


def _outline(
    rng: np.random.Generator, build: Build, *, view: str, centre: float, nipple_y: float
) -> tuple[np.ndarray, float]:
    """Return the breast's edge x for each coarse row, and for an MLO view the pectoral muscle's width at the top."""
    y = np.arange(0, FILM_MM[0], COARSE_MM)
    wobble = sum(rng.normal() * 1.3 / k * np.sin(2 * np.pi * k * y / 240 + rng.uniform(0, 6.28)) for k in (1, 2, 3))
    top_width = rng.uniform(52, 78)
    below = np.clip((y - centre) / build.width_mm, -1, 1)
    power = rng.uniform(2.1, 2.5)
    round_edge = build.depth_mm * np.clip(1 - np.abs(below) ** power, 0, None) ** (1 / 2.05)
    if view == "CC":
        edge = round_edge
    else:
        rise = np.clip(y / centre, 0, 1)
        tail = top_width + rng.uniform(2, 14)
        pear = tail + (build.depth_mm - tail) * np.sin(0.5 * np.pi * rise**1.25) ** 1.4
        edge = np.where(y < centre, pear, round_edge)
    nipple = rng.uniform(3.0, 5.5) * np.exp(-(((y - nipple_y) / 4.5) ** 4))
    return np.where(edge > 0, edge + wobble * (edge > 20) + nipple, 0.0), top_width


def _distance(edge: np.ndarray) -> np.ndarray:
    """Return the signed distance to the skin on the coarse grid, in mm, positive inside; the chest wall is no skin."""
    x = np.arange(0, FILM_MM[1], COARSE_MM)
    mask = x[None] + COARSE_MM / 2 < edge[:, None]
    wide = np.pad(mask, ((0, 0), (60, 0)), mode="edge")
    # The body goes on above and below the film wherever the breast reaches its border.
    wide = np.pad(wide, ((20, 20), (0, 0)), mode="edge")
    signed = ndimage.distance_transform_edt(wide) - ndimage.distance_transform_edt(~wide)
    signed -= 0.5 * np.sign(signed)
    smooth = ndimage.gaussian_filter(signed, 1.6)[20:-20, 60:]
    distance: np.ndarray = (COARSE_MM * smooth).astype(np.float32)
    return distance


def _muscle(rng: np.random.Generator, y: np.ndarray, x: np.ndarray, top_width: float) -> np.ndarray:
    """Return the signed distance to the pectoral muscle's edge, positive inside: a triangle with a bulging side."""
    low = rng.uniform(112, 158)
    slope = top_width / low
    bulge = rng.uniform(0, 7) * np.sin(np.pi * np.clip(y / low, 0, 1))
    inward: np.ndarray = ((top_width - slope * y + bulge - x) / np.hypot(1, slope)).astype(np.float32)
    return inward


def _muscle_brightness(rng: np.random.Generator, muscle: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the muscle's brightness: thicker away from its edge, with fibres along it."""
    fibres = 0.08 * np.sin(muscle / rng.uniform(2.2, 3.2) + 1.5 * smooth_field(rng, (6, 5), shape))
    return 0.8 + 0.4 * np.clip(muscle / 40, 0, 1) + fibres + 0.12 * fractal_field(rng, (8, 6), shape)


def _glandular(
    rng: np.random.Generator,
    build: Build,
    *,
    inside: np.ndarray,
    muscle: np.ndarray,
    radius: np.ndarray,
    angle: np.ndarray,
) -> np.ndarray:
    """Return the share of glandular tissue, 0–1: a cone with its tip at the nipple, cut into lobes by fat."""
    shape = inside.shape
    threshold = GLANDULAR[build.density][0]
    opening = {"A": 0.55, "B": 0.7, "C": 0.85, "D": 1.0}[build.density] * rng.uniform(0.9, 1.1)
    reach = build.depth_mm * {"A": 0.62, "B": 0.74, "C": 0.86, "D": 0.95}[build.density] * rng.uniform(0.92, 1.08)
    ragged = 0.22 * fractal_field(rng, (9, 7), shape, octaves=3)
    sideways = (angle - 0.1 * rng.normal()) / opening
    cone = 1.0 - np.abs(sideways) ** 2.4 - (np.clip(radius, 0, None) / reach) ** 3 + ragged
    fat_rim = np.clip((inside - {"A": 14, "B": 12, "C": 9, "D": 6}[build.density]) / 6, -2, 1)
    lobes = 0.75 * fractal_field(rng, (12, 9), shape, octaves=4, gain=0.65)
    lobes += 0.75 * polar_field(rng, radius, angle, cells=(7, 40), stretch=0.4)
    amount = _step(2.2 * (np.minimum(np.minimum(1.6 * cone, fat_rim), -muscle / 8) - 0.15))
    share: np.ndarray = (amount * _step(1.5 * (lobes + threshold))).astype(np.float32)
    return share


def _strands(rng: np.random.Generator, *, radius: np.ndarray, angle: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return thin bright lines, 0–1: ducts that run to the nipple, and Cooper's ligaments across them.

    The lines are where smooth random fields cross zero, which gives curves that branch, meet and end like septa.
    """
    ducts = _ridge(polar_field(rng, radius, angle, cells=(6, 46), stretch=0.3), 0.11)
    ligaments = _ridge(fractal_field(rng, (15, 12), shape, octaves=2), 0.07)
    presence = _step(1.4 * smooth_field(rng, (12, 9), shape) + 0.2)
    lines: np.ndarray = np.maximum(ducts * presence, 0.75 * ligaments * (1.1 - presence)) * np.clip(radius / 12, 0, 1)
    return lines


def _ridge(field: np.ndarray, width: float) -> np.ndarray:
    return np.exp(-((field / width) ** 2))


def polar_field(
    rng: np.random.Generator, radius: np.ndarray, angle: np.ndarray, *, cells: tuple[int, int], stretch: float
) -> np.ndarray:
    """Draw noise on a grid of (radius, angle) about the nipple: its structures point there; about standard normal."""
    coarse = rng.standard_normal(cells, dtype=np.float32)
    fine = np.ascontiguousarray(enlarge(coarse, (cells[0] * 6, cells[1] * 5)))
    rows = np.clip((radius / 180.0) ** (1 - 0.5 * stretch), 0, 1) * (fine.shape[0] - 1)
    columns = np.clip(angle / np.pi + 0.5, 0, 1) * (fine.shape[1] - 1)
    field: np.ndarray = 1.35 * ndimage.map_coordinates(fine, [rows, columns], order=1)
    return field


def _lattice(shape: tuple[int, int], spacing: float, allowed: np.ndarray) -> np.ndarray:
    pitch = max(1, round(LATTICE_MM / spacing))
    on = np.zeros(shape, bool)
    on[pitch // 2 :: pitch, pitch // 2 :: pitch] = True
    return np.argwhere(on & allowed)

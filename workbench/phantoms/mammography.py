"""A mammography cohort with known truth: where each lesion is, what shortcut was planted, and the best possible score."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.errors import InputError
from workbench.phantoms.anatomy import Anatomy, draw_anatomy, draw_build, film, shared_position_weights
from workbench.phantoms.display import from_grey, to_grey
from workbench.phantoms.ideal_observer import DetectionTask, auroc, auroc_interval
from workbench.phantoms.lesions import lesion_bank
from workbench.phantoms.marker import draw_marker
from workbench.phantoms.patients import Patient, draw_patient
from workbench.phantoms.texture import power_law_spectrum, stationary_noise
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "phantom-mammography"
VIEWS = ("CC", "MLO")
CLASSES = ("healthy", "cancer")
ATTRIBUTES = ("age_band", "density", "site", "ethnicity", "view", "marker")
DENSE = ("C", "D")
# How conspicuous lesions are: most are plain, some subtle, a few all but hidden.
STRENGTHS, STRENGTH_WEIGHTS = (1.0, 0.6, 0.01), (0.85, 0.12, 0.03)
# Quantum noise, in standard deviations of the texture, per pixel of 1 mm.
QUANTUM = 0.2


@dataclass(frozen=True)
class Knobs:
    """What was asked for; see :func:`phantom_mammography`."""

    shape: tuple[int, int]
    seed: int
    prevalence: float
    shortcut: float
    disadvantage: float
    label_noise: float


def phantom_mammography(
    n: int = 800,
    *,
    shape: tuple[int, int] = (256, 192),
    seed: int = 0,
    prevalence: float = 0.4,
    shortcut: float = 0.0,
    disadvantage: float = 0.0,
    label_noise: float = 0.0,
) -> Cohort:
    """Make mammograms of invented patients, two views (CC, MLO) of one breast each, some with a lesion.

    The same seed gives the same bytes, and a larger cohort begins with the smaller one's images.

    Parameters
    ----------
    n : number of images, at least 20.
    shape : rows and columns, 48–2048 each; the film is 240 × 180 mm at any shape.
    seed : of everything random.
    prevalence : share of patients with a lesion, between 0 and 1.
    shortcut : 0–1. Only site North uses lead markers: one is in the image of (0.5 + shortcut/2) of its cancers and
        (0.5 - shortcut/2) of its healthy. At 0 the marker says nothing about the label.
    disadvantage : 0–1. Lesions in dense breasts (C, D) have (1 - disadvantage) of their contrast.
    label_noise : 0–1. Share of patients whose label is flipped; column ``true_label`` then keeps the truth.

    Returns
    -------
    Cohort with classes healthy and cancer, uint16 images ``(1, H, W)`` of 12 bits, masks lesion, breast and marker,
    and in ``card["truth"]`` the knobs and the ideal observer's AUROC with its interval.

    Raises
    ------
    InputError : where a knob is out of range.

    Examples
    --------
    >>> cohort = phantom_mammography(20, shape=(64, 48))
    >>> cohort.image("p0001-CC").shape
    (1, 64, 48)
    """
    knobs = Knobs((int(shape[0]), int(shape[1])), seed, prevalence, shortcut, disadvantage, label_noise)
    _check(n, knobs)
    patients = [_patient(number, knobs) for number in range((n + 1) // 2)]
    values = np.empty((n, 1, *knobs.shape), np.uint16)
    masks = {name: np.zeros((n, 1, *knobs.shape), np.uint8) for name in ("lesion", "breast", "marker")}
    kinds: list[str | None] = [None] * n
    log_ratios = np.empty(n)

    def fill(patient: Patient) -> None:
        for row, picture in zip(range(2 * patient.number, n), _pictures(patient, knobs), strict=False):
            values[row, 0] = picture.image
            kinds[row] = picture.kind
            log_ratios[row] = picture.log_ratio
            for name, mask in picture.masks.items():
                masks[name][row, 0] = mask

    # FFTs and array arithmetic release the interpreter's lock; each image has its own seed, so order does not matter.
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fill, patients))
    table = _table(patients, kinds, n=n, noisy=label_noise > 0)
    ids = list(table.index)
    diseased = np.repeat([patient.diseased for patient in patients], 2)[:n]
    truth = _truth(knobs, log_ratios, diseased=diseased, table=table)
    settings = {"n": n, **asdict(knobs)}
    settings.pop("seed")
    sources = {name: ArrayPixels.of(mask, ids) for name, mask in masks.items()}
    provenance = Provenance(NAME, settings, digest(table, values, *masks.values()), seed=seed)
    return Cohort(
        table, CLASSES, ATTRIBUTES, ArrayPixels.of(values, ids), sources, _card(truth, shortcut=shortcut), provenance
    )


@dataclass(frozen=True, eq=False)
class Picture:
    """One finished view, in its hanging orientation; `log_ratio` is the ideal observer's log Λ."""

    image: np.ndarray
    masks: dict[str, np.ndarray]
    kind: str | None
    log_ratio: float


def _pictures(patient: Patient, knobs: Knobs) -> Iterator[Picture]:
    """Yield the CC and the MLO view of one patient."""
    bank = lesion_bank(film(knobs.shape)[2])
    build = draw_build(_stream(knobs, patient, 3), patient.density)
    views = [
        draw_anatomy(_stream(knobs, patient, 4 + k), build, view=v, shape=knobs.shape) for k, v in enumerate(VIEWS)
    ]
    weights = shared_position_weights(views[0], views[1])
    lesion_draw = _stream(knobs, patient, 6)
    template = int(lesion_draw.integers(len(bank.kinds)))
    strength = float(lesion_draw.choice(STRENGTHS, p=STRENGTH_WEIGHTS))
    depth = _draw_depth(lesion_draw, views[0], weights[0])
    contrast = 1.0 - knobs.disadvantage if patient.density in DENSE else 1.0
    for number, (view, anatomy, weight) in enumerate(zip(VIEWS, views, weights, strict=True)):
        task = detection_task(knobs.shape, view)
        texture = stationary_noise(_stream(knobs, patient, 7 + number), task.spectrum, knobs.shape)
        signal = np.zeros(knobs.shape, np.float32)
        region = np.zeros(knobs.shape, bool)
        at = anatomy.positions[lesion_draw.choice(np.flatnonzero(anatomy.depth == depth))]
        if patient.diseased:
            _place(signal, contrast * strength * bank.templates[template], at)
            _place(region, bank.regions[template], at)
        lead, box = draw_marker(_stream(knobs, patient, 9 + number), patient.laterality, shape=knobs.shape)
        known = anatomy.background + lead * patient.markers[number]
        image = to_grey(known + anatomy.scale * (texture + signal))
        seen = (from_grey(image) - known) / anatomy.scale
        log_ratio = task.log_likelihood_ratio(seen, positions=anatomy.positions, weights=weight, contrast=contrast)
        masks = {"lesion": region & anatomy.breast, "breast": anatomy.breast, "marker": box & patient.markers[number]}
        hang = slice(None, None, -1 if patient.laterality == "R" else 1)
        yield Picture(
            image[:, hang], {name: mask[:, hang] for name, mask in masks.items()},
            bank.kinds[template] if patient.diseased else None, log_ratio,
        )  # fmt: skip


@lru_cache(maxsize=8)
def detection_task(shape: tuple[int, int], view: str) -> DetectionTask:
    """Return what the ideal observer has to decide in one view, in units of the local texture."""
    spacing = film(shape)[2]
    stretch = {"CC": 1.5, "MLO": 1.35}[view]
    spectrum = power_law_spectrum(shape, spacing, stretch=stretch, white=QUANTUM / spacing)
    return DetectionTask(shape, spectrum, lesion_bank(spacing).templates, STRENGTHS, STRENGTH_WEIGHTS)


def _stream(knobs: Knobs, patient: Patient, purpose: int) -> np.random.Generator:
    """Return a patient's own random numbers for one purpose, so that no knob shifts what another one draws."""
    return np.random.default_rng([knobs.seed, purpose, patient.number])


def _patient(number: int, knobs: Knobs) -> Patient:
    return draw_patient(
        number,
        seed=knobs.seed,
        prevalence=knobs.prevalence,
        shortcut=knobs.shortcut,
        label_noise=knobs.label_noise,
    )


def _draw_depth(rng: np.random.Generator, anatomy: Anatomy, weights: np.ndarray) -> int:
    return int(anatomy.depth[rng.choice(len(weights), p=weights / weights.sum())])


def _place(canvas: np.ndarray, stamp: np.ndarray, at: np.ndarray) -> None:
    """Write `stamp` centred on pixel `at`, around the border where it reaches past it, as on the texture's torus."""
    half = stamp.shape[0] // 2
    rows = (at[0] + np.arange(-half, half + 1)) % canvas.shape[0]
    columns = (at[1] + np.arange(-half, half + 1)) % canvas.shape[1]
    canvas[np.ix_(rows, columns)] = stamp


def _table(patients: list[Patient], kinds: list[str | None], *, n: int, noisy: bool) -> pd.DataFrame:
    rows = []
    for patient in patients:
        for view, marker in zip(VIEWS, patient.markers, strict=True):
            row: dict[str, Any] = {
                "id": f"p{patient.number + 1:04d}-{view}",
                "patient": f"p{patient.number + 1:04d}",
                "label": CLASSES[patient.diseased != patient.flipped],
                "age": patient.age,
                "age_band": patient.age_band,
                "density": patient.density,
                "site": patient.site,
                "ethnicity": patient.ethnicity,
                "view": view,
                "laterality": patient.laterality,
                "marker": "yes" if marker else "no",
            }
            rows.append(row | ({"true_label": CLASSES[patient.diseased]} if noisy else {}))
    table = pd.DataFrame(rows[:n]).set_index("id")
    return table.assign(lesion_type=pd.Series(kinds, index=table.index, dtype="str"))


def _truth(knobs: Knobs, log_ratios: np.ndarray, *, diseased: np.ndarray, table: pd.DataFrame) -> dict[str, Any]:
    low, high = auroc_interval(log_ratios, diseased, table["patient"].to_numpy())
    by_density = {}
    for density in sorted(table["density"].unique()):
        group = (table["density"] == density).to_numpy()
        area = auroc(log_ratios[group], diseased[group])
        by_density[str(density)] = None if np.isnan(area) else area
    return {
        "shortcut": knobs.shortcut,
        "shortcut_mask": "marker",
        "disadvantage": knobs.disadvantage,
        "label_noise": knobs.label_noise,
        "prevalence": knobs.prevalence,
        "spacing_mm": film(knobs.shape)[2],
        "ideal_auroc": auroc(log_ratios, diseased),
        "ideal_auroc_low": low,
        "ideal_auroc_high": high,
        "ideal_auroc_by_density": by_density,
        "ideal_task": "the lesion alone, against the true labels; a marker that goes with the label is further evidence",
    }


def _card(truth: dict[str, Any], *, shortcut: float) -> dict[str, Any]:
    planted = f" At site North a lead marker goes with the label (shortcut {shortcut:g})." if shortcut else ""
    return {
        "name": NAME,
        "description": "Generated mammograms (CC and MLO) with known lesions, for teaching and for testing methods."
        + planted,
        "origin": "generated",
        "licence": "CC0-1.0",
        "consent": "no person: every patient is invented, and the ethnicities are fictional",
        "truth": truth,
    }


def _check(n: int, knobs: Knobs) -> None:
    """Raise InputError where a knob is out of its range."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 20:
        message = f"n ({n!r}) must be a whole number of images, 20 or more, so that both classes are there."
        raise InputError(message)
    if min(knobs.shape) < 48 or max(knobs.shape) > 2048:
        message = f"shape {knobs.shape} must have 48 to 2048 rows and columns, e.g. (256, 192)."
        raise InputError(message)
    if not isinstance(knobs.seed, int | np.integer) or knobs.seed < 0:
        message = f"seed {knobs.seed!r} must be a whole number, 0 or more."
        raise InputError(message)
    if not 0.1 <= knobs.prevalence <= 0.9:
        message = f"prevalence ({knobs.prevalence!r}) must lie in 0.1–0.9, so that both classes are there."
        raise InputError(message)
    for name in ("shortcut", "disadvantage", "label_noise"):
        if not 0 <= getattr(knobs, name) <= 1:
            message = f"{name} ({getattr(knobs, name)!r}) must lie in 0–1."
            raise InputError(message)

"""A simulated panel of readers for a phantom cohort, which no reader can beat the ideal observer on.

A reader sees what the ideal observer sees, less well: the evidence of an image, √(2·|log Λ|) with its sign, is in units of
the detectability d', and noise of the reader's own is added to it (Burgess & Colborne 1988, J Opt Soc Am A 5:617: internal
noise). Its standard deviation is so chosen that the reader reaches a given area under the ROC curve on these images.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats

from workbench._verb import make_callable
from workbench.errors import InputError, unknown_name
from workbench.phantoms.ideal_observer import auroc
from workbench.phantoms.mammography import NAME, VIEWS, Knobs, _patient, _pictures
from workbench.provenance import digest

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort
    from workbench.predictions import Predictions
    from workbench.provenance import Provenance

SCALES = ("0-100", "1-5")
COLUMNS = ("reader", "modality", "case", "patient", "score", "call", "label")
# Of a reader's own noise, the share that comes back when the same reader reads the same image again.
HABIT = 0.5
# How readers differ in where they call disease and how far they spread their ratings, in standard deviations of evidence.
LENIENCE, STRETCH = 0.3, 0.2
CUTS = np.array([-1.0, -0.35, 0.35, 1.0])
# Readers are kept between guessing and the ideal observer by this much.
MARGIN = 0.005


def reader_panel(
    cohort: Cohort,
    *,
    readers: int = 5,
    skill: float = 0.85,
    spread: float = 0.03,
    agreement: float = 0.3,
    scale: Literal["0-100", "1-5"] = "0-100",
    model: Predictions | None = None,
    trust: float = 0.5,
    ideal: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Let a panel of simulated readers read a phantom cohort, alone and (with `model`) with a model's scores before them.

    Parameters
    ----------
    cohort : from :func:`workbench.load` ``("phantom-mammography")``, or a part of it; its images must be as they were made.
        They are made once more for their evidence, which takes the time that making them took.
    readers : how many, 2–100.
    skill : area under the ROC curve that the typical reader is expected to reach alone on these images; above 0.5 and
        below the ideal observer's.
    spread : standard deviation of that area between readers, 0–0.2.
    agreement : share of the internal noise that misleads all readers alike, 0–1.
    scale : ``"0-100"`` (whole numbers) or ``"1-5"``; each reader has a criterion and a spread of ratings of their own.
    model : predictions for these images. Then every reader also reads with the model (modality ``reader + model``), and
        the model stands alone (modality ``model``).
    trust : weight of the model's score in the reading with it, 0 (ignored) to 1 (copied).
    ideal : also give the ideal observer's evidence, as modality ``ideal observer``.
    seed : of everything random.

    Returns
    -------
    DataFrame
        One row a reading: ``reader, modality, case, patient, score, call, label``, the long table that
        :func:`workbench.audit.mrmc` takes. `call` is 1 where the reader would recall; `label` is the truth without label
        noise, ``cancer`` or ``healthy``. ``attrs`` holds ``ideal_auroc``, and each reader's internal noise in units of the
        external one, ``internal_noise``.

    Raises
    ------
    InputError : where a knob is out of range, the cohort is no unchanged phantom, or the model has not read every image.

    Examples
    --------
    >>> import workbench as wb
    >>> from workbench.phantoms.mammography import phantom_mammography
    >>> panel = wb.phantoms.reader_panel(phantom_mammography(20, shape=(64, 48)), readers=2)
    >>> panel[["reader", "modality", "case"]].head(2)
          reader modality       case
    0  reader 01   reader   p0001-CC
    1  reader 01   reader  p0001-MLO
    """
    _check(readers, scale, {"skill": (skill, 0.5, 1), "spread": (spread, 0, 0.2), "agreement": (agreement, 0, 1),
                            "trust": (trust, 0, 1)})  # fmt: skip
    log_ratios, diseased = ideal_evidence(cohort)
    ceiling = auroc(log_ratios, diseased)
    if not skill < ceiling - MARGIN:
        message = (
            f"skill {skill:g} is not below {ceiling:.3f}, what the ideal observer reaches on these images; no reader is better. "
            "Lower skill, or make the lesions plainer (disadvantage=0)."
        )
        raise InputError(message)
    evidence = np.sign(log_ratios) * np.sqrt(2 * np.abs(log_ratios))
    rng = np.random.default_rng([seed, 11])
    areas = np.clip(skill + spread * rng.normal(size=readers), 0.5 + MARGIN, ceiling - MARGIN)
    noise = np.array([internal_noise(evidence, diseased, area) for area in areas])
    common = np.sqrt(agreement) * rng.normal(size=len(evidence))
    habit = np.sqrt((1 - agreement) * HABIT) * rng.normal(size=(readers, len(evidence)))
    lenience, stretch = LENIENCE * rng.normal(size=readers), np.exp(STRETCH * rng.normal(size=readers))
    told = None if model is None else _normal_scores(_scores(model, cohort))
    modalities = {"reader": 0.0} | ({} if told is None else {"reader + model": trust})
    parts = []
    for modality, weight in modalities.items():
        fresh = np.sqrt((1 - agreement) * (1 - HABIT)) * rng.normal(size=(readers, len(evidence)))
        seen = evidence + noise[:, None] * (common + habit + fresh)
        seen = (seen - seen.mean(1, keepdims=True)) / seen.std(1, keepdims=True)
        believed = seen if told is None else (1 - weight) * seen + weight * told
        scaled = (believed - lenience[:, None]) / stretch[:, None]
        for number in range(readers):
            parts.append(
                _readings(
                    cohort, f"reader {number + 1:02d}", modality, _rated(scaled[number], scale), scaled[number] > 0
                )
            )
    if model is not None:
        scores = _scores(model, cohort)
        parts.append(_readings(cohort, "model", "model", scores, scores >= 0.5))
    if ideal:
        parts.append(_readings(cohort, "ideal observer", "ideal observer", log_ratios, log_ratios > 0))
    label = np.where(diseased, cohort.classes[1], cohort.classes[0])
    panel = pd.concat(parts, ignore_index=True).assign(label=np.tile(label, len(parts)))[list(COLUMNS)]
    panel.attrs = {"ideal_auroc": ceiling, "internal_noise": [float(each) for each in noise]}
    return panel


def ideal_evidence(cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    """Return the ideal observer's log likelihood ratio of each image of a phantom cohort, and whether there is a lesion.

    The phantom is made again from its settings, since only its maker knows the tissue; the images are compared, so that
    evidence is never that of another image.

    Raises
    ------
    InputError : where the cohort does not come from the phantom, or an image was changed.
    """
    made = _maker(cohort.provenance)
    if made is None or made.seed is None:
        message = f"this cohort does not come from {NAME!r}, whose truth is known: {cohort.provenance.verb}. Take wb.load({NAME!r})."
        raise InputError(message)
    asked = dict(made.settings)
    knobs = Knobs((int(asked["shape"][0]), int(asked["shape"][1])), made.seed,
                  *(float(asked[name]) for name in ("prevalence", "shortcut", "disadvantage", "label_noise")))  # fmt: skip
    numbers = sorted({int(name.split("-")[0][1:]) - 1 for name in cohort.ids})
    wanted = {image_id: place for place, image_id in enumerate(cohort.ids)}
    log_ratios, diseased = np.full(len(cohort), np.nan), np.zeros(len(cohort), dtype=bool)

    def fill(number: int) -> None:
        for image_id, seen in _evidence(number, knobs).items():
            if image_id not in wanted:
                continue
            if digest(cohort.image(image_id)[0]) != seen.image:
                message = f"image {image_id!r} is not as the phantom made it, so that its evidence is unknown; take the cohort before it was changed."
                raise InputError(message)
            log_ratios[wanted[image_id]] = seen.log_ratio
            diseased[wanted[image_id]] = seen.diseased

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fill, numbers))
    return log_ratios, diseased


class Evidence(NamedTuple):
    """One image: its digest, the ideal observer's log Λ, and the truth."""

    image: str
    log_ratio: float
    diseased: bool


# A cohort is read by several panels; making its images again is what takes time.
@lru_cache(maxsize=8192)
def _evidence(number: int, knobs: Knobs) -> dict[str, Evidence]:
    patient = _patient(number, knobs)
    views = zip(VIEWS, _pictures(patient, knobs), strict=True)
    return {
        f"p{number + 1:04d}-{view}": Evidence(digest(each.image), each.log_ratio, patient.diseased)
        for view, each in views
    }


def internal_noise(evidence: np.ndarray, diseased: np.ndarray, area: float) -> float:
    """Return the standard deviation of noise that brings the expected area under the ROC curve of `evidence` down to `area`.

    The expectation is taken over the noise, for these images: the mean over pairs of Φ(difference / (√2·σ)).
    """
    gaps = np.subtract.outer(evidence[diseased], evidence[~diseased])

    def excess(log_noise: float) -> float:
        return float(stats.norm.cdf(gaps / (np.sqrt(2) * np.exp(log_noise))).mean()) - area

    return float(np.exp(optimize.brentq(excess, -12, 16)))


def _maker(provenance: Provenance) -> Provenance | None:
    """Find the step that made the phantom, among the steps that led here."""
    if provenance.verb == NAME:
        return provenance
    found = (_maker(parent) for parent in provenance.parents.values())
    return next((each for each in found if each is not None), None)


def _readings(cohort: Cohort, reader: str, modality: str, score: np.ndarray, call: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({
        "reader": reader, "modality": modality, "case": cohort.ids, "patient": cohort.table["patient"].to_numpy(),
        "score": score, "call": call.astype(int),
    })  # fmt: skip


def _rated(scaled: np.ndarray, scale: str) -> np.ndarray:
    if scale == "1-5":
        return 1 + np.searchsorted(CUTS, scaled).astype(np.float64)
    return np.asarray(np.round(100 * stats.norm.cdf(scaled)))


def _normal_scores(scores: np.ndarray) -> np.ndarray:
    """Bring a model's scores to the readers' scale by their ranks."""
    return np.asarray(stats.norm.ppf((stats.rankdata(scores) - 0.5) / len(scores)))


def _scores(model: Predictions, cohort: Cohort) -> np.ndarray:
    scores = pd.Series(model.positive, index=model.ids)
    absent = [image_id for image_id in cohort.ids if image_id not in scores.index]
    if absent:
        message = f"the model has no prediction for image {absent[0]!r} ({len(absent)} of {len(cohort)}); predict this cohort first."
        raise InputError(message)
    return scores.loc[cohort.ids].to_numpy(dtype=np.float64)


def _check(readers: int, scale: str, knobs: dict[str, tuple[float, float, float]]) -> None:
    if isinstance(readers, bool) or not isinstance(readers, int | np.integer) or not 2 <= readers <= 100:
        message = f"readers ({readers!r}) must be a whole number, 2–100."
        raise InputError(message)
    if scale not in SCALES:
        raise unknown_name("scale", scale, SCALES)
    for name, (value, low, high) in knobs.items():
        if not low <= value <= high or (name == "skill" and not 0.5 < value < 1):
            message = f"{name} ({value!r}) must lie in {low:g}–{high:g}{', ends apart' if name == 'skill' else ''}."
            raise InputError(message)


make_callable(__name__)

"""Stability: does a map stay when the image changes in a way that nobody would call another image?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import InputError
from workbench.explain.draws import generator_of
from workbench.explain.quality.measure import Measure, Outcome
from workbench.explain.quality.removal import WITHOUT_EVIDENCE
from workbench.explain.quality.similarity import flat, other_patients, rank_correlation
from workbench.explain.settings import check_number, check_whole
from workbench.explain.task import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.explain.chosen import Chosen
    from workbench.explain.quality.study import Study

CHANGES = {
    "shift": "the image is shifted by a few pixels and the map shifted back",
    "noise": "faint noise is added to the image",
    "intensity": "contrast and brightness of the image change a little",
}
CORRELATION, CHANGED, SCORE = "rank correlation", "relative change", "score change"
CONTROL = f"stability, another patient: {CORRELATION}"


def stability(study: Study, *, shift: int = 2, noise: float = 0.01, scale: float = 0.05, seed: int = 0) -> Outcome:
    """Explain slightly changed versions of each image, the class kept, and compare the maps with the image's own.

    **Shift**: by `shift` pixels up or down and left or right (in the plane of a volume or a cine), the border's values
    repeated; the map is moved back, and a margin that wide is left out. **Noise**: Gaussian, its standard deviation
    `noise` times the image's range. **Intensity**: contrast multiplied by ``1 ± scale`` about the image's mean, and
    ``± scale`` of its range added. Directions and noise are drawn for each image from `seed` and its id.

    Of each change: the rank correlation of the two maps, beside that with the map of another patient's image (a map
    that is the same for everybody is stable and says nothing); the relative change ``‖map' − map‖ / ‖map‖``; and the
    change of the explained score. Where the score itself moves, the model is unstable, and a map that moves with it
    tells the truth.

    Costs three times what the maps did, and four forward passes.

    Parameters
    ----------
    shift : pixels of the input, at least 1 and less than a quarter of the shorter side.
    noise : as a share of each image's range, above 0.
    scale : relative change of contrast and brightness, above 0 and below 1.
    seed : of directions and noise.

    Raises
    ------
    InputError : where a setting is out of range.
    """
    import pandas as pd

    _check(study, shift, noise, scale)
    ids = list(study.attributions.ids)
    partners = other_patients(study.cohort.patients, seed=seed)
    places = {image_id: row for row, image_id in enumerate(ids)}
    found: dict[str, list[np.ndarray]] = {}
    told, left = [], {name: 0 for name in CHANGES}
    for batch, chosen, maps in study.batches("Stability"):
        before = _scores(study, batch, chosen)
        for name in CHANGES:
            directions = _directions(name, batch.ids, seed)
            changed = Batch(batch.ids, _changed(name, batch, directions, by=(shift, noise, scale), seed=seed))
            own, after = maps, study.again(changed, chosen)
            if name == "shift":
                own, after = _inner(maps, 0 * directions, shift), _inner(after, directions, shift)
            alike = rank_correlation(own, after)
            left[name] += int((np.isnan(alike) & ~flat(maps)).sum())
            found.setdefault(f"{name}: {CORRELATION}", []).append(alike)
            found.setdefault(f"{name}: {CHANGED}", []).append(_relative(own, after))
            found.setdefault(f"{name}: {SCORE}", []).append(np.abs(_scores(study, changed, chosen) - before))
        others = partners[[places[image_id] for image_id in batch.ids]]
        control = rank_correlation(maps, np.asarray(study.attributions.maps[np.maximum(others, 0)]))
        found.setdefault(CONTROL, []).append(np.where(others < 0, np.nan, control))
        told.append(~flat(maps))
    table = pd.DataFrame({name: np.concatenate(parts) for name, parts in found.items()}, index=pd.Index(ids, name="id"))
    measures = tuple(measure for name, how in CHANGES.items() for measure in _measures(name, how))
    without = int((~np.concatenate(told)).sum())
    reasons = {name: {WITHOUT_EVIDENCE: without, "no evidence once changed": count} for name, count in left.items()}
    left_out = {
        f"{name}: {what}": {reason: count for reason, count in own.items() if count}
        for name, own in reasons.items()
        for what in (CORRELATION, CHANGED)
        if any(own.values())
    }
    return Outcome(table, measures, left_out)


def _check(study: Study, shift: int, noise: float, scale: float) -> None:
    check_whole("shift", shift, least=1)
    shorter = min(study.attributions.maps.shape[-2:])
    if 4 * shift >= shorter:
        message = f"shift {shift} is not small beside an input of {shorter} pixels; give less than a quarter, {(shorter - 1) // 4} or fewer."
        raise InputError(message)
    for name, value in (("noise", noise), ("scale", scale)):
        check_number(
            name, value, above=0, below=1, meaning="a share of each image's range, of which 0.01 to 0.1 is small"
        )


def _scores(study: Study, batch: Batch, chosen: Chosen) -> np.ndarray:
    scores: np.ndarray = chosen.scores(study.task.evaluate(batch.inputs))[0].cpu().numpy().astype(np.float64)
    return scores


def _directions(name: str, ids: Sequence[str], seed: int) -> np.ndarray:
    """Draw two signs for each image, int ``(n, 2)``."""
    return np.stack([generator_of(f"{name} of {image_id}", seed).choice([-1, 1], size=2) for image_id in ids])


def _changed(
    name: str, batch: Batch, directions: np.ndarray, *, by: tuple[int, float, float], seed: int
) -> torch.Tensor:
    """Return the changed inputs, ``(n, C, *spatial)``."""
    images, (shift, noise, scale) = batch.inputs, by
    if name == "shift":
        return torch.stack(
            [_shifted(image, *move) for image, move in zip(images, (shift * directions).tolist(), strict=True)]
        )
    each = (-1, *[1] * (images.dim() - 1))
    flattened = images.flatten(1)
    span = (flattened.amax(1) - flattened.amin(1)).reshape(each)
    if name == "noise":
        drawn = [generator_of(f"{name} on {image_id}", seed).normal(size=images.shape[1:]) for image_id in batch.ids]
        return images + noise * span * torch.from_numpy(np.stack(drawn)).to(images)
    contrast, brightness = (torch.from_numpy(scale * sign).to(images).reshape(each) for sign in directions.T)
    mean = flattened.mean(1).reshape(each)
    return mean + (1 + contrast) * (images - mean) + brightness * span


def _shifted(image: torch.Tensor, down: int, right: int) -> torch.Tensor:
    """Move an image ``(C, *spatial)`` within its last two axes; values at the border are repeated."""
    rows = (torch.arange(image.shape[-2]) - down).clamp(0, image.shape[-2] - 1)
    columns = (torch.arange(image.shape[-1]) - right).clamp(0, image.shape[-1] - 1)
    return image[..., rows.to(image.device), :][..., columns.to(image.device)]


def _inner(maps: np.ndarray, directions: np.ndarray, shift: int) -> np.ndarray:
    """Move maps ``(n, *spatial)`` back and leave out a margin of `shift`, over which there is no image to compare."""
    height, width = maps.shape[-2:]
    return np.stack(
        [
            heat[..., shift + down : height - shift + down, shift + right : width - shift + right]
            for heat, (down, right) in zip(maps, (shift * directions).tolist(), strict=True)
        ]
    )


def _relative(own: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return ``‖after − own‖ / ‖own‖`` of each pair, float64 ``(n,)``; NaN where a map is flat."""
    own, after = (maps.reshape(len(maps), -1).astype(np.float64) for maps in (own, after))
    length = np.linalg.norm(own, axis=1)
    change = np.linalg.norm(after - own, axis=1) / np.where(length > 0, length, 1)
    return np.where(flat(own) | flat(after), np.nan, change)


def _measures(name: str, how: str) -> list[Measure]:
    return [
        Measure(
            f"{name}: {CORRELATION}", "stability", "higher", CONTROL, proportion=False,
            says=f"Spearman's rank correlation of the map with that when {how}; −1 to 1.",
        ),
        Measure(
            f"{name}: {CHANGED}", "stability", "lower", None, proportion=False,
            says=f"Euclidean distance of the map to that when {how}, relative to the map's length; 0 upwards.",
        ),
        Measure(
            f"{name}: {SCORE}", "stability", "", None, proportion=False,
            says=f"How far the explained score itself moves when {how}, in its own unit; where it moves, maps should too.",
        ),
    ]  # fmt: skip

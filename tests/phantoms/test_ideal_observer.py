"""The ideal observer against a likelihood ratio that is worked out the long way."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from workbench.phantoms.ideal_observer import DetectionTask, auroc, efficiency
from workbench.phantoms.texture import power_law_spectrum, stationary_noise

SHAPE = (10, 12)
POSITIONS = np.array([[4, 4], [5, 7], [0, 11]])
WEIGHTS = np.array([0.5, 0.3, 0.2])


@pytest.fixture
def task() -> DetectionTask:
    spectrum = power_law_spectrum(SHAPE, 1.0, stretch=1.4, white=0.5)
    templates = np.random.default_rng(3).normal(size=(2, 3, 3)).astype(np.float32) * 0.5
    return DetectionTask(SHAPE, spectrum, templates, (1.0, 0.4), (0.7, 0.3))


def _signal(template: np.ndarray, at: np.ndarray) -> np.ndarray:
    whole = np.zeros(SHAPE)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            whole[(at[0] + dy) % SHAPE[0], (at[1] + dx) % SHAPE[1]] = template[dy + 1, dx + 1]
    return whole.ravel()


def test_the_likelihood_ratio_is_that_of_dense_gaussian_densities(task: DetectionTask) -> None:
    row = np.fft.irfft2(task.spectrum, s=SHAPE)
    covariance = np.array([np.roll(row, (i, j), (0, 1)).ravel() for i in range(SHAPE[0]) for j in range(SHAPE[1])])
    data = stationary_noise(np.random.default_rng(1), task.spectrum, SHAPE)
    base = stats.multivariate_normal(np.zeros(row.size), covariance)
    expected = 0.0
    for template in task.templates:
        for strength, share in zip(task.strengths, task.strength_weights, strict=True):
            for at, weight in zip(POSITIONS, WEIGHTS, strict=True):
                shifted = data.ravel() - strength * _signal(template, at)
                expected += share * weight / 2 * np.exp(base.logpdf(shifted) - base.logpdf(data.ravel()))
    found = task.log_likelihood_ratio(data, positions=POSITIONS, weights=WEIGHTS)
    assert found == pytest.approx(np.log(expected), abs=1e-4)


def test_the_likelihood_ratio_averages_to_one_over_healthy_images(task: DetectionTask) -> None:
    rng = np.random.default_rng(2)
    ratios = [
        np.exp(
            task.log_likelihood_ratio(stationary_noise(rng, task.spectrum, SHAPE), positions=POSITIONS, weights=WEIGHTS)
        )
        for _ in range(3000)
    ]
    assert np.mean(ratios) == pytest.approx(1.0, abs=4 * np.std(ratios) / np.sqrt(len(ratios)))


def _readings(task: DetectionTask, contrast: float, *, images: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return who is diseased, the ideal observer's log Λ and the best matched filter's response, one lesion in two images."""
    rng = np.random.default_rng(5)
    diseased = np.arange(images) % 2 == 0
    ideal, matched = np.empty(images), np.empty(images)
    inverse = np.fft.irfft2(1 / task.spectrum, s=SHAPE)
    precision = np.array([np.roll(inverse, (i, j), (0, 1)).ravel() for i in range(SHAPE[0]) for j in range(SHAPE[1])])
    filters = np.array([_signal(template, at) for template in task.templates for at in POSITIONS]) @ precision
    for number in range(images):
        data = stationary_noise(rng, task.spectrum, SHAPE)
        template, at = task.templates[rng.integers(2)], POSITIONS[rng.choice(3, p=WEIGHTS)]
        data = data + diseased[number] * contrast * rng.choice([1.0, 0.4], p=[0.7, 0.3]) * _signal(
            template, at
        ).reshape(SHAPE)
        ideal[number] = task.log_likelihood_ratio(data, positions=POSITIONS, weights=WEIGHTS, contrast=contrast)
        matched[number] = (filters @ data.ravel()).max()
    return diseased, ideal, matched


def test_more_contrast_makes_the_ideal_observer_better(task: DetectionTask) -> None:
    areas = []
    for contrast in (0.25, 0.5, 1.0, 2.0):
        diseased, ideal, _ = _readings(task, contrast)
        areas.append(auroc(ideal, diseased))
    assert areas == sorted(areas)
    assert areas[-1] - areas[0] > 0.2


@pytest.mark.parametrize("contrast", [0.5, 1.0])
def test_a_matched_filter_does_not_beat_the_ideal_observer(task: DetectionTask, contrast: float) -> None:
    diseased, ideal, matched = _readings(task, contrast, images=800)
    assert 0.55 < auroc(matched, diseased) < auroc(ideal, diseased) + 0.01


def test_the_area_counts_ties_half() -> None:
    assert auroc(np.array([1.0, 1.0, 2.0, 0.0]), np.array([True, False, True, False])) == pytest.approx(0.875)


def test_guessing_has_no_efficiency() -> None:
    assert efficiency(0.5, 0.98) == 0.0

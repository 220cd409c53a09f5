"""A cheap classifier finds the label through the lesion, and through nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from workbench.phantoms import mammography
from workbench.phantoms.ideal_observer import auroc

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort

IMAGES = 360


def _features(image: np.ndarray) -> np.ndarray:
    """Return block means of the image, and how much of it stands out from its surroundings at three scales."""
    grey = image / 4095
    blocks = grey.reshape(8, 8, 6, 8).mean((1, 3)).ravel()
    tops = [ndimage.gaussian_laplace(grey, sigma) * -(sigma**2) for sigma in (0.7, 1.5, 3.0)]
    return np.concatenate([blocks, *(np.quantile(top, [0.5, 0.9, 0.97, 0.99, 0.995, 0.999]) for top in tops)])


def _probe(cohort: Cohort) -> float:
    features = np.array([_features(cohort.image(each)[0]) for each in cohort.ids])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.02, max_iter=2000))
    scores = cross_val_predict(
        model, features, cohort.labels, groups=cohort.patients, cv=GroupKFold(5), method="decision_function"
    )
    return auroc(scores, cohort.labels == 1)


@pytest.fixture
def without_lesions(monkeypatch: pytest.MonkeyPatch):
    """Take the contrast of every lesion away; the observer's cached task must not outlive it."""
    monkeypatch.setattr(mammography, "STRENGTHS", (0.0, 0.0, 0.0))
    mammography.detection_task.cache_clear()
    yield
    mammography.detection_task.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("without_lesions")
def test_a_probe_guesses_when_lesions_have_no_contrast() -> None:
    # Two views of a patient count as one: the interval of a guess over patients, Hanley & McNeil (1982).
    patients = IMAGES // 2
    positives = 0.4 * patients
    spread = np.sqrt((patients + 1) / (12 * positives * (patients - positives)))
    assert abs(_probe(mammography.phantom_mammography(IMAGES, shape=(64, 48), seed=3)) - 0.5) < 1.96 * spread


@pytest.mark.slow
def test_a_probe_finds_lesions_that_have_contrast() -> None:
    assert _probe(mammography.phantom_mammography(IMAGES, shape=(64, 48), seed=3)) > 0.75

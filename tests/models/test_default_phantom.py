"""The first five minutes: the default phantom, the default training."""

from __future__ import annotations

import pytest
from sklearn.metrics import roc_auc_score

import workbench as wb


@pytest.mark.slow
def test_the_default_training_learns_the_default_phantom() -> None:
    cohort = wb.load("phantom-mammography", seed=7)
    train, tune, test = cohort.split(by="patient", seed=7)
    predictions = wb.train(train, tune, seed=7).predict(test)
    area = roc_auc_score(predictions.labels, predictions.scores[:, 1])
    assert area >= 0.90, f"AUROC {area:.3f}"

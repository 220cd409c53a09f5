"""Made-up scores with several images a patient."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.predictions import Predictions


def clustered_scores(patients=120, images=3, seed=0, *, correlation=0.6, prevalence=0.4, shift=1.2, digits=None):
    """Patients with several images of one label whose scores go together; sex is the patient's, view the image's."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), images)
    truth = (rng.random(patients) < prevalence).astype(int)[who]
    noise = np.sqrt(correlation) * rng.normal(size=patients)[who] + np.sqrt(1 - correlation) * rng.normal(size=len(who))
    score = 1 / (1 + np.exp(-(noise + shift * (truth - 0.5))))
    frame = {
        "truth": truth, "p": score if digits is None else score.round(digits), "who": who,
        "sex": rng.choice(["F", "M"], patients)[who], "view": np.tile(np.arange(images), patients).astype(str),
    }  # fmt: skip
    return pd.DataFrame(frame)


@pytest.fixture
def scores():
    return clustered_scores


@pytest.fixture
def predictions():
    return Predictions.from_table(clustered_scores(), label="truth", score="p", patient="who")

"""Made-up reader studies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

COLUMNS = {"reader": "reader", "modality": "modality", "case": "case", "score": "score", "label": "label"}


def roe_metz(seed=0, *, readers=5, positives=25, negatives=25, gap=0.0, modalities=("A", "B"), digits=None, mean=1.0):
    """Scores after Roe & Metz 1997, Acad Radiol 4:298, structure HL: cases, readers and their interactions vary."""
    rng = np.random.default_rng(seed)
    t, cases = len(modalities), positives + negatives
    truth = np.arange(cases) < positives
    total = np.zeros((t, readers, cases))
    for share, shape in (
        (0.3, (1, 1, cases)), (0.3, (t, 1, cases)), (0.2, (1, readers, cases)), (0.2, (t, readers, cases)),
    ):  # fmt: skip
        total += np.sqrt(share) * rng.normal(size=shape)
    for shape in ((1, readers, 1), (t, readers, 1)):
        total += np.where(truth, rng.normal(size=shape), rng.normal(size=shape)) * np.sqrt(0.011)
    total += truth * (mean + gap * np.arange(t)[:, None, None])
    if digits is not None:
        total = total.round(digits)
    i, j, k = np.indices(total.shape).reshape(3, -1)
    names = {
        "modality": np.array(modalities)[i],
        "reader": [f"r{number}" for number in j],
        "case": [f"c{number:04d}" for number in k],
    }
    return pd.DataFrame(names | {"score": total.reshape(-1), "label": truth[k].astype(int)})


@pytest.fixture
def study():
    return roe_metz


@pytest.fixture
def columns():
    return dict(COLUMNS)


@pytest.fixture
def mrmc_data(shared_data):
    folder = shared_data / "mrmc_readers"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return folder

"""Small values to draw: an audit with a missing and a tiny group, and maps of six films by two methods."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.errors import EvidenceWarning
from workbench.explain.attributions import Attributions

LONG_SITE = "Wilmington Children’s Hospital $5 & more"
IDS = [f"film-{k}" for k in range(6)]


@pytest.fixture(scope="session")
def audit():
    """By sex (25 missing, three of the rare value, all negative) and by site (one of two has a long name)."""
    rng = np.random.default_rng(0)
    truth = (rng.random(300) < 0.4).astype(int)
    sex = rng.choice(["F", "M"], 300).astype(object)
    sex[:25], sex[25:28], truth[25:28] = None, "X", 0
    site = rng.choice(["North", LONG_SITE], 300)
    score = 1 / (1 + np.exp(-(rng.normal(size=300) + 1.6 * (truth - 0.5))))
    table = pd.DataFrame({"truth": truth, "p": score, "who": np.arange(300), "sex": sex, "site": site})
    by = ["sex", "site", ("sex", "site")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        return wb.audit(table, by=by, label="truth", score="p", patient="who", replicates=100)


@pytest.fixture(scope="session")
def films():
    """Six films of 24 × 20 pixels; the odd ones are of the positive class and have a lesion; all have a marker."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 4000, (6, 1, 24, 20)).astype(np.uint16)
    lesion = np.zeros((6, 1, 24, 20), bool)
    lesion[1::2, :, 8:12, 6:10] = True
    marker = np.zeros((6, 1, 24, 20), bool)
    marker[:, :, 1:4, 15:18] = True
    masks = {"lesion": ArrayPixels.of(lesion, IDS), "marker": ArrayPixels.of(marker, IDS)}
    return Cohort(film_table(), ("healthy", "cancer"), (), ArrayPixels.of(images, IDS), masks)


@pytest.fixture(scope="session")
def cams():
    """Unsigned maps; that of film-1 is zero everywhere."""
    maps = np.random.default_rng(2).random((6, 24, 20)).astype(np.float32)
    maps[1] = 0
    return attributions(maps, "gradcam")


@pytest.fixture(scope="session")
def shaps():
    """Signed maps."""
    return attributions(np.random.default_rng(3).normal(size=(6, 24, 20)), "shap")


def film_table():
    columns = {"patient": IDS, "label": ["healthy", "cancer"] * 3}
    return pd.DataFrame(columns, index=pd.Index(IDS, name="id"))


def attributions(maps, method):
    scores = np.array([-3.0, -0.01, 0.5, 1.0, 2.0, 3.0])
    return Attributions(
        maps=maps, ids=IDS, method=method, settings={}, targets=[1] * 6, classes=("healthy", "cancer"), scores=scores,
        table=film_table(),
    )  # fmt: skip


@pytest.fixture(scope="session")
def said():
    """Return ``said(figure)``: every text in a figure that is not empty."""
    from matplotlib.text import Text

    return lambda figure: [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.fixture(scope="session")
def overhang():
    """Return ``overhang(figure)``: by how many mm what is drawn reaches beyond the figure's edges, 0 if it does not."""

    def found(figure):
        box = figure.get_tightbbox(figure.canvas.get_renderer())
        wide, tall = figure.get_size_inches()
        return 25.4 * max(-box.x0, -box.y0, box.x1 - wide, box.y1 - tall, 0)

    return found

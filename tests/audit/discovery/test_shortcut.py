"""A shortcut is told from a gap that has another cause, over several models and in one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

import workbench as wb
from workbench.audit.discovery.shortcut import correlation
from workbench.errors import EvidenceWarning, InputError

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


def model(use, *, seed=0, patients=300, harder=0.0, pull=0.0):
    """A model that adds `use` of the sex to score and embedding; men may be `harder` to judge, and more of them ill."""
    rng = np.random.default_rng(7)
    man = rng.integers(0, 2, patients)
    truth = (rng.random(patients) < 0.4 + pull * (man - 0.5)).astype(int)
    noise = np.random.default_rng([seed, 1])
    score = 2 * (truth - 0.5) * (1 - harder * man) + noise.normal(size=patients) * 0.8 + use * (man - 0.5)
    vectors = noise.normal(size=(patients, 8))
    vectors[:, 0] += 1.5 * use * man
    table = pd.DataFrame(
        {"id": [f"i{k}" for k in range(patients)], "y": truth, "p": 1 / (1 + np.exp(-score)), "who": np.arange(patients),
         "sex": np.array(["F", "M"])[man], "age": 20 + np.arange(patients) % 60}
    )  # fmt: skip
    return wb.Predictions.from_table(table, label="y", score="p", patient="who", id="id"), vectors


def test_models_that_encode_more_and_are_less_fair_show_a_shortcut():
    found = wb.audit.shortcut([model(use, seed=k) for k, use in enumerate(np.linspace(0, 1.6, 8))], "sex")
    row = found.table.iloc[0]
    assert row["value"] > 0.8
    assert row["p"] < 0.05
    assert "the less fair ones" in found.sentences[-1]
    each = found.to_frame("models")
    assert each["encoding"].iloc[-1] > 0.8 > 0.6 > each["encoding"].iloc[0]
    assert each["gap"].iloc[-1] > 0.3


def test_a_gap_that_does_not_go_with_the_encoding_shows_none():
    models = []
    for k, use in enumerate(np.linspace(0, 1.6, 6)):
        predictions, _ = model(0.0, seed=k, harder=0.8)
        models.append((predictions, model(use, seed=k)[1]))
    found = wb.audit.shortcut(models, "sex")
    assert found.table["p"][0] > 0.05
    assert "not shown" in found.sentences[-1]


def test_the_gap_is_the_range_over_groups():
    models = [model(use, seed=k) for k, use in enumerate(np.linspace(0, 1, 5))]
    found = wb.audit.shortcut(models, "sex", gap="sensitivity").to_frame("models")
    for (predictions, _), value in zip(models, found["gap"], strict=True):
        table = predictions.table[predictions.table["label"] == "1"]
        shares = (table["score:1"] >= 0.5).groupby(table["sex"]).mean()
        assert value == pytest.approx(shares.max() - shares.min())
    assert (found["gap_error"] > 0).all()


def test_models_that_hardly_differ_are_said_to_tell_nothing():
    with pytest.warns(EvidenceWarning, match="hardly differ"):
        wb.audit.shortcut([model(0.5, seed=k) for k in (0, 1, 2, 3, 5)], "sex")


def test_the_correlation_is_spearmans_with_an_exact_p_value():
    rng = np.random.default_rng(0)
    for count in (6, 12):
        a, b = rng.normal(size=count), rng.normal(size=count).round(1)
        rho, _, _, p = correlation(a, b, level=0.95, seed=0)
        assert rho == pytest.approx(spearmanr(a, b).statistic)
        assert p == pytest.approx(spearmanr(a, b).pvalue, abs=0.06)
    assert correlation(np.arange(5), np.arange(5), level=0.95, seed=0)[3] == pytest.approx(2 / 120)
    assert np.isnan(correlation(np.ones(5), np.arange(5), level=0.95, seed=0)[0])


def test_the_interval_of_the_correlation_is_as_published():
    # The example of ci.spear in Bonett's R package statpsych.
    y = np.array([21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19])
    x = np.array([67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51])
    assert correlation(y, x, level=0.95, seed=0)[:3] == pytest.approx((0.8699639, 0.5840951, 0.9638297), abs=1e-6)


def test_one_model_that_follows_the_association_of_its_training_is_found_out():
    training, _ = model(0.0, pull=0.6)
    found = wb.audit.shortcut(model(2.0)[0], "sex", training=training)
    table = found.table.set_index("metric")
    assert (table["low"] > 0).all()
    assert (table["p_adjusted"] < 0.01).all()
    assert "follow the association" in found.sentences[-1]
    assert "M (0." not in found.sentences[0].split("rarer")[1]
    frame = model(2.0)[0].table
    right = (frame["score:1"] >= 0.5) == (frame["label"] == "1")
    aligned = (frame["sex"] == "M") == (frame["label"] == "1")
    ill = frame["label"] == "1"
    assert table.loc["sensitivity", "aligned"] == pytest.approx(right[aligned & ill].mean())
    assert table.loc["specificity", "conflicting"] == pytest.approx(right[~aligned & ~ill].mean())
    mean = table.loc[["sensitivity", "specificity"], "value"].mean()
    assert table.loc["balanced accuracy", "value"] == pytest.approx(mean)


def test_one_model_that_does_not_or_that_errs_the_other_way_is_not_accused():
    training, _ = model(0.0, pull=0.6)
    assert "no proof" in wb.audit.shortcut(model(0.0, seed=4)[0], "sex", training=training).sentences[-1]
    assert "against" in wb.audit.shortcut(model(-2.0)[0], "sex", training=training).sentences[-1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: ([model(0.1 * k) for k in range(3)], "sex", {}), "fewer than 5"),
        (lambda: (model(0.0)[0], "sex", {}), "training=cohort"),
        (lambda: (model(0.0)[0], "sx", {"training": model(0.0)[0]}), "did you mean 'sex'"),
        (lambda: (model(0.0)[0], "age", {"training": model(0.0)[0]}), "cut it into the same bands"),
        (lambda: ([model(0.1 * k) for k in range(5)], "sex", {"gap": "sensitivty"}), "did you mean 'sensitivity'"),
        (lambda: ([model(0.0), *[model(0.0, patients=100)] * 4], "sex", {}), "same ones"),
    ],
)
def test_what_cannot_be_asked_is_refused(given, said):
    models, attribute, rest = given()
    with pytest.raises(InputError, match=said):
        wb.audit.shortcut(models, attribute, **rest)


def test_a_training_set_without_association_is_refused():
    predictions, _ = model(0.0)
    table = predictions.table.assign(label=["0", "1"] * 150, sex=["F", "F", "M", "M"] * 75)
    even = wb.Predictions(table, predictions.classes, predictions.attributes, predictions.provenance)
    with pytest.raises(InputError, match="no association"):
        wb.audit.shortcut(predictions, "sex", training=even)

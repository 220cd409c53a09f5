"""A metric along age: the kernel by hand, bands that hold for the whole curve, ends that are told to be thin."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score

import workbench as wb
from workbench.errors import EvidenceWarning, InputError


def frame(patients=400, images=1, seed=0, *, slope=0.0):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), images)
    age = rng.uniform(20, 80, patients)[who]
    truth = (rng.random(patients) < 0.5).astype(int)[who]
    strength = 1.5 - slope * (age - 50) / 30
    noise = rng.normal(size=patients)[who] * np.sqrt(0.7) + rng.normal(size=len(who)) * np.sqrt(0.3)
    p = stats.norm.cdf(noise + strength * (truth - 0.5))
    return pd.DataFrame({"truth": truth, "p": p, "who": who, "age": age, "sex": "F"})


def along(table, metric="AUROC", attribute="age", **asked):
    made = wb.Predictions.from_table(table, label="truth", score="p", patient="who")
    return wb.audit.along(made, attribute, metric, **{"replicates": 100} | asked)


def kernel(table, centre, wide):
    return np.maximum(1 - ((table["age"] - centre) / wide) ** 2, 0)


@pytest.mark.parametrize(
    ("metric", "peer"),
    [
        ("AUROC", lambda f, w: roc_auc_score(f["truth"], f["p"], sample_weight=w)),
        ("Brier score", lambda f, w: brier_score_loss(f["truth"], f["p"], sample_weight=w)),
        ("sensitivity", lambda f, w: np.average(f["p"] >= 0.5, weights=w * f["truth"])),
        ("specificity", lambda f, w: np.average(f["p"] < 0.5, weights=w * (1 - f["truth"]))),
    ],
)
def test_each_point_is_the_metric_weighted_by_the_kernel(metric, peer):
    table = frame(300)
    curve = along(table, metric, bandwidth=15, points=7).table
    for row in curve.to_dict("records"):
        weight = kernel(table, row["at"], 15)
        near = weight > 0
        assert row["value"] == pytest.approx(peer(table[near], weight[near]), abs=1e-12)
        assert row["n"] == near.sum()


def test_effective_patients_are_kishs_and_images_of_one_are_one():
    table = frame(300, images=2)
    row = along(table, "sensitivity", bandwidth=15, points=5).table.iloc[2]
    weight = kernel(table, row["at"], 15)[table["truth"] == 1].groupby(table["who"]).sum()
    assert row["effective"] == pytest.approx(weight.sum() ** 2 / (weight**2).sum())


def test_the_default_bandwidth_is_silvermans_for_epanechnikovs_kernel():
    table = frame(300)
    carry = min((table["truth"] == 1).sum(), (table["truth"] == 0).sum())
    expected = 1.7188 / 0.7764 * 1.06 * table["age"].std(ddof=0) * carry**-0.2
    assert along(table).settings["bandwidth"] == pytest.approx(expected, rel=1e-4)


def test_the_band_is_wider_than_the_intervals_and_both_hold_the_value():
    curve = along(frame(400), replicates=400).table
    assert (curve["band_low"] < curve["low"]).mean() > 0.9
    assert ((curve["band_low"] <= curve["value"]) & (curve["value"] <= curve["band_high"])).all()


def test_the_band_of_a_flat_curve_misses_it_in_about_five_of_a_hundred_samples():
    """Sensitivity that does not depend on age: its smoothed truth is constant, and known."""
    true, held, alarms = stats.norm.cdf(0.75), 0, 0
    for trial in range(40):
        found = along(frame(400, seed=trial), "sensitivity", points=9, replicates=200, seed=trial)
        held += ((found.table["band_low"] <= true) & (true <= found.table["band_high"])).all()
        alarms += found.settings["p_flat"] <= 0.05
    assert held / 40 >= 0.85
    assert alarms / 40 <= 0.15


def test_a_metric_that_falls_with_age_is_found_and_said():
    found = along(frame(1500, slope=1.0), replicates=300)
    assert found.settings["p_flat"] < 0.01
    assert found.table["value"].iloc[0] > found.table["value"].iloc[-1] + 0.1
    assert "along age it ran from" in found.sentences[0]


def test_images_of_a_patient_are_drawn_together():
    table = frame(300, images=4)
    together, apart = (
        along(made, points=5, replicates=300).table for made in (table, table.assign(who=range(len(table))))
    )
    width = [(made["band_high"] - made["band_low"]).mean() for made in (together, apart)]
    assert width[0] > 1.2 * width[1]


def test_thin_stretches_are_grey_or_refused_and_told():
    table = frame(800)
    table = table[(table["age"] < 50) | (table["who"] % 24 == 0)]
    with pytest.warns(EvidenceWarning, match="fewer than 20 effective patients"):
        curve = along(table, "sensitivity", bandwidth=4).table
    last = curve.iloc[-1]
    assert last["note"].startswith("refused")
    assert np.isnan(last["value"])
    assert curve["note"].iloc[3] == ""


def test_images_without_an_age_are_left_out_and_counted():
    table = frame(300)
    table.loc[:9, "age"] = np.nan
    with pytest.warns(EvidenceWarning, match="10 images are left out because their 'age' is missing"):
        found = along(table, points=5)
    assert np.isfinite(found.table["at"]).all()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"attribute": "agee"}, "did you mean 'age'"),
        ({"attribute": "sex"}, "holds text"),
        ({"metric": "AUROK"}, "did you mean 'AUROC'"),
        ({"bandwidth": 0.0}, "above 0"),
        ({"points": 2}, "5–200"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, said):
    with pytest.raises(InputError, match=said):
        along(frame(60), **asked)


def test_an_attribute_of_two_values_is_a_group():
    with pytest.raises(InputError, match="audit it as groups"):
        along(frame(60).assign(age=lambda f: f["age"].gt(50).astype(int)))


def test_row_order_changes_no_digit_that_matters():
    table = frame(300)
    first, second = (along(made, points=5, seed=1).table for made in (table, table.sample(frac=1, random_state=0)))
    pd.testing.assert_frame_equal(first, second, rtol=1e-9)

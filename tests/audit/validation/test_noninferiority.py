"""Margins: interval and p agree, the order of the claims, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb
from workbench.audit.validation.areas import areas
from workbench.audit.validation.contrasts import area_gap, paired_gap, share_gap
from workbench.errors import EvidenceWarning, InputError

ASKED = {"label": "truth", "patient": "who", "id": "image"}


def table(seed=0, n=600, gain=0.0, images=1):
    rng = np.random.default_rng(seed)
    who = np.arange(n) // images
    truth = (rng.random(n // images) < 0.5)[who].astype(int)
    shared = rng.normal(size=n // images)[who] + 1.5 * truth - 0.75
    columns = {
        name: stats.norm.cdf(shared + 0.6 * rng.normal(size=n) + more * (truth - 0.5))
        for name, more in (("new", gain), ("old", 0))
    }
    return pd.DataFrame({"image": [f"i{k:04d}" for k in range(n)], "truth": truth, "who": who, **columns})


def test_the_auroc_claim_is_delongs_z_with_a_margin():
    scores = table()
    found = wb.audit.noninferiority(scores, scores, margin=0.05, score=["new", "old"], **ASKED)
    both = areas(scores[["new", "old"]].to_numpy().T, scores["truth"].to_numpy() == 1, scores["who"].to_numpy())
    gap = area_gap(both)
    row = found.table.iloc[0]
    assert row["p"] == pytest.approx(stats.norm.sf((gap.value + 0.05) / gap.error), rel=1e-6)
    assert found.table["p"].iloc[1] == pytest.approx(stats.norm.sf(gap.value / gap.error), rel=1e-6)
    assert (row["new"], row["reference"]) == pytest.approx(tuple(both.values))


@pytest.mark.filterwarnings("ignore:The margin of:workbench.errors.EvidenceWarning")
@pytest.mark.parametrize("metric", ["AUROC", "sensitivity", "specificity"])
@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("paired", [True, False])
def test_the_claim_is_made_exactly_where_the_interval_clears_the_margin(metric, images, paired):
    scores = table(3, images=images)
    sides = (scores, scores) if paired else (scores[:300], scores[300:])
    for margin in (0.01, 0.03, 0.06, 0.09):
        found = wb.audit.noninferiority(*sides, metric=metric, margin=margin, score=["new", "old"], **ASKED)
        row = found.table.iloc[0]
        assert row["claimed"] == (row["low"] > -margin) == (row["p"] < 0.025)
        assert found.settings["design"] == ("paired" if paired else "unpaired")
    # Where the margin is the lower bound itself, p is the level.
    edge = wb.audit.noninferiority(*sides, metric=metric, margin=-row["low"], score=["new", "old"], **ASKED).table.iloc[
        0
    ]
    assert edge["p"] == pytest.approx(0.025, abs=1e-6)


def test_superiority_is_claimed_only_after_noninferiority():
    scores = table(1, gain=1.0)
    found = wb.audit.noninferiority(scores, scores, margin=0.05, score=["new", "old"], **ASKED)
    assert found.table["claimed"].tolist() == [True, True]
    assert "superior" in found.sentences[1]
    worse = wb.audit.noninferiority(scores, scores, margin=0.02, score=["old", "new"], **ASKED)
    assert worse.table["claimed"].tolist() == [False, False]
    assert worse.sentences[1] == "Superiority was therefore not claimed."
    assert "margin of 0.02" in worse.sentences[0]
    assert "not shown to be non-inferior" in worse.sentences[0]


@pytest.mark.parametrize("goal", [0.7, 0.9])
def test_a_performance_goal_is_held_against_wilsons_interval(goal):
    scores = table(2)
    found = wb.audit.noninferiority(scores, goal, metric="sensitivity", margin=0.03, score="new", **ASKED)
    positives = scores[scores["truth"] == 1]
    share, n = (positives["new"] >= 0.5).mean(), len(positives)
    # Wilson's interval inverts the score test.
    expected = stats.norm.sf((share - goal + 0.03) / np.sqrt((goal - 0.03) * (1 - goal + 0.03) / n))
    assert found.table["p"].iloc[0] == pytest.approx(expected, rel=1e-6)
    assert found.table["value"].iloc[0] == pytest.approx(share - goal)
    assert f"goal of {goal:g}" in found.sentences[0]


def test_a_goal_for_auroc_uses_the_logit_interval():
    scores = table(2)
    row = wb.audit.noninferiority(scores, 0.8, margin=0.02, score="new", **ASKED).table.iloc[0]
    found = areas(scores["new"].to_numpy(), scores["truth"].to_numpy() == 1)
    (low, high), _ = found.interval(0, stats.norm.ppf(0.975))
    assert (row["low"] + 0.8, row["high"] + 0.8) == pytest.approx((low, high))


def test_paired_data_need_fewer_images_than_unpaired():
    rng = np.random.default_rng(0)
    first = rng.random(400) < 0.85
    second = np.where(rng.random(400) < 0.9, first, rng.random(400) < 0.85)
    who = np.arange(400)
    paired, unpaired = paired_gap(first, second, who), share_gap((first, who), (second, who + 400))
    assert paired.value == pytest.approx(unpaired.value)
    assert paired.p_above(-0.05) < unpaired.p_above(-0.05)


def test_a_model_that_is_worse_by_the_margin_passes_once_in_forty():
    rng, passed = np.random.default_rng(0), 0
    for _ in range(1500):
        # Sensitivity 0.85 against 0.90, a margin of 0.05 exactly.
        second = rng.random(150) < 0.9
        first = np.where(second, rng.random(150) < 0.9, rng.random(150) < 0.4)
        passed += paired_gap(first, second, np.arange(150)).bounds(1.959964)[0] > -0.05
    assert 0.015 <= passed / 1500 <= 0.035


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "no margin was given"),
        ({"margin": -0.05}, "margin -0.05 lies outside"),
        ({"margin": 5}, "margin 5 lies outside"),
        ({"margin": 0.05, "alpha": 0.6}, "alpha 0.6 lies outside"),
        ({"margin": 0.05, "metric": "auroc"}, "did you mean 'AUROC'"),
    ],
)
def test_bad_questions_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        wb.audit.noninferiority(table(), table(), score=["new", "old"], **ASKED, **asked)
    with pytest.raises(InputError, match="performance goal and must lie between 0 and 1"):
        wb.audit.noninferiority(table(), 85, margin=0.05, score="new", **ASKED)


def test_a_wide_margin_is_said():
    with pytest.warns(EvidenceWarning, match="margin of 0.2 is wide"):
        wb.audit.noninferiority(table(), table(), margin=0.2, score=["new", "old"], **ASKED)
    weak = table().assign(old=lambda scores: 0.9 * np.random.default_rng(0).random(600) + 0.1 * scores["truth"])
    with pytest.warns(EvidenceWarning, match="more than half of the reference's gain over chance"):
        wb.audit.noninferiority(weak, weak, margin=0.09, score=["new", "old"], **ASKED)


def test_equal_models_make_no_claim():
    scores = table()
    with pytest.warns(EvidenceWarning, match="rank all images alike"):
        found = wb.audit.noninferiority(scores, scores, margin=0.05, score=["new", "new"], **ASKED)
    assert not found.table["claimed"].any()
    assert "No claim" in found.sentences[0]

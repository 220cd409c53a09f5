"""Two models' calls on the same images: published tables, SciPy, clusters, and what the counts must add up to."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb
from workbench.audit.validation.contrasts import paired_gap, tango
from workbench.audit.validation.mcnemar import exact, obuchowski
from workbench.errors import EvidenceWarning, InputError

ASKED = {"label": "truth", "patient": "who", "score": ["a", "b"]}


def calls(both, only_first, only_second, neither, *, negatives=40):
    """One image a patient; the counts are of the positives, whose negatives both models call right."""
    a = [0.9] * (both + only_first) + [0.1] * (only_second + neither) + [0.1] * negatives
    b = [0.9] * both + [0.1] * only_first + [0.9] * only_second + [0.1] * neither + [0.1] * negatives
    truth = [1] * (len(a) - negatives) + [0] * negatives
    return pd.DataFrame({"truth": truth, "who": range(len(a)), "a": a, "b": b})


def test_the_published_airway_table():
    """Bentur 2009 in Fagerland, Lydersen & Laake 2013: exact p 0.0703, mid-p 0.0391; Tango −0.517 to −0.026."""
    scores = calls(1, 1, 7, 12)
    row = wb.audit.mcnemar(scores, scores, **ASKED).table.set_index("metric").loc["sensitivity"]
    assert row["p_exact"] == pytest.approx(0.0703, abs=5e-5)
    assert row["p"] == pytest.approx(0.0391, abs=5e-5)
    assert (row["low"], row["high"]) == pytest.approx((-0.517, -0.026), abs=5e-4)
    assert row[["both", "only_first", "only_second", "neither"]].tolist() == [1, 1, 7, 12]
    assert (row["first"], row["second"]) == pytest.approx((2 / 21, 8 / 21))


def test_tangos_interval_is_that_of_propcis():
    """R's PropCIs: scoreci.mp(25, 28, 618, 0.90) prints −0.0148 to 0.0247."""
    assert tango(28, 25, 618, stats.norm.ppf(0.95)) == pytest.approx((-0.0148, 0.0247), abs=5e-5)


@pytest.mark.parametrize(("b", "c"), [(1, 7), (5, 5), (0, 6), (30, 12), (0, 0), (1, 0)])
def test_exact_p_is_the_binomial_tests(b, c):
    p_exact, mid = exact(b, c)
    assert p_exact == pytest.approx(stats.binomtest(b, b + c).pvalue if b + c else 1)
    assert mid <= p_exact


@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 30), (4, 0, 4), (0, 9, 9), (3, 1, 20), (12, 30, 100)])
def test_tangos_bounds_are_where_the_score_statistic_is_z(b, c, n):
    """The statistic at each bound, from the likelihood maximised numerically over the nuisance share."""
    low, high = tango(b, c, n, 1.96)
    assert -1 <= low < (b - c) / n + 1e-12
    assert (b - c) / n - 1e-12 < high <= 1

    def statistic(delta):
        grid = np.linspace(max(0, -delta) + 1e-9, (1 - delta) / 2 - 1e-9, 400_001)
        likelihood = stats.multinomial.logpmf(
            [[b, c, n - b - c]], n, np.stack([grid + delta, grid, 1 - 2 * grid - delta], 1)
        )
        share = grid[np.argmax(likelihood)]
        return (b - c - n * delta) / np.sqrt(n * (2 * share + delta * (1 - delta)))

    for bound, sign in ((low, 1), (high, -1)):
        if -1 < bound < 1:
            assert sign * statistic(bound) == pytest.approx(1.96, abs=2e-3)


def test_one_image_a_patient_is_the_unclustered_case():
    lead = np.array([1, 1, -1, 0, 0, 1, 0, -1, 1, 1] * 4)
    alone = paired_gap(lead > 0, lead < 0, np.arange(40))
    assert alone.bounds(1.96) == tango(20, 8, 40, 1.96)
    # McNemar's χ² is the statistic with no correction for the number of patients.
    p = obuchowski(lead.astype(float), np.arange(40))
    assert p == pytest.approx(stats.chi2.sf(39 / 40 * (20 - 8) ** 2 / 28, 1))


def test_images_that_tell_the_same_count_as_one():
    lead = np.array([1, 1, -1, 0, 0, 1, 0, -1, 1, 1] * 4)
    five, who = np.repeat(lead, 5), np.repeat(np.arange(40), 5)
    wide = paired_gap(five > 0, five < 0, who).bounds(1.96)
    assert wide == pytest.approx(tango(20, 8, 40, 1.96), abs=0.01)
    assert obuchowski(five.astype(float), who) == pytest.approx(obuchowski(lead.astype(float), np.arange(40)))


def test_clustered_data_are_found_and_said():
    scores = pd.concat([calls(30, 12, 3, 10)] * 3, ignore_index=True)
    found = wb.audit.mcnemar(scores, scores, **ASKED)
    single = wb.audit.mcnemar(once := calls(30, 12, 3, 10), once, **ASKED)
    assert "Obuchowski" in found.methods[0]
    assert found.table["p_exact"].isna().all()
    width, alone = (one.table["high"] - one.table["low"] for one in (found, single))
    assert width.to_numpy() == pytest.approx(alone.to_numpy(), rel=0.05)


def test_clustered_test_errs_as_often_as_told_and_the_plain_one_more_often():
    rng = np.random.default_rng(0)
    wrong = np.zeros(2)
    for _ in range(800):
        who = np.repeat(np.arange(60), 4)
        leaning = rng.normal(size=60)[who] * 1.5
        a, b = (rng.random(240) < 1 / (1 + np.exp(-sign * leaning)) for sign in (1, -1))
        wrong += obuchowski(a.astype(float) - b, who) < 0.05, exact(int((a & ~b).sum()), int((b & ~a).sum()))[1] < 0.05
    assert 0.03 <= wrong[0] / 800 <= 0.07
    assert wrong[1] / 800 > 0.15


def test_each_model_has_its_own_threshold():
    scores = calls(10, 10, 5, 10)
    scores["b"] = scores["b"] / 2
    same = wb.audit.mcnemar(scores, scores, threshold=(0.5, 0.25), **ASKED)
    expected = wb.audit.mcnemar(plain := calls(10, 10, 5, 10), plain, **ASKED)
    pd.testing.assert_frame_equal(same.table, expected.table)
    assert same.settings["threshold"] == [0.5, 0.25]


def test_an_operating_point_is_taken_as_threshold():
    scores = calls(40, 10, 5, 10)
    tuning = wb.Predictions.from_table(scores.assign(who=scores["who"] + 1000), label="truth", score="a", patient="who")
    point = wb.audit.operating_point(tuning, rule="youden")
    found = wb.audit.mcnemar(scores, scores, threshold=(point, 0.5), **ASKED)
    assert found.settings["threshold"] == [point.settings["threshold"], 0.5]
    with pytest.raises(InputError, match="one threshold for both models, or two"):
        wb.audit.mcnemar(scores, scores, threshold=(0.1, 0.2, 0.3), **ASKED)


def test_a_threshold_chosen_on_the_images_compared_is_said_aloud():
    scores = calls(40, 10, 5, 10)
    tuning = wb.Predictions.from_table(scores, label="truth", score="a", patient="who")
    point = wb.audit.operating_point(tuning, rule="youden")
    with pytest.warns(EvidenceWarning, match="chosen on these very images"):
        found = wb.audit.mcnemar(scores, scores, threshold=(point, 0.5), **ASKED)
    assert "these very images" in found.warnings[0]


def test_accuracy_is_of_all_images_and_counts_add_up():
    scores = calls(20, 5, 9, 6)
    table = wb.audit.mcnemar(scores, scores, **ASKED).table.set_index("metric")
    counts = table[["both", "only_first", "only_second", "neither"]]
    assert (counts.sum(axis=1) == table["n"]).all()
    assert table.loc["accuracy", "n"] == 80
    assert counts.loc["accuracy"].tolist() == (counts.loc["sensitivity"] + counts.loc["specificity"]).tolist()
    assert table.loc["specificity", "value"] == 0
    assert table.loc["specificity", "low"] < 0 < table.loc["specificity", "high"]


def test_swapping_the_models_mirrors():
    scores = calls(20, 5, 9, 6)
    there = wb.audit.mcnemar(scores, scores, **ASKED).table
    back = wb.audit.mcnemar(scores, scores, **(ASKED | {"score": ["b", "a"]})).table
    assert there["value"].to_numpy() == pytest.approx(-back["value"].to_numpy())
    assert there["low"].to_numpy() == pytest.approx(-back["high"].to_numpy())
    assert there["p"].tolist() == back["p"].tolist()


def test_few_positives_are_refused_and_the_sentence_says_so():
    scores = calls(1, 1, 1, 1)
    with pytest.warns(EvidenceWarning, match="only 4 patients with positives"):
        found = wb.audit.mcnemar(scores, scores, **ASKED)
    assert np.isnan(found.table["value"].iloc[0])
    assert "not compared" in found.sentences[0]


def test_a_threshold_outside_is_refused():
    with pytest.raises(InputError, match=r"threshold=1\.5 must be a number from 0 to 1"):
        wb.audit.mcnemar(calls(5, 5, 5, 5), calls(5, 5, 5, 5), threshold=(0.5, 1.5), **ASKED)

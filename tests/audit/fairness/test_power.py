"""What a sample could have found: formulas against simulation, and words that do not take silence for proof."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

import workbench as wb
from workbench.audit.engine.measure import measure
from workbench.audit.fairness.power import _placements, _side
from workbench.audit.fairness.power_formulas import area_power, area_variance, share_power, smallest
from workbench.audit.metric import Setting, metric_of
from workbench.audit.sample import design_of
from workbench.errors import InputError


def frame(patients=400, images=1, seed=0, *, minority=0.3, shift=1.2, worse=0.0):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), images)
    truth, group = (rng.random(patients) < 0.4).astype(int)[who], (rng.random(patients) < minority)[who]
    noise = rng.normal(size=patients)[who] * np.sqrt(0.8) + rng.normal(size=len(who)) * np.sqrt(0.2)
    p = stats.norm.cdf(noise + (shift - worse * group) * (truth - 0.5))
    return pd.DataFrame(
        {
            "truth": truth,
            "p": p,
            "who": who,
            "site": np.where(group, "B", "A"),
            "view": (np.arange(len(who)) % 2).astype(str),
        }
    )


def found(table, by="site", **asked):
    return wb.audit.detectable(wb.Predictions.from_table(table, label="truth", score="p", patient="who"), by, **asked)


def row(made, metric, group, name=None):
    table = made.to_frame(name)
    return table[(table["metric"] == metric) & (table["group"] == group)].iloc[0]


def test_shares_reach_cohens_tabled_power():
    # Cohen 1988: h = 0.5 with 63 cases a side has a power of 0.80 at 5 % (two-sided).
    first = 0.5
    second = np.sin(np.arcsin(np.sqrt(first)) - 0.25) ** 2
    assert share_power(second, first, (63, 63), 0.05) == pytest.approx(0.80, abs=0.005)


def test_the_detectable_difference_of_two_shares_is_found_in_eighty_of_a_hundred_samples():
    rng = np.random.default_rng(0)
    gap = smallest(lambda size: share_power(0.85 - size, 0.85, (80, 400), 0.05) >= 0.8, 0, 0.85)
    group, rest = rng.binomial(80, 0.85 - gap, 4000) / 80, rng.binomial(400, 0.85, 4000) / 400
    pooled = (group * 80 + rest * 400) / 480
    z = (rest - group) / np.sqrt(pooled * (1 - pooled) * (1 / 80 + 1 / 400))
    assert np.mean(np.abs(z) > 1.96) == pytest.approx(0.8, abs=0.04)


def test_the_detectable_difference_of_two_areas_is_found_in_about_eighty_of_a_hundred_samples():
    """Binormal scores; the test is DeLong's z of two independent areas."""
    rng, sizes = np.random.default_rng(1), ((50, 80), (150, 250))
    gap = smallest(lambda size: area_power(0.85 - size, 0.85, sizes, 0.05) >= 0.8, 0, 0.85)
    hits, trials = 0, 300
    for _ in range(trials):
        area, variance = zip(
            *(_delong(rng, true, *size) for true, size in zip((0.85 - gap, 0.85), sizes, strict=True)), strict=True
        )
        hits += abs(area[0] - area[1]) / np.sqrt(sum(variance)) > 1.96
    # The variance is that of exponential scores, ± 2.3 % of Monte-Carlo error.
    assert hits / trials == pytest.approx(0.8, abs=0.07)


def _delong(rng, true, positives, negatives):
    shift = np.sqrt(2) * stats.norm.ppf(true)
    first, second = rng.normal(shift, 1, positives), rng.normal(0, 1, negatives)
    order = first[:, None] > second
    return order.mean(), order.mean(1).var(ddof=1) / positives + order.mean(0).var(ddof=1) / negatives


def test_the_variance_of_an_area_is_hanley_and_mcneils():
    # Their example of CT images, 51 abnormal and 58 normal, has an area of 0.893 and a standard error of 0.032.
    assert np.sqrt(area_variance(0.893, 51, 58)) == pytest.approx(0.032, abs=0.0015)


def test_observed_gaps_are_those_of_scikit_learn_and_mirror():
    table = frame()
    made = found(table)
    areas = {site: roc_auc_score(part["truth"], part["p"]) for site, part in table.groupby("site")}
    assert row(made, "AUROC", "site=B")["value"] == pytest.approx(areas["B"] - areas["A"])
    assert row(made, "AUROC", "site=A")["value"] == pytest.approx(areas["A"] - areas["B"])
    assert (
        row(made, "AUROC", "site=A")["low"]
        < row(made, "AUROC", "site=A")["value"]
        < row(made, "AUROC", "site=A")["high"]
    )


def test_a_few_patients_leave_absence_of_evidence_and_many_do_not():
    few = found(frame(150), gap=0.1)
    assert row(few, "sensitivity", "site=B")["reading"] == "absence of evidence"
    assert "no evidence of its absence" in few.sentences[0]
    many = found(frame(6000), gap=0.1)
    assert row(many, "sensitivity", "site=B")["reading"] == "a difference of 0.1 would probably have been found"
    assert row(many, "sensitivity", "site=B")["detectable"] < 0.1 < row(few, "sensitivity", "site=B")["detectable"]
    there = found(frame(3000, worse=0.9))
    assert row(there, "AUROC", "site=B")["reading"] == "a difference was found"


def test_all_comparisons_together_find_less_than_one_alone():
    got = row(found(frame()), "AUROC", "site=B")
    assert got["detectable_corrected"] > got["detectable"]


def test_images_of_a_patient_that_tell_the_same_are_counted_once():
    single, five = frame(300), frame(300, images=5)
    one, same = row(found(single), "AUROC", "site=B", "needed"), row(found(five), "AUROC", "site=B", "needed")
    assert one["effective"] == pytest.approx(one["now"])
    assert same["now"] == pytest.approx(5 * one["now"], rel=0.3)
    assert same["effective"] < 0.5 * same["now"]
    # Counted as independent, the five would seem to find much less.
    assert (
        row(found(five.assign(who=np.arange(len(five)))), "AUROC", "site=B")["detectable"]
        < 0.75 * row(found(five), "AUROC", "site=B")["detectable"]
    )


def test_so_many_positives_as_are_needed_are_enough():
    """AUROC 0.80 ± 0.05 takes about 115 positives where one in ten is positive."""
    assert smallest(lambda n: area_variance(0.8, n, 9 * n) <= (0.05 / 1.96) ** 2, 2, 1e4) == pytest.approx(115, abs=2)
    table = frame(1500)
    needed = row(found(table, gap=0.1), "sensitivity", "site=B", "needed")
    factor = needed["for_gap"] / needed["now"]
    sensitivity = table.loc[(table["site"] == "A") & (table["truth"] == 1), "p"] >= 0.5
    reached = share_power(
        sensitivity.mean() - 0.1, sensitivity.mean(), (needed["effective"] * factor, len(sensitivity)), 0.05
    )
    assert reached == pytest.approx(0.8, abs=0.01)


def test_a_difference_that_no_number_of_images_could_show_has_no_sample_size():
    table = frame(80, minority=0.6)
    needed = row(found(table, gap=0.02), "sensitivity", "site=B", "needed")
    assert np.isnan(needed["for_gap"])
    assert needed["for_precision"] > needed["now"]


def test_a_patient_on_both_sides_is_told():
    assert "in the group and in the rest" in row(found(frame(200, images=2), "view"), "AUROC", "view=1")["note"]
    assert row(found(frame(200, images=2)), "AUROC", "site=B")["note"] == ""


def test_groups_of_a_few_patients_are_not_read():
    table = frame(200)
    table.loc[:2, "site"] = "C"
    got = row(found(table), "sensitivity", "site=C")
    assert got["reading"] == "cannot be told"
    assert np.isnan(got["detectable"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"metrics": ["F1"]}, "AUROC or a share"),
        ({"gap": 0}, "between 0 and 1"),
        ({"power": 80}, "between 0 and 1"),
        ({"by": "siet"}, "did you mean 'site'"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, said):
    with pytest.raises(InputError, match=said):
        found(frame(60), **asked)


def test_effective_sizes_give_the_standard_error_that_replicates_of_patients_show():
    table = frame(800, images=4, minority=0.5)
    design = design_of(wb.Predictions.from_table(table, label="truth", score="p", patient="who"), ["site"], "1")
    rows = design.partitions[1].codes == 0
    side = _side(design, metric_of("AUROC"), Setting(), rows)
    drawn = measure(design, [metric_of("AUROC")], Setting(), replicates=1000, seed=1).drawn["AUROC"][1].std()
    spread = np.nanvar(_placements(design.truth[rows], design.scores[rows]), axis=0)
    assert np.sqrt((spread / side.sizes).sum()) == pytest.approx(drawn, rel=0.06)
    # Hanley and McNeil's variance, of exponential scores, errs on the careful side here.
    assert 1 < np.sqrt(area_variance(side.value, *side.sizes)) / drawn < 1.2

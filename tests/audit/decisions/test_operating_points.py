"""Thresholds: chosen by hand-checked rules, carried, and as sure as a simulation says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_curve

import workbench as wb
from workbench.audit.decisions.thresholds import Rule, choose
from workbench.audit.engine.blocks import weights_of
from workbench.audit.estimation.joint import joint_design
from workbench.errors import EvidenceWarning, InputError

#        positives 0.9 0.8 0.8 0.6 0.3 (twice each: ten patients), negatives 0.8 0.5 0.4 0.3 0.1 (twice each)
POSITIVE = [0.9, 0.8, 0.8, 0.6, 0.3] * 2
NEGATIVE = [0.8, 0.5, 0.4, 0.3, 0.1] * 2

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


def table(positive=POSITIVE, negative=NEGATIVE, **columns):
    frame = pd.DataFrame({"truth": [1] * len(positive) + [0] * len(negative), "p": [*positive, *negative]})
    return frame.assign(**columns)


def predictions(frame, patient=None):
    return wb.Predictions.from_table(frame, label="truth", score="p", patient=patient)


def point(frame=None, **asked):
    return wb.audit.operating_point(predictions(table() if frame is None else frame), **{"replicates": 100} | asked)


def numbers(found, group="all"):
    rows = found.table[found.table["group"] == group].set_index("metric")
    return rows.loc["threshold", "value"], rows.loc["sensitivity", "in_sample"], rows.loc["specificity", "in_sample"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"rule": "fixed", "target": 0.45}, (0.45, 0.8, 0.6)),
        # J: 0.9 → 0.2, 0.8 → 0.4, 0.6 → 0.6, 0.5 → 0.4, 0.4 → 0.2, 0.3 → 0.2
        ({"rule": "youden"}, (0.6, 0.8, 0.8)),
        ({"rule": "sensitivity", "target": 0.6}, (0.8, 0.6, 0.8)),
        ({"rule": "sensitivity", "target": 0.61}, (0.6, 0.8, 0.8)),
        ({"rule": "specificity", "target": 0.8}, (0.6, 0.8, 0.8)),
        ({"rule": "specificity", "target": 0.81}, (0.9, 0.2, 1.0)),
        # Ten false alarms are worth less than one missed positive: all found, though specificity is 0.2.
        ({"rule": "cost", "cost": 10}, (0.3, 1.0, 0.2)),
        # Equal costs at equal prevalence: Youden's.
        ({"rule": "cost", "cost": 1, "prevalence": 0.5}, (0.6, 0.8, 0.8)),
        # At a prevalence of 0.2 with cost 1: 0.9 loses 0.16, 0.8 0.24, 0.6 0.2.
        ({"rule": "cost", "cost": 1, "prevalence": 0.2}, (0.9, 0.2, 1.0)),
    ],
)
def test_each_rule_chooses_what_a_hand_count_does(asked, expected):
    assert numbers(point(**asked)) == pytest.approx(expected)


def test_equally_good_thresholds_give_the_most_sensitive():
    # J is 0.5 at 0.9 and at 0.4.
    frame = table([0.9, 0.4] * 5, [0.5, 0.1] * 5)
    assert numbers(point(frame, rule="youden")) == pytest.approx((0.4, 1.0, 0.5))


def test_youden_is_the_farthest_corner_of_scikit_learns_curve(scores):
    frame = scores(patients=300, seed=8)
    fpr, tpr, threshold = roc_curve(frame["truth"], frame["p"], drop_intermediate=False)
    found = numbers(point(frame, rule="youden"))
    best = np.argmax(tpr - fpr)
    assert found == pytest.approx((threshold[best], tpr[best], 1 - fpr[best]))


def test_rescaling_the_scores_chooses_the_same_images(scores):
    frame = scores(patients=200)
    first, second = (
        numbers(point(f, rule="specificity", target=0.9)) for f in (frame, frame.assign(p=frame["p"] ** 3))
    )
    assert second[0] == pytest.approx(first[0] ** 3)
    assert second[1:] == first[1:]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"rule": "yuden"}, "did you mean 'youden'"),
        ({"rule": "youden", "target": 0.9}, "takes no target"),
        ({"rule": "sensitivity"}, "needs target"),
        ({"rule": "sensitivity", "target": 1.2}, "from 0 to 1"),
        ({"rule": "cost", "cost": 0}, "above 0"),
        ({"rule": "cost", "cost": 1, "prevalence": 1}, "between 0 and 1"),
        ({"rule": "youden", "prevalence": 0.1}, "takes no prevalence"),
        ({"rule": "cost", "cost": 0.1, "prevalence": 0.01, "frame": table([0.8, 0.7] * 5)}, "call nobody"),
        ({"rule": "specificity", "target": 0.9, "frame": table([0.8, 0.7] * 5)}, "even at the highest score it is 0.8"),
        ({"rule": "youden", "frame": table([0.9] * 3)}, "fewer than 5"),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_the_reason(asked, said):
    with pytest.raises(InputError, match=said):
        point(**asked)


def test_a_table_is_told_how_to_become_predictions():
    with pytest.raises(InputError, match="from_table"):
        wb.audit.operating_point(table(), rule="youden")


def test_each_replicate_chooses_anew_on_its_own_patients(scores):
    frame = scores(patients=60, digits=2)
    design, _ = joint_design({"tuning": predictions(frame, "who")}, [], "1")
    made = choose(design, np.ones(len(frame), dtype=bool), Rule("sensitivity", 0.9), replicates=20, seed=3)
    drawn = weights_of(60, seed=3, replicates=20)
    for place in range(20):
        weight = drawn[design.patients, place]
        fpr, tpr, threshold = roc_curve(design.truth, design.scores, sample_weight=weight, drop_intermediate=False)
        first = np.argmax(tpr >= 0.9 - 1e-12)
        assert made.thresholds[place] == threshold[first]
        in_all = (design.scores[design.truth] >= threshold[first]).mean()
        assert made.sensitivities[place] == pytest.approx(np.clip(made.sensitivity + in_all - tpr[first], 0, 1))
        spared = (design.scores[~design.truth] < threshold[first]).mean()
        assert made.specificities[place] == pytest.approx(np.clip(made.specificity + spared - 1 + fpr[first], 0, 1))


@pytest.mark.slow
def test_the_interval_to_expect_holds_the_true_rate():
    """Binormal scores: the true sensitivity of a threshold is known; Youden's sample value flatters, what to expect does not."""
    rng, inside, apparent, expected = np.random.default_rng(0), 0, [], []
    for trial in range(80):
        positive, negative = rng.normal(1, 1, 60), rng.normal(0, 1, 90)
        frame = table(stats.norm.cdf(positive), stats.norm.cdf(negative))
        found = point(frame, rule="youden", replicates=128, seed=trial)
        rows = found.table.set_index("metric")
        cut = stats.norm.ppf(rows.loc["threshold", "value"])
        true = stats.norm.sf(cut - 1)
        inside += rows.loc["sensitivity", "low"] <= true <= rows.loc["sensitivity", "high"]
        worth = rows.loc[["sensitivity", "specificity"]]
        apparent.append(worth["in_sample"].sum() - true - stats.norm.cdf(cut))
        expected.append(worth["value"].sum() - true - stats.norm.cdf(cut))
    assert inside / 80 > 0.88
    assert np.mean(apparent) > 0.03
    assert abs(np.mean(expected)) < 0.5 * np.mean(apparent)


def test_a_perfect_threshold_still_has_intervals_of_some_width():
    rows = point(table([0.9, 0.8] * 6, [0.2, 0.1] * 6), rule="youden").table.set_index("metric")
    assert rows.loc["sensitivity", "value"] == 1
    assert rows.loc["sensitivity", "low"] < 0.8


def test_the_point_is_carried_to_the_test_set_group_by_group(scores):
    tuning, test = scores(patients=400, seed=1), scores(patients=300, seed=2)
    found = wb.audit.operating_point(
        predictions(tuning, "who"),
        rule="sensitivity",
        target=0.9,
        by=["sex"],
        test=predictions(test, "who"),
        replicates=100,
    )
    cuts = found.settings["thresholds"]
    assert set(cuts) == {"sex=F", "sex=M"}
    carried = found.to_frame("carried").set_index(["set", "group", "metric"])
    for sex in "FM":
        part = test[test["sex"] == sex]
        called = part["p"] >= cuts[f"sex={sex}"]
        assert carried.loc[("test", f"sex={sex}", "sensitivity"), "value"] == pytest.approx(
            called[part["truth"] == 1].mean()
        )
        assert carried.loc[("test", f"sex={sex}", "PPV"), "value"] == pytest.approx(part["truth"][called].mean())
        assert carried.loc[("tuning", f"sex={sex}", "sensitivity"), "value"] >= 0.9
    assert any("unlawful" in text for text in found.warnings)
    assert "Carried to the test set of 900 images" in found.sentences[1]
    assert found.settings["chosen_on"] == predictions(tuning, "who").provenance.content


def test_a_threshold_judged_where_it_was_chosen_is_said_aloud():
    with pytest.warns(EvidenceWarning, match="too good"):
        point(rule="youden", test=predictions(table()))


def test_a_group_with_too_few_patients_gets_no_threshold():
    frame = table(sex=["F"] * 3 + ["M"] * 17)
    with pytest.warns(EvidenceWarning, match="No threshold was chosen for sex=F"):
        found = point(frame, rule="youden", by="sex")
    assert set(found.settings["thresholds"]) == {"sex=M"}
    row = found.table[(found.table["group"] == "sex=F") & (found.table["metric"] == "threshold")].iloc[0]
    assert np.isnan(row["value"])
    assert "refused" in row["note"]


def test_row_order_changes_no_digit_and_the_finding_is_kept(scores, tmp_path):
    frame = scores(patients=80)
    first, second = (
        wb.audit.operating_point(predictions(f, "who"), rule="youden", by=["sex"], seed=5, replicates=100)
        for f in (frame, frame.sample(frac=1, random_state=1))
    )
    pd.testing.assert_frame_equal(first.table, second.table, check_exact=True)
    again = type(first).load(first.save(tmp_path / "point"))
    assert again.settings["threshold"] == first.settings["threshold"]
    pd.testing.assert_frame_equal(again.to_frame("carried"), first.to_frame("carried"))


def test_row_weights_choose_as_repeated_patients_do():
    """A patient that counts twice weighs as much as two patients alike: same threshold, same rates."""
    frame = table(weight=[2.0, 1.0] * 10)
    twice = pd.concat([frame, frame[frame["weight"] == 2]])
    weighted = wb.Predictions.from_table(frame, label="truth", score="p", weight="weight", attributes=[])
    asked = {"rule": "youden", "replicates": 100}
    first = wb.audit.operating_point(weighted, **asked)
    second = wb.audit.operating_point(predictions(twice[["truth", "p"]]), **asked)
    assert numbers(first) == pytest.approx(numbers(second))
    carried = [found.to_frame("carried").set_index("metric")["value"] for found in (first, second)]
    assert carried[0].to_numpy() == pytest.approx(carried[1].to_numpy())

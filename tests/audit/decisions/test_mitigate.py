"""Mitigation: learnt on one set, judged on another, each method against a peer or by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

import workbench as wb
from workbench.audit.decisions.adjustments import moved
from workbench.errors import EvidenceWarning, InputError

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


def frame(patients=1200, seed=0, *, lower=1.0, extreme=1.0):
    """Images of men score lower by `lower` on the logit scale; `extreme` stretches their logits."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["F", "M"], patients)
    truth = (rng.random(patients) < 0.4).astype(int)
    odds = rng.normal(size=patients) + 2 * truth - 1
    odds = np.where(sex == "M", extreme * odds - lower, odds)
    return pd.DataFrame(
        {"truth": truth, "p": 1 / (1 + np.exp(-odds)), "sex": sex, "who": [f"{seed}-{k}" for k in range(patients)]}
    )


def predictions(table, patient="who"):
    return wb.Predictions.from_table(table, label="truth", score="p", patient=patient, attributes=["sex"])


def mitigate(method, tuning=None, test=None, **asked):
    tuning, test = (frame() if tuning is None else tuning), (frame(seed=1) if test is None else test)
    return wb.audit.mitigate(
        predictions(tuning), predictions(test), "sex", method=method, **{"replicates": 100} | asked
    )


def scores(done):
    return done.predictions.positive


@pytest.mark.parametrize("goal", ["sensitivity", "specificity"])
def test_thresholds_reach_the_target_in_every_group_of_the_tuning_set(goal):
    tuning, test = frame(), frame(seed=1)
    done = mitigate("thresholds", tuning, test, goal=goal, target=0.8)
    choice = done.finding.to_frame("choice").set_index("group")["value"]
    for sex in "FM":
        part = tuning[tuning["sex"] == sex]
        called = part["p"] >= choice[f"sex={sex}"]
        rate = called[part["truth"] == 1].mean() if goal == "sensitivity" else 1 - called[part["truth"] == 0].mean()
        assert 0.8 <= rate < 0.81
    # The new scores at 0.5 call those whom the old ones call at their group's threshold.
    own = test["p"].to_numpy() >= choice["sex=" + test["sex"]].to_numpy()
    np.testing.assert_array_equal(scores(done) >= 0.5, own)


def test_a_gap_closes_on_patients_that_the_choice_never_saw():
    gaps = mitigate("thresholds", replicates=300).finding.to_frame("gaps").set_index("metric")
    assert gaps.loc["sensitivity", "first_gap"] > 0.2
    assert abs(gaps.loc["sensitivity", "second_gap"]) < 0.1
    assert gaps.loc["sensitivity", "p"] < 0.05


def test_before_and_after_are_those_of_plain_counting():
    tuning, test = frame(), frame(seed=1)
    done = mitigate("thresholds", tuning, test)
    row = done.finding.table.set_index(["metric", "group"]).loc[("sensitivity", "sex=M")]
    men = (test["sex"] == "M") & (test["truth"] == 1)
    assert row["before"] == pytest.approx((test.loc[men, "p"] >= 0.5).mean())
    assert row["after"] == pytest.approx((scores(done)[men] >= 0.5).mean())
    assert row["value"] == pytest.approx(row["after"] - row["before"])


def test_stretched_scores_keep_their_order_and_cross_at_the_cut():
    grid = np.sort(np.append(np.random.default_rng(0).random(500), [0.0, 0.2, 1.0]))
    for cut in (0.0, 0.2, 0.9, 1.0):
        made = moved(grid, np.full(len(grid), cut), 0.5)
        np.testing.assert_array_equal(made >= 0.5, grid >= cut)
        assert (np.diff(made) >= 0).all()
        assert (made >= 0).all()
        assert (made <= 1).all()


def test_platt_is_scikit_learns_logistic_regression_without_penalty():
    tuning, test = frame(extreme=2.0), frame(seed=1, extreme=2.0)
    got = scores(mitigate("platt", tuning, test))
    for sex in "FM":
        part, judged = tuning[tuning["sex"] == sex], test["sex"] == sex
        peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds(part["p"]), part["truth"])
        assert got[judged] == pytest.approx(peer.predict_proba(odds(test.loc[judged, "p"]))[:, 1], abs=1e-5)


def odds(p):
    return np.log(p / (1 - p)).to_numpy()[:, None]


def test_temperature_is_a_logistic_regression_without_intercept():
    tuning, test = frame(extreme=2.0, lower=0), frame(seed=1)
    men = tuning[tuning["sex"] == "M"]
    peer = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(odds(men["p"]), men["truth"])
    slope = mitigate("temperature", tuning, test).finding.to_frame("choice").set_index("group").loc["sex=M", "value"]
    assert slope == pytest.approx(peer.coef_[0, 0], abs=1e-4)


def test_isotonic_is_scikit_learns_and_recalibration_repairs_the_error():
    tuning, test = frame(extreme=3.0), frame(seed=1, extreme=3.0)
    done = mitigate("isotonic", tuning, test, replicates=200)
    women = tuning[tuning["sex"] == "F"]
    peer = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(women["p"], women["truth"])
    assert scores(done)[test["sex"] == "F"] == pytest.approx(peer.predict(test.loc[test["sex"] == "F", "p"]))
    error = done.finding.table.set_index(["metric", "group"]).loc[("ECE (equal mass)", "sex=F")]
    assert error["after"] < 0.5 * error["before"]
    assert error["verdict"] == "gains"


def test_abstention_leaves_the_asked_share_and_tells_whom_it_leaves_out():
    done = mitigate("abstain", coverage=0.8)
    coverage = done.finding.to_frame("coverage").set_index("group")["value"]
    assert coverage["all"] == pytest.approx(0.8, abs=0.04)
    assert len(done.predictions) == round(coverage["all"] * 1200)
    width = done.finding.to_frame("choice")["value"].iloc[0]
    assert abs(done.predictions.positive - 0.5).min() >= width
    assert (abs(frame()["p"] - 0.5) >= width).mean() >= 0.8
    row = done.finding.table.set_index(["metric", "group"]).loc[("sensitivity", "all")]
    assert row["after"] > row["before"]


def test_flipping_changes_calls_near_the_threshold_only_and_in_favour_of_the_group_found_less_often():
    tuning, test = frame(), frame(seed=1)
    done = mitigate("flip", tuning, test)
    width = done.finding.to_frame("choice")["value"].iloc[0]
    before, after = test["p"].to_numpy(), scores(done)
    near, men = abs(before - 0.5) <= width, (test["sex"] == "M").to_numpy()
    np.testing.assert_array_equal(before[~near], after[~near])
    assert (after[near & men] >= 0.5).all()
    assert (after[near & ~men] < 0.5).all()
    gap = done.finding.to_frame("gaps").set_index("metric").loc["sensitivity"]
    assert abs(gap["second_gap"]) < 0.5 * gap["first_gap"]


def test_taking_from_one_to_equal_the_other_is_called_levelling_down():
    with pytest.warns(EvidenceWarning, match="levelling down"):
        done = mitigate("thresholds", target=0.5, replicates=300)
    gap = done.finding.to_frame("gaps").set_index("metric").loc["sensitivity"]
    assert gap["better_change"] < -0.2
    assert gap["levelled"] > 0.5


def test_patients_in_both_sets_are_named_and_refused():
    tuning, test = frame(), frame(seed=1)
    test.loc[:2, "who"] = tuning.loc[:2, "who"]
    with pytest.raises(InputError, match="3 patients are in the tuning and in the test set: '0-0', '0-1', '0-2'"):
        mitigate("platt", tuning, test)
    with pytest.raises(InputError, match="test is the tuning set"):
        mitigate("platt", tuning, tuning)


def test_unnamed_patients_are_told_apart_only_within_one_table():
    with pytest.warns(EvidenceWarning, match="cannot be checked"):
        wb.audit.mitigate(
            predictions(frame(), None), predictions(frame(seed=1), None), "sex", method="platt", replicates=100
        )
    whole = predictions(frame(), None)
    halves = whole.subset(whole.ids[:600]), whole.subset(whole.ids[600:])
    wb.audit.mitigate(*halves, "sex", method="platt", replicates=100)
    with pytest.raises(InputError, match="in the tuning and in the test set"):
        wb.audit.mitigate(whole.subset(whole.ids[:700]), halves[1], "sex", method="platt")


def test_groups_that_nothing_was_learnt_about_are_refused_or_get_what_everybody_gets():
    tuning = frame()
    test = frame(seed=1)
    with pytest.raises(InputError, match="lacks: sex=X"):
        mitigate("platt", tuning, test.assign(sex=lambda f: f["sex"].where(f.index > 20, "X")))
    few = tuning[(tuning["sex"] == "F") | (tuning.index < 8)]
    with pytest.warns(EvidenceWarning, match="sex=M got what everybody gets"):
        done = mitigate("thresholds", few, test)
    assert done.finding.to_frame("choice").set_index("group").loc["sex=M", "note"] == "what everybody gets"


def test_other_classes_keep_their_shares_of_the_rest():
    rng = np.random.default_rng(0)

    def three(seed):
        raw = rng.dirichlet([1, 1, 1], 600)
        label = [rng.choice(["a", "b", "c"], p=row) for row in raw]
        table = pd.DataFrame(raw, columns=["a", "b", "c"]).assign(
            truth=label, sex=rng.choice(["F", "M"], 600), who=[f"{seed}-{k}" for k in range(600)]
        )
        return wb.Predictions.from_table(
            table, label="truth", score={k: k for k in "abc"}, patient="who", attributes=["sex"]
        )

    tuning, test = three(0), three(1)
    done = wb.audit.mitigate(tuning, test, "sex", method="platt", positive="b", replicates=100)
    assert done.predictions.scores.sum(1) == pytest.approx(1)
    before, after = test.table, done.predictions.table
    np.testing.assert_allclose(after["score:a"] / after["score:c"], before["score:a"] / before["score:c"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"method": "plat"}, "did you mean 'platt'"),
        ({"method": "platt", "target": 0.9}, "takes no target"),
        ({"method": "thresholds", "goal": "AUROC"}, "goal 'AUROC' is unknown"),
        ({"method": "abstain", "coverage": 1.0}, "between 0 and 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(asked, said):
    with pytest.raises(InputError, match=said):
        mitigate(**asked)


def test_what_was_made_remembers_both_sets():
    done = mitigate("thresholds")
    assert set(done.predictions.provenance.parents) == {"predictions", "tuning"}
    assert done.predictions.provenance.settings["chosen_on"] == predictions(frame()).provenance.content
    assert "before and after" in done._repr_html_()

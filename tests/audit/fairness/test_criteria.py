"""Named criteria: hand-counted values, intervals that know the worst was chosen, and words that judge nobody."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import confusion_matrix, precision_score, recall_score, roc_auc_score

import workbench as wb
from workbench.audit.calibration.steps import calibration_replicates
from workbench.audit.engine.measure import measure
from workbench.audit.engine.replicates import p_zero, percentiles, spread, together
from workbench.audit.fairness.disparities import equity_scaled, largest_gap, smallest_ratio, worst
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.sample import design_of
from workbench.errors import EvidenceWarning, InputError

ASKED = {"replicates": 100}


def frame(patients=400, seed=0, *, worse="M", by=0.0, prevalence=(0.4, 0.4)):
    """Images of their own patients; positives of the group `worse` score lower by `by`."""
    rng = np.random.default_rng(seed)
    sex = np.repeat(["F", "M"], patients // 2)
    truth = (rng.random(patients) < np.where(sex == "F", *prevalence)).astype(int)
    score = rng.normal(size=patients) + 1.5 * truth - by * truth * (sex == worse) - 0.75
    return pd.DataFrame({"truth": truth, "p": 1 / (1 + np.exp(-score)), "sex": sex, "who": np.arange(patients)})


def found(table, by=("sex",), **asked):
    return wb.audit.criteria(
        wb.Predictions.from_table(table, label="truth", score="p", patient="who"), by, **ASKED | asked
    )


def rates(part, threshold=0.5):
    called = part["p"] >= threshold
    tn, fp, _, _ = confusion_matrix(part["truth"], called).ravel()
    return {
        "tpr": recall_score(part["truth"], called), "fpr": fp / (fp + tn), "rate": called.mean(),
        "ppv": precision_score(part["truth"], called), "area": roc_auc_score(part["truth"], part["p"]),
    }  # fmt: skip


def test_every_value_is_what_scikit_learn_counts_by_group():
    table = frame(by=0.8, seed=2)
    got = found(table, threshold=0.4).table.set_index("criterion")
    women, men = (rates(part, 0.4) for _, part in table.groupby("sex"))
    gap = {name: abs(women[name] - men[name]) for name in women}
    everybody = roc_auc_score(table["truth"], table["p"])
    areas = np.array([women["area"], men["area"]])
    expected = {
        "equal opportunity": gap["tpr"],
        "equalised odds": max(gap["tpr"], gap["fpr"]),
        "demographic parity, gap": gap["rate"],
        "demographic parity, ratio": min(women["rate"], men["rate"]) / max(women["rate"], men["rate"]),
        "predictive parity, positive": gap["ppv"],
        "underdiagnosis": max(1 - women["tpr"], 1 - men["tpr"]),
        "equity-scaled AUROC (sum)": everybody / (1 + abs(everybody - areas).sum()),
        "equity-scaled AUROC (spread)": areas.mean() / (1 + areas.std()),
        "worst group": areas.min(),
        "AUROC gap": gap["area"],
    }
    for criterion, value in expected.items():
        assert got.loc[criterion, "value"] == pytest.approx(value, abs=1e-12), criterion
    assert got.loc["equal opportunity", "group"] == "sex=M < sex=F"
    inside = got.dropna(subset=["low"])
    assert ((inside["low"] <= inside["value"]) & (inside["value"] <= inside["high"])).all()


def test_a_planted_difference_is_shown_and_none_is_not_called_fair():
    shown = found(frame(600, by=1.2), replicates=400)
    row = shown.table.set_index("criterion").loc["equal opportunity"]
    assert row["p_holm"] < 0.05
    assert row["low"] > 0
    assert row["verdict"].startswith("a difference was shown")
    equal = found(frame(600), replicates=200)
    row = equal.table.set_index("criterion").loc["equal opportunity"]
    assert "no difference was shown" in row["verdict"]
    assert f"up to {row['high']:.3f}" in row["verdict"]
    words = " ".join([*equal.table["verdict"], *equal.sentences, *equal.methods, *equal.warnings]).replace(
        "fairness", ""
    )
    assert "fair" not in words


def test_what_cannot_hold_at_once_is_said_where_prevalences_differ():
    assert "cannot be calibrated within groups" in found(frame(600, prevalence=(0.2, 0.6))).sentences[1]
    assert "may be chance" in found(frame(600)).sentences[1]


def test_four_fifths_is_told_as_a_convention_of_employment_law():
    definitions = found(frame()).to_frame("definitions").set_index("criterion")
    assert "employment law, not of medicine" in definitions.loc["demographic parity, ratio", "definition"]
    assert set(definitions.index) == set(found(frame()).table["criterion"])


def test_a_group_too_small_is_left_out_by_name_and_the_rest_compared():
    table = frame()
    table.loc[:3, "sex"] = "X"
    with pytest.warns(EvidenceWarning, match="sex=X"):
        got = found(table).table.set_index("criterion")
    assert got.loc["equal opportunity", "note"].startswith("without sex=X: too few patients")
    assert "X" not in got.loc["equal opportunity", "group"]


def test_one_group_alone_cannot_be_compared():
    got = found(frame().assign(sex="F")).table
    assert got["value"].isna().all()
    assert got["verdict"].str.startswith("cannot be told").all()


def test_a_group_that_misses_nobody_still_has_an_uncertain_sensitivity():
    table = frame(seed=1)
    table.loc[(table["sex"] == "F") & (table["truth"] == 1), "p"] = 0.99
    row = found(table, replicates=400).table.set_index("criterion").loc["underdiagnosis"]
    groups = found(table, replicates=400).to_frame("groups").set_index(["metric", "group"])
    assert groups.loc[("sensitivity", "sex=F"), "value"] == 1
    assert groups.loc[("sensitivity", "sex=F"), "low"] < 0.97
    assert row["low"] < row["value"] < row["high"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"by": []}, "by is empty"),
        ({"by": ["sxe"]}, "did you mean 'sex'"),
        ({"threshold": 1.5}, "from 0 to 1"),
        ({"replicates": 5}, "100 or more"),
        ({"level": 95}, "0.5–0.999"),
    ],
)
def test_what_makes_no_sense_is_refused(asked, said):
    with pytest.raises(InputError, match=said):
        found(frame(), **asked)


def test_an_operating_point_sets_the_threshold():
    tuning = wb.Predictions.from_table(frame(seed=1), label="truth", score="p", patient="who")
    point = wb.audit.operating_point(tuning, rule="sensitivity", target=0.9, replicates=100)
    assert found(frame(), threshold=point).settings["threshold"] == point.settings["threshold"]
    with pytest.warns(EvidenceWarning, match="chosen on these very images"):
        found(frame(seed=1), threshold=point)


def test_row_order_changes_no_digit():
    table = frame()
    first, second = (found(made, seed=3).table for made in (table, table.sample(frac=1, random_state=0)))
    pd.testing.assert_frame_equal(first, second, rtol=1e-9)


def replicated(true, error, rng, replicates=300):
    """Independent normal estimates of k true values, and replicates of them."""
    values = true + rng.normal(0, error, len(true))
    return values, values[:, None] + rng.normal(0, error, (len(true), replicates))


def test_the_largest_of_many_gaps_is_found_by_chance_no_more_often_than_told():
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(400):
        alarms += largest_gap([replicated(np.full(6, 0.8), 0.03, rng)], 0.95).p <= 0.05
    # Five of a hundred, ± 2 standard errors; unadjusted pairs would alarm in about a third.
    assert 0.02 < alarms / 400 < 0.08


@pytest.mark.parametrize("true", [np.full(6, 0.8), np.array([0.7, 0.8, 0.8, 0.8, 0.8, 0.8])])
def test_intervals_of_the_worst_and_of_the_gap_hold_the_truth(true):
    rng, held, gap_held, noise = np.random.default_rng(1), 0, 0, []
    for _ in range(300):
        values, drawn = replicated(true, 0.03, rng)
        least, gap = worst(values, drawn, 0.95), largest_gap([(values, drawn)], 0.95)
        held += least.low <= true.min() <= least.high
        gap_held += gap.low <= np.ptp(true) <= gap.high
        noise.append(least.value - true.min())
    assert held / 300 > 0.93
    assert gap_held / 300 > 0.93
    if np.ptp(true) == 0:
        assert np.mean(noise) == pytest.approx(-0.03 * 1.267, abs=0.003)  # the mean minimum of six normal numbers
        assert least.noise < -0.005


def test_the_ratio_of_a_group_never_called_positive_is_zero_without_interval():
    made = smallest_ratio(np.array([0.0, 0.5]), np.array([[0.0, 0.0], [0.4, 0.6]]), 0.95)
    assert made.value == 0
    assert np.isnan(made.low)


def test_the_reflected_interval_takes_the_noise_out_of_equity_scaling():
    rng, held = np.random.default_rng(2), 0
    for _ in range(300):
        values, drawn = replicated(np.array([0.75, 0.85]), 0.02, rng)
        overall = 0.8, np.full(drawn.shape[1], 0.8)
        made = equity_scaled(overall, (values, drawn), 0.95)
        held += made.low <= 0.8 / 1.1 <= made.high
    assert held / 300 > 0.9


def test_p_values_follow_the_normal_tail_where_replicates_end():
    rng = np.random.default_rng(0)
    for z in (1.0, 2.5, 5.0):
        drawn = z + rng.normal(size=20_000)
        assert np.log(p_zero(drawn)) == pytest.approx(np.log(2 * stats.norm.sf(z)), abs=0.15)
    alone = together(np.array([5.0]), 5 + rng.normal(size=(1, 1000)), 0.95)
    assert alone.p[0] < 1e-5


def test_replicates_with_unknowns_give_what_the_known_ones_do():
    drawn = np.array([[0.1, 0.2, np.nan, 0.3], [np.nan] * 4, [0.5] * 4])
    low, high = percentiles(drawn, 0.9)
    assert (low[0], high[0]) == pytest.approx(tuple(np.quantile([0.1, 0.2, 0.3], [0.05, 0.95])))
    assert np.isnan(low[1])
    assert spread(drawn)[0] == pytest.approx(np.std([0.1, 0.2, 0.3], ddof=1))
    assert np.isnan(spread(drawn)[1])
    assert spread(drawn)[2] == 0
    assert p_zero(np.linspace(-1, 9, 101)) == pytest.approx(2 * 12 / 102)
    band = together(np.array([0.2, np.nan, 0.5]), drawn, 0.9)
    assert np.isnan(band.low[1:]).all()


def test_one_step_replicates_of_calibration_are_near_those_fitted_anew():
    table = pd.concat([frame(1500, seed=4), frame(1500, seed=5)]).assign(who=np.repeat(np.arange(1500), 2))
    design = design_of(wb.Predictions.from_table(table, label="truth", score="p", patient="who"), ["sex"], "1")
    metrics = metrics_of(["calibration slope", "calibration intercept"])
    exact = measure(design, metrics, Setting(), replicates=60, seed=2)
    steps = calibration_replicates(design, exact.values["calibration slope"], replicates=60, seed=2)
    for metric in metrics:
        fitted, stepped = exact.drawn[metric.name], steps[metric.name]
        assert np.corrcoef(fitted.ravel(), stepped.ravel())[0, 1] > 0.98
        assert stepped.std(1) == pytest.approx(fitted.std(1), rel=0.1)
        assert stepped.mean(1) == pytest.approx(exact.values[metric.name], abs=0.03)


@pytest.mark.filterwarnings("ignore:Left out of some criteria.*sex=-1")
def test_the_gaps_of_a_published_report_are_reproduced(shared_data):
    folder = shared_data / "audit_isic_meval"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    report = pd.read_csv(folder / "isic_evaluation_results.csv").set_index("group")["AUROC"]
    made = wb.Predictions.from_table(
        folder / "isic_test_results.csv", label="label", score="y_prob", id="image_name", attributes=["sex"]
    )
    got = wb.audit.criteria(made, ["sex"], threshold=0.018, replicates=200).table.set_index("criterion")
    assert got.loc["AUROC gap", "value"] == pytest.approx(abs(report["sex=0"] - report["sex=1"]), abs=1e-9)
    assert got.loc["worst group", "value"] == pytest.approx(report[["sex=0", "sex=1"]].min(), abs=1e-9)
    assert got.loc["AUROC gap", "high"] > got.loc["AUROC gap", "value"]

"""A probe reads what is there, not what is not, and not what the label tells already."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp
from sklearn.linear_model import Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score

import workbench as wb
from workbench.audit.discovery.crossfit import (
    PENALTIES,
    crossfit,
    patient_folds,
    permutations,
    rotated,
    scaled,
    stratified_area,
)
from workbench.audit.discovery.modes import ks_distance
from workbench.errors import EvidenceWarning, InputError

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


def embedded(patients=200, *, sex=1.5, through_label=0.0, features=12, seed=0):
    """Two images a patient; feature 1 knows the label, feature 0 the sex, which the label may go with."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), 2)
    man = rng.integers(0, 2, patients)
    ill = (rng.random(patients) < 0.5 + through_label * (man - 0.5)).astype(int)
    vectors = 0.7 * rng.normal(size=(patients, features))[who] + 0.7 * rng.normal(size=(len(who), features))
    vectors[:, 0] += sex * man[who]
    vectors[:, 1] += 2.5 * ill[who]
    table = pd.DataFrame(
        {"id": [f"i{k}" for k in range(len(who))], "y": ill[who], "p": 0.5, "who": who, "sex": np.array(["F", "M"])[man][who],
         "age": 50 + 10 * vectors[:, 2] + 5 * rng.normal(size=len(who)), "view": np.tile(["CC", "MLO"], patients),
         "scanner": rng.choice(list("abc"), patients)[who]}
    )  # fmt: skip
    return wb.Predictions.from_table(table, label="y", score="p", patient="who", id="id"), vectors


def rows(found):
    return found.table.set_index("group")


def test_a_planted_attribute_is_read_and_a_shuffled_one_is_not():
    images, vectors = embedded()
    found = wb.audit.probe(vectors, "sex", images=images)
    table = rows(found)
    assert table.loc["as it is", "low"] > 0.6
    assert table.loc["as it is", "p"] == pytest.approx(1 / 201)
    assert table.loc["shuffled", "low"] < 0.5 < table.loc["shuffled", "high"]
    assert abs(table.loc["shuffled", "value"] - 0.5) < 0.02
    assert "sex (M against F) can be read" in found.sentences[0]
    assert "more can be read than what the label tells" in found.sentences[1]


def test_what_only_the_label_tells_is_taken_away():
    images, vectors = embedded(sex=0.0, through_label=0.8)
    found = wb.audit.probe(vectors, "sex", images=images)
    table = rows(found)
    assert table.loc["as it is", "low"] > 0.7
    assert table.loc["within label", "low"] < 0.5 < table.loc["within label", "high"]
    assert table.loc["within label", "p"] > 0.05
    assert "no more, as far as this sample can show, than what the label tells" in found.sentences[1]


def test_the_value_is_that_of_the_scores_and_numbers_and_groups_have_their_metrics():
    images, vectors = embedded()
    for name, metric, again in (("sex", "AUROC", roc_auc_score), ("age", "R²", r2_score)):
        found = wb.audit.probe(vectors, name, images=images)
        scores = found.to_frame("scores")
        truth = scores["attribute"] == "M" if name == "sex" else scores["attribute"]
        assert found.table["metric"][0] == metric
        assert found.table["value"][0] == pytest.approx(again(truth, scores["score"]), abs=0.02)
        assert found.table["low"][0] < found.table["value"][0] < found.table["high"][0]
    found = wb.audit.probe(vectors, "scanner", images=images)
    scores = found.to_frame("scores")
    codes = scores["attribute"].map({"a": 0, "b": 1, "c": 2})
    assert found.table["metric"][0] == "balanced accuracy"
    assert found.table["value"][0] == pytest.approx(balanced_accuracy_score(codes, scores["score"]))
    assert rows(found).loc["as it is", "p"] > 0.05


def test_an_attribute_that_differs_within_patients_can_be_probed():
    images, vectors = embedded()
    vectors = vectors.copy()
    vectors[1::2, 4] += 2
    assert rows(wb.audit.probe(vectors, "view", images=images)).loc["as it is", "p"] < 0.01
    quiet = rows(wb.audit.probe(embedded()[1], "view", images=images))
    assert quiet.loc["as it is", "p"] > 0.05


@pytest.mark.slow
def test_an_attribute_that_is_not_there_is_read_one_time_in_twenty():
    alarms = {"as it is": [], "within label": []}
    for seed in range(80):
        images, vectors = embedded(40, sex=0.0, features=6, seed=seed)
        table = rows(wb.audit.probe(vectors, "sex", images=images, permuted=99))
        for kind, seen in alarms.items():
            seen.append(table.loc[kind, "p"] <= 0.05)
    for seen in alarms.values():
        assert np.mean(seen) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 80)


@pytest.mark.parametrize("features", [8, 150])
def test_crossfitting_is_nested_ridge_regression(features):
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(40), 2)
    vectors, target = rng.normal(size=(80, features)), rng.normal(size=80)
    target += vectors[:, 0]
    folds = patient_folds(target, patients, 0)
    points = (vectors - vectors.mean(0)) / vectors.std(0)
    expected = np.empty(80)
    for k in range(5):
        loss = []
        for penalty in PENALTIES:
            errors = []
            for j in set(range(5)) - {k}:
                train = (folds != k) & (folds != j)
                fit = Ridge(alpha=penalty * train.sum()).fit(points[train], target[train])
                errors.append(((fit.predict(points[folds == j]) - target[folds == j]) ** 2).sum())
            loss.append(sum(errors))
        train = folds != k
        best = Ridge(alpha=PENALTIES[int(np.argmin(loss))] * train.sum()).fit(points[train], target[train])
        expected[~train] = best.predict(points[~train])
    probed = crossfit(rotated(scaled(vectors)), target[:, None], folds)
    np.testing.assert_allclose((probed.scores + probed.centres)[:, 0], expected, atol=1e-8)


def test_centring_within_strata_is_fitting_an_intercept_for_each():
    rng = np.random.default_rng(0)
    strata = np.arange(90) % 3
    vectors, target = rng.normal(size=(90, 2)) + strata[:, None], rng.normal(size=90) + 5 * strata
    folds = np.arange(90) // 3 % 5
    probed = crossfit(scaled(vectors), target[:, None], folds, strata)
    shifted = crossfit(scaled(vectors + 7 * (strata == 1)[:, None]), (target - 3.0 * strata)[:, None], folds, strata)
    # Features are scaled over all images, so the shift changes the penalty a little.
    np.testing.assert_allclose(probed.scores, shifted.scores, atol=0.05)
    np.testing.assert_allclose(probed.centres[:, 0] - 3.0 * strata, shifted.centres[:, 0])


def test_folds_keep_patients_whole_and_share_out_the_values():
    patients = np.repeat(np.arange(50), 3)
    values = (patients % 2).astype(float)
    folds = patient_folds(values, patients, 0)
    assert all(len(set(folds[patients == who])) == 1 for who in range(50))
    assert [values[folds == k].mean() for k in range(5)] == [0.5] * 5


def test_permutations_exchange_between_patients_and_respect_strata():
    patients = np.repeat(np.arange(30), 2)
    sex = np.repeat(np.arange(30) % 3, 2)
    drawn = permutations(sex, patients, None, count=20, seed=0)
    assert (drawn[::2] == drawn[1::2]).all()
    assert (np.sort(drawn, axis=0) == np.sort(sex)[:, None]).all()
    assert len({tuple(column) for column in drawn.T}) == 20
    strata = np.repeat(np.arange(30) // 15, 2)
    drawn = permutations(sex, patients, strata, count=5, seed=0)
    for stratum in (0, 1):
        assert (np.sort(drawn[strata == stratum], axis=0) == np.sort(sex[strata == stratum])[:, None]).all()
    view = np.tile([0, 1], 30)
    drawn = permutations(view, patients, None, count=5, seed=0)
    assert (drawn[::2] + drawn[1::2] == 1).all()  # each patient still has one of each
    assert 0 < drawn[::2].mean() < 1


def test_areas_within_strata_count_pairs_of_the_same_stratum_alone():
    rng = np.random.default_rng(0)
    scores, truth, strata = rng.normal(size=60).round(1), rng.random(60) < 0.5, np.arange(60) % 2
    right = pairs = 0.0
    for a in np.flatnonzero(truth):
        for b in np.flatnonzero(~truth & (strata == strata[a])):
            right += (scores[a] > scores[b]) + 0.5 * (scores[a] == scores[b])
            pairs += 1
    assert stratified_area(scores[:, None], truth[:, None], strata)[0] == pytest.approx(right / pairs)
    assert stratified_area(scores[:, None], truth[:, None])[0] == pytest.approx(roc_auc_score(truth, scores))


def test_distances_of_distributions_are_those_of_scipy():
    rng = np.random.default_rng(0)
    values, groups = rng.normal(size=80).round(1), rng.integers(0, 2, (80, 3))
    expected = [ks_2samp(values[g == 0], values[g == 1]).statistic for g in groups.T]
    np.testing.assert_allclose(ks_distance(values, groups), expected)


def test_the_modes_that_a_group_shifts_are_named():
    images, vectors = embedded(sex=6.0)
    modes = wb.audit.probe(vectors, "sex", images=images).to_frame("modes")
    assert modes["ks"][0] > 0.9
    assert modes["p_adjusted"][0] < 0.01
    assert (modes["p_adjusted"][3:] > 0.05).all()
    assert modes["variance"].is_monotonic_decreasing


def test_the_order_of_rows_changes_nothing():
    images, vectors = embedded(60)
    order = np.random.default_rng(0).permutation(len(images))
    first = wb.audit.probe(vectors, "sex", images=images).table
    moved = images.subset([images.ids[k] for k in order])
    # Sums over features are of the same numbers; LAPACK alone decides about the last digits.
    pd.testing.assert_frame_equal(first, wb.audit.probe(vectors[order], "sex", images=moved).table)


def test_missing_values_and_tiny_groups_are_left_out_aloud():
    images, vectors = embedded()
    table = images.table.copy()
    table.loc[table.index[:10], "sex"] = None
    table.loc[table.index[10:14], "sex"] = "X"
    odd = wb.Predictions(table, images.classes, images.attributes, images.provenance)
    with pytest.warns(EvidenceWarning, match=r"missing: 10; sex=X \(fewer than 5 patients\): 4"):
        found = wb.audit.probe(vectors, "sex", images=odd)
    assert found.table["n"][0] == 386


@pytest.mark.parametrize(
    ("attribute", "said"),
    [("sx", "did you mean 'sex'"), ("same", "two groups of 5"), ("name", "too many to be groups")],
)
def test_attributes_that_cannot_be_read_are_refused(attribute, said):
    images, vectors = embedded()
    table = images.table.assign(same="a", name=[f"n{k}" for k in range(len(images))])
    wide = wb.Predictions(table, images.classes, (*images.attributes, "same", "name"), images.provenance)
    with pytest.raises(InputError, match=said):
        wb.audit.probe(vectors, attribute, images=wide)


def test_a_cohort_may_know_the_attributes():
    rng = np.random.default_rng(0)
    cohort = wb.Cohort.from_arrays(
        rng.random((60, 1, 4, 4)), labels=["a", "b"] * 30, patients=[str(k) for k in range(60)],
        attributes={"sex": ["F", "F", "M", "M"] * 15},
    )  # fmt: skip
    vectors = rng.normal(size=(60, 3)) + (cohort.table["sex"] == "M").to_numpy()[:, None] * 3
    assert wb.audit.probe(vectors, "sex", images=cohort).table["value"][0] > 0.95

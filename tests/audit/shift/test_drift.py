"""Drift is found where it was planted, told by kind, and not found where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

import workbench as wb
from workbench.audit.discovery.crossfit import scaled
from workbench.audit.shift.kernel import bandwidth, detectable_shift, discrepancy, squared_distances, told_apart
from workbench.audit.shift.pooled import exchanged
from workbench.errors import EvidenceWarning, InputError

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


def period(seed=0, *, patients=150, first=0, ill=0.4, lift=0.0, men=0.5, moved=0.0, scanners="ab", features=8):
    """Two images a patient, with scores that know the label, and embeddings."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(patients) < ill).astype(int).repeat(2)
    score = 0.7 * rng.normal(size=patients).repeat(2) + 0.7 * rng.normal(size=len(truth)) + 2 * (truth - 0.5) + lift
    vectors = 0.7 * rng.normal(size=(patients, features)).repeat(2, 0) + 0.7 * rng.normal(size=(len(truth), features))
    table = pd.DataFrame(
        {"y": truth, "p": 1 / (1 + np.exp(-score)), "who": [f"p{k}" for k in (first + np.arange(patients)).repeat(2)],
         "sex": np.where(rng.random(patients) < men, "M", "F").repeat(2), "age": rng.normal(60, 10, patients).repeat(2),
         "scanner": rng.choice(list(scanners), patients).repeat(2)}
    )  # fmt: skip
    return wb.Predictions.from_table(table, label="y", score="p", patient="who"), vectors + moved


def test_label_shift_is_found_and_told_from_other_shift():
    found = wb.audit.drift(period()[0], period(1, first=150, ill=0.7)[0])
    table = found.table.set_index("group")
    assert table.loc["label", "p_adjusted"] < 0.05
    assert (table.loc[["score, label=0", "score, label=1"], "p_adjusted"] > 0.05).all()
    assert "compatible with label shift" in found.sentences[-1]


def test_scores_that_change_within_a_label_are_not_label_shift():
    found = wb.audit.drift(period()[0], period(1, first=150, lift=1.0)[0], by=["sex"])
    table = found.table.set_index(["by", "group", "metric"])
    assert table.loc[("score given label", "score, label=0", "Kolmogorov–Smirnov distance"), "p_adjusted"] < 0.05
    assert table.loc[("sex", "sex=F", "specificity"), "high"] < 0
    assert "not label shift alone" in found.sentences[-1]


def test_covariate_shift_new_values_and_moved_embeddings_are_found():
    (before, first), (after, second) = period(), period(1, first=150, men=0.8, scanners="abc", moved=0.4)
    found = wb.audit.drift(before, after, embeddings=(first, second))
    table = found.table.set_index(["group", "metric"])
    assert table.loc[("embedding", "MMD²"), "p_adjusted"] < 0.05
    assert table.loc[("embedding", "AUROC of a classifier"), "p_adjusted"] < 0.05
    assert table.loc[("scanner", "share of c"), "note"] == "new: c"
    assert table.loc[("sex", "share of M"), "value"] == pytest.approx(0.3, abs=0.12)
    assert "compatible with covariate shift" in found.sentences[-1]
    assert "standard deviations" in table.loc[("embedding", "MMD²"), "note"]
    with pytest.warns(EvidenceWarning):
        lost = wb.audit.drift(after, before, by=["scanner"]).table
    assert "lost: c" in set(lost["note"])


@pytest.mark.slow
def test_where_nothing_changed_an_alarm_is_raised_one_time_in_twenty():
    family, single = [], []
    for seed in range(60):
        before, first = period(2 * seed, patients=40, features=3)
        # Some patients come at both times.
        after, second = period(2 * seed + 1, patients=40, first=25, features=3)
        table = wb.audit.drift(before, after, embeddings=(first, second), metrics=(), permuted=299).table
        family.append((table["p_adjusted"] <= 0.05).any())
        single += list(table["p"] <= 0.05)
    assert np.mean(family) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)
    assert 0.01 < np.mean(single) <= 0.08


@pytest.mark.slow
def test_what_is_told_to_be_detectable_is_detected_four_times_in_five():
    reach = wb.audit.drift(period(0, patients=80)[0], period(1, patients=80, first=80)[0], metrics=()).table
    label = float(reach.set_index("group").loc["label", "detectable"])
    hits = []
    for seed in range(60):
        before, after = (
            period(2 * seed + k, patients=80, first=80 * k, ill=0.4 + k * label)[0].table[["patient", "label"]]
            for k in (0, 1)
        )
        truth = (np.concatenate([before["label"], after["label"]]) == "1").astype(float)
        later = np.repeat([False, True], 160)
        drawn = exchanged(later, np.repeat(np.arange(160), 2), count=999, seed=seed)
        size = drawn.sum(0)
        gap = np.abs(truth @ drawn / size - (truth.sum() - truth @ drawn) / (320 - size))
        hits.append((gap >= gap[0] - 1e-12).mean() <= 0.05 / len(reach["p"].dropna()))
    assert 0.65 <= np.mean(hits) <= 0.95


def test_the_discrepancy_is_that_of_the_naive_sums():
    rng = np.random.default_rng(0)
    points, after = rng.normal(size=(30, 4)), rng.random((30, 3)) < 0.4
    distances = squared_distances(points)
    width = bandwidth(distances)
    pairs = [((points[a] - points[b]) ** 2).sum() for a in range(30) for b in range(a)]
    assert width == pytest.approx(2 * np.median(pairs))
    for column, value in enumerate(discrepancy(np.exp(-distances / width), after)):
        x, y = points[after[:, column]], points[~after[:, column]]

        def mean(first, second, *, same):
            terms = [
                np.exp(-((a - b) ** 2).sum() / width)
                for i, a in enumerate(first)
                for j, b in enumerate(second)
                if not (same and i == j)
            ]
            return np.mean(terms)

        naive = mean(x, x, same=True) + mean(y, y, same=True) - 2 * mean(x, y, same=False)
        assert value == pytest.approx(naive, abs=1e-12)


def test_the_detectable_shift_is_found_when_it_is_made():
    rng = np.random.default_rng(0)
    points = scaled(rng.normal(size=(200, 6)))
    after = rng.permuted(np.repeat([[True], [False]], 100, axis=0).repeat(400, 1), axis=0)
    distances = squared_distances(points)
    critical = np.quantile(discrepancy(np.exp(-distances / bandwidth(distances)), after), 0.95)
    shift, _ = detectable_shift(points, distances, after, critical=critical, power=0.8, seed=0)
    hits = []
    for _ in range(100):
        moved = np.concatenate([rng.normal(size=(100, 6)), rng.normal(size=(100, 6)) + shift])
        again = squared_distances(moved)
        hits.append(discrepancy(np.exp(-again / bandwidth(distances)), np.arange(200)[:, None] >= 100)[0] > critical)
    assert 0.6 <= np.mean(hits) <= 0.95


def test_a_classifier_tells_apart_what_differs_and_nothing_else():
    rng = np.random.default_rng(0)
    after = np.repeat([True, False], 60)[:, None]
    vectors = rng.normal(size=(120, 150))
    assert told_apart(scaled(vectors), after, np.arange(120), seed=0)[0] < 0.7
    assert told_apart(scaled(vectors + 3 * after * (np.arange(150) < 5)), after, np.arange(120), seed=0)[0] > 0.95


def test_patients_change_places_with_all_their_images():
    patients = np.array([0, 0, 1, 2, 2, 2, 3, 3, 4, 4])
    after = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 1], dtype=bool)
    drawn = exchanged(after, patients, count=300, seed=0)
    assert (drawn[:, 0] == after).all()
    for who in range(4):
        assert (drawn[patients == who] == drawn[patients == who][0]).all()
    assert (drawn[8] != drawn[9]).all()  # at both times, in either order
    assert 0.3 < drawn[8].mean() < 0.7
    assert (drawn[[0, 2, 3, 6]].sum(0) == 2).all()  # as many patients as before


def test_numbers_are_those_of_each_side_alone():
    before, after = period()[0], period(1, first=150, lift=0.5)[0]
    table = wb.audit.drift(before, after).table.set_index(["group", "metric"])
    for column, side in (("before", before), ("after", after)):
        assert table.loc[("all", "AUROC"), column] == pytest.approx(roc_auc_score(side.labels, side.positive))
        positive = side.positive[side.labels == 1] >= 0.5
        assert table.loc[("all", "sensitivity"), column] == pytest.approx(positive.mean())
        assert table.loc[("label", "share of 1"), column] == pytest.approx(side.labels.mean())
    ks = ks_2samp(before.positive, after.positive).statistic
    assert table.loc[("score", "Kolmogorov–Smirnov distance"), "value"] == pytest.approx(ks)
    assert table.loc[("age", "Kolmogorov–Smirnov distance"), "smd"] == pytest.approx(
        (after.table["age"].mean() - before.table["age"].mean())
        / np.sqrt((after.table["age"].var() + before.table["age"].var()) / 2)
    )


def test_the_order_of_rows_changes_nothing():
    (before, first), (after, second) = period(), period(1, first=100)
    order = np.random.default_rng(0).permutation(len(after))
    moved = after.subset([after.ids[k] for k in order])
    given = {"by": ["sex"], "permuted": 199}
    once = wb.audit.drift(before, after, embeddings=(first, second), **given).table
    again = wb.audit.drift(before, moved, embeddings=(first, second[order]), **given).table
    pd.testing.assert_frame_equal(once, again)


def test_cohorts_are_compared_without_scores():
    rng = np.random.default_rng(0)
    sides = [
        wb.Cohort.from_arrays(rng.random((40, 1, 4, 4)), labels=["a", "b"] * 20, patients=[f"{k}-{n}" for n in range(40)],
                              attributes={"sex": ["F", "M", "M", "M"] * 10})
        for k in range(2)
    ]  # fmt: skip
    found = wb.audit.drift(*sides)
    assert set(found.table["by"]) == {"label", "images", "attribute"}
    assert "No shift is told" in found.sentences[-1]


def test_many_images_are_drawn_down_by_patient_and_this_is_said(monkeypatch):
    monkeypatch.setattr("workbench.audit.shift.drift.MOST_IMAGES", 100)
    (before, first), (after, second) = period(), period(1, first=150)
    table = wb.audit.drift(before, after, embeddings=(first, second), permuted=199).table
    row = table[table["metric"] == "MMD²"].iloc[0]
    assert row["n"] == 200
    assert row["patients"] == 100
    assert "of 200 of 600 images" in row["note"]


def test_what_speaks_against_a_comparison_is_said():
    with pytest.warns(EvidenceWarning) as seen:
        found = wb.audit.drift(period()[0], period(1, first=100, patients=60)[0], by=[("sex", "scanner")], permuted=199)
    said = " ".join(str(one.message) for one in seen)
    assert "50 patients have images both before and after" in said
    assert "exchanges are too few" in said
    assert found.table["note"].str.contains("patients with positives after").any()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"permuted": 10}, "permuted is 10"),
        ({"metrics": ["AUROK"]}, "did you mean 'AUROC'"),
        ({"by": ["sx"]}, "did you mean 'sex'"),
        ({"embeddings": [np.zeros((300, 2))]}, "must be a pair"),
        ({"embeddings": [np.zeros((300, 2)), np.zeros((300, 3))]}, "same model"),
        ({"embeddings": [np.zeros((300, 2)), np.zeros((30, 2))]}, "do not fit 300 images"),
    ],
)
def test_what_cannot_be_compared_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        wb.audit.drift(period()[0], period(1, first=150)[0], **given)


def test_too_few_patients_and_other_classes_are_refused():
    before, after = period()[0], period(1, patients=6)[0]
    with pytest.raises(InputError, match="after has 6 patients"):
        wb.audit.drift(before, after)
    table = before.table.rename(columns={"score:0": "score:x"}).assign(label=before.table["label"].replace("0", "x"))
    other = wb.Predictions(table, ("x", "1"), before.attributes, before.provenance)
    with pytest.raises(InputError, match="same"):
        wb.audit.drift(before, other)

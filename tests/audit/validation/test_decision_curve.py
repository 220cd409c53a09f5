"""Net benefit: against counts by hand and scikit-learn, invariants, intervals that hold, and scores that are no risks."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

import workbench as wb
from workbench.audit.sample import Design
from workbench.audit.validation.net_benefit import net_benefit
from workbench.errors import EvidenceWarning, InputError
from workbench.groups import Partition

ASKED = {"label": "truth", "patient": "who", "id": "image"}


def table(seed=0, n=600, images=1):
    rng = np.random.default_rng(seed)
    signal = (rng.normal(size=n // images) - 1)[np.arange(n) // images]
    noise = 0.7 * rng.normal(size=n // images)[np.arange(n) // images]
    good, weak = (1 / (1 + np.exp(-value)) for value in (1.2 * signal + noise, signal))
    truth = (rng.random(n // images)[np.arange(n) // images] < good).astype(int)
    return pd.DataFrame({
        "image": [f"i{k:04d}" for k in range(n)], "truth": truth, "who": np.arange(n) // images, "good": good, "weak": weak,
        "sex": rng.choice(["F", "M"], n),
    })  # fmt: skip


def by_counts(scores, column, threshold):
    _, wrong, _, found = confusion_matrix(scores["truth"], scores[column] >= threshold, labels=[0, 1]).ravel()
    return found / len(scores) - wrong / len(scores) * threshold / (1 - threshold)


@pytest.mark.parametrize("group", ["all", "sex=F", "sex=M"])
def test_net_benefit_is_that_of_the_confusion_matrix(group):
    scores = table()
    found = wb.audit.decision_curve(
        scores, by="sex", score="good", thresholds=[0.05, 0.2, 0.5, 0.9], replicates=100, **ASKED
    )
    own = scores if group == "all" else scores[scores["sex"] == group[-1]]
    rows = found.table[found.table["group"] == group]
    for row in rows.itertuples():
        assert row.value == pytest.approx(by_counts(own, "good", row.threshold), abs=1e-12)
        assert row.treat_all == pytest.approx(by_counts(own.assign(one=1.0), "one", row.threshold), abs=1e-12)
        assert row.standardised == pytest.approx(row.value / own["truth"].mean())
        assert row.gain == pytest.approx(row.value - max(row.treat_all, 0))
        # Vickers & Elkin: false alarms avoided, less the cases missed at their worth.
        called = own["good"] >= row.threshold
        spared = (~called & (own["truth"] == 0)).mean() - (~called & (own["truth"] == 1)).mean() * (
            1 - row.threshold
        ) / row.threshold
        assert row.avoided == pytest.approx(100 * spared)


def test_prevalence_reweighs_both_classes():
    scores = table()
    row = wb.audit.decision_curve(
        scores, score="good", thresholds=[0.2], prevalence=0.03, replicates=100, **ASKED
    ).table.iloc[0]
    called = scores["good"] >= 0.2
    sensitivity, wrong = called[scores["truth"] == 1].mean(), called[scores["truth"] == 0].mean()
    assert row["value"] == pytest.approx(0.03 * sensitivity - 0.97 * wrong * 0.25)
    assert row["treat_all"] == pytest.approx(0.03 - 0.97 * 0.25)
    own = wb.audit.decision_curve(
        scores, score="good", thresholds=[0.2], prevalence=scores["truth"].mean(), replicates=100, **ASKED
    )
    plain = wb.audit.decision_curve(scores, score="good", thresholds=[0.2], replicates=100, **ASKED)
    assert own.table["value"].iloc[0] == pytest.approx(plain.table["value"].iloc[0])


def test_two_models_share_their_replicates():
    scores = table()
    models, columns = {"good": scores, "weak": scores}, {"good": "good", "weak": "weak"}
    found = wb.audit.decision_curve(models, score=columns, thresholds=[0.2, 0.4], **ASKED)
    differences = found.to_frame("differences").iloc[0]
    table_of = found.table.set_index(["model", "threshold"])
    assert differences["value"] == pytest.approx(
        table_of.loc[("good", 0.2), "value"] - table_of.loc[("weak", 0.2), "value"]
    )
    own = sum((table_of.loc[(name, 0.2), "high"] - table_of.loc[(name, 0.2), "low"]) ** 2 for name in models) ** 0.5
    assert differences["high"] - differences["low"] < 0.8 * own
    same = wb.audit.decision_curve(
        {"a": scores, "b": scores}, score={"a": "good", "b": "good"}, thresholds=[0.2], **ASKED
    )
    assert (same.to_frame("differences")[["value", "low", "high"]] == 0).all(axis=None)
    assert "At no threshold did" in same.sentences[-1]


def test_rows_in_another_order_and_monotone_relabelling_change_nothing():
    scores = table(images=3)
    found = wb.audit.decision_curve(scores, score="good", by="sex", replicates=100, **ASKED)
    turned = wb.audit.decision_curve(
        scores.sample(frac=1, random_state=0), score="good", by="sex", replicates=100, **ASKED
    )
    pd.testing.assert_frame_equal(found.table, turned.table)


def test_images_of_a_patient_are_drawn_together():
    single, several = table(n=300), table(n=1500, images=5)
    widths = []
    for scores in (single, several, several.assign(who=np.arange(1500))):
        row = wb.audit.decision_curve(scores, score="good", thresholds=[0.2], **ASKED).table.iloc[0]
        widths.append(row["high"] - row["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.25)
    assert widths[2] < 0.6 * widths[1]


def test_intervals_hold_as_often_as_told():
    expected, inside = by_counts(table(seed=99, n=400_000), "good", 0.2), 0
    for seed in range(300):
        scores = table(seed, 400)
        everybody = Partition("", ("all",), np.zeros(400, dtype=np.int64))
        design = Design(
            scores["good"].to_numpy(), scores["truth"].to_numpy() == 1, np.arange(400), (everybody,), np.ones(400)
        )
        value, _, _ = net_benefit(design, np.array([0.2]), prevalence=None, replicates=191, seed=seed)
        low, high = np.quantile(value[1:, 0, 0], [0.025, 0.975])
        inside += low <= expected <= high
    assert 0.92 <= inside / 300 <= 0.975


@pytest.mark.parametrize(
    ("bent", "kind"), [(lambda p: p**3 / (p**3 + (1 - p) ** 3), "too extreme"), (lambda p: p / 3, "times as many")]
)
def test_scores_that_are_no_risks_are_told(bent, kind):
    scores = table()
    with pytest.warns(EvidenceWarning, match=kind):
        found = wb.audit.decision_curve(
            scores.assign(good=bent(scores["good"])), score="good", thresholds=[0.2], **ASKED
        )
    assert "Recalibrate" in found.warnings[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wb.audit.decision_curve(scores, score="good", thresholds=[0.2], **ASKED)


def test_a_group_without_enough_positives_is_refused():
    scores = table()
    scores.loc[scores["sex"] == "M", "truth"] = 0
    scores.loc[scores.index[scores["sex"] == "M"][:3], "truth"] = 1
    with pytest.warns(EvidenceWarning, match="sex=M: refused: only 3 positives"):
        found = wb.audit.decision_curve(scores, score="good", by="sex", thresholds=[0.2], **ASKED)
    assert found.table.set_index("group").loc["sex=M", "value"] != found.table.set_index("group").loc["sex=M", "value"]


def test_where_hardly_anybody_is_treated_there_is_no_interval():
    scores = table()
    top = scores["good"].sort_values().iloc[-3] - 1e-9
    row = wb.audit.decision_curve(scores, score="good", thresholds=[top], **ASKED).table.iloc[0]
    assert np.isfinite(row["value"])
    assert np.isnan(row["low"])


def test_sentences_name_the_thresholds():
    scores = table()
    found = wb.audit.decision_curve(scores, score="good", thresholds=[0.1, 0.2, 0.3, 0.9], **ASKED)
    assert "threshold probabilities of" in found.sentences[0]
    assert "95% CI" in found.sentences[0]
    useless = scores.assign(good=0.5 * np.random.default_rng(0).random(600))
    with pytest.warns(EvidenceWarning):
        silent = wb.audit.decision_curve(useless, score="good", thresholds=[0.02], **ASKED)
    assert silent.sentences[0].startswith("At no threshold")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"thresholds": [0.1, 1.0]}, "threshold 1.0 must lie between"),
        ({"thresholds": []}, "must lie between 0 and 1"),
        ({"prevalence": 3}, "prevalence=3 must be a number between 0 and 1"),
        ({"by": "sx"}, "did you mean 'sex'"),
        ({"replicates": 10}, "10 replicates cannot"),
    ],
)
def test_bad_settings_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        wb.audit.decision_curve(table(), score="good", **ASKED, **asked)


def test_models_on_other_images_are_refused():
    scores = table()
    with pytest.raises(InputError, match="share 500 images"):
        wb.audit.decision_curve({"a": scores, "b": scores[100:]}, score={"a": "good", "b": "weak"}, **ASKED)

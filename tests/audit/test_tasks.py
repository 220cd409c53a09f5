"""Audits of several classes, findings, quantities and masks, and what no audit depends on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, mean_absolute_error, roc_auc_score

import workbench as wb
from workbench.audit.result import Audit
from workbench.errors import EvidenceWarning, InputError
from workbench.predictions import Predictions

WHO = np.arange(360) // 2


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def sexes(rng):
    return rng.choice(["F", "M"], 180)[WHO]


def of(table, metric, group="all", finding=None):
    chosen = (table["metric"] == metric) & (table["group"] == group)
    return table[chosen if finding is None else chosen & (table["class"] == finding)].iloc[0]


def test_several_classes_are_audited_together_or_one_against_the_others(rng):
    truth = rng.integers(0, 3, 360)
    odds = np.exp(rng.normal(size=(360, 3)) + 2 * np.eye(3)[truth])
    scores = odds / odds.sum(1, keepdims=True)
    frame = pd.DataFrame(
        {"y": np.array(list("abc"))[truth], "who": WHO, "sex": sexes(rng)} | dict(zip("abc", scores.T, strict=True))
    )
    given = Predictions.from_table(frame, label="y", score=list("abc"), patient="who", attributes=["sex"])
    found = wb.audit(given, ["sex"], replicates=100)
    assert found.settings["task"] == "multiclass"
    women = (frame["sex"] == "F").to_numpy()
    accuracy = of(found.table, "accuracy", "sex=F")
    assert accuracy["value"] == pytest.approx(accuracy_score(truth[women], scores[women].argmax(1)))
    assert accuracy["method"].startswith("Wilson")
    macro = roc_auc_score(truth, scores, multi_class="ovr", average="macro")
    assert of(found.table, "macro AUROC")["value"] == pytest.approx(macro)
    one = wb.audit(given, ["sex"], positive="b", metrics=["AUROC"], replicates=100)
    assert of(one.table, "AUROC")["value"] == pytest.approx(roc_auc_score(truth == 1, scores[:, 1]))
    with pytest.raises(InputError, match="multiclass task; leave it out, or say which class"):
        wb.audit(given, threshold=0.4)
    with pytest.raises(InputError, match="needs two classes"):
        found.curves()


@pytest.fixture
def findings(rng):
    truth = rng.integers(0, 2, (360, 2)).astype(float)
    scores = (truth + rng.random((360, 2)) * 2) / 3
    truth[:30, 0] = np.nan
    frame = pd.DataFrame({
        "e": truth[:, 0], "h": truth[:, 1], "pe": scores[:, 0], "ph": scores[:, 1], "who": WHO, "sex": sexes(rng),
    })  # fmt: skip
    with pytest.warns(EvidenceWarning, match="without a label"):
        return Predictions.from_table(
            frame, label={"effusion": "e", "hernia": "h"}, score={"effusion": "pe", "hernia": "ph"}, patient="who",
            attributes=["sex"], task="multilabel",
        )  # fmt: skip


def test_findings_stand_in_one_table_each_as_if_it_were_audited_alone(findings, tmp_path):
    with pytest.warns(EvidenceWarning, match="30 of 360 images are not labelled for 'effusion'"):
        found = wb.audit(findings, ["sex"], metrics=["AUROC", "sensitivity"])
    alone = wb.audit(findings, ["sex"], metrics=["AUROC", "sensitivity"], positive="hernia")
    columns = ["metric", "group", "value", "low", "high", "n"]
    mine = found.table[found.table["class"] == "hernia"][columns].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone.table[columns])
    assert of(found.table, "AUROC", finding="effusion")["n"] == 330
    assert (found.gaps["p_holm"] >= found.gaps["p"]).all()
    assert "AUROC of effusion" in " ".join(found.sentences())
    assert "hernia, by sex" in found._repr_html_()
    with pytest.raises(InputError, match="positive='effusion'"):
        found.at(0.4)
    again = Audit.load(found.save(tmp_path / "a"))
    pd.testing.assert_frame_equal(again.table, found.table)


def test_bands_of_findings_count_all_findings(findings):
    with pytest.warns(EvidenceWarning):
        found = wb.audit(findings, metrics=["AUROC"]).table
    alone = wb.audit(findings, metrics=["AUROC"], positive="hernia", level=0.975).table.iloc[0]
    assert of(found, "AUROC", finding="hernia")["band_low"] == pytest.approx(alone["low"])


def test_a_regression_and_measures_of_masks_have_their_metrics(rng):
    frame = pd.DataFrame({"y": rng.normal(60, 20, 360), "who": WHO, "sex": sexes(rng)})
    frame["p"] = frame["y"] + rng.normal(0, 5, 360)
    given = Predictions.from_table(frame, label="y", score="p", patient="who", attributes=["sex"], task="regression")
    found = wb.audit(given, ["sex"], replicates=100)
    assert of(found.table, "MAE")["value"] == pytest.approx(mean_absolute_error(frame["y"], frame["p"]))
    assert found.ratios.loc[found.ratios["metric"] == "bias", "value"].isna().all()
    assert "regression" in found._repr_html_()
    frame["dice"] = rng.beta(8, 2, 360)
    masks = Predictions.from_table(
        frame, score={"Dice": "dice"}, patient="who", attributes=["sex"], task="segmentation"
    )
    told = wb.audit(masks, ["sex"], replicates=100).table
    assert of(told, "mean Dice", "sex=M")["value"] == pytest.approx(frame.loc[frame["sex"] == "M", "dice"].mean())


def test_the_order_of_rows_changes_nothing(scores):
    frame = scores(patients=150, digits=2)
    asked = {
        "label": "truth",
        "score": "p",
        "patient": "who",
        "replicates": 200,
        "metrics": ["AUROC", "PPV", "MCC", "AUPRC"],
    }
    first = wb.audit(frame, ["sex", "view"], **asked)
    second = wb.audit(frame.sample(frac=1, random_state=1), ["sex", "view"], **asked)
    for name in ("table", "gaps", "ratios"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name), rtol=1e-10)


def test_swapping_the_classes_mirrors_the_audit(scores):
    frame = scores(patients=150)
    asked = {
        "label": "truth",
        "score": "p",
        "patient": "who",
        "metrics": ["AUROC", "sensitivity", "specificity", "PPV", "NPV"],
    }
    found = wb.audit(frame, ["sex"], **asked).table
    turned = wb.audit(frame.assign(truth=1 - frame["truth"], p=1 - frame["p"]), ["sex"], **asked).table
    for one, other in (("AUROC", "AUROC"), ("sensitivity", "specificity"), ("PPV", "NPV")):
        first, second = (table[table["metric"] == name] for table, name in ((found, one), (turned, other)))
        columns = ["value", "low", "high"]
        np.testing.assert_allclose(first[columns], second[columns], atol=1e-12)


def test_rising_transforms_leave_the_auroc_and_copies_leave_every_value(scores):
    frame = scores(patients=200)
    asked = {
        "label": "truth",
        "score": "p",
        "patient": "who",
        "metrics": ["AUROC", "F1", "Brier score"],
        "replicates": 100,
    }
    found = wb.audit(frame, ["sex"], **asked).table
    bent = wb.audit(frame.assign(p=frame["p"] ** 3), ["sex"], **asked).table
    copied = wb.audit(pd.concat([frame] * 3), ["sex"], **asked).table
    area = found["metric"] == "AUROC"
    np.testing.assert_array_equal(found.loc[area, ["value", "low", "high"]], bent.loc[area, ["value", "low", "high"]])
    np.testing.assert_allclose(found["value"], copied["value"], atol=1e-12)
    # Three copies of each image of a patient tell no more than one.
    np.testing.assert_allclose(found.loc[area, ["low", "high"]], copied.loc[area, ["low", "high"]], atol=1e-9)


def test_a_group_on_which_a_finding_is_labelled_nowhere_has_no_number_of_it():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.integers(0, 2, 300), "b": rng.integers(0, 2, 300), "who": range(300)})
    frame = frame.assign(p=rng.random(300), q=rng.random(300), site=np.tile(["A", "B", "C"], 100))
    frame.loc[frame["site"] == "B", "b"] = np.nan
    with pytest.warns(EvidenceWarning, match=r"Images without a label: B \(100\)"):
        made = wb.Predictions.from_table(
            frame, label={"A": "a", "B": "b"}, score={"A": "p", "B": "q"}, task="multilabel", patient="who"
        )
    with pytest.warns(EvidenceWarning, match="100 of 300 images are not labelled for 'B'"):
        found = wb.audit(made, ["site"], metrics=["accuracy", "sensitivity"], permutations=19, replicates=100)
    rows = found.table[(found.table["class"] == "B")].set_index(["metric", "group"])
    for metric in ("accuracy", "sensitivity"):
        row = rows.loc[(metric, "site=B")]
        assert (row["n"], row["patients"]) == (0, 0)
        assert np.isnan(row["value"])
        assert row["note"].startswith("not estimable: no ")
        assert rows.loc[(metric, "site=A"), "note"] == ""
    kept = frame[frame["site"] == "C"]
    right = ((kept["q"] >= 0.5) == (kept["b"] == 1)).mean()
    assert rows.loc[("accuracy", "site=C"), "value"] == pytest.approx(right)
    low, high = rows.loc[("accuracy", "site=A"), ["low", "high"]]
    kept = frame[frame["site"] == "A"]
    assert low < ((kept["q"] >= 0.5) == (kept["b"] == 1)).mean() < high


def test_the_share_of_a_rest_that_counts_little_beside_its_group_stays_within_0_and_1():
    frame = pd.DataFrame({"y": [1, 1, 0, 0], "p": [0.1, 0.9, 0.2, 0.3], "w": [10, 0.1, 1, 1], "g": list("uvuw")})
    asked = {"metrics": ["sensitivity"], "fewest": 1, "enough": 1, "replicates": 100}
    with pytest.warns(EvidenceWarning, match="No patient column"):
        found = wb.audit(frame, "g", label="y", score="p", weight="w", **asked)
    # Of what is left beside the ten of u, a tenth, all is found: 10.1 − 10 is less than 0.1 by a rounding.
    assert of(found.gaps, "sensitivity", "g=u")["value"] == pytest.approx(-1)
    assert found.gaps["p"].dropna().between(0, 1).all()

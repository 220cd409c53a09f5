"""Two AUROCs compared through the front door: pairing by id, patients, what is said and what is refused."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.audit.validation.areas import areas
from workbench.errors import EvidenceWarning, InputError

ASKED = {"label": "truth", "patient": "who", "id": "image"}


def table(seed=0, n=240, images=1):
    rng = np.random.default_rng(seed)
    who = np.arange(n) // images
    truth = (rng.random(n // images) < 0.4)[who].astype(int)
    noise = rng.normal(size=n // images)[who]
    columns = {
        name: 1 / (1 + np.exp(-(noise + 0.5 * rng.normal(size=n) + gain * (truth - 0.5))))
        for name, gain in (("new", 2.0), ("old", 1.4))
    }
    return pd.DataFrame({"image": [f"i{k:03d}" for k in range(n)], "truth": truth, "who": who, **columns})


@pytest.mark.parametrize("images", [1, 4])
def test_the_difference_is_that_of_the_covariance(images):
    scores = table(images=images)
    found = wb.audit.delong(scores, scores, score=["new", "old"], **ASKED)
    both = areas(scores[["new", "old"]].to_numpy().T, scores["truth"].to_numpy() == 1, scores["who"].to_numpy())
    row = found.table.iloc[2]
    error = np.sqrt(both.covariance[0, 0] + both.covariance[1, 1] - 2 * both.covariance[0, 1])
    assert row["value"] == pytest.approx(both.values[0] - both.values[1])
    assert (row["low"], row["high"]) == pytest.approx(
        (row["value"] - 1.959964 * error, row["value"] + 1.959964 * error)
    )
    assert row["z"] == pytest.approx(row["value"] / error)
    assert found.settings["clustered"] == (images > 1)
    assert ("Obuchowski" in row["method"]) == (images > 1)
    assert any("several images" in sentence for sentence in found.methods) == (images > 1)


def test_interval_and_p_agree():
    scores = table(1)
    scores["old"] = scores["new"] + 0.05 * np.random.default_rng(0).normal(size=240)
    scores["old"] = (scores["old"] - scores["old"].min()) / np.ptp(scores["old"])
    p = wb.audit.delong(scores, scores, score=["new", "old"], **ASKED).table["p"].iloc[2]
    row = wb.audit.delong(scores, scores, score=["new", "old"], level=1 - p, **ASKED).table.iloc[2]
    assert 0.001 < p < 0.5
    assert min(abs(row["low"]), abs(row["high"])) < 1e-9


def test_images_are_paired_by_id_whatever_the_order_of_rows():
    scores = table()
    first, second = (
        scores.drop(columns="old").rename(columns={"new": "p"}),
        scores.drop(columns="new").rename(columns={"old": "p"}),
    )
    straight = wb.audit.delong(first, second, score="p", **ASKED)
    turned = wb.audit.delong(first.sample(frac=1, random_state=1), second, score="p", **ASKED)
    pd.testing.assert_frame_equal(straight.table, turned.table)
    assert straight.settings["paired"]
    assert "same 240 images" in straight.sentences[0]


def test_models_on_other_images_are_compared_unpaired():
    scores = table(n=400)
    first, second = scores[:200].rename(columns={"new": "p"}), scores[200:].rename(columns={"old": "p"})
    found = wb.audit.delong(first, second, score="p", **ASKED)
    one, other = (areas(half["p"].to_numpy(), half["truth"].to_numpy() == 1) for half in (first, second))
    assert not found.settings["paired"]
    error = np.sqrt(one.covariance[0, 0] + other.covariance[0, 0])
    assert found.table["z"].iloc[2] == pytest.approx((one.values[0] - other.values[0]) / error)
    assert "different images" in found.sentences[0]


def test_without_patients_the_rows_of_two_tables_are_different_people():
    scores = table(n=400)
    first, second = scores[:200].rename(columns={"new": "p"}), scores[200:].rename(columns={"old": "p"})
    asked = {"label": "truth", "score": "p", "paired": False}
    with pytest.warns(EvidenceWarning, match="No patient column"):
        found = wb.audit.delong(first.drop(columns="image"), second.drop(columns="image"), **asked)
    assert found.table["patients"].iloc[2] == 400
    assert not found.settings["clustered"]


def test_patients_of_the_wrist_radiographs_vary_as_the_bootstrap_says(shared_data):
    path = shared_data / "audit_graz_wrist_fracture" / "image_level_scores_DERIVED.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    scores = pd.read_csv(path)
    who = np.unique(scores["patient_id"].astype(str), return_inverse=True)[1]
    truth, score = scores["fracture_label"].to_numpy() == 1, scores["fracture_score"].to_numpy()
    both = np.stack([score, score + 0.3 * np.random.default_rng(0).normal(size=len(score))])
    found = areas(both, truth, who)
    rng, rows, gaps = np.random.default_rng(1), pd.Series(np.arange(len(who))).groupby(who).apply(list), []
    for _ in range(600):
        drawn = np.concatenate([rows[one] for one in rng.integers(0, len(rows), len(rows))])
        again = areas(both[:, drawn], truth[drawn], np.arange(len(drawn)))
        gaps.append([*again.values, again.values[0] - again.values[1]])
    error = np.sqrt(np.diag(found.covariance))
    gap = np.sqrt(found.covariance[0, 0] + found.covariance[1, 1] - 2 * found.covariance[0, 1])
    assert np.std(gaps, axis=0) == pytest.approx([*error, gap], rel=0.1)
    rowwise = areas(both, truth, np.arange(len(who)))
    assert error[0] > 1.1 * np.sqrt(rowwise.covariance[0, 0])


def test_a_partial_overlap_has_to_be_decided():
    scores = table().rename(columns={"new": "p"})
    with pytest.raises(InputError, match="180 ids are in both: say paired=True"):
        wb.audit.delong(scores[:200], scores[20:220], score="p", **ASKED)
    with pytest.warns(EvidenceWarning, match="20 images of first and 20 of second are left out"):
        found = wb.audit.delong(scores[:200], scores[20:220], score="p", paired=True, **ASKED)
    assert found.table["n"].iloc[2] == 180


def test_an_image_with_two_labels_is_named():
    scores = table().rename(columns={"new": "p"})
    other = scores.copy()
    other.loc[7, "truth"] = 1 - other.loc[7, "truth"]
    with pytest.raises(InputError, match=r"image 'i007', column 'label': .*1 of 240 images differ"):
        wb.audit.delong(scores, other, score="p", **ASKED)


def test_perfect_separation_is_said_and_has_width():
    scores = table()
    scores["perfect"] = 0.1 + 0.8 * scores["truth"]
    row = wb.audit.delong(scores, scores, score=["perfect", "old"], **ASKED).table.iloc[2]
    assert "variance is 0" in row["note"]
    assert row["low"] < row["value"] < row["high"]
    same = wb.audit.delong(scores, scores, score=["old", "old"], **ASKED)
    assert "rank all images alike" in same.sentences[1]
    assert np.isnan(same.table["p"].iloc[2])


def test_too_few_positives_are_refused():
    scores = table()
    few = scores[(scores["truth"] == 0) | (scores.index < scores.index[scores["truth"] == 1][3])]
    with pytest.warns(EvidenceWarning, match="only 3 patients with positives"):
        found = wb.audit.delong(few, few, score=["new", "old"], **ASKED)
    assert found.table["value"].isna().all()
    assert "not told" in found.sentences[1]


@pytest.mark.filterwarnings("ignore:Images without a label:workbench.errors.EvidenceWarning")
def test_a_finding_of_several_is_compared_on_its_labelled_images():
    scores = table().assign(oedema=lambda one: 1 - one["truth"], other=0.5)
    scores["effusion"] = scores["truth"].astype(float)
    scores.loc[:9, "effusion"] = np.nan
    sides = [
        wb.Predictions.from_table(
            scores, task="multilabel", label={"effusion": "effusion", "oedema": "oedema"},
            score={"effusion": name, "oedema": "other"}, patient="who", id="image",
        )
        for name in ("new", "old")
    ]  # fmt: skip
    with pytest.warns(EvidenceWarning, match="10 images without a label for effusion are left out"):
        found = wb.audit.delong(*sides, positive="effusion")
    expected = wb.audit.delong(scores[10:], scores[10:], score=["new", "old"], **ASKED)
    numbers = ["value", "low", "high", "z", "p", "n"]
    np.testing.assert_allclose(found.table[numbers].to_numpy(float), expected.table[numbers].to_numpy(float))


def test_quantities_have_no_classes_and_are_refused():
    numbers = wb.Predictions.from_table(table(), task="regression", label="old", score="new", patient="who", id="image")
    with pytest.raises(InputError, match="first is a regression, which has no two classes"):
        wb.audit.delong(numbers, numbers, positive=numbers.classes[0])


def test_a_finding_is_saved_and_names_both_sides(tmp_path):
    scores = table()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = wb.audit.delong(scores, scores, score=["new", "old"], names=("AI", "nurse"), **ASKED)
    again = type(found).load(found.save(tmp_path / "f"))
    pd.testing.assert_frame_equal(again.table, found.table)
    assert set(again.provenance.parents) == {"AI", "nurse"}
    assert "AI − nurse" in found.to_markdown()


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"scale": "logt"}, "did you mean 'logit'"),
        ({"level": 1.2}, "level 1.2 lies outside"),
        ({"score": ["new", "old", "x"]}, "or two: one of first"),
        ({"names": ("a", "a")}, "must be two different names"),
        ({"positive": "2"}, "positive: class"),
    ],
)
def test_bad_settings_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        wb.audit.delong(table(), table(), **({"score": ["new", "old"]} | ASKED | asked))

"""The flow of participants: it adds up, or the box that does not is named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.errors import EvidenceWarning, InputError

RESULTS = {"positive": {"present": 80, "absent": 20}, "negative": {"present": 5, "absent": 195}}


def boxes(found):
    return {(row.box, row.arm): row.n for row in found.table.itertuples()}


def test_boxes_are_sums_of_their_parts():
    with pytest.warns(EvidenceWarning):
        found = wb.audit.stard(
            results=RESULTS | {"inconclusive": {"present": 1, "absent": 3, "inconclusive": 2}},
            excluded={"a": 7, "b": 5}, untested={"c": 4}, unverified={"negative": {"lost": 6}},
        )  # fmt: skip
    n = boxes(found)
    for arm in ("positive", "negative", "inconclusive"):
        assert n["index test", arm] == n["reference standard", arm] + n["no reference standard", arm]
        assert n["reference standard", arm] == n["final diagnosis", arm]
    assert n["index test", ""] == sum(n["index test", arm] for arm in ("positive", "negative", "inconclusive")) == 312
    assert n["eligible", ""] == n["index test", ""] + n["no index test", ""] == 316
    assert n["potentially eligible", ""] == n["eligible", ""] + n["excluded", ""] == 328


@pytest.mark.parametrize(
    ("totals", "message"),
    [
        (
            {"eligible": 310},
            "box 'eligible': 310 were told, but its parts add up to 304, which is 300 with the index test",
        ),
        ({"index test positive": 99}, "box 'index test positive': 99 were told"),
        ({"reference standard, index test negative": 201}, "add up to 200, which is 5 present"),
        ({"potentially eligble": 1}, "did you mean 'potentially eligible'"),
    ],
)
def test_a_total_that_does_not_add_up_names_its_box(totals, message):
    with pytest.raises(InputError, match=message):
        wb.audit.stard(results=RESULTS, untested={"broken": 4}, totals=totals)


def test_right_totals_pass():
    totals = {"potentially eligible": 304, "eligible": 304, "index test": 300, "index test positive": 100}
    wb.audit.stard(results=RESULTS, untested={"broken": 4}, totals=totals)


def scores(n=200, images=1):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, n)
    p = np.clip(0.5 + 0.25 * (truth - 0.5) + 0.2 * rng.normal(size=n), 0, 1)
    return pd.DataFrame({"truth": truth, "p": p, "who": np.arange(n) // images})


def test_predictions_give_the_cross_table():
    table = scores()
    found = wb.audit.stard(table, label="truth", score="p", patient="who", threshold=0.6, excluded={"no consent": 9})
    expected = pd.crosstab(table["p"] >= 0.6, table["truth"])
    cross = found.to_frame("cross").set_index("index test")
    assert cross.loc["positive", ["present", "absent"]].tolist() == [expected.loc[True, 1], expected.loc[True, 0]]
    assert cross.loc["negative", ["present", "absent"]].tolist() == [expected.loc[False, 1], expected.loc[False, 0]]
    assert boxes(found)["potentially eligible", ""] == 209
    sensitivity = expected.loc[True, 1] / expected[1].sum()
    assert any(f"= {sensitivity:.3f} (95% CI" in sentence for sentence in found.sentences)


def test_intervals_keep_the_images_of_a_patient_together():
    single, several = (
        wb.audit.stard(pd.concat([scores()] * times), label="truth", score="p", patient="who").sentences[-1]
        for times in (1, 4)
    )
    assert single.split("= ")[1] == several.split("= ")[1]


def test_a_band_of_scores_is_inconclusive_and_said():
    table = scores()
    with pytest.warns(EvidenceWarning, match="with an inconclusive index test"):
        found = wb.audit.stard(table, label="truth", score="p", patient="who", inconclusive=(0.45, 0.55))
    assert boxes(found)["index test", "inconclusive"] == ((table["p"] >= 0.45) & (table["p"] < 0.55)).sum()
    assert "0.45 up to 0.55" in found.methods[0]


@pytest.mark.parametrize(("images", "unit"), [(1, "patients"), (2, "images")])
def test_what_is_counted_is_named(images, unit):
    found = wb.audit.stard(scores(images=images), label="truth", score="p", patient="who")
    assert f"potentially eligible {unit}" in found.sentences[0]


def test_partial_verification_is_told():
    with pytest.warns(EvidenceWarning, match="partial verification"):
        wb.audit.stard(results=RESULTS, unverified={"negative": {"not biopsied": 50}})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "give either predictions or results"),
        ({"results": {"positve": {}}}, "did you mean 'positive'"),
        ({"results": {"positive": {"presnt": 1}}}, "did you mean 'present'"),
        ({"results": {"positive": 12}}, "give counts by diagnosis"),
        ({"results": {"positive": {"present": -1}}}, "-1 is not a count"),
        ({"results": RESULTS, "excluded": {"no consent": 1.5}}, "box 'excluded', 'no consent': 1.5 is not a count"),
    ],
)
def test_what_cannot_be_counted_is_refused(asked, message):
    with pytest.raises(InputError, match=message):
        wb.audit.stard(**asked)


def test_a_band_must_hold_the_threshold():
    with pytest.raises(InputError, match=r"must rise within 0–1 and hold the threshold 0\.5"):
        wb.audit.stard(scores(), label="truth", score="p", patient="who", inconclusive=(0.6, 0.7))


def test_a_finding_comes_back_whole(tmp_path):
    found = wb.audit.stard(results=RESULTS, excluded={"a": 1})
    again = type(found).load(found.save(tmp_path / "f"))
    pd.testing.assert_frame_equal(again.to_frame("reasons"), found.to_frame("reasons"))


def test_what_of_the_predictions_is_not_counted_is_said():
    table = pd.DataFrame({"y": [0, 1] * 30, "p": np.linspace(0.1, 0.9, 60), "who": range(60), "w": [1.0, 2.0] * 30})
    weighted = wb.Predictions.from_table(table, label="y", score="p", patient="who", weight="w")
    with pytest.warns(EvidenceWarning, match="weights of rows are not used"):
        found = wb.audit.stard(weighted)
    assert any("weights of rows" in sentence for sentence in found.warnings)

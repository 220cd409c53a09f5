"""Two models: paired replicates, who gains and loses, and gaps that close by levelling down."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import workbench as wb
from workbench.audit.fairness.levelling import levelling
from workbench.audit.metric import metric_of
from workbench.errors import EvidenceWarning, InputError

ASKED = {"replicates": 200}


def cases(patients=300, images=2, seed=0):
    """Truth and noise of images of patients, two sexes, ready to be scored."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), images)
    return pd.DataFrame(
        {
            "truth": (rng.random(patients) < 0.4).astype(int)[who], "who": who, "sex": rng.choice(["F", "M"], patients)[who],
            "noise": rng.normal(size=patients)[who] * 0.7 + rng.normal(size=len(who)) * 0.7, "image": [f"i{k}" for k in range(len(who))],
        }
    )  # fmt: skip


def scored(frame, women=1.5, men=1.5, *, jitter=0.0, seed=1):
    """Scores whose positives stand out by so much."""
    strength = np.where(frame["sex"] == "F", women, men)
    noise = frame["noise"] + jitter * np.random.default_rng(seed).normal(size=len(frame))
    p = 1 / (1 + np.exp(-(noise + strength * (frame["truth"] - 0.5))))
    return frame.drop(columns="noise").assign(p=p)


def predictions(frame):
    return wb.Predictions.from_table(frame, label="truth", score="p", patient="who", id="image")


def compare(first, second, by=("sex",), **asked):
    return wb.audit.compare(predictions(first), predictions(second), by, **ASKED | asked)


def row(found, metric, group):
    table = found.table
    return table[(table["metric"] == metric) & (table["group"] == group)].iloc[0]


def test_values_are_scikit_learns_and_the_difference_is_second_minus_first():
    frame = cases()
    first, second = scored(frame), scored(frame, 2.0, jitter=0.3)
    got = row(compare(first, second), "AUROC", "sex=F")
    areas = [roc_auc_score(*made.loc[made["sex"] == "F", ["truth", "p"]].to_numpy().T) for made in (first, second)]
    assert (got["first"], got["second"]) == pytest.approx(tuple(areas))
    assert got["value"] == pytest.approx(areas[1] - areas[0])
    assert got["low"] < got["value"] < got["high"]
    assert got["n"] == (frame["sex"] == "F").sum()


def test_pairing_makes_the_interval_narrower_and_unpairing_does_not_know_it():
    frame = cases()
    first, second = scored(frame), scored(frame, 1.6, 1.6, jitter=0.2)
    paired = row(compare(first, second), "AUROC", "all")
    other = second.assign(who=second["who"] + 10_000, image="other " + second["image"])
    apart = row(compare(first, other, paired=False), "AUROC", "all")
    assert apart["value"] == pytest.approx(paired["value"])
    assert (paired["high"] - paired["low"]) < 0.5 * (apart["high"] - apart["low"])
    # The same patients with other images are still drawn together.
    same = row(compare(first, second.assign(image="other " + second["image"]), paired=False), "AUROC", "all")
    assert (same["low"], same["high"]) == pytest.approx((paired["low"], paired["high"]), abs=1e-12)


@pytest.mark.slow
def test_the_paired_interval_holds_the_true_difference():
    """Truth from a very large sample; 95 % intervals hold it in about 95 of 100."""
    large = cases(10_000, seed=99)
    true = np.subtract(*(
        roc_auc_score(large["truth"], scored(large, strength, strength, jitter=j)["p"]) for strength, j in ((2, 0.5), (1.5, 0))
    ))  # fmt: skip
    inside = 0
    for trial in range(60):
        frame = cases(120, seed=trial)
        first, second = scored(frame), scored(frame, 2, 2, jitter=0.5, seed=trial + 1000)
        got = row(compare(first, second, (), metrics=["AUROC"], replicates=300, seed=trial), "AUROC", "all")
        inside += got["low"] <= true <= got["high"]
    assert inside / 60 >= 0.87


def test_who_gains_and_who_loses_is_said():
    frame = cases(600)
    found = compare(scored(frame), scored(frame, 2.8, 0.3), metrics=["AUROC", "Brier score"], replicates=1000)
    verdicts = found.table.set_index(["metric", "group"])["verdict"]
    assert verdicts["AUROC", "sex=F"] == "gains"
    assert verdicts["AUROC", "sex=M"] == "loses"
    assert verdicts["Brier score", "sex=F"] == "gains"
    assert verdicts["Brier score", "sex=M"] == "loses"
    assert "AUROC in sex=F +" in " ".join(found.sentences)


def test_a_gap_that_closes_because_the_better_group_got_worse_is_levelled_down():
    frame = cases(600)
    with pytest.warns(EvidenceWarning, match="levelling down"):
        down = compare(scored(frame, 3, 1), scored(frame, 1, 1), metrics=["AUROC"])
    gap = down.to_frame("gaps").iloc[0]
    assert (gap["better"], gap["worse"]) == ("sex=F", "sex=M")
    assert gap["levelled"] == 1
    assert gap["better_change"] < -0.1
    assert gap["worse_change"] == pytest.approx(0, abs=1e-12)
    up = compare(scored(frame, 3, 1), scored(frame, 3, 3), metrics=["AUROC"]).to_frame("gaps").iloc[0]
    assert up["levelled"] == 0
    assert up["verdict"].startswith("raised")
    same = compare(scored(frame, 3, 1), scored(frame, 3, 1, jitter=0.01), metrics=["AUROC"]).to_frame("gaps").iloc[0]
    assert same["verdict"].startswith("no change of the gap shown")


@pytest.mark.parametrize(
    ("first", "second", "levelled", "verdict"),
    [
        ([0.9, 0.7], [0.9, 0.85], 0.0, "raised"),
        ([0.9, 0.7], [0.75, 0.7], 1.0, "levelling down"),
        ([0.9, 0.7], [0.88, 0.78], 0.2, "raised, and in part"),  # 0.02 of 0.1 is the loss
        ([0.9, 0.7], [0.75, 0.65], 1.0, "levelling down"),  # both lose
        ([0.9, 0.7], [0.95, 0.6], np.nan, "the gap widened"),
        ([0.9, 0.7], [0.6, 0.95], np.nan, "the gap reversed"),  # wider than before, the other way round
    ],
)
def test_the_part_that_is_levelled_down_is_counted_by_hand(first, second, levelled, verdict):
    values = np.array([first, second])
    drawn = values[..., None] + np.random.default_rng(0).normal(0, 0.002, (2, 2, 500))
    got = levelling(["a", "b"], metric_of("AUROC"), values, drawn, 0.95)
    assert got["levelled"] == pytest.approx(levelled, nan_ok=True)
    assert got["verdict"].startswith(verdict)
    assert got["value"] == pytest.approx((second[0] - second[1]) - (first[0] - first[1]))
    mirrored = levelling(["a", "b"], metric_of("Brier score"), 1 - values, 1 - drawn, 0.95)
    assert mirrored["levelled"] == pytest.approx(levelled, nan_ok=True)


def test_images_of_one_model_only_are_left_out_and_counted():
    frame = cases()
    first, second = scored(frame), scored(frame, 2)
    with pytest.warns(EvidenceWarning, match="4 of the 600 images of the first model are left out.*'i0'"):
        found = compare(first, second.iloc[4:], replicates=100)
    assert row(found, "AUROC", "all")["n"] == 596


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"truth": lambda f: 1 - f["truth"]}, "column 'label': the first table says"),
        ({"who": lambda f: f["who"] + 1}, "Name the patient column"),
        ({"sex": lambda f: f["sex"].str.lower()}, "column 'sex'"),
        ({"image": lambda f: "x" + f["image"]}, "paired=False"),
    ],
)
def test_tables_that_speak_of_different_things_are_refused(change, said):
    frame = scored(cases(60))
    with pytest.raises(InputError, match=said):
        compare(frame, frame.assign(**change))


def test_each_model_may_have_its_own_threshold():
    frame = cases()
    first, second = scored(frame), scored(frame).assign(p=lambda f: f["p"] ** 2)
    found = compare(first, second, threshold=(0.5, 0.25), metrics=["sensitivity", "specificity"])
    assert (found.table["value"] == 0).all()
    assert (found.table["verdict"] == "the same").all()
    assert found.table["low"].isna().all()


def test_the_second_table_may_lack_the_attributes():
    frame = scored(cases())
    assert set(compare(frame, frame.drop(columns="sex")).table["group"]) == {"all", "sex=F", "sex=M"}


def test_row_order_changes_no_digit():
    frame = cases(80)
    first, second = scored(frame), scored(frame, 2)
    one, other = (compare(first, made, seed=4).table for made in (second, second.sample(frac=1, random_state=0)))
    pd.testing.assert_frame_equal(one, other, check_exact=True)

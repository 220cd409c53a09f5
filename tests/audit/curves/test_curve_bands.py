"""Bands around curves: exact where they can be, honest at the ends, and they hold the true curve."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from sklearn.metrics import precision_recall_curve, roc_curve

import workbench as wb
from workbench.audit.curves.bands import pr_bands, pr_curves, roc_bands
from workbench.audit.curves.gap_over_threshold import gap_over_threshold
from workbench.errors import EvidenceWarning, InputError


def cases(n: int = 400, *, images: int = 1, seed: int = 0, share: float = 0.4, rounded: int = 12) -> pd.DataFrame:
    """Binormal scores, `images` a patient that resemble each other, two sites, and one patient of a third."""
    rng = np.random.default_rng(seed)
    patient = np.arange(n) // images
    truth = (rng.random(n // images + 1) < share)[patient]
    site = rng.choice(["North", "South"], n // images + 1).astype(object)[patient]
    site[patient == 0] = "Rare"
    noise = rng.normal(size=n // images + 1)[patient] * np.sqrt(0.5 * (images > 1))
    noise += rng.normal(size=n) * np.sqrt(1 - 0.5 * (images > 1))
    score = norm.cdf(noise + truth * np.where(site == "South", 0.8, 1.6) - 0.7).round(rounded)
    return pd.DataFrame({"y": truth.astype(int), "p": score, "who": patient, "site": site})


def audited(table: pd.DataFrame, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        return wb.audit(table, by=["site"], label="y", score="p", patient="who", **{"replicates": 200, **settings})


@pytest.fixture(scope="module")
def audit():
    return audited(cases())


def test_the_roc_curve_in_the_middle_of_its_bands_is_scikit_learns(audit) -> None:
    bands = roc_bands(audit).iloc[1:]
    fpr, tpr, _ = roc_curve(audit.predictions.labels, audit.predictions.scores[:, 1], drop_intermediate=False)
    # No two scores are alike, so the curve is a staircase; at a vertical piece its upper end counts.
    assert bands["value"].to_numpy() == pytest.approx([tpr[fpr <= rate + 1e-9].max() for rate in bands["fpr"]])


@pytest.mark.parametrize("rounded", [12, 1])
def test_both_ends_of_the_roc_curve_are_exact_and_the_curve_lies_within_its_bands(rounded) -> None:
    bands = roc_bands(audited(cases(rounded=rounded)), "site")
    numbers = ["fpr", "value", "low", "high", "band_low", "band_high"]
    for _, part in bands.groupby("group"):
        assert (part.iloc[0][numbers] == 0).all()
        assert (part.iloc[-1][numbers] == 1).all()
        assert (part["band_low"] <= part["low"] + 1e-9).all()
        assert (part["low"] <= part["value"] + 1e-9).all()
        assert (part["value"] <= part["high"] + 1e-9).all()
        assert (part["high"] <= part["band_high"] + 1e-9).all()
        assert (part[["low", "high", "band_low", "band_high"]].diff().iloc[1:] >= 0).all(axis=None)
    assert set(bands["group"]) == {"site=North", "site=South"}  # one patient of the third carries no curve


def test_a_perfect_model_has_bands_of_some_width() -> None:
    table = cases(60)
    bands = roc_bands(audited(table.assign(p=np.where(table["y"] == 1, 0.9, 0.1))))
    inner = bands[bands["fpr"].between(0.2, 0.9)]
    assert (inner["value"] == 1).all()
    assert (inner["high"] == 1).all()
    positives = table["y"].sum()
    assert inner["low"].to_numpy() == pytest.approx(1 - 2.5 / positives, abs=1.5 / positives)  # Jeffreys, 0 of n missed
    assert (inner["band_low"] < inner["low"]).all()


def test_images_of_one_patient_widen_the_bands_as_fewer_patients_do() -> None:
    table = cases(300)
    alone = roc_bands(audited(table, replicates=400))
    repeated = roc_bands(audited(pd.concat([table] * 4), replicates=400))
    assert repeated["value"].to_numpy() == pytest.approx(alone["value"].to_numpy())
    widths = [(bands["band_high"] - bands["band_low"])[20:80].to_numpy() for bands in (alone, repeated)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_rows_may_come_in_any_order(audit) -> None:
    shuffled = audited(cases().sample(frac=1, random_state=1))
    for function in (roc_bands, pr_bands, gap_over_threshold):
        pd.testing.assert_frame_equal(function(audit, "site"), function(shuffled, "site"))


def test_long_curves_are_read_from_fewer_steps_without_a_visible_difference(monkeypatch) -> None:
    audit = audited(cases(3000))
    thinned = roc_bands(audit)
    monkeypatch.setattr("workbench.audit.curves.bands.STEPS", 10_000)
    whole = roc_bands(audit)
    assert (thinned["value"] == whole["value"]).all()
    for end in ("low", "high", "band_low", "band_high"):
        assert thinned[end].to_numpy() == pytest.approx(whole[end].to_numpy(), abs=0.005)


@pytest.mark.parametrize("rounded", [12, 1])
def test_precision_and_recall_at_each_score_are_scikit_learns(rounded) -> None:
    audit = audited(cases(150, rounded=rounded))
    points = pr_curves(audit).dropna(subset="threshold").set_index("threshold").sort_index()
    precision, recall, threshold = precision_recall_curve(
        audit.predictions.labels, audit.predictions.scores[:, 1], drop_intermediate=False
    )
    assert points.index.to_numpy() == pytest.approx(threshold)
    assert points["precision"].to_numpy() == pytest.approx(precision[:-1])
    assert points["recall"].to_numpy() == pytest.approx(recall[:-1])


def test_between_two_shared_scores_precision_bends_as_davis_and_goadrich_have_it() -> None:
    # 10 of 10 called at the upper score are right; at the lower one 10 more positives and 30 negatives follow.
    table = pd.DataFrame({"y": [1] * 20 + [0] * 30, "p": [0.9] * 10 + [0.2] * 40, "who": range(50), "site": "one"})
    audit = audited(table)
    half = pr_curves(audit).set_index("recall")["precision"]
    assert half[0.75] == pytest.approx(15 / (15 + 15))  # a straight line would say (1 + 0.4) / 2
    bands = pr_bands(audit).set_index("recall")["value"]
    assert bands[0.75] == pytest.approx(0.5)
    assert bands[0.25] == pytest.approx(1)
    assert bands[1.0] == pytest.approx(0.4)


def test_a_band_around_the_share_of_positives_is_jeffreys_interval_where_everybody_is_called(audit) -> None:
    last = pr_bands(audit, replicates=2000).iloc[-1]
    n, positives = len(audit.predictions), int((audit.predictions.labels == 1).sum())
    # At recall 1 not all negatives are called yet, so only the order of the width is known.
    width = 2 * 1.96 * np.sqrt(positives / n * (1 - positives / n) / n)
    assert last["high"] - last["low"] == pytest.approx(width, rel=0.5)
    assert last["low"] < last["value"] < last["high"]


def test_the_gap_over_thresholds_is_that_of_the_audit_at_each(audit) -> None:
    gaps = gap_over_threshold(audit, "site", "specificity")
    for row in gaps.iloc[::37].itertuples():
        rows = audit.gaps_at(min(max(row.threshold, 0), 1)).query("metric == 'specificity' and group == @row.group")
        assert row.value == pytest.approx(rows["value"].item())
    assert audit.settings["threshold"] in set(gaps["threshold"])


def test_a_gap_to_a_named_group_is_the_difference_of_the_two(audit) -> None:
    gaps = gap_over_threshold(audit, "site", reference="site=North")
    assert set(gaps["group"]) == {"site=South"}
    table = audit.predictions.table
    row = gaps.iloc[len(gaps) // 2]
    share = table[table["label"] == "1"].groupby("site")["score:1"].agg(lambda s: (s >= row["threshold"]).mean())
    assert row["value"] == pytest.approx(share["South"] - share["North"])


def test_a_gap_of_zero_at_the_ends_still_has_an_interval(audit) -> None:
    gaps = gap_over_threshold(audit, "site", "sensitivity")
    lowest = gaps.groupby("group").first()
    assert (lowest["value"] == 0).all()  # everybody is called positive
    assert (lowest["low"] < 0).all()
    assert (lowest["high"] > 0).all()


def test_a_gap_varies_like_two_independent_shares(audit) -> None:
    gaps = gap_over_threshold(audit, "site", replicates=2000)
    middle = gaps[(gaps["threshold"] == 0.5) & (gaps["group"] == "site=South")].iloc[0]
    rows = audit.table[(audit.table["metric"] == "sensitivity")].set_index("group").loc[["site=South", "site=North"]]
    variance = (rows["value"] * (1 - rows["value"]) / rows["positives"]).sum()
    assert middle["high"] - middle["low"] == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.1)


def test_what_cannot_be_drawn_is_refused_in_a_sentence(audit) -> None:
    with pytest.raises(InputError, match="did you mean 'site'"):
        roc_bands(audit, "sight")
    with pytest.raises(InputError, match="AUROC does not depend on the threshold"):
        gap_over_threshold(audit, "site", "AUROC")
    with pytest.raises(InputError, match="did you mean 'site=North'"):
        gap_over_threshold(audit, "site", reference="site=Nort")
    with pytest.raises(InputError, match="take 11 or more"):
        pr_bands(audit, points=3)
    with pytest.raises(InputError, match="take 100 or more"):
        pr_bands(audit, replicates=3)
    alone = wb.audit(cases(), label="y", score="p", patient="who", replicates=100)
    with pytest.raises(InputError, match="has no groups to compare"):
        gap_over_threshold(alone, "")


@pytest.mark.slow
@pytest.mark.parametrize(("n", "images", "share"), [(100, 1, 0.5), (340, 1, 0.12), (400, 4, 0.5)])
def test_the_simultaneous_band_holds_the_whole_true_curve(n, images, share) -> None:
    """Binormal, 120 cohorts: the 90 % band holds the whole true curve in 90 of 100, less two standard errors."""
    held, inside = [], []
    for seed in range(120):
        table = cases(n, images=images, seed=seed, share=share).assign(site="one")
        rng = np.random.default_rng([seed, 1])
        noise = rng.normal(size=n) if images == 1 else (
            np.sqrt(0.5) * (rng.normal(size=n)[table["who"]] + rng.normal(size=n))
        )  # fmt: skip
        audit = audited(
            table.assign(p=norm.cdf(noise + 1.5 * table["y"] - 0.7)), level=0.9, replicates=200, metrics=["AUROC"]
        )
        bands = roc_bands(audit)
        true = norm.cdf(1.5 + norm.ppf(bands["fpr"]))
        held.append(((bands["band_low"] <= true + 1e-9) & (true <= bands["band_high"] + 1e-9)).all())
        inside.append(((bands["low"] <= true + 1e-9) & (true <= bands["high"] + 1e-9)).mean())
    assert np.mean(held) >= 0.9 - 2 * np.sqrt(0.9 * 0.1 / 120)
    assert np.mean(inside) >= 0.88

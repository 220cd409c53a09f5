"""Slices are found where they were planted, tested where nobody searched, and not found where there are none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

import workbench as wb
from workbench.audit.discovery.lattice import Candidate, area_excess, distinct, search, share_excess
from workbench.errors import EvidenceWarning, InputError

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


def frame(patients=500, seed=0, *, weak=1.0):
    """Two views a patient; at site B, in MLO views, the score carries `weak` as much of the label as elsewhere."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), 2)
    site, sex = rng.choice(list("ABC"), patients)[who], rng.choice(["F", "M"], patients)[who]
    age = rng.integers(20, 90, patients).astype(float)[who]
    age[rng.random(len(who)) < 0.05] = np.nan
    view = np.tile(["CC", "MLO"], patients)
    truth = (rng.random(patients) < 0.5)[who].astype(int)
    strength = np.where((site == "B") & (view == "MLO"), weak, 1.0)
    score = 0.7 * rng.normal(size=patients)[who] + 0.7 * rng.normal(size=len(who)) + 2.5 * strength * (truth - 0.5)
    return pd.DataFrame(
        {"id": [f"i{k}" for k in range(len(who))], "truth": truth, "p": 1 / (1 + np.exp(-score)), "who": who, "site": site,
         "view": view, "sex": sex, "age": age}
    )  # fmt: skip


def predicted(table):
    return wb.Predictions.from_table(table, label="truth", score="p", patient="who", id="id")


@pytest.mark.parametrize("metric", ["sensitivity", "specificity", "error", "AUROC"])
def test_a_planted_slice_is_the_worst_and_is_named(metric):
    found = wb.audit.slices(predicted(frame(weak=0.0)), metric=metric)
    worst = found.table.iloc[0]
    assert worst["group"] == "site=B & view=MLO"
    assert worst["p_adjusted"] < 0.01
    assert (worst["gap_low"] > 0) if metric == "error" else (worst["gap_high"] < 0)
    assert worst["gap"] == pytest.approx(worst["value"] - worst["rest"])
    assert "site=B & view=MLO" in found.sentences[1]


def test_values_are_those_of_the_tested_half_as_recomputed_from_its_images():
    table = frame(weak=0.3).set_index("id")
    for metric in ("sensitivity", "AUROC"):
        found = wb.audit.slices(predicted(table.reset_index()), metric=metric)
        images = found.to_frame("images")
        for row in found.table.itertuples():
            for half, value in (("tested", row.value), ("searched", row.searched)):
                mine = table.loc[images.loc[(images["group"] == row.group) & (images["half"] == half), "id"]]
                if half == "tested":
                    assert (len(mine), mine["who"].nunique(), mine["truth"].sum()) == (
                        row.n,
                        row.patients,
                        row.positives,
                    )
                again = (
                    (mine["p"] >= 0.5).mean() if metric == "sensitivity" else roc_auc_score(mine["truth"], mine["p"])
                )
                assert value == pytest.approx(again, abs=1e-12)


def test_no_patient_is_in_both_halves():
    table = frame(weak=0.3)
    images = wb.audit.slices(predicted(table), metric="error").to_frame("images")
    halves = images.merge(table[["id", "who"]], on="id").groupby("who")["half"].nunique()
    assert halves.max() == 1


def test_bands_of_one_class_are_passed_over():
    table = frame()
    table["p"] = np.where(table["truth"] == 1, 0.6 + 0.4 * table["p"], 0.5 * table["p"])
    for metric in ("AUROC", "sensitivity"):
        found = wb.audit.slices(predicted(table), metric=metric)
        assert f"0 of them {metric} is worse" in found.sentences[0]
        assert found.table.empty


def test_slices_hidden_in_the_embeddings_are_found_and_described():
    table, rng = frame(seed=3).drop(columns=["site", "view"]), np.random.default_rng(1)
    strange = rng.random(len(table)) < 0.25
    table.loc[strange, "p"] = 1 - table.loc[strange, "p"]
    table["marker"] = np.where(strange & (rng.random(len(table)) < 0.8), "yes", "no")
    vectors = rng.normal(size=(len(table), 12)) + 4 * strange[:, None]
    found = wb.audit.slices(predicted(table), embeddings=vectors, attributes=["sex", "age"], metric="error")
    assert found.table.iloc[0]["by"] == "cluster"
    assert found.table.iloc[0]["value"] > 0.7
    named = wb.audit.slices(predicted(table), embeddings=vectors, attributes=["marker"], metric="error")
    assert any("most like: marker=yes" in name for name in named.table["group"]) or named.table.iloc[0][
        "group"
    ].startswith("marker=yes")


def test_the_order_of_rows_changes_nothing_and_the_seed_does():
    table, rng = frame(weak=0.3), np.random.default_rng(0)
    vectors = rng.normal(size=(len(table), 6))
    order = rng.permutation(len(table))
    first = wb.audit.slices(predicted(table), embeddings=vectors, metric="error")
    again = wb.audit.slices(predicted(table.iloc[order]), embeddings=vectors[order], metric="error")
    pd.testing.assert_frame_equal(first.table, again.table)
    other = wb.audit.slices(predicted(table), embeddings=vectors, metric="error", seed=1)
    assert not first.table["value"].equals(other.table["value"])


def test_a_frame_of_embeddings_is_matched_by_id():
    table = frame(weak=0.3)
    vectors = pd.DataFrame(np.random.default_rng(0).normal(size=(len(table), 6)), index=table["id"])
    first = wb.audit.slices(predicted(table), embeddings=vectors.to_numpy(), metric="error")
    again = wb.audit.slices(predicted(table), embeddings=vectors.sample(frac=1, random_state=0), metric="error")
    pd.testing.assert_frame_equal(first.table, again.table)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["sensitivity", "error"])
def test_with_nothing_to_find_something_is_found_at_most_one_time_in_twenty(metric):
    alarms = []
    for seed in range(60):
        table = wb.audit.slices(predicted(frame(240, seed)), metric=metric, seed=seed).table
        alarms.append(bool((table["p_adjusted"] <= 0.05).any()))
    # 0.05 and two standard errors of 60 trials; of 300 and 200 others, 3.3 % and 2.5 % raised one.
    assert np.mean(alarms) <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 60)


def test_the_search_looks_at_every_crossing_once_and_never_at_two_values_of_one_attribute():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, (3, 400))
    literals = np.concatenate([codes == 0, codes == 1])[[0, 3, 1, 4, 2, 5]]
    levels = search(literals, ["a", "a", "b", "b", "c", "c"], lambda masks: masks.sum(1).astype(float))
    assert [len(level) for level in levels] == [6, 12, 8]
    assert len({one.parts for one in levels[2]}) == 8
    for one in levels[2]:
        assert one.excess == np.logical_and.reduce(literals[list(one.parts)]).sum()


def test_the_excess_of_a_share_is_the_score_test_of_two_independent_shares():
    rng = np.random.default_rng(0)
    bad, mask = rng.random(300) < 0.3, rng.random(300) < 0.4
    excess = share_excess(bad, np.arange(300), 5)(mask[None])[0]
    p, n, m = bad.mean(), mask.sum(), (~mask).sum()
    residual = bad - p
    variance = (residual[mask] ** 2).sum() / n**2 + (residual[~mask] ** 2).sum() / m**2
    assert excess == pytest.approx((bad[mask].mean() - bad[~mask].mean()) / np.sqrt(variance))
    # Five times the same image is one image.
    five = share_excess(np.repeat(bad, 5), np.repeat(np.arange(300), 5), 5)(np.repeat(mask, 5)[None])[0]
    assert five == pytest.approx(excess)


def test_the_excess_of_an_area_has_its_sign_and_counts_ties_half():
    rng = np.random.default_rng(0)
    truth = rng.random(400) < 0.5
    scores = (truth + rng.normal(size=400)).round(1)
    mask = rng.random(400) < 0.5
    excess = area_excess(scores, truth, np.arange(400), 5)
    gap = roc_auc_score(truth[~mask], scores[~mask]) - roc_auc_score(truth[mask], scores[mask])
    assert np.sign(excess(mask[None])[0]) == np.sign(gap)
    assert excess(mask[None])[0] == pytest.approx(-excess(~mask[None])[0])


def test_slices_below_the_smallest_size_are_not_looked_at():
    mask = np.zeros((1, 100), dtype=bool)
    mask[0, :12] = True
    bad = np.zeros(100, dtype=bool)
    bad[:6] = True
    assert share_excess(bad, np.arange(100) // 2, 7)(mask)[0] == -np.inf  # 12 images of 6 patients
    assert np.isfinite(share_excess(bad, np.arange(100) // 2, 6)(mask)[0])


def test_of_slices_that_contain_each_other_the_worst_is_kept():
    masks = np.zeros((3, 10), dtype=bool)
    masks[0, :4], masks[1, :8], masks[2, 8:] = True, True, True
    kept = distinct([Candidate((0, 1), 3.0), Candidate((0,), 2.0), Candidate((2,), 1.0)], masks, most=5)
    assert [place for place, _ in kept] == [0, 2]


def test_names_that_are_no_groups_are_left_out_aloud():
    table = frame(weak=0.0)
    table["accession"] = [f"a{k}" for k in range(len(table))]
    with pytest.warns(EvidenceWarning, match="accession"):
        found = wb.audit.slices(predicted(table), metric="error")
    assert "accession" in found.warnings[0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"metric": "sensitivty"}, "did you mean 'sensitivity'"),
        ({"attributes": ["sx"]}, "did you mean 'sex'"),
        ({"attributes": []}, "nothing to search by"),
        ({"threshold": 2}, "outside 0–1"),
        ({"least": 400}, "lower least="),
        ({"embeddings": np.zeros((3, 2))}, "do not fit 1000 images"),
        ({"positive": "2"}, "positive: class '2' is unknown"),
    ],
)
def test_what_cannot_be_asked_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        wb.audit.slices(predicted(frame()), **given)


def test_broken_embeddings_are_named_by_image_and_column():
    table = frame()
    vectors = np.zeros((len(table), 3))
    vectors[7, 2] = np.nan
    with pytest.raises(InputError, match=r"'i7' is nan in column 2"):
        wb.audit.slices(predicted(table), embeddings=vectors)
    named = pd.DataFrame(np.zeros((len(table), 3)), index=table["id"]).drop("i5")
    with pytest.raises(InputError, match="'i5'"):
        wb.audit.slices(predicted(table), embeddings=named)


def test_too_few_patients_to_halve_are_refused():
    with pytest.raises(InputError, match="too few to search one half"):
        wb.audit.slices(predicted(frame(16)), metric="error")


def test_a_table_of_scores_is_told_how_to_become_predictions():
    with pytest.raises(InputError, match="from_table"):
        wb.audit.slices("scores.csv")

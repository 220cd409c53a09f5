"""What goes with the label is measured as others measure it, with patients kept together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association as scipy_association
from sklearn.metrics import mutual_info_score

import workbench as wb
from workbench.audit.discovery.association import cramers_v, mutual_information
from workbench.errors import EvidenceWarning, InputError

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


def training(patients=300, seed=0, *, pull=0.0, images=2):
    """A table of labels and attributes; at site B the label is commoner by `pull`."""
    rng = np.random.default_rng(seed)
    site = rng.choice(list("ABC"), patients)
    truth = (rng.random(patients) < 0.3 + pull * (site == "B")).astype(int)
    who = np.repeat(np.arange(patients), images)
    return pd.DataFrame(
        {"finding": truth[who], "who": who, "site": site[who], "sex": rng.choice(["F", "M"], patients)[who],
         "age": rng.integers(20, 90, patients)[who]}
    )  # fmt: skip


def asked(table, by=None, **given):
    return wb.audit.association(table, by, label="finding", patient="who", **given)


def test_a_planted_association_is_found_and_warned_of():
    with pytest.warns(EvidenceWarning, match="could use site in the label's place"):
        found = asked(training(pull=0.4))
    attributes = found.to_frame("attributes").set_index("by")
    assert attributes.loc["site", "p_adjusted"] < 0.01
    assert (attributes.loc[["sex", "age"], "p_adjusted"] > 0.05).all()
    row = found.table.set_index("group").loc["site=B"]
    assert row["gap_low"] > 0.2
    assert row["or_low"] > 2
    assert "By site" in found.sentences[1]
    assert len(found.warnings) == 1


def test_prevalence_and_odds_ratios_are_those_of_the_crossed_table():
    table = training(pull=0.4, images=1)
    found = asked(table, ["site", ("site", "sex")]).table.set_index("group")
    inside = table["site"] == "B"
    a, b = table.loc[inside, "finding"], table.loc[~inside, "finding"]
    row = found.loc["site=B"]
    assert (row["value"], row["rest"], row["n"], row["positives"]) == (a.mean(), b.mean(), len(a), a.sum())
    ratio = a.mean() / (1 - a.mean()) / (b.mean() / (1 - b.mean()))
    assert row["odds_ratio"] == pytest.approx(ratio)
    # Woolf's interval; CR2 takes n − 1 where Woolf takes n.
    cells = [a.sum(), len(a) - a.sum(), b.sum(), len(b) - b.sum()]
    half = 1.959964 * np.sqrt(sum(1 / cell for cell in cells))
    assert row["or_low"] == pytest.approx(ratio * np.exp(-half), rel=0.01)
    assert row["or_high"] == pytest.approx(ratio * np.exp(half), rel=0.01)
    assert "site=B & sex=F" in found.index


def test_images_of_a_patient_do_not_count_as_patients():
    once = asked(training(pull=0.15, images=1)).table.set_index("group").loc["site=B"]
    often = asked(training(pull=0.15, images=5)).table.set_index("group").loc["site=B"]
    assert often["p"] == pytest.approx(once["p"], rel=0.05)
    assert often["or_low"] == pytest.approx(once["or_low"], rel=0.01)


def test_association_is_measured_as_by_scipy_and_scikit_learn():
    counts = np.array([[12, 30, 4], [25, 9, 8]])
    assert cramers_v(counts) == pytest.approx(scipy_association(counts, method="cramer"))
    groups, labels = (axis.ravel() for axis in np.indices(counts.shape))
    groups, labels = np.repeat(groups, counts.ravel()), np.repeat(labels, counts.ravel())
    assert mutual_information(counts) == pytest.approx(mutual_info_score(groups, labels) / np.log(2))
    assert mutual_information(np.eye(2) * 10) == pytest.approx(1)


def test_with_one_image_a_patient_permutation_agrees_with_the_chi_squared_test():
    table = training(pull=0.2, images=1)
    row = asked(table, ["site"], permuted=4999).to_frame("attributes").iloc[0]
    expected = chi2_contingency(pd.crosstab(table["site"], table["finding"])).pvalue
    assert row["p"] == pytest.approx(expected, rel=0.4, abs=0.005)
    assert row["v_by_chance"] < row["cramers_v"]


@pytest.mark.slow
def test_where_nothing_goes_with_the_label_one_set_in_twenty_is_accused():
    groups, attributes = [], []
    for seed in range(100, 150):
        found = asked(training(60, seed, images=3), ["site", "sex"], permuted=199)
        groups.append((found.table["p_adjusted"] <= 0.05).any())
        attributes.append((found.to_frame("attributes")["p_adjusted"] <= 0.05).any())
    # Of 600 sets of this kind 25 and 24 were accused; fifty may differ from that by chance.
    allowed = 0.05 + 2 * np.sqrt(0.05 * 0.95 / 50)
    assert np.mean(groups) <= allowed
    assert np.mean(attributes) <= allowed


def test_missing_values_are_a_group_and_a_missing_cell_of_the_table_has_no_odds_ratio():
    table = training()
    table.loc[table.index[:60], "sex"] = None
    table["device"] = np.where(table["finding"] == 1, "x", "y")
    found = asked(table).table.set_index("group")
    assert found.loc["sex=missing", "n"] == 60
    assert np.isnan(found.loc["device=x", "odds_ratio"])
    assert found.loc["device=x", "p"] < 0.001


def test_predictions_and_cohorts_are_taken_as_they_are():
    table = training(pull=0.4)
    predictions = wb.Predictions.from_table(
        table.assign(p=0.5), label="finding", score="p", patient="who", attributes=["site"]
    )
    pd.testing.assert_frame_equal(wb.audit.association(predictions).table, asked(table, ["site"]).table)
    moved = predictions.subset(predictions.ids[::-1])
    pd.testing.assert_frame_equal(wb.audit.association(moved).table, asked(table, "site").table)


def test_a_file_is_read_and_its_cells_are_named(tmp_path):
    table = training().astype({"who": object})
    table.to_csv(tmp_path / "train.csv", index=False)
    found = wb.audit.association(tmp_path / "train.csv", label="finding", patient="who")
    assert set(found.to_frame("attributes")["by"]) == {"site", "sex", "age"}
    table.loc[3, "who"] = None
    table.to_csv(tmp_path / "train.csv", index=False)
    with pytest.raises(InputError, match=r"train.csv, row 5, column 'who': the patient is missing"):
        wb.audit.association(tmp_path / "train.csv", label="finding", patient="who")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"by": ["sx"]}, "sx"),
        ({"by": []}, "by is empty"),
        ({"positive": "2"}, "positive: class '2' is unknown"),
        ({"permuted": 3}, "999 exchanges are usual"),
    ],
)
def test_what_cannot_be_asked_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        asked(training(), **given)


def test_a_table_needs_its_label_named():
    with pytest.raises(InputError, match="label="):
        wb.audit.association(training())


def test_an_attribute_of_names_is_left_out_and_named():
    table = training(60).assign(note=[f"film {row}" for row in range(120)])
    with pytest.warns(EvidenceWarning, match=r"Not looked at.*: note\."):
        found = wb.audit.association(table, label="finding", patient="who", permuted=199)
    assert "note" not in set(found.to_frame("attributes")["by"])

"""The verb: what it refuses, what it warns of, what it says."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.audit import Finding


def test_a_reading_that_stands_there_twice_is_refused_with_both_rows(study, columns):
    table = pd.concat([study(), study().iloc[[30]].assign(score=9.0)], ignore_index=True)
    with pytest.raises(
        wb.InputError, match=r"rows 30 and 500: reader 'r0' read case 'c0030' with 'A' twice \(1 such rows\)"
    ):
        wb.audit.mrmc(table, **columns)


def test_a_case_with_two_labels_or_two_patients_is_refused(study, columns):
    table = study()
    other = table.copy()
    other.loc[57, "label"] = 0
    with pytest.raises(
        wb.InputError, match=r"rows 7 and 57: case 'c0007' changes its label \(column 'label'\) from '1' to '0'"
    ):
        wb.audit.mrmc(other, **columns)
    table["who"] = table["case"]
    table.loc[57, "who"] = "c0001"
    with pytest.raises(wb.InputError, match="case 'c0007' changes its patient"):
        wb.audit.mrmc(table, **columns, patient="who")


def test_a_score_that_is_no_number_is_named_with_its_row(study, columns, tmp_path):
    table = study().astype({"score": object})
    table.loc[4, "score"] = "high"
    with pytest.raises(
        wb.InputError, match=r"the table, row 4, column 'score': the score 'high' is not a finite number \(1 of 500"
    ):
        wb.audit.mrmc(table, **columns)
    table.to_csv(tmp_path / "study.csv", index=False)
    with pytest.raises(wb.InputError, match=r"study\.csv, row 6, column 'score'"):
        wb.audit.mrmc(tmp_path / "study.csv", **columns)
    table.loc[4, "score"] = np.inf
    with pytest.raises(wb.InputError, match="row 4, column 'score'"):
        wb.audit.mrmc(table, **columns)


@pytest.mark.parametrize("column", ["case", "modality"])
def test_a_name_that_is_missing_is_asked_for(study, columns, column):
    table = study()
    table.loc[9, column] = "  "
    with pytest.raises(wb.InputError, match=f"the table, row 9, column '{column}': the {column} is missing"):
        wb.audit.mrmc(table, **columns)


def test_a_reader_of_one_class_is_named(study, columns):
    table = study(readers=6)
    table = table[(table["reader"] != "r3") | (table["label"] == 0)]
    with pytest.raises(wb.InputError, match="reader 'r3' read 0 cases of class '1' with 'A'"):
        wb.audit.mrmc(table, **columns, method="U")


def test_other_than_two_classes_are_refused(study, columns):
    table = study()
    table.loc[table["case"] == "c0003", "label"] = 2
    with pytest.raises(wb.InputError, match=r"3 classes \(0, 1, 2\)"):
        wb.audit.mrmc(table, **columns)
    with pytest.raises(wb.InputError, match="1 classes"):
        wb.audit.mrmc(study().assign(label=1), **columns)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"method": "ORH"}, "did you mean 'OR'"),
        ({"covariance": "delong"}, "did you mean 'DeLong'"),
        ({"covariance": "DeLong", "method": "U"}, "covariance= belongs to method='OR'"),
        ({"readers": "fix"}, "did you mean 'fixed'"),
        ({"readers": "fixed", "cases": "fixed"}, "nothing varies"),
        ({"cases": "fixed", "method": "U"}, "take method='OR'"),
        ({"metric": "sensitvity"}, "did you mean 'sensitivity'"),
        ({"metric": "sensitivity"}, "needs threshold="),
        ({"threshold": 0.5}, "the AUROC does not need"),
        ({"level": 95}, "lies outside"),
        ({"positive": "2"}, "positive: class '2' is unknown"),
        ({"reader": "raeder"}, "did you mean 'reader'"),
    ],
)
def test_settings_out_of_range_say_what_is_in_it(study, columns, asked, said):
    with pytest.raises(wb.InputError, match=said):
        wb.audit.mrmc(study(), **(columns | asked))


def test_rows_without_a_score_are_counted_as_readings_that_did_not_take_place(study, columns):
    table = study()
    table.loc[[3, 4], "score"] = np.nan
    with pytest.warns(wb.EvidenceWarning, match="2 rows had no score"):
        found = wb.audit.mrmc(table, **columns, method="U")
    assert found.table.loc[2, "n"] == 498
    assert any("2 rows had no score" in text for text in found.warnings)


def test_few_readers_and_few_cases_are_warned_of_and_too_few_refused(study, columns):
    with pytest.warns(wb.EvidenceWarning, match=r"Only 3 readers read with 'A'.*Only 12 cases of class '1'"):
        found = wb.audit.mrmc(study(readers=3, positives=12), **columns)
    assert found.table["note"].str.contains("only 12 cases of class '1'").all()
    with pytest.warns(wb.EvidenceWarning, match="Only 4 cases"):
        found = wb.audit.mrmc(study(positives=4), **columns)
    assert found.table["note"].str.startswith("refused: only 4").all()
    assert found.table[["low", "high", "p"]].isna().all(axis=None)


def test_a_scale_that_falls_with_disease_is_noticed(study, columns):
    with pytest.warns(wb.EvidenceWarning, match="do the ratings fall with suspicion"):
        wb.audit.mrmc(study().assign(score=lambda t: -t["score"]), **columns)


def test_readers_who_agree_on_everything_have_a_difference_without_an_interval_of_zero_width(study, columns):
    table = study(readers=1)
    table = pd.concat([table.assign(reader=f"r{k}") for k in range(5)])
    found = wb.audit.mrmc(table, **columns)
    single = wb.audit.mrmc(study(readers=1), **columns, readers="fixed")
    # Five copies know no more of the cases than one does, and nothing is seen of readers.
    assert found.table["error"].to_numpy() == pytest.approx(single.table["error"].to_numpy())


def test_the_sentences_hold_the_numbers_of_the_table(study, columns):
    found = wb.audit.mrmc(study(gap=0.8, positives=40, negatives=40), **columns, reference="A")
    row = found.table.iloc[2]
    assert f"{row['value']:.3f} (95 % CI {row['low']:.3f} to {row['high']:.3f})" in found.sentences[1]
    assert found.sentences[1].startswith("The difference B − A was 0.")
    assert found.methods[0].startswith("5 readers rated 80 cases (40 1, 40 0) with B and A, 800 readings in all")
    assert "Obuchowski and Rockette with DeLong's covariances" in found.methods[1]


def test_each_readers_interval_is_delongs_on_the_logit_scale(study, columns):
    table = study()
    found = wb.audit.mrmc(table, **columns).tables["readers"].iloc[0]
    own = table[(table["reader"] == "r0") & (table["modality"] == "A")]
    wins = np.greater.outer(own["score"][own["label"] == 1].to_numpy(), own["score"][own["label"] == 0].to_numpy())
    area = wins.mean()
    error = np.sqrt(wins.mean(1).var(ddof=1) / 25 + wins.mean(0).var(ddof=1) / 25) / (area * (1 - area))
    ends = 1 / (1 + np.exp(-np.log(area / (1 - area)) - np.array([-1, 1]) * 1.959964 * error))
    assert found[["value", "low", "high"]].tolist() == pytest.approx([area, *ends], abs=1e-7)


def test_it_is_saved_and_read_again(study, columns, tmp_path):
    found = wb.audit.mrmc(study(), **columns, method="U")
    read = Finding.load(found.save(tmp_path / "study"))
    pd.testing.assert_frame_equal(read.table, found.table)
    assert set(read.tables) == {"readers", "reader_differences", "test", "components", "moments"}
    assert "A − B" in found._repr_html_()


@pytest.mark.parametrize(
    "first", ["import workbench.audit.mrmc", "import workbench.audit.mrmc.design", "import workbench"]
)
def test_the_verb_can_be_called_whichever_import_came_first(first):
    code = f"{first}\nimport sys, workbench as wb; sys.exit(not callable(wb.audit.mrmc))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

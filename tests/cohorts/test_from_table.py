"""A cohort from somebody's table: what is guessed, what is kept, what is refused and how."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from workbench.cohorts.cohort import Cohort
from workbench.errors import FileError, InputError


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        Image.fromarray(np.full((4, 5), 40 * number, np.uint8)).save(tmp_path / f"case{number}.png")
    return tmp_path


def cases(**columns):
    frame = {
        "file": [f"case{n}.png" for n in range(6)],
        "diagnosis": ["malignant", "benign"] * 3,
        "patient_id": ["007", "007", "008", "009", "010", "011"],
        "sex": ["F", "M", None, "F", "F", "M"],
    }
    return pd.DataFrame(frame | columns)


def write(folder, frame, name="cases.csv"):
    frame.to_csv(folder / name, index=False)
    return folder / name


def test_columns_are_guessed_and_the_guess_is_shown(folder):
    cohort = Cohort.from_table(write(folder, cases()))
    assert cohort.classes == ("benign", "malignant")
    assert cohort.attributes == ("sex",)
    assert list(cohort.patients[:3]) == ["007", "007", "008"]
    assert "label is column 'diagnosis'" in repr(cohort)
    assert "label is column &#39;diagnosis&#39;" in cohort._repr_html_()


def test_missing_attributes_stay_missing_and_are_counted(folder):
    cohort = Cohort.from_table(write(folder, cases()))
    assert int(cohort.table["sex"].isna().sum()) == 1
    assert "sex (17 % missing)" in repr(cohort)


@pytest.mark.parametrize("kind", ["csv", "tsv", "xlsx", "parquet", "frame"])
def test_every_kind_of_table_gives_the_same_cohort(folder, kind):
    frame, table = cases(), folder / f"cases.{kind}"
    if kind in {"csv", "tsv"}:
        frame.to_csv(table, index=False, sep="\t" if kind == "tsv" else ",")
    elif kind == "xlsx":
        frame.to_excel(table, index=False)
    elif kind == "parquet":
        frame.to_parquet(table)
    cohort = Cohort.from_table(frame if kind == "frame" else table, folder=folder)
    assert cohort.ids == [f"case{n}" for n in range(6)]
    assert list(cohort.patients) == list(frame["patient_id"])
    assert int(cohort.image("case3").max()) == 120


def test_a_missing_image_is_named_by_row_column_and_nearest_name(folder):
    table = write(folder, cases(file=["case0.png", "case1.png", "cace2.png", "case3.png", "case4.png", "gone.png"]))
    with pytest.raises(
        FileError, match=r"cases\.csv, row 4, column 'file': .*cace2\.png does not exist; 2 of 6.*case2"
    ):
        Cohort.from_table(table)


def test_images_in_a_subfolder_are_pointed_to(folder):
    table = write(folder, cases())
    (folder / "images").mkdir()
    for path in folder.glob("*.png"):
        path.rename(folder / "images" / path.name)
    with pytest.raises(FileError, match=r"6 of 6 images are missing.*say folder="):
        Cohort.from_table(table)


def test_a_misspelt_label_column_is_offered_its_nearest(folder):
    with pytest.raises(InputError, match=r"cases\.csv: label column 'diagnose' is unknown; did you mean 'diagnosis'"):
        Cohort.from_table(write(folder, cases()), label="diagnose")


def test_a_table_without_any_label_column_says_which_columns_there_are(folder):
    with pytest.raises(InputError, match=r"no column that is clearly the label; say which: label=.*sex"):
        Cohort.from_table(write(folder, cases().drop(columns="diagnosis")))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (["1", "malignant", "0", "0", "1", "1"], r"mixes numbers and words: '1' in row 2, 'malignant' in row 3"),
        (["a", None, "b", "b", "a", "a"], r"row 3: the label is missing\. Fill it in"),
        (["a"] * 6, r"every row says 'a'.*two classes"),
        (["0.5", "0.1", "1", "0", "1", "1"], r"row 2: label 0\.5 is a fraction"),
    ],
)
def test_labels_that_mean_nothing_are_refused_by_row(folder, labels, said):
    with pytest.raises(InputError, match=said):
        Cohort.from_table(write(folder, cases(diagnosis=labels)))


def test_numbers_as_labels_become_plain_text(folder):
    cohort = Cohort.from_table(write(folder, cases(diagnosis=[0.0, 1.0, 1.0, 0.0, 1.0, 0.0])))
    assert cohort.classes == ("0", "1")
    assert list(cohort.labels) == [0, 1, 1, 0, 1, 0]


def test_classes_overrules_the_order_and_refuses_strangers(folder):
    table = write(folder, cases())
    assert Cohort.from_table(table, classes=["malignant", "benign"]).classes == ("malignant", "benign")
    with pytest.raises(InputError, match=r"row 2, column 'diagnosis': label 'malignant' is none of classes"):
        Cohort.from_table(table, classes=["benign", "other"])


def test_an_image_on_two_rows_is_refused(folder):
    frame = cases(file=["case0.png"] * 2 + [f"case{n}.png" for n in range(2, 6)])
    with pytest.raises(InputError, match=r"row 3, column 'file': 'case0\.png' stands already in row 2"):
        Cohort.from_table(write(folder, frame))


def test_a_missing_patient_is_refused_by_row(folder):
    frame = cases(patient_id=["a", "b", None, "c", "d", "e"])
    with pytest.raises(InputError, match=r"row 4, column 'patient_id': the patient is missing"):
        Cohort.from_table(write(folder, frame))


def test_two_columns_of_one_name_or_an_empty_table_are_refused(folder):
    (folder / "empty.csv").write_text("file,label\n")
    with pytest.raises(InputError, match=r"empty\.csv is empty"):
        Cohort.from_table(folder / "empty.csv")
    frame = cases()
    frame.columns = ["file", "sex", "patient_id", "sex"]
    with pytest.raises(InputError, match="two columns named 'sex'"):
        Cohort.from_table(frame, folder=folder)


def test_a_ragged_or_misencoded_file_is_named(folder):
    (folder / "ragged.csv").write_text("file,label\ncase0.png,a\ncase1.png,b,c\n")
    with pytest.raises(FileError, match=r"ragged\.csv .*line 3"):
        Cohort.from_table(folder / "ragged.csv")
    (folder / "latin.csv").write_bytes("file,label\ncase0.png,für\n".encode("latin-1"))
    with pytest.raises(FileError, match=r"latin\.csv .*UTF-8"):
        Cohort.from_table(folder / "latin.csv")


def test_masks_may_be_missing_for_some_and_grey_edges_are_cut_at_half(folder):
    Image.fromarray(np.array([[0, 20, 100, 250]], np.uint8)).save(folder / "mask0.png")
    cohort = Cohort.from_table(write(folder, cases(region=["mask0.png"] + [None] * 5)), mask="region")
    assert cohort.mask("case0", "region").tolist() == [[False, False, False, True]]
    assert cohort.mask("case1", "region") is None


def test_text_from_the_table_is_escaped(folder):
    frame = cases(sex=["<script>alert(1)</script>"] * 6, diagnosis=["<b>x</b>", "y"] * 3)
    page = Cohort.from_table(write(folder, frame))._repr_html_()
    assert "<script>" not in page
    assert "<b>x" not in page


def test_provenance_follows_the_bytes_of_the_images(folder):
    table = write(folder, cases())
    before = Cohort.from_table(table).provenance.content
    assert Cohort.from_table(table).provenance.content == before
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "case5.png")
    assert Cohort.from_table(table).provenance.content != before


def test_what_is_saved_comes_back(folder, tmp_path):
    cohort = Cohort.from_table(write(folder, cases()))
    again = Cohort.load(cohort.save(tmp_path / "saved"))
    pd.testing.assert_frame_equal(again.table, cohort.table, check_dtype=False, check_index_type=False)
    assert again.content_digest() == cohort.content_digest()

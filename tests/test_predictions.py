"""What the front door for anybody's scores takes, and how it refuses the rest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.errors import FileError, InputError
from workbench.labels import class_order, label_text
from workbench.predictions import Predictions


def table(**changed) -> pd.DataFrame:
    columns = {
        "truth": [0, 1, 1, 0],
        "p": [0.1, 0.8, 0.6, 0.3],
        "who": ["007", "8", "8", "9"],
        "sex": ["F", "M", "F", None],
    }
    return pd.DataFrame(columns | changed)


def read(source, **changed) -> Predictions:
    return Predictions.from_table(source, **({"label": "truth", "score": "p", "patient": "who"} | changed))


@pytest.mark.parametrize("kind", ["csv", "xlsx", "parquet"])
def test_every_kind_of_file_gives_the_same_predictions(tmp_path, kind):
    path = tmp_path / f"scores.{kind}"
    {"csv": table().to_csv, "xlsx": table().to_excel, "parquet": table().to_parquet}[kind](path, index=False)
    found = read(path)
    assert found.classes == ("0", "1")
    assert found.patients.tolist() == ["007", "8", "8", "9"]
    assert found.positive.tolist() == [0.1, 0.8, 0.6, 0.3]
    assert np.allclose(found.scores.sum(axis=1), 1)
    assert found.attributes == ("sex",)
    assert found.table["sex"].isna().tolist() == [False, False, False, True]


def test_semicolons_and_decimal_commas_are_read(tmp_path):
    path = tmp_path / "scores.csv"
    table().to_csv(path, index=False, sep=";", decimal=",")
    assert read(path).positive.tolist() == [0.1, 0.8, 0.6, 0.3]


REFUSED = {
    "misspelt label": ({}, {"label": "trut"}, "did you mean 'truth'"),
    "missing score": ({"p": [0.1, None, 0.6, 0.3]}, {}, r"scores.csv, row 3, column 'p': the score is missing"),
    "word for a score": ({"p": [0.1, "high", 0.6, 0.3]}, {}, r"row 3, column 'p': the score 'high'"),
    "logit": ({"p": [0.1, 0.2, 3.5, 0.3]}, {}, r"row 4, column 'p': the score 3.5 lies outside 0–1.*exp\(-logit\)"),
    "mixed labels": (
        {"truth": [0, "malignant", 1, 0]},
        {},
        "mixes numbers and words: '0' in row 2, 'malignant' in row 3",
    ),
    "missing label": ({"truth": [0, None, 1, 0]}, {}, r"column 'truth', row 3: the label is missing"),
    "fractions": ({"truth": [0, 0.5, 1, 0]}, {}, "row 3: label 0.5 is a fraction"),
    "one class": ({"truth": [1, 1, 1, 1]}, {}, "every label is '1'.*AUROC cannot be"),
    "missing patient": ({"who": ["a", None, "b", "c"]}, {}, r"row 3, column 'who': the patient is missing"),
    "id twice": ({}, {"id": "who"}, r"row 4, column 'who': id '8' stands on two rows"),
    "unlisted class": ({}, {"classes": ["1", "2"]}, "label '0' is unknown"),
    "too few scores": ({"truth": ["a", "b", "c", "a"]}, {}, "has 3 classes"),
}


@pytest.mark.parametrize(("changed", "asked", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_tables_are_refused_by_file_row_column_and_mend(tmp_path, changed, asked, message):
    path = tmp_path / "scores.csv"
    table(**changed).to_csv(path, index=False)
    with pytest.raises(InputError, match=message):
        read(path, **asked)


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", b""), ("a.parquet", b"no"), ("a.xlsx", b"no"), ("a.pkl", b"\x80\x04")]
)
def test_a_damaged_or_foreign_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=name):
        read(tmp_path / name)


def test_a_table_without_rows_is_refused():
    with pytest.raises(InputError, match="is empty"):
        read(table().head(0))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [("score:1", np.nan, "finite"), ("score:1", 1.5, "outside 0–1"), ("score:1", 0.7, "sum to 1"),
     ("label", "2", "none of the classes"), ("patient", None, "patient is missing")],
)  # fmt: skip
def test_the_door_check_names_the_row(column, value, message):
    sound = read(table())
    broken = sound.table.copy()
    broken.loc["1", column] = value
    with pytest.raises(InputError, match=rf"row '1', column.*{message}"):
        Predictions(broken, sound.classes, sound.attributes, sound.provenance)


def test_several_classes_take_a_column_each():
    frame = pd.DataFrame({"y": ["a", "b", "c"], "pa": [0.5, 0.2, 0.1], "pb": [0.3, 0.6, 0.1], "pc": [0.2, 0.2, 0.8]})
    found = Predictions.from_table(frame, label="y", score={"a": "pa", "b": "pb", "c": "pc"})
    assert found.scores[1].tolist() == [0.2, 0.6, 0.2]
    assert found.labels.tolist() == [0, 1, 2]


def test_saved_predictions_come_back_the_same(tmp_path):
    found = read(table(sex=["F", 1, None, 2.5]))
    again = Predictions.load(found.save(tmp_path / "p"))
    pd.testing.assert_frame_equal(again.table, found.table)
    assert again.provenance == found.provenance


def test_a_subset_keeps_the_order_asked_for():
    assert read(table()).subset(["3", "0"]).positive.tolist() == [0.3, 0.1]


def test_text_from_the_table_is_escaped_in_html():
    html = read(table(truth=["no", "<script>", "<script>", "no"]))._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize(
    ("values", "order"),
    [(["malignant", "benign"], ("benign", "malignant")), (["1", "0"], ("0", "1")), (["10", "9"], ("9", "10")),
     (["pneumonia", "normal"], ("normal", "pneumonia")), (["abnormal", "normal"], ("normal", "abnormal")),
     (["edema", "No finding"], ("No finding", "edema"))],
)  # fmt: skip
def test_the_positive_class_stands_last(values, order):
    assert class_order(values) == order


def test_one_number_has_one_spelling_and_grades_may_carry_letters():
    assert label_text(pd.Series(["1.0", "0", "1"])).tolist() == ["1", "0", "1"]
    assert label_text(pd.Series(["3", "4a", "4b"])).tolist() == ["3", "4a", "4b"]

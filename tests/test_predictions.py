"""What the front door for anybody's scores takes, and how it refuses the rest."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from workbench.errors import EvidenceWarning, FileError, InputError
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


# Other tasks: several findings an image, a measured quantity, measures of a segmentation.

FINDINGS = {
    "eff": [0, 1, None, 1], "mass": [0, 0, 1, 0], "p_eff": [0.1, 0.9, 0.4, 0.8], "p_mass": [0.2, 0.1, 0.9, 0.3],
    "who": ["a", "a", "b", "c"], "sex": ["F", "F", "M", None],
}  # fmt: skip
ASKED = {
    "multilabel": {
        "label": {"effusion": "eff", "mass": "mass"}, "score": {"mass": "p_mass", "effusion": "p_eff"}, "patient": "who",
    },
    "regression": {"label": "bone age", "score": "read", "patient": "who"},
    "segmentation": {"score": ["Dice", "HD95"], "patient": "who"},
}  # fmt: skip
SHEETS = {
    "multilabel": FINDINGS,
    "regression": {
        "bone age": [120.0, 96, 150, 60],
        "read": [118.5, 101, 149, 66],
        "who": list("aabc"),
        "sex": list("FFMM"),
    },
    "segmentation": {"Dice": [0.9, 0.8, 0.0, 1.0], "HD95": [3.0, 5, None, 0], "who": list("aabc"), "sex": list("FFMM")},
}


def taken(task, **changed):
    return Predictions.from_table(pd.DataFrame(SHEETS[task] | changed), task=task, **ASKED[task])


def quiet(task, **changed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        return taken(task, **changed)


def test_findings_keep_their_own_labels_and_missing_ones_are_told():
    with pytest.warns(EvidenceWarning, match=r"without a label: effusion \(1\), of 4"):
        found = taken("multilabel")
    assert found.classes == ("effusion", "mass")
    assert found.scores.tolist() == [[0.1, 0.2], [0.9, 0.1], [0.4, 0.9], [0.8, 0.3]]
    assert np.array_equal(found.labels, [[0, 0], [1, 0], [np.nan, 1], [1, 0]], equal_nan=True)
    assert found.missing == {"effusion": 1}
    assert found.attributes == ("sex",)


def test_findings_may_be_true_and_false_and_named_by_their_columns():
    frame = pd.DataFrame(FINDINGS | {"eff": [False, True, None, True], "mass": [False, False, True, False]})
    with pytest.warns(EvidenceWarning):
        found = Predictions.from_table(frame, task="multilabel", label=["eff", "mass"], score=["p_eff", "p_mass"])
    assert found.classes == ("eff", "mass")
    assert np.array_equal(found.labels[:, 0], [0, 1, np.nan, 1], equal_nan=True)


def test_a_quantity_is_called_as_its_column():
    found = taken("regression")
    assert found.classes == ("bone age",)
    assert found.labels.tolist() == [120, 96, 150, 60]
    assert found.positive.tolist() == [118.5, 101, 149, 66]
    assert "bone age 106.5 ± 38.1" in repr(found)


def test_a_measure_that_cannot_be_told_is_counted():
    with pytest.warns(EvidenceWarning, match=r"HD95 \(1\), of 4.*looks too good"):
        found = taken("segmentation")
    assert found.labels.shape == (4, 0)
    assert found.missing == {"HD95": 1}


@pytest.mark.parametrize("task", ASKED)
def test_every_task_is_saved_shown_and_taken_apart(tmp_path, task):
    found = quiet(task)
    again = Predictions.load(found.save(tmp_path / "p"))
    pd.testing.assert_frame_equal(again.table, found.table)
    assert again.task == task
    assert again.provenance == found.provenance
    assert found.subset(["3", "0"]).task == task
    html = found._repr_html_()
    assert all(name in html for name in found.classes)
    assert ("Not estimable" in html or "without a label" in html) == bool(found.missing)


def test_a_folder_from_before_there_were_tasks_still_opens(tmp_path, monkeypatch):
    import workbench.predictions as module

    written = module.write_json
    monkeypatch.setattr(
        module, "write_json",
        lambda path, record: written(path, {key: value for key, value in record.items() if key != "task"}),
    )  # fmt: skip
    path = read(table()).save(tmp_path / "old")
    assert Predictions.load(path).task == "classification"


BAD = {
    "uncertain finding": ("multilabel", {"mass": [0, -1, 1, 0]}, {}, "row 1, column 'mass': label -1 is neither 0"),
    "word finding": ("multilabel", {"mass": ["no", "no", "yes", "no"]}, {}, "row 0, column 'mass': label 'no'"),
    "logit": ("multilabel", {"p_mass": [0.1, 2, 0.3, 0.4]}, {}, "row 1, column 'p_mass': the score 2 lies outside"),
    "unscored finding": ("multilabel", {}, {"score": {"mass": "p_mass"}}, "finding 'effusion' is unknown"),
    "missing number": ("regression", {"read": [1, None, 2, 3]}, {}, "row 1, column 'read': the score is missing"),
    "infinite number": ("regression", {"bone age": [1, np.inf, 2, 3]}, {}, "row 1, column 'bone age': the label inf"),
    "two quantities": ("regression", {}, {"score": ["read", "bone age"]}, "the name of one column"),
    "no label": ("regression", {}, {"label": None}, "needs label="),
    "infinite distance": (
        "segmentation",
        {"HD95": [1, 2, np.inf, 3]},
        {},
        "row 2, column 'HD95'.*leave the cell empty",
    ),
    "empty measure": ("segmentation", {"HD95": [np.nan] * 4}, {}, "column 'score:HD95': the measure has no value"),
    "label of a mask": ("segmentation", {}, {"label": "sex"}, "takes no label="),
    "unknown task": ("regression", {}, {"task": "regresion"}, "did you mean 'regression'"),
    "zero weight": (
        "regression",
        {"w": [1, 1, 0, 1]},
        {"weight": "w"},
        "row 2, column 'w': the weight 0 is not above 0",
    ),
    "missing weight": (
        "regression",
        {"w": [1, 1, None, 1]},
        {"weight": "w"},
        "row 2, column 'w': the weight is missing",
    ),
}


@pytest.mark.parametrize(("task", "changed", "asked", "message"), BAD.values(), ids=BAD)
def test_bad_tables_of_other_tasks_are_refused(task, changed, asked, message):
    with pytest.raises(InputError, match=message):
        Predictions.from_table(pd.DataFrame(SHEETS[task] | changed), **({"task": task} | ASKED[task] | asked))


def test_row_weights_are_kept_and_are_no_attribute():
    found = read(table(w=[1, 2, 0.5, 1]), weight="w")
    assert found.weights.tolist() == [1, 2, 0.5, 1]
    assert found.attributes == ("sex",)
    assert read(table()).weights.tolist() == [1, 1, 1, 1]
    broken = found.table.assign(sample_weight=[1, -2, 1, 1])
    with pytest.raises(InputError, match="row '1', column 'sample_weight'"):
        Predictions(broken, found.classes, found.attributes, found.provenance)


@pytest.mark.parametrize(("name", "mend"), [("label", "rename it"), ("patient", "patient='patient'")])
def test_an_attribute_cannot_hide_the_truth_or_the_patient(name, mend):
    frame = table().rename(columns={"sex": name})
    with pytest.raises(InputError, match=f"column '{name}': an attribute cannot.*{mend}"):
        Predictions.from_table(frame, label="truth", score="p", id=None)

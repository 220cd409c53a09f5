"""Bad input, as a user brings it: a CSV with one thing wrong, and a sentence that names the place and the mend."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.audit.decisions.sameness import marks, shared
from workbench.audit.finding import Finding
from workbench.audit.result import Audit
from workbench.errors import EvidenceWarning, FileError, InputError

# Sets of a hundred patients are thin on purpose; what must be said is asked for by name.
pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")

ASKED: dict[str, Any] = {"label": "truth", "score": "p", "patient": "who", "id": "image", "replicates": 100}
PAIR: dict[str, Any] = {"label": "truth", "score": ["p", "other"], "patient": "who", "id": "image"}
READINGS = {"reader": "reader", "modality": "modality", "case": "case", "score": "score", "label": "label"}


def table(patients=100, images=3, seed=0) -> pd.DataFrame:
    """Three images a patient; sex and site are the patient's."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), images)
    truth = (rng.random(patients) < 0.5).astype(int)[who]
    score = (1 / (1 + np.exp(-(rng.normal(size=len(who)) + truth - 0.5)))).round(4)
    return pd.DataFrame({
        "image": [f"i{k}" for k in range(len(who))], "truth": truth, "p": score, "who": [f"p{k}" for k in who],
        "sex": rng.choice(["F", "M"], patients)[who], "site": rng.choice(["A", "B"], patients)[who],
        "other": (0.9 * score + 0.05).round(4),
    })  # fmt: skip


def readings() -> pd.DataFrame:
    """Four readers, forty cases, film and digital."""
    rng = np.random.default_rng(0)
    rows = [(f"r{j}", m, f"c{k}", k % 2) for j in range(4) for m in ("film", "digital") for k in range(40)]
    frame = pd.DataFrame(rows, columns=["reader", "modality", "case", "label"])
    return frame.assign(score=np.clip(3 + frame["label"] + rng.normal(size=len(frame)), 1, 5).round())


@pytest.fixture
def file(tmp_path):
    """Write a table, with other values in some cells, and return its path."""

    def write(frame: pd.DataFrame, **cells):
        frame = frame.astype(dict.fromkeys(cells, object))
        for column, (rows, value) in cells.items():
            frame.loc[rows, column] = value
        path = tmp_path / "scores.csv"
        frame.to_csv(path, index=False)
        return path

    return write


def audit(path, by=("sex",), **asked):
    return wb.audit(path, by, **{**ASKED, **asked})


VERBS = {
    "audit": audit,
    "delong": lambda path: wb.audit.delong(path, path, **PAIR),
    "mcnemar": lambda path: wb.audit.mcnemar(path, path, **PAIR),
    "noninferiority": lambda path: wb.audit.noninferiority(path, path, margin=0.05, **PAIR),
    "decision_curve": lambda path: wb.audit.decision_curve(path, replicates=100, **PAIR | {"score": "p"}),
    "stard": lambda path: wb.audit.stard(path, **PAIR | {"score": "p"}),
}
ROW = r"scores\.csv, row 7, column "
CELLS = {
    "a logit": ({"p": ([5], 1.2)}, ROW + r"'p': the score 1.2 lies outside 0–1 \(1 of 300 rows do\).*probabilities first"),
    "a missing score": ({"p": ([5], np.nan)}, ROW + "'p': the score is missing; fill it in, or leave the row out"),
    "an infinite score": ({"p": ([5], "inf")}, ROW + "'p': the score inf is not a finite number"),
    "a word": ({"p": ([5], "high")}, ROW + "'p': the score 'high' is not a finite number"),
    "a decimal comma": ({"p": ([5], "0,35")}, ROW + r"'p': the score '0,35' is not a finite number; write it as 0\.35"),
    "per cent": ({"p": ([5], "35 %")}, ROW + r"'p': the score '35 %' is not a finite number; write it as 0\.35"),
    "a third label": ({"truth": ([5], 2)}, "column 'truth' has 3 classes: .*'2' stands first in row 7"),
    "a missing label": ({"truth": ([5], np.nan)}, r"scores\.csv, column 'truth', row 7: the label is missing"),
    "a fraction": ({"truth": ([5], 0.5)}, "column 'truth', row 7: label 0.5 is a fraction.*column of scores"),
    "numbers and words": ({"truth": ([5], "yes")}, "mixes numbers and words: '[01]' in row [2-6], 'yes' in row 7"),
    "one class": ({"truth": (slice(None), 1)}, "column 'truth': every label is '1'. With one class only"),
    "a missing patient": ({"who": ([5], np.nan)}, ROW + "'who': the patient is missing"),
}  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("cells", "message"), CELLS.values(), ids=CELLS)
def test_a_bad_cell_is_named_by_row_and_column_whichever_verb_reads_it(file, verb, cells, message):
    with pytest.raises(InputError, match=message):
        VERBS[verb](file(table(), **cells))


@pytest.mark.parametrize("verb", VERBS)
def test_an_id_on_two_rows_is_named(file, verb):
    with pytest.raises(InputError, match=ROW + "'image': id 'i4' stands on two rows"):
        VERBS[verb](file(table(), image=([5], "i4")))


@pytest.mark.parametrize("verb", VERBS)
def test_an_empty_table_a_missing_file_and_what_is_no_table_are_refused(file, tmp_path, verb):
    with pytest.raises(InputError, match=r"scores\.csv is empty: it has no row below its header"):
        VERBS[verb](file(table().iloc[:0]))
    with pytest.raises(FileError, match=r"nowhere\.csv does not exist"):
        VERBS[verb](tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="value of type list is no table"):
        VERBS[verb]([3])


@pytest.mark.parametrize("verb", VERBS)
def test_a_column_named_twice_is_refused_where_it_is_used(tmp_path, verb):
    frame = table()
    frame.columns = ["image", "truth", "p", "who", "sex", "truth", "other"]
    frame.to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(
        InputError, match=r"2 columns called 'truth' \(columns 2 and 6\), and which of them is the label"
    ):
        VERBS[verb](tmp_path / "scores.csv")


@pytest.mark.parametrize("by", [["sex"], ["site"]])
def test_a_column_named_twice_matters_only_where_it_is_used(by):
    frame = table().rename(columns={"other": "site"})
    if by == ["site"]:
        with pytest.raises(InputError, match="2 columns called 'site'"):
            audit(frame, by)
    else:
        assert len(audit(frame, by).groups) == 3


def test_one_class_spelt_in_two_ways_is_refused(file):
    frame = table()
    word = np.where(frame["truth"] == 0, "healthy", np.where(frame.index % 2 == 0, "Cancer", "cancer"))
    with pytest.raises(InputError, match=r"spells one class in two ways: 'Cancer' in row .*, 'cancer' in row"):
        audit(file(frame.assign(truth=word)))


def test_groups_that_differ_in_capitals_alone_are_said(file):
    frame = table()
    with pytest.warns(EvidenceWarning, match="'F' and 'f' of 'sex' are groups of their own; use one spelling"):
        audit(file(frame, sex=(frame.index[(frame["sex"] == "F") & (frame.index < 90)], "f")))


def test_blanks_around_words_make_no_classes_and_no_groups(file):
    frame = table()
    blanks = np.where(frame.index % 2 == 0, " ", "")
    spaced = frame.assign(sex=blanks + frame["sex"], truth=np.where(frame["truth"] == 1, "ill", "well") + blanks)
    assert audit(file(spaced)).groups == ["all", "sex=F", "sex=M"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"score": "probability"}, "score column 'probability' is unknown. Known: image, truth, p"),
        ({"label": "thruth"}, "did you mean 'truth'"),
        ({"by": ["Sex"]}, "attribute column 'Sex' is unknown; did you mean 'sex'"),
        ({"by": ["image"]}, "attribute 'image' has 300 different values, too many to be groups"),
        ({"by": ["sex", "sex"]}, "names 'sex' twice"),
        ({"by": [("sex", "site"), ("site", "sex")]}, "names 'site × sex' twice"),
        ({"by": [()]}, "no name of an attribute"),
        ({"by": [3]}, "3 is no name of an attribute"),
        ({"by": None}, "None is no name of an attribute"),
        ({"weight": "other2"}, "weight column 'other2' is unknown; did you mean 'other'"),
        ({"metrics": "AUROC"}, "must be a list of names"),
        ({"metrics": []}, "must be a list of names"),
        ({"metrics": ["AUROC", "AUROC"]}, "names 'AUROC' twice"),
        ({"metrics": ["auc"]}, "did you mean 'AUROC'"),
        ({"level": 95}, "level 95 lies outside 0.5–0.999"),
        ({"level": "0.95"}, "level '0.95' lies outside"),
        ({"replicates": 10}, "10 replicates cannot place the ends"),
        ({"replicates": 150.5}, "replicates=150.5 must be a whole number"),
        ({"seed": -1}, "seed=-1 must be a whole number of 0 or more"),
        ({"seed": None}, "seed=None must be a whole number"),
        ({"permutations": 5}, "5 permutations cannot give a p-value"),
        ({"enough": 3}, "fewest=5 is more than enough=3"),
        ({"fewest": 0}, "fewest=0 must be a whole number of 1 or more"),
        ({"threshold": 1.5}, "threshold=1.5 must be a number from 0 to 1"),
        ({"threshold": float("nan")}, "threshold=nan must be a number from 0 to 1"),
        ({"threshold": {}}, "names no group"),
        ({"threshold": {"sex=F": 0.4}}, "threshold has none for 'sex=M'"),
        ({"threshold": {"sex=Q": 0.4, "sex=F": 0.4}}, "threshold: group 'sex=Q' is unknown; did you mean"),
        ({"threshold": {"sex=F": 0.4, "sex=M": 4}}, "threshold=4 must be a number from 0 to 1"),
        ({"prevalence": 0}, "prevalence=0 must be a number between 0 and 1"),
        ({"prevalence": "1 %"}, "prevalence='1 %' must be a number"),
        ({"reference": "others"}, "reference 'others' is unknown. Known: rest, mean, largest"),
        ({"reference": {"sex": "Q"}}, "group of 'sex' 'Q' is unknown"),
        ({"reference": 3}, "reference 3 is unknown"),
        ({"interval": "bca"}, "did you mean 'BCa'"),
        ({"positive": "2"}, "positive: class '2' is unknown. Known: 0, 1"),
        ({"bins": 2.5}, "bins=2.5 must be a whole number"),
        ({"partial": 0.1}, "partial=0.1 must be two false positive rates"),
        ({"specificity": "high"}, "specificity='high' must be a number between 0 and 1"),
        ({"tresholds": 3}, "setting 'tresholds' is unknown"),
    ],
)
def test_a_wrong_question_is_refused_before_anything_is_measured(file, asked, message):
    with pytest.raises(InputError, match=message):
        audit(file(table()), **asked)


@pytest.mark.parametrize(
    ("weights", "message"),
    [(0, r"row 2, column 'w': the weight 0 is not above 0 \(300 of 300 rows\)"), (-1, "the weight -1 is not above 0"),
     ("", "the weight is missing"), ("heavy", "the weight 'heavy' is not a finite number"), ("inf", "the weight inf is not")],
)  # fmt: skip
def test_weights_that_are_none_are_refused(file, weights, message):
    with pytest.raises(InputError, match=message):
        audit(file(table().assign(w=weights)), weight="w")


def test_an_infinite_attribute_is_refused_and_a_missing_one_is_a_group(file):
    frame = table().assign(age=np.arange(300) % 70 + 0.5)
    with pytest.raises(InputError, match="row 'i5', column 'age': the attribute is infinite"):
        audit(file(frame, age=([5], "inf")), ["age"])
    found = audit(file(frame, age=(range(90), "")), ["age"])
    assert found.table.set_index(["group", "metric"]).loc[("age=missing", "AUROC"), "n"] == 90


def test_a_group_called_missing_is_the_group_of_missing_values(file):
    found = audit(file(table(), sex=(range(60), "missing"), site=(range(30), "")), ["sex"])
    assert found.groups == ["all", "sex=F", "sex=M", "sex=missing"]
    both = audit(file(table(), sex=([*range(30), *range(60, 90)], "")).with_name("scores.csv"), ["sex"])
    assert "sex: 60 missing" in " ".join(both.methods())


def test_a_constant_attribute_has_no_gap_and_changes_nothing(file):
    found = audit(file(table().assign(sex="F")))
    assert found.gaps.empty
    one, everybody = (found.table[found.table["group"] == group] for group in ("sex=F", "all"))
    assert one["value"].tolist() == everybody["value"].tolist()


def test_one_class_in_a_group_is_not_estimable_and_said(file):
    frame = table()
    with pytest.warns(EvidenceWarning, match=r"some numbers of sex=M are refused or not estimable"):
        found = audit(file(frame.assign(sex=np.where(frame["truth"] == 1, "F", frame["sex"]))))
    row = found.table.set_index(["group", "metric"]).loc[("sex=M", "AUROC")]
    assert np.isnan(row["value"])
    assert row["note"] == "not estimable: no positives"


def test_an_empty_crossing_is_said(file):
    frame = table()
    with pytest.warns(EvidenceWarning, match=r"No image is sex=F & site=B\."):
        audit(file(frame.assign(site=np.where(frame["sex"] == "F", "A", frame["site"]))), [("sex", "site")])


def test_a_patient_of_two_sexes_is_named(file):
    with pytest.warns(EvidenceWarning, match="Patient 'p1' has two values of 'sex': [FM], X; each image was counted"):
        audit(file(table(), sex=([5], "X")))


def test_no_row_is_dropped(file):
    frame = table()
    found = audit(file(frame, sex=(range(17), "")), ["sex", ("sex", "site")])
    for _, rows in found.table[found.table["metric"] == "Brier score"].groupby("by"):
        assert rows["n"].sum() == 300


class TestThresholdChosenOnTheTestSet:
    """It is said aloud, however the images came in."""

    def point(self, frame, **columns):
        tuning = wb.Predictions.from_table(frame, label="truth", score="p", patient="who", **columns)
        return wb.audit.operating_point(tuning, rule="youden", replicates=100)

    def test_from_the_same_file_with_other_attributes(self, file):
        path = file(table())
        with pytest.warns(EvidenceWarning, match="chosen on these very images"):
            found = audit(path, ["sex"], threshold=self.point(path))
        assert "chosen on these very images" in " ".join(found.methods())

    def test_on_a_part_of_the_images_in_another_order(self, file):
        part = table().sample(frac=0.5, random_state=0)
        with pytest.warns(EvidenceWarning, match="or on some of them"):
            audit(file(table()), threshold=self.point(part))

    def test_after_the_point_was_saved(self, file, tmp_path):
        path = file(table())
        point = Finding.load(self.point(path).save(tmp_path / "point"))
        with pytest.warns(EvidenceWarning, match="chosen on these very images"):
            audit(path, threshold=point)

    def test_and_not_where_it_was_chosen_on_others(self, file):
        found = audit(file(table()), threshold=self.point(table(seed=1)))
        assert "chosen on other predictions" in " ".join(found.methods())

    def test_in_the_side_questions(self):
        frame = table()
        made = wb.Predictions.from_table(frame, label="truth", score="p", patient="who", id="image")
        point = self.point(frame)
        for asked in (
            lambda: wb.audit.compare(made, made, threshold=point, replicates=100),
            lambda: wb.audit.criteria(made, "sex", threshold=point, replicates=100),
            lambda: wb.audit.operating_point(made, rule="youden", test=made, replicates=100),
        ):
            with pytest.warns(EvidenceWarning, match="these very images|images it is judged by"):
                asked()


@pytest.mark.parametrize("common", [0.0, 0.3, 1.0])
def test_marks_tell_how_many_images_two_sets_share(common):
    patients, scores = np.array([f"p{k}" for k in range(4000)]), np.random.default_rng(0).random(4000)
    start = round(2000 * (1 - common))
    told = shared(
        marks(patients[:2000], scores[:2000]), marks(patients[start : start + 2000], scores[start : start + 2000])
    )
    # Of a in both of two sets of n, a / (2n − a) of the images in either are.
    assert told == pytest.approx(common / (2 - common), abs=0.12)
    assert (told == 0) == (common == 0)


READING = {
    "a missing reader of many": ({"case": ([5], "")}, "row 7, column 'case': the case is missing"),
    "a word": ({"score": ([5], "high")}, "row 7, column 'score': the score 'high' is not a finite number"),
    "infinite": ({"score": ([5], "inf")}, r"row 7, column 'score': the score inf is not a finite number \(1 of 320"),
    "a third label": ({"label": ([5], 2)}, r"rows 7 and 47: case 'c5' changes its label \(column 'label'\) from '2' to '1'"),
    "a reading twice": ({"case": ([5], "c4")}, "rows 6 and 7: reader 'r0' read case 'c4' with 'film' twice"),
    "a missing reading": ({"score": ([5], "")}, "1 of 320 readings are missing, the first of reader 'r0' on case 'c5'"),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "message"), READING.values(), ids=READING)
def test_a_bad_reading_is_named_by_its_rows(file, cells, message):
    with pytest.raises(InputError, match=message):
        wb.audit.mrmc(file(readings(), **cells), **READINGS)


def test_reader_studies_without_readings_readers_or_classes_are_refused(file):
    for frame, message in (
        (readings().iloc[:0], "is empty"),
        (readings().query("reader == 'r0'"), "there is one reader"),
        (readings().query("label == 1"), "holds 1 classes"),
    ):
        with pytest.raises(InputError, match=message):
            wb.audit.mrmc(file(frame), **READINGS)
    with pytest.raises(InputError, match="level 'x' lies outside"):
        wb.audit.mrmc(file(readings()), level="x", **READINGS)


@pytest.mark.parametrize(
    ("cells", "asked", "message"),
    [({"truth": (slice(None), 1)}, {}, "all 300 images are of class '1': nothing can go with a label"),
     ({}, {"by": "sexx"}, "did you mean 'sex'"), ({}, {"by": [3]}, "3 is no name"), ({}, {"by": "image"}, "300 different values"),
     ({}, {"seed": -1}, "seed=-1"), ({"truth": ([5], "yes")}, {}, "'yes' in row 7"), ({"who": ([5], "")}, {}, "row 7, column 'who'")],
)  # fmt: skip
def test_a_training_table_is_checked_too(file, cells, asked, message):
    asked = {"by": "sex", "label": "truth", "patient": "who", "permuted": 199} | asked
    if "truth" in cells and cells["truth"][1] == 1:
        asked["positive"] = "1"
    with pytest.raises(InputError, match=message):
        wb.audit.association(file(table(), **cells), **asked)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (lambda path: wb.audit.noninferiority(path, path, margin="five", **PAIR), "margin 'five' lies outside 0–0.5"),
        (lambda path: wb.audit.noninferiority(path, path, margin=0.05, alpha=None, **PAIR), "alpha None lies outside"),
        (lambda path: wb.audit.delong(path, path, names=("a", "a"), **PAIR), "two different names"),
        (lambda path: wb.audit.delong(path, path, level=None, **PAIR), "level None lies outside"),
        (lambda path: wb.audit.mcnemar(path, path, threshold=(0.5,), **PAIR), "one threshold for both models, or two"),
        (lambda path: wb.audit.decision_curve(path, thresholds=["x"], **PAIR | {"score": "p"}), "threshold 'x' must lie between"),
        (lambda path: wb.audit.stard(path, excluded=3, **PAIR | {"score": "p"}), "box 'excluded' is 3"),
        (lambda path: wb.audit.stard(path, inconclusive=0.4, **PAIR | {"score": "p"}), "inconclusive=0.4 must rise"),
    ],
)  # fmt: skip
def test_settings_of_side_questions_are_refused_by_sentence(file, asked, message):
    with pytest.raises(InputError, match=message):
        asked(file(table()))


def resealed(folder):
    """Make the manifest fit whatever stands in the folder, as a stranger might."""
    manifest = json.loads((folder / "workbench.json").read_text())
    files = [path for path in folder.rglob("*") if path.is_file() and path != folder / "workbench.json"]
    manifest["files"] = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }
    (folder / "workbench.json").write_text(json.dumps(manifest))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    found = audit(table())
    found.save(folder / "Audit")
    found.predictions.save(folder / "Predictions")
    wb.audit.association(found.predictions, ["sex"], permuted=199).save(folder / "Finding")
    return folder


LOADS = {"Audit": Audit.load, "Finding": Finding.load, "Predictions": wb.Predictions.load}


@pytest.mark.parametrize("kind", LOADS)
def test_a_saved_value_that_was_damaged_is_refused_file_by_file(saved, tmp_path, kind):
    names = [path.relative_to(saved / kind) for path in (saved / kind).rglob("*") if path.is_file()]
    for name in names:
        for change in (lambda path: path.write_bytes(path.read_bytes()[:20]), lambda path: path.unlink()):
            for seal in (True, False):
                copy = tmp_path / "copy"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(saved / kind, copy)
                change(copy / name)
                if seal and name.name != "workbench.json":
                    resealed(copy)
                with pytest.raises(FileError) as refused:
                    LOADS[kind](copy)
                assert "copy" in str(refused.value) or "provenance record" in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "name"), [("Audit", "settings.json"), ("Finding", "finding.json"), ("Predictions", "predictions.json")]
)
@pytest.mark.parametrize("content", ["{}", "[]", "3"])
def test_a_strangers_record_without_its_entries_is_refused(saved, tmp_path, kind, name, content):
    shutil.copytree(saved / kind, tmp_path / "copy")
    (tmp_path / "copy" / name).write_text(content)
    resealed(tmp_path / "copy")
    with pytest.raises(FileError, match=rf"{re.escape(name)} holds no "):
        LOADS[kind](tmp_path / "copy")


def test_a_strangers_table_without_its_columns_is_refused(saved, tmp_path):
    shutil.copytree(saved / "Audit", tmp_path / "copy")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "copy" / "gaps.parquet")
    resealed(tmp_path / "copy")
    with pytest.raises(FileError, match=r"gaps\.parquet has no column 'metric'"):
        Audit.load(tmp_path / "copy")


def test_a_value_of_another_kind_is_named(saved):
    with pytest.raises(FileError, match="holds a saved Audit, not a Finding"):
        Finding.load(saved / "Audit")


HOSTILE = '<script>alert("1")</script>\'&'


def test_hostile_names_are_text_in_every_page_and_table():
    frame = table().rename(columns={"site": HOSTILE})
    frame["sex"] = frame["sex"].replace("F", HOSTILE)
    frame["truth"] = np.where(frame["truth"] == 1, HOSTILE, "no")
    made = wb.Predictions.from_table(frame, label="truth", score="p", patient="who", id="image")
    other = wb.Predictions.from_table(frame, label="truth", score="other", patient="who", id="image")
    found = wb.audit(made, ["sex", HOSTILE], replicates=100)
    cases = readings().replace({"film": HOSTILE})
    shown = [
        made, found, wb.audit.association(made, ["sex"], permuted=199), wb.audit.compare(made, other, ["sex"], replicates=100),
        wb.audit.criteria(made, ["sex"], replicates=100), wb.audit.delong(made, other, names=(HOSTILE, "b")),
        wb.audit.decision_curve({HOSTILE: made}, by="sex", thresholds=[0.5], replicates=100), wb.audit.detectable(made, "sex"),
        wb.audit.mrmc(cases, **READINGS), wb.audit.stard(made, excluded={HOSTILE: 1}), wb.audit.drift(made, other, permuted=199),
        wb.audit.operating_point(made, rule="youden", by="sex", replicates=100), wb.audit.slices(made, metric="error"),
    ]  # fmt: skip
    for value in shown:
        page = value._repr_html_()
        assert "<script" not in page
        assert not re.search(r"<[^>]*alert\(\"", page), "a quote must not end an attribute of a tag"
    assert sum("&lt;script&gt;" in value._repr_html_() for value in shown) >= len(shown) - 3
    for printed in (found.to_markdown(), found.to_markdown("gaps"), shown[2].to_markdown()):
        assert "<script" not in printed
        assert len({line.replace(r"\|", "").count("|") for line in printed.splitlines()}) == 1
    assert r"\textless{}script\textgreater{}" in found.to_latex()

"""One verb for every cohort, and the cards of known datasets."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from workbench.cohorts.cards import cards, cards_folder, read_card
from workbench.cohorts.cohort import Cohort
from workbench.cohorts.load import load
from workbench.errors import FileError, InputError


def test_every_card_is_whole():
    assert len(cards()) == len(list(cards_folder().glob("*.yaml"))) >= 5


def test_a_card_without_a_licence_is_named(tmp_path):
    (tmp_path / "x.yaml").write_text("name: x\ntitle: X\n")
    with pytest.raises(FileError, match=r"x\.yaml: the card lacks origin, licence"):
        read_card(tmp_path / "x.yaml")


def test_a_misspelt_name_is_offered_its_nearest():
    with pytest.raises(InputError, match="did you mean 'mini-mias'"):
        load("mini-mais")


def test_a_set_that_is_not_shipped_says_how_to_get_it():
    with pytest.raises(FileError, match=r"not shipped\. Fetch .*path="):
        load("mini-mias")


def test_an_npz_file_gives_its_parts(tmp_path):
    arrays = {}
    for part, count in (("train", 6), ("val", 2), ("test", 2)):
        arrays[f"{part}_images"] = np.zeros((count, 4, 4), np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 2)[:, None]
    np.savez(tmp_path / "set.npz", **arrays)
    assert [len(part) for part in load(tmp_path / "set.npz").split(column="split")] == [6, 2, 2]
    assert len(load(tmp_path / "set.npz", split="val")) == 2


def test_a_folder_of_classes_with_parts_keeps_them(tmp_path):
    for part in ("train", "valid", "test"):
        for kind in ("normal", "sick"):
            (tmp_path / part / kind).mkdir(parents=True)
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / part / kind / "a.png")
    cohort = load(tmp_path)
    assert cohort.classes == ("normal", "sick")
    assert [len(part) for part in cohort.split(column="split")] == [2, 2, 2]


def test_a_folder_of_one_class_is_refused(tmp_path):
    (tmp_path / "only").mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "only" / "a.png")
    with pytest.raises(InputError, match=r"needs two folders.*found: only"):
        load(tmp_path)


def test_colour_and_volumes_find_their_channels():
    for shape, expected in (((4, 5, 6), (1, 5, 6)), ((4, 5, 6, 3), (3, 5, 6)), ((4, 7, 5, 6), (1, 7, 5, 6))):
        cohort = Cohort.from_arrays(np.zeros(shape, np.uint8), [0, 1, 0, 1])
        assert cohort.image(cohort.ids[0]).shape == expected


def test_a_missing_count_of_labels_is_named():
    with pytest.raises(InputError, match="labels has 3 entries and there are 4 images"):
        Cohort.from_arrays(np.zeros((4, 2, 2)), [0, 1, 0])


def test_an_empty_choice_is_refused():
    cohort = Cohort.from_arrays(np.zeros((4, 2, 2)), [0, 1, 0, 1], attributes={"age": [1, 2, 3, 4]})
    with pytest.raises(InputError, match="the cohort is empty"):
        cohort.where("age > 9")


def test_mias_films_pair_by_patient_and_rows_count_from_the_top(shared_data):
    cohort = load("mini-mias", path=shared_data / "mammo_mias")
    assert len(cohort) == 24
    film = cohort.table.loc["mdb012"]
    assert (film["patient"], film["row"], film["column"]) == ("6", 1023 - 458, 471)


def test_nih_patients_in_two_parts_are_caught(shared_data):
    folder = shared_data / "cxr_nih1000_64px"
    cohort = Cohort.from_table(folder / "joined_metadata.csv", image="file", label="folder_label")
    with pytest.raises(InputError, match=r"30 patient.s. into more than one part"):
        cohort.split(column="split")
    parts = cohort.split(seed=7)
    assert sum(map(len, parts)) == 1000


def test_covid_films_keep_several_images_a_patient_together(shared_data):
    folder = shared_data / "cxr_covid_agesex"
    cohort = Cohort.from_table(folder / "subset.csv", label="noncovid", folder=folder / "images")
    assert (len(cohort), cohort.table["patient"].nunique(), cohort.attributes) == (136, 74, ("sex", "age", "view"))


def test_breastmnist_labels_get_their_names(shared_data):
    path = next((shared_data / "medmnist_npz").rglob("BreastMNIST.npz"))
    cohort = load("medmnist-breast", path=path)
    assert cohort.classes == ("benign", "malignant")
    assert [int(part.labels.sum()) for part in cohort.split(column="split")] == [147, 21, 42]


def test_dicom_png_and_nifti_stand_in_one_table(shared_data):
    import pandas as pd

    files = ["dicom_variety/deid-data/ctbrain1.dcm", "mammo_mias/mdb012.pgm",
             "brain_hippocampus_nifti/images/hippocampus_001.nii.gz"]  # fmt: skip
    table = pd.DataFrame({"image": files, "label": ["a", "b", "a"]})
    cohort = Cohort.from_table(table, folder=shared_data)
    assert [cohort.image(i).ndim for i in cohort.ids] == [3, 3, 4]

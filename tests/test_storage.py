"""Saved values: whole or not at all, checked byte for byte, never unpickled."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import FileError
from workbench.storage import is_pickle, read_array, read_json, reading, saved_kind, writing


def save(folder, text="one"):
    with writing(folder, "Thing") as scratch:
        (scratch / "a.txt").write_text(text)
    return folder


def test_what_was_written_is_read(tmp_path):
    assert (reading(save(tmp_path / "v"), "Thing") / "a.txt").read_text() == "one"
    assert saved_kind(tmp_path / "v") == "Thing"


def test_a_block_that_fails_leaves_the_old_value_and_no_scraps(tmp_path):
    save(tmp_path / "v")

    def fail():
        with writing(tmp_path / "v", "Thing") as scratch:
            (scratch / "a.txt").write_text("two")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (reading(tmp_path / "v", "Thing") / "a.txt").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_a_second_save_takes_the_place_of_the_first(tmp_path):
    save(tmp_path / "v")
    assert (reading(save(tmp_path / "v", "two"), "Thing") / "a.txt").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def test_a_folder_with_other_things_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileError, match="choose another folder"):
        save(tmp_path)
    assert (tmp_path / "thesis.tex").is_file()


def test_a_changed_or_lost_file_is_named(tmp_path):
    save(tmp_path / "v")
    (tmp_path / "v" / "a.txt").write_text("tampered")
    with pytest.raises(FileError, match=r"a\.txt has changed"):
        reading(tmp_path / "v", "Thing")
    (tmp_path / "v" / "a.txt").unlink()
    with pytest.raises(FileError, match=r"a\.txt is missing"):
        reading(tmp_path / "v", "Thing")


def test_another_kind_says_how_to_open_it(tmp_path):
    with pytest.raises(FileError, match=r"holds a saved Thing.*Thing\.load"):
        reading(save(tmp_path / "v"), "Model")


def test_a_pickle_is_refused_with_the_safe_way(tmp_path):
    (tmp_path / "model.pt").write_bytes(b"\x80\x04K\x01.")
    assert is_pickle(tmp_path / "model.pt")
    with pytest.raises(FileError, match="weights_only=True"):
        reading(tmp_path / "model.pt", "Model")


def test_an_array_of_objects_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(FileError, match="never unpickled"):
        read_array(tmp_path / "a.npy")


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(FileError, match=r"a\.json is not readable JSON"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "content", ["[1, 2]", '{"kind": "Thing", "format": "x"}', '{"kind": "Thing", "format": 1, "files": []}']
)
def test_a_manifest_of_another_shape_is_refused(tmp_path, content):
    (tmp_path / "workbench.json").write_text(content)
    with pytest.raises(FileError, match=r"workbench\.json"):
        reading(tmp_path, "Thing")


def test_a_manifest_cannot_point_outside_its_folder(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "secret").write_text("x")
    (tmp_path / "v" / "workbench.json").write_text('{"kind": "Thing", "format": 1, "files": {"../secret": "00"}}')
    with pytest.raises(FileError, match="outside"):
        reading(tmp_path / "v", "Thing")

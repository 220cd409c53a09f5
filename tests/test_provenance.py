"""The way back: equal inputs give equal records, and a change in any value shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.errors import FileError
from workbench.provenance import Provenance, digest, plain


def chain():
    cohort = Provenance("from_arrays", {"images": 3, "shape": (4, 4)}, "ab" * 32)
    return Provenance("split", {"part": "test"}, "cd" * 32, {"cohort": cohort}, seed=7)


def test_a_record_survives_json_and_equal_records_are_equal_text():
    assert Provenance.from_json(chain().to_json()).to_json() == chain().to_json()


def test_a_record_survives_the_disk(tmp_path):
    chain().save(tmp_path)
    assert Provenance.load(tmp_path) == Provenance.from_json(chain().to_json())


def test_the_lineage_reads_from_the_newest_back():
    assert chain().lineage().splitlines()[0].startswith("split(part='test', seed=7)")
    assert "cohort: from_arrays(images=3, shape=[4, 4])" in chain().lineage()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"verb": 1}', "null"])
def test_what_is_no_record_is_refused(text):
    with pytest.raises(FileError, match="provenance record"):
        Provenance.from_json(text)


def test_a_missing_record_is_named(tmp_path):
    with pytest.raises(FileError, match="no provenance was saved there"):
        Provenance.load(tmp_path)


def test_arrays_count_with_shape_type_and_every_value():
    base = np.arange(6, dtype=np.int16)
    others = [base.reshape(2, 3), base.astype(np.int32), base[::-1], base.reshape(3, 2)]
    assert len({digest(base), *map(digest, others)}) == 5
    assert digest(base.reshape(2, 3)) == digest(np.asfortranarray(base.reshape(2, 3)))


def test_the_order_and_borders_of_parts_count():
    assert digest("a", "b") != digest("b", "a")
    assert digest(b"ab", b"c") != digest(b"a", b"bc")
    assert digest(["a"], ["b"]) != digest(["a", "b"])


def test_tables_count_with_names_index_and_values():
    table = pd.DataFrame({"a": [1, 2]}, index=["x", "y"])
    others = [table.rename(columns={"a": "b"}), table.rename(index={"x": "z"}), table + 1, table.iloc[::-1]]
    assert len({digest(table), *map(digest, others)}) == 5


def test_settings_become_plain_json():
    assert plain({"a": (np.float64(0.5), Path("x/y")), 1: {3, 2}, "f": len}) == {
        "a": [0.5, "x/y"],
        "1": [2, 3],
        "f": "len",
    }


def test_the_picture_escapes_what_it_shows():
    assert "<script>" not in Provenance("<script>", {"x": "<script>"}, "00")._repr_html_()


def test_an_array_is_hashed_by_its_values_whatever_its_layout() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    assert digest(np.asfortranarray(array)) == digest(array) == digest(np.concatenate([array, array])[:2])
    assert digest(array[:, ::-1]) == digest(array[:, ::-1].copy()) != digest(array)
    assert digest(np.array(3.5)) != digest(np.array(4.5))
    assert digest(array[:0]) != digest(array[:1])
    assert digest(np.array(["2026-01-01"], dtype="M8[D]")) != digest(np.array(["2026-01-02"], dtype="M8[D]"))


def test_text_in_an_array_of_objects_is_hashed_by_its_letters() -> None:
    made = [np.array(["".join(["a", "b"]), None], dtype=object) for _ in range(2)]
    assert digest(made[0]) == digest(made[1]) != digest(np.array(["ac", None], dtype=object))


def test_content_given_as_a_function_is_made_once_and_when_asked_for() -> None:
    asked = []
    made = Provenance("explain", {}, lambda: asked.append(1) or "ab" * 32)
    again = Provenance("subset", {}, "cd" * 32, {"maps": made})
    assert asked == []
    assert made.short == "abababababab"
    assert again.to_dict()["parents"]["maps"]["content"] == "ab" * 32
    assert made == Provenance("explain", {}, "ab" * 32)
    assert asked == [1]
    with pytest.raises(TypeError, match="content"):
        Provenance("explain", {})


@pytest.mark.parametrize(
    "column",
    [[1, 2, 3], [1.0, np.nan, 3.0], [True, False, True], ["a", None, "c"], pd.Categorical(["x", "y", "x"]),
     pd.array([1, None, 3], dtype="Int64"), pd.to_datetime(["2026-01-01", None, "2026-01-03"])],
)  # fmt: skip
def test_a_table_is_hashed_by_every_value_of_every_kind_of_column(column) -> None:
    table = pd.DataFrame({"a": ["x", "y", "z"], "b": column}, index=["r1", "r2", "r3"])
    assert digest(table) == digest(table.copy())
    for other in (table.iloc[::-1], table.iloc[[0, 0, 2]].set_axis(table.index), table.rename(columns={"b": "c"}), table.set_axis(["r1", "r2", "r4"])):  # fmt: skip
        assert digest(other) != digest(table)
    twice = pd.concat([table, table["b"]], axis=1)
    assert digest(twice) != digest(table)

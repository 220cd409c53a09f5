"""The value: what it refuses, keeps, measures and shows."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from workbench.errors import InputError
from workbench.explain.attributions import Attributions
from workbench.imaging.preprocess import Preprocessing


def attributions(maps: np.ndarray, **changes: object) -> Attributions:
    ids = [f"i{row}" for row in range(len(maps))]
    table = pd.DataFrame({"patient": ids, "label": "yes", "sex": "F"}, index=pd.Index(ids, name="id"))
    parts = {
        "maps": maps, "ids": ids, "method": "gradcam", "settings": {"layer": "conv"}, "targets": np.ones(len(maps)),
        "classes": ("no", "yes"), "scores": np.zeros(len(maps)), "table": table, "attributes": ("sex",),
    }  # fmt: skip
    return Attributions(**{**parts, **changes})


@given(hnp.arrays(np.float32, (2, 3, 4), elements=st.floats(-1e6, 1e6, width=32)))
def test_values_are_kept_as_given_never_rescaled(maps: np.ndarray) -> None:
    assert np.array_equal(attributions(maps).maps, maps)


def test_maps_cannot_be_overwritten() -> None:
    with pytest.raises(ValueError, match="read-only"):
        attributions(np.ones((1, 4, 4))).maps[0] = 2


def test_maps_without_evidence_are_flagged() -> None:
    maps = np.stack([np.zeros((3, 3)), np.full((3, 3), 0.5), np.eye(3)])
    assert attributions(maps).flags == ("no evidence", "constant", "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ids": ["i0", "i0"]}, "unique"),
        ({"ids": ["i0"]}, "1 ids and 2 maps"),
        ({"scores": [0.0]}, "2 ids and 1 scores"),
        ({"scores": [0.0, np.nan]}, "image 'i1': its scores"),
        ({"targets": [0, 2]}, "outside 0–1"),
        ({"maps": np.full((2, 3, 3), np.nan)}, "image 'i0': its maps hold NaN"),
        ({"maps": np.ones((2, 3))}, "must be"),
        ({"errors": np.ones((2, 3, 4))}, "errors of shape"),
        ({"errors": -np.ones((2, 3, 3))}, "no value below 0"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        attributions(**{"maps": np.ones((2, 3, 3))} | change)


def test_a_map_is_carried_to_the_image_without_its_padding() -> None:
    maps = attributions(np.tile(np.arange(8.0), (1, 8, 1)), preprocessing=Preprocessing(shape=(8, 8)))
    carried = maps.on_image("i0", (16, 8))  # lies in columns 2 to 5 of the input
    assert carried.shape == (16, 8)
    assert (carried.min(), carried.max()) == (2, 5)


def test_a_map_without_a_way_back_is_refused_on_another_grid() -> None:
    with pytest.raises(InputError, match="cannot be carried"):
        attributions(np.ones((1, 4, 4))).on_image("i0", (8, 8))


def test_share_counts_what_lies_in_the_mask_and_leaves_out_what_means_nothing(make_cohort) -> None:
    maps = np.zeros((4, 4, 4))
    maps[:3, 0, 0], maps[:3, 3, 3] = -3, 1
    masks = np.zeros((4, 1, 4, 4), bool)
    masks[[0, 2, 3], 0, 0, :2] = True  # image 1 has an empty mask, image 3 an empty map
    cohort = make_cohort(4, shape=(1, 4, 4), masks={"lesion": masks})
    share = attributions(maps).share(cohort, "lesion")
    assert share[["i0", "i2"]].tolist() == [0.75, 0.75]
    assert share.isna().tolist() == [False, True, False, True]


def test_share_survives_a_mask_smaller_than_a_pixel_of_the_input(make_cohort) -> None:
    mask = np.zeros((1, 1, 64, 64), bool)
    mask[0, 0, 20, 20] = True
    cohort = make_cohort(1, shape=(1, 64, 64), masks={"lesion": mask})
    share = attributions(np.ones((1, 4, 4)), preprocessing=Preprocessing(shape=(4, 4))).share(cohort, "lesion")
    assert share["i0"] == pytest.approx(1 / 64**2)


def test_frame_has_one_row_an_image() -> None:
    frame = attributions(np.stack([np.eye(3), np.zeros((3, 3))])).to_frame()
    assert list(frame.columns) == ["method", "target", "score", "label", "patient", "sex", "min", "max", "flag"]
    assert frame.loc["i1", ["target", "max", "flag"]].tolist() == ["yes", 0, "no evidence"]


def test_saved_and_loaded_it_is_the_same(tmp_path) -> None:
    maps = np.random.default_rng(0).normal(size=(2, 3, 4))
    given = attributions(maps, errors=np.abs(maps), preprocessing=Preprocessing(shape=(3, 4)))
    given.save(tmp_path / "maps")
    back = Attributions.load(tmp_path / "maps")
    assert back.content_digest() == given.content_digest()
    assert back.provenance.to_json() == given.provenance.to_json()
    assert (back.preprocessing, back.settings) == (given.preprocessing, given.settings)
    pd.testing.assert_frame_equal(back.to_frame(), given.to_frame())


def test_subset_takes_the_order_asked_for_and_remembers_its_parent() -> None:
    maps = attributions(np.arange(27.0).reshape(3, 3, 3))
    part = maps.subset(["i2", "i0"])
    assert part.maps[:, 0, 0].tolist() == [18, 0]
    assert part.provenance.parents["attributions"] == maps.provenance
    with pytest.raises(InputError, match="did you mean 'i0'"):
        maps.subset(["i00"])


@pytest.mark.parametrize("shape", [(9, 8, 8), (9, 4, 8, 8)])
def test_picture_counts_flags_and_escapes_names(shape: tuple[int, ...]) -> None:
    maps = np.random.default_rng(0).normal(size=shape)
    maps[0] = 0
    html = attributions(maps, classes=("no", "<script>alert(1)</script>"))._repr_html_()
    assert "<script>" not in html
    assert "1 of 9 maps: no evidence" in html
    assert html.count("data:image/png") == 8


def test_picture_tells_the_score_a_caution_and_no_setting_without_end() -> None:
    settings = {"layer": "conv", "regions": [f"region {k}" for k in range(40)], "caution": "do not <b>read</b> it"}
    maps = attributions(np.ones((9, 4, 4)), settings=settings, explained="output", errors=np.ones((9, 4, 4)))
    html = maps._repr_html_()
    assert "its score (output).\nThe first 8 of 9. Standard errors" in html
    assert "layer conv" in html
    assert "region 39" not in html
    assert html.count("do not &lt;b&gt;read&lt;/b&gt; it") == 1


def test_repr_names_method_and_grid() -> None:
    assert repr(attributions(np.zeros((2, 3, 4)))) == "<Attributions: 2 maps of 3 × 4 by gradcam, 2 flagged>"


def test_it_opens_without_torch() -> None:
    code = "import sys, workbench as wb; wb.Attributions; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

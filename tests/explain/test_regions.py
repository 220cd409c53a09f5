"""Regions: masks on the input's grid, superpixels, grids and atlases, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workbench.cohorts.pixels import ArrayPixels
from workbench.errors import EvidenceWarning, InputError
from workbench.explain.regions import grid, read_regions, superpixels
from workbench.imaging.preprocess import Preprocessing


def boxes(shape: tuple[int, ...], *corners: tuple[slice, ...], images: int = 2) -> np.ndarray:
    mask = np.zeros((images, 1, *shape), dtype=np.uint8)
    for corner in corners:
        mask[(slice(None), 0, *corner)] = 1
    return mask


@pytest.fixture
def masked(make_model, make_cohort):
    """A model and a cohort of two images 32 × 32; the second has no lesion."""
    lesion = boxes((32, 32), (slice(4, 8), slice(4, 8)))
    lesion[1] = 0
    masks = {"lesion": lesion, "breast": boxes((32, 32), (slice(0, 32), slice(0, 16)))}
    return make_model(nn.Identity()), make_cohort(2, masks=masks)


def labels_of(regions, cohort, row: int = 0) -> np.ndarray:
    return regions.labels(cohort.ids[row], cohort.images()[row])


def test_the_earlier_mask_has_the_overlap_and_the_rest_is_elsewhere(masked) -> None:
    model, cohort = masked
    regions = read_regions(["lesion", "breast"], model, cohort)
    labels = labels_of(regions, cohort)
    assert regions.names == ("lesion", "breast", "elsewhere")
    assert [int((labels == place).sum()) for place in range(3)] == [16, 32 * 16 - 16, 32 * 16]
    assert (labels[4:8, 4:8] == 0).all()


def test_an_empty_or_missing_mask_leaves_its_region_without_pixels(masked, make_cohort) -> None:
    model, cohort = masked
    labels = labels_of(read_regions(["lesion", "breast"], model, cohort), cohort, row=1)
    assert set(np.unique(labels)) == {1, 2}
    known = ArrayPixels.of(boxes((32, 32), (slice(0, 4), slice(0, 4))), ["i0", "i1"])
    some = replace(make_cohort(3), masks={"lesion": known})
    assert set(np.unique(labels_of(read_regions("lesion", model, some), some, row=2))) == {1}


def test_a_mask_under_an_earlier_one_is_told_once(masked) -> None:
    model, cohort = masked
    regions = read_regions(["breast", "lesion"], model, cohort)
    with pytest.warns(EvidenceWarning, match="'lesion' lies wholly under breast.*smaller mask first"):
        labels = labels_of(regions, cohort)
    assert set(np.unique(labels)) == {0, 2}
    labels_of(regions, cohort)  # a second warning would be an error


@pytest.mark.parametrize("shape", [(64, 48), (10, 64, 48)])
def test_masks_go_where_the_preprocessing_puts_the_image(shape, make_model, make_cohort) -> None:
    inside = tuple(slice(extent // 2, extent) for extent in shape)
    cohort = make_cohort(2, shape=(1, *shape), masks={"half": boxes(shape, inside)})
    recipe = Preprocessing(shape=(32,) * len(shape))
    model = make_model(nn.Identity(), preprocessing=recipe)
    labels = read_regions(["half"], model, cohort).labels("i0", recipe(cohort.image("i0")))
    assert np.array_equal(labels == 0, recipe.to_input(cohort.mask("i0", "half")))
    assert 0 < (labels == 0).mean() < 0.3


@settings(max_examples=30, deadline=None)
@given(row=st.integers(0, 255), column=st.integers(0, 255))
def test_a_mask_of_one_pixel_survives_a_coarse_input(row: int, column: int, make_model, make_cohort) -> None:
    one = boxes((256, 256), (slice(row, row + 1), slice(column, column + 1)))
    cohort = make_cohort(2, shape=(1, 256, 256), masks={"lesion": one})
    recipe = Preprocessing(shape=(16, 16))
    labels = read_regions(["lesion"], make_model(nn.Identity(), preprocessing=recipe), cohort).labels(
        "i0", np.zeros((1, 16, 16))
    )
    assert np.argwhere(labels == 0).tolist() == [[row // 16, column // 16]]


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(3, 40), columns=st.integers(3, 40), parts=st.tuples(st.integers(1, 3), st.integers(1, 3)))
def test_a_grid_has_all_its_boxes_alike_to_a_pixel(rows: int, columns: int, parts: tuple[int, int]) -> None:
    labels = grid((rows, columns), parts)
    assert set(np.unique(labels)) == set(range(parts[0] * parts[1]))
    heights = [len(np.unique(np.argwhere(labels == one)[:, 0])) for one in np.unique(labels)]
    assert max(heights) - min(heights) <= 1


def test_grid_regions_are_named_by_plane_row_and_column(make_model, make_cohort) -> None:
    cohort = make_cohort(2, shape=(1, 4, 6, 6))
    regions = read_regions("grid", make_model(nn.Identity()), cohort, parts=(2, 1, 3))
    assert regions.names[0] == "plane 1 column 1"
    assert regions.names[5] == "plane 2 column 3"
    assert (labels_of(regions, cohort)[3, :, 5] == 5).all()


@pytest.mark.parametrize("shape", [(1, 40, 40), (3, 40, 40), (1, 12, 24, 24)])
@pytest.mark.parametrize("kind", ["noise", "flat", "blocks"])
@pytest.mark.parametrize("count", [8, 9, 12])
def test_superpixels_cover_the_image_and_never_exceed_the_count(shape, kind: str, count: int) -> None:
    image = {
        "noise": np.random.default_rng(0).normal(size=shape),
        "flat": np.full(shape, 7.0),
        "blocks": np.broadcast_to(grid(shape[1:], (2,) * (len(shape) - 1)), shape) * 100.0,
    }[kind]
    labels = superpixels(image, count)
    found = np.unique(labels)
    assert labels.shape == shape[1:]
    assert found.tolist() == list(range(len(found)))
    assert count / 2 <= len(found) <= count


def test_superpixels_follow_edges_whatever_the_unit() -> None:
    image = np.zeros((1, 96, 96))
    image[0, :, 55:] = 1
    labels = superpixels(image, 12)
    left = np.array([(labels[:, :55] == one).sum() for one in np.unique(labels)])
    right = np.array([(labels[:, 55:] == one).sum() for one in np.unique(labels)])
    assert np.minimum(left, right).sum() < 0.02 * labels.size
    assert np.array_equal(labels, superpixels(image * 4000 - 1000, 12))


def test_an_atlas_keeps_its_labels_and_names(make_model, make_cohort) -> None:
    cohort, atlas = make_cohort(2, shape=(1, 6, 6)), np.zeros((6, 6), dtype=np.uint8)
    atlas[:2], atlas[4:] = 40, 7
    regions = read_regions(atlas, make_model(nn.Identity()), cohort, names={7: "liver"})
    assert regions.names == ("elsewhere", "liver", "label 40")
    assert labels_of(regions, cohort)[:, 0].tolist() == [2, 2, 0, 0, 1, 1]


def test_an_atlas_for_each_image_shares_the_names_of_all(make_model, make_cohort) -> None:
    cohort = make_cohort(2, shape=(1, 4, 4))
    atlases = {"i0": np.tile([1, 2, 2, 1], (4, 1)), "i1": np.tile([2, 3, 3, 3], (4, 1)), "other": np.zeros(3)}
    regions = read_regions(atlases, make_model(nn.Identity()), cohort)
    assert regions.names == ("label 1", "label 2", "label 3")
    assert labels_of(regions, cohort, row=1)[0].tolist() == [1, 2, 2, 2]


@pytest.mark.parametrize(
    ("regions", "settings", "message"),
    [
        (["leson"], {}, "mask 'leson' is unknown; did you mean 'lesion'"),
        ("superpixel", {}, "mask 'superpixel' is unknown; did you mean 'superpixels'"),
        (["lesion", "lesion"], {}, "names a mask twice"),
        ([], {}, "there are 1 regions; give 2 to 64"),
        (5, {}, "regions int cannot be read"),
        ("grid", {"parts": (9, 9)}, "there are 81 regions; give 2 to 64"),
        ("grid", {"parts": (2, 2, 2)}, r"must be 2 whole numbers from 1 to the input's extents \(32, 32\)"),
        ("grid", {"parts": (0, 2)}, "must be 2 whole numbers"),
        ("superpixels", {"count": 1}, "count 1 must be a whole number of at least 4"),
        ("superpixels", {"count": 65}, "there are 65 regions"),
        (np.ones((32, 32)), {}, "the atlas holds float64; it must be"),
        (np.arange(32 * 32).reshape(32, 32), {}, "the atlas has 1024 labels"),
        (np.eye(32, dtype=int), {"names": {3: "liver"}}, "atlas label 3 is unknown"),
        (np.eye(32, dtype=int), {"names": {0: "liver", 1: "liver"}}, "two labels of the atlas one name"),
        ({"i0": np.eye(32, dtype=int)}, {}, r"no array for image 'i1' \(1 in all\)"),
    ],
)
def test_regions_that_cannot_be_are_refused_with_the_mend(regions, settings, message, masked) -> None:
    with pytest.raises(InputError, match=message):
        read_regions(regions, *masked, **settings)


def test_a_turned_mask_or_atlas_is_refused_by_the_images_name(make_model, make_cohort) -> None:
    model, cohort = make_model(nn.Identity()), make_cohort(2, shape=(1, 8, 12), masks={"lesion": boxes((12, 8))})
    with pytest.raises(InputError, match=r"image 'i0': its mask 'lesion' has the shape \(12, 8\).*It may be turned"):
        labels_of(read_regions(["lesion"], model, cohort), cohort)
    with pytest.raises(InputError, match=r"its atlas has the shape \(8, 8\), the model's input \(8, 12\)"):
        labels_of(read_regions(np.eye(8, dtype=int), model, cohort), cohort)


def test_a_preprocessing_that_cannot_be_followed_is_refused(make_model, make_cohort) -> None:
    cohort = make_cohort(2, masks={"lesion": boxes((32, 32), (slice(4), slice(4)))})
    model = make_model(nn.Identity(), preprocessing=lambda image: image[:, ::2, ::2])
    with pytest.raises(InputError, match=r"which Workbench cannot follow"):
        read_regions(["lesion"], model, cohort).labels("i0", np.zeros((1, 16, 16)))

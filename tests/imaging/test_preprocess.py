"""From a stored image to a network's input, and back for a map drawn on it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.imaging.preprocess import LUMA, Preprocessing

RAMP = np.arange(64, dtype=np.uint16).reshape(1, 8, 8)


def test_an_image_of_the_right_size_is_only_scaled():
    recipe = Preprocessing(shape=(8, 8), intensity="range", low=0, high=63)
    np.testing.assert_allclose(recipe(RAMP), RAMP / 63, atol=1e-6)


def test_a_tall_image_keeps_its_proportions_and_is_padded_evenly():
    prepared = Preprocessing(shape=(8, 8), intensity="range", low=0, high=1)(np.ones((1, 16, 8)))
    np.testing.assert_array_equal(prepared[0, :, 2:6], 1)


def test_padding_is_the_darkest_value_of_the_image():
    prepared = Preprocessing(shape=(8, 8), intensity="zscore")(RAMP[:, :, :4])
    assert (prepared[0, :, :2] == prepared.min()).all()


def test_zscore_gives_mean_zero_and_deviation_one():
    prepared = Preprocessing(shape=(8, 8), intensity="zscore")(RAMP)
    assert abs(prepared.mean()) < 1e-5
    assert abs(prepared.std() - 1) < 1e-5


def test_colour_turns_to_grey_by_luma_and_grey_is_repeated():
    colour = np.zeros((3, 4, 4))
    colour[1] = 1
    to_grey = Preprocessing(shape=(4, 4), intensity="range", low=0, high=1)
    np.testing.assert_allclose(to_grey(colour), LUMA[1], rtol=1e-6)
    assert Preprocessing(shape=(4, 4), channels=3)(RAMP[:, :4, :4]).shape == (3, 4, 4)


def test_two_channels_have_no_way_to_three():
    with pytest.raises(InputError, match="has 2 channels and the network takes 3"):
        Preprocessing(shape=(4, 4), channels=3)(np.zeros((2, 4, 4)))


def test_a_volume_is_refused_by_a_flat_recipe():
    with pytest.raises(InputError, match=r"shape \(1, 4, 4, 4\).*height, width"):
        Preprocessing(shape=(4, 4))(np.zeros((1, 4, 4, 4)))


def test_nan_is_refused_with_its_count():
    with pytest.raises(InputError, match="2 NaN or infinite"):
        Preprocessing(shape=(2, 2))(np.array([[[0, np.nan], [np.inf, 1]]]))


@pytest.mark.parametrize(
    "wrong",
    [{"shape": (4,)}, {"shape": (0, 4)}, {"shape": (4, 4), "low": 5, "high": 1}, {"shape": (4, 4), "intensity": "max"}],
)
def test_a_recipe_that_means_nothing_is_refused(wrong):
    with pytest.raises(InputError, match="must"):
        Preprocessing(**wrong)


def test_a_constant_image_becomes_zero_not_nan():
    for intensity in ("percentile", "zscore"):
        np.testing.assert_array_equal(Preprocessing(shape=(4, 4), intensity=intensity)(np.full((1, 4, 4), 7)), 0)


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(4, 70), columns=st.integers(4, 70), row=st.floats(0.2, 0.8), column=st.floats(0.2, 0.8))
def test_a_map_comes_back_to_the_place_it_was_drawn_for(rows, columns, row, column):
    recipe = Preprocessing(shape=(32, 32), intensity="range", low=0, high=1)
    image = np.zeros((1, rows, columns))
    top, left = int(row * rows), int(column * columns)
    image[0, max(0, top - rows // 8) : top + rows // 8 + 1, max(0, left - columns // 8) : left + columns // 8 + 1] = 1
    back = recipe.to_image(recipe(image)[0], (rows, columns))
    assert back.shape == (rows, columns)
    centre = [np.average(np.indices(back.shape)[axis], weights=back) for axis in (0, 1)]
    expected = [np.average(np.indices(back.shape)[axis], weights=image[0]) for axis in (0, 1)]
    np.testing.assert_allclose(centre, expected, atol=max(1.0, max(rows, columns) / 16))


def test_a_mask_is_carried_like_the_image():
    mask = np.zeros((16, 8), bool)
    mask[:8] = True
    carried = Preprocessing(shape=(8, 8)).to_input(mask)
    assert carried.sum() == 4 * 4
    assert carried[:4, 2:6].all()


def test_a_recipe_survives_json():
    recipe = Preprocessing(shape=(4, 5, 6), channels=3, intensity="range", low=-1000, high=400)
    assert Preprocessing.from_dict(recipe.to_dict()) == recipe

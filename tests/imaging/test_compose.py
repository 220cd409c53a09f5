"""The compositor: what the eye gets is exactly what the module says."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workbench.errors import InputError
from workbench.imaging import compose


def blend(grey: float, heat: float, opacity: float, limit: float, signed: bool) -> list[int]:
    """The module's formula, one pixel at a time, as a canvas in a browser would do it."""
    g = math.floor(255 * min(max(grey, 0), 1) + 0.5)
    v = min(max(heat / limit, -1 if signed else 0), 1)
    table = compose.colormap(compose.DIVERGING if signed else compose.SEQUENTIAL)
    colour = table[math.floor(127.5 + 127.5 * v + 0.5) if signed else math.floor(255 * v + 0.5)]
    a = opacity * abs(v)
    return [math.floor((1 - a) * g + a * float(c) + 0.5) for c in colour]


@given(
    grey=st.floats(0, 1), heat=st.floats(-2, 2), opacity=st.floats(0, 1), limit=st.floats(0.01, 3), signed=st.booleans()
)
def test_the_overlay_is_the_documented_blend(grey, heat, opacity, limit, signed):
    got = compose.overlay(np.full((1, 1), grey), np.full((1, 1), heat), opacity=opacity, limit=limit, signed=signed)
    assert got[0, 0].tolist() == blend(grey, heat, opacity, limit, signed)


@pytest.mark.parametrize("heat", [np.zeros((4, 5)), np.full((4, 5), np.nan)])
def test_a_map_without_evidence_leaves_the_image_as_it_is(heat):
    grey = np.linspace(0, 1, 20).reshape(4, 5)
    np.testing.assert_array_equal(compose.overlay(grey, heat, opacity=1.0), compose.to_rgb(grey))


def test_evidence_for_is_red_and_evidence_against_is_blue():
    red, _, blue = compose.overlay(np.full((1, 2), 0.5), np.array([[1.0, -1.0]]), opacity=1.0, limit=1.0)[0].T.astype(
        int
    )
    assert red[0] > blue[0] + 60
    assert blue[1] > red[1] + 60


def test_a_map_on_another_grid_is_refused_with_the_way_to_carry_it():
    with pytest.raises(InputError, match=r"\(2, 2\) and the image \(4, 4\).*on_image"):
        compose.overlay(np.zeros((4, 4)), np.zeros((2, 2)))


def test_an_opacity_outside_its_range_is_refused():
    with pytest.raises(InputError, match=r"opacity 1\.5 lies outside 0–1"):
        compose.overlay(np.zeros((2, 2)), np.zeros((2, 2)), opacity=1.5)


def test_a_misspelt_colour_map_is_offered_the_nearest():
    with pytest.raises(InputError, match="did you mean 'inferno'"):
        compose.colormap("infernno")


def test_a_colour_map_is_a_table_that_a_caller_may_change():
    compose.colormap("inferno")[:] = 0
    assert compose.colormap("inferno").any()
    assert compose.colormap("inferno").shape == (256, 3)


def test_the_limit_ignores_a_single_hot_pixel_but_not_a_sparse_map():
    heat = np.ones((100, 100))
    heat[0, 0] = 1000
    assert compose.heat_limit(heat) == 1
    sparse = np.zeros((100, 100))
    sparse[3, 3] = -7
    assert compose.heat_limit([sparse, np.zeros((2, 2))]) == 7
    assert compose.heat_limit([]) == 0


def test_a_bright_marker_does_not_set_the_window():
    image = np.random.default_rng(0).integers(100, 200, (1, 64, 64)).astype(np.uint16)
    image[0, 0, 0] = 60000
    shown = compose.to_display(image)
    assert shown.dtype == np.float32
    assert 0.45 < np.median(shown) < 0.55


@pytest.mark.parametrize("value", [0, 7])
def test_a_constant_image_is_shown_black_and_without_a_warning(value):
    np.testing.assert_array_equal(compose.to_display(np.full((1, 3, 3), value, dtype=np.int16)), 0)


def test_missing_pixels_are_shown_black():
    image = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    image[0, 2, 2] = np.nan
    assert compose.to_display(image)[2, 2] == 0
    assert compose.to_display(np.full((1, 2, 2), np.nan)).max() == 0


def test_the_middle_slice_of_a_volume_is_shown_unless_another_is_asked_for():
    volume = np.zeros((1, 5, 4, 4), dtype=np.float32)
    volume[0, 2, 1, 1] = volume[0, 4, 3, 3] = 1
    assert compose.to_display(volume)[1, 1] == 1
    assert compose.to_display(volume, at=4)[3, 3] == 1
    with pytest.raises(InputError, match="slices 0 to 4"):
        compose.to_display(volume, at=5)


def test_colour_photographs_keep_their_stored_colours():
    image = np.full((3, 2, 2), 100, dtype=np.uint8)
    image[0] = 200
    np.testing.assert_array_equal(compose.to_rgb(compose.to_display(image))[0, 0], [200, 100, 100])


def test_png_bytes_come_back_as_the_same_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(compose.png_bytes(pixels)))), pixels)
    with pytest.raises(InputError, match="uint8"):
        compose.png_bytes(pixels / 255)


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 200, 100), (48, 96)), ((3, 50, 150), (96, 32)), ((1, 9, 60, 60), (60, 60))]
)
def test_a_thumbnail_fits_the_size_and_is_never_enlarged(shape, size):
    uri = compose.thumbnail(np.random.default_rng(0).random(shape).astype(np.float32))
    picture = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
    assert picture.size == size

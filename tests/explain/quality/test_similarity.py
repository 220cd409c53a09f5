"""Similarity of maps: against scipy and scikit-image, what must not change it, and where it has no meaning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from workbench.errors import InputError
from workbench.explain.quality.similarity import flat, other_patients, rank_correlation, ssim

SHAPES = [(3, 20, 17), (3, 9, 12, 8)]
BOTH = pytest.mark.parametrize("similarity", [rank_correlation, ssim])
EITHER = pytest.mark.parametrize("absolute", [False, True])


def pairs(shape: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    first = generator.normal(size=shape)
    return first, first + generator.normal(size=shape)


@pytest.mark.parametrize("shape", SHAPES)
@EITHER
def test_rank_correlation_is_scipys_ties_included(shape: tuple[int, ...], absolute: bool) -> None:
    first, second = pairs(shape)
    first = first.round(1)  # many equal values
    change = np.abs if absolute else np.asarray
    expected = [spearmanr(change(a).ravel(), change(b).ravel()).statistic for a, b in zip(first, second, strict=True)]
    assert np.allclose(rank_correlation(first, second, absolute=absolute), expected, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
@EITHER
def test_ssim_is_that_of_scikit_image_on_maps_divided_by_their_largest_magnitude(
    shape: tuple[int, ...], absolute: bool
) -> None:
    first, second = pairs(shape)
    change = np.abs if absolute else np.asarray
    expected = [
        structural_similarity(
            change(a) / np.abs(a).max(), change(b) / np.abs(b).max(), data_range=1 if absolute else 2, win_size=7
        )
        for a, b in zip(first, second, strict=True)
    ]
    assert np.allclose(ssim(first, second, absolute=absolute), expected, atol=1e-12)


@BOTH
@settings(max_examples=40, deadline=None)
@given(
    heat=arrays(np.float64, (1, 8, 9), elements=st.floats(-1e3, 1e3, width=32, allow_subnormal=False)),
    scale=st.floats(1e-3, 1e3),
)
def test_a_map_is_like_itself_on_any_scale(similarity, heat: np.ndarray, scale: float) -> None:
    found = similarity(heat, scale * heat)
    assert np.isnan(found[0]) if flat(heat)[0] else found[0] == pytest.approx(1, abs=1e-6)


@BOTH
@EITHER
def test_each_pair_counts_alone_and_either_may_come_first(similarity, absolute: bool) -> None:
    first, second = pairs((4, 10, 11))
    together = similarity(first, second, absolute=absolute)
    alone = [similarity(a[None], b[None], absolute=absolute)[0] for a, b in zip(second, first, strict=True)]
    assert np.allclose(together, alone, atol=1e-12)


@BOTH
def test_a_map_of_opposite_sign_is_unlike_signed_and_alike_in_magnitude(similarity) -> None:
    heat, _ = pairs((2, 10, 11))
    assert (similarity(heat, -heat) < 0.5).all()
    assert np.allclose(similarity(heat, -heat, absolute=True), 1)


@BOTH
@pytest.mark.parametrize("value", [0.0, -3.0])
def test_a_flat_map_is_like_nothing_though_resampling_left_rounding_errors(similarity, value: float) -> None:
    heat, _ = pairs((2, 10, 11))
    constant = np.full_like(heat, value) * (1 + 1e-7 * heat)
    assert np.isnan(similarity(heat, constant)).all()
    assert np.isnan(similarity(constant, constant)).all()


def test_a_faint_map_is_not_flat() -> None:
    assert not flat(1e-20 * pairs((2, 10, 11))[0]).any()


def test_ssim_takes_smaller_windows_where_an_axis_is_short() -> None:
    first, second = pairs((2, 4, 16, 16))  # four planes: windows of 3 × 7 × 7
    assert (np.abs(ssim(first, second)) < 1).all()
    assert np.allclose(ssim(first[:, :1], first[:, :1]), 1)


@BOTH
def test_maps_on_different_grids_or_with_nan_are_refused(similarity) -> None:
    first, second = pairs((2, 10, 11))
    with pytest.raises(InputError, match="cannot be compared"):
        similarity(first, second[:, :5])
    with pytest.raises(InputError, match="NaN"):
        similarity(first, np.where(second > 2, np.nan, second))


def test_the_control_is_always_of_another_patient() -> None:
    patients = np.array(["a", "a", "b", "c", "c", "c"])
    rows = other_patients(patients, seed=4)
    assert (patients[rows] != patients).all()
    assert (other_patients(["a", "a"]) == -1).all()

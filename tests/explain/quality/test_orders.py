"""Removal orders: by value, ties and flat maps at random, edges, all of them the image's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from workbench.errors import InputError
from workbench.explain.quality.orders import blurred, edge_strength, random_ranks, ranks


@settings(max_examples=60, deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=3, max_side=5), elements=st.sampled_from([-1.0, 0.0, 0.5])))
def test_every_position_has_a_rank_of_its_own_and_a_larger_value_goes_first(values: np.ndarray) -> None:
    place = ranks(values[None], ["a"])[0].ravel()
    assert sorted(place) == list(range(values.size))
    assert (np.diff(values.ravel()[np.argsort(place)]) <= 0).all()


def test_signed_values_are_not_ranked_by_their_size() -> None:
    assert ranks(np.array([[[-5.0, 0.0], [1.0, -0.5]]]), ["a"]).tolist() == [[[3, 1], [0, 2]]]


def test_a_flat_map_is_removed_in_random_order() -> None:
    ids = [f"i{row}" for row in range(400)]
    place = ranks(np.zeros((400, 4, 4)), ids).reshape(400, 16)
    # The mean of 400 ranks of 0 to 15 has a standard error of 0.23.
    assert np.abs(place.mean(0) - 7.5).max() < 4 * 0.23
    assert np.abs(np.corrcoef(place.T) - np.eye(16)).max() < 0.35


def test_ties_are_in_another_order_than_the_random_control_and_than_another_seed() -> None:
    flat = np.zeros((1, 8, 8))
    first = ranks(flat, ["a"])
    others = [random_ranks(["a"], (8, 8)), ranks(flat, ["a"], seed=1), ranks(flat, ["b"])]
    assert all((first != other).mean() > 0.8 for other in others)


def test_an_image_has_the_same_order_whatever_its_company() -> None:
    maps = np.round(np.random.default_rng(0).normal(size=(3, 6, 6)))
    ids = ["a", "b", "c"]
    assert (ranks(maps, ids)[2] == ranks(maps[2:], ["c"])[0]).all()
    assert (random_ranks(ids, (6, 6))[2] == random_ranks(["c"], (6, 6))[0]).all()


def test_a_map_with_nan_is_refused_by_the_images_name() -> None:
    with pytest.raises(InputError, match="'case-7'"):
        ranks(np.array([[[0.0, np.nan]]]), ["case-7"])


@pytest.mark.parametrize("shape", [(12, 12), (8, 12, 12)])
def test_edges_are_where_an_image_steps_in_any_channel(shape: tuple[int, ...]) -> None:
    images = np.zeros((1, 2, *shape), np.float32)
    images[0, 0, ..., 4:] = 1
    images[0, 1, ..., 9:] = 3
    steep = edge_strength(torch.from_numpy(images))[0].reshape(-1, 12).mean(0)
    assert steep[9] == pytest.approx(steep[8])
    assert steep[8] > 2 * steep[4] > 10 * steep[1]
    assert steep[4] == pytest.approx(steep[3], rel=0.1)


def test_edges_do_not_depend_on_brightness() -> None:
    images = np.random.default_rng(0).normal(size=(2, 1, 9, 9)).astype(np.float32)
    assert np.allclose(edge_strength(images), edge_strength(images + 100), atol=1e-4)


def test_a_blurred_map_keeps_its_mean_and_stays_within_its_image() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 32, 32)).astype(np.float32)
    smooth = blurred(maps)
    assert smooth.std() < maps.std() / 3
    assert np.allclose(smooth.mean((1, 2)), maps.mean((1, 2)), atol=1e-4)
    assert np.allclose(smooth[1:], blurred(maps[1:]))

"""RISE: how the score goes with what random masks leave to be seen."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import EvidenceWarning, InputError
from workbench.explain.attribute import explain
from workbench.explain.random_masks import MaskSet, RandomMasks
from workbench.explain.target import Margin, Over

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPES = [(2, 14, 11), (1, 6, 7, 8)]


def convolutional(shape: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(1)
    conv, pool = ((nn.Conv2d, nn.AdaptiveAvgPool2d), (nn.Conv3d, nn.AdaptiveAvgPool3d))[len(shape) - 3]
    layers = [conv(shape[0], 6, 3, padding=1), nn.ReLU(inplace=True), conv(6, 6, 3, stride=2), nn.Tanh(), pool(2)]
    return nn.Sequential(nn.ReLU(inplace=True), *layers, nn.Flatten(), nn.Linear(6 * 2 ** (len(shape) - 1), 2)).eval()


def masks_of(spatial: tuple[int, ...], **settings: object) -> RandomMasks:
    return RandomMasks.over(spatial, **{"cells": None, "keep": 0.5, "most": 1024, "seed": 0, **settings})


def every_mask(masks: RandomMasks) -> list[MaskSet]:
    """All grids at all shifts, each as likely as the next at keep 0.5."""
    from workbench.explain.random_masks import _interpolation

    cells = int(np.prod(masks.grid))
    seen = np.array(list(product([False, True], repeat=cells))).reshape(-1, *masks.grid)
    sets = []
    for shift in product(*[range(width) for width in masks.pixels]):
        along = zip(masks.spatial, masks.pixels, masks.grid, shift, strict=True)
        sets.append(MaskSet(seen, [_interpolation(*one) for one in along], 0.5))
    return sets


@pytest.mark.parametrize("spatial", [(20, 33), (7, 9, 12), (1, 3)])
@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_masks_are_linear_interpolations_of_shifted_grids(spatial: tuple[int, ...], keep: float) -> None:
    from scipy.ndimage import map_coordinates

    masks = masks_of(spatial, keep=keep)
    for one in masks.pair(3):
        # The interpolation's weights tell the place: a pixel's mean cell.
        place = [weights @ np.arange(weights.shape[1]) for weights in one.weights]
        where = np.stack(np.meshgrid(*place, indexing="ij"))
        expected = 1 - map_coordinates(one.seen[5].astype(float), where, order=1)
        np.testing.assert_allclose(one.hidden(5, 6)[0].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("keep", [0.5, 0.25])
def test_every_pixel_is_seen_with_the_same_probability(keep: float) -> None:
    masks = masks_of((9, 12), cells=3, keep=keep, most=64)
    hidden = [one.hidden(0, one.size) for number in range(300) for one in masks.pair(number)]
    seen = 1 - torch.cat(hidden)
    assert (seen.mean(0) - keep).abs().max() < 0.03
    variance = seen.var(0)
    assert variance.max() / variance.min() < 1.25


@pytest.mark.parametrize("spatial", [(20, 33), (7, 9, 12)])
def test_no_two_cells_of_a_set_go_together(spatial: tuple[int, ...]) -> None:
    masks = masks_of(spatial, cells=3)
    cells = masks.pair(0)[0].seen.reshape(masks.size, -1) - 0.5
    np.testing.assert_allclose(cells.sum(0), 0)
    np.testing.assert_allclose(cells.T @ cells, masks.size / 4 * np.eye(cells.shape[1]), atol=1e-9)


@pytest.mark.parametrize("keep", [0.5, 0.3])
def test_effects_are_the_covariance_of_score_and_mask_at_each_pixel(keep: float) -> None:
    one = masks_of((13, 10), keep=keep).pair(0)[0]
    scores = np.random.default_rng(0).normal(size=(2, one.size))
    seen = 1 - one.hidden(0, one.size).double().numpy()
    away = scores - scores.mean(1, keepdims=True)
    freedom = one.size - (keep != 0.5)
    expected = np.einsum("tm,myx->tyx", away, seen) / (freedom * keep)
    np.testing.assert_allclose(one.effects(scores), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 1, 2, 2)])
def test_the_map_is_the_papers_expectation_less_the_mean_score(
    make_cohort: Callable, make_model: Callable, shape: tuple[int, ...]
) -> None:
    class Product(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            flat = images.flatten(1)
            score = (flat[:, :3].sum(1) * flat[:, 4:9].mean(1) + flat[:, 2] ** 2)[:, None] + 5
            return torch.cat([-score, score], dim=1)

    cohort, cells = make_cohort(1, shape=shape), (1,) * (len(shape) - 1)
    image = torch.from_numpy(cohort.image("i0"))[None]
    sets = every_mask(masks_of(shape[1:], cells=cells))
    seen = torch.cat([1 - one.hidden(0, one.size) for one in sets])[:, None]
    scores = Product()(image * seen)[:, 1]
    expected = (torch.einsum("m,mc...->...", scores, seen) / len(seen) / 0.5 - scores.mean()).numpy()
    found = explain(make_model(Product()), cohort, "rise", target="yes", cells=cells, fill=0, masks=8192)
    apart = np.abs(found.maps[0] - expected)
    assert apart.max() < 5 * found.errors.max() + 1e-4
    assert apart.max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("keep", [0.5, 0.3])
@pytest.mark.parametrize("shape", SHAPES)
def test_its_standard_errors_are_those_seen_between_seeds(
    make_cohort: Callable, make_model: Callable, shape: tuple[int, ...], keep: float
) -> None:
    model, cohort = make_model(convolutional(shape)), make_cohort(2, shape=shape)
    settings = {"target": "yes", "masks": 256, "cells": 3, "keep": keep, "fill": "black"}
    runs = [explain(model, cohort, "rise", seed=seed, batch_size=128, **settings) for seed in range(24)]
    spread = np.stack([run.maps for run in runs]).var(0, ddof=1).mean()
    told = np.mean([run.errors**2 for run in runs])
    assert 0.6 < told / spread < 1.6


@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonal_sets_tell_more_than_independent_masks(
    make_cohort: Callable, make_model: Callable, shape: tuple[int, ...]
) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 2))
    cohort, settings = make_cohort(2, shape=shape), {"target": "yes", "masks": 1024, "cells": 3, "batch_size": 256}
    orthogonal = explain(make_model(linear), cohort, "rise", **settings).errors
    independent = explain(make_model(linear), cohort, "rise", keep=0.500001, **settings).errors
    assert np.mean(orthogonal**2) < 0.4 * np.mean(independent**2)


@pytest.mark.parametrize("shape", SHAPES)
def test_maps_depend_neither_on_the_batch_nor_on_other_images_and_targets(
    make_cohort: Callable, make_model: Callable, shape: tuple[int, ...]
) -> None:
    model, cohort = make_model(convolutional(shape)), make_cohort(4, shape=shape)
    settings = {"error": 0.25, "masks_limit": 4096, "cells": 2, "seed": 3}
    together = explain(model, cohort, "rise", target="each", batch_size=7, **settings)["yes"]
    alone = explain(model, cohort.subset(["i2"]), "rise", target="yes", batch_size=100, **settings)
    np.testing.assert_allclose(alone.maps[0], together.maps[2], atol=1e-6)
    np.testing.assert_allclose(alone.errors[0], together.errors[2], atol=1e-6)
    assert alone.to_frame()["masks"].iloc[0] == together.to_frame()["masks"].iloc[2]


def test_masks_are_added_until_the_error_is_reached(make_cohort: Callable, make_model: Callable) -> None:
    model, cohort = make_model(convolutional(SHAPES[0])), make_cohort(3, shape=SHAPES[0])
    settings = {"target": "yes", "cells": 3, "masks_limit": 8192, "batch_size": 256}
    rough = explain(model, cohort, "rise", error=0.3, **settings).to_frame()
    fine = explain(model, cohort, "rise", error=0.03, **settings).to_frame()
    assert (rough["relative_error"] <= 0.3).all()
    assert (fine["relative_error"] <= 0.03).all()
    assert (fine["masks"] > rough["masks"]).all()


def test_an_error_that_is_not_reached_is_warned_of(make_cohort: Callable, make_model: Callable) -> None:
    model, cohort = make_model(convolutional(SHAPES[0])), make_cohort(2, shape=SHAPES[0])
    with pytest.warns(EvidenceWarning, match="2 of 2 images did not come to the error"):
        explain(model, cohort, "rise", target="yes", error=1e-4, masks_limit=64, cells=3)


def test_a_pixel_that_alone_matters_gets_the_largest_value(make_cohort: Callable, make_model: Callable) -> None:
    class Spot(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            score = images[:, :, 20, 9]
            return torch.cat([-score, score], dim=1)

    cohort = make_cohort(np.full((1, 1, 28, 28), 2, dtype=np.float32))
    found = explain(make_model(Spot()), cohort, "rise", target="yes", fill=0, masks=1024, batch_size=256).maps[0]
    place = np.unravel_index(found.argmax(), found.shape)
    assert abs(place[0] - 20) <= 2
    assert abs(place[1] - 9) <= 2
    # 2 cov(M, M) / keep = 2 × 0.25 / 0.5, times (2/3)² on average for the interpolation (two axes).
    assert found.max() == pytest.approx((2 / 3) ** 2, rel=0.3)


def test_a_margin_is_the_difference_of_its_classes_maps(make_cohort: Callable, make_model: Callable) -> None:
    model, cohort = make_model(convolutional(SHAPES[0])), make_cohort(2, shape=SHAPES[0])
    found = explain(model, cohort, "rise", target=["no", "yes", Margin("yes", "no")], masks=64)
    np.testing.assert_allclose(found["yes rather than no"].maps, found["yes"].maps - found["no"].maps, atol=1e-6)


def test_a_segmentation_is_explained_over_its_region(make_cohort: Callable, make_model: Callable) -> None:
    torch.manual_seed(0)
    model, cohort = make_model(nn.Conv2d(1, 2, 1), task="segmentation"), make_cohort(2, shape=(1, 28, 28))
    asked = Over("yes", box=(16, 16, 28, 28))
    found = explain(model, cohort, "rise", target=asked, masks=1024, batch_size=256, fill="black").maps
    inside = np.abs(found[:, 18:, 18:]).mean((1, 2))
    assert (inside > 3 * np.abs(found[:, :10, :10]).mean((1, 2))).all()


def test_more_cells_than_columns_still_give_an_unbiased_map(make_cohort: Callable, make_model: Callable) -> None:
    model, cohort = make_model(convolutional(SHAPES[0])), make_cohort(1, shape=SHAPES[0])
    many = explain(model, cohort, "rise", target="yes", masks=8192, cells=5, batch_size=512).maps[0]
    settings = {"target": "yes", "masks": 128, "cells": 5, "batch_size": 512}
    few = np.stack([explain(model, cohort, "rise", seed=seed, **settings).maps[0] for seed in range(40)])
    error = np.sqrt(few.var(0, ddof=1).mean() / len(few))
    assert np.sqrt(((few.mean(0) - many) ** 2).mean()) < 2.5 * error


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"masks": 8}, "at least 32"), ({"keep": 1}, "below 1"), ({"keep": "half"}, "below 1"), ({"cells": 0}, "at least 1"),
        ({"cells": (2, 2, 2)}, "2 axes"), ({"fill": "inpaint"}, "depends on the region"), ({"error": 0}, "above 0"),
        ({"masks_limit": True}, "whole number"), ({"mask": 64}, "did you mean 'masks'"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(
    make_cohort: Callable, make_model: Callable, settings: dict, words: str
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2))
    with pytest.raises(InputError, match=words):
        explain(make_model(network), make_cohort(2), "rise", target="yes", **settings)

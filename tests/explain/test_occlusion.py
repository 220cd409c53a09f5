"""Occlusion: the score's fall where a window is hidden, all over or where it matters."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.fill import Fill
from workbench.explain.target import Margin, Over
from workbench.explain.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable

PLANE, VOLUME = (2, 21, 26), (2, 8, 11, 10)
SLIDING = {PLANE: ((6, 9), (4, 5)), VOLUME: ((3, 5, 4), (2, 3, 4))}


def convolutional(shape: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(1)
    conv, pool = ((nn.Conv2d, nn.AdaptiveAvgPool2d), (nn.Conv3d, nn.AdaptiveAvgPool3d))[len(shape) - 3]
    layers = [conv(shape[0], 6, 3, padding=1), nn.ReLU(inplace=True), conv(6, 6, 3, stride=2), nn.Tanh(), pool(2)]
    return nn.Sequential(nn.ReLU(inplace=True), *layers, nn.Flatten(), nn.Linear(6 * 2 ** (len(shape) - 1), 2)).eval()


class Brightest(nn.Module):
    """Scores for "yes" the brightest 3 × 3 (× 3) spot: a local cue."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pool, largest = (nn.functional.avg_pool2d, nn.functional.max_pool2d)
        if images.dim() == 5:
            pool, largest = (nn.functional.avg_pool3d, nn.functional.max_pool3d)
        spots = pool(images.mean(1, keepdim=True), 3, stride=1)
        found = largest(spots, spots.shape[2:]).flatten(1)
        return torch.cat([-found, found], dim=1)


@pytest.mark.parametrize("shape", [PLANE, VOLUME])
def test_a_linear_models_drop_is_what_its_weights_make_of_the_window(
    make_cohort: Callable, make_model: Callable, shape: tuple[int, ...]
) -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 2))
    cohort, window = make_cohort(3, shape=shape), SLIDING[shape][0]
    maps = explain(make_model(linear), cohort, "occlusion", target="yes", window=window, stride=window, fill=0.5).maps
    weights = linear[1].weight[1].detach().numpy().reshape(shape)
    for row, image_id in enumerate(cohort.ids):
        effect = (weights * (cohort.image(image_id) - 0.5)).sum(0)
        for start in product(*[range(0, side, own) for side, own in zip(shape[1:], window, strict=True)]):
            hidden = tuple(slice(first, first + own) for first, own in zip(start, window, strict=True))
            np.testing.assert_allclose(maps[row][hidden], effect[hidden].sum(), atol=2e-5)


@pytest.mark.parametrize("shape", [PLANE, VOLUME])
@pytest.mark.parametrize("batch_size", [3, 64])
def test_it_equals_captums(
    make_cohort: Callable, make_model: Callable, shape: tuple[int, ...], batch_size: int
) -> None:
    from captum.attr import Occlusion

    network, cohort, (window, stride) = convolutional(shape), make_cohort(3, shape=shape), SLIDING[shape]
    model = make_model(network)
    with torch.no_grad():
        peer = Occlusion(lambda images: network(images.clone())).attribute(
            model.inputs(cohort, cohort.ids), (shape[0], *window), (shape[0], *stride), target=1
        )
    settings = {"window": window, "stride": stride, "fill": 0}
    maps = explain(model, cohort, "occlusion", target="yes", batch_size=batch_size, **settings).maps
    np.testing.assert_allclose(maps, peer[:, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("fill", ["black", "mean", "blur", "inpaint"])
@pytest.mark.parametrize("shape", [PLANE, VOLUME])
def test_it_equals_hiding_one_window_after_the_other(
    make_cohort: Callable, make_model: Callable, fill: str, shape: tuple[int, ...]
) -> None:
    network, cohort, (window, stride) = convolutional(shape), make_cohort(2, shape=shape), SLIDING[shape]
    model = make_model(network)
    images = model.inputs(cohort, cohort.ids)
    total, covered = np.zeros(images[:, 0].shape), np.zeros(images[:, 0].shape)
    with torch.no_grad():
        whole = network(images.clone())[:, 1]
        for start in product(*[range(0, side - own + step, step) for side, own, step in zip(shape[1:], window, stride, strict=True)]):  # fmt: skip
            place = (..., *[slice(first, first + own) for first, own in zip(start, window, strict=True)])
            hidden = torch.zeros(images[:, 0].shape, dtype=torch.bool)
            hidden[place] = True
            drop = (whole - network(Fill.of(images, fill).hide(hidden))[:, 1]).numpy()
            total[place] += drop.reshape(-1, *[1] * len(window))
            covered[place] += 1
    maps = explain(model, cohort, "occlusion", target="yes", window=window, stride=stride, fill=fill).maps
    np.testing.assert_allclose(maps, total / covered, atol=2e-5 if fill == "inpaint" else 1e-6)


@pytest.mark.parametrize("narrowed", [False, 0.5])
def test_maps_depend_neither_on_the_batch_nor_on_other_images_and_targets(
    make_cohort: Callable, make_model: Callable, narrowed: bool | float
) -> None:
    network, cohort = convolutional(PLANE), make_cohort(5, shape=PLANE)
    settings = {"window": 4, "stride": 2, "coarse_to_fine": narrowed}
    together = explain(make_model(network), cohort, "occlusion", target="each", batch_size=7, **settings)
    alone = explain(make_model(network), cohort.subset(["i3"]), "occlusion", target="yes", batch_size=2, **settings)
    np.testing.assert_allclose(alone.maps[0], together["yes"].maps[3], atol=1e-6)


def test_a_margin_is_the_difference_of_its_classes_maps(make_cohort: Callable, make_model: Callable) -> None:
    network, cohort = convolutional(PLANE), make_cohort(3, shape=PLANE)
    targets = ["no", "yes", Margin("yes", "no")]
    found = explain(make_model(network), cohort, "occlusion", target=targets)
    np.testing.assert_allclose(found["yes rather than no"].maps, found["yes"].maps - found["no"].maps, atol=1e-6)


def test_hiding_the_region_that_a_segmentation_is_asked_about_matters_most(
    make_cohort: Callable, make_model: Callable
) -> None:
    network, cohort = nn.Conv2d(1, 2, 1), make_cohort(2, shape=(1, 24, 24))
    asked = Over("yes", box=(8, 0, 16, 8))
    maps = explain(make_model(network, task="segmentation"), cohort, "occlusion", target=asked, window=8, stride=8).maps
    outside = np.ones((24, 24), dtype=bool)
    outside[8:16, 0:8] = False
    assert np.abs(maps[:, ~outside]).min() > 0.01
    assert np.abs(maps[:, outside]).max() < 1e-4


@pytest.mark.parametrize(("side", "axes"), [(64, 2), (24, 3)])
def test_coarse_to_fine_finds_a_local_cue_with_a_third_of_the_passes(
    make_cohort: Callable, make_model: Callable, side: int, axes: int
) -> None:
    generator = np.random.default_rng(0)
    images = generator.normal(scale=0.1, size=(4, 1, *[side] * axes)).astype(np.float32)
    for image in images:
        place = tuple(slice(first, first + side // 12) for first in generator.integers(0, side - 8, axes))
        image[(0, *place)] += 5
    model, cohort = make_model(Brightest()), make_cohort(images)
    full = explain(model, cohort, "occlusion", target="yes", fill="mean")
    narrowed = explain(model, cohort, "occlusion", target="yes", fill="mean", coarse_to_fine=True)
    spent = narrowed.to_frame()["evaluations"]
    assert (spent <= full.to_frame()["evaluations"] / 3).all()
    for whole, found in zip(full.maps, narrowed.maps, strict=True):
        assert np.corrcoef(whole.ravel(), found.ravel())[0, 1] >= 0.95


def test_coarse_to_fine_is_exact_for_blocks_whose_pixels_count_alike(
    make_cohort: Callable, make_model: Callable
) -> None:
    class Sum(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            total = images.flatten(1).sum(1, keepdim=True)
            return torch.cat([-total, total], dim=1)

    cohort = make_cohort(np.ones((1, 1, 36, 36), dtype=np.float32))
    settings = {"target": "yes", "window": 4, "stride": 2, "fill": 0}
    full = explain(make_model(Sum()), cohort, "occlusion", **settings).maps
    narrowed = explain(make_model(Sum()), cohort, "occlusion", coarse_to_fine=0.2, **settings).maps
    np.testing.assert_allclose(narrowed, full, rtol=1e-4)


def test_a_flat_score_is_looked_at_coarsely_only(make_cohort: Callable, make_model: Callable) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2))
    nn.init.zeros_(flat[1].weight)
    found = explain(make_model(flat), make_cohort(2), "occlusion", target="yes", coarse_to_fine=True)
    assert found.to_frame()["evaluations"].tolist() == [16, 16]
    assert not found.maps.any()


@pytest.mark.parametrize("budget", [0.1, 0.25, True])
def test_coarse_to_fine_keeps_to_its_budget(make_cohort: Callable, make_model: Callable, budget: bool | float) -> None:
    cohort = make_cohort(3, shape=PLANE)
    settings = {"window": 4, "stride": 2, "coarse_to_fine": budget}
    found = explain(make_model(convolutional(PLANE)), cohort, "occlusion", target="yes", **settings)
    windows = Windows.over(PLANE[1:], window=4, stride=2).count
    assert (found.to_frame()["evaluations"] <= windows * float(budget if budget is not True else 1 / 3)).all()


@pytest.mark.parametrize("spatial", [(21, 26), (5, 7, 4)])
def test_a_tree_with_every_window_known_returns_them(spatial: tuple[int, ...]) -> None:
    tree = Windows.over(spatial, window=2, stride=1).tree(4)
    values = np.random.default_rng(0).normal(size=len(tree.boxes))
    np.testing.assert_allclose(tree.shared_out(values, np.ones(len(values), bool)), values[tree.levels == 0])


@pytest.mark.parametrize("spatial", [(21, 26), (5, 7, 4)])
def test_a_block_is_split_into_blocks_that_cover_it(spatial: tuple[int, ...]) -> None:
    tree = Windows.over(spatial, window=3, stride=2).tree(1)
    for node in np.flatnonzero(tree.levels > 0):
        children = tree.boxes[tree.children(node)]
        assert (children[:, :, 0].min(0) == tree.boxes[node, :, 0]).all()
        assert (children[:, :, 1].max(0) == tree.boxes[node, :, 1]).all()
        assert len(children) == len(np.unique(children, axis=0))


def test_windows_are_an_eighth_of_each_axis_in_2d_and_a_quarter_in_3d() -> None:
    assert Windows.over((64, 32)).window == (8, 4)
    assert Windows.over((16, 64, 64)).window == (4, 16, 16)
    assert Windows.over((224, 224)).counts == (15, 15)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"window": 40}, "larger than the image"), ({"window": 4, "stride": 5}, "leaves gaps"),
        ({"window": (4, 4, 4)}, "2 axes"), ({"window": 0}, "at least 1"), ({"stride": "4"}, "at least 1"),
        ({"window": True}, "at least 1"), ({"fill": "grey"}, "Known: black"), ({"coarse_to_fine": 1.5}, "up to 1"),
        ({"coarse_to_fine": 0}, "above 0"), ({"fill": np.zeros((1, 4, 4))}, "must be alike"), ({"windwo": 3}, "window"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(
    make_cohort: Callable, make_model: Callable, settings: dict, words: str
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2))
    with pytest.raises(InputError, match=words):
        explain(make_model(network), make_cohort(2), "occlusion", target="yes", **settings)

"""Score-CAM against its definition, and what it costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.score_cam import alike, stretch


def network(axes: int = 2) -> nn.Module:
    torch.manual_seed(3)
    convolution, pool = ((nn.Conv2d, nn.AdaptiveAvgPool2d), (nn.Conv3d, nn.AdaptiveAvgPool3d))[axes - 2]
    return nn.Sequential(
        convolution(1, 12, 3, 2), nn.ReLU(inplace=True), convolution(12, 20, 3, 2), nn.ReLU(inplace=True),
        pool(1), nn.Flatten(), nn.Linear(20, 2),
    ).eval()  # fmt: skip


def by_definition(net: nn.Module, image: torch.Tensor, target: int) -> np.ndarray:
    """Algorithm 1 of arXiv:1910.01279, one channel at a time, with the black image's score taken off."""
    mode = {3: "bilinear", 4: "trilinear"}[image.dim()]
    with torch.no_grad():
        features = net[:4](image[None])[0]
        black = net(torch.zeros_like(image)[None])[0, target]
        increase = []
        for feature in features:
            mask = interpolate(feature[None, None], size=image.shape[1:], mode=mode)
            if mask.max() == mask.min():
                increase.append(torch.tensor(-torch.inf))
                continue
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            increase.append(net(image[None] * mask)[0, target] - black)
        weights = torch.stack(increase).softmax(0)
        drawn = torch.einsum("k,k...->...", weights, features).relu()
        return interpolate(drawn[None, None], size=image.shape[1:], mode=mode)[0, 0].numpy()


@pytest.mark.parametrize("axes", [2, 3])
def test_it_equals_the_papers_algorithm(axes: int, make_model, make_cohort) -> None:
    net = network(axes)
    model, cohort = make_model(net), make_cohort(3, shape=(1, 20, 24, 16)[: axes + 1])
    found = explain(model, cohort, "scorecam", target="each", batch_size=7)
    for target, name in enumerate(("no", "yes")):
        for image, drawn in zip(model.inputs(cohort), found[name].maps, strict=True):
            theirs = by_definition(net, image, target)
            assert np.abs(drawn - theirs).max() <= 1e-5 * theirs.max()


def passes(net: nn.Module) -> list[int]:
    runs: list[int] = []
    net.register_forward_hook(lambda _m, given, _o: runs.append(len(given[0])))
    return runs


def test_it_needs_one_pass_a_channel_whatever_the_number_of_targets(make_model, make_cohort) -> None:
    net = network()
    runs, cohort = passes(net), make_cohort(2)
    explain(make_model(net), cohort, "scorecam", target="each", batch_size=8)
    with torch.no_grad():
        varying = sum((f.amax((1, 2)) > f.amin((1, 2))).sum() for f in net[:4](torch.from_numpy(cohort.images())))
    assert sum(runs) == 2 + varying


@pytest.mark.parametrize("axes", [2, 3])
def test_its_arithmetic_is_within_a_tenth_of_the_bare_passes(axes: int, make_model, make_cohort) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    net = network(axes)
    model, cohort = make_model(net), make_cohort(1, shape=(1, 20, 24, 16)[: axes + 1])
    runs = passes(net)
    with FlopCounterMode(display=False) as ours:
        explain(model, cohort, "scorecam")
    needed = sum(runs)
    with FlopCounterMode(display=False) as bare, torch.inference_mode():
        net(model.inputs(cohort))
    assert needed * bare.get_total_flops() <= ours.get_total_flops() <= 1.1 * needed * bare.get_total_flops()


def test_as_many_masks_as_channels_change_nothing_and_fewer_cost_fewer_passes(make_model, make_cohort) -> None:
    net, cohort = network(), make_cohort(2)
    model, runs = make_model(net), passes(net)
    whole, same = (explain(model, cohort, "scorecam", target=0, masks=masks).maps for masks in (None, 20))
    assert np.array_equal(whole, same)
    runs.clear()
    part = explain(model, cohort, "scorecam", target=0, masks=5)
    assert sum(runs) == 2 + 2 * 5
    assert part.settings["masks"] == 5
    assert np.corrcoef(whole.ravel(), part.maps.ravel())[0, 1] > 0.9


@pytest.mark.slow
def test_an_eighth_of_the_masks_gives_nearly_the_map_of_a_trained_network(make_model, make_cohort) -> None:
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        labels, centres = np.arange(count) % 2, generator.uniform(8, 24, (count, 2, 1, 1))
        away = np.hypot(y - centres[:, 0], x - centres[:, 1])
        spots = np.where(labels[:, None, None] == 1, np.exp(-(away**2) / 20), np.exp(-((away - 6) ** 2) / 4))
        return (4 * spots + generator.normal(size=away.shape))[:, None].astype(np.float32), labels

    torch.manual_seed(0)
    layers = [
        [nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o), nn.ReLU()] for i, o, s in ((1, 16, 2), (16, 32, 2), (32, 128, 1))
    ]
    net = nn.Sequential(
        *[layer for three in layers for layer in three], nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 2)
    )
    optimiser = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(80):
        images, labels = draw(32)
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(torch.from_numpy(images)), torch.from_numpy(labels)).backward()
        optimiser.step()
    model, cohort = make_model(net), make_cohort(draw(8)[0])
    whole, part = (explain(model, cohort, "scorecam", masks=masks).maps for masks in (None, 16))
    found = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(whole, part, strict=True)]
    assert np.median(found) > 0.99
    assert min(found) > 0.95


def test_channels_that_look_alike_share_a_group() -> None:
    pattern = np.eye(3).repeat(4, axis=0) + np.random.default_rng(0).normal(size=(12, 3)) * 0.01
    groups = alike(pattern, 3)
    assert [len(set(groups[start : start + 4])) for start in (0, 4, 8)] == [1, 1, 1]
    assert set(groups) == {0, 1, 2}


def test_a_map_of_one_value_is_not_stretched_and_told_apart() -> None:
    stretched, varies = stretch(torch.stack([torch.full((2, 2), 3.0), torch.tensor([[1.0, 3.0], [2.0, 5.0]])]))
    assert varies.tolist() == [False, True]
    assert stretched[0].tolist() == [[0, 0], [0, 0]]
    assert stretched[1].tolist() == [[0, 0.5], [0.25, 1]]


def test_a_layer_of_constant_channels_gives_zeros(make_model, make_cohort) -> None:
    cohort = make_cohort(np.full((2, 1, 20, 20), -1, np.float32))
    net = nn.Sequential(
        nn.ReLU(), nn.Conv2d(1, 3, 3, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2)
    )
    found = explain(make_model(net), cohort, "scorecam")
    assert not found.maps.any()


@pytest.mark.parametrize("masks", [0, 1, 2.5, True, "all"])
def test_a_number_of_masks_without_meaning_is_refused(masks: object, make_model, make_cohort) -> None:
    with pytest.raises(InputError, match=r"masks .* whole number of at least 2"):
        explain(make_model(network()), make_cohort(2), "scorecam", masks=masks)

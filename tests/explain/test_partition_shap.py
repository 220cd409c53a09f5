"""Partition SHAP against closed forms and against the shap package over pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import workbench.explain.partition_shap as module
from workbench.errors import EvidenceWarning, InputError
from workbench.explain.attribute import explain
from workbench.explain.partition_shap import halved
from workbench.explain.regions import superpixels


class Linear(nn.Module):
    """The score is a weighted sum over all channels and pixels."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = (inputs * self.weight).flatten(1).sum(1)
        return torch.stack([-score, score], 1)


class Products(nn.Module):
    """Neighbouring pixels multiply: much depends on what else is uncovered."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = (inputs[..., 1:] * inputs[..., :-1]).flatten(1).sum(1) + inputs.flatten(1).sum(1).relu()
        return torch.stack([score, score**2, -score], 1)


def small_net(pixels: int = 12) -> nn.Module:
    torch.manual_seed(4)
    layers = [nn.Conv2d(1, 6, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(6 * ((pixels - 2) // 2) ** 2, 2)).eval()


@pytest.mark.parametrize(("shape", "count"), [((2, 6, 6), 9), ((1, 4, 4, 6), 12)])
def test_a_linear_model_gives_each_region_its_own_sum(shape, count, make_model, make_cohort) -> None:
    cohort, net = make_cohort(2, shape=shape), Linear(shape)
    side = 2
    maps = explain(make_model(net), cohort, "partition-shap", target="yes", count=count, fill="black", evaluations=4096)
    for image, heat in zip(cohort.images(), maps.maps, strict=True):
        darkest = image.reshape(len(image), -1).min(1).reshape(-1, *[1] * (image.ndim - 1))
        exact = (net.weight.detach().numpy() * (image - darkest)).sum(0)
        for corner in itertools.product(*(range(0, extent, side) for extent in exact.shape)):
            box = tuple(slice(begin, begin + side) for begin in corner)
            assert np.allclose(heat[box], exact[box].mean(), atol=1e-4)


@pytest.mark.slow
def test_open_to_its_leaves_it_agrees_with_shap_over_pixels(make_model, make_cohort) -> None:
    shap = pytest.importorskip("shap")
    cohort, classes = make_cohort(1, shape=(1, 4, 4)), ("a", "b", "c")
    ours = explain(
        make_model(Products(), classes), cohort, "partition-shap", target="each", count=16, fill="black", tolerance=1e-9
    )
    image = np.moveaxis(cohort.images()[0], 0, -1).astype(np.float32)
    masker = shap.maskers.Image(np.full(image.shape, image.min()), image.shape)
    network = Products()
    peer = shap.explainers.PartitionExplainer(lambda x: network(torch.from_numpy(x[:, None, ..., 0])).numpy(), masker)
    theirs = peer(image[None], max_evals=10_000, batch_size=16, silent=True).values[0, :, :, 0]
    for place, name in enumerate(classes):
        assert np.allclose(ours[name].maps[0], theirs[..., place], rtol=1e-4, atol=1e-3)
        assert ours[name].to_frame()["change"].item() == 0


@pytest.mark.parametrize("regions", ["grid", "superpixels"])
@pytest.mark.parametrize("evaluations", [64, 200])
def test_the_map_adds_up_to_the_score_less_the_filled_image_s_score(
    regions, evaluations, make_model, make_cohort
) -> None:
    net, cohort = small_net(), make_cohort(3, shape=(1, 12, 12))
    settings = {"regions": regions, "fill": "mean", "count": 30, "tolerance": 100, "evaluations": evaluations}
    maps = explain(make_model(net), cohort, "partition-shap", target="yes", **settings)
    frame = maps.to_frame()
    flat = torch.from_numpy(cohort.images()).mean((2, 3), keepdim=True).expand(-1, -1, 12, 12).float()
    assert np.allclose(frame["fill_score"], net(flat)[:, 1].detach(), atol=1e-5)
    assert np.allclose(maps.maps.sum((1, 2)), frame["score"] - frame["fill_score"], atol=1e-5)
    assert frame["efficiency_gap"].abs().max() < 1e-6


def test_superpixels_are_each_image_s_own_and_have_one_value_each(make_model, make_cohort) -> None:
    images = np.zeros((2, 1, 12, 12), np.float32)
    images[0, 0, 2:9, 3:8], images[1, 0, 5:11, 1:6] = 1, 1
    maps = explain(
        make_model(small_net()), make_cohort(images), "partition-shap", regions="superpixels", count=4, fill="black"
    )
    for heat, image in zip(maps.maps, images, strict=True):
        labels = superpixels(image, 4)
        assert len(np.unique(heat)) == len(np.unique(labels))
        assert all(np.ptp(heat[labels == label]) == 0 for label in np.unique(labels))


def test_an_atlas_may_give_the_regions(make_model, make_cohort) -> None:
    atlas = np.repeat([[3, 7, 9]], 12, axis=0).repeat(4, axis=1)
    maps = explain(make_model(small_net()), make_cohort(2, shape=(1, 12, 12)), "partition-shap", regions=atlas)
    assert (np.ptp(maps.maps.reshape(2, 12, 3, 4), axis=(1, 3)) == 0).all()
    with pytest.raises(InputError, match=r"the atlas is int64 of shape \(3, 3\), image 'i0'"):
        explain(
            make_model(small_net()), make_cohort(2, shape=(1, 12, 12)), "partition-shap", regions=np.ones((3, 3), int)
        )


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_neither_batch_size_nor_company_changes_a_map(batch_size, make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(4, shape=(1, 12, 12))
    whole = explain(model, cohort, "partition-shap", count=36)
    alone = explain(model, cohort.subset(["i2"]), "partition-shap", count=36, batch_size=batch_size)
    assert np.abs(whole.maps[2] - alone.maps[0]).max() <= 1e-6


def test_several_targets_are_explained_as_each_one_alone_from_shared_evaluations(make_model, make_cohort) -> None:
    net, seen = Products(), []
    net.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    model, cohort = make_model(net, ("a", "b", "c")), make_cohort(2, shape=(1, 8, 8))
    together, shared = explain(model, cohort, "partition-shap", target="each", count=16), sum(seen)
    seen.clear()
    for name, maps in together.items():
        assert np.array_equal(maps.maps, explain(model, cohort, "partition-shap", target=name, count=16).maps)
    assert shared < 0.6 * sum(seen)


def test_nothing_is_evaluated_twice(make_model, make_cohort) -> None:
    net, seen = small_net(), []
    net.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    settings = {"target": "yes", "count": 64, "tolerance": 0.01, "evaluations": 1024}
    with pytest.warns(EvidenceWarning, match="2 of 2 maps by partition SHAP had not settled within 1% after 1024"):
        maps = explain(make_model(net), make_cohort(2, shape=(1, 12, 12)), "partition-shap", **settings)
    # Looking at 64, 128, 256 … evaluations opens a few nodes in another order, which costs a few more.
    assert 2048 <= sum(seen) <= 1.02 * maps.to_frame()["evaluations"].sum()


class Corner(nn.Module):
    """Looks at one corner only, where pixels multiply."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = inputs[..., :4, :4].flatten(1).sum(1) + inputs[..., :2, :4].flatten(1).sum(1) ** 2
        return torch.stack([-score, score], 1)


def test_it_stops_when_the_map_has_settled(make_model, make_cohort) -> None:
    model, cohort = make_model(Corner()), make_cohort(4, shape=(1, 16, 16))
    exact = explain(model, cohort, "partition-shap", target="yes", tolerance=1e-9, evaluations=4096)
    maps = explain(model, cohort, "partition-shap", target="yes", tolerance=0.2)
    off = np.sqrt(((maps.maps - exact.maps) ** 2).mean((1, 2)) / (exact.maps**2).mean((1, 2)))
    assert off.max() < 0.2
    assert maps.to_frame()[["change", "unopened"]].max(axis=None) <= 0.2
    assert maps.to_frame()["evaluations"].max() <= 512  # of 2,732 in the whole tree


def test_the_tree_is_built_once_a_cohort(make_model, make_cohort, monkeypatch) -> None:
    built = []
    monkeypatch.setattr(module, "halved", lambda places: built.append(len(places)) or halved(places))
    explain(make_model(small_net()), make_cohort(5, shape=(1, 12, 12)), "partition-shap", count=16, batch_size=2)
    assert built == [16]


def test_a_tree_halves_across_the_longer_side_into_equal_halves() -> None:
    places = np.array([[row, column] for row in range(2) for column in range(4)], dtype=float)
    tree = halved(places)
    members = [{place} for place in range(8)]
    for left, right, _, size in tree:
        members.append(members[int(left)] | members[int(right)])
        assert len(members[-1]) == size
        assert len(members[int(left)]) == len(members[int(right)])
    assert {0, 1, 4, 5} in members  # the left half of 2 × 4
    assert members[-1] == set(range(8))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"regions": "gird"}, "did you mean 'grid'"),
        ({"count": 1}, "count 1 must be"),
        ({"tolerance": 0}, "tolerance 0 must be"),
        ({"evaluations": 10}, "evaluations 10 must be"),
        ({"fill": "blurr"}, "did you mean 'blur'"),
    ],
)
def test_what_cannot_be_used_is_refused(wrong, told, make_model, make_cohort) -> None:
    with pytest.raises(InputError, match=told):
        explain(make_model(small_net()), make_cohort(2, shape=(1, 12, 12)), "partition-shap", **wrong)

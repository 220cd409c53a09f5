"""The CAM family against formulas written down independently, with hooks and a full backward pass."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import interpolate

from workbench.explain.attribute import explain
from workbench.explain.cam import eigencam_map, gradcam_plus_plus_map, layercam_map

CLASSES = ("no", "yes", "other")
GRADIENT = ["gradcam", "gradcam++", "hirescam", "layercam"]
EVERY = [*GRADIENT, "eigencam"]


def network(name: str) -> nn.Module:
    from monai.networks.nets import DenseNet, resnet10

    torch.manual_seed(2)
    if name == "densenet":
        net, shape = DenseNet(2, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2)), (1, 32, 32)
    elif name == "resnet":
        net, shape = resnet10(spatial_dims=2, n_input_channels=2, num_classes=3, conv1_t_stride=2), (2, 32, 48)
    else:
        net, shape = DenseNet(3, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2)), (1, 24, 32, 16)
    net(torch.randn(16, *shape))  # in train mode: batch-norm statistics other than 0 and 1
    net.shape = shape
    return net.eval()


LAYERS = {
    "densenet": "features.denseblock1",
    "resnet": "layer2",
    "3-D": "features.norm5",
}  # norm5: an in-place ReLU follows


def by_hand(net: nn.Module, layer: str, images: torch.Tensor, target: int, formula: str) -> np.ndarray:
    """Nothing of ours: no in-place layer, gradients of everything, one image at a time."""
    net = copy.deepcopy(net)
    for module in net.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    kept: dict[str, torch.Tensor] = {}
    net.get_submodule(layer).register_forward_hook(lambda _m, _i, output: kept.update(a=output))
    maps = []
    for image in images:
        score = net(image[None])[0, target]
        kept["a"].retain_grad()
        score.backward()
        a, g = kept["a"].detach()[0], kept["a"].grad[0]
        axes = tuple(range(1, a.dim()))
        if formula == "gradcam":
            drawn = (g.mean(axes, keepdim=True) * a).sum(0).relu()
        elif formula == "hirescam":
            drawn = (g * a).sum(0)
        elif formula == "layercam":
            drawn = (g.clamp(min=0) * a).sum(0).relu()
        else:
            alpha = g**2 / (2 * g**2 + a.sum(axes, keepdim=True) * g**3)
            drawn = ((alpha.nan_to_num(0) * g.relu()).sum(axes, keepdim=True) * a).sum(0).relu()
        mode = {2: "bilinear", 3: "trilinear"}[len(axes)]
        maps.append(interpolate(drawn[None, None], size=image.shape[1:], mode=mode)[0, 0])
    return torch.stack(maps).numpy()


@pytest.mark.parametrize("name", list(LAYERS))
@pytest.mark.parametrize("method", GRADIENT)
def test_it_equals_the_formula_with_a_full_backward_pass(name: str, method: str, make_model, make_cohort) -> None:
    net = network(name)
    cohort = make_cohort(3, shape=net.shape)
    model = make_model(net, CLASSES)
    found = explain(model, cohort, method, target=["yes", "other"], layer=LAYERS[name], batch_size=2)
    ours = np.concatenate([maps.maps for maps in found.values()])
    theirs = np.concatenate([by_hand(net, LAYERS[name], model.inputs(cohort), target, method) for target in (1, 2)])
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] >= 0.9999


@pytest.mark.parametrize("name", list(LAYERS))
@pytest.mark.parametrize("method", EVERY)
def test_every_class_from_one_forward_is_what_a_call_a_class_gives(name, method, make_model, make_cohort) -> None:
    net = network(name)
    model, cohort = make_model(net, CLASSES), make_cohort(3, shape=net.shape)
    runs: list[int] = []
    with net.register_forward_hook(lambda *_: runs.append(1)):
        together = explain(model, cohort, method, target="each")
    assert len(runs) == 1
    for target in CLASSES:
        alone = explain(model, cohort, method, target=target)
        assert np.abs(together[target].maps - alone.maps).max() <= 1e-6 * max(1, np.abs(alone.maps).max())
        assert np.allclose(together[target].scores, alone.scores)


@pytest.mark.parametrize("layer", [None, ["features.denseblock1", "features.norm5"]])
@pytest.mark.parametrize("method", EVERY)
def test_an_image_in_a_batch_gets_the_map_it_gets_alone(method: str, layer, make_model, make_cohort) -> None:
    model, cohort = make_model(network("3-D"), CLASSES), make_cohort(5, shape=(1, 24, 32, 16))
    together = explain(model, cohort, method, layer=layer, batch_size=5).maps
    alone = explain(model, cohort, method, layer=layer, batch_size=1).maps
    assert np.abs(together - alone).max() <= 1e-5 * np.abs(alone).max()


class Head(nn.Module):
    """ReLU convolutions without biases and a linear head over all positions: homogeneous, so that ``Σ g ⊙ a = score``."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(inplace=True))
        self.second = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.ReLU(inplace=True))
        self.head = nn.Linear(6 * 64, 2, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.second(self.first(inputs)).flatten(1))


@pytest.mark.parametrize("layer", ["first", "second", ["first", "second"], ["second", "first"]])
def test_hirescam_adds_up_to_the_score_at_each_layer_and_fused(layer, make_model, make_cohort) -> None:
    maps = explain(make_model(Head()), make_cohort(3, shape=(1, 16, 16)), "hirescam", target="yes", layer=layer)
    finer = 4 if layer == "second" or isinstance(layer, list) else 1  # input pixels a position of the coarsest layer
    assert np.allclose(maps.maps.sum((1, 2)) / finer, maps.scores, rtol=2e-2, atol=1e-4)
    assert (maps.maps < 0).any()
    assert maps.settings["layer"] == layer


def test_fused_layers_are_the_mean_of_their_maps_by_evidence(make_model, make_cohort) -> None:
    model, cohort = make_model(Head()), make_cohort(3, shape=(1, 16, 16))
    first, second, both = (
        explain(model, cohort, "layercam", target="yes", layer=layer).maps
        for layer in ("first", "second", ["first", "second"])
    )
    assert np.allclose(both, (4 * first + second) / 2, atol=1e-7)  # the first has 4 times the positions


def test_of_two_layers_only_what_follows_the_earlier_one_is_recorded(make_model, make_cohort) -> None:
    kept: list[tuple[int, ...]] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        explain(make_model(network("resnet"), CLASSES), make_cohort(2, shape=(2, 32, 48)), layer=["layer3", "layer4"])
    assert kept
    assert all(np.prod(shape[2:]) <= 6 for shape in kept if len(shape) == 4 and shape[0] == 2)


class Evidence(nn.Module):
    """Features ``relu(x)`` and ``relu(-x)``; the first speaks for class 1, the second against it."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = self.features(inputs) @ torch.tensor([1.0, -1.0])
        return torch.stack([-score, score], 1)

    def __init__(self) -> None:
        super().__init__()
        maps = nn.Conv2d(1, 2, 1, bias=False)
        maps.weight.data = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
        self.maps = nn.Sequential(maps, nn.ReLU())
        self.features = nn.Sequential(self.maps, nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "layercam"])
def test_no_evidence_is_zero_everywhere_and_flagged(method: str, make_model, make_cohort) -> None:
    cohort = make_cohort(np.full((2, 1, 8, 8), -1, np.float32))
    found = explain(make_model(Evidence()), cohort, method, target="yes", layer="maps")
    assert not found.maps.any()
    assert found.flags == ("no evidence", "no evidence")


def test_closed_forms_on_two_features(make_model, make_cohort) -> None:
    cohort = make_cohort(4, shape=(1, 8, 8))
    x, model = cohort.images()[:, 0], make_model(Evidence())
    drawn = {m: explain(model, cohort, m, target="yes", layer="maps").maps for m in GRADIENT}
    up = np.maximum(x, 0)
    assert np.allclose(drawn["gradcam"], up / 64, atol=1e-7)
    assert np.allclose(drawn["hirescam"], x / 64, atol=1e-7)
    assert np.allclose(drawn["layercam"], up / 64, atol=1e-7)
    weight = 1 / (2 + up.sum((1, 2)) / 64)  # eq. 19 with g = 1/64 at all 64 positions: Σ α g = 1 / (2 + g Σ A)
    assert np.allclose(drawn["gradcam++"], weight[:, None, None] * up, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-18, 1e6))
def test_gradcam_plus_plus_is_its_paper_formula_at_any_scale(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    a = torch.rand(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    g = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64) * scale
    alpha = g**2 / (2 * g**2 + a.sum((2, 3), keepdim=True) * g**3)
    paper = ((alpha * g.relu()).sum((2, 3), keepdim=True) * a).sum(1)
    assert torch.allclose(gradcam_plus_plus_map(a, g), paper, rtol=1e-9, atol=0)
    assert gradcam_plus_plus_map(a.float(), g.float()).isfinite().all()


def test_layercam_of_positive_gradients_is_hirescam() -> None:
    a, g = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
    assert torch.equal(layercam_map(a, g), (a * g).sum(1))
    assert not layercam_map(a, -g).any()


@pytest.mark.parametrize("shape", [(2, 30, 4, 4), (2, 3, 6, 5), (2, 4, 3, 4, 5)])
def test_eigencam_is_the_first_singular_vector_with_the_features_sign(shape: tuple[int, ...]) -> None:
    activation = torch.randn(shape, generator=torch.Generator().manual_seed(1)).relu()
    maps, shares = eigencam_map(activation)
    for a, drawn, share in zip(activation.flatten(2).numpy(), maps.flatten(1).numpy(), shares.numpy(), strict=True):
        left, values, _ = np.linalg.svd(a.T, full_matrices=False)
        assert np.allclose(np.abs(left[:, 0]) * values[0], drawn, atol=1e-4)  # not negative where no feature is
        assert share == pytest.approx(values[0] ** 2 / (values**2).sum(), rel=1e-5)


def test_eigencam_says_that_it_does_not_know_the_class(make_model, make_cohort) -> None:
    found = explain(make_model(network("densenet"), CLASSES), make_cohort(3), "eigencam", target="each")
    assert np.array_equal(found["no"].maps, found["yes"].maps)
    assert found["no"].settings["class_independent"] is True
    assert found["no"].to_frame()["first_component"].between(0, 1).all()


def test_an_empty_layer_gives_eigencam_zeros() -> None:
    maps, shares = eigencam_map(torch.zeros(1, 3, 4, 4))
    assert not maps.any()
    assert shares.item() == 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_explained(dtype: torch.dtype, make_model, make_cohort) -> None:
    cohort, net = make_cohort(2), network("densenet")
    single = explain(make_model(net, CLASSES), cohort, "hirescam", target=1).maps
    other = explain(make_model(copy.deepcopy(net).to(dtype), CLASSES), cohort, "hirescam", target=1).maps
    assert other.dtype == np.float32
    assert np.corrcoef(single.ravel(), other.ravel())[0, 1] >= 0.99


@pytest.mark.parametrize(("classes", "most"), [(1, 1.05), (14, 1.15)])
def test_all_classes_cost_hardly_more_arithmetic_than_the_forward_pass(classes, most, make_model, make_cohort) -> None:
    from monai.networks.nets import DenseNet121
    from torch.utils.flop_counter import FlopCounterMode

    net = DenseNet121(2, 1, 14).eval()
    model, cohort = make_model(net, tuple(f"c{k}" for k in range(14))), make_cohort(2, shape=(1, 64, 64))
    with FlopCounterMode(display=False) as bare, torch.inference_mode():
        net(model.inputs(cohort))
    with FlopCounterMode(display=False) as ours:
        explain(model, cohort, target=list(range(classes)))
    assert 1 <= ours.get_total_flops() / bare.get_total_flops() <= most


def test_monai_draws_its_map_upside_down_and_mixes_images_of_a_batch(make_model, make_cohort) -> None:
    from monai.visualize import GradCAM

    net, cohort = network("densenet"), make_cohort(6)
    model = make_model(net, CLASSES)
    with torch.no_grad():  # so that not all images are given to one class
        net.class_layers.out.bias -= net(model.inputs(cohort)).mean(0)
    ours = explain(model, cohort, layer="class_layers.relu")
    assert len(set(ours.targets)) > 1
    theirs = GradCAM(copy.deepcopy(net), "class_layers.relu")
    images = model.inputs(cohort)
    told = np.stack(
        [theirs(image[None], class_idx=int(t)).numpy()[0, 0] for image, t in zip(images, ours.targets, strict=True)]
    )
    mixed = theirs(images).numpy()[:, 0]
    seen = np.flatnonzero(ours.maps.any((1, 2)))
    assert all(np.corrcoef(told[row].ravel(), ours.maps[row].ravel())[0, 1] <= -0.999 for row in seen)
    assert min(np.corrcoef(mixed[row].ravel(), -ours.maps[row].ravel())[0, 1] for row in seen) < 0.9

"""Grad-CAM against closed forms and against captum, on the networks peers get wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.explain.attribute import explain


class Closed(nn.Module):
    """Two feature maps, the image and its negative; classes weigh their means: the map is ``relu(Σ w_k A_k) / positions``."""

    weights = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, -1.0]])

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.maps = nn.Conv2d(1, 2, 1, bias=False)
        self.maps.weight.data = torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1)
        self.inplace = inplace

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        features = self.maps(inputs)
        features = features.mul_(1.0).add_(5.0) if self.inplace else features + 5.0
        return features.mean((2, 3)) @ self.weights.T


def monai_network(name: str) -> nn.Module:
    from monai.networks.nets import DenseNet, resnet10

    torch.manual_seed(2)
    if name == "densenet":
        net = DenseNet(2, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2))
    else:
        net = resnet10(spatial_dims=2, n_input_channels=1, num_classes=3, conv1_t_stride=2)
    net(torch.randn(16, 1, 32, 32))  # in train mode: batch-norm statistics other than 0 and 1
    return net.eval()


CLASSES = ("no", "yes", "other")


@pytest.mark.parametrize("inplace", [False, True])
def test_closed_form_is_met_though_the_next_step_overwrites_the_layer(inplace: bool, make_model, make_cohort) -> None:
    cohort = make_cohort(4, shape=(1, 8, 8))
    images = cohort.images()[:, 0]
    net = Closed(inplace=inplace)
    for target, (first, second) in enumerate(net.weights.tolist()):
        maps = explain(make_model(net, CLASSES), cohort, target=target, layer="maps").maps
        assert np.allclose(maps, np.maximum((first - second) * images / 64, 0), atol=1e-7)


def test_a_class_without_evidence_gets_zeros_and_a_flag(make_model, make_cohort) -> None:
    cohort = make_cohort(np.full((2, 1, 8, 8), -1, np.float32))
    assert explain(make_model(Closed(), CLASSES), cohort, target="no").flags == ("no evidence", "no evidence")


def test_a_thousandth_of_the_evidence_gives_a_thousandth_of_the_map(make_model, make_cohort) -> None:
    cohort, small = make_cohort(2), Closed()
    small.weights = Closed.weights / 1000
    whole, part = (explain(make_model(net, CLASSES), cohort, target=0).maps for net in (Closed(), small))
    assert np.allclose(part, whole / 1000)


@pytest.mark.parametrize("name", ["densenet", "resnet"])
@pytest.mark.parametrize("layer", [None, "early"])
def test_it_equals_captum(name: str, layer: str | None, make_model, make_cohort) -> None:
    from captum.attr import LayerAttribution, LayerGradCam

    net, cohort = monai_network(name), make_cohort(6)
    layer = layer and {"densenet": "features.norm5", "resnet": "layer2"}[name]  # norm5: an in-place ReLU follows
    model = make_model(net, CLASSES)
    ours = explain(model, cohort, layer=layer, target="true", batch_size=4)
    targets = torch.from_numpy(ours.targets.copy())
    theirs = LayerGradCam(net, net.get_submodule(ours.settings["layer"])).attribute(
        model.inputs(cohort), targets, relu_attributions=True
    )
    theirs = LayerAttribution.interpolate(theirs, (32, 32), "bilinear").detach().numpy()[:, 0]
    assert np.abs(ours.maps - theirs).max() <= 1e-6 * max(1, theirs.max())
    assert np.corrcoef(ours.maps.ravel(), theirs.ravel())[0, 1] >= 0.9999


@pytest.mark.parametrize("name", ["densenet", "resnet"])
@pytest.mark.parametrize("target", ["predicted", "true"])
def test_an_image_in_a_batch_gets_the_map_it_gets_alone(name: str, target: str, make_model, make_cohort) -> None:
    model, cohort = make_model(monai_network(name), CLASSES), make_cohort(5)
    together = explain(model, cohort, target=target, batch_size=5).maps
    alone = explain(model, cohort, target=target, batch_size=1).maps
    assert np.abs(together - alone).max() <= 1e-6


@pytest.mark.parametrize(("name", "layer"), [("densenet", "class_layers.relu"), ("resnet", "layer4")])
def test_the_last_layer_with_extent_is_found_and_naming_it_changes_nothing(
    name: str, layer: str, make_model, make_cohort
) -> None:
    model, cohort = make_model(monai_network(name), CLASSES), make_cohort(3, shape=(1, 48, 48))
    found = explain(model, cohort)
    assert found.settings["layer"] == layer
    assert np.array_equal(found.maps, explain(model, cohort, layer=layer).maps)


def test_the_last_layer_is_found_though_it_was_registered_first(make_model, make_cohort) -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Conv2d(2, 2, 3)
            self.others = nn.Sequential(*[nn.Identity() for _ in range(20)], nn.Conv2d(1, 2, 3))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.last(self.others(inputs)).mean((2, 3))

    found = explain(make_model(Backwards()), make_cohort(2))
    assert found.settings["layer"] == "last"


def test_the_map_is_carried_to_the_input_without_a_shift(make_model, make_cohort) -> None:
    image = np.zeros((1, 1, 16, 32), np.float32)
    image[..., 4:8, 8:12] = 1  # one cell of the pooled grid, its centre at (5.5, 9.5)
    net = nn.Sequential(nn.AvgPool2d(4), Closed())
    heat = explain(make_model(net, CLASSES), make_cohort(image), target=0).maps[0]
    centre = [(np.indices(heat.shape)[axis] * heat).sum() / heat.sum() for axis in (0, 1)]
    assert heat.shape == (16, 32)
    assert centre == pytest.approx([5.5, 9.5], abs=1e-5)


def test_nothing_of_the_trunk_is_recorded_for_backward(make_model, make_cohort) -> None:
    net = monai_network("densenet")
    kept: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        explain(make_model(net, CLASSES), make_cohort(2), layer="class_layers.relu")
    assert sum(kept) <= 2 * 4 * 4 * 16 * 8  # the last feature maps, not the 32 × 32 ones


def test_it_equals_captum_on_volumes(make_model, make_cohort) -> None:
    from captum.attr import LayerAttribution, LayerGradCam
    from monai.networks.nets import DenseNet

    torch.manual_seed(2)
    net = DenseNet(3, 1, 3, init_features=8, growth_rate=4, block_config=(2, 2))
    net(torch.randn(8, 1, 24, 32, 16))  # in train mode: batch-norm statistics other than 0 and 1
    model, cohort = make_model(net.eval(), CLASSES), make_cohort(3, shape=(1, 24, 32, 16))
    ours = np.concatenate([m.maps for m in explain(model, cohort, layer="features.norm5", target="each").values()])
    peer = LayerGradCam(net, net.features.norm5)  # an in-place ReLU follows
    theirs = [peer.attribute(model.inputs(cohort), k, relu_attributions=True) for k in range(3)]
    fine = LayerAttribution.interpolate(torch.cat(theirs), (24, 32, 16), "trilinear").detach().numpy()[:, 0]
    assert np.abs(ours - fine).max() <= 1e-5 * fine.max()
    assert np.corrcoef(ours.ravel(), fine.ravel())[0, 1] >= 0.9999

"""Class activation maps beside pytorch-grad-cam 1.5.7: the same where it is right, and where it is not, how."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.explain.attribute import explain
from workbench.models.model import Model

if TYPE_CHECKING:
    from types import ModuleType

CLASSES = ("no", "yes", "other")
PEER = {"gradcam": "GradCAM", "hirescam": "HiResCAM", "layercam": "LayerCAM", "scorecam": "ScoreCAM"}


def resnet(axes: int = 2) -> nn.Module:
    from monai.networks.nets import resnet10

    torch.manual_seed(2)
    net = resnet10(spatial_dims=axes, n_input_channels=1, num_classes=3, conv1_t_stride=2)
    net(torch.randn(16, 1, *(32,) * axes))  # in train mode: batch-norm statistics other than 0 and 1
    return net.eval()


def pictures(*shape: int) -> torch.Tensor:
    return torch.randn(3, 1, *shape, generator=torch.Generator().manual_seed(1))


def ours(net: nn.Module, images: torch.Tensor, method: str, layer: str) -> np.ndarray:
    ids = [f"i{row}" for row in range(len(images))]
    table = pd.DataFrame({"patient": ids, "label": "no"}, index=pd.Index(ids, name="id"))
    cohort = Cohort(table, CLASSES, (), ArrayPixels.of(images.numpy(), ids))
    return explain(Model.wrap(net, classes=CLASSES), cohort, method, target="yes", layer=layer).maps


def theirs(peer: ModuleType, net: nn.Module, images: torch.Tensor, *, method: str, layer: str) -> np.ndarray:
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(1)] * len(images)
    with getattr(peer, PEER[method])(model=net, target_layers=[net.get_submodule(layer)]) as cam:
        return cam(input_tensor=images, targets=targets)


def likeness(first: np.ndarray, second: np.ndarray) -> list[float]:
    return [float(np.corrcoef(a.ravel(), b.ravel())[0, 1]) for a, b in zip(first, second, strict=True)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("layer", ["layer2", "layer3"])
@pytest.mark.parametrize("method", ["gradcam", "layercam", "scorecam"])
def test_maps_are_the_same_on_layers_that_nothing_changes_afterwards(pytorch_grad_cam, method, layer) -> None:
    net, images = resnet(), pictures(64, 48)
    told = theirs(pytorch_grad_cam, net, images, method=method, layer=layer)
    assert min(likeness(ours(net, images, method, layer), told)) >= 0.9999


@pytest.mark.parametrize("layer", ["layer2", "layer3"])
def test_hirescam_is_the_same_before_they_cut_off_what_speaks_against_the_class(pytorch_grad_cam, layer) -> None:
    net, images, kept = resnet(), pictures(64, 48), []
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with pytorch_grad_cam.HiResCAM(model=net, target_layers=[net.get_submodule(layer)]) as cam:
        whole = cam.get_cam_image
        cam.get_cam_image = lambda *given: kept.append(whole(*given)) or kept[-1]
        cam(input_tensor=images, targets=[ClassifierOutputTarget(1)] * 3)
    told = interpolate(torch.from_numpy(kept[0])[:, None], size=(64, 48), mode="bilinear")[:, 0].numpy()
    made = ours(net, images, "hirescam", layer)
    assert made.min() < 0 < made.max()
    assert min(likeness(made, told)) >= 0.9999


class InPlace(nn.Module):
    """A layer whose output the next one overwrites, as in MONAI's DenseNet; `inplace` tells the same network otherwise."""

    def __init__(self, *, inplace: bool) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layer = nn.Conv2d(1, 6, 5, stride=2)
        self.relu = nn.ReLU(inplace=inplace)
        self.head = nn.Linear(6, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.relu(self.layer(images)).mean((2, 3)))


def test_a_layer_that_is_overwritten_in_place_is_read_before_it_is(pytorch_grad_cam) -> None:
    images = pictures(24, 24)
    safe, overwritten = InPlace(inplace=False).eval(), InPlace(inplace=True).eval()
    right = ours(safe, images, "gradcam", "layer")
    assert np.array_equal(ours(overwritten, images, "gradcam", "layer"), right)
    asked = {"method": "gradcam", "layer": "layer"}
    assert min(likeness(right, theirs(pytorch_grad_cam, safe, images, **asked))) >= 0.9999
    assert max(likeness(right, theirs(pytorch_grad_cam, overwritten, images, **asked))) < 0.99  # silently another map


def test_weak_evidence_stays_weak(pytorch_grad_cam) -> None:
    strong, weak, images = resnet(), resnet(), pictures(64, 48)
    with torch.no_grad():
        weak.fc.weight /= 1000
    made = [ours(net, images, "gradcam", "layer2") for net in (strong, weak)]
    assert made[0] == pytest.approx(1000 * made[1], rel=1e-4)
    told = [theirs(pytorch_grad_cam, net, images, method="gradcam", layer="layer2") for net in (strong, weak)]
    assert told[0] == pytest.approx(told[1], abs=1e-3)  # both from 0 to 1: the difference is gone
    assert told[1].max() == pytest.approx(1, abs=1e-3)


def test_volumes_are_carried_to_the_input_by_linear_interpolation(pytorch_grad_cam) -> None:
    net, images, kept = resnet(3), pictures(24, 32, 16), []
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with pytorch_grad_cam.GradCAM(model=net, target_layers=[net.layer2]) as cam:
        whole = cam.get_cam_image
        cam.get_cam_image = lambda *given: kept.append(whole(*given)) or kept[-1]
        told = cam(input_tensor=images, targets=[ClassifierOutputTarget(1)] * 3)
    coarse = torch.from_numpy(np.maximum(kept[0], 0))[:, None]
    right = interpolate(coarse, size=(24, 32, 16), mode="trilinear")[:, 0].numpy()
    made = ours(net, images, "gradcam", "layer2")
    assert min(likeness(made, right)) >= 0.9999  # their map on the layer's grid is right
    assert max(likeness(made, told)) < 0.99  # how it comes to the input's is not


def test_frozen_networks_are_explained_and_a_users_gradients_kept(pytorch_grad_cam) -> None:
    net, images = resnet(), pictures(32, 32)
    net(images).sum().backward()
    before = net.conv1.weight.grad.clone()
    ours(net, images, "gradcam", "layer2")
    assert torch.equal(net.conv1.weight.grad, before)
    theirs(pytorch_grad_cam, net, images, method="gradcam", layer="layer2")
    assert not torch.equal(net.conv1.weight.grad, before)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    assert ours(net, images, "gradcam", "layer2").max() > 0
    with pytest.raises(RuntimeError):
        theirs(pytorch_grad_cam, net, images, method="gradcam", layer="layer2")

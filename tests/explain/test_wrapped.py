"""Networks as people have them: frozen, in half precision, compiled, in parallel, wrapped, with unusual normalisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.explain.attribute import explain
from workbench.explain.untouched import unwrapped

METHODS = [("gradcam", {}), ("shap", {"samples": 4})]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).eval()  # fmt: skip


class Wrapper(nn.Module):
    """What people write around a network: another name, a dictionary inside, a tuple unpacked."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.backbone = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return {"logits": self.backbone(x), "extra": None}["logits"]


@pytest.mark.parametrize("wrap", [nn.DataParallel, Wrapper, lambda net: nn.DataParallel(Wrapper(net))])
@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_a_wrapped_network_gets_the_maps_of_the_one_inside(wrap, method, settings, make_model, make_cohort) -> None:
    cohort = make_cohort(4)
    bare = explain(make_model(network()), cohort, method, **settings)
    assert np.allclose(explain(make_model(wrap(network())), cohort, method, **settings).maps, bare.maps, atol=1e-6)


@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_a_compiled_network_gets_the_maps_of_the_one_it_was_made_of(method, settings, make_model, make_cohort) -> None:
    cohort = make_cohort(4)
    bare = explain(make_model(network()), cohort, method, **settings)
    compiled = torch.compile(network(), backend="eager")
    compiled(torch.zeros(1, 1, 32, 32))
    in_place = network()
    in_place.compile(backend="eager")
    in_place(torch.zeros(1, 1, 32, 32))
    for net in (compiled, in_place):
        assert np.allclose(explain(make_model(net), cohort, method, **settings).maps, bare.maps, atol=1e-6)
    assert in_place._compiled_call_impl is not None
    assert unwrapped(compiled) is not compiled


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_precision_changes_the_map_only_by_rounding(dtype, method, settings, make_model, make_cohort) -> None:
    cohort = make_cohort(4)
    full = explain(make_model(network()), cohort, method, target="yes", **settings)
    other = explain(make_model(network().to(dtype)), cohort, method, target="yes", **settings)
    assert other.maps.dtype == np.float32
    # A unit next to zero may fall on the other side of a ReLU; as a whole the map is the same.
    distance = np.linalg.norm(other.maps - full.maps) / np.linalg.norm(full.maps)
    assert distance <= (1e-5 if dtype == torch.float64 else 0.05)


@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_batch_norm_without_running_statistics_does_not_mix_images(method, settings, make_model, make_cohort) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))  # fmt: skip
    cohort = make_cohort(4)
    settings = settings | ({"background": cohort} if method == "shap" else {})
    together = explain(make_model(net), cohort, method, batch_size=4, **settings)
    alone = explain(make_model(net), cohort.subset(["i2"]), method, batch_size=4, **settings)
    assert np.allclose(together.maps[2], alone.maps[0], atol=1e-6)


def test_a_frozen_scripted_or_traced_network_is_explained(make_model, make_cohort) -> None:
    cohort, net = make_cohort(4), network().requires_grad_(False)
    bare = explain(make_model(net), cohort, "shap", samples=4)
    with pytest.warns(DeprecationWarning, match=r"torch\.jit"):
        traced = torch.jit.trace(net, torch.zeros(2, 1, 32, 32))
    assert np.allclose(explain(make_model(traced), cohort, "shap", samples=4).maps, bare.maps, atol=1e-6)


def test_images_made_under_inference_mode_are_taken(make_model, make_cohort) -> None:
    cohort, net = make_cohort(4), network()
    with torch.inference_mode():
        model = make_model(net, preprocessing=lambda image: torch.from_numpy(np.asarray(image)) * 1.0)
        assert explain(model, cohort, "shap", samples=2).maps.any()

"""Nothing of the user's network changes by looking at it."""

from __future__ import annotations

import copy
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from workbench.explain.attribute import explain
from workbench.explain.untouched import untouched

METHODS = [
    *[(name, {}) for name in ("gradcam", "gradcam++", "hirescam", "layercam", "eigencam", "scorecam")],
    *[(name, {}) for name in ("saliency", "input-x-gradient", "guided-backprop")],
    ("smoothgrad", {"samples": 2}),
    ("integrated-gradients", {"steps": 2, "max_steps": 2, "tolerance": 1e6}),
    ("shap", {"samples": 2}),
    ("partition-shap", {"count": 16}),
    ("region-shap", {"regions": "grid", "parts": (2, 2)}),
    ("occlusion", {"window": 16}),
    ("rise", {"masks": 32}),
]
# Guided backprop warns, each time, that it does not depend on the model.
pytestmark = pytest.mark.filterwarnings("ignore:guided:workbench.errors.EvidenceWarning")


class Noisy(nn.Module):
    """Counts its calls and draws numbers even in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        random.random()
        np.random.rand()  # noqa: NPY002
        return inputs + 0 * torch.rand(())


def network() -> nn.Sequential:
    torch.manual_seed(1)
    net = nn.Sequential(
        Noisy(), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip
    net.train()
    net[2].eval()
    net[1].weight.requires_grad_(False)
    net[7].weight.grad = torch.full_like(net[7].weight, 3.0)
    net[3].register_forward_hook(lambda *_: None)
    return net


def state(net: nn.Module) -> dict:
    return {
        "modes": [module.training for module in net.modules()],
        "inplace": [getattr(module, "inplace", None) for module in net.modules()],
        "asked": [parameter.requires_grad for parameter in net.parameters()],
        "gradients": [None if p.grad is None else p.grad.tolist() for p in net.parameters()],
        "hooks": [
            [*module._forward_hooks, *module._forward_pre_hooks, *module._backward_hooks] for module in net.modules()
        ],
        "weights": {name: value.tolist() for name, value in net.state_dict().items()},
        "random": [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()],  # noqa: NPY002
        "switches": [torch.is_grad_enabled(), torch.is_inference_mode_enabled()],
    }


@pytest.mark.parametrize("part", list(state(network())))
@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_explaining_leaves_as_they_were(part: str, method: str, settings: dict, make_model, make_cohort) -> None:
    net = network()
    before = copy.deepcopy(state(net)[part])
    explain(make_model(net), make_cohort(4), method, **settings)
    assert state(net)[part] == before


def test_a_failure_midway_leaves_everything_as_it_was() -> None:
    net = network()
    before = copy.deepcopy(state(net))
    with pytest.raises(RuntimeError, match="channels"), untouched(net):
        net(torch.zeros(2, 3, 8, 8))
    assert state(net) == before


@pytest.mark.parametrize("switch", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize(("method", "settings"), METHODS)
def test_it_works_where_gradients_are_switched_off(
    switch, method: str, settings: dict, make_model, make_cohort
) -> None:
    model, cohort = make_model(network()), make_cohort(4)
    free = explain(model, cohort, method, **settings)
    with switch():
        assert np.array_equal(explain(model, cohort, method, **settings).maps, free.maps)
        assert not torch.is_grad_enabled()


def test_frozen_networks_are_explained(make_model, make_cohort) -> None:
    net = network().requires_grad_(False)
    assert explain(make_model(net), make_cohort(4)).maps.any()


def test_the_number_of_threads_is_as_before_in_old_and_new_threads(make_model, make_cohort) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        explain(make_model(network()), make_cohort(4), batch_size=2)
        with ThreadPoolExecutor(1) as other:
            assert (torch.get_num_threads(), other.submit(torch.get_num_threads).result()) == (2, 2)
    finally:
        torch.set_num_threads(before)

"""Randomising a network: what changes and what does not, in which order, and that activations keep their scale."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.explain.quality.randomise import cascade


def small(*, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace), nn.Conv2d(4, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3),
    )  # fmt: skip
    with torch.no_grad():
        for norm in (net[1], net[4]):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
    net(torch.randn(32, 1, 16, 16))
    return net.eval()


def network_of(name: str, dimensions: int) -> nn.Module:
    from monai.networks.nets import DenseNet, resnet10

    torch.manual_seed(1)
    if name == "densenet":
        net = DenseNet(dimensions, 2, 3, init_features=8, growth_rate=4, block_config=(2, 2))
    elif name == "resnet":
        net = resnet10(spatial_dims=dimensions, n_input_channels=2, num_classes=3, conv1_t_stride=2)
    else:
        net = Tokens(dimensions)
    net(torch.randn(8, 2, *[32] * dimensions))
    return net.eval()


class Tokens(nn.Module):
    """A small vision transformer, with parameters that belong to no layer."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.embed = (nn.Conv2d if dimensions == 2 else nn.Conv3d)(2, 12, 8, 8)
        self.place = nn.Parameter(torch.randn(1, 4**dimensions, 12))
        layer = nn.TransformerEncoderLayer(12, 2, 16, dropout=0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(12, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.embed(images).flatten(2).transpose(1, 2) + self.place).mean(1))


IMAGES = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(2))


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    own = dict(before.state_dict())
    return {name for name, value in after.state_dict().items() if not torch.equal(value, own[name])}


def test_the_network_itself_stays_bit_for_bit() -> None:
    net = small(inplace=True).train()
    before = copy.deepcopy(net.state_dict())
    for stage in cascade(net, IMAGES):
        stage.network(IMAGES.clone())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())


def test_each_stage_changes_exactly_the_parameters_it_names() -> None:
    net = small()
    parameters = {name for name, _ in net.named_parameters()}
    for stage in cascade(net, IMAGES, stages=3):
        assert changed(net, stage.network) & parameters == set(stage.randomised)


def test_randomness_reaches_down_from_the_output_until_all_is_random() -> None:
    found = [(stage.name, stage.fraction, set(stage.randomised)) for stage in cascade(small(), IMAGES, stages=5)]
    assert [name for name, _, _ in found] == ["8", "4", "3", "1", "0"]
    assert all(fewer[2] < more[2] and fewer[1] < more[1] for fewer, more in itertools.pairwise(found))
    assert found[-1][1] == 1
    assert found[0][1] == pytest.approx(21 / sum(p.numel() for p in small().parameters()))


def test_modules_are_ordered_by_when_they_run_not_by_when_they_were_made() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Parameter(torch.randn(3, 4))
            self.last, self.first = nn.Conv2d(4, 4, 1), nn.Conv2d(1, 4, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(images)).mean((2, 3)) @ self.head.T

    found = [stage.randomised for stage in cascade(Backwards(), IMAGES, stages=3)]
    assert found[0] == ("head",)
    assert found[1] == ("head", "last.weight", "last.bias")


def test_attention_is_randomised_though_its_output_projection_never_runs_as_a_module() -> None:
    found = [stage.randomised for stage in cascade(Tokens(2), torch.randn(4, 2, 32, 32), stages=6)]
    assert found[0][:2] == ("head.weight", "head.bias")
    assert any(name.endswith("1.self_attn.out_proj.weight") for name in found[2])
    assert not any(name.startswith(("embed", "place")) for name in found[4])
    assert {"embed.weight", "place"} < set(found[5])


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", ["densenet", "resnet", "vit"])
def test_scores_of_random_networks_keep_their_order_of_magnitude(name: str, dimensions: int) -> None:
    net = network_of(name, dimensions)
    images = torch.randn(8, 2, *[32] * dimensions)
    with torch.no_grad():
        spread = net(images).std(0).mean()
        stages = [stage.network(images).std(0).mean() / spread for stage in cascade(net, images, stages=4, seed=3)]
    assert len(stages) == 4
    assert all(0.05 < ratio < 20 for ratio in stages)


def test_batch_norm_takes_its_statistics_from_what_arrives_and_untouched_layers_keep_theirs() -> None:
    net = small()
    stage = next(stage for stage in cascade(net, IMAGES, stages=5) if stage.name == "3")
    with torch.no_grad():
        arriving = stage.network[:4](IMAGES.clone()).transpose(0, 1).flatten(1)
    assert torch.allclose(stage.network[4].running_mean, arriving.mean(1), atol=1e-5)
    assert torch.allclose(stage.network[4].running_var, arriving.var(1), rtol=1e-2)
    assert torch.equal(stage.network[1].running_mean, net[1].running_mean)


def test_batch_norm_without_parameters_of_its_own_is_calibrated_too() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, affine=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    first, last = (copy.deepcopy(stage.network) for stage in cascade(net, IMAGES, stages=2))
    assert torch.equal(first[1].running_var, torch.ones(4))  # only the linear layer after it is random
    with torch.no_grad():
        assert torch.allclose(last[:2](IMAGES).std((0, 2, 3)), torch.ones(4), atol=1e-2)


def test_draws_keep_mean_and_spread_of_each_tensor_and_follow_from_the_seed() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 64, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 64))
    own = net[4].weight.detach()
    drawn = [list(cascade(net, IMAGES, stages=2, seed=seed))[-1].network[4].weight for seed in (5, 5, 6)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert drawn[0].std() == pytest.approx(float(own.std()), rel=0.05)
    assert abs(np.corrcoef(drawn[0].flatten(), own.flatten())[0, 1]) < 0.1


def test_every_stage_draws_anew() -> None:
    weights = [stage.network[8].weight.clone() for stage in cascade(small(), IMAGES, stages=2)]
    assert not torch.equal(*weights)


def test_a_shared_tensor_is_drawn_once_and_stays_shared() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(), nn.Linear(256, 2)
    )
    net[2].weight = net[0].weight
    last = list(cascade(net, IMAGES))[-1]
    assert last.network[2].weight is last.network[0].weight
    assert last.fraction == 1


def test_what_cannot_be_randomised_is_refused() -> None:
    constant = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    for parameter in constant.parameters():
        nn.init.constant_(parameter, 0.5)
    with pytest.raises(InputError, match="no parameter to randomise"):
        next(iter(cascade(constant, IMAGES)))
    with pytest.raises(InputError, match="stages 0 must be"):
        next(iter(cascade(small(), IMAGES, stages=0)))
    lazy = small()
    lazy.lock = open(__file__)  # noqa: PTH123, SIM115
    with lazy.lock, pytest.raises(InputError, match="cannot be copied"):
        next(iter(cascade(lazy, IMAGES)))

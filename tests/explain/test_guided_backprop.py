"""Guided backpropagation: captum's map where captum sees every ReLU, the paper's rule where it does not; and the caution."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from workbench.errors import EvidenceWarning, InputError
from workbench.explain.attribute import explain

METHOD = "guided-backprop"


@pytest.fixture
def guided(make_model):
    """Explain with the caution heard."""

    def run(network: nn.Module, cohort, **settings):
        with pytest.warns(EvidenceWarning, match=r"Adebayo et al\. 2018"):
            return explain(make_model(network, settings.pop("classes", ("no", "yes"))), cohort, METHOD, **settings)

    return run


class Gate(nn.Module):
    """The score is ``relu(x) - 2 relu(x)``, written in the way asked; guided, only the first term's gradient passes."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.module, self.inplace = way, nn.ReLU(), nn.ReLU(inplace=True)
        self.bounded = nn.ReLU6(inplace=True)

    def rectified(self, inputs: torch.Tensor) -> torch.Tensor:
        ways = {
            "module": self.module, "module in place": lambda x: self.inplace(x * 1), "functional": functional.relu,
            "functional in place": lambda x: functional.relu(x * 1, inplace=True), "torch.relu": torch.relu,
            "method": lambda x: x.relu(), "method in place": lambda x: (x * 1).relu_(), "torch.relu_": lambda x: torch.relu_(x * 1),
            "ReLU6": lambda x: self.bounded(x * 1), "functional relu6": functional.relu6,
        }  # fmt: skip
        return ways[self.way](inputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        first, second = self.rectified(inputs), self.rectified(inputs)
        score = (first - 2 * second).flatten(1).sum(1)
        return torch.stack([-score, score], 1)


WAYS = ("module", "module in place", "functional", "functional in place", "torch.relu", "method", "method in place",
        "torch.relu_", "ReLU6", "functional relu6")  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("shape", [(2, 5, 5), (1, 4, 5, 5)])
def test_no_relu_hands_back_a_negative_gradient_however_it_is_written(way: str, shape, guided, make_cohort) -> None:
    cohort = make_cohort(3, shape=shape)
    maps = guided(Gate(way), cohort, target="yes")
    assert np.array_equal(maps.maps, (cohort.images() > 0).sum(1))  # the gradient itself is -1 there
    assert maps.settings["guided"] == 2


def resnet(axes: int) -> nn.Module:
    """Each block of MONAI's ResNet uses one in-place ReLU twice."""
    from monai.networks.nets import resnet10

    torch.manual_seed(2)
    net = resnet10(spatial_dims=axes, n_input_channels=2, num_classes=3, conv1_t_stride=2)
    net(torch.randn(8, 2, *[32] * axes))  # in train mode: batch-norm statistics other than 0 and 1
    return net.eval()


def sequential(axes: int) -> nn.Module:
    torch.manual_seed(2)
    conv, pool = (nn.Conv2d, nn.AvgPool2d) if axes == 2 else (nn.Conv3d, nn.AvgPool3d)
    return nn.Sequential(
        conv(2, 8, 3), nn.ReLU(), conv(8, 8, 3), nn.ReLU(), pool(4), nn.Flatten(), nn.LazyLinear(3)
    ).eval()  # fmt: skip


@pytest.mark.parametrize("axes", [2, 3])
def test_it_equals_captum_where_every_relu_is_a_module_of_its_own(axes: int, guided, make_cohort) -> None:
    from captum.attr import GuidedBackprop

    net, cohort = sequential(axes), make_cohort(4, shape=(2, *[16] * axes))
    net(torch.from_numpy(cohort.images()))
    ours = guided(net, cohort, target="true", classes=("no", "yes", "other"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = GuidedBackprop(net).attribute(
            torch.from_numpy(cohort.images()).requires_grad_(), torch.tensor([0, 1, 0, 1])
        )
    assert np.abs(ours.maps - theirs.sum(1).detach().numpy()).max() <= 1e-6
    assert np.abs(ours.maps).max() > 1e-3


@pytest.mark.parametrize("axes", [2, 3])
def test_monais_resnet_is_guided_as_with_custom_relus_written_into_it(axes: int, guided, make_cohort) -> None:
    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(context, inputs):
            context.save_for_backward(inputs)
            return inputs.clamp(min=0)

        @staticmethod
        def backward(context, gradient):
            return gradient.clamp(min=0) * (context.saved_tensors[0] > 0)

    class Written(nn.Module):
        def forward(self, inputs):
            return Rule.apply(inputs)

    cohort = make_cohort(2, shape=(2, *[32] * axes))
    maps = guided(resnet(axes), cohort, target="yes", classes=("no", "yes", "other"))
    assert maps.settings["guided"] == 9
    net = resnet(axes)
    for module in list(net.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(module, name, Written())
    inputs = torch.from_numpy(cohort.images()).requires_grad_()
    (gradient,) = torch.autograd.grad(net(inputs)[:, 1].sum(), inputs)
    assert np.allclose(maps.maps, gradient.sum(1).numpy(), atol=1e-6 * gradient.abs().max().item())


def test_captum_misses_functional_relus_and_we_do_not(guided, make_cohort) -> None:
    from captum.attr import GuidedBackprop, Saliency

    net, cohort = Gate("functional"), make_cohort(2, shape=(1, 5, 5))
    inputs = torch.from_numpy(cohort.images())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = GuidedBackprop(net).attribute(inputs.clone().requires_grad_(), 1)
        plain = Saliency(net).attribute(inputs.clone().requires_grad_(), 1, abs=False)
    assert torch.equal(theirs, plain)
    assert (guided(net, cohort, target="yes").maps >= 0).all()


def test_all_targets_come_from_one_forward_pass_and_batches_change_nothing(guided, make_cohort) -> None:
    net, cohort = sequential(2), make_cohort(5, shape=(2, 16, 16))
    net(torch.from_numpy(cohort.images()))
    calls: list[int] = []
    handle = net.register_forward_hook(lambda _module, _args, output: calls.append(len(output)))
    together = guided(net, cohort, target="each", batch_size=4, classes=("no", "yes", "other"))
    handle.remove()
    assert calls == [4, 1]
    for name, maps in together.items():
        alone = guided(net, cohort.subset(["i4"]), target=name, classes=("no", "yes", "other"))
        assert np.abs(alone.maps[0] - maps.maps[4]).max() <= 1e-6


def test_the_record_says_why_not_to_trust_it_and_what_was_left_unguided(guided, make_cohort) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.GELU(), nn.ReLU(), nn.LeakyReLU(), nn.Flatten(), nn.Linear(72, 2))
    settings = guided(net, make_cohort(2, shape=(1, 8, 8)), target="yes").settings
    assert settings["guided"] == 1
    assert settings["unguided"] == ["gelu", "leaky_relu"]
    assert "1810.03292" in settings["caution"]
    assert "1805.07039" in settings["caution"]


def test_gradients_are_plain_again_afterwards(guided, make_model, make_cohort) -> None:
    net, cohort = Gate("module in place"), make_cohort(2, shape=(1, 5, 5))
    before = explain(make_model(net), cohort, "saliency", target="yes", absolute=False).maps
    guided(net, cohort, target="yes")
    assert np.array_equal(before, explain(make_model(net), cohort, "saliency", target="yes", absolute=False).maps)
    assert not any(module._backward_hooks or module._forward_hooks for module in net.modules())


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([nn.GELU(), nn.PReLU()], "runs no ReLU but gelu, prelu; use method='saliency'"),
        ([nn.Hardtanh()], "runs no ReLU but hardtanh"),
        ([], "runs no ReLU; use"),
    ],
)
def test_a_network_without_any_relu_is_refused(layers, said: str, guided, make_cohort) -> None:
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(InputError, match=said):
        guided(net, make_cohort(2, shape=(1, 8, 8)))


def test_half_precision_gives_float32_maps(guided, make_cohort) -> None:
    net, cohort = sequential(2), make_cohort(2, shape=(2, 16, 16))
    net(torch.from_numpy(cohort.images()))
    full = guided(net, cohort, target="yes", classes=("no", "yes", "other")).maps
    half = guided(net.half(), cohort, target="yes", classes=("no", "yes", "other")).maps
    assert half.dtype == np.float32
    assert np.corrcoef(full.ravel(), half.ravel())[0, 1] > 0.98

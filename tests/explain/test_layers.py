"""Which layer a map is drawn from: found, named, or refused with what would work; and how its output lies on the image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import interpolate

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.layers import Layers


def runs_of(net: nn.Module) -> list[int]:
    runs: list[int] = []
    net.register_forward_hook(lambda _m, given, _o: runs.append(len(given[0])))
    return runs


def convolutions(outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3, 2), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, outputs),
    )  # fmt: skip


def test_the_layer_is_found_within_the_pass_that_explains(make_model, make_cohort) -> None:
    net = convolutions()
    runs = runs_of(net)
    found = explain(make_model(net), make_cohort(5), batch_size=2)
    assert found.settings["layer"] == "3"
    assert runs == [2, 2, 1]


def test_after_the_first_batch_only_that_layer_is_hooked(make_cohort) -> None:
    net = convolutions()
    images = torch.from_numpy(make_cohort(2).images())
    layers, hooked = Layers(net), []
    layers.look(images, run=net)
    net[5].register_forward_hook(lambda *_: hooked.extend(len(m._forward_hooks) for m in net))
    layers.look(images, run=net)
    assert hooked == [0, 0, 0, 1, 0, 1, 0]


class Early(nn.Module):
    """The layer that runs last was registered first, so far in front that its output is not copied on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(2, 2, 3)
        self.others = nn.Sequential(*[nn.Identity() for _ in range(20)], nn.Conv2d(1, 2, 3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.others(inputs)).mean((2, 3))


def test_a_layer_registered_first_is_found_by_a_look_at_one_image(make_model, make_cohort) -> None:
    net = Early()
    runs = runs_of(net)
    assert explain(make_model(net), make_cohort(4), batch_size=4).settings["layer"] == "last"
    assert runs == [4, 1, 4]


def test_several_layers_come_in_the_order_named_and_are_recorded(make_model, make_cohort) -> None:
    found = explain(make_model(convolutions()), make_cohort(2), layer=["2", "0"])
    assert found.settings["layer"] == ["2", "0"]
    assert found.maps.any()


def test_what_enters_a_layer_is_what_left_the_one_before(make_model, make_cohort) -> None:
    model, cohort = make_model(convolutions()), make_cohort(3)
    left, entered = (explain(model, cohort, "hirescam", target=1, layer=layer).maps for layer in ("1", "input of 2"))
    assert left.any()
    assert np.array_equal(left, entered)


@pytest.mark.parametrize("axes", [2, 3])
def test_of_a_segmentation_it_is_the_bottleneck(axes: int, make_model, make_cohort) -> None:
    from monai.networks.nets import UNet

    torch.manual_seed(0)
    net = UNet(axes, 1, 2, channels=(4, 8, 16), strides=(2, 2))
    shape = (16, 24, 32)[:axes]
    cohort = make_cohort(3, shape=(1, *shape))
    model = make_model(net, task="segmentation")
    seen = {}
    found = explain(model, cohort, target="yes", batch_size=2)
    with net.get_submodule(found.settings["layer"]).register_forward_hook(lambda _m, _i, o: seen.update(shape=o.shape)):
        again = explain(model, cohort, target="yes", layer=found.settings["layer"])
    assert seen["shape"][2:] == tuple(size // 4 for size in shape)
    assert np.allclose(found.maps, again.maps, atol=1e-6)
    assert found.maps.shape == (3, *shape)


class Slices(nn.Module):
    """A 2-D network for each slice of a volume or frame of a cine, and the mean of what they say."""

    def __init__(self) -> None:
        super().__init__()
        self.each = convolutions()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        slices = inputs.transpose(1, 2).flatten(0, 1)
        return self.each(slices).unflatten(0, (len(inputs), -1)).mean(1)


@pytest.mark.parametrize("method", ["gradcam", "layercam", "eigencam", "scorecam"])
def test_slices_through_a_2d_network_make_a_volume(method: str, make_model, make_cohort) -> None:
    model, cohort = make_model(Slices()), make_cohort(3, shape=(1, 4, 16, 20))
    found = explain(model, cohort, method, batch_size=3, target="each")["yes"]
    assert found.maps.shape == (3, 4, 16, 20)
    assert np.allclose(found.maps, explain(model, cohort, method, batch_size=1, target="yes").maps, atol=1e-6)


def test_each_slice_gets_the_map_it_gets_alone_over_their_number(make_model, make_cohort) -> None:
    model, cohort = make_model(Slices()), make_cohort(2, shape=(1, 4, 16, 20))
    volume = explain(model, cohort, "hirescam", target="yes").maps
    slices = make_cohort(cohort.images()[1].transpose(1, 0, 2, 3))
    alone = explain(make_model(model.network.each), slices, "hirescam", target="yes").maps
    assert alone.any()
    assert np.allclose(volume[1], alone / 4, atol=1e-7)


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.cut, self.norm, self.mix = (
            nn.Conv2d(1, 6, 4, 4),
            nn.LayerNorm(6),
            nn.Sequential(nn.Linear(6, 6), nn.GELU()),
        )
        self.head = nn.Linear(6, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.mix(self.norm(self.cut(inputs).permute(0, 2, 3, 1))).mean((1, 2)))


@pytest.mark.parametrize("layer", [None, "mix", "norm"])
def test_features_on_the_last_axis_are_told_from_positions(layer: str | None, make_model, make_cohort) -> None:
    net, cohort = ChannelsLast(), make_cohort(2, shape=(1, 32, 48))
    found = explain(make_model(net), cohort, "eigencam", layer=layer)
    kept = {}
    net.get_submodule(layer or "mix").register_forward_hook(lambda _m, _i, o: kept.update(a=o.detach()))
    net(torch.from_numpy(cohort.images()))
    left, values, _ = torch.linalg.svd(kept["a"][0].reshape(8 * 12, 6).double(), full_matrices=False)
    fine = interpolate((left[:, 0] * values[0]).reshape(1, 1, 8, 12), size=(32, 48), mode="bilinear")[0, 0].numpy()
    assert min(np.abs(found.maps[0] - fine).max(), np.abs(found.maps[0] + fine).max()) <= 1e-4
    assert found.settings["layer"] == (layer or "mix")


def test_a_backbone_run_without_gradients_is_refused(make_model, make_cohort) -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = convolutions(3), nn.Linear(3, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                features = self.backbone(inputs)
            return self.head(features)

    with pytest.raises(InputError, match="switches gradients off"):
        explain(make_model(Frozen()), make_cohort(2))


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.side, self.never = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.side(inputs)
        return self.pool(self.conv(inputs)).flatten(1)


@pytest.mark.parametrize(
    ("net", "layer", "said"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(1024, 2)), None, "no layer of Sequential gives .* method='shap'"),
        (Branches(), "side", "does not depend on layer 'side'.*other layers: conv"),
        (Branches(), "never", "'never' did not run in this forward pass.*that did: side, conv"),
        (Branches(), "pool", r"'pool' gave \(2, 2, 1, 1\).*layers that do: side, conv"),
        (Branches(), "cnov", "layer 'cnov' is unknown; did you mean 'conv'"),
        (Branches(), "input of cnov", "layer 'input of cnov' is unknown"),
        (Branches(), ["conv", "conv"], "each once"),
        (Branches(), [], "at least one layer"),
        (Branches(), 3, "layer .3. is unknown"),
    ],
)
@pytest.mark.parametrize("method", ["gradcam", "layercam"])
def test_what_cannot_be_drawn_is_refused_with_what_would_work(
    method, net, layer, said, make_model, make_cohort
) -> None:
    with pytest.raises(InputError, match=said):
        explain(make_model(net), make_cohort(2), method, layer=layer)


def test_a_layer_that_runs_twice_counts_with_its_last_run(make_model, make_cohort) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)
            self.conv.weight.data.fill_(2.0)
            self.conv.bias.data.zero_()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            mean = self.conv(self.conv(inputs)).mean((2, 3))
            return torch.cat([-mean, mean], 1)

    cohort = make_cohort(2, shape=(1, 4, 4))
    found = explain(make_model(Twice()), cohort, "hirescam", target="yes", layer="conv")
    assert np.allclose(found.maps, 4 * cohort.images()[:, 0] / 16, atol=1e-6)


@pytest.mark.parametrize("method", ["gradcam", "eigencam", "scorecam"])
@pytest.mark.parametrize("fails", [False, True])
def test_no_hook_is_left_on_the_network_or_on_all_modules(method: str, fails: bool, make_model, make_cohort) -> None:
    class Failing(Branches):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if fails and self.conv._forward_hooks:
                raise RuntimeError("on purpose")
            return super().forward(inputs)

    net = Failing()
    model, cohort = make_model(net), make_cohort(2)
    if fails:
        with pytest.raises(RuntimeError, match="on purpose"):
            explain(model, cohort, method, layer="conv")
    else:
        explain(model, cohort, method, target="each")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert not torch.nn.modules.module._global_forward_hooks
    assert not torch.nn.modules.module._global_forward_pre_hooks

"""Anybody's own function under a name: it is asked like every other method, and told by name where it goes wrong."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import InputError
from workbench.explain import methods
from workbench.explain.attributions import Attributions
from workbench.explain.target import Margin, Over

CLASSES = ("no", "yes", "other")


@pytest.fixture
def register():
    """Register for one test."""
    before = dict(methods._registered)
    yield wb.explain.register
    methods._registered.clear()
    methods._registered.update(before)


def network(axes: int = 2, channels: int = 1) -> nn.Sequential:
    torch.manual_seed(0)
    conv, pool = (nn.Conv2d, nn.AdaptiveAvgPool2d) if axes == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
    return nn.Sequential(
        conv(channels, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4) if axes == 2 else nn.BatchNorm3d(4),
        pool(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 2**axes, 3),
    )  # fmt: skip


def saliency(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Differentiate as a PyTorch user would write it down."""
    images.requires_grad_()
    network(images).gather(1, target[:, None]).sum().backward()
    return images.grad.abs().amax(1)


@pytest.mark.parametrize(("axes", "channels"), [(2, 1), (2, 3), (3, 2)])
@pytest.mark.parametrize("target", ["predicted", "true", "other", 0])
def test_a_plain_gradient_gives_what_the_built_in_method_gives(
    axes, channels, target, register, make_model, make_cohort
) -> None:
    register("mine")(saliency)
    model, cohort = make_model(network(axes, channels), CLASSES), make_cohort(5, shape=(channels, *[12] * axes))
    mine = wb.explain(model, cohort, "mine", target=target, batch_size=2)
    built_in = wb.explain(model, cohort, "saliency", target=target)
    assert np.abs(mine.maps - built_in.maps).max() <= 1e-6
    assert np.array_equal(mine.targets, built_in.targets)
    assert np.allclose(mine.scores, built_in.scores, atol=1e-6)
    assert mine.method == "mine"


@pytest.mark.parametrize(("axes", "channels"), [(2, 1), (3, 2)])
def test_a_method_of_captum_needs_one_line(axes: int, channels: int, register, make_model, make_cohort) -> None:
    from captum.attr import InputXGradient

    @register("captum-input-x-gradient")
    def captums(network, images, target):
        return InputXGradient(network).attribute(images.requires_grad_(), target)

    model, cohort = make_model(network(axes, channels), CLASSES), make_cohort(4, shape=(channels, *[12] * axes))
    theirs = wb.explain(model, cohort, "captum-input-x-gradient", target="true").maps
    assert np.abs(theirs - wb.explain(model, cohort, "input-x-gradient", target="true").maps).max() <= 1e-6


def test_several_targets_are_answered_one_by_one(register, make_model, make_cohort) -> None:
    register("mine")(saliency)
    model, cohort = make_model(network(), CLASSES), make_cohort(3, shape=(1, 12, 12))
    together = wb.explain(model, cohort, "mine", target="each")
    assert list(together) == list(CLASSES)
    for name, maps in together.items():
        assert np.abs(maps.maps - wb.explain(model, cohort, "saliency", target=name).maps).max() <= 1e-6


def test_a_margin_and_a_region_of_a_segmentation_need_nothing_of_the_function(
    register, make_model, make_cohort
) -> None:
    register("mine")(saliency)
    model, cohort = make_model(network(), CLASSES), make_cohort(4, shape=(1, 12, 12))
    for target in (Margin("yes", "no"), Margin("predicted", "true")):
        mine, built_in = (wb.explain(model, cohort, name, target=target).maps for name in ("mine", "saliency"))
        assert np.abs(mine - built_in).max() <= 1e-6
    segmenter = make_model(
        nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 3, 1)), CLASSES, task="segmentation"
    )
    for target in (Over("yes"), Over("no", box=(2, 2, 8, 9))):
        mine, built_in = (wb.explain(segmenter, cohort, name, target=target).maps for name in ("mine", "saliency"))
        assert np.abs(mine - built_in).max() <= 1e-6


def test_its_settings_are_checked_recorded_and_have_its_own_defaults(register, make_model, make_cohort) -> None:
    @register("scaled")
    def scaled(network, images, target, *, factor: float = 2.0):
        return factor * images[:, 0]

    model, cohort = make_model(network(), CLASSES), make_cohort(2, shape=(1, 12, 12))
    usual, other = wb.explain(model, cohort, "scaled"), wb.explain(model, cohort, "scaled", factor=-3.0)
    assert np.array_equal(usual.maps, 2 * cohort.images()[:, 0])
    assert np.array_equal(other.maps, -3 * cohort.images()[:, 0])
    assert (usual.settings["factor"], other.settings["factor"]) == (2.0, -3.0)
    with pytest.raises(InputError, match="scaled setting 'facto' is unknown; did you mean 'factor'"):
        wb.explain(model, cohort, "scaled", facto=1)


def test_channels_are_summed_and_one_channel_more_is_dropped(register, make_model, make_cohort) -> None:
    register("all")(lambda network, images, target: images)
    register("one")(lambda network, images, target: images[:, :1])
    model, cohort = make_model(network(2, 3), CLASSES), make_cohort(2, shape=(3, 12, 12))
    assert np.allclose(wb.explain(model, cohort, "all").maps, cohort.images().sum(1), atol=1e-6)
    assert np.array_equal(wb.explain(model, cohort, "one").maps, cohort.images()[:, 0])


@pytest.mark.parametrize(
    "given",
    [
        lambda images: images[:, 0].numpy().astype(np.float64), lambda images: images[:, 0].tolist(),
        lambda images: images[:, 0].half(), lambda images: (images[:, 0] * 2).requires_grad_(),
    ],
)  # fmt: skip
def test_arrays_lists_and_tensors_of_any_kind_become_float32(given, register, make_model, make_cohort) -> None:
    register("mine")(lambda network, images, target: given(images))
    maps = wb.explain(make_model(network(), CLASSES), make_cohort(2, shape=(1, 12, 12)), "mine").maps
    assert maps.dtype == np.float32
    assert maps.shape == (2, 12, 12)


def test_maps_are_kept_with_sign_and_scale_and_saved_like_all_others(
    register, make_model, make_cohort, tmp_path
) -> None:
    register("mine")(lambda network, images, target: -1000 * images)
    maps = wb.explain(make_model(network(), CLASSES), make_cohort(3, shape=(1, 12, 12)), "mine")
    maps.save(tmp_path / "maps")
    again = Attributions.load(tmp_path / "maps")
    assert np.array_equal(again.maps, maps.maps)
    assert (again.method, again.signed) == ("mine", True)


def test_the_model_and_the_images_are_as_before_whatever_the_function_does(register, make_model, make_cohort) -> None:
    @register("rude")
    def rude(network, images, target):
        torch.manual_seed(77)
        network.zero_grad()
        for weight in network.parameters():
            weight.requires_grad_(True)
        network(images).sum().backward()
        images.zero_()
        return torch.ones_like(images)

    net = network().train()
    for weight in net.parameters():
        weight.grad = torch.full_like(weight, 3.0)
    before, random = {name: value.clone() for name, value in net.state_dict().items()}, torch.get_rng_state()
    cohort = make_cohort(3, shape=(1, 12, 12))
    pixels = cohort.images().copy()
    wb.explain(make_model(net, CLASSES), cohort, "rude")
    assert all(module.training for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(torch.equal(weight.grad, torch.full_like(weight, 3.0)) for weight in net.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert np.array_equal(cohort.images(), pixels)


ODD = {
    "a map too small": (lambda images: images[:, 0, 1:], r"gave maps of shape \(2, 11, 12\) .* must give \(2, 12, 12\)"),
    "one map too few": (lambda images: images[:1, 0], r"gave maps of shape \(1, 12, 12\)"),
    "one number an image": (lambda images: images.flatten(1).sum(1), r"gave maps of shape \(2,\)"),
    "axes in another order": (lambda images: images.permute(0, 2, 3, 1), r"gave maps of shape \(2, 12, 12, 1\)"),
    "NaN": (lambda images: images.where(torch.arange(2).reshape(2, 1, 1, 1) == 0, torch.nan), "gave NaN or infinity for image 'i1'"),
    "infinity": (lambda images: images * torch.inf, "gave NaN or infinity for image 'i0'"),
    "nothing": (lambda images: None, "gave a NoneType; it must give a tensor or array"),
    "text": (lambda images: "a map", "gave a str"),
    "a dict": (lambda images: {"maps": images}, "gave a dict"),
    "a tuple of tensors": (lambda images: (images, images), "gave a tuple"),
    "ragged lists": (lambda images: [[1.0], [1.0, 2.0]], "gave a list"),
    "complex numbers": (lambda images: torch.complex(images, images), "gave complex"),
}  # fmt: skip


@pytest.mark.parametrize("odd", ODD)
def test_what_is_no_map_is_refused_with_the_methods_name(odd: str, register, make_model, make_cohort) -> None:
    given, said = ODD[odd]
    register("mine")(lambda network, images, target: given(images))
    with pytest.raises(InputError, match=f"method 'mine' {said}"):
        wb.explain(make_model(network(), CLASSES), make_cohort(2, shape=(1, 12, 12)), "mine")


def test_an_error_within_the_function_comes_through_as_it_is(register, make_model, make_cohort) -> None:
    @register("broken")
    def broken(network, images, target):
        raise KeyError("my own")

    with pytest.raises(KeyError, match="my own"):
        wb.explain(make_model(network(), CLASSES), make_cohort(2, shape=(1, 12, 12)), "broken")


def test_a_function_that_cannot_be_asked_is_refused_when_it_is_registered(register) -> None:
    with pytest.raises(InputError, match=r"method 'short' must take \(network, images, target\)"):
        register("short")(lambda network, images: images)
    with pytest.raises(InputError, match="method 'text' must be a function"):
        register("text")("saliency")


@pytest.mark.parametrize("name", ["gradcam", "shap", "expected-gradients", "saliency"])
def test_the_names_of_workbench_stay_its_own(name: str, register) -> None:
    with pytest.raises(InputError, match=f"'{name}' is a method of Workbench; register yours under another name"):
        register(name)(saliency)


@pytest.mark.parametrize("name", ["", 3, None])
def test_a_name_is_text(name, register) -> None:
    with pytest.raises(InputError, match="name"):
        register(name)(saliency)


def test_a_misspelt_name_is_offered_the_registered_one(register, make_model, make_cohort) -> None:
    register("my-method")(saliency)
    with pytest.raises(InputError, match="method 'my-methd' is unknown; did you mean 'my-method'"):
        wb.explain(make_model(network(), CLASSES), make_cohort(2), "my-methd")
    assert "my-method" in wb.explain.known_methods()


def test_registering_again_replaces_and_gives_the_function_back(register, make_model, make_cohort) -> None:
    assert register("mine")(saliency) is saliency
    register("mine")(lambda network, images, target: images[:, 0])
    cohort = make_cohort(2, shape=(1, 12, 12))
    assert np.array_equal(wb.explain(make_model(network(), CLASSES), cohort, "mine").maps, cohort.images()[:, 0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_networks_are_handed_over_as_they_are(
    dtype: torch.dtype, register, make_model, make_cohort
) -> None:
    register("mine")(saliency)
    maps = wb.explain(make_model(network().to(dtype), CLASSES), make_cohort(2, shape=(1, 12, 12)), "mine").maps
    assert maps.dtype == np.float32
    assert maps.any()

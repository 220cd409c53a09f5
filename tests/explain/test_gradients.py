"""Saliency, input × gradient and SmoothGrad against closed forms, captum and MONAI."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.target import Over

METHODS = ("saliency", "input-x-gradient", "smoothgrad")


class Linear(nn.Module):
    """The score of ``yes`` is a weighted sum of all pixels; that of ``no`` its negative."""

    def __init__(self, shape: tuple[int, ...], scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale * torch.randn(shape, generator=torch.Generator().manual_seed(0)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = (inputs * self.weight).flatten(1).sum(1)
        return torch.stack([-score, score], 1)


class Square(nn.Module):
    """The score is Σ x²: its gradient 2 x is linear, so that noise of size σ gives it an error of 2 σ."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = (inputs**2).flatten(1).sum(1)
        return torch.stack([-score, score], 1)


class Counting(nn.Module):
    """Counts the forward passes and the most inputs that came at once."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.passes, self.rows, self.most = inner, 0, 0, 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.passes, self.rows, self.most = self.passes + 1, self.rows + len(inputs), max(self.most, len(inputs))
        return self.inner(inputs)


def small_net(axes: int = 2, channels: int = 1, *, classes: int = 2, bias: bool = True) -> nn.Module:
    torch.manual_seed(4)
    conv, pool = (nn.Conv2d, nn.AdaptiveAvgPool2d) if axes == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
    return nn.Sequential(
        conv(channels, 4, 3, bias=bias), nn.ReLU(inplace=True), conv(4, 6, 3, bias=bias), nn.ReLU(),
        pool(2), nn.Flatten(), nn.Linear(6 * 2**axes, classes, bias=bias),
    ).eval()  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 6, 6), (2, 4, 5, 6)])
def test_saliency_of_a_weighted_sum_is_the_largest_weight_over_channels(shape, make_model, make_cohort) -> None:
    net, cohort = Linear(shape), make_cohort(2, shape=shape)
    weight = net.weight.detach().numpy()
    maps = explain(make_model(net), cohort, "saliency", target="no").maps
    assert np.allclose(maps, np.abs(weight).max(0), atol=1e-6)
    signed = explain(make_model(net), cohort, "saliency", target="no", absolute=False).maps
    assert np.allclose(signed, -weight.sum(0), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 6, 6), (2, 4, 5, 6)])
def test_input_x_gradient_of_a_weighted_sum_is_each_pixels_own_term(shape, make_model, make_cohort) -> None:
    net, cohort = Linear(shape), make_cohort(3, shape=shape)
    maps = explain(make_model(net), cohort, "input-x-gradient", target="yes").maps
    assert np.allclose(maps, (cohort.images() * net.weight.detach().numpy()).sum(1), atol=1e-6)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_they_equal_captum(axes: int, channels: int, make_model, make_cohort) -> None:
    from captum.attr import InputXGradient, Saliency

    net = small_net(axes, channels)
    model, cohort = make_model(net), make_cohort(4, shape=(channels, *[12] * axes))
    inputs, target = torch.from_numpy(cohort.images()), torch.tensor([0, 1, 0, 1])
    theirs = Saliency(net).attribute(inputs.clone().requires_grad_(), target).amax(1).numpy()
    assert np.abs(explain(model, cohort, "saliency", target="true").maps - theirs).max() <= 1e-6
    theirs = InputXGradient(net).attribute(inputs.clone().requires_grad_(), target).sum(1).detach().numpy()
    assert np.abs(explain(model, cohort, "input-x-gradient", target="true").maps - theirs).max() <= 1e-6


@pytest.mark.parametrize("absolute", [True, False])
def test_smoothgrad_agrees_with_captum_within_the_error_of_both(absolute: bool, make_model, make_cohort) -> None:
    from captum.attr import NoiseTunnel, Saliency

    net, cohort = small_net(), make_cohort(1, shape=(1, 12, 12))
    ours = explain(
        make_model(net), cohort, "smoothgrad", target="yes", samples=800, noise=0.2, absolute=absolute, batch_size=100
    )
    inputs = torch.from_numpy(cohort.images())
    theirs = NoiseTunnel(Saliency(net)).attribute(
        inputs.requires_grad_(), nt_samples=800, nt_samples_batch_size=100, stdevs=0.2 * float(np.ptp(cohort.images())),
        target=1, abs=absolute,
    )  # fmt: skip
    difference = ours.maps[0] - theirs[0, 0].detach().numpy()
    assert np.corrcoef(ours.maps.ravel(), theirs.detach().numpy().ravel())[0, 1] > 0.98
    assert np.abs(difference / (np.sqrt(2) * ours.errors[0] + 1e-9)).max() < 4.5


def test_smoothgrad_of_a_weighted_sum_is_its_saliency_without_error(make_model, make_cohort) -> None:
    model, cohort = make_model(Linear((2, 6, 6))), make_cohort(3, shape=(2, 6, 6))
    smooth = explain(model, cohort, "smoothgrad", samples=4)
    assert np.allclose(smooth.maps, explain(model, cohort, "saliency").maps, atol=1e-6)
    assert np.abs(smooth.errors).max() < 1e-6


@pytest.mark.parametrize("shape", [(1, 12, 12), (1, 4, 6, 6)])
def test_smoothgrad_of_a_quadratic_has_the_error_that_the_noise_gives(shape, make_model, make_cohort) -> None:
    cohort = make_cohort(3, shape=shape)
    smooth = explain(make_model(Square()), cohort, "smoothgrad", target="yes", samples=400, noise=0.1, absolute=False)
    images = cohort.images()
    spread = 0.1 * np.ptp(images.reshape(3, -1), axis=1)
    for row in range(3):
        assert smooth.errors[row].mean() == pytest.approx(2 * spread[row] / np.sqrt(400), rel=0.02)
        assert np.abs((smooth.maps[row] - 2 * images[row, 0]) / smooth.errors[row]).max() < 4.5


def test_noise_follows_each_channels_own_range(make_model, make_cohort) -> None:
    images = make_cohort(2, shape=(2, 12, 12)).images() * np.array([1, 1000], np.float32)[:, None, None]
    images[1, 0] = 7  # a channel without any range gets no noise
    errors = explain(
        make_model(Square()), make_cohort(images), "smoothgrad", samples=200, noise=0.1, absolute=False
    ).errors
    expected = 2 * 0.1 * np.sqrt((np.ptp(images.reshape(2, 2, -1), axis=2) ** 2).sum(1) / 200)
    assert np.allclose(errors.mean((1, 2)), expected, rtol=0.03)


def test_its_scale_does_not_hang_on_the_number_of_samples_as_monais_does(make_model, make_cohort) -> None:
    from monai.visualize import SmoothGrad

    net, cohort = small_net(), make_cohort(1, shape=(1, 12, 12))
    sizes = [
        float(np.mean(explain(make_model(net), cohort, "smoothgrad", target="yes", samples=n).maps))
        for n in (4, 16, 64)
    ]
    assert np.allclose(sizes, sizes[-1], rtol=0.1)
    torch.manual_seed(0)
    image = torch.from_numpy(cohort.images())
    theirs = [float(SmoothGrad(net, n_samples=n, verbose=False)(image.clone(), 1).mean()) for n in (4, 16)]
    assert 1.7 < theirs[0] / theirs[1] < 2.3  # √Σg² / n where √(Σg² / n) is meant


def test_the_standard_error_is_what_other_seeds_show(make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(1, shape=(1, 12, 12))
    runs = [
        explain(model, cohort, "smoothgrad", target="yes", samples=16, seed=seed, batch_size=16) for seed in range(60)
    ]
    seen = np.std([run.maps for run in runs], axis=0, ddof=1)
    said = np.sqrt(np.mean([run.errors**2 for run in runs], axis=0))
    assert np.sqrt((seen**2).sum() / (said**2).sum()) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_neither_batch_size_nor_company_changes_a_map(method: str, batch_size: int, make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(5, shape=(1, 12, 12))
    whole = explain(model, cohort, method)
    alone = explain(model, cohort.subset(["i3"]), method, batch_size=batch_size)
    assert np.abs(whole.maps[3] - alone.maps[0]).max() <= 1e-6


def test_another_seed_draws_other_noise(make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(2, shape=(1, 12, 12))
    first, second, again = (explain(model, cohort, "smoothgrad", samples=4, seed=seed).maps for seed in (0, 1, 0))
    assert np.array_equal(first, again)
    assert not np.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize(("method", "forwards"), [("saliency", 1), ("input-x-gradient", 1), ("smoothgrad", 1 + 6)])
def test_all_targets_come_from_the_same_forward_passes(method: str, forwards: int, make_model, make_cohort) -> None:
    net, cohort = Counting(small_net(classes=3)), make_cohort(5, shape=(1, 12, 12))
    model = make_model(net, ("no", "yes", "other"))
    chosen = {"samples": 6} if method == "smoothgrad" else {}
    together = explain(model, cohort, method, target="each", batch_size=4, **chosen)
    assert net.rows == 5 * forwards
    assert net.most == 4
    for name, maps in together.items():
        assert np.abs(maps.maps - explain(model, cohort, method, target=name, **chosen).maps).max() <= 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_a_class_of_a_segmentation_is_explained_over_a_mask(method: str, make_model, make_cohort) -> None:
    net = nn.Conv2d(1, 2, 1)
    net.weight.data[:] = torch.tensor([1.0, -3.0]).reshape(2, 1, 1, 1)
    mask = np.zeros((3, 8, 8), dtype=bool)
    mask[:, 2:4, 5:] = True
    cohort = make_cohort(3, shape=(1, 8, 8), masks={"lesion": mask[:, None]})
    maps = explain(make_model(net, task="segmentation"), cohort, method, target=Over("yes", mask="lesion"))
    expected = -3 * cohort.images()[:, 0] * mask if method == "input-x-gradient" else 3.0 * mask
    assert np.allclose(maps.maps, expected, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_network_that_overwrites_its_input_is_explained(method: str, make_model, make_cohort) -> None:
    def network(*, inplace: bool) -> nn.Module:
        return nn.Sequential(nn.LeakyReLU(0.1, inplace=inplace), small_net())

    cohort = make_cohort(3, shape=(1, 12, 12))
    safe, overwriting = (explain(make_model(network(inplace=flag)), cohort, method).maps for flag in (False, True))
    assert np.array_equal(safe, overwriting)


class Faint(nn.Module):
    """The gradient passes through 1e-7, which float16 holds in two bits, before it is made large again."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = 2 + ((inputs * 3000) * 3e-4 * 1e-3).flatten(1).mean(1)
        return torch.stack([-score, score], 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_the_map_of_full_precision(dtype: torch.dtype, make_model, make_cohort) -> None:
    cohort = make_cohort(3, shape=(1, 12, 12))
    full = explain(make_model(small_net()), cohort, "saliency", target="yes").maps
    half = explain(make_model(small_net().to(dtype)), cohort, "saliency", target="yes").maps
    assert half.dtype == np.float32
    assert np.corrcoef(full.ravel(), half.ravel())[0, 1] > 0.98


def test_gradients_too_small_for_half_precision_are_not_lost(make_model, make_cohort) -> None:
    net = nn.Sequential(Faint(), nn.Linear(2, 2, bias=False)).half()
    net[1].weight.data[:] = torch.eye(2)
    maps = explain(make_model(net), make_cohort(2, shape=(1, 16, 16)), "saliency", target="yes").maps
    assert np.allclose(maps, 3000 * 3e-7 / 256, rtol=0.01)


@pytest.fixture(scope="module")
def few(make_cohort):
    return make_cohort(2, shape=(1, 8, 8))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scale=st.floats(1e-3, 1e3))
def test_maps_are_proportional_to_the_score(scale: float, few, make_model) -> None:
    for method in METHODS:
        own, scaled = (
            explain(make_model(Linear((1, 8, 8), times)), few, method, target="yes", **({"samples": 2} if method == "smoothgrad" else {}))
            for times in (1.0, scale)
        )  # fmt: skip
        assert np.allclose(scaled.maps, scale * own.maps, rtol=1e-4, atol=1e-6 * scale)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), axes=st.sampled_from([2, 3]), channels=st.integers(1, 3))
def test_without_biases_input_x_gradient_adds_up_to_the_score(seed, axes, channels, make_model, make_cohort) -> None:
    net = small_net(axes, channels, bias=False)
    generator = torch.Generator().manual_seed(seed)
    for weight in net.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    maps = explain(make_model(net), make_cohort(2, shape=(channels, *[8] * axes)), "input-x-gradient")
    total = maps.maps.reshape(2, -1).sum(1, dtype=np.float64)
    assert np.allclose(total, maps.scores, rtol=1e-4, atol=1e-4 * np.abs(maps.maps).sum())


class Detached(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 5 + inputs.detach().flatten(1)[:, :2]


class Root(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return 5 + (inputs**2).flatten(1).sqrt()[:, :2]  # at zero: 0 · ∞


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("net", "said"),
    [
        (Detached(), "autograd can follow .*'occlusion'"),
        (Root(), "image 'i1' is NaN"),
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 2), nn.Sigmoid(), nn.ReLU(inplace=True)), "set inplace=False there"),
    ],
)
def test_a_score_without_a_sound_gradient_is_refused(method: str, net, said: str, make_model, make_cohort) -> None:
    images = np.stack([np.ones((1, 4, 4), np.float32), np.zeros((1, 4, 4), np.float32)])
    with pytest.raises(InputError, match=said):
        explain(make_model(net), make_cohort(images), method)


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"samples": 1}, "samples 1 must be a whole number of at least 2"),
        ({"samples": 2.5}, "samples 2.5 must be"),
        ({"noise": 0}, "noise 0 must be a number above 0"),
        ({"noise": float("nan")}, "noise nan must be"),
        ({"absolute": "no"}, "absolute 'no' must be True"),
        ({"sample": 3}, "did you mean 'samples'"),
    ],
)
def test_settings_out_of_range_are_refused(chosen, said: str, make_model, make_cohort) -> None:
    with pytest.raises(InputError, match=said):
        explain(make_model(Square()), make_cohort(2, shape=(1, 4, 4)), "smoothgrad", **chosen)

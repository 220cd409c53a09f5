"""Integrated gradients: completeness, closed forms, and captum's values at the same points of the path."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from workbench.errors import EvidenceWarning, InputError
from workbench.explain.attribute import explain
from workbench.explain.fill import fill_images
from workbench.explain.target import Margin, Over

METHOD = "integrated-gradients"


class Power(nn.Module):
    """The score is Σ w xᵖ, w one number a channel: with baseline b each pixel's own share is ``w (xᵖ - bᵖ)``."""

    def __init__(self, power: int, weights: tuple[float, ...] = (1.0,)) -> None:
        super().__init__()
        self.power, self.weights = power, torch.tensor(weights)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = (inputs**self.power).flatten(2).sum(2) @ self.weights
        return torch.stack([-score, score], 1)


def smooth_net(axes: int = 2, channels: int = 1, classes: int = 2, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(4)
    conv, pool = (nn.Conv2d, nn.AdaptiveAvgPool2d) if axes == 2 else (nn.Conv3d, nn.AdaptiveAvgPool3d)
    return nn.Sequential(
        conv(channels, 6, 3), activation(), conv(6, 6, 3), activation(), pool(2), nn.Flatten(), nn.Linear(6 * 2**axes, classes)
    ).eval()  # fmt: skip


def baseline_of(images: np.ndarray, name: str) -> np.ndarray:
    """Each image's smallest or mean value, channel by channel."""
    flat = images.reshape(*images.shape[:2], -1)
    values = {"black": flat.min(2), "mean": flat.mean(2)}[name]
    return np.broadcast_to(values.reshape(*images.shape[:2], *[1] * (images.ndim - 2)), images.shape)


@pytest.mark.parametrize("shape", [(1, 6, 6), (2, 6, 6), (2, 4, 5, 6)])
@pytest.mark.parametrize("baseline", ["black", "mean"])
@pytest.mark.parametrize("power", [1, 2])
def test_the_midpoint_rule_is_exact_where_the_gradient_is_linear(
    shape, baseline, power, make_model, make_cohort
) -> None:
    net, cohort = Power(power, (1.0, -2.0)[: shape[0]]), make_cohort(3, shape=shape)
    images = cohort.images().astype(np.float64)
    weights = net.weights.numpy().reshape(-1, *[1] * (len(shape) - 1))
    expected = weights * (images**power - baseline_of(images, baseline) ** power)
    maps = explain(make_model(net), cohort, METHOD, target="yes", baseline=baseline, steps=1)
    assert np.allclose(maps.maps, expected.sum(1), atol=1e-4)
    assert maps.to_frame()["completeness_gap"].abs().max() < 1e-3
    assert set(maps.to_frame()["steps"]) == {1}


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
def test_it_equals_captum_at_the_same_points_of_the_path(axes, activation, make_model, make_cohort) -> None:
    from captum.attr import IntegratedGradients

    net, cohort = smooth_net(axes, 2, activation=activation), make_cohort(3, shape=(2, *[10] * axes))
    ours = explain(
        make_model(net), cohort, METHOD, target="true", baseline="black", steps=20, max_steps=20, tolerance=1
    )
    begin = torch.from_numpy(baseline_of(cohort.images(), "black").copy())
    theirs = IntegratedGradients(net).attribute(
        torch.from_numpy(cohort.images()), begin, torch.tensor([0, 1, 0]), n_steps=20, method="riemann_middle"
    )
    assert np.abs(ours.maps - theirs.sum(1).detach().numpy()).max() <= 1e-5


def test_many_steps_meet_captums_gauss_legendre(make_model, make_cohort) -> None:
    from captum.attr import IntegratedGradients

    net, cohort = smooth_net(activation=nn.GELU), make_cohort(2, shape=(1, 10, 10))
    ours = explain(make_model(net), cohort, METHOD, target="yes", steps=300, max_steps=300)
    begin = torch.from_numpy(baseline_of(cohort.images(), "black").copy())
    theirs = IntegratedGradients(net).attribute(torch.from_numpy(cohort.images()), begin, 1, n_steps=50)
    assert np.abs(ours.maps - theirs.sum(1).detach().numpy()).max() <= 1e-5


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), baseline=st.sampled_from(["black", "mean", "blur"]), axes=st.sampled_from([2, 3]))
def test_values_add_up_to_the_difference_of_the_scores_but_for_the_gap_told(
    seed, baseline, axes, make_model, make_cohort
) -> None:
    net = smooth_net(axes)
    generator = torch.Generator().manual_seed(seed)
    for weight in net.parameters():
        weight.data = torch.randn(weight.shape, generator=generator)
    maps = explain(make_model(net), make_cohort(2, shape=(1, *[8] * axes)), METHOD, baseline=baseline, tolerance=1e6)
    frame, total = maps.to_frame(), maps.maps.reshape(2, -1).sum(1, dtype=np.float64)
    rise = frame["score"] - frame["baseline_score"]
    assert np.allclose(total - rise, frame["completeness_gap"], atol=1e-5 * np.abs(maps.maps).sum())
    assert np.allclose(frame["relative_gap"], np.abs(frame["completeness_gap"] / rise))


class Bent(nn.Module):
    """The score is Σ x of the first channel and Σ x⁸ of the second."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = (inputs[:, 0] + inputs[:, 1] ** 8).flatten(1).sum(1)
        return torch.stack([-score, score], 1)


def test_steps_are_tripled_until_the_gap_is_small_image_by_image(make_model, make_cohort) -> None:
    images = np.zeros((2, 2, 4, 4), np.float32)
    images[0, 0, 1], images[1, 1, 2] = 1, 1
    frame = explain(make_model(Bent()), make_cohort(images), METHOD, target="yes", steps=2, tolerance=0.01).to_frame()
    assert list(frame["steps"]) == [2, 18]  # (h² / 24) · 56 of the midpoint rule: 6.5 % at 6 steps, 0.7 % at 18
    assert frame["relative_gap"].to_numpy() == pytest.approx([0, 56 / 24 / 18**2], rel=0.02, abs=1e-6)


def test_tripled_steps_give_what_as_many_steps_give_at_once(make_model, make_cohort) -> None:
    model, cohort = make_model(smooth_net()), make_cohort(3, shape=(1, 10, 10))
    with pytest.warns(EvidenceWarning, match="after 27 steps: see relative_gap"):
        tripled = explain(model, cohort, METHOD, steps=3, max_steps=80, tolerance=1e-7)
    at_once = explain(model, cohort, METHOD, steps=27, tolerance=1e6)
    assert list(tripled.to_frame()["steps"]) == [27, 27, 27]
    assert np.abs(tripled.maps - at_once.maps).max() <= 1e-6


class Counting(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.rows, self.most = inner, 0, 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.rows, self.most = self.rows + len(inputs), max(self.most, len(inputs))
        return self.inner(inputs)


def test_all_targets_come_from_the_same_forward_passes_within_the_batch_size(make_model, make_cohort) -> None:
    net, cohort = Counting(smooth_net(classes=3)), make_cohort(5, shape=(1, 10, 10))
    model = make_model(net, ("no", "yes", "other"))
    together = explain(model, cohort, METHOD, target="each", batch_size=4, steps=6, tolerance=1e6)
    assert net.rows == 5 * (2 + 6)
    assert net.most == 4
    for name, maps in together.items():
        alone = explain(model, cohort, METHOD, target=name, steps=6, tolerance=1e6)
        assert np.abs(maps.maps - alone.maps).max() <= 1e-6


def test_what_else_is_asked_does_not_change_the_steps_of_a_target(make_model, make_cohort) -> None:
    model = make_model(smooth_net(classes=3), ("no", "yes", "other"))
    cohort, chosen = make_cohort(6, shape=(1, 10, 10)), {"steps": 2, "max_steps": 500, "tolerance": 0.2}
    together = explain(model, cohort, METHOD, target="each", **chosen)
    steps = np.stack([maps.to_frame()["steps"] for maps in together.values()])
    assert (steps.min(0) < steps.max(0)).any()  # or the test would show nothing
    for name, maps in together.items():
        alone = explain(model, cohort, METHOD, target=name, **chosen)
        assert list(alone.to_frame()["steps"]) == list(maps.to_frame()["steps"])
        assert np.abs(alone.maps - maps.maps).max() <= 1e-6


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_neither_batch_size_nor_company_changes_a_map(batch_size: int, make_model, make_cohort) -> None:
    model, cohort = make_model(smooth_net()), make_cohort(5, shape=(1, 12, 12))
    whole = explain(model, cohort, METHOD, tolerance=0.2)
    alone = explain(model, cohort.subset(["i3"]), METHOD, tolerance=0.2, batch_size=batch_size)
    assert np.abs(whole.maps[3] - alone.maps[0]).max() <= 1e-6


@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 4, 5, 6)])
def test_the_mean_image_of_a_background_is_a_baseline(shape, make_model, make_cohort) -> None:
    cohort, background = make_cohort(3, shape=shape), make_cohort(7, shape=shape)
    begin = background.images().mean(0)
    maps = explain(
        make_model(Power(2, (1.0,) * shape[0])), cohort, METHOD, target="yes", background=background, batch_size=4
    )
    assert np.allclose(maps.maps, (cohort.images() ** 2 - begin**2).sum(1), atol=1e-4)
    assert maps.provenance.parents["background"] == background.provenance
    assert (maps.settings["background"], maps.settings["baseline"]) == ("cohort", "mean image of the background")


@pytest.mark.parametrize("shape", [(2, 6, 6), (1, 4, 5, 6)])
@pytest.mark.parametrize("baseline", ["blur", 0, 0.5, "image"])
def test_anything_that_can_fill_a_whole_image_is_a_baseline(shape, baseline, make_model, make_cohort) -> None:
    cohort = make_cohort(3, shape=shape)
    fill = cohort.images()[2] if baseline == "image" else baseline
    begin = fill_images(torch.from_numpy(cohort.images()), fill).numpy()
    maps = explain(make_model(Power(2, (1.0,) * shape[0])), cohort, METHOD, target="yes", baseline=fill)
    assert np.allclose(maps.maps, (cohort.images() ** 2 - begin**2).sum(1), atol=1e-4)
    assert str(maps.settings["baseline"]).startswith(str(baseline))


def test_an_image_that_is_its_own_baseline_has_no_evidence_and_no_relative_gap(make_model, make_cohort) -> None:
    maps = explain(make_model(smooth_net()), make_cohort(np.full((2, 1, 8, 8), 3, np.float32)), METHOD)
    assert maps.flags == ("no evidence", "no evidence")
    assert maps.to_frame()["relative_gap"].isna().all()


def test_a_margin_is_the_difference_of_two_maps(make_model, make_cohort) -> None:
    model, cohort = make_model(smooth_net()), make_cohort(3, shape=(1, 10, 10))
    margin, yes, no = (
        explain(model, cohort, METHOD, target=target, tolerance=1e6).maps
        for target in (Margin("yes", "no"), "yes", "no")
    )
    assert np.allclose(margin, yes - no, atol=1e-5)


def test_a_segmentation_is_explained_over_its_own_prediction_on_the_image_as_it_is(make_model, make_cohort) -> None:
    net = nn.Conv2d(1, 2, 1)
    net.weight.data, net.bias.data = torch.tensor([0.0, 3.0]).reshape(2, 1, 1, 1), torch.zeros(2)
    cohort = make_cohort(3, shape=(1, 8, 8))
    images = cohort.images()[:, 0]
    maps = explain(make_model(net, task="segmentation"), cohort, METHOD, target=Over("yes"), baseline="mean")
    expected = 3 * (images - images.mean((1, 2), keepdims=True)) * (images > 0)
    assert np.allclose(maps.maps, expected, atol=1e-5)


def test_a_network_that_overwrites_its_input_is_explained(make_model, make_cohort) -> None:
    cohort = make_cohort(3, shape=(1, 12, 12))
    safe, overwriting = (
        explain(
            make_model(nn.Sequential(nn.LeakyReLU(0.1, inplace=flag), smooth_net())), cohort, METHOD, tolerance=1e6
        ).maps
        for flag in (False, True)
    )
    assert np.array_equal(safe, overwriting)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_the_map_of_full_precision(dtype: torch.dtype, make_model, make_cohort) -> None:
    cohort = make_cohort(3, shape=(1, 12, 12))
    full = explain(make_model(smooth_net()), cohort, METHOD, target="yes", tolerance=1e6).maps
    half = explain(make_model(smooth_net().to(dtype)), cohort, METHOD, target="yes", tolerance=1e6).maps
    assert half.dtype == np.float32
    assert np.corrcoef(full.ravel(), half.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"baseline": "blak"}, "baseline 'blak' is unknown; did you mean 'black'"),
        ({"baseline": "inpaint"}, "baseline 'inpaint' depends on the region"),
        ({"baseline": float("nan")}, "must be one of black, mean, blur, a finite number"),
        ({"baseline": np.zeros((1, 4, 5))}, r"has the shape \(1, 4, 5\)"),
        ({"steps": 0}, "steps 0 must be a whole number of at least 1"),
        ({"steps": 50, "max_steps": 40}, "max_steps 40 must be a whole number of at least 50"),
        ({"tolerance": 0}, "tolerance 0 must be a number above 0"),
        ({"background": "train"}, "background is str, and must be a cohort"),
    ],
)
def test_settings_out_of_range_are_refused(chosen, said: str, make_model, make_cohort) -> None:
    with pytest.raises(InputError, match=said):
        explain(make_model(Power(1)), make_cohort(2, shape=(1, 4, 4)), METHOD, **chosen)


def test_a_background_that_does_not_fit_is_refused(make_model, make_cohort) -> None:
    model, cohort = make_model(Power(1)), make_cohort(2, shape=(1, 4, 4))
    with pytest.raises(InputError, match=r"shape \(1, 5, 5\), .* \(1, 4, 4\)"):
        explain(model, cohort, METHOD, background=make_cohort(2, shape=(1, 5, 5)))
    with pytest.raises(InputError, match="baseline 'mean' and background= both say"):
        explain(model, cohort, METHOD, background=cohort, baseline="mean")

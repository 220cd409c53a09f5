"""Sanity: filters of the image fail, maps that explain the model pass, and the control says what chance is."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, conv3d, cross_entropy

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.methods import register
from workbench.explain.quality.sanity import DECISIVE, sanity
from workbench.explain.quality.similarity import rank_correlation
from workbench.explain.quality.study import study_of
from workbench.explain.quality.verdicts import sanity_verdict

if TYPE_CHECKING:
    from workbench.explain.quality.measure import Outcome
    from workbench.models.model import Model

RANDOM = "random model: rank correlation"


def untrained(dimensions: int = 2, channels: int = 1, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    conv, norm, pool = (nn.Conv2d, nn.BatchNorm2d, nn.AdaptiveAvgPool2d) if dimensions == 2 else (
        nn.Conv3d, nn.BatchNorm3d, nn.AdaptiveAvgPool3d)  # fmt: skip
    return nn.Sequential(
        conv(channels, 8, 3, padding=1), norm(8), nn.ReLU(), conv(8, 8, 3, stride=2, padding=1), norm(8), nn.ReLU(),
        conv(8, 8, 3, padding=1), norm(8), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Noise with a bright square at one place or another in every second image."""
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(64, 1, 24, 24)).astype(np.float32)
    for row in range(1, 64, 2):
        top, left = generator.integers(2, 16, size=2)
        noise[row, :, top : top + 6, left : left + 6] += 1.5
    return noise


@pytest.fixture(scope="module")
def trained(images: np.ndarray) -> nn.Module:
    """Tell images with the square from those without."""
    torch.set_num_threads(1)
    net, inputs, labels = untrained(), torch.from_numpy(images), torch.arange(64) % 2
    optimiser = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        cross_entropy(net(inputs), labels).backward()
        optimiser.step()
    assert (net.eval()(inputs).argmax(1) == labels).float().mean() > 0.9
    return net


@register("edges")
def edges(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Filter the image linearly; the model plays no part."""
    axes = images.dim() - 2
    kernel = torch.zeros(1, 1, *[3] * axes)
    kernel[(0, 0, *[1] * (axes - 1), 0)], kernel[(0, 0, *[1] * (axes - 1), 2)] = -1, 1
    return (conv2d if axes == 2 else conv3d)(images.sum(1, keepdim=True), kernel, padding=1)


@register("one map for all")
def one_map(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Draw a slope, whatever image and model."""
    return torch.arange(images[0, 0].numel()).reshape(images.shape[2:]).expand(len(images), *images.shape[2:])


def judged(model: Model, cohort, method: str, given: dict | None = None, **settings: object) -> Outcome:
    return sanity(study_of(model, explain(model, cohort, method, **(given or {}))), **settings)


def verdict(outcome: Outcome) -> str:
    kept = outcome.table[DECISIVE]
    error = kept.std() / np.sqrt(len(kept))
    return sanity_verdict(kept.mean() - 2 * error, kept.mean(), kept.mean() + 2 * error)[1]


@pytest.mark.parametrize("method", ["edges", "one map for all"])
@pytest.mark.parametrize(("dimensions", "shape"), [(2, (2, 16, 16)), (3, (1, 12, 12, 12))])
def test_a_map_that_never_asks_the_model_fails(
    method: str, dimensions: int, shape: tuple[int, ...], make_model, make_cohort
) -> None:
    model = make_model(untrained(dimensions, shape[0]).eval())
    outcome = judged(model, make_cohort(8, shape=shape), method, stages=2)
    assert np.allclose(outcome.table[[DECISIVE, RANDOM]], 1)
    assert verdict(outcome).startswith("The map does not depend on the model")


@pytest.mark.slow
@pytest.mark.parametrize("method", ["saliency", "input-x-gradient", "shap", "gradcam"])
def test_methods_that_follow_the_gradient_pass(method: str, trained, images, make_model, make_cohort) -> None:
    given = {"shap": {"samples": 8}}.get(method, {})
    outcome = judged(make_model(trained), make_cohort(images[:24]), method, given | {"target": "yes"}, draws=2)
    assert verdict(outcome).startswith("The map depends on the model"), verdict(outcome)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")
def test_guided_backpropagation_fails(trained, images, make_model, make_cohort) -> None:
    outcome = judged(make_model(trained), make_cohort(images[:24]), "guided-backprop")
    assert verdict(outcome).startswith("The map does not depend on the model"), verdict(outcome)


def test_a_model_of_permuted_labels_is_compared_at_the_class_that_was_explained(make_model, make_cohort) -> None:
    model, other = make_model(untrained().eval()), make_model(untrained(seed=1).eval())
    cohort = make_cohort(8, shape=(1, 12, 12))
    maps = explain(model, cohort, "saliency", target="true")
    outcome = sanity(study_of(model, maps), stages=2, permuted=other)
    theirs = [explain(other, cohort, "saliency", target=int(t)).maps[row] for row, t in enumerate(maps.targets)]
    expected = rank_correlation(maps.maps, np.stack(theirs))
    assert np.allclose(outcome.table["permuted labels: rank correlation"], expected, atol=1e-6)


def test_the_control_is_the_models_map_of_another_patient(make_model, make_cohort) -> None:
    model, cohort = make_model(untrained().eval()), make_cohort(6, shape=(1, 12, 12))
    maps = explain(model, cohort, "saliency")
    told = sanity(study_of(model, maps), stages=2).table["another patient: rank correlation"]
    for row, value in enumerate(told):
        others = [k for k in range(6) if k // 2 != row // 2]  # two images a patient
        possible = rank_correlation(maps.maps[[row] * 4], maps.maps[others])
        assert np.isclose(possible, value).any()


def test_the_curve_tells_each_stage_and_its_mean_is_the_measure(make_model, make_cohort) -> None:
    model = make_model(untrained().eval())
    outcome = judged(model, make_cohort(4, shape=(1, 12, 12)), "saliency", stages=3, draws=2)
    curve = outcome.curves["cascade"]
    assert list(curve.columns) == ["id", "stage", "module", "fraction", "measure", "value"]
    assert len(curve) == 4 * 3 * 3
    signed = curve[curve["measure"] == "rank correlation"]
    before = signed[signed["stage"] < 3].groupby("id")["value"].mean()
    assert np.allclose(before, outcome.table["partly random model: rank correlation"])
    assert np.allclose(signed.loc[signed["stage"] == 3, "value"], outcome.table[RANDOM])
    assert list(signed.groupby("stage")["fraction"].first().round(2)) == sorted(set(curve["fraction"].round(2)))


def test_flat_maps_are_counted_apart_by_when_they_are_flat(make_model, make_cohort) -> None:
    @register("empty for some")
    def empty_for_some(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        maps = images.sum(1)
        random = not torch.equal(network.network[11].weight, model.network[11].weight)
        maps[images[:, 0, 0, 0] > (0.5 if random else 1.0)] = 0
        return maps

    model, cohort = make_model(untrained().eval()), make_cohort(8, shape=(1, 12, 12))
    corner = np.array([-1, -1, -1, 0.7, 0.7, 2, -1, -1], dtype=np.float32)
    pixels = cohort.images()
    pixels[:, 0, 0, 0] = corner
    outcome = judged(model, make_cohort(pixels), "empty for some", stages=2)
    assert outcome.left_out[RANDOM] == {"map without evidence": 1, "no evidence once randomised": 2}
    assert list(outcome.table[RANDOM].isna()) == list(corner > 0.5)


def test_some_images_stand_for_all_and_nothing_depends_on_the_batch(make_model, make_cohort) -> None:
    model, cohort = make_model(untrained().eval()), make_cohort(9, shape=(1, 12, 12))
    maps = explain(model, cohort, "shap", samples=4)  # its references are the whole cohort
    few, same = (sanity(study_of(model, maps, batch_size=size), stages=2, images=3) for size in (2, 16))
    assert list(few.table.index[few.table[RANDOM].notna()]) == ["i0", "i4", "i8"]
    assert few.left_out[RANDOM] == {"not looked at": 6}
    assert np.allclose(few.table, same.table, atol=1e-4, equal_nan=True)


def test_the_model_is_left_as_it_was(make_model, make_cohort) -> None:
    net = untrained().train()
    before = copy.deepcopy(net.state_dict())
    state = torch.random.get_rng_state()
    judged(make_model(net), make_cohort(4, shape=(1, 12, 12)), "gradcam", stages=2)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(module.training for module in net.modules())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_what_cannot_be_asked_is_refused(make_model, make_cohort) -> None:
    model, cohort = make_model(untrained().eval()), make_cohort(4, shape=(1, 12, 12))
    study = study_of(model, explain(model, cohort))
    for settings, said in (
        ({"stages": 1}, "stages 1"), ({"draws": 0}, "draws 0"), ({"images": 0}, "images 0"),
        ({"permuted": model}, "explained model itself"),
        ({"permuted": make_model(untrained(), ("a", "b"))}, "same cohort and classes"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            sanity(study, **settings)


@pytest.mark.parametrize(
    ("bounds", "answer", "said"),
    [
        ((0.6, 0.7, 0.8), "no", "The map does not depend on the model"),
        (
            (-0.1, 0.1, 0.3),
            "yes",
            "The map depends on the model: while the model is randomised it keeps 0.10 (−0.10 to 0.30)",
        ),
        ((-0.8, -0.7, -0.6), "yes", "The map depends on the model: while the model is randomised it keeps nothing"),
        ((0.4, 0.5, 0.6), "cannot tell", "Cannot tell"),
        ((np.nan, 0.9, np.nan), "cannot tell", "Cannot tell"),
    ],
)
def test_the_verdict_needs_the_whole_interval_on_one_side(bounds: tuple[float, ...], answer: str, said: str) -> None:
    assert sanity_verdict(*bounds)[0] == answer
    assert sanity_verdict(*bounds)[1].startswith(said)

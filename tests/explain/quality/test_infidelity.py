"""Infidelity and max-sensitivity: exact maps of linear models, the paper's formulas written again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.fill import fill_images
from workbench.explain.quality.infidelity import draw_boxes, infidelity, max_sensitivity, sensitivity
from workbench.explain.quality.study import study_of


class Sums(nn.Module):
    """The score is the sum of (bent) weighted pixels; in dense form the same, one pixel each."""

    def __init__(self, *shape: int, bent: bool = False, dense: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        self.bent, self.dense, self.asked = bent, dense, 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        score = images * self.weight
        score = (score.tanh() * 2 if self.bent else score).sum(1, keepdim=True)
        score = torch.cat([-score, score], dim=1)
        return score if self.dense else score.flatten(2).sum(2)


def case(make_model, make_cohort, *, shape=(2, 10, 12), count=3, method="input-x-gradient", **settings):
    """A model, exact maps (where it is not bent) and images; black is zero."""
    images = np.random.default_rng(1).random((count, *shape)).astype(np.float32)
    images.reshape(count, shape[0], -1)[:, :, 0] = 0
    network = Sums(*shape, **settings)
    model = make_model(network, task="segmentation" if network.dense else "classification")
    worth = (images * network.weight.detach().numpy()).sum(1)
    made = explain(model, make_cohort(images), "input-x-gradient", target="yes")
    return model, replace(made, method=method, maps=worth), images


@pytest.mark.parametrize("shape", [(1, 12, 12), (3, 9, 10), (2, 6, 8, 8)])
def test_a_map_of_what_each_pixel_is_worth_has_none(shape, make_model, make_cohort) -> None:
    model, exact, _ = case(make_model, make_cohort, shape=shape)
    found = infidelity(study_of(model, exact), fill="black").table
    assert (found["infidelity"] < 1e-8 * found["infidelity | map of zeros"]).all()
    assert (found["scaled infidelity"] < 1e-5).all()
    assert (found["scaled infidelity | shuffled map"] > 0.05).all()


def test_another_unit_changes_it_but_not_the_scaled_one(make_model, make_cohort) -> None:
    model, exact, _ = case(make_model, make_cohort)
    double = replace(exact, maps=2 * exact.maps)
    found = infidelity(study_of(model, double), fill="black").table
    # Twice the loss less the loss is the loss.
    assert np.allclose(found["infidelity"], found["infidelity | map of zeros"], rtol=1e-4)
    assert (found["scaled infidelity"] < 1e-5).all()


def test_a_map_that_is_wrong_everywhere_foretells_nothing(make_model, make_cohort) -> None:
    model, exact, _ = case(make_model, make_cohort)
    found = infidelity(study_of(model, replace(exact, maps=-exact.maps)), fill="black").table
    assert (found["scaled infidelity"] == 1).all()


def test_it_is_the_papers_equation_over_the_same_boxes(make_model, make_cohort) -> None:
    model, maps, images = case(make_model, make_cohort, bent=True)
    found = infidelity(study_of(model, maps, batch_size=7), samples=30, fill="mean").table
    for row, image in enumerate(torch.from_numpy(images)):
        boxes = draw_boxes(f"i{row}", (10, 12), 30)
        covered = torch.where(boxes[:, None], fill_images(image[None], "mean"), image)
        with torch.no_grad():
            loss = (model.network(image[None])[:, 1] - model.network(covered)[:, 1]).numpy()
        told = (boxes.numpy() * maps.maps[row]).sum((1, 2))
        assert found["infidelity"].iloc[row] == pytest.approx(np.mean((told - loss) ** 2), rel=1e-3)
        best = told * (told @ loss) / (told @ told)
        scaled = np.mean((best - loss) ** 2) / np.mean(loss**2)
        assert found["scaled infidelity"].iloc[row] == pytest.approx(scaled, rel=1e-3)


def test_a_method_in_other_units_has_only_the_scaled_one_and_is_counted(make_model, make_cohort) -> None:
    model, maps, _ = case(make_model, make_cohort, method="gradcam")
    flat = maps.maps.copy()
    flat[1] = 0
    found = infidelity(study_of(model, replace(maps, maps=flat)), samples=8)
    assert found.table[["infidelity", "infidelity | map of zeros"]].isna().all(axis=None)
    assert found.table["scaled infidelity"].notna().tolist() == [True, False, True]
    assert found.left_out["infidelity"] == {"map without evidence": 1, "map not in units of the score": 2}
    assert found.left_out["scaled infidelity"] == {"map without evidence": 1}


def test_a_segmentation_is_asked_for_its_own_region(make_model, make_cohort) -> None:
    model, exact, images = case(make_model, make_cohort, dense=True)
    inside = (images * model.network.weight.detach().numpy()).sum(1) > 0  # where the class is predicted
    found = infidelity(study_of(model, replace(exact, maps=exact.maps * inside)), fill="black").table
    assert (found["infidelity"] < 1e-8 * found["infidelity | map of zeros"]).all()


def test_four_numbers_cost_the_forward_passes_of_one(make_model, make_cohort) -> None:
    model, maps, _ = case(make_model, make_cohort)
    study = study_of(model, maps)
    model.network.asked = 0
    infidelity(study, samples=20)
    assert model.network.asked == 3 + 3 * (1 + 20)


@pytest.mark.parametrize("spatial", [(16, 24), (5, 8, 12), (1, 2)])
def test_every_pixel_is_as_likely_as_any_other_to_be_in_a_box(spatial: tuple[int, ...]) -> None:
    boxes = draw_boxes("a", spatial, 4000).numpy()
    part = boxes.mean(0)
    assert np.abs(part - part.mean()).max() < 5 * np.sqrt(part.mean() / 4000)
    for axis, side in enumerate(spatial):
        lengths = boxes.any(tuple(other for other in range(1, len(spatial) + 1) if other != axis + 1)).sum(1)
        assert lengths.min() == 1
        assert lengths.max() == max(1, side // 2)


def test_neither_depends_on_batches_or_company(make_model, make_cohort) -> None:
    model, _, images = case(make_model, make_cohort, bent=True)
    maps = explain(model, make_cohort(images), "saliency", target="yes")
    for part, settings in ((infidelity, {"samples": 10}), (sensitivity, {"samples": 5})):
        whole = part(study_of(model, maps), **settings).table
        small = part(study_of(model, maps, batch_size=2), **settings).table
        alone = part(study_of(model, maps.subset(["i2"])), **settings).table
        assert np.allclose(whole, small, rtol=1e-3, equal_nan=True)
        assert np.allclose(whole.loc[["i2"]], alone, rtol=1e-3, equal_nan=True)


def test_the_map_of_a_linear_model_does_not_move(make_model, make_cohort) -> None:
    model, _, images = case(make_model, make_cohort)
    maps = explain(model, make_cohort(images), "saliency", target="yes")
    assert (sensitivity(study_of(model, maps)).table["max-sensitivity"] < 1e-6).all()


def test_input_times_gradient_of_a_linear_model_moves_as_its_input_does() -> None:
    weight, image = torch.randn(2, 6, 7), torch.randn(1, 2, 6, 7)
    noise = 0.1 * torch.randn(9, 2, 6, 7)
    heat = (weight * image)[0].sum(0).numpy()
    ours = max_sensitivity(lambda x: (weight * x).sum(1).numpy(), image, heat, noise=noise, at_once=4)
    moved = (weight * noise).sum(1).flatten(1).norm(dim=1)
    assert ours == pytest.approx(float(moved.max()) / np.linalg.norm(heat), rel=1e-4)


def test_more_noise_moves_a_map_more_and_never_beyond_what_it_can(make_model, make_cohort) -> None:
    model, _, images = case(make_model, make_cohort, bent=True)
    maps = explain(model, make_cohort(images), "input-x-gradient", target="yes")
    small, large = (sensitivity(study_of(model, maps), radius=r).table["max-sensitivity"] for r in (0.01, 0.2))
    assert (small > 0).all()
    assert (large > 3 * small).all()


def test_the_class_explained_is_kept_though_noise_changes_the_prediction(make_model, make_cohort) -> None:
    model, _, images = case(make_model, make_cohort)
    # Each image's own prediction: under noise of 10 × the range another class would win, and the signed map would flip.
    maps = explain(model, make_cohort(images), "saliency", absolute=False)
    found = sensitivity(study_of(model, maps), radius=10.0, samples=20)
    assert (found.table["max-sensitivity"] < 1e-6).all()


@pytest.mark.parametrize("settings", [{"samples": 1}, {"fill": "grey"}])
def test_settings_of_infidelity_out_of_range_are_refused(settings, make_model, make_cohort) -> None:
    model, maps, _ = case(make_model, make_cohort)
    with pytest.raises(InputError, match=next(iter(settings))):
        infidelity(study_of(model, maps), **settings)


def test_noise_without_extent_is_refused(make_model, make_cohort) -> None:
    model, maps, _ = case(make_model, make_cohort)
    with pytest.raises(InputError, match="radius 0 must be a number above 0"):
        sensitivity(study_of(model, maps), radius=0)

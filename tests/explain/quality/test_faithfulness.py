"""Deletion and insertion: closed forms of a linear model, the definition written again, and known truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.fill import Fill
from workbench.explain.quality.faithfulness import MEASURES, faithfulness, removal_curves
from workbench.explain.quality.orders import random_ranks, ranks
from workbench.explain.quality.study import study_of


class Linear(nn.Module):
    """Scores are weighted sums: what each pixel is worth is known, and adds up."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
        self.asked = 0
        self.sizes: set[int] = set()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        self.sizes.add(len(images))
        score = (images * self.weight).flatten(1).sum(1)
        return torch.stack([-score, score], dim=1)


class BrightBlob(nn.Module):
    """Scores what is bright over an area of 5 a side; a dark square with steep edges means nothing to it."""

    def __init__(self, spatial: int = 2, *, dense: bool = False) -> None:
        super().__init__()
        self.pool = (nn.AvgPool2d if spatial == 2 else nn.AvgPool3d)(5, stride=1, padding=2)
        self.dense = dense

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        score = torch.relu(self.pool(images.mean(1, keepdim=True)) - 0.5)
        score = torch.cat([-score, score], dim=1)
        return score if self.dense else score.flatten(2).sum(2)


def blobs(count: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images with one bright blob and one dark square, and maps that know the blob."""
    draw = np.random.default_rng(2)
    images = (0.1 * draw.normal(size=(count, *shape))).astype(np.float32)
    maps = np.zeros((count, *shape[1:]), np.float32)
    places = np.stack(np.meshgrid(*map(np.arange, shape[1:]), indexing="ij"))
    for row in range(count):
        centre = [draw.integers(side // 4, side // 2) for side in shape[1:]]
        far = np.sqrt(sum((place - c) ** 2 for place, c in zip(places, centre, strict=True)))
        maps[row] = np.exp(-((far / (min(shape[1:]) / 6)) ** 2))
        images[row, :, *(slice(5 * side // 8, 7 * side // 8 + 1) for side in shape[1:])] -= 3
        images[row] += 2 * maps[row]
    return images, maps


@pytest.fixture
def linear_case(make_model, make_cohort):
    """A study whose maps are exact: images from 0 upwards, so that black is 0 and a pixel's worth is weight × value."""
    images = np.random.default_rng(1).random((3, 2, 6, 8)).astype(np.float32)
    images[:, :, 0, 0] = 0
    network = Linear(2, 6, 8)
    worth = (images * network.weight.detach().numpy()).sum(1)
    model = make_model(network)
    maps = explain(model, make_cohort(images), "saliency", target="yes")
    return model, replace(maps, maps=worth), worth.reshape(3, 48)


def test_curves_of_a_linear_model_are_the_sorted_sums_of_its_terms(linear_case) -> None:
    model, attributions, worth = linear_case
    found = faithfulness(study_of(model, attributions), steps=48, fill="black")
    gone = np.cumsum(-np.sort(-worth, axis=1), axis=1)
    deletion = np.c_[worth.sum(1), worth.sum(1, keepdims=True) - gone]
    insertion = np.c_[np.zeros(3), gone]
    assert np.allclose(found.table["deletion area"], np.trapezoid(deletion, dx=1 / 48), atol=1e-5)
    assert np.allclose(found.table["insertion area"], np.trapezoid(insertion, dx=1 / 48), atol=1e-5)
    curve = found.curves["deletion and insertion"].query("curve == 'deletion' and order == 'map' and id == 'i1'")
    assert np.allclose(curve["score"], deletion[1], atol=1e-5)
    assert np.allclose(curve["fraction"], np.arange(49) / 48)


def test_no_order_has_a_smaller_deletion_area_than_the_truth(linear_case) -> None:
    model, attributions, _ = linear_case
    draw = np.random.default_rng(0)
    others = [replace(attributions, maps=draw.normal(size=attributions.maps.shape)) for _ in range(10)]
    best, *rest = (faithfulness(study_of(model, maps), steps=8, fill="black").table for maps in (attributions, *others))
    assert all((best["deletion area"] < table["deletion area"]).all() for table in rest)
    assert all((best["insertion area"] > table["insertion area"]).all() for table in rest)


def test_a_random_order_has_half_the_score_as_its_area_on_average(linear_case) -> None:
    model, attributions, worth = linear_case
    study = study_of(model, attributions)
    areas = np.stack(
        [
            faithfulness(study, steps=4, fill="black", seed=seed).table["deletion area | random order"]
            for seed in range(60)
        ]
    )
    error = areas.std(0) / np.sqrt(60)
    assert (np.abs(areas.mean(0) - worth.sum(1) / 2) < 4 * error).all()
    assert (error < 0.1 * np.abs(worth).sum(1)).all()


def test_by_hand_on_three_by_three_pixels() -> None:
    image = torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    heat = np.array([[[9, 8, 7], [1, 2, 3], [6, 5, 4]]])  # removed: 1 2 3, then 7 8 9, then 6 5 4
    places = np.stack([ranks(heat, ["a"]), random_ranks(["a"], (3, 3))])
    total = removal_curves(
        lambda inputs, _: inputs.flatten(1).sum(1).numpy(), Fill.of(image, 0), places=places, steps=3, at_once=2
    )
    assert total[0, 0, 0].tolist() == [45, 39, 15, 0]
    assert total[1, 0, 0].tolist() == [0, 6, 30, 45]
    assert total[1, 1, 0].tolist() == total[0, 1, 0, ::-1].tolist()


def test_it_is_pixel_flipping_as_bach_et_al_define_it(make_model, make_cohort) -> None:
    images, maps = blobs(2, (2, 12, 12))
    network = BrightBlob()
    model = make_model(network)
    attributions = replace(explain(model, make_cohort(images), "saliency", target="yes"), maps=maps)
    curve = faithfulness(study_of(model, attributions), steps=12, fill="mean").curves["deletion and insertion"]
    for row, image in enumerate(images):
        flipped, scores = image.reshape(2, -1).copy(), []
        for features in np.argsort(-maps[row].ravel()).reshape(12, 12):  # 12 features a step
            for channel in range(2):
                flipped[channel, features] = image[channel].mean()
            scores.append(float(network(torch.from_numpy(flipped.reshape(1, 2, 12, 12)))[0, 1]))
        ours = curve.query(f"curve == 'deletion' and order == 'map' and id == 'i{row}'")["score"]
        assert np.allclose(ours.iloc[1:], scores, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "fill"),
    [((1, 32, 32), "blur"), ((1, 32, 32), "inpaint"), ((3, 24, 24), "mean"), ((1, 16, 18, 18), "blur")],
)
def test_the_truth_beats_a_random_order_and_edges_and_its_opposite_loses(shape, fill, make_model, make_cohort) -> None:
    images, maps = blobs(4, shape)
    model = make_model(BrightBlob(len(shape) - 1))
    true = replace(explain(model, make_cohort(images), "saliency", target="yes"), maps=maps)
    found = faithfulness(study_of(model, true), fill=fill).table
    wrong = faithfulness(study_of(model, replace(true, maps=-maps)), fill=fill).table
    for control in ("random order", "edges"):
        assert (found["deletion area"] < found[f"deletion area | {control}"]).all()
        assert (found["insertion area"] > found[f"insertion area | {control}"]).all()
    assert (wrong["deletion area"] > wrong["deletion area | random order"]).all()
    assert (wrong["insertion area"] < wrong["insertion area | random order"]).all()


def test_a_class_of_a_segmentation_over_its_own_prediction_is_followed(make_model, make_cohort) -> None:
    images, maps = blobs(3, (1, 24, 24))
    model = make_model(BrightBlob(dense=True), task="segmentation")
    true = replace(explain(model, make_cohort(images), "saliency", target="yes"), maps=maps)
    found = faithfulness(study_of(model, true, batch_size=5), fill="mean")
    curve = found.curves["deletion and insertion"].query("curve == 'insertion' and order == 'map'")
    assert np.allclose(curve[curve["fraction"] == 1]["score"], true.scores, rtol=1e-5)
    assert (found.table["insertion area"] > found.table["insertion area | edges"]).all()


def test_each_image_costs_the_forward_passes_that_are_told_and_batches_are_full(linear_case) -> None:
    model, attributions, _ = linear_case
    study = study_of(model, attributions, batch_size=11)
    model.network.asked, model.network.sizes = 0, set()
    faithfulness(study)
    assert model.network.asked == 3 + 3 * 77  # what was explained is scored once more, then 77 versions an image
    assert model.network.sizes == {11, 3}  # 231 = 21 × 11


def test_it_does_not_depend_on_batches_or_company(make_model, make_cohort) -> None:
    images, maps = blobs(5, (1, 16, 16))
    maps[3] = np.round(maps[3], 1)  # ties
    model = make_model(BrightBlob())
    attributions = replace(explain(model, make_cohort(images), "saliency", target="yes"), maps=maps)
    whole = faithfulness(study_of(model, attributions)).table
    assert np.allclose(whole, faithfulness(study_of(model, attributions, batch_size=3)).table, rtol=1e-5)
    part = faithfulness(study_of(model, attributions.subset(["i3", "i1"]))).table
    assert np.allclose(whole.loc[["i3", "i1"]], part, rtol=1e-5)


def test_maps_without_evidence_are_counted_and_not_scored(linear_case) -> None:
    model, attributions, _ = linear_case
    maps = attributions.maps.copy()
    maps[0], maps[2] = 0, 0.25
    found = faithfulness(study_of(model, replace(attributions, maps=maps)), steps=4)
    assert found.table.index.tolist() == ["i0", "i1", "i2"]
    assert found.table.loc[["i0", "i2"]].isna().all(axis=None)
    assert found.table.loc["i1"].notna().all()
    assert found.left_out == {measure.name: {"map without evidence": 2} for measure in MEASURES}
    assert set(found.curves["deletion and insertion"]["id"]) == {"i1"}


def test_a_cohort_of_flat_maps_alone_has_no_numbers_at_all(linear_case) -> None:
    model, attributions, _ = linear_case
    found = faithfulness(study_of(model, replace(attributions, maps=np.zeros_like(attributions.maps))))
    assert found.table.isna().all(axis=None)
    assert len(found.curves["deletion and insertion"]) == 0


@pytest.mark.parametrize(("setting", "value"), [("steps", 1), ("steps", 2.5), ("fill", "blurr")])
def test_settings_out_of_range_are_refused(setting: str, value: object, linear_case) -> None:
    model, attributions, _ = linear_case
    with pytest.raises(InputError, match=setting):
        faithfulness(study_of(model, attributions), **{setting: value})

"""The imputation against a direct solve of the paper's formula, and ROAD against its definition and on known truth."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.quality.imputation import impute
from workbench.explain.quality.road import road
from workbench.explain.quality.study import study_of

# Rong et al. 2022, section 5.1, by the number of axes along which a neighbour lies off; 3-D as the product [1 2 1]³.
WEIGHTS = {2: {1: 1 / 6, 2: 1 / 12}, 3: {1: 4 / 56, 2: 2 / 56, 3: 1 / 56}}


def solved(image: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Write one equation a removed pixel, as in the paper, and solve them densely: ``(C, *spatial)``."""
    unknown = [tuple(place) for place in np.argwhere(removed)]
    number = {place: row for row, place in enumerate(unknown)}
    system, right = np.zeros((len(unknown), len(unknown))), np.zeros((len(unknown), len(image)))
    for row, place in enumerate(unknown):
        for offset in product((-1, 0, 1), repeat=removed.ndim):
            near = tuple(int(p) + o for p, o in zip(place, offset, strict=True))
            if not any(offset) or not all(0 <= p < side for p, side in zip(near, removed.shape, strict=True)):
                continue
            weight = WEIGHTS[removed.ndim][sum(map(abs, offset))]
            system[row, row] += weight
            if near in number:
                system[row, number[near]] -= weight
            else:
                right[row] += weight * image[(slice(None), *near)]
    result = image.astype(np.float64)
    result[:, removed] = np.linalg.solve(system, right).T
    return result


def hole(shape: tuple[int, ...], kind: str, part: float) -> np.ndarray:
    noise = np.random.default_rng(4).normal(size=shape)
    field = gaussian_filter(noise, [side / 6 for side in shape]) if kind == "blob" else noise
    return field >= np.quantile(field, 1 - part)


@pytest.mark.parametrize("shape", [(24, 24), (17, 30), (9, 8, 10), (2, 12, 12), (1, 15, 15)])
@pytest.mark.parametrize("kind", ["blob", "scattered"])
@pytest.mark.parametrize("part", [0.1, 0.9])
def test_it_solves_the_papers_equations(shape: tuple[int, ...], kind: str, part: float) -> None:
    image = (1000 + 50 * np.random.default_rng(0).normal(size=(2, *shape))).astype(np.float32)
    removed = hole(shape, kind, part)
    ours = impute(torch.from_numpy(image)[None], torch.from_numpy(removed)[None])[0].numpy()
    assert np.abs(ours - solved(image, removed)).max() < 1e-4 * 50 + 1e-7 * 1000
    assert (ours[:, ~removed] == image[:, ~removed]).all()


def test_by_hand_the_middle_and_a_corner() -> None:
    image = torch.tensor([[10.0, 2.0, 30.0], [4.0, 50.0, 6.0], [70.0, 8.0, 90.0]])[None, None]
    gone = torch.zeros(2, 3, 3, dtype=torch.bool)
    gone[0, 1, 1] = gone[1, 0, 0] = True
    filled = impute(image.expand(2, 1, 3, 3), gone)
    assert filled[0, 0, 1, 1] == pytest.approx((2 + 4 + 6 + 8) / 6 + (10 + 30 + 70 + 90) / 12)
    assert filled[1, 0, 0, 0] == pytest.approx((2 * 2 + 2 * 4 + 50) / 5)  # weights 1/6, 1/6 and 1/12 scaled up to 1


def test_a_volume_without_change_along_an_axis_is_filled_in_as_its_slices_are() -> None:
    image = torch.randn(1, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    gone = torch.from_numpy(hole((14, 14), "blob", 0.6))[None]
    plane = impute(image, gone)
    volume = impute(image[:, :, None].repeat(1, 1, 5, 1, 1), gone[:, None].repeat(1, 5, 1, 1))
    assert torch.allclose(volume, plane[:, :, None].expand_as(volume), atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_nothing_is_imputed_beyond_the_values_that_are_left(seed: int, part: float) -> None:
    draw = np.random.default_rng(seed)
    image, gone = draw.normal(size=(1, 1, 11, 13)).astype(np.float32), draw.random((1, 11, 13)) < part
    gone[0, 5, 5] = False
    filled = impute(torch.from_numpy(image), torch.from_numpy(gone)).numpy()
    left = image[0, 0][~gone[0]]
    assert left.min() - 1e-4 <= filled.min() <= filled.max() <= left.max() + 1e-4


def test_what_was_removed_plays_no_part_even_where_it_was_nan() -> None:
    image = torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(0))
    gone = torch.from_numpy(hole((12, 12), "blob", 0.5))[None]
    spoilt = torch.where(gone[:, None], torch.nan, image)
    assert torch.equal(impute(spoilt, gone), impute(image, gone))


def test_an_image_is_filled_in_the_same_in_any_company() -> None:
    images = torch.randn(3, 1, 20, 20, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 1e3, 1e-3]).view(
        3, 1, 1, 1
    )
    gone = torch.from_numpy(
        np.stack([hole((20, 20), kind, part) for kind, part in (("blob", 0.9), ("scattered", 0.1), ("blob", 0.3))])
    )
    together = impute(images, gone)
    for row in range(3):
        alone = impute(images[row : row + 1], gone[row : row + 1])[0]
        assert torch.allclose(alone, together[row], rtol=1e-6, atol=1e-6 * float(images[row].std()))


def test_an_image_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(InputError, match="every pixel removed"):
        impute(torch.zeros(1, 1, 4, 4), torch.ones(1, 4, 4, dtype=torch.bool))


class BrightBlob(nn.Module):
    """Scores what is bright over an area of 5 a side; a dark frame with steep edges means nothing to it."""

    def __init__(self, spatial: int = 2) -> None:
        super().__init__()
        self.pool = (nn.AvgPool2d if spatial == 2 else nn.AvgPool3d)(5, stride=1, padding=2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        score = torch.relu(self.pool(images.mean(1, keepdim=True)) - 0.5).flatten(1).sum(1)
        return torch.stack([-score, score], dim=1)


def scene(count: int, shape: tuple[int, ...] = (1, 32, 32)) -> tuple[np.ndarray, np.ndarray]:
    """Images with one bright blob and one dark frame, and maps that know the blob."""
    draw = np.random.default_rng(2)
    images = (0.1 * draw.normal(size=(count, *shape))).astype(np.float32)
    maps = np.zeros((count, *shape[1:]), np.float32)
    places = np.stack(np.meshgrid(*map(np.arange, shape[1:]), indexing="ij"))
    for row in range(count):
        centre = [draw.integers(side // 4, side // 2) for side in shape[1:]]
        far = np.sqrt(sum((place - c) ** 2 for place, c in zip(places, centre, strict=True)))
        maps[row] = np.exp(-((far / (min(shape[1:]) / 6)) ** 2))
        frame = tuple(slice(5 * side // 8, 7 * side // 8 + 1) for side in shape[1:])
        images[row, :, *frame] -= 3
        images[row] += 2 * maps[row]
    return images, maps


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 24, 24), (1, 16, 18, 18)])
def test_the_truth_beats_a_random_order_and_edges_and_its_opposite_loses(shape, make_model, make_cohort) -> None:
    images, maps = scene(4, shape)
    model = make_model(BrightBlob(len(shape) - 1))
    true = replace(explain(model, make_cohort(images), "saliency", target="yes"), maps=maps)
    found = road(study_of(model, true), percentiles=(5, 10, 30)).table
    wrong = road(study_of(model, replace(true, maps=-maps)), percentiles=(5, 10, 30)).table
    assert (found["ROAD"] > 2 * found["ROAD | random order"].abs()).all()
    assert (found["ROAD"] > found["ROAD | edges"]).all()
    assert np.allclose(wrong["ROAD"], -found["ROAD"], rtol=0.05)


def test_road_is_half_the_mean_difference_of_what_is_left(make_model, make_cohort) -> None:
    images, maps = scene(1)
    maps += 1e-3 * np.random.default_rng(0).random(maps.shape, dtype=np.float32)  # no ties
    network = BrightBlob()
    model = make_model(network)
    attributions = replace(explain(model, make_cohort(images), "saliency", target="yes"), maps=maps)
    found = road(study_of(model, attributions), percentiles=(20, 80), noise=0)
    order, differences = np.argsort(-maps[0].ravel()), []
    for count in (205, 819):  # 20 % and 80 % of 1,024
        left = []
        for gone in (order[-count:], order[:count]):
            removed = np.zeros(1024, bool)
            removed[gone] = True
            filled = solved(images[0], removed.reshape(32, 32)).astype(np.float32)
            left.append(float(network(torch.from_numpy(filled)[None])[0, 1]))
        differences.append((left[0] - left[1]) / 2)
    assert found.table["ROAD"].iloc[0] == pytest.approx(np.mean(differences), rel=1e-4)
    curve = found.curves["ROAD"]
    assert len(curve) == 2 * 4 * 2
    assert curve[curve["order"] == "map"]["score"].iloc[1] == pytest.approx(left[1], rel=1e-4)


def test_it_does_not_depend_on_batches_or_company_though_noise_is_added(make_model, make_cohort) -> None:
    images, maps = scene(4)
    model = make_model(BrightBlob())
    all_maps = replace(explain(model, make_cohort(images), "saliency", target="yes"), maps=maps)
    whole = road(study_of(model, all_maps), percentiles=(30, 60), noise=0.2).table
    small = road(study_of(model, all_maps, batch_size=3), percentiles=(30, 60), noise=0.2).table
    part = road(study_of(model, all_maps.subset(["i2"])), percentiles=(30, 60), noise=0.2).table
    assert np.allclose(whole, small, rtol=1e-4)
    assert np.allclose(whole.loc[["i2"]], part, rtol=1e-4)
    assert not np.allclose(whole, road(study_of(model, all_maps), percentiles=(30, 60), noise=0).table, rtol=1e-4)


def test_a_flat_map_is_counted_and_not_scored(make_model, make_cohort) -> None:
    images, maps = scene(3)
    maps[1] = 0
    model = make_model(BrightBlob())
    given_maps = replace(explain(model, make_cohort(images), "saliency", target="yes"), maps=maps)
    found = road(study_of(model, given_maps), percentiles=(50,))
    assert found.table.loc["i1"].isna().all()
    assert found.table.loc[["i0", "i2"]].notna().all(axis=None)
    assert found.left_out["ROAD"] == {"map without evidence": 1}


@pytest.mark.parametrize("settings", [{"percentiles": (0, 50)}, {"percentiles": ()}, {"noise": -1}])
def test_settings_out_of_range_are_refused(settings, make_model, make_cohort) -> None:
    model = make_model(BrightBlob())
    study = study_of(model, explain(model, make_cohort(2), "saliency", target="yes"))
    with pytest.raises(InputError, match=next(iter(settings))):
        road(study, **settings)

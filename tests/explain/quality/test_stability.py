"""Stability: what moves with the image is stable, what does not is not, and the score's own change stands beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.methods import register
from workbench.explain.quality.stability import CONTROL, stability
from workbench.explain.quality.study import study_of

if TYPE_CHECKING:
    from workbench.explain.quality.measure import Outcome

CHANGES = ("shift", "noise", "intensity")


class Mean(nn.Module):
    """Scores are the image's mean and its negative."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([-1.0, 1.0]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).mean(1)[:, None] * self.scale


@register("the image itself")
def image_itself(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return images.sum(1)


@register("fixed to the frame")
def fixed(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    place = torch.arange(images[0, 0].numel(), dtype=torch.float32).reshape(images.shape[2:])
    return torch.sin(37.0 * place**2).expand(len(images), *images.shape[2:])


def found(make_model, cohort, method: str, **settings: object) -> Outcome:
    model = make_model(Mean())
    return stability(study_of(model, explain(model, cohort, method, target="yes"), batch_size=2), **settings)


SHAPES = pytest.mark.parametrize("shape", [(1, 16, 20), (2, 3, 16, 20)])


@SHAPES
def test_a_map_that_moves_with_the_image_is_stable_under_shifts(
    shape: tuple[int, ...], make_model, make_cohort
) -> None:
    table = found(make_model, make_cohort(6, shape=shape), "the image itself", shift=3).table
    assert np.allclose(table["shift: rank correlation"], 1)
    assert np.allclose(table["shift: relative change"], 0, atol=1e-6)


@SHAPES
def test_a_map_that_stays_in_the_frame_is_not(shape: tuple[int, ...], make_model, make_cohort) -> None:
    table = found(make_model, make_cohort(6, shape=shape), "fixed to the frame", shift=2).table
    assert (table["shift: rank correlation"].abs() < 0.3).all()
    assert np.allclose(table[["noise: rank correlation", "intensity: rank correlation", CONTROL]], 1)


def test_noise_is_a_share_of_each_images_own_range(make_model, make_cohort) -> None:
    generator = np.random.default_rng(1)
    images = generator.uniform(size=(6, 1, 32, 32)).astype(np.float32) * np.array([1, 1, 1, 100, 100, 100]).reshape(
        -1, 1, 1, 1
    )
    images -= 0.3
    table = found(make_model, make_cohort(images.astype(np.float32)), "the image itself", noise=0.1).table
    expected = [0.1 * np.ptp(image) / np.sqrt(np.mean(image**2)) for image in images]
    assert np.allclose(table["noise: relative change"], expected, rtol=0.1)


def test_contrast_and_brightness_change_as_told(make_model, make_cohort) -> None:
    cohort = make_cohort(6, shape=(1, 12, 12))
    table = found(make_model, cohort, "the image itself", scale=0.2).table
    assert np.allclose(table["intensity: rank correlation"], 1)
    span = np.ptp(cohort.images(), axis=(1, 2, 3))
    assert np.allclose(table["intensity: score change"], 0.2 * span, rtol=1e-5)


def test_the_score_may_move_while_the_map_stays(make_model, make_cohort) -> None:
    table = found(make_model, make_cohort(4), "saliency").table  # of a linear model: one gradient for all images
    assert (table["intensity: score change"] > 0.1).all()
    assert table["intensity: rank correlation"].isna().all()  # constant: there is no order to keep


def test_maps_without_evidence_are_counted_before_and_after(make_model, make_cohort) -> None:
    @register("bright alone")
    def bright(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return images.sum(1) * (images.mean((1, 2, 3)) > 0).float()[:, None, None]

    cohort = make_cohort(40, shape=(1, 8, 8))
    empty = (cohort.images().mean((1, 2, 3)) <= 0).sum()
    outcome = found(make_model, cohort, "bright alone", scale=0.3, shift=1)
    assert outcome.left_out["intensity: rank correlation"]["map without evidence"] == empty
    assert outcome.left_out["intensity: rank correlation"]["no evidence once changed"] > 0
    missing = outcome.table["intensity: rank correlation"].isna().sum()
    assert missing == sum(outcome.left_out["intensity: rank correlation"].values())


def test_the_same_seed_changes_each_image_alike_whatever_the_batch(make_model, make_cohort) -> None:
    model, cohort = make_model(Mean()), make_cohort(5)
    maps = explain(model, cohort, "the image itself", target="yes")
    tables = [
        stability(study_of(model, maps, batch_size=size), seed=seed).table for size, seed in ((2, 1), (5, 1), (5, 2))
    ]
    assert np.allclose(tables[0], tables[1], atol=1e-6)
    assert not np.allclose(tables[0]["noise: relative change"], tables[2]["noise: relative change"], atol=1e-6)


def test_every_measure_has_its_column_and_its_control(make_model, make_cohort) -> None:
    outcome = found(make_model, make_cohort(4), "the image itself")
    for measure in outcome.measures:
        assert measure.name in outcome.table
        assert measure.baseline in (None, CONTROL)
    assert CONTROL in outcome.table
    assert len(outcome.measures) == 3 * len(CHANGES)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shift": 8}, "7 or fewer"),
        ({"shift": 0}, "at least 1"),
        ({"noise": 0}, "noise 0"),
        ({"scale": 1.5}, "scale 1.5"),
    ],
)
def test_changes_that_are_not_small_are_refused(settings: dict, said: str, make_model, make_cohort) -> None:
    with pytest.raises(InputError, match=said):
        found(make_model, make_cohort(4), "the image itself", **settings)

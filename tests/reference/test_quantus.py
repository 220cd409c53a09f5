"""What is measured of maps beside Quantus 0.6: the same on cases it gets right, by hand where it does not."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from workbench.explain.fill import Fill
from workbench.explain.quality.faithfulness import removal_curves
from workbench.explain.quality.orders import random_ranks, ranks
from workbench.explain.quality.pointing import mass_inside, pointing_game, rank_accuracy
from workbench.explain.quality.similarity import rank_correlation, ssim

if TYPE_CHECKING:
    from types import ModuleType

QUIET = {"disable_warnings": True, "display_progressbar": False, "abs": False, "normalise": False}
MEASURES = {
    "PointingGame": pointing_game, "RelevanceMassAccuracy": mass_inside, "RelevanceRankAccuracy": rank_accuracy
}  # fmt: skip


class Linear(nn.Module):
    """Two scores that are weighted sums of pixels."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        score = (images * self.weight).flatten(1).sum(1)
        return torch.stack([-score, score], dim=1)


def asked(peer: ModuleType, name: str, network: nn.Module, *, images: np.ndarray, maps: np.ndarray, **given: object):
    settings = {key: given.pop(key) for key in ("features_in_step", "perturb_baseline") if key in given}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(peer, name)(**QUIET, **settings)(
            model=network,
            x_batch=images,
            y_batch=np.ones(len(images), int),
            a_batch=maps[:, None],
            device="cpu",
            **given,
        )


def regions(n: int, side: int, seed: int) -> np.ndarray:
    rng, made = np.random.default_rng(seed), np.zeros((n, side, side), dtype=bool)
    for row in range(n):
        top, left = rng.integers(0, side - 4, 2)
        made[row, top : top + rng.integers(2, 5), left : left + rng.integers(2, 5)] = True
    return made


@pytest.mark.parametrize("name", MEASURES)
def test_localisation_is_the_same_for_maps_that_point_and_masks_that_hold_something(quantus, name) -> None:
    rng, masks = np.random.default_rng(3), regions(40, 12, 5)
    maps = rng.random((40, 12, 12)) + 0.2 * masks
    images = rng.random((40, 1, 12, 12)).astype(np.float32)
    told = asked(quantus, name, Linear(1, 12, 12), images=images, maps=maps, s_batch=masks[:, None])
    made = [MEASURES[name](heat, mask) for heat, mask in zip(maps, masks, strict=True)]
    assert made == pytest.approx(np.asarray(told, dtype=float))
    assert len(set(made)) > 1


def test_an_empty_mask_is_no_hit(quantus) -> None:
    rng = np.random.default_rng(0)
    heat, empty = rng.random((1, 8, 8)), np.zeros((1, 1, 8, 8), dtype=bool)
    images = rng.random((1, 1, 8, 8)).astype(np.float32)
    told = asked(quantus, "PointingGame", Linear(1, 8, 8), images=images, maps=heat, s_batch=empty)
    assert bool(told[0])  # a hit, on an image without a lesion
    assert np.isnan(pointing_game(heat[0], empty[0, 0]))


def test_a_volume_has_a_pointing_game_too(quantus) -> None:
    rng = np.random.default_rng(0)
    heat, mask = rng.random((1, 4, 6, 8)), np.zeros((1, 1, 4, 6, 8), dtype=bool)
    heat[0, 2, 3, 4], mask[0, 0, 2, 3, 4] = 2, True
    assert pointing_game(heat[0], mask[0, 0]) == 1
    images = rng.random((1, 1, 4, 6, 8)).astype(np.float32)
    with pytest.raises((ValueError, AssertionError)):
        asked(quantus, "PointingGame", Linear(1, 4, 6, 8), images=images, maps=heat, s_batch=mask)


def test_deletion_is_their_pixel_flipping(quantus) -> None:
    rng, network = np.random.default_rng(2), Linear(1, 8, 8).eval()
    images, maps = rng.random((3, 1, 8, 8)).astype(np.float32), rng.random((3, 8, 8))
    images[:, 0, 0, 0] = 0  # the darkest pixel of each image, which "black" stands for, is 0
    told = asked(
        quantus, "PixelFlipping", network, images=images, maps=maps, features_in_step=4, perturb_baseline=0.0, softmax=False
    )  # fmt: skip
    ids = ["a", "b", "c"]
    places = np.stack([ranks(maps, ids, seed=0), random_ranks(ids, (8, 8), seed=0)])
    inputs = torch.from_numpy(images)

    def score(altered: torch.Tensor, _rows: np.ndarray) -> torch.Tensor:
        with torch.inference_mode():
            return network(altered)[:, 1]

    curves = removal_curves(score, Fill.of(inputs, "black"), places=places, steps=16, at_once=8)
    assert curves[0, 0, :, 1:] == pytest.approx(np.asarray(told, dtype=float), abs=1e-4)


def test_maps_are_compared_as_they_compare_them(quantus) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(4, 16, 20)), rng.normal(size=(4, 16, 20))
    second[:2] += first[:2]
    from quantus.functions import similarity_func as peer

    told = [peer.correlation_spearman(a.ravel(), b.ravel()) for a, b in zip(first, second, strict=True)]
    assert rank_correlation(first, second) == pytest.approx(told)
    # Theirs takes maps as they are and the range of the second; ours divides each by its largest |value|, range 2.
    scaled = [part / np.abs(part).max(axis=(1, 2), keepdims=True) for part in (first, second)]
    from skimage.metrics import structural_similarity

    told = [structural_similarity(a, b, data_range=2) for a, b in zip(*scaled, strict=True)]
    assert ssim(first, second) == pytest.approx(told)


def test_a_flat_map_has_no_rank_correlation_and_says_so_without_a_warning() -> None:
    heat = np.random.default_rng(0).random((1, 8, 8))
    assert np.isnan(rank_correlation(heat, np.zeros_like(heat))).all()

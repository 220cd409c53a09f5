"""Augmentation: nothing where nothing is allowed, the same from the same generator, and only what it says."""

from __future__ import annotations

import pytest
import torch

from workbench.models.augment import Augmentation

NONE = {"flip": False, "shift": 0.0, "rotation": 0.0, "scale": 0.0, "gain": 0.0}
SHAPES = [(6, 1, 12, 17), (6, 3, 9, 9), (4, 1, 6, 8, 10)]


def images(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_changes_where_every_setting_is_zero(shape: tuple[int, ...]) -> None:
    torch.testing.assert_close(Augmentation(**NONE)(images(shape), generator()), images(shape), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_same_generator_gives_the_same_images_and_another_gives_others(shape: tuple[int, ...]) -> None:
    augment, given = Augmentation(), images(shape)
    assert torch.equal(augment(given, generator(3)), augment(given, generator(3)))
    assert not torch.allclose(augment(given, generator(3)), augment(given, generator(4)))
    assert torch.equal(given, images(shape)), "what was given must stay as it was"


@pytest.mark.parametrize("shape", SHAPES)
def test_flip_mirrors_the_last_axis_of_some_images_and_leaves_the_others(shape: tuple[int, ...]) -> None:
    given = images((40, *shape[1:]))
    changed = Augmentation(**NONE | {"flip": True})(given, generator())
    mirrored = [torch.allclose(new, old.flip(-1), atol=1e-5) for new, old in zip(changed, given, strict=True)]
    kept = [torch.allclose(new, old, atol=1e-5) for new, old in zip(changed, given, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 10 <= sum(mirrored) <= 30


def test_shift_moves_by_at_most_its_share_of_each_axis() -> None:
    spot = torch.zeros(64, 1, 100, 60)
    spot[:, :, 50, 30] = 1
    moved = Augmentation(**NONE | {"shift": 0.1})(spot, generator())[:, 0]
    rows = (moved.sum(2) * torch.arange(100)).sum(1) / moved.sum((1, 2)) - 50
    columns = (moved.sum(1) * torch.arange(60)).sum(1) / moved.sum((1, 2)) - 30
    assert 8 < rows.abs().max() <= 10.01
    assert 5 < columns.abs().max() <= 6.01


def test_rotation_keeps_lengths_in_images_that_are_not_square() -> None:
    spot = torch.zeros(64, 1, 41, 81)
    spot[:, :, 20, 70] = 1  # thirty pixels right of the centre
    turned = Augmentation(**NONE | {"rotation": 20.0})(spot, generator())[:, 0]
    rows = (turned.sum(2) * torch.arange(41)).sum(1) / turned.sum((1, 2)) - 20
    columns = (turned.sum(1) * torch.arange(81)).sum(1) / turned.sum((1, 2)) - 40
    torch.testing.assert_close(torch.hypot(rows, columns), torch.full((64,), 30.0), rtol=0, atol=0.4)
    degrees = torch.rad2deg(torch.atan2(rows, columns))
    assert degrees.min() < -15
    assert 15 < degrees.max() <= 21


def test_gain_multiplies_each_image_by_one_factor() -> None:
    given = images((32, 1, 8, 8)) + 0.5
    factors = (Augmentation(**NONE | {"gain": 0.2})(given, generator()) / given).reshape(32, -1)
    torch.testing.assert_close(factors.amax(1), factors.amin(1), rtol=0, atol=1e-4)
    assert 0.8 <= factors.min() < 0.9
    assert 1.1 < factors.max() <= 1.2


def test_what_comes_in_from_outside_repeats_the_border() -> None:
    flat = torch.full((8, 1, 16, 16), 0.7)
    torch.testing.assert_close(Augmentation(gain=0.0)(flat, generator()), flat, rtol=0, atol=1e-5)

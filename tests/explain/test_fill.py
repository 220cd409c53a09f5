"""What stands where part of an image is hidden."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workbench.errors import InputError
from workbench.explain.fill import Fill, check_fill, fill_images, inpaint, told_fill

PLANE, VOLUME = (3, 2, 20, 30), (2, 1, 8, 12, 10)


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [PLANE, VOLUME])
def test_black_is_each_channels_smallest_value(shape: tuple[int, ...]) -> None:
    images = noise(shape)
    black = fill_images(images, "black")
    assert black.shape == images.shape
    assert torch.equal(black.flatten(2).amax(2), images.flatten(2).amin(2))


@pytest.mark.parametrize("shape", [PLANE, VOLUME])
def test_mean_is_each_channels_mean(shape: tuple[int, ...]) -> None:
    images = noise(shape)
    torch.testing.assert_close(fill_images(images, "mean").flatten(2)[:, :, 7], images.flatten(2).mean(2))


@pytest.mark.parametrize("shape", [PLANE, VOLUME])
def test_blur_is_scipys_gaussian_with_mirrored_edges(shape: tuple[int, ...]) -> None:
    from scipy.ndimage import gaussian_filter

    images = noise(shape)
    sigma = (0, 0, *[0.1 * side for side in shape[2:]])
    expected = gaussian_filter(images.double().numpy(), sigma, mode="reflect", truncate=8)
    np.testing.assert_allclose(fill_images(images, "blur").numpy(), expected, atol=2e-6)


@pytest.mark.parametrize("shape", [PLANE, VOLUME, (1, 1, 1, 9), (1, 1, 2, 3)])
def test_blur_keeps_an_images_mean_and_a_constant_image(shape: tuple[int, ...]) -> None:
    images = noise(shape)
    torch.testing.assert_close(fill_images(images, "blur").mean(), images.mean(), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(fill_images(torch.full(shape, 3.0), "blur"), torch.full(shape, 3.0))


def test_blur_leaves_two_fifths_of_a_disc_a_fifth_of_the_side_wide() -> None:
    y, x = torch.meshgrid(torch.arange(50.0), torch.arange(50.0), indexing="ij")
    disc = (((y - 25) ** 2 + (x - 25) ** 2) <= 5**2).float()[None, None]
    assert float(fill_images(disc, "blur").max()) == pytest.approx(0.4, abs=0.02)


def test_a_number_and_an_image_stand_as_they_are() -> None:
    images, own = noise(PLANE), noise(PLANE[1:], 1)
    assert torch.equal(fill_images(images, 0), torch.zeros(PLANE))
    assert torch.equal(fill_images(images, own)[2], own)
    assert torch.equal(fill_images(images, own.numpy())[1], own)


def test_fills_keep_half_precision() -> None:
    for fill in ("black", "mean", "blur", 0.5):
        assert fill_images(noise(PLANE).half(), fill).dtype == torch.float16


@pytest.mark.parametrize("fill", ["black", "blur", "inpaint", 0.0])
@pytest.mark.parametrize("shape", [PLANE, VOLUME])
def test_what_is_not_hidden_keeps_its_value(fill: str | float, shape: tuple[int, ...]) -> None:
    images = noise(shape)
    hidden = noise((5, *shape[2:]), 1) > 0.5
    rows = np.array([1, 1, 0, 0, 1])
    altered = Fill.of(images, fill).hide(hidden, rows)
    seen = (~hidden)[:, None].expand(altered.shape)
    assert torch.equal(altered[seen], images[rows][seen])
    assert not torch.equal(altered[~seen], images[rows][~seen])


def test_soft_masks_mix_image_and_fill() -> None:
    images = noise(PLANE)
    hidden = torch.full((3, *PLANE[2:]), 0.25)
    torch.testing.assert_close(Fill.of(images, "blur").hide(hidden), 0.75 * images + 0.25 * fill_images(images, "blur"))


def test_inpainting_continues_a_ramp_through_a_hole() -> None:
    ramp = torch.arange(24.0).expand(1, 1, 16, 24)
    hidden = torch.zeros(1, 16, 24, dtype=torch.bool)
    hidden[0, 5:11, 6:15] = True
    torch.testing.assert_close(inpaint(ramp + 100 * hidden[:, None], hidden), ramp, atol=0.01, rtol=0)


@pytest.mark.parametrize("shape", [(1, 2, 16, 16), (1, 1, 8, 9, 10)])
def test_inpainting_depends_only_on_what_lies_next_to_the_hole(shape: tuple[int, ...]) -> None:
    images, other = noise(shape), noise(shape, 1)
    hole = (slice(3, 6),) * (len(shape) - 2)
    ring = (..., *[slice(2, 7)] * (len(shape) - 2))
    other[ring] = images[ring]
    hidden = torch.zeros(1, *shape[2:], dtype=torch.bool)
    hidden[(0, *hole)] = True
    expected = inpaint(images, hidden)
    torch.testing.assert_close(inpaint(other, hidden)[ring], expected[ring], atol=1e-3, rtol=0)
    torch.testing.assert_close(
        inpaint(images[ring], hidden[(slice(None), *ring[1:])]), expected[ring], atol=1e-3, rtol=0
    )


def test_an_image_hidden_all_over_is_its_mean() -> None:
    images = noise(PLANE)
    hidden = torch.zeros(3, *PLANE[2:], dtype=torch.bool)
    hidden[1] = True
    hidden[2, :4] = True
    altered = Fill.of(images, "inpaint").hide(hidden)
    torch.testing.assert_close(altered[1], fill_images(images, "mean")[1])
    assert torch.equal(altered[0], images[0])


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        ("blurr", "did you mean 'blur'"), (None, "must be one of"), (True, "must be one of"), (float("nan"), "finite"),
        (np.array([[np.inf]]), "NaN or infinite"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_fill_is_refused(fill: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_fill(fill)


def test_inpainting_is_refused_where_one_image_must_stand_behind_the_whole() -> None:
    with pytest.raises(InputError, match="depends on the region"):
        fill_images(noise(PLANE), "inpaint")


def test_an_image_of_another_shape_is_refused() -> None:
    with pytest.raises(InputError, match=r"\(1, 4, 4\)"):
        fill_images(noise(PLANE), np.zeros((1, 4, 4)))


def test_a_record_tells_an_image_by_its_shape_and_hash() -> None:
    assert told_fill("blur") == "blur"
    assert told_fill(0) == 0.0
    told = told_fill(np.zeros((1, 4, 4), np.float32))
    assert str(told).startswith("image (1, 4, 4), ")
    assert told != told_fill(np.ones((1, 4, 4), np.float32))

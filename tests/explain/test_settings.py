"""Numbers that a user sets: within their bounds, or refused with what is allowed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from workbench.errors import InputError
from workbench.explain.draws import channel_range, generator_of
from workbench.explain.settings import check_number, check_whole


@pytest.mark.parametrize("value", [0, 1.0, True, "2", None, math.nan])
def test_what_is_no_whole_number_or_too_small_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="must be a whole number of at least 1; each is a forward pass"):
        check_whole("steps", value, least=1, meaning="each is a forward pass")


@pytest.mark.parametrize("value", [0, 1, -1.0, True, "0.5", None, math.nan, math.inf])
def test_what_is_no_number_within_its_bounds_is_refused(value: object) -> None:
    with pytest.raises(InputError, match="must be a number above 0 and below 1; a share"):
        check_number("keep", value, above=0, below=1, meaning="a share")


def test_a_bound_that_is_allowed_itself_is_allowed() -> None:
    check_number("noise", 0, least=0, meaning="a part")
    check_number("noise", np.float32(0.5), above=0, meaning="a part")
    check_whole("steps", np.int64(1), least=1)
    with pytest.raises(InputError, match="of at least 0; a part"):
        check_number("noise", -0.1, least=0, meaning="a part")


@pytest.mark.parametrize("spatial", [(4, 5), (3, 4, 5)])
def test_the_range_is_of_each_channel_of_each_image(spatial: tuple[int, ...]) -> None:
    images = torch.randn(2, 3, *spatial, generator=torch.Generator().manual_seed(0))
    found = channel_range(images)
    assert found.shape == (2, 3, *[1] * len(spatial))
    assert np.allclose(found.flatten(), np.ptp(images.reshape(6, -1).numpy(), axis=1))


def test_random_numbers_follow_from_the_seed_and_the_id_alone() -> None:
    first, same = generator_of("case", 0).random(3), generator_of("case", 0).random(3)
    assert np.array_equal(first, same)
    assert not np.isclose(first, generator_of("case", 1).random(3)).any()
    assert not np.isclose(first, generator_of("other", 0).random(3)).any()

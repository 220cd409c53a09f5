"""The display curve loses nothing that matters."""

from __future__ import annotations

import numpy as np

from workbench.phantoms.anatomy import TEXTURE
from workbench.phantoms.display import from_grey, to_grey
from workbench.phantoms.mammography import QUANTUM


def test_rounding_to_grey_levels_is_far_below_the_quantum_noise_of_tissue() -> None:
    exposure = np.linspace(-1.3, 3.0, 100_001)
    error = from_grey(to_grey(exposure)) - exposure
    assert error.std() < 0.03 * QUANTUM * TEXTURE


def test_grey_levels_survive_the_way_to_exposure_and_back() -> None:
    levels = np.arange(1, 4095, dtype=np.uint16)
    assert np.array_equal(to_grey(from_grey(levels)), levels)

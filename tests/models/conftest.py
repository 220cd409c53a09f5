"""Tiny cohorts that a network can learn in a second: a bright spot in the images of one class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from workbench.cohorts.cohort import Cohort

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Sums are taken in another order with another number of threads, so weights are compared under one number."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_cohort() -> Callable[..., Cohort]:
    """Build `count` noisy images, two a patient, the classes by turns; every class after the first has a brighter spot."""

    def build(
        count: int = 24,
        *,
        shape: tuple[int, ...] = (32, 32),
        classes: tuple[str, ...] = ("healthy", "cancer"),
        first: int = 0,
        images: np.ndarray | None = None,
    ) -> Cohort:
        labels = np.arange(count) % len(classes)
        if images is None:
            images = np.random.default_rng([5, first]).normal(size=(count, *shape)).astype(np.float32)
            spot = (slice(None), *[slice(extent // 4, extent // 2) for extent in shape])
            images[spot] += labels.reshape(-1, *[1] * len(shape))
        names = [f"i{first + row:03d}" for row in range(count)]
        patients = [f"p{(first + row) // 2:03d}" for row in range(count)]
        named = [classes[label] for label in labels]
        return Cohort.from_arrays(images, named, patients=patients, ids=names, classes=classes)

    return build

"""Small networks with known answers, and cohorts to ask them about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.models.model import Model

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_cohort() -> Callable[..., Cohort]:
    """Build a cohort of random (or given) images, two images a patient."""
    import pandas as pd

    def build(
        images: np.ndarray | int = 6, *, shape: tuple[int, ...] = (1, 32, 32), masks: dict | None = None
    ) -> Cohort:
        if isinstance(images, int):
            images = np.random.default_rng(3).normal(size=(images, *shape)).astype(np.float32)
        ids = [f"i{row}" for row in range(len(images))]
        table = pd.DataFrame(
            {
                "patient": [f"p{row // 2}" for row in range(len(ids))],
                "label": [("no", "yes")[row % 2] for row in range(len(ids))],
                "sex": ["F", None] * (len(ids) // 2) + ["F"] * (len(ids) % 2),
            },
            index=pd.Index(ids, name="id"),
        )
        regions = {name: ArrayPixels.of(values, ids) for name, values in (masks or {}).items()}
        return Cohort(table, ("no", "yes"), ("sex",), ArrayPixels.of(images, ids), regions)

    return build


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Model]:
    """Wrap a network: pixels go in as they are."""

    def build(network: torch.nn.Module, classes: tuple[str, ...] = ("no", "yes"), **settings: object) -> Model:
        return Model.wrap(network, classes=classes, **settings)

    return build

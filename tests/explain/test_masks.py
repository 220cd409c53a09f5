"""A mask that does not lie on its image's grid is refused wherever masks are used, never stretched to fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.masks import mask_of
from workbench.explain.quality.trust import trust
from workbench.explain.target import Over
from workbench.figures import attribution_grid
from workbench.imaging.preprocess import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(params=[((24, 32), (32, 24)), ((24, 32), (12, 16)), ((8, 12, 10), (8, 10, 12))], ids=str)
def odd(request, make_model, make_cohort):
    """A segmenting model whose preprocessing would stretch any mask, maps of it, and a cohort with masks of another shape."""
    image, mask = request.param
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 2, 3, padding=1) if len(image) == 2 else nn.Conv3d(1, 2, 3, padding=1)
    model = make_model(conv, task="segmentation", preprocessing=Preprocessing(shape=image))
    region = np.zeros((4, 1, *mask), np.uint8)
    region[:, 0, ..., 2:6, 1:5] = 1
    cohort = make_cohort(4, shape=(1, *image), masks={"lesion": region})
    return model, explain(model, cohort, "saliency", target="yes"), cohort


USERS: dict[str, Callable] = {
    "over": lambda model, maps, cohort: explain(model, cohort, "saliency", target=Over("yes", mask="lesion")),
    "regions": lambda model, maps, cohort: explain(model, cohort, "region-shap", target="yes", regions="lesion"),
    "localisation": lambda model, maps, cohort: trust(model, maps, parts=["localisation"]),
    "shares": lambda model, maps, cohort: trust(model, maps, parts=["shares"]),
    "share": lambda model, maps, cohort: maps.share(cohort, "lesion"),
    "figure": lambda model, maps, cohort: attribution_grid(maps, cohort),
}


@pytest.mark.parametrize("use", USERS.values(), ids=USERS)
def test_a_mask_of_another_shape_than_its_image_is_refused(use, odd) -> None:
    with pytest.raises(InputError, match=r"image 'i\d': its mask 'lesion' has the shape .* they must be alike"):
        use(*odd)


def test_a_turned_mask_is_called_turned(make_cohort) -> None:
    cohort = make_cohort(2, shape=(1, 6, 8), masks={"lesion": np.ones((2, 1, 8, 6), np.uint8)})
    with pytest.raises(InputError, match="It may be turned"):
        mask_of(cohort, "i1", "lesion")

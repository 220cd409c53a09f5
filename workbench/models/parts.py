"""What training needs of its two cohorts: a check that they go together, and their images prepared once."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.errors import InputError
from workbench.imaging.preprocess import Preprocessing
from workbench.progress import track

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort
    from workbench.models.model import Model

# Above this many bytes the prepared images lie in a scratch file that is mapped, not in memory.
IN_MEMORY = 2 * 1024**3


def check_parts(train: Cohort, tune: Cohort) -> None:
    """Raise InputError where the two cohorts cannot train and tune one model: other classes, one class, shared patients."""
    if train.classes != tune.classes:
        message = (
            f"the training part tells {train.classes} apart and the tuning part {tune.classes}; they must be the same."
        )
        raise InputError(message)
    for name, part in (("training", train), ("tuning", tune)):
        seen = set(part.table["label"])
        missing = [label for label in part.classes if label not in seen]
        if missing:
            message = (
                f"the {name} part has no image of class {missing[0]!r} ({len(part)} images, all "
                f"{', '.join(map(repr, sorted(seen)))}): nothing can be learned of it. Split again with another seed, or more images."
            )
            raise InputError(message)
    shared = sorted(set(train.patients) & set(tune.patients))
    if shared:
        message = (
            f"patient {shared[0]!r} is in the training and in the tuning part ({len(shared)} such in all), which flatters "
            "the model. Split with cohort.split(by='patient')."
        )
        raise InputError(message)


def default_preprocessing(cohort: Cohort) -> Preprocessing:
    """Size the input to the images: the long side 64 to 128 pixels (32 to 64 in a volume), each side a multiple of 32."""
    spatial = np.median([cohort.image(image_id).shape[1:] for image_id in cohort.ids[:16]], axis=0)
    colour = cohort.image(cohort.ids[0]).shape[0]
    low, high = (64, 128) if len(spatial) == 2 else (32, 64)
    scale = min(max(spatial.max(), low), high) / spatial.max()
    shape = tuple(max(32, round(extent * scale / 32) * 32) for extent in spatial)
    return Preprocessing(shape, channels=3 if colour in {3, 4} else 1)


def prepare(model: Model, cohort: Cohort, label: str) -> torch.Tensor:
    """Decode and prepare every image once: float32 ``(n, C, *spatial)``, in memory or in a mapped scratch file."""
    ids, chunk = cohort.ids, 64
    first = model.inputs(cohort, ids[:1])
    shape = (len(ids), *first.shape[1:])
    prepared: np.ndarray
    if np.prod(shape) * 4 > IN_MEMORY:
        # The file has no name and goes with the array that maps it.
        prepared = np.memmap(tempfile.TemporaryFile(), dtype=np.float32, mode="w+", shape=shape)  # noqa: SIM115
    else:
        prepared = np.empty(shape, dtype=np.float32)
    for start in track(range(0, len(ids), chunk), label, unit="batch"):
        prepared[start : start + chunk] = model.inputs(cohort, ids[start : start + chunk]).numpy()
    return torch.from_numpy(prepared)

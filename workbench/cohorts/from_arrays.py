"""A cohort from arrays in memory, or from an NPZ file laid out as MedMNIST lays out its own."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.errors import FileError, InputError, unknown_name
from workbench.labels import class_order, label_text
from workbench.provenance import Provenance, digest

# MedMNIST's names of the parts.
NPZ_PARTS = ("train", "val", "test")


def cohort_from_arrays(
    images: np.ndarray | str | Path,
    labels: Sequence[object] | np.ndarray | None = None,
    *,
    patients: Sequence[object] | np.ndarray | None = None,
    attributes: Mapping[str, Sequence[object]] | pd.DataFrame | None = None,
    masks: Mapping[str, np.ndarray] | np.ndarray | None = None,
    classes: Sequence[str] | None = None,
    ids: Sequence[str] | None = None,
    channels: bool | None = None,
    split: str | None = None,
) -> Cohort:
    """Do what :meth:`workbench.Cohort.from_arrays` says."""
    name, parts = "cohort", None
    if isinstance(images, str | Path):
        name = Path(images).stem
        images, labels, parts = _from_npz(Path(images), split)
        ids = ids if ids is not None else _numbered(parts)
    if labels is None:
        message = "labels is missing: give one label an image, labels=…."
        raise InputError(message)
    values = _channels_first(np.asarray(images), channels)
    count = len(values)
    columns = _frame(attributes, count)
    text = label_text(pd.Series(_flat(labels, "labels", count), name="labels"), where="the arrays", first_row=0)
    names = [str(i) for i in ids] if ids is not None else [f"{row:0{len(str(count))}d}" for row in range(count)]
    _check_length("ids", len(names), count)
    owners = names if patients is None else [str(patient) for patient in _flat(patients, "patients", count)]
    table = pd.DataFrame({"patient": owners, "label": text.to_list()}, index=pd.Index(names, name="id"))
    for column in columns:
        table[column] = columns[column].to_numpy()
    if parts is not None:
        table["split"] = parts
    order = tuple(map(str, classes)) if classes is not None else class_order(text.unique())
    if len(order) < 2:
        message = f"labels: every image has label {order[0]!r}; give two classes, or say classes=[…]."
        raise InputError(message)
    pixels = ArrayPixels.of(values, names)
    regions = _masks(masks, values, names)
    guessed = ["no patients given: each image counts as a patient of its own"] if patients is None else []
    content = digest(table, order, pixels.digest(), {key: region.digest() for key, region in regions.items()})
    settings = {"images": count, "shape": values.shape[1:], "classes": order, "name": name, "split": split}
    provenance = Provenance("from_arrays", settings, content)
    return Cohort(
        table, order, tuple(map(str, columns.columns)), pixels, regions, {"name": name, "guessed": guessed}, provenance
    )


def _channels_first(images: np.ndarray, channels: bool | None) -> np.ndarray:
    """Bring ``(n, H, W)``, ``(n, H, W, 3)`` and volumes to ``(n, C, *spatial)``."""
    if images.dtype.kind not in "biuf" or images.ndim not in {3, 4, 5}:
        message = (
            f"images has type {images.dtype} and shape {images.shape}; give numbers of shape (n, H, W), (n, H, W, 3), "
            "(n, D, H, W) or (n, C, H, W) with channels=True."
        )
        raise InputError(message)
    if channels or (channels is None and images.ndim == 5 and images.shape[1] in {1, 3}):
        return images
    if images.ndim > 3 and images.shape[-1] in {1, 3, 4} and channels is None:
        return np.moveaxis(images, -1, 1)
    if images.ndim == 4 and images.shape[1] in {1, 3} and channels is None:
        return images
    return images[:, None]


def _flat(given: Any, name: str, count: int) -> list[object]:
    values = np.asarray(given, dtype=object)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        message = f"{name} has shape {values.shape}; give one value an image, shape ({count},)."
        raise InputError(message)
    _check_length(name, len(values), count)
    return list(values)


def _check_length(name: str, given: int, count: int) -> None:
    if given != count:
        message = f"{name} has {given} entries and there are {count} images; give one for each image."
        raise InputError(message)


def _frame(attributes: Mapping[str, Sequence[object]] | pd.DataFrame | None, count: int) -> pd.DataFrame:
    for column in attributes if attributes is not None else ():
        if column in {"patient", "label", "id", "split"}:
            message = f"attributes: the name {column!r} is taken; rename the attribute."
            raise InputError(message)
        _check_length(f"attributes[{column!r}]", len(attributes[column]), count)  # type: ignore[index]
    return pd.DataFrame(dict(attributes)) if attributes is not None else pd.DataFrame(index=range(count))


def _masks(
    masks: Mapping[str, np.ndarray] | np.ndarray | None, images: np.ndarray, ids: list[str]
) -> dict[str, ArrayPixels]:
    named = masks if isinstance(masks, Mapping) else {} if masks is None else {"mask": masks}
    regions = {}
    for name, given in named.items():
        values = np.asarray(given)
        if values.shape != (len(images), *images.shape[2:]):
            message = f"masks[{name!r}] has shape {values.shape}; the images need {(len(images), *images.shape[2:])}."
            raise InputError(message)
        regions[name] = ArrayPixels.of(values[:, None], ids)
    return regions


def _from_npz(path: Path, split: str | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    if split is not None and split not in NPZ_PARTS:
        raise unknown_name("split", split, NPZ_PARTS)
    if not path.is_file():
        message = f"{path} does not exist; give an NPZ file with train_images, train_labels and so on."
        raise FileError(message)
    try:
        with np.load(path, allow_pickle=False) as archive:
            wanted = [part for part in ((split,) if split else NPZ_PARTS) if f"{part}_images" in archive]
            images = [archive[f"{part}_images"] for part in wanted]
            labels = [
                np.asarray(archive[f"{part}_labels"]).reshape(len(images[k]), -1) for k, part in enumerate(wanted)
            ]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        message = (
            f"{path} cannot be read as an NPZ of plain arrays ({error}); download it again (nothing is unpickled)."
        )
        raise FileError(message) from error
    if not wanted:
        message = (
            f"{path} has no train_images, val_images or test_images; load its arrays and give them to from_arrays."
        )
        raise FileError(message)
    if labels[0].shape[1] != 1:
        message = f"{path} has {labels[0].shape[1]} labels an image; choose one: from_arrays(images, labels[:, k])."
        raise InputError(message)
    parts = [part for part, values in zip(wanted, images, strict=True) for _ in range(len(values))]
    return np.concatenate(images), np.concatenate(labels)[:, 0], parts


def _numbered(parts: list[str]) -> list[str]:
    counts: dict[str, int] = {}
    names = []
    for part in parts:
        names.append(f"{part}-{counts.get(part, 0):05d}")
        counts[part] = counts.get(part, 0) + 1
    return names

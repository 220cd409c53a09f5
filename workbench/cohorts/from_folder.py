"""A cohort from a tree of folders, one a class."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import FilePixels
from workbench.cohorts.split import PARTS
from workbench.errors import FileError, InputError
from workbench.labels import class_order
from workbench.provenance import Provenance

# What is taken for an image by its name; files without an ending are too, as DICOM often comes.
ENDINGS = (
    ".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".dcm", ".dicom", ".nii", ".nii.gz", ".npy", "",
)  # fmt: skip


def cohort_from_folder(path: str | Path) -> Cohort:
    """Do what :meth:`workbench.Cohort.from_folder` says."""
    root = Path(path)
    if not root.is_dir():
        message = f"{root} is not a folder; give one that holds a folder for each class."
        raise FileError(message)
    parts = [folder for folder in _folders(root) if folder.name.lower() in PARTS]
    tops = parts or [root]
    rows = [
        (file.relative_to(root).with_suffix("").as_posix(), folder.name, top.name, file)
        for top in tops
        for folder in _folders(top)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and not file.name.startswith(".") and _ending(file) in ENDINGS
    ]
    names = {name for _, name, _, _ in rows}
    if len(names) < 2:
        found = ", ".join(sorted(names)) or "none"
        message = f"{root} needs two folders with images, one for each class; found: {found}."
        raise InputError(message)
    ids = _unique([row[0] for row in rows], [row[3] for row in rows], root)
    table = pd.DataFrame({"patient": ids, "label": [row[1] for row in rows]}, index=pd.Index(ids, name="id"))
    if parts:
        table["split"] = [row[2] for row in rows]
    pixels = FilePixels(dict(zip(ids, (row[3] for row in rows), strict=True)))
    guessed = ["the folder is the label", "each image counts as a patient of its own: folders do not name patients"]
    card = {"name": root.resolve().name, "guessed": guessed}
    cohort = Cohort(table, class_order(names), (), pixels, {}, card)
    settings = {"folder": root.resolve().name, "images": len(ids), "classes": cohort.classes}
    object.__setattr__(cohort, "provenance", Provenance("from_folder", settings, cohort.provenance.content))
    return cohort


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _ending(file: Path) -> str:
    return ".nii.gz" if file.name.lower().endswith(".nii.gz") else file.suffix.lower()


def _unique(ids: list[str], files: list[Path], root: Path) -> list[str]:
    return ids if len(set(ids)) == len(ids) else [file.relative_to(root).as_posix() for file in files]

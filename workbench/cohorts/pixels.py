"""Where a cohort's pixels are: in one array, or in files that are read when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from workbench.errors import FileError
from workbench.provenance import digest, file_digest
from workbench.storage import read_array, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Pixels(Protocol):
    """Images by id; the two kinds below differ only in where the values lie."""

    def read(self, image_id: str) -> np.ndarray:
        """Return one image, ``(C, *spatial)``, in its stored dtype."""

    def has(self, image_id: str) -> bool:
        """Tell whether there is an image of this id (a mask may be there for some only)."""

    def subset(self, ids: Sequence[str]) -> Self:
        """Return the same pixels for `ids` only; nothing is copied."""

    def digest(self) -> str:
        """SHA-256 of the content."""


@dataclass(frozen=True, eq=False)
class ArrayPixels:
    """Images of one shape in one array ``(n, C, *spatial)``, which may be memory-mapped.

    `rows` tells each id's row; several subsets share one array.
    """

    values: np.ndarray
    rows: Mapping[str, int]

    @classmethod
    def of(cls, values: np.ndarray, ids: Sequence[str]) -> Self:
        """Give row k of `values` the k-th of `ids`."""
        return cls(values, {image_id: row for row, image_id in enumerate(ids)})

    def read(self, image_id: str) -> np.ndarray:
        image: np.ndarray = self.values[self.rows[image_id]]
        return image

    def has(self, image_id: str) -> bool:
        return image_id in self.rows

    def subset(self, ids: Sequence[str]) -> Self:
        return type(self)(self.values, {i: self.rows[i] for i in ids if i in self.rows})

    def digest(self) -> str:
        whole = list(self.rows.values()) == list(range(len(self.values)))
        return digest(list(self.rows), self.values if whole else self.values[list(self.rows.values())])


@dataclass(frozen=True, eq=False)
class FilePixels:
    """Images in files of any readable kind (see :mod:`workbench.imaging.read`), one file an id."""

    paths: Mapping[str, Path]

    def read(self, image_id: str) -> np.ndarray:
        from workbench.imaging.read import read_image

        try:
            return read_image(self.paths[image_id])
        except FileError as error:
            message = f"image {image_id!r}: {error}"
            raise FileError(message) from error

    def has(self, image_id: str) -> bool:
        return image_id in self.paths

    def subset(self, ids: Sequence[str]) -> Self:
        return type(self)({i: self.paths[i] for i in ids if i in self.paths})

    def digest(self) -> str:
        from concurrent.futures import ThreadPoolExecutor

        from workbench.progress import track

        # Hashing releases the interpreter's lock and waits for disks: a few threads are several times faster.
        with ThreadPoolExecutor(max_workers=4) as threads:
            hashes = threads.map(file_digest, self.paths.values())
            found = list(track(hashes, "Hashing files", total=len(self.paths)))
        return digest(dict(zip(self.paths, found, strict=True)))


def save_pixels(pixels: Pixels, folder: Path, name: str) -> None:
    """Write an array as ``<name>.npy`` and its ids, or the files' absolute paths, as ``<name>.json``."""
    if isinstance(pixels, ArrayPixels):
        np.save(folder / f"{name}.npy", pixels.values[list(pixels.rows.values())], allow_pickle=False)
        write_json(folder / f"{name}.json", {"ids": list(pixels.rows)})
    elif isinstance(pixels, FilePixels):
        paths = {image_id: str(Path(path).resolve()) for image_id, path in pixels.paths.items()}
        write_json(folder / f"{name}.json", {"paths": paths})


def load_pixels(folder: Path, name: str) -> ArrayPixels | FilePixels:
    """Read what :func:`save_pixels` wrote; arrays are memory-mapped."""
    record = read_json(folder / f"{name}.json")
    if "paths" in record:
        return FilePixels({image_id: Path(path) for image_id, path in record["paths"].items()})
    return ArrayPixels.of(read_array(folder / f"{name}.npy", memory_map=True), record["ids"])

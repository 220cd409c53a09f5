"""Where the parts of a long explanation come together: in memory, or in a folder that grows and can be resumed."""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import FileError
from workbench.provenance import Provenance, plain
from workbench.storage import MANIFEST, check_free, read_array, read_json, seal, write_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workbench.explain.attributions import Attributions
    from workbench.explain.task import Part

JOURNAL = "journal.json"
ROW_COLUMNS = ("target", "score", "saturated")
# Between two times that finished images are made safe.
SECONDS = 1.0


@dataclass(frozen=True)
class Gathered:
    """Everything a method said of one target: arrays of all images, and what it found out by itself."""

    maps: np.ndarray
    errors: np.ndarray | None
    rows: Mapping[str, np.ndarray]
    settings: Mapping[str, Any]
    parents: Mapping[str, Provenance]


class InMemory:
    """Parts in arrays of their final size."""

    done = 0

    def __init__(self, images: int, targets: int) -> None:
        self.images, self.targets = images, targets
        self._arrays: dict[str, np.ndarray] = {}
        self._columns: list[str] = []
        self._settings: dict[str, Any] = {}
        self._parents: dict[str, Provenance] = {}

    def add(self, part: Part) -> None:
        """Take the next images of the cohort."""
        columns, rows = _rows(part)
        self._columns = columns
        now = slice(self.done, self.done + part.scores.shape[1])
        for name, values in _arrays(part, rows).items():
            if name not in self._arrays:
                self._arrays[name] = np.empty((self.targets, self.images, *values.shape[2:]), values.dtype)
            self._arrays[name][:, now] = values
        self._settings |= part.settings
        self._parents |= part.parents
        self.done = now.stop

    def close(self) -> None:
        """Nothing is open."""

    def finish(self) -> list[Gathered]:
        """Return one whole for each target."""
        arrays = self._arrays
        return [
            Gathered(
                arrays["maps"][target], arrays["errors"][target] if "errors" in arrays else None,
                dict(zip(self._columns, arrays["rows"][target].T, strict=True)), self._settings, self._parents,
            )
            for target in range(self.targets)
        ]  # fmt: skip


class OnDisk:
    """Parts appended to plain ``.npy`` files in a folder beside `folder`; what is whole there is kept and gone on from.

    The journal tells how many images are finished. It is written after their bytes are on the disk, once a second (waiting
    for a disk after every batch would take longer than many networks do) and when the call ends, however it ends. So an
    error or a full disk costs the batch at work, and a process that is killed one second more. Files are written
    by appending, not through a memory map: a full disk is then an error that can be told, not a crash.
    """

    def __init__(self, folder: str | Path, images: int, names: list[str] | None, question: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.folders = [self.folder] if names is None else [self.folder / name for name in folder_names(names)]
        _check_kind(self.folder, several=names is not None)
        for one in self.folders:
            check_free(one)
        self.scratch = self.folder.parent / f".{self.folder.name}-unfinished"
        self.images, self.question = images, plain(question)
        self.done, self._columns = 0, list[str]()
        self._safe, self._settled = 0, time.monotonic()
        self._files: dict[str, list[_Appended]] = {}
        self._settings: dict[str, Any] = {}
        self._parents: dict[str, Provenance] = {}
        journal = self.scratch / JOURNAL
        record = read_json(journal) if journal.is_file() else {}
        if record.get("question") == self.question and all(self._path(p, f).is_file() for p, f in self._every(record)):
            self._resume(record)
        else:
            # Leftovers of another question, whose answer nobody came back for.
            self.start_over()

    def start_over(self) -> None:
        """Throw away what is unfinished, and begin with the first image."""
        self._close_files()
        self.done, self._safe, self._columns = 0, 0, list[str]()
        self._files, self._settings, self._parents = {}, {}, {}
        shutil.rmtree(self.scratch, ignore_errors=True)
        try:
            self.scratch.mkdir(parents=True)
        except OSError as error:
            message = f"{self.scratch} cannot be made ({error.strerror or error}); choose another folder for out."
            raise FileError(message) from error

    def scores(self, images: int) -> np.ndarray:
        """Return the explained scores of the first finished images, float64 ``(T, images)``."""
        column = self._columns.index("score")
        return np.stack([file.first(images)[:, column] for file in self._files["rows"]])

    def _every(self, record: Mapping[str, Any]) -> list[tuple[int, str]]:
        return [(place, name) for place in range(len(self.folders)) for name in record["files"]]

    def _path(self, place: int, name: str) -> Path:
        return self.scratch / str(place) / f"{name}.npy"

    def _resume(self, record: Mapping[str, Any]) -> None:
        self.done = self._safe = int(record["done"])
        self._settings = dict(record["settings"])
        self._parents = {role: Provenance.from_dict(parent) for role, parent in record["parents"].items()}
        for name, shape in record["files"].items():
            self._files[name] = [
                _Appended(self._path(place, name), self.images, tuple(shape), record["dtypes"][name], self.done)
                for place in range(len(self.folders))
            ]  # fmt: skip
        self._columns = list(record["columns"])

    def add(self, part: Part) -> None:
        """Append the next images of the cohort; within a second they are safe."""
        self._columns, rows = _rows(part)
        self._settings |= part.settings
        self._parents |= part.parents
        with self._told():
            for name, values in _arrays(part, rows).items():
                if name not in self._files:
                    self._files[name] = [
                        _Appended(self._path(place, name), self.images, values.shape[2:], values.dtype.str, 0)
                        for place in range(len(self.folders))
                    ]  # fmt: skip
                for file, one in zip(self._files[name], values, strict=True):
                    file.append(one)
            self.done += part.scores.shape[1]
            if time.monotonic() - self._settled > SECONDS:
                self._settle()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell a disk that cannot be written, and how many images are safe, after saving what can be."""
        try:
            yield
        except OSError as error:
            with suppress(OSError):
                self._settle()
            message = (
                f"{self.scratch} cannot be written ({error.strerror or error}); {self._safe} of {self.images} images are safe "
                "there. Make room, and call again with the same arguments: it goes on from the next image."
            )
            raise FileError(message) from error

    def _settle(self) -> None:
        """Wait until the finished images are on the disk, and say so in the journal."""
        for files in self._files.values():
            for file in files:
                file.keep(self.done)
        self._write_journal()
        self._safe, self._settled = self.done, time.monotonic()

    def _write_journal(self) -> None:
        files = {name: list(of[0].shape) for name, of in self._files.items()}
        dtypes = {name: of[0].dtype for name, of in self._files.items()}
        record = {"question": self.question, "done": self.done, "files": files, "dtypes": dtypes}
        parents = {role: parent.to_dict() for role, parent in self._parents.items()}
        record |= {"columns": self._columns, "settings": self._settings, "parents": parents}
        fresh = self.scratch / f"{JOURNAL}.new"
        write_json(fresh, record)
        fresh.replace(self.scratch / JOURNAL)

    def finish(self) -> list[Gathered]:
        """Return one whole for each target, its arrays mapped from the disk."""
        with self._told():
            self._settle()
        found = []
        for place in range(len(self.folders)):
            mapped = {name: np.load(self._path(place, name), mmap_mode="r") for name in self._files}
            rows = dict(zip(self._columns, np.asarray(mapped["rows"]).T, strict=True))
            found.append(Gathered(mapped["maps"], mapped.get("errors"), rows, self._settings, self._parents))
        return found

    def close(self) -> None:
        """Close the files; what is finished stays."""
        if self.done > self._safe:
            with suppress(OSError):
                self._settle()
        self._close_files()

    def _close_files(self) -> None:
        for files in self._files.values():
            for file in files:
                file.close()

    def saved(self, values: list[Attributions]) -> list[Attributions]:
        """Make the grown arrays saved values at their place, and return those, mapped from there."""
        from dataclasses import replace

        try:
            for place, value in enumerate(values):
                value.write_record(self.scratch / str(place))
            for place, folder in enumerate(self.folders):
                folder.parent.mkdir(parents=True, exist_ok=True)
                seal(self.scratch / str(place), folder, "Attributions")
        except OSError as error:
            message = (
                f"{self.folder} cannot be written ({error.strerror or error}); all {self.images} maps are safe in {self.scratch}. "
                "Make room, and call again with the same arguments."
            )
            raise FileError(message) from error
        shutil.rmtree(self.scratch)
        found = []
        for folder, value in zip(self.folders, values, strict=True):
            errors = None if value.errors is None else read_array(folder / "errors.npy", memory_map=True)
            found.append(replace(value, maps=read_array(folder / "maps.npy", memory_map=True), errors=errors))
        return found


def folder_names(names: Sequence[str]) -> list[str]:
    """Return a folder's name for each target, all different: a class may be called anything, a folder may not.

    Examples
    --------
    >>> folder_names(["healthy", "COVID/other", "COVID:other", ".."])
    ['healthy', 'COVID-other', 'COVID-other (2)', '-']
    """
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        # Some systems take no dots or spaces at a name's end, and hold A and a for one.
        own = tried = re.sub(r'[\\/:*?"<>|\x00-\x1f]', "-", name).rstrip(". ") or "-"
        number = 1
        while tried.casefold() in taken:
            number += 1
            tried = f"{own} ({number})"
        taken.add(tried.casefold())
        found.append(tried)
    return found


def _check_kind(folder: Path, *, several: bool) -> None:
    """Refuse to mix one saved value with folders of several."""
    if several and (folder / MANIFEST).is_file():
        message = (
            f"{folder} holds one saved value, and several targets need a folder each within; choose another folder."
        )
        raise FileError(message)
    if not several and folder.is_dir() and not (folder / MANIFEST).is_file() and any(folder.glob(f"*/{MANIFEST}")):
        message = f"{folder} holds a saved value for each of several targets, and here one is asked for; choose another folder."
        raise FileError(message)


class _Appended:
    """A ``.npy`` file of known final length that grows at its end."""

    def __init__(self, path: Path, rows: int, shape: tuple[int, ...], dtype: str, done: int) -> None:
        self.path, self.shape, self.dtype = path, tuple(shape), np.dtype(dtype).str
        path.parent.mkdir(parents=True, exist_ok=True)
        self._size = int(np.prod(self.shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        # Unbuffered: what could not be written must not come back when the file is closed.
        self._stream = path.open("r+b" if path.exists() else "w+b", buffering=0)
        if done == 0:
            header = {"descr": self.dtype, "fortran_order": False, "shape": (rows, *self.shape)}
            self._stream.truncate(0)
            np.lib.format.write_array_header_1_0(self._stream, header)
        else:
            np.lib.format.read_magic(self._stream)
            np.lib.format.read_array_header_1_0(self._stream)
            # Bytes after the last finished image are those of a batch that was cut off.
            self._stream.truncate(self._stream.tell() + done * self._size)
            self._stream.seek(0, os.SEEK_END)
        self._begin = self._stream.tell() - done * self._size

    def append(self, values: np.ndarray) -> None:
        left = np.ascontiguousarray(values).reshape(-1).view(np.uint8).data
        while left:
            left = left[self._stream.write(left) :]

    def keep(self, rows: int) -> None:
        """Wait until the first `rows` are on the disk; what stands after them, of a batch that was cut off, goes."""
        # Cut first: on a full disk this makes room for the journal.
        os.ftruncate(self._stream.fileno(), self._begin + rows * self._size)
        self._stream.seek(0, os.SEEK_END)
        os.fsync(self._stream.fileno())

    def first(self, rows: int) -> np.ndarray:
        """Return the first rows; the header tells of more than there is yet."""
        with self.path.open("rb") as stream:
            np.lib.format.read_magic(stream)
            np.lib.format.read_array_header_1_0(stream)
            values = np.fromfile(stream, self.dtype, rows * int(np.prod(self.shape, dtype=np.int64)))
        return values.reshape(rows, *self.shape)

    def close(self) -> None:
        self._stream.close()


def _rows(part: Part) -> tuple[list[str], np.ndarray]:
    """Return a batch's numbers for each image as one array ``(T, n, columns)``, and the columns' names."""
    findings = {name: np.asarray(values, dtype=np.float64) for name, values in part.findings.items()}
    columns = [part.chosen.indices, part.scores, part.chosen.saturated, *findings.values()]
    return [*ROW_COLUMNS, *findings], np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=-1)


def _arrays(part: Part, rows: np.ndarray) -> dict[str, np.ndarray]:
    arrays = {"maps": np.asarray(part.maps, dtype=np.float32), "rows": rows}
    if part.errors is not None:
        arrays["errors"] = np.asarray(part.errors, dtype=np.float32)
    return arrays

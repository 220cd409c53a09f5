"""Where a value came from: content hashes, settings, seed and versions, chained back to the first file."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Self

from workbench.errors import FileError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

DISTRIBUTION = "medical-imaging-workbench"
# The libraries whose version can change a number; others are not recorded, so that records stay comparable.
RECORDED = ("numpy", "pandas", "scipy", "torch", "monai", "shap", "matplotlib")


@functools.cache
def installed_versions() -> dict[str, str]:
    """Versions of Python, this package and the recorded libraries, whether or not they are imported yet."""
    versions = {"python": platform.python_version()}
    for name in (DISTRIBUTION, *RECORDED):
        try:
            versions["workbench" if name == DISTRIBUTION else name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


class OnDemand:
    """Text that may be given as a function, called when somebody first asks: hashing large arrays costs a pass over them."""

    def __get__(self, owner: Provenance | None, kind: type) -> str:
        if owner is None:
            raise AttributeError  # how a dataclass learns that there is no default
        given = owner.__dict__["_content"]
        if callable(given):
            given = owner.__dict__["_content"] = given()
        return str(given)

    def __set__(self, owner: Provenance, given: str | Callable[[], str]) -> None:
        owner.__dict__["_content"] = given


@dataclass(frozen=True)
class Provenance:
    """How one value was made. Every value carries one, and every exported figure holds its text.

    Parameters
    ----------
    verb : what made the value, e.g. ``"train"``.
    settings : everything that was chosen; plain JSON types only.
    content : SHA-256 (hex) of what the value holds, from :func:`digest`, or a function that gives it.
    parents : the provenance of each value this one was made from, by role, e.g. ``{"model": …, "cohort": …}``.
    seed : the seed of the random part, or None where nothing was random.
    versions : version of Python, of this package and of the libraries in `RECORDED` that are installed.

    No time stamp: the same inputs, settings and versions give the same bytes.
    """

    verb: str
    settings: Mapping[str, Any]
    content: OnDemand = OnDemand()
    parents: Mapping[str, Provenance] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=installed_versions)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", plain(self.settings))

    @property
    def short(self) -> str:
        """The first twelve digits of the content hash, for captions and file names."""
        return self.content[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return the record as plain JSON types; versions are kept once, at the root, where parents agree."""
        record: dict[str, Any] = {"verb": self.verb, "content": self.content, "settings": plain(self.settings)}
        if self.seed is not None:
            record["seed"] = self.seed
        record["versions"] = dict(self.versions)
        parents = {}
        for role, parent in self.parents.items():
            parents[role] = parent.to_dict()
            if parents[role]["versions"] == record["versions"]:
                del parents[role]["versions"]
        if parents:
            record["parents"] = parents
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any], versions: Mapping[str, str] | None = None) -> Self:
        """Rebuild a record from :meth:`to_dict`'s output.

        Raises
        ------
        FileError : where `record` is not a provenance record.
        """
        try:
            own = record.get("versions", versions or {})
            parents = {role: cls.from_dict(parent, own) for role, parent in record.get("parents", {}).items()}
            return cls(
                verb=record["verb"], settings=record["settings"], content=record["content"],
                parents=parents, seed=record.get("seed"), versions=own,
            )  # fmt: skip
        except (KeyError, AttributeError, TypeError) as error:
            message = "this is not a provenance record of Workbench: it needs 'verb', 'settings' and 'content'."
            raise FileError(message) from error

    def to_json(self) -> str:
        """Return the record as one line of JSON with sorted keys: equal records are equal text."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            message = f"this provenance record is not JSON ({error}); it may have been cut short."
            raise FileError(message) from error

    def save(self, folder: str | Path) -> Path:
        """Write ``provenance.json`` into `folder`, and return its path."""
        path = Path(folder) / "provenance.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json() + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read ``provenance.json`` from `folder` (or the file itself)."""
        path = Path(folder)
        path = path / "provenance.json" if path.is_dir() else path
        if not path.is_file():
            message = f"{path} does not exist: no provenance was saved there."
            raise FileError(message)
        return cls.from_json(path.read_text(encoding="utf-8"))

    def lineage(self, indent: str = "") -> str:
        """Return the way back as an indented tree, one step a line, the newest first.

        Examples
        --------
        >>> cohort = Provenance("from_arrays", {"images": 10}, content="ab" * 32)
        >>> print(Provenance("split", {"part": "test"}, "cd" * 32, {"cohort": cohort}, seed=7).lineage())
        split(part='test', seed=7) → cdcdcdcdcdcd
          cohort: from_arrays(images=10) → abababababab
        """
        said = dict(self.settings) | ({} if self.seed is None else {"seed": self.seed})
        arguments = ", ".join(f"{name}={value!r}" for name, value in said.items())
        lines = [f"{self.verb}({arguments}) → {self.short}"]
        for role, parent in self.parents.items():
            lines.append(f"{indent}  {role}: {parent.lineage(indent + '  ')}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from workbench.html import render

        return render("provenance.html", provenance=self)


def plain(value: Any) -> Any:
    """Turn settings into JSON types: tuples to lists, NumPy scalars to numbers, paths, dtypes and functions to text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, PurePath):
        return value.as_posix()
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    return getattr(value, "__name__", None) or str(value)


def digest(*parts: Any) -> str:
    """SHA-256 (hex) of arrays, tables, bytes, text and plain settings, in the order given.

    Arrays count with their shape and dtype, tables with column names, index and every value.
    """
    total = hashlib.sha256()
    for part in parts:
        _feed(total, part)
    return total.hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _feed(total: Any, part: Any) -> None:
    if isinstance(part, bytes | bytearray | memoryview):
        total.update(b"bytes")
        total.update(part)
    elif hasattr(part, "dtypes") and hasattr(part, "columns"):
        _feed_table(total, part)
    elif hasattr(part, "dtype") and hasattr(part, "shape"):
        _feed_array(total, part)
    else:
        total.update(json.dumps(plain(part), sort_keys=True, ensure_ascii=False).encode())


def _feed_array(total: Any, array: np.ndarray) -> None:
    total.update(f"array{array.dtype.str}{array.shape}".encode())
    if array.dtype.hasobject:  # its bytes are addresses, which differ from one run to the next
        total.update(json.dumps(plain(array.tolist()), ensure_ascii=False).encode())
        return
    # Row by row: a memory-mapped pixel store is hashed without being read into memory at once, and nothing is copied.
    for row in array if array.ndim > 1 else (array,):
        whole = row if row.flags.c_contiguous else row.copy()
        total.update(whole.reshape(-1).view("uint8"))


def _feed_table(total: Any, table: pd.DataFrame) -> None:
    from pandas.util import hash_pandas_object

    total.update(json.dumps([str(column) for column in table.columns]).encode())
    columns = [table.iloc[:, place] for place in range(table.shape[1])]
    for values in (table.index.to_series(), *columns):
        if getattr(values.dtype, "kind", "O") in "biuf" and hasattr(values.dtype, "str"):
            _feed_array(total, values.to_numpy())
        else:
            total.update(hash_pandas_object(values.astype(str), index=False).to_numpy().tobytes())

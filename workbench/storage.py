"""How values lie on disk: one folder each, written whole or not at all, checked byte for byte, never unpickled.

A saved value is a folder with ``workbench.json`` (its kind, format and the SHA-256 of every other file) beside files
in plain formats: Parquet, JSON, YAML, NPY/NPZ without objects, safetensors. Opening one from a stranger runs no code.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from workbench.errors import FileError
from workbench.provenance import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pandas as pd

MANIFEST = "workbench.json"
FORMAT = 1


@contextmanager
def writing(folder: str | Path, kind: str) -> Iterator[Path]:
    """Give a scratch folder to fill; when the block ends well, it takes the place of `folder` in one step.

    A block that raises leaves `folder` as it was. An existing `folder` is replaced only if it holds a saved value.

    Raises
    ------
    FileError : where `folder` is a file, or a folder with something else in it.
    """
    target = Path(folder)
    check_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        yield scratch
        seal(scratch, target, kind)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_free(target: Path) -> None:
    """Refuse a folder that holds something else than a saved value."""
    if target.is_file() or (target.is_dir() and any(target.iterdir()) and not (target / MANIFEST).is_file()):
        message = f"{target} already holds something that Workbench did not save; choose another folder, or empty it."
        raise FileError(message)


def seal(scratch: Path, target: Path, kind: str) -> None:
    """Make a filled folder a saved value: write its manifest, and put it in the place of `target` in one step."""
    files = {path.relative_to(scratch).as_posix(): file_digest(path) for path in _files(scratch)}
    write_json(scratch / MANIFEST, {"kind": kind, "format": FORMAT, "files": files})
    _swap(scratch, target)


def reading(folder: str | Path, kind: str) -> Path:
    """Check that `folder` is a whole, unchanged saved value of this `kind`, and return its path.

    Raises
    ------
    FileError : where it is missing, a pickle, of another kind or a later format, or has a file changed or lost.
    """
    path = Path(folder)
    if path.is_file():
        raise FileError(_not_a_folder(path, kind))
    if not path.is_dir():
        message = f"{path} does not exist; give the folder that {kind}.save(…) wrote."
        raise FileError(message)
    if not (path / MANIFEST).is_file():
        message = f"{path} has no {MANIFEST}: it is not a saved {kind}. Give the folder that {kind}.save(…) wrote."
        raise FileError(message)
    manifest = read_json(path / MANIFEST)
    _check_manifest(path / MANIFEST, manifest)
    if manifest["kind"] != kind:
        message = (
            f"{path} holds a saved {manifest.get('kind')}, not a {kind}; open it with {manifest.get('kind')}.load(…)."
        )
        raise FileError(message)
    if manifest["format"] > FORMAT:
        message = (
            f"{path} was saved in format {manifest.get('format')}, newer than this Workbench reads ({FORMAT}); update."
        )
        raise FileError(message)
    for name, expected in manifest["files"].items():
        if not (path / name).is_file():
            message = f"{path / name} is missing from the saved {kind}; copy the whole folder again."
            raise FileError(message)
        if file_digest(path / name) != expected:
            message = f"{path / name} has changed since the {kind} was saved (its SHA-256 differs); take a sound copy."
            raise FileError(message)
    return path


def saved_kind(folder: str | Path) -> str | None:
    """Name the kind of value saved in `folder`, or None where there is none."""
    manifest = Path(folder) / MANIFEST
    if not manifest.is_file():
        return None
    record = read_json(manifest)
    _check_manifest(manifest, record)
    return str(record["kind"])


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON with sorted keys."""
    path.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file, naming it where it is damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        message = f"{path} is not readable JSON ({error}); it may have been cut short or edited."
        raise FileError(message) from error
    except OSError as error:
        raise FileError(_lost(path)) from error


def read_record(path: Path, *needed: str) -> dict[str, Any]:
    """Read a JSON file that holds a record with these entries."""
    record = read_json(path)
    absent = [name for name in needed if not isinstance(record, dict) or name not in record]
    if absent or not isinstance(record, dict):
        message = f"{path} holds no {', '.join(absent) or 'record'}: Workbench did not save it so. Take a sound copy."
        raise FileError(message)
    return record


def read_table(path: Path, *needed: str) -> pd.DataFrame:
    """Read a Parquet file that holds a table with these columns."""
    import pandas as pd

    if not path.is_file():
        raise FileError(_lost(path))
    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        message = f"{path} cannot be read as a Parquet table ({error}); take a sound copy."
        raise FileError(message) from error
    absent = [name for name in needed if name not in table.columns]
    if absent:
        message = (
            f"{path} has no column {', '.join(map(repr, absent))}: Workbench did not save it so. Take a sound copy."
        )
        raise FileError(message)
    return table


def _lost(path: Path) -> str:
    return f"{path} is missing from a saved value; copy the whole folder again."


def read_array(path: Path, *, memory_map: bool = False) -> np.ndarray:
    """Read an ``.npy`` file; one that holds Python objects (a pickle) is refused."""
    import numpy as np

    try:
        array: np.ndarray = np.load(path, mmap_mode="r" if memory_map else None, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        message = f"{path} cannot be read as a plain NumPy array ({error}); arrays of objects are never unpickled."
        raise FileError(message) from error
    return array


def is_pickle(path: Path) -> bool:
    """Tell whether a file is a pickle, or an archive that holds one (as ``torch.save`` writes)."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    return head[:1] == b"\x80" or (head[:2] == b"PK" and b".pkl" in head)


def _check_manifest(path: Path, manifest: Any) -> None:
    """Refuse a manifest that `writing` did not make; a stranger's may even name files outside its folder."""
    shape = {"kind": str, "format": int, "files": dict}
    if not isinstance(manifest, dict) or any(not isinstance(manifest.get(key), kind) for key, kind in shape.items()):
        message = f"{path} is not the manifest of a saved value: it needs kind, format and files. Take a sound copy."
        raise FileError(message)
    for name in manifest["files"]:
        if (
            PurePosixPath(name).is_absolute()
            or PureWindowsPath(name).drive
            or ".." in name.replace("\\", "/").split("/")
        ):
            message = f"{path} names the file {name!r} outside its folder; do not trust this copy."
            raise FileError(message)


def _not_a_folder(path: Path, kind: str) -> str:
    if is_pickle(path):
        return (
            f"{path} is a pickle, which can run any code when opened, so Workbench never opens one. If you trust its "
            "maker: state = torch.load(path, weights_only=True); net.load_state_dict(state); "
            "model = wb.Model.wrap(net, classes=…)."
        )
    return f"{path} is a file; a saved {kind} is a folder. Give the folder that {kind}.save(…) wrote."


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _swap(scratch: Path, target: Path) -> None:
    """Put `scratch` where `target` is; the old one is kept until the new one stands."""
    scratch.chmod(0o755)
    if not target.exists():
        scratch.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
    target.rename(old / "value")
    try:
        scratch.rename(target)
    except OSError:
        (old / "value").rename(target)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)

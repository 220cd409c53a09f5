"""The image files that a table's column names."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from workbench.errors import FileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.spreadsheet import Spreadsheet


def image_paths(sheet: Spreadsheet, column: str, folder: Path) -> list[Path]:
    """Return the file of each row.

    Raises
    ------
    FileError : where a cell is empty or a file is missing; it names row, column and path, how many there are, and
        the nearest name that exists.
    """
    found = optional_paths(sheet, column, folder)
    empty = [position for position, path in enumerate(found) if path is None]
    if empty:
        message = (
            f"{sheet.cell(empty[0], column)}: no image is named, in {len(empty)} of {len(found)} rows. Fill the cells in, "
            "or leave the rows out."
        )
        raise FileError(message)
    return [path for path in found if path is not None]


def optional_paths(sheet: Spreadsheet, column: str, folder: Path) -> list[Path | None]:
    """Return the file of each row, None where the cell is empty; a named file that is missing is refused."""
    cells = sheet.frame[column]
    absent = cells.isna().to_numpy()
    paths = [None if none else folder / str(cell).strip() for cell, none in zip(cells, absent, strict=True)]
    missing = [position for position, path in enumerate(paths) if path is not None and not path.is_file()]
    if missing:
        raise FileError(_missing(sheet, column, [paths[position] for position in missing], missing))
    return paths


def file_ids(cells: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """Name images by their file, without its ending; by what the table says where two would share a name."""
    stems = [path.name.removesuffix(".gz").rpartition(".")[0] or path.name for path in paths]
    return stems if pd.Index(stems).is_unique else [str(cell) for cell in cells]


def _missing(sheet: Spreadsheet, column: str, paths: Sequence[Path | None], positions: Sequence[int]) -> str:
    path = paths[0] or Path()
    rows = len(sheet.frame)
    many = f"; {len(positions)} of {rows} images are missing" if len(positions) > 1 else ""
    return f"{sheet.cell(positions[0], column)}: {path} does not exist{many}. {_mend(path)}"


def _mend(path: Path) -> str:
    if not path.parent.is_dir():
        return f"There is no folder {path.parent}; say where the images lie with folder=…."
    names = sorted(entry.name for entry in path.parent.iterdir())
    near = next((name for name in names if Path(name).stem == path.name), None)
    near = near or next(iter(difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)), None)
    for name in names:
        if (path.parent / name / path.name).is_file():
            return f"It lies in {path.parent / name}; say folder={str(path.parent / name)!r}."
    if near:
        return f"Did you mean {near!r}? Correct the table, or leave the row out."
    return "Correct the path, say where the images lie with folder=…, or leave the row out."

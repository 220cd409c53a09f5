"""Tables of anybody's: CSV, Excel, Parquet or a DataFrame, with the row numbers a spreadsheet would show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from workbench.errors import FileError, InputError, unknown_name

EXCEL = (".xlsx", ".xlsm")
TEXT = (".csv", ".tsv", ".txt")


@dataclass(frozen=True, eq=False)
class Spreadsheet:
    """A table as it came, and what to call it and its rows in a message.

    Parameters
    ----------
    frame : the table; its index counts from 0.
    name : file name, or ``"the table"``.
    first_row : the number of the first data row as the user sees it (2 in a file with a header, 0 in a DataFrame).
    """

    frame: pd.DataFrame
    name: str
    first_row: int

    def column(self, name: str, role: str) -> pd.Series:
        """Return a column, or raise InputError that offers the nearest name there is."""
        if name not in self.frame.columns:
            kind = f"{self.name}: {role} column"
            raise unknown_name(kind, name, map(str, self.frame.columns))
        return self.frame[name]

    def others(self, used: set[str | None]) -> list[str]:
        """Name the columns that are not in `used`, without the row numbers that pandas writes and nobody named."""
        named = [str(name) for name in self.frame.columns]
        return [name for name in named if name not in used and not name.startswith("Unnamed: ") and name != "index"]

    def cell(self, position: int, column: str) -> str:
        """Say where a cell is: file, row, column."""
        return f"{self.name}, row {self.first_row + position}, column {column!r}"


def read_spreadsheet(source: str | Path | pd.DataFrame, *, text: tuple[str, ...] = ()) -> Spreadsheet:
    """Read a table from a file or take a DataFrame.

    Parameters
    ----------
    source : path of a ``.csv``, ``.tsv``, ``.xlsx`` or ``.parquet`` file, or a DataFrame.
    text : columns to keep letter by letter, such as patient ids (``007`` stays ``007``).

    Raises
    ------
    FileError : where the file is missing, damaged, a pickle or of another kind.
    InputError : where the table has no rows.
    """
    if isinstance(source, pd.DataFrame):
        named = source.reset_index() if any(source.index.names) else source.reset_index(drop=True)
        sheet = Spreadsheet(named, "the table", 0)
    else:
        path = Path(source)
        sheet = Spreadsheet(_read(path, text), path.name, 2)
    if len(sheet.frame) == 0:
        message = f"{sheet.name} is empty: it has no row below its header."
        raise InputError(message)
    return sheet


def _read(path: Path, text: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        message = f"{path} does not exist; give a CSV, Excel or Parquet file, or a DataFrame."
        raise FileError(message)
    kind = path.suffix.lower()
    if kind not in (*TEXT, *EXCEL, ".parquet"):
        message = f"{path} is no table that can be read; give .csv, .tsv, .xlsx or .parquet (a pickle is never opened)."
        raise FileError(message)
    try:
        if kind == ".parquet":
            return pd.read_parquet(path).reset_index(drop=True)
        if kind in EXCEL:
            return pd.read_excel(path, dtype=dict.fromkeys(text, str))
        return _read_text(path, text)
    except (
        UnicodeDecodeError,
        pd.errors.ParserError,
        pd.errors.EmptyDataError,
        ValueError,
        OSError,
        KeyError,
    ) as error:
        message = f"{path} cannot be read as a table ({error}); open it in a spreadsheet and save it as CSV in UTF-8."
        raise FileError(message) from error


def _read_text(path: Path, text: tuple[str, ...]) -> pd.DataFrame:
    """Read separated text; a European spreadsheet writes ``;`` between columns and a comma in its numbers."""
    with path.open(encoding="utf-8-sig") as stream:
        header = stream.readline()
    separator = max((",", ";", "\t"), key=header.count)
    decimal = "," if separator == ";" else "."
    types = dict.fromkeys(text, str)
    # An id or a patient called "NA" is a name; what is empty is missing all the same.
    return pd.read_csv(path, sep=separator, decimal=decimal, dtype=types, encoding="utf-8-sig", low_memory=False)

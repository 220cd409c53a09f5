"""Tables of anybody's: CSV, Excel, Parquet or a DataFrame, with the row numbers a spreadsheet would show."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.errors import FileError, InputError, unknown_name

EXCEL = (".xlsx", ".xlsm")
TEXT = (".csv", ".tsv", ".txt")
# A cell that holds nothing but a number with a comma: 0,35
DECIMAL_COMMA = re.compile(r"(?:^|[;\t])\s*-?\d+,\d+\s*(?:[;\t]|$)", re.MULTILINE)
# Cells that stand for nothing, in columns that are not kept letter by letter.
NOTHING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA", "NULL",
    "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
# Characters of a file that tell how it writes numbers.
SAMPLE = 65_536


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
        """Return a column, or raise InputError that offers the nearest name there is, or says that two have this name."""
        if name not in self.frame.columns:
            kind = f"{self.name}: {role} column"
            raise unknown_name(kind, name, map(str, self.frame.columns))
        found: Any = self.frame[name]
        if isinstance(found, pd.DataFrame):
            places = [str(place + 1) for place, one in enumerate(self.frame.columns) if one == name]
            message = (
                f"{self.name} has {len(places)} columns called {name!r} (columns {' and '.join(places)}), and which of them is the "
                f"{role} cannot be told; rename one."
            )
            raise InputError(message)
        return pd.Series(found)

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
    text : columns to keep letter by letter, such as patient ids (``007`` stays ``007``, ``NA`` stays ``NA``).

    Returns
    -------
    Spreadsheet
        Rows that are empty throughout are left out at the end of a file, and stay elsewhere so that row numbers are those
        of the file.

    Raises
    ------
    FileError : where the file is missing, damaged, a pickle or of another kind.
    InputError : where the table has no rows, or is none.
    """
    given: Any = source
    if not isinstance(given, pd.DataFrame | str | Path):
        message = f"a value of type {type(source).__name__} is no table; give the path of a CSV, Excel or Parquet file, or a DataFrame."
        raise InputError(message)
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
            return _tidy(pd.read_excel, path, text, {})
        return _tidy(pd.read_csv, path, text, _dialect(path))
    except pd.errors.ParserWarning as error:
        message = f"{path}: its rows have more cells than its header has names; name every column in the first row."
        raise FileError(message) from error
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


def _dialect(path: Path) -> dict[str, Any]:
    """Tell what stands between columns, and in numbers: a European spreadsheet writes ``;`` and a comma."""
    with path.open(encoding="utf-8-sig") as stream:
        sample = stream.read(SAMPLE)
    separator = max((",", ";", "\t"), key=sample.partition("\n")[0].count)
    comma = separator != "," and DECIMAL_COMMA.search(sample)
    return {
        "sep": separator, "decimal": "," if comma else ".", "encoding": "utf-8-sig", "low_memory": False,
        "skip_blank_lines": False, "index_col": False,
    }  # fmt: skip


def _tidy(read: Any, path: Path, text: tuple[str, ...], dialect: dict[str, Any]) -> pd.DataFrame:
    """Read a file with the names of its columns as they stand there, twice if they do, and without empty rows at its end."""
    head = read(path, header=None, nrows=1, dtype=str, keep_default_na=False, **dialect)
    if head.empty:
        message = "it has no header"
        raise ValueError(message)
    written = [str(name) or f"Unnamed: {place}" for place, name in enumerate(head.iloc[0])]
    names = [name.strip() for name in written]
    exact = {name for name in written if name.strip() in text}
    # An id or a patient called "NA" or "None" is a name.
    nothing = {name: [""] if name in exact else list(NOTHING) for name in written}
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        frame: pd.DataFrame = read(
            path, header=0, dtype=dict.fromkeys(exact, str), keep_default_na=False, na_values=nothing, **dialect
        )
    frame.columns = pd.Index(names)
    for place, name in enumerate(written):
        if name in exact:
            frame.isetitem(place, frame.iloc[:, place].where(lambda cells: cells.str.strip() != "").array)
    filled = len(frame)
    while filled and frame.iloc[filled - 1].isna().all():
        filled -= 1
    return frame.iloc[:filled]

"""One verb for every cohort: a name, a saved cohort, a table, an NPZ file or a folder of classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from workbench.cohorts.cards import cards
from workbench.cohorts.cohort import Cohort
from workbench.errors import FileError, InputError, unknown_name
from workbench.spreadsheet import EXCEL, TEXT
from workbench.storage import saved_kind

PHANTOM = "phantom-mammography"


def load(name: str | Path, **settings: Any) -> Cohort:
    """Load a cohort.

    Parameters
    ----------
    name : ``"phantom-mammography"`` (generated, nothing to download); the name of a dataset card, with
        ``path="folder"`` where your copy lies; or a path: a folder that ``cohort.save`` wrote, a table (``.csv``,
        ``.tsv``, ``.xlsx``, ``.parquet``), a MedMNIST ``.npz`` file, or a folder with one folder a class.
    **settings : for the phantom its knobs (``n``, ``seed``, …); for a table or an NPZ file what
        :meth:`Cohort.from_table` or :meth:`Cohort.from_arrays` takes.

    Raises
    ------
    InputError : where the name is unknown; the nearest known one is offered.
    FileError : where the files are missing, with the way to get them.
    """
    if str(name) == PHANTOM:
        from workbench.phantoms.mammography import phantom_mammography

        return phantom_mammography(**settings)
    if str(name) in cards():
        return _named(str(name), **settings)
    path = Path(name)
    if not path.exists():
        if path.suffix or len(path.parts) > 1:
            message = f"{path} does not exist; give a table, an NPZ file, a folder, or one of: {', '.join(cards())}."
            raise FileError(message)
        raise unknown_name("dataset", str(name), cards())
    kind = path.suffix.lower()
    if kind == ".npz":
        return Cohort.from_arrays(path, **settings)
    if path.is_file() and kind in (*TEXT, *EXCEL, ".parquet"):
        return Cohort.from_table(path, **settings)
    if path.is_file():
        message = f"{path} is neither a table nor an NPZ file; give .csv, .tsv, .xlsx, .parquet, .npz or a folder."
        raise FileError(message)
    if settings:
        message = f"a folder takes no settings, and {', '.join(settings)} was given; leave it out."
        raise InputError(message)
    return Cohort.load(path) if saved_kind(path) else Cohort.from_folder(path)


def _named(name: str, path: str | Path | None = None, **settings: Any) -> Cohort:
    card = cards()[name]
    if path is None:
        message = f"{name!r} is not shipped. {card['get']} Then: wb.load({name!r}, path=…). Layout: {card['layout']}"
        raise FileError(message)
    reading = dict(card["reading"])
    kind = reading.pop("kind")
    where = Path(path)
    if kind == "npz":
        cohort = Cohort.from_arrays(where, **settings)
        names = {str(key): str(value) for key, value in reading["classes"].items()}
        cohort = _renamed(cohort, names)
    elif kind == "mias":
        cohort = Cohort.from_table(_mias(where), folder=where, **(reading | settings))
    else:
        table = where / reading.pop("table")
        inner = reading.pop("folder", "")
        cohort = Cohort.from_table(table, folder=where / inner, **(reading | settings))
    return replace(cohort, card={**cohort.card, **{key: card[key] for key in card if key != "reading"}})


def _renamed(cohort: Cohort, names: dict[str, str]) -> Cohort:
    """Give numbered classes their names, the negative first."""
    from workbench.labels import class_order

    table = cohort.table.assign(label=cohort.table["label"].map(names))
    return replace(cohort, table=table, classes=class_order(names.values()))


def _mias(folder: Path) -> pd.DataFrame:
    """Read mini-MIAS' list of films: one row a film, the lesion of largest radius, row counted from the top.

    A line is ``mdb005 F CIRC B 477 133 30``: film, tissue, kind, severity, and centre and radius of the lesion in
    pixels, y from the bottom. Films 2k − 1 and 2k are the two breasts of one patient. Only films that are there count.
    """
    listed = folder / "Info.txt"
    if not listed.is_file():
        message = f"{listed} does not exist; mini-MIAS lists its films there. Give the folder with Info.txt and *.pgm."
        raise FileError(message)
    rows = []
    for line in listed.read_text(encoding="latin-1").splitlines():
        words = line.split()
        if len(words) >= 3 and words[0].startswith("mdb") and words[0][3:6].isdigit():
            film, tissue, kind, *rest = words
            x, y, radius = (float(word) for word in rest[1:4]) if len(rest) >= 4 else (float("nan"),) * 3
            severity = {"B": "benign", "M": "malignant"}.get(rest[0] if rest else "", "normal")
            rows.append(
                (film, f"{film}.pgm", severity, str((int(film[3:6]) + 1) // 2), tissue, kind, 1023 - y, x, radius)
            )
    names = ["film", "file", "severity", "patient", "tissue", "kind", "row", "column", "radius"]
    films = pd.DataFrame(rows, columns=names).sort_values("radius", ascending=False, kind="stable")
    films = films.drop_duplicates("film").sort_values("film")
    here = films[[(folder / file).is_file() for file in films["file"]]].reset_index(drop=True)
    if here.empty:
        message = f"{folder} has Info.txt and none of the films it lists; unpack the *.pgm files beside it."
        raise FileError(message)
    return here

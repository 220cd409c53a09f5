"""A cohort from anybody's table of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.columns import ATTRIBUTES, IMAGE, LABEL, PATIENT, find_column, find_columns
from workbench.cohorts.files import file_ids, image_paths, optional_paths
from workbench.cohorts.pixels import FilePixels
from workbench.errors import InputError
from workbench.labels import class_order, label_text
from workbench.provenance import Provenance, digest
from workbench.spreadsheet import Spreadsheet, read_spreadsheet

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Roles:
    """Which column plays which part, and in words what was guessed."""

    image: str
    label: str
    patient: str | None
    attributes: tuple[str, ...]
    guessed: tuple[str, ...]


def cohort_from_table(
    table: str | Path | pd.DataFrame,
    *,
    image: str | None = None,
    label: str | None = None,
    patient: str | None = None,
    attributes: Sequence[str] | None = None,
    mask: str | Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    id: str | None = None,  # the column's usual name
    folder: str | Path | None = None,
) -> Cohort:
    """Do what :meth:`workbench.Cohort.from_table` says."""
    named = [image, label, patient, id, *attributes] if attributes is not None else [image, label, patient, id]
    _check_distinct(label, patient, attributes)
    sheet = _read(table, [image, patient, id])
    roles = _roles(sheet, image, label, patient, attributes)
    where = Path(folder) if folder is not None else Path() if isinstance(table, pd.DataFrame) else Path(table).parent
    paths = image_paths(sheet, roles.image, where)
    labels = label_text(sheet.frame[roles.label], where=sheet.name, first_row=sheet.first_row)
    order = _classes(sheet, labels, roles.label, classes)
    ids = _ids(sheet, id, roles.image, paths)
    frame = pd.DataFrame({"patient": _patients(sheet, roles.patient, ids), "label": labels.to_list()})
    for column in [*roles.attributes, *sheet.others({*named, *roles.attributes, roles.label, roles.patient})]:
        if column not in frame.columns and column != "id":
            frame[column] = _storable(sheet.frame[column]).to_numpy()
    frame.index = pd.Index(ids, name="id")
    masks = _masks(sheet, mask, where, ids)
    card: dict[str, Any] = {"name": _name(table), "guessed": list(roles.guessed)}
    pixels = FilePixels(dict(zip(ids, paths, strict=True)))
    settings: dict[str, Any] = {
        "table": sheet.name,
        "image": roles.image,
        "label": roles.label,
        "patient": roles.patient,
        "mask": mask,
    }
    settings |= {"attributes": roles.attributes, "classes": order, "images": len(ids)}
    content = digest(frame, order, roles.attributes, pixels.digest(), {name: m.digest() for name, m in masks.items()})
    provenance = Provenance("from_table", settings, content)
    return Cohort(frame, order, roles.attributes, pixels, masks, card, provenance)


def _read(table: str | Path | pd.DataFrame, named: Sequence[str | None]) -> Spreadsheet:
    sheet = read_spreadsheet(table)
    columns = [str(column) for column in sheet.frame.columns]
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        message = f"{sheet.name} has two columns named {twice[0]!r}; rename one of them."
        raise InputError(message)
    sheet.frame.columns = pd.Index(columns)
    # Ids are names: read again letter by letter, so that patient 007 stays 007.
    exact = {*named, find_column(columns, PATIENT), find_column(columns, IMAGE)} & set(columns)
    return sheet if isinstance(table, pd.DataFrame) else read_spreadsheet(table, text=tuple(sorted(map(str, exact))))


def _check_distinct(label: str | None, patient: str | None, attributes: Sequence[str] | None) -> None:
    if isinstance(attributes, str):
        message = f"attributes={attributes!r} is text; give a list: attributes=[{attributes!r}]."
        raise InputError(message)
    reserved = {"label", "patient", "id"} & set(attributes or ())
    if reserved:
        message = f"attributes names {sorted(reserved)[0]!r}, which every cohort has already; leave it out, or rename the column."
        raise InputError(message)
    if label is not None and label == patient:
        message = f"column {label!r} is given as label and as patient; they are two columns."
        raise InputError(message)


def _roles(
    sheet: Spreadsheet, image: str | None, label: str | None, patient: str | None, attributes: Sequence[str] | None
) -> Roles:
    columns = list(sheet.frame.columns)
    guessed = []
    found = {}
    for role, given, names in (("image", image, IMAGE), ("label", label, LABEL), ("patient", patient, PATIENT)):
        column = given if given is not None else find_column(columns, names)
        if column is not None:
            sheet.column(column, role)
        elif role != "patient":
            message = f"{sheet.name} has no column that is clearly the {role}; say which: {role}=…. Columns: {', '.join(columns)}."
            raise InputError(message)
        if given is None and column is not None:
            guessed.append(f"{role} is column {column!r}")
        found[role] = column
    if found["patient"] is None:
        guessed.append("no patient column: each image counts as a patient of its own, say patient=… if that is wrong")
    chosen = find_columns(columns, ATTRIBUTES) if attributes is None else list(attributes)
    if attributes is None:
        chosen = [name for name in chosen if name not in found.values()]
        guessed.append(f"attributes are {', '.join(map(repr, chosen))}" if chosen else "no attributes found")
    for column in chosen:
        sheet.column(column, "attribute")
    return Roles(str(found["image"]), str(found["label"]), found["patient"], tuple(chosen), tuple(guessed))


def _classes(sheet: Spreadsheet, labels: pd.Series[Any], column: str, classes: Sequence[str] | None) -> tuple[str, ...]:
    present = class_order(labels.unique())
    if classes is None:
        if len(present) == 1:
            message = (
                f"{sheet.name}, column {column!r}: every row says {present[0]!r}. A model or an audit needs two classes; "
                f"name another label column, or say classes=[…, {present[0]!r}] if the other class is in another table."
            )
            raise InputError(message)
        return present
    order = tuple(str(name) for name in classes)
    strange = ~labels.isin(order).to_numpy()
    if strange.any():
        position = int(strange.nonzero()[0][0])
        message = (
            f"{sheet.cell(position, column)}: label {labels.iloc[position]!r} is none of classes={order}, as in "
            f"{int(strange.sum())} rows. Add it to classes, or leave the rows out."
        )
        raise InputError(message)
    return order


def _ids(sheet: Spreadsheet, column: str | None, image: str, paths: list[Path]) -> list[str]:
    if column is None:
        column, ids = image, file_ids([str(cell) for cell in sheet.frame[image]], paths)
    else:
        cells = sheet.column(column, "id")
        if cells.isna().any():
            position = int(cells.isna().to_numpy().nonzero()[0][0])
            message = f"{sheet.cell(position, column)}: the id is missing. Fill it in, or leave id= out."
            raise InputError(message)
        ids = [str(cell).strip() for cell in cells]
    twice = pd.Index(ids).duplicated()
    if twice.any():
        second = int(twice.nonzero()[0][0])
        message = (
            f"{sheet.cell(second, column)}: {ids[second]!r} stands already in row {sheet.first_row + ids.index(ids[second])}, "
            f"and {int(twice.sum())} rows repeat an image in all. Keep one row an image."
        )
        raise InputError(message)
    return ids


def _patients(sheet: Spreadsheet, column: str | None, ids: list[str]) -> list[str]:
    if column is None:
        return ids
    cells = sheet.frame[column]
    missing = cells.isna().to_numpy()
    if missing.any():
        message = (
            f"{sheet.cell(int(missing.nonzero()[0][0]), column)}: the patient is missing, in {int(missing.sum())} rows. "
            "Fill them in: without it, images of one patient could land in training and in test."
        )
        raise InputError(message)
    # Excel and pandas turn whole numbers beside an empty cell into 12.0.
    return [str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip() for cell in cells]


def _masks(sheet: Spreadsheet, mask: str | Sequence[str] | None, folder: Path, ids: list[str]) -> dict[str, FilePixels]:
    columns = [mask] if isinstance(mask, str) else list(mask or ())
    masks = {}
    for column in columns:
        sheet.column(column, "mask")
        paths = optional_paths(sheet, column, folder)
        masks[column] = FilePixels({i: path for i, path in zip(ids, paths, strict=True) if path is not None})
    return masks


def _storable(column: pd.Series[Any]) -> pd.Series[Any]:
    """Keep numbers, dates and text; a column of several kinds becomes text, so that it can be saved."""
    if column.dtype != object or pd.api.types.infer_dtype(column, skipna=True) in {"string", "boolean", "empty"}:
        return column
    return column.where(column.isna(), column.astype(str))


def _name(table: str | Path | pd.DataFrame) -> str:
    return "cohort" if isinstance(table, pd.DataFrame) else Path(table).stem

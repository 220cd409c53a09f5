"""Groups: who is compared. Every attribute, or crossing of attributes, puts each image in exactly one group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

ALL = "all"
MISSING = "missing"
# A number with more values than this is cut into quarters of equal size.
MOST_VALUES = 10
# More words than this are names, not groups.
MOST_GROUPS = 50


@dataclass(frozen=True, eq=False)
class Partition:
    """All images, each in one group.

    Parameters
    ----------
    by : ``""`` (everybody), an attribute, or several joined by ``" × "``.
    names : the groups, e.g. ``("sex=F", "sex=M", "sex=missing")``.
    codes : each image's group as an index into `names`, int64 ``(n,)``.
    """

    by: str
    names: tuple[str, ...]
    codes: np.ndarray


class Described(Protocol):
    """Anything with a row an image and columns to break results down by: a cohort, predictions, attributions."""

    @property
    def table(self) -> pd.DataFrame:
        """One row an image."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """The columns of `table` that make groups."""

    def __len__(self) -> int: ...


def partitions(images: Described, by: Sequence[str | Sequence[str]]) -> list[Partition]:
    """Return everybody as one group, then one partition for each entry of `by`: an attribute, or several to be crossed.

    Raises
    ------
    InputError : where an attribute is unknown (the nearest is offered) or has too many values to be groups.
    """
    found = [Partition("", (ALL,), np.zeros(len(images), dtype=np.int64))]
    single: dict[str, tuple[list[str], np.ndarray]] = {}
    for entry in by:
        names = (entry,) if isinstance(entry, str) else tuple(entry)
        for name in names:
            if name not in images.attributes:
                raise unknown_name("attribute", name, images.attributes)
            if name not in single:
                single[name] = _values(images.table[name], name)
        found.append(_crossed(names, [single[name] for name in names]))
    return found


def unknown(column: pd.Series) -> np.ndarray:
    """Tell where an attribute is not known, bool ``(n,)``: empty, or the word that stands for it in the name of a group."""
    return np.asarray(column.isna() | (column.astype(str).str.strip() == MISSING), dtype=bool)


def _crossed(attributes: tuple[str, ...], parts: list[tuple[list[str], np.ndarray]]) -> Partition:
    """Cross attributes; only the combinations that occur become groups."""
    sizes = [len(values) for values, _ in parts]
    flat = np.ravel_multi_index([codes for _, codes in parts], sizes)
    present, codes = np.unique(flat, return_inverse=True)
    corners = np.column_stack(np.unravel_index(present, sizes))
    names = tuple(
        " & ".join(f"{attribute}={parts[axis][0][corner[axis]]}" for axis, attribute in enumerate(attributes))
        for corner in corners
    )
    return Partition(" × ".join(attributes), names, codes.astype(np.int64))


def _values(column: pd.Series, name: str) -> tuple[list[str], np.ndarray]:
    """Return an attribute's values in order, missing last, and each image's index into them."""
    missing = unknown(column)
    numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if numeric and np.isinf(column[~missing].to_numpy(dtype=np.float64)).any():
        row = column.index[~missing][np.isinf(column[~missing].to_numpy(dtype=np.float64))][0]
        message = f"row {row!r}, column {name!r}: the attribute is infinite; correct it, or leave the cell empty where it is not known."
        raise InputError(message)
    if numeric and column.nunique() > MOST_VALUES:
        values, codes = _bands(column[~missing].to_numpy(dtype=np.float64))
    else:
        present = column[~missing] if numeric else column[~missing].astype(str)
        known = sorted(present.unique())
        values = [f"{value:g}" if numeric else str(value) for value in known]
        codes = pd.Categorical(present, categories=known).codes
    if len(values) > MOST_GROUPS:
        message = (
            f"attribute {name!r} has {len(values)} different values, too many to be groups; "
            "audit by a column with fewer, such as bands of it."
        )
        raise InputError(message)
    everybody = np.full(len(column), len(values), dtype=np.int64)
    everybody[~missing] = codes
    return [*values, MISSING], everybody


def _bands(known: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Cut numbers at their quartiles; whole numbers get edges that read like ages: 20–44."""
    edges = np.unique(np.quantile(known, [0.25, 0.5, 0.75], method="higher"))
    edges = edges[edges > known.min()]
    codes = np.searchsorted(edges, known, side="right")
    starts = [known.min(), *edges]
    ends = [*edges, known.max()]
    whole = bool((known == np.round(known)).all())
    names = []
    for position, (start, end) in enumerate(zip(starts, ends, strict=True)):
        last = position == len(starts) - 1
        if whole:
            names.append(f"{start:g}–{end if last else end - 1:g}")
        else:
            names.append(f"{start:g} to {'' if last else '<'}{end:g}")
    return names, codes

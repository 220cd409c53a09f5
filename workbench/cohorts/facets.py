"""Facets of a cohort: which values each attribute takes, and how many images have each under the choices made."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from workbench.cohorts.cohort import Cohort

MISSING = "missing"
# More values than this make a list nobody reads: numbers are put into bands, text is left to the search.
MOST_VALUES = 12
BANDS = 6


def facet_table(cohort: Cohort) -> pd.DataFrame:
    """Return the label and every attribute as categories, one row an image.

    A number with more than twelve values is put into six bands of equal width; a text with more is left out, unless
    it is the label. Missing values are a category of their own, ``"missing"``.
    """
    columns = {}
    for name in ("label", *cohort.attributes):
        values = cohort.table[name]
        if values.nunique() > MOST_VALUES and pd.api.types.is_numeric_dtype(values):
            columns[name] = _bands(values)
        elif values.nunique() <= MOST_VALUES or name == "label":
            columns[name] = _words(values)
    return pd.DataFrame(columns)


def facet_filter(
    facets: pd.DataFrame, chosen: Mapping[str, Collection[str]], among: np.ndarray | None = None, *, but: str = ""
) -> np.ndarray:
    """Return which rows meet every choice, bool ``(n,)``.

    Parameters
    ----------
    facets : from :func:`facet_table`.
    chosen : values chosen by column; a row meets a column's choice where it has one of them. No value, no choice.
    among : rows to choose from, bool ``(n,)``, e.g. those a search has found; by default all.
    but : a column whose own choice is not asked for.
    """
    kept = np.ones(len(facets), dtype=bool) if among is None else among.copy()
    for name, values in chosen.items():
        if values and name != but and name in facets.columns:
            kept &= facets[name].isin(list(values)).to_numpy()
    return kept


def facet_counts(
    facets: pd.DataFrame, chosen: Mapping[str, Collection[str]], among: np.ndarray | None = None
) -> dict[str, dict[str, int]]:
    """Count, for each column, how many images each value would leave under the choices made in the *other* columns.

    So a count says what a click would give, and values of one column can be added to one another.
    """
    counts = {}
    for column in facets.columns:
        name = str(column)
        values = facets[name].cat.categories
        found = facets.loc[facet_filter(facets, chosen, among, but=name), name].value_counts()
        counts[name] = {str(value): int(found.get(value, 0)) for value in values}
    return counts


def text_search(table: pd.DataFrame, words: str) -> np.ndarray:
    """Return which rows hold every word, in any column or the id, whatever its case: bool ``(n,)``."""
    kept = np.ones(len(table), dtype=bool)
    if not words.strip():
        return kept
    cells = [[str(image_id) for image_id in table.index]]
    cells += [[MISSING if pd.isna(cell) else str(cell) for cell in table[name]] for name in table.columns]
    rows = [" ".join(row).casefold() for row in zip(*cells, strict=True)]
    for word in words.casefold().split():
        kept &= np.array([word in row for row in rows], dtype=bool)
    return kept


def _words(values: pd.Series) -> pd.Series:
    if pd.api.types.is_float_dtype(values):
        text = values.map(lambda value: MISSING if pd.isna(value) else f"{value:g}")
        order = [f"{value:g}" for value in sorted(values.dropna().unique())]
    else:
        text = values.map(lambda value: MISSING if pd.isna(value) else str(value))
        order = [str(value) for value in sorted(values.dropna().unique(), key=_rank)]
    if values.isna().any():
        order.append(MISSING)
    return pd.Series(pd.Categorical(text, categories=list(dict.fromkeys(order))), index=values.index)


def _rank(value: object) -> tuple[int, float, str]:
    """Numbers by size, then text by alphabet."""
    number = isinstance(value, int | float | np.number)
    return (0, float(value), "") if number else (1, 0.0, str(value).casefold())  # type: ignore[arg-type]


def _bands(values: pd.Series) -> pd.Series:
    edges: list[float] = np.linspace(float(values.min()), float(values.max()), BANDS + 1).tolist()
    whole = pd.api.types.is_integer_dtype(values) or bool((values.dropna() % 1 == 0).all())
    edges = [*np.unique(np.floor(edges[:-1])).tolist(), float(values.max())] if whole else edges
    names = [f"{low:g}–{high:g}" for low, high in pairwise(edges)]
    if whole:
        # Whole numbers belong to one band each, so it is named by its first and its last.
        names = [f"{low:g}–{high - 1:g}" for low, high in pairwise(edges[:-1])]
        names.append(f"{edges[-2]:g}–{edges[-1]:g}")
    banded: pd.Series = pd.cut(values, bins=edges, labels=names, right=False, include_lowest=True)
    banded = banded.mask(values == edges[-1], names[-1])
    if values.isna().any():
        banded = banded.cat.add_categories(MISSING).fillna(MISSING)
    return banded

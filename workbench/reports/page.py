"""One HTML page that carries everything it shows: text, figures, tables, provenance. It opens anywhere, without a network."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.html import render
from workbench.imaging.compose import data_uri

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.figure import Figure

    from workbench.provenance import Provenance


# Dots per inch of the embedded pictures; shown at the smaller one, so that they are crisp on a dense screen.
EMBEDDED_DPI, SHOWN_DPI = 220, 144


@dataclass(frozen=True, eq=False)
class Section:
    """One part of a page; what is empty is left out. All text is escaped.

    Parameters
    ----------
    heading : the section's title.
    text : paragraphs, parted by an empty line.
    notices : what to notice, a sentence each.
    figure : a matplotlib figure; it is embedded as PNG.
    alt : what the figure shows, for those who cannot see it; needed with a figure.
    table : a DataFrame; numbers are shown with three digits, missing ones as a dash.
    """

    heading: str
    text: str = ""
    notices: Sequence[str] = field(default_factory=tuple)
    figure: Figure | None = None
    alt: str = ""
    table: pd.DataFrame | None = None


def page(
    sections: Sequence[Section], path: str | Path, *, title: str, lead: str = "", provenance: Provenance | None = None,
    files: Mapping[str, str] | None = None,
) -> Path:  # fmt: skip
    """Write one self-contained page, light or dark as the reader's system is, and fit to print.

    Parameters
    ----------
    sections : in reading order.
    path : the HTML file to write.
    title, lead : the heading and the sentences below it.
    provenance : how the page's numbers came about; shown as a tree at the end.
    files : links to files beside the page, ``{"figures/forest.pdf": "Forest plot, vector"}``.

    Returns
    -------
    The path.
    """
    shown = [
        {
            "heading": part.heading,
            "paragraphs": [text.strip() for text in part.text.split("\n\n") if text.strip()],
            "notices": list(part.notices),
            "picture": None if part.figure is None else _picture(part.figure),
            "alt": part.alt or part.heading,
            "width": None if part.figure is None else round(part.figure.get_size_inches()[0] * SHOWN_DPI),
            "columns": [] if part.table is None else _columns(part.table),
            "rows": [] if part.table is None else _rows(part.table),
        }
        for part in sections
    ]
    tree = "" if provenance is None else provenance.lineage()
    html = render("page.html", title=title, lead=lead, sections=shown, lineage=tree, files=dict(files or {}))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(html, encoding="utf-8")
    return Path(path)


def _picture(figure: Figure) -> str:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=EMBEDDED_DPI)
    return data_uri(stream.getvalue())


def _columns(table: pd.DataFrame) -> list[tuple[str, bool]]:
    """Return each column's name, and whether it holds numbers."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    kinds = zip(table.columns, table.dtypes, strict=True)
    return [(str(name), is_numeric_dtype(kind) and not is_bool_dtype(kind)) for name, kind in kinds]


def _rows(table: pd.DataFrame) -> list[list[tuple[str, bool]]]:
    """Return each cell's text, and whether its column holds numbers."""
    numeric = [number for _, number in _columns(table)]
    rows = table.itertuples(index=False, name=None)
    return [[(_cell(value), number) for value, number in zip(row, numeric, strict=True)] for row in rows]


def _cell(value: Any) -> str:
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    return f"{value:.3f}".replace("-", "−") if isinstance(value, float) else str(value)

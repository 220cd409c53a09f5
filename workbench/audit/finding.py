"""A finding: what one question to an audit's data found, as tables, sentences and warnings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from workbench.audit import paper
from workbench.errors import unknown_name
from workbench.provenance import Provenance
from workbench.storage import read_record, read_table, reading, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Mapping

# Rows of a table on a page, and from how many on what they have in common is said once.
MOST_ROWS, FEW_ROWS = 40, 6


@dataclass(frozen=True, eq=False, repr=False)
class Finding:
    """The answer to one question, from ``wb.audit.compare``, ``.mrmc``, ``.drift`` and their kin.

    Parameters
    ----------
    kind : the verb that found it, ``"mrmc"``.
    title : the question, as a heading: ``"Two models compared"``.
    table : the main table; numbers stay numbers, intervals are columns ``low`` and ``high``, ``note`` says what speaks against a row.
    tables : further tables by name, for figures and for those who look closer.
    sentences : the answer in words that a results section could use, with the numbers in them.
    methods : how it was done, in words that a methods section could use.
    warnings : what a reader must know before the numbers.
    settings : what was chosen; plain JSON types.
    provenance : the way back.
    """

    kind: str
    title: str
    table: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    sentences: tuple[str, ...]
    methods: tuple[str, ...]
    warnings: tuple[str, ...]
    settings: Mapping[str, Any]
    provenance: Provenance = field(repr=False)

    def to_frame(self, name: str | None = None) -> pd.DataFrame:
        """Return a copy of the main table, or of a further one by its name."""
        if name is None:
            return self.table.copy()
        if name not in self.tables:
            raise unknown_name("table", name, self.tables)
        return self.tables[name].copy()

    def to_markdown(self) -> str:
        """Return the main table as Markdown for a paper: see :func:`workbench.audit.paper.markdown`."""
        return paper.markdown(self.table)

    def to_latex(self, caption: str = "", label: str = "") -> str:
        """Return the main table as LaTeX (booktabs) for a paper: see :func:`workbench.audit.paper.latex`."""
        return paper.latex(self.table, caption=caption or self.title, label=label)

    def save(self, folder: str | Path) -> Path:
        """Write the tables (Parquet), words and settings (JSON) to `folder`."""
        with writing(folder, "Finding") as scratch:
            self.table.to_parquet(scratch / "table.parquet")
            for number, table in enumerate(self.tables.values()):
                table.to_parquet(scratch / f"table-{number}.parquet")
            record: dict[str, Any] = {
                name: list(getattr(self, name)) for name in ("sentences", "methods", "warnings", "tables")
            }
            record |= {"kind": self.kind, "title": self.title, "settings": dict(self.settings)}
            write_json(scratch / "finding.json", record)
            self.provenance.save(scratch)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote, after checking every byte."""
        path = reading(folder, "Finding")
        words = ("kind", "title", "tables", "sentences", "methods", "warnings", "settings")
        record = read_record(path / "finding.json", *words)
        return cls(
            record["kind"], record["title"], read_table(path / "table.parquet"),
            {name: read_table(path / f"table-{number}.parquet") for number, name in enumerate(record["tables"])},
            tuple(record["sentences"]), tuple(record["methods"]), tuple(record["warnings"]), record["settings"],
            Provenance.load(path),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Finding: {self.title}. {' '.join(self.sentences)}>"

    def _repr_html_(self) -> str:
        from workbench.html import render

        # A curve's table has hundreds of rows; a page shows some, evenly.
        part = self.table.iloc[:: max(1, -(-len(self.table) // MOST_ROWS))]
        shown = paper.shown(part)
        # What is the same in every row of a long table is said once.
        same = [name for name in shown if len(shown) >= FEW_ROWS and shown[name].nunique() == 1]
        facts = [f"{name}: {shown[name].iloc[0]}" for name in same]
        shown = shown.drop(columns=same)
        numeric = [name not in part or pd.api.types.is_numeric_dtype(part[name]) for name in shown]
        notes = part["note"].fillna("") if "note" in part else pd.Series([""] * len(part))
        return render(
            "finding.html", finding=self, facts=facts, columns=list(zip(shown.columns, numeric, strict=True)),
            rows=list(zip(shown.to_numpy().tolist(), (notes.astype(str) != "").tolist(), strict=True)), whole=len(self.table),
        )  # fmt: skip

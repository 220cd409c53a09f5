"""A finding: what one question to an audit's data found, as tables, sentences and warnings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from workbench.audit import paper
from workbench.errors import unknown_name
from workbench.provenance import Provenance
from workbench.storage import read_json, reading, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Mapping


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
        record = read_json(path / "finding.json")
        return cls(
            record["kind"], record["title"], pd.read_parquet(path / "table.parquet"),
            {name: pd.read_parquet(path / f"table-{number}.parquet") for number, name in enumerate(record["tables"])},
            tuple(record["sentences"]), tuple(record["methods"]), tuple(record["warnings"]), record["settings"],
            Provenance.load(path),
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<Finding: {self.title}. {' '.join(self.sentences)}>"

    def _repr_html_(self) -> str:
        from workbench.html import render

        shown = paper.shown(self.table)
        numeric = [pd.api.types.is_numeric_dtype(self.table[name]) if name in self.table else True for name in shown]
        faint = (self.table["note"].astype(str) != "").tolist() if "note" in self.table else [False] * len(shown)
        return render(
            "finding.html", finding=self, columns=list(zip(shown.columns, numeric, strict=True)),
            rows=list(zip(shown.astype(str).to_numpy().tolist(), faint, strict=True)),
        )  # fmt: skip

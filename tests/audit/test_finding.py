"""A finding keeps, shows and prints what it holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.audit import paper
from workbench.audit.finding import Finding
from workbench.errors import FileError, InputError
from workbench.provenance import Provenance, digest

TABLE = pd.DataFrame(
    {
        "group": ["sex=F & site=<b>A_1</b>", "a|b"], "value": [0.8123, np.nan], "low": [0.7, np.nan],
        "high": [0.9, np.nan], "n": [1200, 3], "p": [1e-9, 0.031], "note": ["", "refused: only 3"],
    }
)  # fmt: skip


@pytest.fixture
def finding():
    return Finding(
        "compare", "Two models <compared>", TABLE, {"by group": TABLE.head(1)}, ("It was 0.81.",), ("Bootstrap.",), ("Few cases.",),
        {"seed": 0}, Provenance("audit.compare", {}, digest(TABLE)),
    )  # fmt: skip


def test_a_saved_finding_comes_back_whole(finding, tmp_path):
    again = Finding.load(finding.save(tmp_path / "f"))
    pd.testing.assert_frame_equal(again.table, finding.table)
    pd.testing.assert_frame_equal(again.to_frame("by group"), TABLE.head(1))
    assert (again.kind, again.sentences, again.methods, again.warnings) == (
        "compare",
        ("It was 0.81.",),
        ("Bootstrap.",),
        ("Few cases.",),
    )
    (tmp_path / "f" / "table.parquet").write_bytes(b"x")
    with pytest.raises(FileError, match="changed"):
        Finding.load(tmp_path / "f")


def test_an_unknown_table_is_told(finding):
    with pytest.raises(InputError, match="by group"):
        finding.to_frame("by groups")


def test_html_escapes_what_comes_from_data(finding):
    html = finding._repr_html_()
    assert "<b>A_1" not in html
    assert "&lt;b&gt;A_1" in html
    assert "Two models &lt;compared&gt;" in html
    assert "Few cases." in html


def test_markdown_has_one_line_a_row_and_escapes_bars(finding):
    lines = finding.to_markdown().splitlines()
    assert len(lines) == 4
    assert "0.812 [0.700, 0.900]" in lines[2]
    assert r"a\|b" in lines[3]
    assert "<0.0001" in lines[2]


def test_latex_escapes_what_latex_reads(finding):
    text = finding.to_latex(label="tab:x")
    assert r"sex=F \& site=\textless{}b\textgreater{}A\_1" in text
    assert r"\caption{Two models \textless{}compared\textgreater{}}" in text
    assert text.count(r"\\") == 3


def test_columns_without_content_are_not_printed():
    table = pd.DataFrame({"a": [1, 2], "note": ["", ""]})
    assert list(paper.shown(table)) == ["a"]


def test_a_cell_that_latex_or_markdown_would_take_for_a_command_is_text():
    table = pd.DataFrame({"group": ["[a]", "*b", "<b>c\nd"], "value": [0.1, 0.2, 0.3]})
    latex, lines = paper.latex(table).splitlines(), paper.markdown(table).splitlines()
    assert [line for line in latex if "[a]" in line or "*b" in line] == [r"{}[a] & 0.1 \\", r"{}*b & 0.2 \\"]
    assert lines[-1] == "| &lt;b>c d | 0.3 |"

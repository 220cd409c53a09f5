"""The page: everything in one file, nothing from data taken for HTML."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from workbench.provenance import Provenance
from workbench.reports.page import Section, page

HOSTILE = "<img src=x onerror=alert(1)> & \"quotes\" </pre><script>alert('x')</script>"


class Elements(HTMLParser):
    """Collects every element with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


@pytest.fixture
def written(tmp_path):
    def write(*sections, **settings):
        path = page(sections, tmp_path / "deep" / "page.html", **{"title": "Audit", **settings})
        return path.read_text(encoding="utf-8")

    return write


def test_text_from_data_is_never_markup(written) -> None:
    table = pd.DataFrame({HOSTILE: [HOSTILE]})
    section = Section(HOSTILE, HOSTILE, [HOSTILE], figure=Figure(figsize=(1, 1)), alt=HOSTILE, table=table)
    made = Provenance("from_table", {"file": HOSTILE}, "ab" * 32)
    html = written(section, title=HOSTILE, lead=HOSTILE, provenance=made, files={"a.pdf": HOSTILE})
    elements = Elements(html)
    assert elements.of("script") == []
    [picture] = elements.of("img")
    assert picture["alt"] == HOSTILE
    assert "onerror" not in picture
    assert html.count("&lt;script&gt;") >= 9


def test_nothing_is_loaded_from_elsewhere(written) -> None:
    html = written(Section("A", figure=Figure(figsize=(1, 1)), alt="nothing"))
    assert re.findall(r"(?:src|href)=\"(?!data:)|url\(|@import|https?:", html) == []


def test_an_image_is_png_inside_the_page_and_has_alt_text(written) -> None:
    elements = Elements(
        written(Section("Curve", figure=Figure(figsize=(1, 1)), alt="A rising curve"), Section("B", "text"))
    )
    [picture] = elements.of("img")
    assert picture["alt"] == "A rising curve"
    kind, _, data = picture["src"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data).startswith(b"\x89PNG")


def test_a_picture_without_alt_text_gets_its_heading(written) -> None:
    [picture] = Elements(written(Section("Sensitivity by sex", figure=Figure(figsize=(1, 1))))).of("img")
    assert picture["alt"] == "Sensitivity by sex"


def test_files_are_linked(written) -> None:
    html = written(files={"figures/forest plot #1.pdf": "Forest plot, vector", "audit.csv": "All numbers"})
    links = [link["href"] for link in Elements(html).of("a")]
    assert links == ["figures/forest%20plot%20%231.pdf", "audit.csv"]
    assert "figures/forest plot #1.pdf</a>: Forest plot, vector" in html


def test_numbers_have_three_digits_and_missing_ones_a_dash(written) -> None:
    table = pd.DataFrame({"group": ["F", None], "value": [0.123456, np.nan], "n": pd.array([12, None], "Int64")})
    cells = re.findall(r"<td([^>]*)>([^<]*)</td>", written(Section("T", table=table)))
    assert [text for _, text in cells] == ["F", "0.123", "12", "–", "–", "–"]
    assert [bool(kind) for kind, _ in cells] == [False, True, True, False, True, True]


def test_paragraphs_are_parted_and_empty_parts_left_out(written) -> None:
    html = written(Section("A", "one\n\ntwo"))
    assert re.findall(r"<p>([^<]*)</p>", html) == ["one", "two"]
    for tag in ("table", "img", "ul", "pre"):
        assert Elements(html).of(tag) == []


def test_the_way_back_stands_at_the_end(written) -> None:
    parent = Provenance("from_table", {"rows": 3}, "cd" * 32)
    made = Provenance("audit", {"level": 0.95}, "ab" * 32, {"predictions": parent}, seed=7)
    html = written(Section("A"), provenance=made)
    assert "predictions: from_table(rows=3) → cdcdcdcdcdcd" in html.rpartition("How this was made")[2]


def test_the_same_page_is_the_same_bytes(written) -> None:
    def draw():
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().plot([0, 1])
        return written(Section("A", figure=figure))

    assert draw() == draw()

"""The report page in a browser: light and dark, wide and narrow, on paper, and without running what data says."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench import figures
from workbench.errors import EvidenceWarning
from workbench.reports.page import Section
from workbench.reports.page import page as write_page

ADDRESS = "http://127.0.0.1/report/report.html"  # answered by a route, never by a server
HOSTILE = "<img src=x onerror=document.title='stolen'><script>document.title='stolen'</script>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 240)
    table = pd.DataFrame(
        {
            "truth": truth,
            "p": 1 / (1 + np.exp(-rng.normal(1.6 * truth - 0.8))),
            "who": np.arange(240),
            "sex": np.where(np.arange(240) < 12, None, rng.choice(["F", "M"], 240)),
            "site": rng.choice(["North", "South", HOSTILE], 240),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        audit = wb.audit(table, by=["sex", "site"], label="truth", score="p", patient="who", replicates=100)
    shown = audit.table[["metric", "group", "value", "low", "high", "n", "positives", "note"]]
    sections = [
        Section(
            "How sensitivity differs between groups",
            "Each group is compared with everybody else.\n\nThe line is the 95 % interval.",
            list(audit.warnings),
            figure=figures.forest(audit),
            alt="Forest plot of sensitivity: no interval lies wholly on one side of zero.",
        ),
        Section("ROC curves by sex", figure=figures.roc(audit, "sex"), alt="Two ROC curves that cross."),
        Section("All numbers", "", table=shown),
    ]
    folder = tmp_path_factory.mktemp("report")
    figures.roc(audit).savefig(folder / "roc.pdf")
    return write_page(
        sections, folder / "report.html", title="Bias audit: made-up scores", lead="240 images of 240 patients.",
        provenance=audit.provenance, files={"roc.pdf": "ROC curve, vector"},
    )  # fmt: skip


@pytest.fixture
def opened(page, report):
    """The report in the browser; the harness answers as if a server had it."""
    page.route(ADDRESS, lambda route: route.fulfill(content_type="text/html", path=report))
    page.goto(ADDRESS)
    return page


def contrast(page, selector):
    """Return the contrast ratio (WCAG 2.2) between an element's text and the page's paper."""
    script = """selector => [getComputedStyle(document.querySelector(selector)).color,
      getComputedStyle(document.body).backgroundColor].map(text => text.match(/[\\d.]+/g).slice(0, 3).map(Number))"""
    lights = []
    for colour in page.evaluate(script, selector):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in colour)]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_reads_well_in_light_and_in_dark(opened, artefacts, scheme) -> None:
    opened.emulate_media(color_scheme=scheme)
    opened.screenshot(path=artefacts / f"report_page_{scheme}.png", full_page=True)
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    for selector in ("h1", ".lead", "p", "td", ".notices li", "a"):
        assert contrast(opened, selector) >= 4.5, selector


def test_text_from_data_is_read_and_not_run(opened) -> None:
    assert opened.title() == "Bias audit: made-up scores"
    assert opened.locator("script, img:not([src^='data:'])").count() == 0
    assert opened.get_by_text("site=" + HOSTILE).first.is_visible()


def test_pictures_are_sharp_and_named(opened) -> None:
    pictures = opened.get_by_role("img")
    assert pictures.count() == 2
    for picture in pictures.all():
        assert picture.get_attribute("alt")
        assert picture.evaluate("e => e.complete && e.naturalWidth > e.clientWidth && e.clientWidth > 200")


def test_the_file_beside_the_page_is_linked(opened) -> None:
    link = opened.get_by_role("link", name="roc.pdf")
    assert link.evaluate("e => e.href") == "http://127.0.0.1/report/roc.pdf"


def test_a_narrow_window_scrolls_tables_not_the_page(opened, artefacts) -> None:
    opened.set_viewport_size({"width": 380, "height": 800})
    opened.screenshot(path=artefacts / "report_page_narrow.png", full_page=True)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 380
    table = opened.get_by_role("region", name="Table: All numbers")
    assert table.evaluate("e => e.scrollWidth > e.clientWidth")


def test_on_paper_it_is_dark_on_white(opened) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert contrast(opened, "td") > 15

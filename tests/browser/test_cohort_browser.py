"""The cohort browser in a browser: facets that follow, search, and images, by mouse and by keyboard."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.imaging.compose import to_display, to_rgb

HOSTILE = "<b onclick='steal()'>مستشفى</b>"


@pytest.fixture
def view(host):
    from workbench.widgets.browser import browse

    ids = [f"film-{k:02d}" for k in range(20)]
    table = pd.DataFrame(
        {
            "patient": [f"P{k // 2}" for k in range(20)],
            "label": ["healthy", "mass"] * 10,
            "sex": ["F"] * 12 + ["M"] * 6 + [None] * 2,
            "site": ["North"] * 5 + [HOSTILE] * 15,
        },
        index=pd.Index(ids, name="id"),
    )
    images = np.random.default_rng(2).integers(0, 4000, (20, 1, 40, 32)).astype(np.uint16)
    card = {"name": "twenty films", "licence": "CC0", "description": HOSTILE}
    return host(browse(Cohort(table, ("healthy", "mass"), ("sex", "site"), ArrayPixels.of(images, ids), {}, card)))


def tiles(view):
    return view.root.get_by_role("listbox", name="Images").get_by_role("option")


def test_a_facet_filters_and_the_other_counts_follow(view) -> None:
    view.root.get_by_role("group", name="sex").get_by_label("F").click()
    view.settle()
    assert view.widget.filtered == [f"film-{k:02d}" for k in range(12)]
    assert tiles(view).count() == 12
    assert "12 of 20 images" in view.root.get_by_role("status").inner_text()
    assert view.root.get_by_role("group", name="site").locator(".wb-value-text").all_inner_texts() == ["7", "5"]
    # A count says what a click would give, so the own column's stay.
    assert view.root.get_by_role("group", name="sex").locator(".wb-value-text").all_inner_texts() == ["12", "6", "2"]


def test_the_keyboard_filters_searches_and_opens_an_image(view) -> None:
    view.root.get_by_role("searchbox", name="Search").focus()
    view.page.keyboard.type("p3")
    view.page.wait_for_timeout(250)
    view.settle()
    assert view.widget.filtered == ["film-06", "film-07"]
    tiles(view).first.focus()
    view.page.keyboard.press("ArrowRight")
    view.settle()
    assert view.widget.selected == "film-07"
    assert view.root.get_by_role("heading", name="film-07").is_visible()
    view.root.get_by_role("button", name="Clear").press("Enter")
    view.settle()
    assert len(view.widget.filtered) == 20


def test_the_image_is_painted_as_the_compositor_draws_it(view) -> None:
    seen = view.evaluate("""
      await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
      return [...mount.el.querySelector(".wb-stack canvas").getContext("2d").getImageData(0, 0, 32, 40).data];
    """)
    expected = to_rgb(to_display(view.widget.cohort.image("film-00"))).astype(int)
    assert np.abs(np.array(seen).reshape(40, 32, 4)[..., :3] - expected).max() <= 1


def test_markup_in_table_and_card_stays_text(view) -> None:
    assert view.root.locator("b").count() == 0
    assert HOSTILE in view.root.get_by_role("group", name="site").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_drawn_in_both_themes(view, theme: str) -> None:
    from tests.browser.conftest import set_theme

    set_theme(view.page, theme)
    view.screenshot(f"browser-{theme}")
    ground = view.evaluate("return getComputedStyle(mount.el.querySelector('.wb')).backgroundColor")
    bright = sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(","))) > 384
    assert bright == (theme == "light")

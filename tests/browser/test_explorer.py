"""The explorer in a browser: by mouse, by keyboard, in both themes, and pixel by pixel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.errors import InputError
from workbench.explain.attributions import Attributions
from workbench.imaging.compose import overlay, to_display, to_rgb
from workbench.predictions import Predictions
from workbench.provenance import Provenance

HOSTILE = "<img src=x onerror=\"document.title='broken in'\"> عائشة"


def cohort_of(images: np.ndarray, masks: dict[str, np.ndarray] | None = None) -> Cohort:
    ids = [f"case-{k:03d}" for k in range(len(images))]
    table = pd.DataFrame(
        {
            "patient": [f"P{k // 2}" for k in range(len(ids))],
            "label": ["healthy", "mass"] * (len(ids) // 2) + ["healthy"] * (len(ids) % 2),
            "age": pd.array([40 + k for k in range(len(ids))], dtype="Int64"),
            "site": [HOSTILE, None, *["North"] * (len(ids) - 2)],
        },
        index=pd.Index(ids, name="id"),
    )
    pixels = {name: ArrayPixels.of(mask[:, None], ids) for name, mask in (masks or {}).items()}
    return Cohort(table, ("healthy", "mass"), ("age", "site"), ArrayPixels.of(images, ids), pixels, {"name": "tiny"})


class Reader:
    """Stands in for a model: a score for each image, known beforehand."""

    classes = ("healthy", "mass")

    def predict(self, cohort: Cohort) -> Predictions:
        score = np.linspace(0.95, 0.05, len(cohort)).round(3)
        table = cohort.table.assign(**{"score:healthy": 1 - score, "score:mass": score})
        return Predictions(table, self.classes, cohort.attributes, Provenance("predict", {}, "0" * 64))


@pytest.fixture
def heats(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Heat maps by method; what `explain` gives for any image."""
    rows, columns = np.mgrid[:48, :40]
    blob = np.exp(-((rows - 20) ** 2 + (columns - 25) ** 2) / 60).astype(np.float32)
    known = {"gradcam": 3e-4 * blob, "shap": blob - blob[::-1]}

    def explain(model: object, cohort: Cohort, method: str, *, target: str, **settings: object) -> Attributions:
        if method not in known:
            message = "SHAP needs another reference; give background=."
            raise InputError(message)
        heat = np.broadcast_to(known[method], cohort.image(cohort.ids[0]).shape[1:])
        return Attributions(
            maps=heat[None], ids=tuple(cohort.ids), method=method, settings={}, targets=np.array([1]),
            classes=Reader.classes, scores=np.array([1.5]), table=cohort.table, attributes=cohort.attributes,
        )  # fmt: skip

    monkeypatch.setattr("workbench.explain.attribute.explain", explain)
    return known


@pytest.fixture
def make(host, heats):
    from workbench.widgets.explorer import Explorer

    def build(
        count: int = 6, *, dtype: str = "uint16", channels: int = 1, depth: int = 0, theme: str = "light", **traits
    ):
        shape = (count, channels, *([depth] if depth else []), 48, 40)
        images = (np.random.default_rng(1).random(shape) * 250 + np.arange(40) * 0.1).astype(dtype)
        mask = np.zeros((count, *shape[2:]), bool)
        mask[..., 14:26, 20:30] = True
        mask[0] = False
        widget = Explorer(Reader(), cohort_of(images, {"lesion": mask}))
        for name, value in traits.items():
            setattr(widget, name, value)
        return host(widget, theme=theme)

    return build


def canvas(view) -> np.ndarray:
    view.settle()
    flat = view.evaluate("""
      await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
      const canvas = mount.el.querySelector(".wb-stack canvas");
      return [canvas.height, canvas.width, ...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data];
    """)
    return np.array(flat[2:], dtype=np.uint8).reshape(flat[0], flat[1], 4)[..., :3]


def tiles(view):
    return view.root.get_by_role("listbox", name="Cases").get_by_role("option")


def difference(seen: np.ndarray, expected: np.ndarray) -> int:
    return int(np.abs(seen.astype(int) - expected.astype(int)).max())


@pytest.mark.parametrize("method", ["gradcam", "shap"])
@pytest.mark.parametrize(("dtype", "channels"), [("uint8", 1), ("uint16", 1), ("float32", 1), ("uint8", 3)])
def test_the_canvas_shows_what_the_compositor_draws(make, dtype: str, channels: int, method: str) -> None:
    view = make(dtype=dtype, channels=channels, method=method, opacity=0.65)
    image = view.widget.cohort.image("case-000")
    expected = overlay(to_display(image), view.widget.heat("case-000"), opacity=0.65)
    assert difference(canvas(view), expected) <= 1


def test_a_window_set_in_python_is_the_window_that_is_painted(make) -> None:
    view = make(method="gradcam", opacity=0.0)
    view.widget.center, view.widget.width = 100.0, 50.0
    image = view.widget.cohort.image("case-000")[0].astype(float)
    expected = to_rgb(np.clip((image - 75) / 50, 0, 1))
    assert difference(canvas(view), expected) <= 1


def test_a_drag_over_the_image_sets_window_and_level(make) -> None:
    view = make()
    box = view.root.locator(".wb-stack").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    view.page.mouse.move(x, y)
    view.page.mouse.down()
    view.page.mouse.move(x + box["width"] / 4, y + box["width"] / 8, steps=3)
    view.page.mouse.up()
    view.settle()
    image = view.widget.cohort.image("case-000")
    low, high = np.percentile(image, [0.5, 99.5])
    span = float(image.max() - image.min())
    assert view.widget.width == pytest.approx(high - low + span / 4, rel=0.02)
    assert view.widget.center == pytest.approx((low + high) / 2 + span / 8, rel=0.02)
    view.root.get_by_role("button", name="Auto window").click()
    view.settle()
    assert view.widget.width is None


def test_a_click_in_the_gallery_opens_the_case(make) -> None:
    view = make()
    tiles(view).nth(2).click()
    view.settle()
    assert view.widget.selected == "case-002"
    assert view.root.get_by_role("heading", name="case-002").is_visible()
    assert "Grad-CAM of case-002 for mass" in view.root.get_by_role("status").inner_text()


def test_everything_is_done_by_keyboard_too(make) -> None:
    view = make()
    view.root.get_by_label("Show").focus()
    view.page.keyboard.press("Tab")
    view.page.keyboard.press("Tab")
    for key in ("ArrowRight", "ArrowRight", "End", "ArrowLeft"):
        view.page.keyboard.press(key)
        view.settle()
    assert view.widget.selected == "case-004"
    view.root.get_by_role("slider", name="Opacity").focus()
    view.page.keyboard.press("Home")
    view.page.keyboard.press("ArrowRight")
    view.settle()
    assert view.widget.opacity == pytest.approx(0.01)
    view.root.get_by_label("Method").select_option("shap")
    view.settle()
    assert view.widget.method == "shap"
    view.page.keyboard.press("Tab")
    assert view.evaluate("return mount.el.contains(document.activeElement)")


def test_keys_typed_in_the_widget_do_not_reach_jupyterlab(make) -> None:
    view = make()
    view.page.evaluate("document.addEventListener('keydown', event => { (window.heard ??= []).push(event.key); })")
    tiles(view).first.focus()
    view.page.keyboard.press("x")
    view.page.keyboard.press("ArrowRight")
    assert view.page.evaluate("window.heard ?? []") == []


def test_the_filter_shows_one_outcome_and_the_order_puts_the_worst_first(make) -> None:
    view = make()
    view.root.get_by_label("Show").select_option("false negative")
    view.settle()
    assert tiles(view).all_inner_texts()[0].startswith("✗ FN")
    view.root.get_by_label("Show").select_option("all")
    view.root.get_by_label("Order").select_option("wrong")
    view.settle()
    shown = tiles(view).evaluate_all("tiles => tiles.map(tile => tile.dataset.id)")
    table = pd.DataFrame(view.widget.cases)
    assert shown == table.sort_values("truth_score", kind="stable")["id"].tolist()


def test_a_large_cohort_asks_for_one_page_of_pictures(make) -> None:
    view = make(count=150)
    assert view.root.locator(".wb-tile").count() == 60
    assert view.root.locator(".wb-tile img[src]").count() == 60
    view.root.get_by_role("button", name="next page").click()
    view.settle()
    assert "61–120 of 150" in view.root.locator(".wb-pager").inner_text()
    assert view.root.locator(".wb-tile img[src]").count() == 60


def test_markup_and_arabic_in_a_table_stay_text(make) -> None:
    view = make()
    assert HOSTILE in view.root.locator("dd").all_inner_texts()
    assert view.root.locator("dd img").count() == 0
    assert view.page.title() == "bare"
    tiles(view).nth(1).click()
    view.settle()
    assert "missing" in view.root.locator("dd").all_inner_texts()


def test_a_map_without_evidence_is_said_in_words(make, heats) -> None:
    heats["gradcam"] = np.zeros((48, 40), np.float32)
    view = make()
    assert "No evidence" in view.root.locator(".wb-notice").inner_text()
    assert not view.root.locator(".wb-colourbar").is_visible()
    image = view.widget.cohort.image("case-000")
    assert difference(canvas(view), to_rgb(to_display(image))) <= 1


def test_an_error_of_the_kernel_appears_as_a_sentence(make, heats) -> None:
    del heats["shap"]
    view = make()
    view.root.get_by_label("Method").select_option("shap")
    view.settle()
    assert view.root.locator(".wb-notice").inner_text() == "SHAP needs another reference; give background=."


def test_the_outline_is_the_edge_of_the_mask(make) -> None:
    view = make(selected="case-001")
    view.root.get_by_label("Outline").select_option("lesion")
    view.settle()
    box = view.evaluate(
        "const b = mount.el.querySelector('.wb-stack path').getBBox(); return [b.x, b.y, b.width, b.height]"
    )
    # Half way between pixels: the mask's own edges, x 20 to 30 and y 14 to 26.
    assert box == pytest.approx([20, 14, 10, 12])


def test_a_volume_is_scrolled_slice_by_slice(make) -> None:
    view = make(depth=5, opacity=0.5)
    image, heat = view.widget.cohort.image("case-000"), view.widget.heat("case-000")
    assert difference(canvas(view), overlay(to_display(image), heat[2], opacity=0.5)) <= 1
    view.root.get_by_role("slider", name="Slice").press("End")
    seen = canvas(view)
    assert view.widget.slice_index == 4
    low, high = np.percentile(image[:, 2], [0.5, 99.5])
    expected = overlay(np.clip((image[0, 4] - low) / (high - low), 0, 1), heat[4], opacity=0.5)
    assert difference(seen, expected) <= 1


def test_the_colour_bar_carries_the_maps_own_values(make) -> None:
    view = make()
    assert "e−4" in view.root.locator(".wb-colourbar").inner_text()
    view.root.get_by_label("Method").select_option("shap")
    view.settle()
    assert "speaks against" in view.root.locator(".wb-colourbar").inner_text()


def test_two_explorers_live_on_one_page_and_leave_nothing_behind(make) -> None:
    first, second = make(), make()
    tiles(second).nth(3).click()
    second.settle()
    assert (first.get("selected"), second.get("selected")) == ("case-000", "case-003")
    second.cleanup()
    assert second.evaluate("return [mount.el.childElementCount, mount.model.listeners()]") == [0, 0]
    tiles(first).nth(1).click()
    first.settle()
    assert first.widget.selected == "case-001"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_is_readable_in_both_themes(make, theme: str) -> None:
    view = make(theme=theme, selected="case-001", outline="lesion")
    view.screenshot(f"explorer-{theme}")
    contrast = """
      const parse = text => text.match(/[\\d.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
      const root = mount.el.querySelector(".wb"), style = getComputedStyle(root);
      const back = parse(style.backgroundColor), [r, g, b, a = 1] = parse(style.color);
      const [one, two] = [light([r, g, b].map((v, k) => a * v + (1 - a) * back[k])), light(back)].sort((x, y) => y - x);
      return (one + 0.05) / (two + 0.05);
    """
    assert view.evaluate(contrast) >= 7


def test_a_narrow_page_stacks_and_nothing_runs_over_its_edge(make) -> None:
    view = make()
    view.page.set_viewport_size({"width": 420, "height": 900})
    view.screenshot("explorer-narrow")
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert view.root.locator(".wb-viewport").bounding_box()["width"] > 380

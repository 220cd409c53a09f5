"""The bias dashboard in a browser: by mouse and keyboard, in both themes; its numbers are the audit's."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.errors import EvidenceWarning
from workbench.widgets.dashboard import dashboard

if TYPE_CHECKING:
    from workbench.audit.result import Audit

HOSTILE = "<img src=x onerror=\"document.title='broken in'\">"
RIGHT_TO_LEFT = "مركز"


@pytest.fixture(scope="module")
def audit() -> Audit:
    """Two images a patient; one site is worse, one is too small to say, some sites are not known."""
    rng = np.random.default_rng(4)
    patient = np.repeat(np.arange(400), 2)
    site = rng.choice(["North", "South", RIGHT_TO_LEFT, HOSTILE], 400, p=[0.42, 0.33, 0.2, 0.05]).astype(object)
    site[rng.random(400) < 0.02] = None
    sex = rng.choice(["F", "M"], 400)
    cancer = rng.random(400) < 0.35
    signal = np.where(site == "South", 0.7, 2.2)[patient] * cancer[patient]
    score = 1 / (1 + np.exp(-(rng.normal(size=800) + signal - 0.8)))
    table = pd.DataFrame({"site": site[patient], "sex": sex[patient], "patient": patient.astype(str)})
    table["truth"] = np.where(cancer[patient], "cancer", "healthy")
    table["score"] = score
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        return wb.audit(
            table, by=["site", "sex", ("site", "sex")], label="truth", score="score", patient="patient",
            positive="cancer", replicates=100,
        )  # fmt: skip


def shown(board) -> dict[str, list[str]]:
    """What the page's table says: the cells of each group's row."""
    return board.evaluate("""
      const rows = [...mount.el.querySelectorAll("tbody tr")];
      return Object.fromEntries(rows.map(row => [row.dataset.group, [...row.cells].slice(1, -1).map(c => c.lastChild.textContent)]));
    """)


def expected(table: pd.DataFrame, by: str) -> dict[str, list[str]]:
    """The same cells written by hand from the audit's table."""
    rows = table[table["by"].isin(["", by])]
    cells: dict[str, list[str]] = {}
    for row in rows.itertuples():
        counts = [f"{row.n:,}", f"{row.positives:,}", f"{row.patients:,}"]
        number = "–" if pd.isna(row.value) else f"{row.value:.2f} [{row.low:.2f}–{row.high:.2f}]"
        cells.setdefault(row.group, counts).append(number)
    return cells


def slide(board, value: float) -> None:
    board.root.get_by_role("slider", name="Threshold").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_table_shows_the_numbers_of_the_audit(host, audit: Audit, theme: str) -> None:
    board = host(dashboard(audit), theme=theme)
    assert shown(board) == expected(audit.table, "site")
    slide(board, 0.3)
    board.settle()
    assert board.widget.threshold == 0.3
    assert shown(board) == expected(audit.at(0.3), "site")
    board.screenshot(f"dashboard-{theme}")


def test_arrow_keys_move_the_threshold_and_no_key_leaves_the_widget(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    board.page.evaluate("window.escaped = 0; document.addEventListener('keydown', () => { escaped += 1; })")
    board.root.get_by_role("slider", name="Threshold").focus()
    board.page.keyboard.press("ArrowRight")
    board.page.keyboard.press("x")
    board.settle()
    assert board.widget.threshold == 0.51
    assert shown(board) == expected(audit.at(0.51), "site")
    assert board.page.evaluate("escaped") == 0


def test_one_request_is_in_flight_and_the_latest_position_wins(mount, audit: Audit) -> None:
    widget = dashboard(audit)
    state = {name: value for name, value in widget.get_state().items() if not name.startswith("_")}
    board = mount(
        widget._esm, widget._css, {k: v for k, v in state.items() if k not in {"layout", "tabbable", "tooltip"}}
    )
    for value in (0.45, 0.4, 0.35, 0.2):
        slide(board, value)
    assert board.outbox() == [{"state": {"threshold": 0.45}}]
    board.set("view", {**state["view"], "threshold": 0.45})
    assert board.outbox() == [{"state": {"threshold": 0.2}}]
    assert board.root.get_by_role("slider", name="Threshold").input_value() == "0.2"


def test_the_operating_point_moves_at_once_and_lands_where_the_table_says(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    read = "return Object.fromEntries([...mount.el.querySelectorAll('.wbd-point')].map(p => [p.dataset.group, [+p.dataset.fpr, +p.dataset.tpr]]))"
    slide(board, 0.25)
    before = board.evaluate(read)
    board.settle()
    table = audit.at(0.25).set_index(["metric", "group"])["value"]
    after = board.evaluate(read)
    assert len(after) >= 3
    for group, (fpr, tpr) in after.items():
        assert (fpr, tpr) == pytest.approx((1 - table["specificity", group], table["sensitivity", group]))
        # A straight piece of a curve keeps its ends alone, so the first guess slides along it.
        assert before[group] == pytest.approx((fpr, tpr), abs=0.1)


def test_a_group_clicked_anywhere_stands_out_everywhere(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    board.root.locator(".wbd-forest-row[data-group='site=South']").click()
    board.settle()
    assert board.widget.selected == "site=South"
    chosen = board.root.locator(".wbd-selected")
    kinds = chosen.evaluate_all("parts => [...new Set(parts.map(p => p.localName + '.' + p.classList[0]))].sort()")
    assert kinds == ["button.wbd-name", "div.wbd-forest-row", "g.wbd-curve", "g.wbd-point", "tr.wbd-clickable"]
    assert "in site=South" in board.root.locator(".wbd-finding").inner_text()
    board.screenshot("dashboard-selected")
    board.root.locator(".wbd-legend").get_by_role("button", name="South", pressed=True).click()
    board.settle()
    assert board.widget.selected == ""
    board.root.locator("tbody").get_by_role("button", name="North").focus()
    board.page.keyboard.press("Enter")
    board.settle()
    assert board.widget.selected == "site=North"
    board.page.keyboard.press("Escape")
    board.settle()
    assert board.widget.selected == ""


def test_attribute_and_metric_are_picked(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    board.root.get_by_label("Groups by").select_option("site × sex")
    board.root.get_by_label("Metric").select_option("AUROC")
    board.settle()
    assert (board.widget.by, board.widget.metric) == ("site × sex", "AUROC")
    assert shown(board) == expected(audit.table, "site × sex")
    assert board.root.locator(".wbd-forest-row[data-group]").count() == len(expected(audit.table, "site × sex"))
    assert "AUROC" in board.root.locator(".wbd-finding").inner_text()
    board.screenshot("dashboard-intersection")


def test_python_moves_the_widget(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    board.widget.threshold = 0.7
    board.widget.by = "sex"
    board.widget.selected = "sex=F"
    board.settle()
    assert board.root.get_by_role("slider", name="Threshold").input_value() == "0.7"
    assert shown(board) == expected(audit.at(0.7), "sex")
    assert board.root.locator("tr.wbd-selected").get_attribute("data-group") == "sex=F"


def test_markup_in_a_group_name_stays_text(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    assert board.root.locator("img").count() == 0
    assert board.root.locator("tbody").get_by_role("button", name=HOSTILE).count() == 1
    assert board.page.title() == "bare"


def test_a_group_too_small_is_grey_and_says_why(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    row = board.root.locator("tbody tr[data-group='site=missing']")
    assert "wbd-small" in row.get_attribute("class")
    assert re.search("not estimable|refused: only|do not rely on it", row.locator(".wbd-note").inner_text())


def test_a_number_out_of_range_is_refused_in_a_sentence(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    field = board.root.get_by_label("Threshold as a number")
    field.fill("1.5")
    field.press("Enter")
    board.settle()
    assert "from 0 to 1" in board.root.get_by_role("alert").inner_text()
    assert board.widget.threshold == 0.5
    field.fill("0.355")
    field.press("Enter")
    board.settle()
    assert board.widget.threshold == 0.355
    assert shown(board) == expected(audit.at(0.355), "site")


def test_two_dashboards_on_a_page_move_apart_and_leave_nothing_behind(host, audit: Audit) -> None:
    first, second = host(dashboard(audit)), host(dashboard(audit))
    slide(first, 0.2)
    first.settle()
    second.settle()
    assert (first.widget.threshold, second.widget.threshold) == (0.2, 0.5)
    assert first.page.evaluate(
        "new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size === document.querySelectorAll('[id]').length"
    )
    first.cleanup()
    assert first.evaluate("return [mount.model.listeners(), mount.el.childElementCount]") == [0, 0]
    assert second.root.get_by_role("slider", name="Threshold").is_visible()


@pytest.mark.parametrize("width", [420, 700])
def test_a_narrow_page_stacks_and_does_not_overflow(host, audit: Audit, width: int) -> None:
    board = host(dashboard(audit))
    board.page.set_viewport_size({"width": width, "height": 900})
    assert board.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert board.root.get_by_role("table").get_by_role("rowheader").count() == len(expected(audit.table, "site"))
    board.screenshot(f"dashboard-{width}")


def test_a_screen_reader_finds_names_for_everything(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    tree = board.root.aria_snapshot()
    assert 'slider "Threshold"' in tree
    assert re.search(r'img "ROC curves\. At threshold 0\.50: Overall: sensitivity 0\.\d\d', tree)
    assert re.search(r'img "Sensitivity in South: 0\.\d\d, interval 0\.\d\d–0\.\d\d\.', tree)
    assert board.root.locator("[aria-live=polite]").inner_text().startswith("At 0.50 the model misses")

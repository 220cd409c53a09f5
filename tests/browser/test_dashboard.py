"""The bias dashboard in a browser: by mouse and keyboard, in both themes; its numbers are the audit's."""

from __future__ import annotations

import re
import warnings
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.audit.paper import p_text
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


def gaps_of(audit: Audit, table: pd.DataFrame, by: str, metric: str) -> dict[str, list[str]]:
    """The cells of the table of gaps, written by hand from the audit's."""
    cells = {}
    for row in table[(table["by"] == by) & (table["metric"] == metric)].itertuples():
        ends = [f"{end:+z.2f}".replace("-", "−").replace("+0.00", "0.00") for end in (row.value, row.low, row.high)]
        told = "–" if pd.isna(row.value) else f"{ends[0]} [{ends[1]} to {ends[2]}]"
        ps = [p_text(p) or "–" for p in (row.p, row.p_holm, row.p_bh)]
        cells[row.group] = [f"{row.n:,}", f"{row.positives:,}", f"{row.patients:,}", told, *ps]
    return cells


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_gaps_are_shown_with_their_p_values_and_corrected_ones(host, audit: Audit, theme: str) -> None:
    board = host(dashboard(audit), theme=theme)
    board.root.get_by_role("radio", name="Gaps").check()
    board.settle()
    assert board.widget.show == "gaps"
    assert shown(board) == gaps_of(audit, audit.gaps, "site", "sensitivity")
    assert board.root.locator(".wbd-forest-row[data-group]").count() == len(shown(board))
    assert "group − rest" in board.root.locator("figcaption", has_text="thin: all at once").inner_text()
    slide(board, 0.3)
    board.settle()
    assert shown(board) == gaps_of(audit, audit.gaps_at(0.3), "site", "sensitivity")
    board.screenshot(f"dashboard-gaps-{theme}")


def test_the_switch_is_worked_by_keyboard_and_read_out(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    board.root.get_by_role("radio", name="Values").focus()
    board.page.keyboard.press("ArrowRight")
    board.settle()
    assert board.widget.show == "gaps"
    tree = board.root.aria_snapshot()
    assert 'radiogroup "Show"' in tree
    assert re.search(r'img "Sensitivity: group − rest in South: −0\.\d\d, interval −0\.\d\d to [+−]?0\.\d\d', tree)
    assert 'columnheader "p (Holm)"' in tree


def test_whiskers_of_all_numbers_at_once_reach_beyond_those_of_one(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    ends = board.evaluate("""
      const row = mount.el.querySelector(".wbd-forest-row[data-group='site=South']");
      return ["wbd-thin", "wbd-whisker"].map(kind => {
        const line = row.querySelector(`line.${kind}`);
        return [line.getAttribute("x1"), line.getAttribute("x2")].map(parseFloat);
      });
    """)
    row = audit.table.query("metric == 'sensitivity' and group == 'site=South'").iloc[0]
    assert ends[0] == pytest.approx([100 * row["band_low"], 100 * row["band_high"]])
    assert ends[1] == pytest.approx([100 * row["low"], 100 * row["high"]])


def test_every_metric_of_the_audit_and_no_other_can_be_chosen(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    offered = board.root.get_by_label("Metric").locator("option").evaluate_all("all => all.map(one => one.value)")
    assert offered == list(audit.table["metric"].unique())
    for metric in offered:
        board.root.get_by_label("Metric").select_option(metric)
        board.settle()
        ticks = board.root.locator(".wbd-axis text").all_inner_texts()
        assert 4 <= len(ticks) <= 9
    board.screenshot("dashboard-brier")


def test_at_twice_the_size_nothing_is_cut_off(host, audit: Audit) -> None:
    board = host(dashboard(audit))
    board.page.set_viewport_size({"width": 550, "height": 900})  # what 1100 pixels are at 200 %
    for choice in ("Gaps", "Values"):
        board.root.get_by_role("radio", name=choice).check()
        board.settle()
        assert board.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        cut = board.evaluate("""
          return [...mount.el.querySelectorAll("td.wbd-number, span.wbd-number, .wbd-name, .wbd-control")]
            .filter(part => part.scrollWidth > part.clientWidth + 1).map(part => part.textContent);
        """)
        assert cut == []
        boxes = [text.bounding_box() for text in board.root.locator(".wbd-axis text").all()]
        assert all(left["x"] + left["width"] <= right["x"] for left, right in pairwise(boxes))
        board.screenshot(f"dashboard-zoom-{choice.lower()}")


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

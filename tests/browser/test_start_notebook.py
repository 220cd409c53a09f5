"""The start notebook as a reader meets it: run in JupyterLab, its instruments clicked, its pictures kept."""

from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00-start-here.ipynb"


@pytest.mark.slow
@pytest.mark.notebook
def test_start_notebook_runs_in_jupyterlab_and_its_instruments_answer(lab: Any, chromium: Any) -> None:
    with lab.open(chromium, NOTEBOOK, device_scale_factor=1.5) as notebook:
        notebook.run_all(600)
        page = notebook.page

        explorer = page.get_by_role("group", name="Explorer of")
        explorer.scroll_into_view_if_needed()
        explorer.locator(".wb-tile").nth(2).click()
        explorer.locator(".wb-colourbar:visible").first.wait_for()
        page.wait_for_timeout(800)
        explorer.screenshot(path=notebook.artefacts / "start-explorer.png")

        dashboard = page.locator(".wb-dashboard")
        dashboard.scroll_into_view_if_needed()
        threshold = dashboard.locator("input[type=range]").first
        before = dashboard.locator("table").first.inner_text()
        threshold.focus()
        for _ in range(8):
            page.keyboard.press("ArrowLeft")
        page.wait_for_function("([table, was]) => table.innerText !== was", arg=[
            dashboard.locator("table").first.element_handle(), before
        ])  # fmt: skip
        page.wait_for_timeout(500)
        dashboard.screenshot(path=notebook.artefacts / "start-dashboard.png")

        notebook.theme("dark")
        page.wait_for_timeout(500)
        dashboard.screenshot(path=notebook.artefacts / "start-dashboard-dark.png")
        explorer.scroll_into_view_if_needed()
        explorer.screenshot(path=notebook.artefacts / "start-explorer-dark.png")

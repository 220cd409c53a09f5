"""The start notebook as a reader meets it: run in JupyterLab, its instruments clicked, its pictures kept."""

from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "00-start-here.ipynb"


@pytest.mark.slow
@pytest.mark.notebook
def test_start_notebook_runs_in_jupyterlab_and_its_instruments_answer(lab: Any, chromium: Any) -> None:
    with lab.open(chromium, NOTEBOOK, viewport={"width": 1280, "height": 1300}) as notebook:
        notebook.theme("light")
        notebook.run_all(600)
        page = notebook.page

        explorer = page.get_by_role("group", name="Explorer of")
        explorer.scroll_into_view_if_needed()
        explorer.locator(".wb-tile").nth(2).click()
        explorer.locator(".wb-colourbar:visible").first.wait_for()
        page.wait_for_timeout(800)
        explorer.screenshot(path=notebook.artefacts / "start-explorer.png")

        dashboard = page.get_by_role("region", name="Bias dashboard")
        dashboard.scroll_into_view_if_needed()
        slider = dashboard.get_by_role("slider", name="Threshold")
        before = dashboard.locator("tbody").first.inner_text()
        slider.focus()
        for _ in range(8):
            page.keyboard.press("ArrowLeft")
        dashboard.get_by_text("At threshold 0.42, with").wait_for()
        assert dashboard.locator("tbody").first.inner_text() != before
        page.wait_for_timeout(500)
        dashboard.screenshot(path=notebook.artefacts / "start-dashboard.png")

        notebook.theme("dark")
        page.wait_for_timeout(500)
        dashboard.screenshot(path=notebook.artefacts / "start-dashboard-dark.png")
        explorer.scroll_into_view_if_needed()
        explorer.screenshot(path=notebook.artefacts / "start-explorer-dark.png")

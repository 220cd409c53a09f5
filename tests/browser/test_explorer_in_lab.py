"""The explorer and the cohort browser in JupyterLab itself: run, clicked, run again with a fresh kernel."""

from __future__ import annotations

import pytest

CELLS = [
    """
import torch
import workbench as wb
from workbench.phantoms.mammography import phantom_mammography
torch.set_num_threads(1)
torch.manual_seed(3)
cohort = phantom_mammography(24, seed=5, shape=(128, 96))
net = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 5, stride=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 5, stride=2), torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 2))
model = wb.Model.wrap(net, classes=cohort.classes, preprocessing=wb.Preprocessing(shape=(128, 96)))
""",
    "view = wb.explore(model, cohort)\nview",
    "from workbench.widgets.browser import browse\nbrowse(cohort)",
]


@pytest.mark.slow
def test_explorer_and_browser_run_in_jupyterlab(lab, chromium) -> None:
    with lab.open(chromium, CELLS) as notebook:
        notebook.run_all()
        explorer = notebook.page.get_by_role("group", name="Explorer of")
        explorer.locator(".wb-tile").nth(3).click()
        explorer.locator(".wb-colourbar:visible, .wb-notice:visible").first.wait_for()
        explorer.get_by_label("Outline").select_option("breast")
        notebook.page.keyboard.press("Tab")
        notebook.page.keyboard.press("x")  # in JupyterLab's command mode this key would cut the cell
        notebook.page.wait_for_timeout(400)
        explorer.scroll_into_view_if_needed()
        notebook.screenshot("lab-explorer-light")
        notebook.theme("dark")
        notebook.screenshot("lab-explorer-dark")
        browser = notebook.page.get_by_role("group", name="Browser of")
        browser.locator(".wb-facet").nth(1).click()
        browser.get_by_text(" of 24 images").wait_for()
        browser.scroll_into_view_if_needed()
        notebook.page.wait_for_timeout(400)
        notebook.screenshot("lab-browser-dark")
        assert len(notebook.page.locator(".jp-CodeCell").all()) == len(CELLS)
        notebook.restart_and_run_all()
        notebook.page.get_by_role("group", name="Explorer of").locator(".wb-tile img[src]").first.wait_for()

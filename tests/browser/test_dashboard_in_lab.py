"""The dashboard in JupyterLab itself: two of them, moved by mouse and key, in both themes, and run again."""

from __future__ import annotations

import pytest

CELLS = [
    """
import warnings
import numpy as np
import pandas as pd
import workbench as wb
from workbench.errors import EvidenceWarning
warnings.simplefilter("ignore", EvidenceWarning)
rng = np.random.default_rng(4)
patient = np.repeat(np.arange(300), 2)
site = rng.choice(["North", "South", "East", "<b>West</b>"], 300, p=[0.4, 0.32, 0.24, 0.04]).astype(object)
site[:6] = None
cancer = rng.random(300) < 0.4
signal = np.where(site == "South", 0.7, 2.2)[patient] * cancer[patient]
scores = pd.DataFrame({
    "patient": patient, "site": site[patient], "sex": rng.choice(["F", "M"], 300)[patient],
    "truth": np.where(cancer, "cancer", "healthy")[patient],
    "score": 1 / (1 + np.exp(-(rng.normal(size=600) + signal - 0.8)))})
audit = wb.audit(scores, by=["site", ("site", "sex")], label="truth", score="score", patient="patient",
                 positive="cancer", replicates=100)
""",
    "board = audit.dashboard()\nboard",
    "other = audit.dashboard()\nother.threshold = 0.3\nother.by = 'site × sex'\nother",
]


@pytest.mark.slow
def test_two_dashboards_run_in_jupyterlab(lab, chromium) -> None:
    with lab.open(chromium, CELLS) as notebook:
        notebook.run_all()
        first = notebook.page.get_by_role("region", name="Bias dashboard").first
        slider = first.get_by_role("slider", name="Threshold")
        for _ in range(5):
            slider.press("ArrowLeft")
        slider.press("x")  # in JupyterLab's command mode this key would cut the cell
        first.get_by_text("At threshold 0.45, with").wait_for()
        first.locator(".wbd-forest-row", has_text="South").click()
        first.locator("tr.wbd-selected").wait_for()
        first.scroll_into_view_if_needed()
        notebook.screenshot("lab-dashboard-light")
        notebook.theme("dark")
        notebook.screenshot("lab-dashboard-dark")
        second = notebook.page.get_by_role("region", name="Bias dashboard").nth(1)
        assert second.get_by_role("slider", name="Threshold").input_value() == "0.3"
        assert second.locator("tbody tr").count() > 6
        assert notebook.page.locator(".jp-OutputArea-output b").count() == 0
        assert len(notebook.page.locator(".jp-CodeCell").all()) == len(CELLS)
        notebook.restart_and_run_all()
        notebook.page.get_by_text("At threshold 0.50, with").wait_for()

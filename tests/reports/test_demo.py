"""The demo on a small scale: whole, linked, repeatable."""

import re
from pathlib import Path

import pandas as pd
import pytest

from workbench.errors import FileError
from workbench.figures import read_provenance
from workbench.reports.demo import demo
from workbench.storage import reading


@pytest.mark.slow
def test_demo_leaves_a_page_whose_links_all_lead_somewhere_and_the_same_numbers_twice(tmp_path: Path) -> None:
    page = demo(tmp_path / "demo", images=120, epochs=1, seed=3)
    html = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r'href="([^"#]+)"', html) if "://" not in link]
    assert links
    assert all((page.parent / link).is_file() for link in links)
    assert reading(page.parent, "Demo") == page.parent
    assert read_provenance(page.parent / "figures" / "3-honest-gaps.pdf").parents["audit"].verb == "audit"
    first = pd.read_csv(page.parent / "audit-shortcut.csv")
    again = demo(tmp_path / "demo", images=120, epochs=1, seed=3)
    pd.testing.assert_frame_equal(first, pd.read_csv(again.parent / "audit-shortcut.csv"), rtol=0, atol=0)
    assert again.read_text(encoding="utf-8") == html


def test_demo_refuses_a_folder_with_something_else_in_it_before_it_trains(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FileError, match=r"already holds something .* choose another folder"):
        demo(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"

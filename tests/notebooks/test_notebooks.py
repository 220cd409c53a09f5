"""The notebooks: clean in the repository, short in their cells, and each runs from top to bottom."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def test_there_is_a_start_notebook() -> None:
    assert "00-start-here.ipynb" in [path.name for path in NOTEBOOKS]


def test_no_outputs_counts_or_widget_state_are_committed(notebook: nbformat.NotebookNode) -> None:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert "widgets" not in notebook.metadata


def test_no_cell_is_longer_than_fifteen_lines(notebook: nbformat.NotebookNode) -> None:
    assert max(len(cell.source.splitlines()) for cell in notebook.cells if cell.cell_type == "code") <= 15


@pytest.mark.slow
@pytest.mark.notebook
def test_it_runs_from_top_to_bottom_and_warns_of_nothing_but_evidence(
    notebook: nbformat.NotebookNode, tmp_path: Path
) -> None:
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    said = [o.text for c in notebook.cells if c.cell_type == "code" for o in c.outputs if o.get("name") == "stderr"]
    assert all("EvidenceWarning" in text for text in said), said
    assert (tmp_path / "figure-1.pdf").is_file()

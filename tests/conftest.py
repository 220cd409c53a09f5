"""What every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two threads of two libraries on two cores slow each other down; results do not depend on it.
os.environ.setdefault("OMP_NUM_THREADS", "2")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets that may lie beside the checkout; the test is skipped where it does not."""
    folder = Path(os.environ.get("WORKBENCH_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set WORKBENCH_TEST_DATA to its folder to run this test")
    return folder

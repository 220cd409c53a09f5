"""Other implementations, imported so that nothing of them stays behind."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

MISSING = "is not installed; `make test` does it: pip install --no-deps -r tests/reference/peers.txt"
NAMES = {
    "torchvision": (), "torchvision.transforms": ("Compose", "Normalize", "ToTensor"), "torchvision.transforms.functional": ("resize",)
}  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def pytorch_grad_cam() -> Iterator[ModuleType]:
    """Import pytorch-grad-cam with names in torchvision's place, which it imports and these tests never call."""
    pytest.importorskip("cv2", reason=f"opencv-python-headless {MISSING}")
    absent = {name: attributes for name, attributes in NAMES.items() if name not in sys.modules}
    for name, attributes in absent.items():
        sys.modules[name] = ModuleType(name)
        for attribute in attributes:
            setattr(sys.modules[name], attribute, None)
    sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]
    try:
        yield pytest.importorskip("pytorch_grad_cam", reason=f"grad-cam {MISSING}")
    finally:
        for name in absent:
            sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def quantus() -> ModuleType:
    """Import Quantus, whose import warns of things that are not ours."""
    pytest.importorskip("cv2", reason=f"opencv-python-headless {MISSING}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("quantus", reason=f"quantus {MISSING}")

"""A training that was stopped or killed goes on from its checkpoint to the very weights it would have reached."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import workbench as wb
from workbench.errors import FileError, InputError
from workbench.imaging.preprocess import Preprocessing
from workbench.models import train as module
from workbench.models.augment import Augmentation
from workbench.models.checkpoint import FILE
from workbench.models.model import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.cohorts.cohort import Cohort

SMALL = {"preprocessing": Preprocessing((32, 32)), "network": "resnet10", "epochs": 2, "batch_size": 8, "seed": 2}
CASES = [
    "after 0 saves",
    "after 1 saves",
    "after 4 saves",
    "after 10 saves",
    "twice",
    "in write 1",
    "in write 6",
]


@pytest.fixture(scope="module")
def parts(make_cohort: Callable[..., Cohort]) -> tuple[Cohort, Cohort]:
    return make_cohort(24), make_cohort(8, first=100)


@pytest.fixture(scope="module")
def whole(parts: tuple[Cohort, Cohort]) -> str:
    return weights_digest(wb.train(*parts, **SMALL).network)


def stop_at_step(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let Ctrl-C come when step `number` has changed the weights and has not been counted yet."""
    step, calls = module._step, []

    def interrupted(*given: Any) -> float:
        loss = step(*given)
        calls.append(loss)
        if len(calls) == number:
            raise KeyboardInterrupt
        return loss

    monkeypatch.setattr(module, "_step", interrupted)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    script = Path(__file__).with_name("killed_trainings.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path_factory.mktemp("killed"))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_killed_training_ends_with_the_weights_of_an_undisturbed_one(killed: dict[str, Any], case: str) -> None:
    assert killed["cases"][case]["status"] == signal.SIGKILL, "the training was over before the kill"
    assert killed["cases"][case]["digest"] == killed["whole"]


@pytest.mark.slow
def test_the_kills_struck_before_within_and_between_epochs(killed: dict[str, Any]) -> None:
    stood = [case["standing"] for case in killed["cases"].values()]
    assert None in stood
    assert any(place and place[1] > 0 for place in stood)
    assert any(place and place[0] > 0 for place in stood)
    assert killed["cases"]["in write 6"]["standing"] is not None


@pytest.mark.parametrize(("number", "seconds"), [(2, 0), (2, 100), (5, 100)])
def test_stop_by_hand_keeps_the_checkpoint_and_the_weights_to_come(
    parts: tuple[Cohort, Cohort], whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, seconds: int
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(module, "CHECKPOINT_SECONDS", seconds)
        stop_at_step(patched, number)
        with pytest.raises(KeyboardInterrupt) as stop:
            wb.train(*parts, **SMALL, checkpoint=tmp_path / "run")
    assert "goes on from its last checkpoint" in stop.value.__notes__[0]
    assert weights_digest(wb.train(*parts, **SMALL, checkpoint=tmp_path / "run").network) == whole


def test_stop_by_hand_within_an_epoch_does_not_begin_again(
    parts: tuple[Cohort, Cohort], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHECKPOINT_SECONDS", -1)
    stop_at_step(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        wb.train(*parts, **SMALL, checkpoint=tmp_path)
    steps = []
    step = module._step
    monkeypatch.setattr(module, "_step", lambda *given: (steps.append(1), step(*given))[1])
    wb.train(*parts, **SMALL, checkpoint=tmp_path)
    assert len(steps) == 4  # of 6: two were saved, the third was stopped


def test_finished_training_is_given_again_without_a_step(
    parts: tuple[Cohort, Cohort], whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = wb.train(*parts, **SMALL, checkpoint=tmp_path)
    monkeypatch.setattr(module, "_epoch", None)
    again = wb.train(*parts, **SMALL, checkpoint=tmp_path)
    assert weights_digest(first.network) == weights_digest(again.network) == whole
    assert again.record == first.record
    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE]


@pytest.mark.parametrize("place", [4, 200, 5000, -1])
def test_one_changed_byte_of_the_checkpoint_is_noticed(
    parts: tuple[Cohort, Cohort], tmp_path: Path, place: int
) -> None:
    wb.train(*parts, **SMALL, checkpoint=tmp_path)
    content = bytearray((tmp_path / FILE).read_bytes())
    content[place] ^= 0x41
    (tmp_path / FILE).write_bytes(bytes(content))
    with pytest.raises(FileError, match=r"training\.safetensors .*delete it to train from the start"):
        wb.train(*parts, **SMALL, checkpoint=tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"x" * 5000])
def test_file_that_is_no_checkpoint_is_refused(parts: tuple[Cohort, Cohort], tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(FileError, match="is not a whole checkpoint"):
        wb.train(*parts, **SMALL, checkpoint=tmp_path)


@pytest.mark.parametrize(
    "changed", [{"seed": 3}, {"epochs": 3}, {"learning_rate": 1e-3}, {"augment": Augmentation(shift=0.1)}], ids=str
)
def test_checkpoint_of_other_settings_is_refused(
    parts: tuple[Cohort, Cohort], tmp_path: Path, changed: dict[str, Any]
) -> None:
    wb.train(*parts, **SMALL | {"epochs": 1}, checkpoint=tmp_path)
    with pytest.raises(InputError, match="other settings, images, seed or number of threads"):
        wb.train(*parts, **SMALL | {"epochs": 1} | changed, checkpoint=tmp_path)


def test_checkpoint_of_other_images_is_refused(make_cohort: Callable[..., Cohort], tmp_path: Path) -> None:
    train, tune = make_cohort(16), make_cohort(8, first=100)
    wb.train(train, tune, **SMALL, checkpoint=tmp_path)
    images = train.images()[:, 0].copy()
    images[3, 4, 5] += 1
    with pytest.raises(InputError, match="other settings, images"):
        wb.train(make_cohort(16, images=images), tune, **SMALL, checkpoint=tmp_path)


def test_checkpoint_must_be_a_folder(parts: tuple[Cohort, Cohort], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="is a file; give a folder"):
        wb.train(*parts, **SMALL, checkpoint=tmp_path / "file")

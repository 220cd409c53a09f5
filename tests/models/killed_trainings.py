"""Train, kill with SIGKILL, train on: prints as JSON what each killed training came to. Run by test_resume.py.

Every training runs in a child forked after the imports, so that the slow imports are paid once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.torch
import torch
from safetensors import safe_open

import workbench as wb
from workbench.models import networks, train  # noqa: F401  # MONAI comes with the first network
from workbench.models.model import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable


def cohort(count: int, first: int) -> wb.Cohort:
    images = np.random.default_rng(first).normal(size=(count, 32, 32)).astype(np.float32)
    names = [f"i{first + row}" for row in range(count)]
    return wb.Cohort.from_arrays(images, [("no", "yes")[row % 2] for row in range(count)], ids=names)


def digest_after_training(checkpoint: Path | None) -> str:
    """Train three epochs of three steps."""
    model = wb.train(
        cohort(24, 0), cohort(8, 100), network="resnet10", epochs=3, batch_size=8, seed=5, checkpoint=checkpoint,
        preprocessing=wb.Preprocessing((32, 32)),
    )  # fmt: skip
    return weights_digest(model.network)


def in_child(task: Callable[[int], Any], *, kill_after: int | None = None) -> tuple[int, bytes]:
    """Run `task` in a child, which gets a pipe to write to; kill it once it has written `kill_after` bytes."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        try:
            task(theirs)
        finally:
            os._exit(0)
    os.close(theirs)
    said = b""
    with os.fdopen(ours, "rb", buffering=0) as pipe:
        while part := pipe.read(1 if kill_after is not None else 4096):
            said += part
            if kill_after is not None and len(said) == kill_after:
                os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1], said


def train_and_tell(checkpoint: Path | None) -> str:
    return in_child(lambda pipe: os.write(pipe, digest_after_training(checkpoint).encode()))[1].decode()


def killed_after_saves(checkpoint: Path, count: int) -> int:
    """Kill a training as soon as it has written `count` checkpoints, one a step and one an epoch."""

    def task(pipe: int) -> None:
        write = train.save_state
        train.CHECKPOINT_SECONDS = 0
        train.save_state = lambda *state: (write(*state), os.write(pipe, b"."))
        os.write(pipe, b".")  # a kill after no checkpoint comes before the first step
        digest_after_training(checkpoint)

    return in_child(task, kill_after=count + 1)[0]


def killed_in_the_middle_of_a_write(checkpoint: Path, number: int) -> int:
    """Kill a training when half of its checkpoint number `number` is on the disk."""

    def task(pipe: int) -> None:
        write, calls = safetensors.torch.save_file, []

        def half(tensors: dict[str, torch.Tensor], file: str, metadata: dict[str, str]) -> None:
            calls.append(file)
            write(tensors, file, metadata=metadata)
            if len(calls) == number:
                os.truncate(file, Path(file).stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)

        train.CHECKPOINT_SECONDS = 0
        safetensors.torch.save_file = half
        digest_after_training(checkpoint)

    return in_child(task)[0]


def standing(checkpoint: Path) -> list[int] | None:
    file = checkpoint / "training.safetensors"
    if not file.is_file():
        return None
    with safe_open(file, framework="pt") as stream:
        state = json.loads(stream.metadata()["state"])
    return [state["epoch"], state["step"]]


def main(folder: Path) -> None:
    cases = {}
    for count in (0, 1, 4, 10):
        place = folder / f"after {count} saves"
        status = killed_after_saves(place, count)
        cases[place.name] = {"status": status, "standing": standing(place), "digest": train_and_tell(place)}
    place = folder / "twice"
    killed_after_saves(place, 2)
    status = killed_after_saves(place, 3)
    cases["twice"] = {"status": status, "standing": standing(place), "digest": train_and_tell(place)}
    for number in (1, 6):
        place = folder / f"in write {number}"
        status = killed_in_the_middle_of_a_write(place, number)
        cases[place.name] = {"status": status, "standing": standing(place), "digest": train_and_tell(place)}
    sys.stdout.write(json.dumps({"whole": train_and_tell(None), "cases": cases}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    import monai.networks.nets.resnet  # noqa: F401
    from lightning_fabric import Fabric  # noqa: F401

    main(Path(sys.argv[1]))

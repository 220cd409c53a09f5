"""A training's whole state in one file, written in one step: weights, optimiser, and where it stands.

Nothing random is kept: every draw follows from (seed, epoch, step), see :mod:`workbench.models.train`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from workbench.errors import FileError, InputError
from workbench.provenance import digest

if TYPE_CHECKING:
    from pathlib import Path

FILE = "training.safetensors"


@dataclass
class State:
    """Where a training stands: the next epoch and step, what was measured, and the best weights so far."""

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    done: bool = False
    best_epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)


def save_state(
    folder: Path, state: State, network: nn.Module, optimiser: torch.optim.Optimizer, fingerprint: str
) -> None:
    """Write the state beside the old one, then put it in its place: a kill at any moment leaves one of the two whole."""
    from safetensors.torch import save_file

    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for number, entry in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in entry.items()}
    contents = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    record = {key: value for key, value in asdict(replace(state, best={})).items() if key != "best"}
    record["fingerprint"] = fingerprint
    record["content"] = _content(record, contents)
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / f"{FILE}.new"
    save_file(contents, str(scratch), metadata={"state": json.dumps(record)})
    with scratch.open("rb+") as stream:
        os.fsync(stream.fileno())
    scratch.replace(folder / FILE)


def load_state(folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer, fingerprint: str) -> State | None:
    """Bring network and optimiser to the saved state and return it; None where nothing was saved yet.

    Raises
    ------
    InputError : where the state belongs to other settings or other images.
    FileError : where the file is damaged, or `folder` is a file.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    if folder.is_file():
        message = f"checkpoint={str(folder)!r} is a file; give a folder, which may be new."
        raise FileError(message)
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="pt") as stream:
            record = json.loads(stream.metadata()["state"])
            # Copies: a tensor that maps the file would hold on to it when the next checkpoint takes its place.
            tensors = {name: stream.get_tensor(name).clone() for name in stream.keys()}  # noqa: SIM118  # not a mapping
        whole = record.pop("content") == _content(record, tensors)
        owner = record.pop("fingerprint")
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        message = f"{path} is not a whole checkpoint ({error}); delete it to train from the start."
        raise FileError(message) from error
    if not whole:
        message = f"{path} has changed since it was written (its SHA-256 differs); delete it to train from the start."
        raise FileError(message)
    if owner != fingerprint:
        message = (
            f"{path} belongs to a training with other settings, images, seed or number of threads. Give the settings it was "
            "begun with to go on, or another checkpoint folder to start afresh."
        )
        raise InputError(message)
    network.load_state_dict(_part(tensors, "network."))
    entries: dict[int, dict[str, Any]] = {}
    for name, value in _part(tensors, "optimiser.").items():
        number, _, key = name.partition(".")
        entries.setdefault(int(number), {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": entries})
    return State(**record, best=_part(tensors, "best."))


def _content(record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> str:
    names = sorted(tensors)
    return digest(record, names, *[tensors[name].reshape(-1).view(torch.uint8).numpy() for name in names])


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

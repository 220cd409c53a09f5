"""Train a classifier: an explicit loop whose every random draw follows from (seed, epoch, step).

So the same seed gives the same weights, and a training killed at any moment goes on from its checkpoint to the very
weights it would have reached: there is no random state that could be lost.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from workbench.errors import InputError
from workbench.models.augment import Augmentation
from workbench.models.checkpoint import State, load_state, save_state
from workbench.models.model import Model, evaluating, weights_digest
from workbench.models.networks import build_network, check_input
from workbench.models.parts import check_parts, default_preprocessing, prepare
from workbench.progress import Live, live
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workbench.cohorts.cohort import Cohort
    from workbench.imaging.preprocess import Preprocessing

CHECKPOINT_SECONDS = 10.0  # between two checkpoints within an epoch; one more is written at each epoch's end
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True)
class Loop:
    """What one training loop works with."""

    fabric: Any
    network: nn.Module
    optimiser: torch.optim.Optimizer
    images: torch.Tensor
    labels: torch.Tensor
    tune_images: torch.Tensor
    tune_labels: np.ndarray
    class_weights: torch.Tensor
    ids: list[str]
    settings: dict[str, Any]
    augment: Augmentation | None
    checkpoint: Path | None
    fingerprint: str

    @property
    def batches(self) -> int:
        """Batches an epoch; a last batch of one image is left out, for batch normalisation cannot take it."""
        size = self.settings["batch_size"]
        return int(len(self.images) // size + (len(self.images) % size > 1))


def train(
    train: Cohort,
    tune: Cohort,
    *,
    network: str = "compact",
    epochs: int = 15,
    batch_size: int = 32,
    learning_rate: float = 3e-3,
    patience: int = 6,
    preprocessing: Preprocessing | None = None,
    augment: Augmentation | bool = True,
    class_weights: bool = True,
    checkpoint: str | Path | None = None,
    seed: int = 0,
) -> Model:
    """Train a network on one cohort, keep the epoch that does best on another.

    AdamW (Loshchilov & Hutter 2019) under a one-cycle learning rate (Smith & Topin 2018), cross-entropy loss. The
    best epoch is the one with the highest AUROC on `tune`, the lower loss deciding between equals.

    Parameters
    ----------
    train, tune : cohorts of the same classes without a patient in common.
    network : see :func:`~workbench.models.networks.build_network`; the default is sized for two cores.
    epochs : at most; training stops after `patience` epochs without a better one.
    batch_size : images a step.
    learning_rate : the cycle's peak.
    preprocessing : how images become inputs; by default sized to the images, long side 64 to 128 pixels.
    augment : small random flips, shifts, turns and changes of contrast, or your own `Augmentation`, or False.
    class_weights : weigh the loss by the inverse of each class's frequency.
    checkpoint : folder for the training's state. The same call goes on from it after a stop or a kill, to the same
        weights; it is refused where settings or images have changed.
    seed : of the weights, the order of the images and the augmentation. On a CPU the same seed gives the same weights to the
        last digit with the same number of threads (``torch.get_num_threads()``); another number adds in another order,
        and so do some operations of a GPU: the last digits then differ.

    Returns
    -------
    Model : with the best epoch's weights, in evaluation mode; ``record["history"]`` has one entry an epoch.

    Raises
    ------
    InputError : where the cohorts do not go together, have one class only or share a patient, an image cannot be
        prepared, or the loss is not a number (the images of the batch are named).
    """
    check_parts(train, tune)
    if min(epochs, patience) < 1 or min(batch_size, len(train)) < 2 or seed < 0:
        message = (
            f"epochs ({epochs}) and patience ({patience}) must be at least 1, batch_size ({batch_size}) and images "
            f"({len(train)}) at least 2, seed ({seed}) at least 0."
        )
        raise InputError(message)
    recipe = preprocessing or default_preprocessing(train)
    settings = {
        "network": network, "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate,
        "patience": patience, "preprocessing": recipe.to_dict(), "augment": augment, "class_weights": class_weights,
    }  # fmt: skip
    with _own_randomness(seed, 0, 0):
        fresh = build_network(
            network, channels=recipe.channels, classes=len(train.classes), dimensions=len(recipe.shape)
        )
    shape = (recipe.channels, *recipe.shape)
    check_input(fresh, network, shape)
    architecture = {
        "name": network, "channels": recipe.channels, "classes": len(train.classes), "dimensions": len(recipe.shape)
    }  # fmt: skip
    parents = {"train": train.provenance, "tune": tune.provenance}
    begun = Provenance("train", settings, content="", parents=parents, seed=seed)
    model = Model(fresh, train.classes, recipe, shape, architecture, {"network": network}, begun)
    state = _run(model, train, tune, settings=settings | {"seed": seed}, checkpoint=checkpoint)
    fresh.load_state_dict(state.best)
    record = {"network": network, "seed": seed, "history": state.history, "best_epoch": state.best_epoch, **{
        key: value for key, value in begun.settings.items() if key not in {"network", "preprocessing"}
    }}  # fmt: skip
    return replace(model, network=fresh.eval(), record=record, provenance=replace(begun, content=weights_digest(fresh)))


def _run(
    model: Model, train: Cohort, tune: Cohort, *, settings: dict[str, Any], checkpoint: str | Path | None
) -> State:
    """Train `model`'s network in place and return where it ended."""
    fabric = _fabric()
    optimiser = torch.optim.AdamW(model.network.parameters(), lr=0.0, weight_decay=WEIGHT_DECAY)
    network, wrapped = fabric.setup(model.network, optimiser)
    counts = np.bincount(train.labels, minlength=len(train.classes))
    weights = len(train) / (len(counts) * counts) if settings["class_weights"] else np.ones(len(counts))
    augment = settings["augment"]
    loop = Loop(
        fabric=fabric,
        network=network,
        optimiser=wrapped,
        images=prepare(model, train, "Reading training images"),
        labels=torch.from_numpy(train.labels),
        tune_images=prepare(model, tune, "Reading tuning images"),
        tune_labels=tune.labels,
        class_weights=torch.tensor(weights, dtype=torch.float32),
        ids=train.ids,
        settings=settings,
        augment=Augmentation() if augment is True else augment or None,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        # Sums are taken in another order with another number of threads: the weights would differ in the last digit.
        fingerprint=digest(settings, torch.get_num_threads(), train.provenance.content, tune.provenance.content),
    )
    state = State()
    if loop.checkpoint:
        state = load_state(loop.checkpoint, model.network, optimiser, loop.fingerprint) or state
    with live(f"Training {settings['network']}", settings["epochs"] * loop.batches, unit="step") as shown:
        shown.restore(state.epoch * loop.batches + state.step, state.history)
        try:
            while not state.done:
                _epoch(loop, state, shown)
        except KeyboardInterrupt as stop:
            # Nothing is saved here: the stop may have come in the middle of a step, with half of the weights changed.
            if loop.checkpoint:
                stop.add_note(
                    f"Training stopped; the same call with checkpoint={str(loop.checkpoint)!r} goes on from its last checkpoint."
                )
            raise
    return state


def _epoch(loop: Loop, state: State, shown: Live) -> None:
    """Do the rest of one epoch, measure on the tuning part, and note whether it was the best."""
    size, seed = loop.settings["batch_size"], loop.settings["seed"]
    order = torch.randperm(len(loop.images), generator=_generator(seed, state.epoch, -1))
    loop.network.train()
    saved = time.monotonic()
    while state.step < loop.batches:
        chosen = order[state.step * size : (state.step + 1) * size]
        state.loss_sum += _step(loop, state, chosen)
        state.step += 1
        shown.advance(loss=state.loss_sum / state.step)
        if loop.checkpoint and time.monotonic() - saved > CHECKPOINT_SECONDS:
            _save(loop, state)
            saved = time.monotonic()
    measured = _measure(loop)
    if not math.isfinite(measured["tune_loss"]):
        message = (
            f"after epoch {state.epoch + 1} the network's scores of the tuning part are not numbers: the training has "
            f"diverged. Lower learning_rate (now {loop.settings['learning_rate']})."
        )
        raise InputError(message)
    state.history.append({"loss": state.loss_sum / max(loop.batches, 1), **measured})
    ranks = [(entry["tune_auroc"], -entry["tune_loss"]) for entry in state.history]
    if ranks[-1] == max(ranks):
        state.best_epoch = len(ranks)
        state.best = {name: value.detach().cpu().clone() for name, value in _bare(loop).state_dict().items()}
    state.epoch, state.step, state.loss_sum = state.epoch + 1, 0, 0.0
    state.done = state.epoch >= loop.settings["epochs"] or state.epoch - state.best_epoch >= loop.settings["patience"]
    shown.point(state.history)
    if loop.checkpoint:
        _save(loop, state)


def _step(loop: Loop, state: State, chosen: torch.Tensor) -> float:
    """Take one step on the chosen images and return its loss."""
    seed, device = loop.settings["seed"], loop.fabric.device
    total = loop.settings["epochs"] * loop.batches
    for group in loop.optimiser.param_groups:
        group["lr"] = loop.settings["learning_rate"] * _one_cycle((state.epoch * loop.batches + state.step) / total)
    images = loop.images[chosen].to(device)
    if loop.augment:
        images = loop.augment(images, _generator(seed, state.epoch, state.step))
    with _own_randomness(seed, state.epoch, state.step):
        loss = cross_entropy(loop.network(images), loop.labels[chosen].to(device), weight=loop.class_weights.to(device))
    value = float(loss.detach())
    if not np.isfinite(value):
        ids = ", ".join(loop.ids[k] for k in chosen.tolist()[:6])
        message = (
            f"the loss is {value} in epoch {state.epoch + 1}, step {state.step + 1} (images {ids}, …): look at these images, "
            f"or lower learning_rate (now {loop.settings['learning_rate']})."
        )
        raise InputError(message)
    loop.optimiser.zero_grad()
    loop.fabric.backward(loss)
    loop.optimiser.step()
    return value


def _measure(loop: Loop) -> dict[str, float]:
    with evaluating(loop.network) as network, torch.inference_mode():
        logits = torch.cat([network(part.to(loop.fabric.device)).cpu() for part in torch.split(loop.tune_images, 64)])
    labels = torch.from_numpy(loop.tune_labels)
    loss = float(cross_entropy(logits, labels, weight=loop.class_weights))
    return {"tune_loss": loss, "tune_auroc": auroc(loop.tune_labels, logits.double().softmax(1).numpy())}


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half (Mann & Whitney 1947); more than two classes: mean one-vs-rest.

    Parameters
    ----------
    labels : class indices ``(n,)``.
    scores : probabilities ``(n, K)``.
    """
    from scipy.stats import rankdata

    areas = []
    for index in range(1, 2) if scores.shape[1] == 2 else range(scores.shape[1]):
        positive = labels == index
        positives, negatives = int(positive.sum()), int((~positive).sum())
        ranks = float(rankdata(scores[:, index])[positive].sum())
        areas.append((ranks - positives * (positives + 1) / 2) / (positives * negatives))
    return float(np.mean(areas))


def _one_cycle(share: float) -> float:
    """Learning rate at this share of the training, relative to its peak: up for 30 %, then down along a cosine."""
    rise = 0.3
    if share < rise:
        return 0.04 + 0.96 * (1 - math.cos(math.pi * share / rise)) / 2
    return 1e-3 + (1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2


def _generator(*key: int) -> torch.Generator:
    return torch.Generator().manual_seed(_number(*key))


def _number(*key: int) -> int:
    return int(np.random.SeedSequence([part + 1 for part in key]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def _own_randomness(*key: int) -> Iterator[None]:
    """Seed torch for this block alone (initial weights, dropout); the user's random state is as before afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(_number(*key))
        yield


def _save(loop: Loop, state: State) -> None:
    if loop.checkpoint:
        save_state(loop.checkpoint, state, _bare(loop), loop.optimiser, loop.fingerprint)


def _bare(loop: Loop) -> nn.Module:
    """Return the network without what Fabric wraps around it."""
    return getattr(loop.network, "module", loop.network)


def _fabric() -> Any:
    """Return Lightning Fabric on the best device there is, without its talk."""
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(accelerator="auto", devices=1)

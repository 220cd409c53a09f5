"""What is judged: a model's maps of a cohort, with the means to ask the same question again of changed images or models."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InputError
from workbench.explain.attributions import Source
from workbench.explain.carry import on_input
from workbench.explain.chosen import Question
from workbench.explain.masks import mask_of
from workbench.explain.methods import check_settings, find_method
from workbench.explain.reading import read_targets
from workbench.explain.task import Task
from workbench.explain.untouched import untouched
from workbench.progress import live

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    import torch

    from workbench.cohorts.cohort import Cohort
    from workbench.explain.attributions import Attributions
    from workbench.explain.chosen import Chosen
    from workbench.explain.task import Batch, Explain
    from workbench.models.model import Model

# What a record tells of a value that no folder keeps: an image to fill with, an atlas, the mean of a background cohort.
STAND_IN = re.compile(r"(array|image|atlas) \(|atlas of \d|\d+ arrays, |mean image of the background$")
FOLLOWS = ("the cohort itself", "mean image of the background")
# How far a score may lie from the one that was explained, relative to its size: libraries round differently.
SAME_SCORE = 1e-3


@dataclass(frozen=True, eq=False)
class Study:
    """Attributions beside the model and the cohort they were made of; made by :func:`study_of`.

    `settings` are the method's own, with live values (a background cohort); `lost` names those that a folder did not keep
    and nobody gave again, without which the method cannot be asked again.
    """

    model: Model
    cohort: Cohort
    attributions: Attributions
    task: Task
    settings: dict[str, Any]
    lost: tuple[str, ...] = ()
    _ready: dict[int, tuple[torch.nn.Module, Explain]] = field(default_factory=dict)
    _fixed: list[tuple[list[str], Chosen]] = field(default_factory=list)

    def batches(self, label: str, *, ids: Sequence[str] | None = None) -> Generator[tuple[Batch, Chosen, np.ndarray]]:
        """Yield images as the network sees them, what was explained of each, and their maps ``(n, *spatial)``.

        The network is watched over as in :func:`workbench.explain`; between two batches it is as it was.

        Parameters
        ----------
        label : of the progress bar.
        ids : some of the images, in this order; by default all. The study itself, and with it what a method makes of
            its cohort, stays whole.

        Raises
        ------
        InputError : where the model gives other scores than were explained: it is another model, or has changed.
        """
        wanted = self.cohort if ids is None else self.cohort.subset(ids)
        places = self.cohort.table.index.get_indexer(wanted.table.index)
        done = 0
        with untouched(self.task.network), live(label, len(wanted), keep=False) as shown:
            for batch in replace(self.task, cohort=wanted).batches():
                output = self.task.evaluate(batch.inputs)
                chosen = self.task.choose(output, batch.ids)
                rows = places[done : done + len(batch.ids)]
                self._check_same(batch.ids, chosen.scores(output)[0].cpu().numpy(), rows)
                yield batch, chosen, np.asarray(self.attributions.maps[rows])
                done += len(batch.ids)
                shown.advance(len(batch.ids))

    def again(self, batch: Batch, chosen: Chosen, network: torch.nn.Module | None = None) -> np.ndarray:
        """Explain these inputs by the same method and settings, the class and region kept: maps ``(n, *spatial)``.

        Parameters
        ----------
        batch : ids and inputs, perhaps perturbed; random numbers follow from the ids, so they are the same again.
        chosen : from :meth:`batches`.
        network : another network of the same outputs; by default the study's own.

        Raises
        ------
        InputError : where a setting is lost.
        """
        if self.lost:
            first = self.lost[0]
            message = (
                f"these maps were made with {first}={self.attributions.settings[first]!r}, which a folder does not keep, and "
                f"have to be made again of changed images or models. Give it, wb.explain.trust(…, settings={{{first!r}: …}}), or ask "
                "only for parts that do without: faithfulness, road, localisation, shares."
            )
            raise InputError(message)
        network = network or self.task.network
        self._fixed[:] = [(batch.ids, chosen)]
        if id(network) not in self._ready:
            task = replace(self.task, model=replace(self.model, network=network), chooser=self._as_fixed)
            with _watched(network, self.task.network):
                answer = find_method(self.attributions.method)[1](task, **self.settings)
            # The network is kept with its method, so that its id stays its own.
            self._ready[id(network)] = (network, answer)
        with _watched(network, self.task.network):
            maps: np.ndarray = self._ready[id(network)][1](batch).maps[0]
        return maps

    def check(self) -> None:
        """Refuse another model than the one explained, by its scores of the first images."""
        with closing(self.batches("Checking", ids=self.attributions.ids[: self.task.batch_size])) as batches:
            next(batches)

    def forget(self) -> None:
        """Let go of the networks that :meth:`again` made ready."""
        self._ready.clear()

    def mask(self, image_id: str, name: str) -> np.ndarray | None:
        """Return a mask on the input's grid, bool ``(*spatial)``; None where the image has none."""
        mask = mask_of(self.cohort, image_id, name)
        return None if mask is None else on_input(mask, self.model, self.attributions.maps.shape[1:], image_id)

    def _as_fixed(self, output: torch.Tensor, ids: Sequence[str]) -> Chosen:
        known, chosen = self._fixed[0]
        if list(ids) == list(known):
            return chosen
        # A method may look at some images of the batch alone.
        return chosen.take([known.index(image_id) for image_id in ids])

    def _check_same(self, ids: list[str], scores: np.ndarray, rows: np.ndarray) -> None:
        told = self.attributions.scores[rows]
        far = np.abs(scores - told) > SAME_SCORE * np.maximum(1, np.abs(told))
        if far.any():
            row = int(np.argmax(far))
            message = (
                f"image {ids[row]!r}: the model gives the score {scores[row]:.4g} where these maps explain {told[row]:.4g}. They are of "
                "another model, or it was trained on since; explain again."
            )
            raise InputError(message)


def study_of(
    model: Model, attributions: Attributions, *, cohort: Cohort | None = None, batch_size: int = 16, **settings: Any
) -> Study:
    """Put attributions beside the model and the images they were made of.

    Parameters
    ----------
    model : the model that was explained.
    attributions : of any method.
    cohort : the images, where the attributions were loaded from a folder and no longer know them.
    batch_size : inputs that go through the network at once.
    **settings : the method's own values that a folder cannot keep (a background cohort), where they were loaded.

    Raises
    ------
    InputError : where images or settings are missing, or do not go with the maps.
    """
    source, lost = attributions.source, tuple[str, ...]()
    if source is None:
        if cohort is None:
            message = (
                "these attributions were loaded and do not know their images; give them, "
                "wb.explain.trust(model, attributions, cohort=test)."
            )
            raise InputError(message)
        _check_background(attributions, settings.get("background"))
        told, lost = told_settings(attributions)
        source = Source(cohort, attributions.target, told | settings)
        lost = tuple(name for name in lost if name not in settings)
    images = source.cohort if cohort is None else cohort
    missing = [image_id for image_id in attributions.ids if image_id not in images.table.index]
    if missing:
        message = f"image {missing[0]!r} has a map but is not in the cohort given ({len(missing)} such); give the cohort that was explained."
        raise InputError(message)
    if list(attributions.ids) != images.ids:
        images = images.subset(attributions.ids)
    targets, _ = read_targets(source.target, model, images)
    task = Task(model, images, Question(targets, model, images), batch_size)
    return Study(model, images, attributions, task, check_settings(attributions.method, source.settings), lost)


def told_settings(attributions: Attributions) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the settings of a saved value that can be used as they are told, and the names of those that cannot."""
    known = check_settings(attributions.method, {})
    told = {key: value for key, value in attributions.settings.items() if key in known}
    unusable = {key for key, value in told.items() if key == "background" or STAND_IN.match(str(value))}
    # The cohort itself and the mean image follow from what is left out or given again.
    lost = {key for key in unusable if told[key] not in (None, *FOLLOWS)}
    return {key: value for key, value in told.items() if key not in unusable}, tuple(key for key in told if key in lost)


def _check_background(attributions: Attributions, given: Cohort | None) -> None:
    """Refuse another background than the maps were made with: made again, they would differ for that reason alone."""
    kept = attributions.provenance.parents.get("background")
    if given is not None and kept is not None and given.provenance.content != kept.content:
        message = (
            f"the background given ({given.provenance.short}) is not the one these maps were made with ({kept.short}); give that "
            "one, or explain again."
        )
        raise InputError(message)


@contextmanager
def _watched(network: torch.nn.Module, outer: torch.nn.Module) -> Iterator[None]:
    """Watch over another network than the study's own, which is watched over already."""
    if network is outer:
        yield
    else:
        with untouched(network):
            yield

"""Region SHAP: Shapley values whose players are the regions of an image, exact where they are few."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import InputError
from workbench.explain.draws import generator_of
from workbench.explain.fill import Fill
from workbench.explain.references import stand_in
from workbench.explain.regions import SUPERPIXELS, read_regions
from workbench.explain.settings import check_number, check_whole
from workbench.explain.shapley import exact_interactions, exact_shapley, least_samples, members_of, sampled_shapley
from workbench.explain.task import Part
from workbench.provenance import digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workbench.cohorts.cohort import Cohort
    from workbench.explain.chosen import Chosen
    from workbench.explain.regions import Regions
    from workbench.explain.task import Batch, Explain, Task

# 2^16 forward passes an image; above, sampling tells the values well in a fraction of that.
MOST_EXACT = 16


def region_shap(
    task: Task,
    *,
    regions: Any = SUPERPIXELS,
    count: int = 10,
    parts: Sequence[int] | None = None,
    names: Mapping[int, str] | None = None,
    fill: Any = None,
    background: Cohort | None = None,
    exact: int = 12,
    interactions: bool | None = None,
    samples: int = 2048,
    error: float | None = 0.02,
    seed: int = 0,
) -> Explain:
    """Share out a score among regions: what each adds, averaged over all orders in which they could be uncovered.

    A coalition is the image with its regions as they are and all else filled. Up to `exact` regions in an image, each
    of the 2^P coalitions is scored once: the values then add up to the score less the score of the image filled all
    over, without error, and the interaction of every two regions comes with them. More regions are sampled, see
    :func:`~workbench.explain.shapley.sampled_shapley`, with standard errors.

    The map spreads each region's value evenly over its pixels: its sum over any region is that region's value, its
    sum over the image is the score less the empty score. Colour therefore shows value for each pixel; the values
    themselves are given by :func:`~workbench.explain.region_tables.region_table` and
    :func:`~workbench.explain.region_tables.region_interactions`, and by the columns ``shap:…``, ``area:…`` (part of the
    input's pixels, 0–1), ``error:…`` (standard error) and ``interaction:… × …`` of ``to_frame()``. A region that an
    image lacks has area and value 0, and is counted in ``absent_regions``.

    Parameters
    ----------
    regions, count, parts, names : the players: names of masks, ``"superpixels"``, ``"grid"`` or an atlas; see
        :func:`~workbench.explain.regions.read_regions`.
    fill : what covers a region: ``"blur"`` (the default), ``"mean"``, ``"black"``, ``"inpaint"`` (from what is uncovered around
        it; slow), a number or an image; see :func:`~workbench.explain.fill.fill_images`. A value answers "what if this
        region had looked like that?", so other fills give other values.
    background : a cohort whose mean image covers regions, in place of `fill`.
    exact : largest number of regions for which every coalition is scored, 1–16; 12 take 4,096 forward passes an image.
    interactions : by default where all images are exact and their regions are the same ones (masks, grid, atlas).
    samples : most coalitions an image, where it is sampled.
    error : stop sampling when no standard error is larger than this part of the range of the image's values.
    seed : of all draws; each image has its own, from this and its id.

    Raises
    ------
    InputError : where regions, fill or a number cannot be used, or interactions are asked of sampled values.
    """
    check_whole("exact", exact, least=1)
    if exact > MOST_EXACT:
        message = f"exact {exact} would take 2^{exact} = {2**exact:,} forward passes an image; at most {MOST_EXACT}. Above, values are sampled."
        raise InputError(message)
    if error is not None:
        check_number("error", error, above=0, meaning="0.02 is a fiftieth of the values' range; None uses all samples")
    players = read_regions(regions, task.model, task.cohort, count=count, parts=parts, names=names)
    sampled = len(players.names) > exact
    check_whole("samples", samples, least=least_samples(len(players.names)) if sampled else 1)
    if interactions and sampled:
        message = (
            f"interactions need every coalition of the {len(players.names)} regions, and above exact={exact} only a sample of them is "
            f"scored. Give fewer regions, or raise exact (at most {MOST_EXACT})."
        )
        raise InputError(message)
    paired = not sampled and players.kind != SUPERPIXELS if interactions is None else interactions
    cover = stand_in(task, fill, background, default="blur")

    def explain(batch: Batch) -> Part:
        output = task.evaluate(batch.inputs)
        chosen = task.choose(output, batch.ids)
        scores = chosen.scores(output).cpu().numpy()
        game = _Game.of(task, batch, chosen, players=players, cover=Fill.of(batch.inputs, cover.fill))
        found = _Found.nothing(task.count, len(batch.ids), len(players.names))
        small = [row for row, own in enumerate(game.present) if len(own) <= exact]
        _solve_exactly(game, small, scores=scores, found=found, paired=paired)
        for row in sorted(set(range(len(batch.ids))) - set(small)):
            own = generator_of(batch.ids[row], seed)
            _estimate(game, row, found=found, samples=samples, error=error, generator=own)
        return Part(
            chosen, scores, game.spread(found.values),
            errors=game.spread(found.errors) if sampled else None,
            findings=_findings(players, game, found, scores=scores, sampled=sampled, paired=paired),
            settings={"regions": _told(regions), "region_names": players.names, **cover.told}, parents=cover.parents,
        )  # fmt: skip

    return explain


@dataclass(frozen=True)
class _Found:
    """Values and standard errors ``(T, n, P)``, interactions ``(T, n, P, P)``, empty score and coalitions ``(T, n)``."""

    values: np.ndarray
    errors: np.ndarray
    interactions: np.ndarray
    empty: np.ndarray
    evaluations: np.ndarray

    @classmethod
    def nothing(cls, targets: int, images: int, players: int) -> _Found:
        shape = (targets, images, players)
        return cls(
            np.zeros(shape), np.zeros(shape), np.zeros((*shape, players)), np.zeros(shape[:2]), np.zeros(shape[:2])
        )


@dataclass(frozen=True)
class _Game:
    """What the network scores when only some regions of an image are uncovered.

    `labels` is int64 ``(n, *spatial)``, `areas` the pixels of each region ``(n, P)``, `present` each image's regions.
    """

    task: Task
    chosen: Chosen
    cover: Fill
    labels: torch.Tensor
    areas: np.ndarray
    present: list[np.ndarray]

    @classmethod
    def of(cls, task: Task, batch: Batch, chosen: Chosen, *, players: Regions, cover: Fill) -> _Game:
        images = batch.inputs.float().cpu().numpy()
        drawn = [players.labels(image_id, image) for image_id, image in zip(batch.ids, images, strict=True)]
        areas = np.stack([np.bincount(labels.ravel(), minlength=len(players.names)) for labels in drawn])
        labels = torch.from_numpy(np.stack(drawn)).to(batch.inputs.device)
        present = [np.flatnonzero(own) for own in areas]
        return cls(task, chosen, cover, labels, areas, present)

    def scores(self, rows: np.ndarray, uncovered: np.ndarray) -> np.ndarray:
        """Return scores of coalitions: rows ``(m,)`` of the batch and uncovered regions ``(m, P)``; ``(T, m)``."""
        where = torch.from_numpy(rows).to(self.labels.device)
        shown = torch.from_numpy(uncovered).to(self.labels.device).gather(1, self.labels[where].flatten(1))
        mixed = self.cover.hide(~shown.reshape(len(rows), *self.labels.shape[1:]), where)
        return self.chosen.scores(self.task.evaluate(mixed), rows).double().cpu().numpy()

    def members(self, rows: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Return the regions of numbered coalitions of the present ones, bool ``(m, P)``."""
        found = np.zeros((len(rows), self.areas.shape[1]), dtype=bool)
        for row in np.unique(rows):
            own, players = np.flatnonzero(rows == row), self.present[row]
            found[np.ix_(own, players)] = members_of(codes[own], len(players))
        return found

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Give each pixel its region's value over the region's pixels: ``(T, n, P)`` to float32 ``(T, n, *spatial)``."""
        density = values / np.maximum(self.areas, 1)
        maps = np.empty((len(values), *self.labels.shape), dtype=np.float32)
        for row, labels in enumerate(self.labels.cpu().numpy()):
            maps[:, row] = density[:, row][:, labels]
        return maps


def _solve_exactly(game: _Game, images: list[int], *, scores: np.ndarray, found: _Found, paired: bool) -> None:
    """Score every coalition of these images once, in full batches that run across images."""
    counts = np.array([2 ** len(game.present[row]) for row in images], dtype=np.int64)
    tables = {row: np.empty((count, len(scores))) for row, count in zip(images, counts.tolist(), strict=True)}
    # The last coalition is the image as it is, whose score is known.
    rows = np.repeat(np.array(images, dtype=np.int64), counts - 1)
    codes = np.arange(len(rows)) - np.repeat(np.cumsum(counts - 1) - (counts - 1), counts - 1)
    for start in range(0, len(rows), game.task.batch_size):
        part = slice(start, start + game.task.batch_size)
        answers = game.scores(rows[part], game.members(rows[part], codes[part]))
        for row in np.unique(rows[part]):
            own = rows[part] == row
            tables[row][codes[part][own]] = answers[:, own].T
    for row, table in tables.items():
        table[-1] = scores[:, row]
        players = game.present[row]
        found.values[:, row, players] = exact_shapley(table).T
        found.empty[:, row], found.evaluations[:, row] = table[0], len(table)
        if paired:
            every = np.ix_(np.arange(len(scores)), np.array([row]), players, players)
            found.interactions[every] = np.moveaxis(exact_interactions(table), -1, 0)[:, None]


def _estimate(
    game: _Game, row: int, *, found: _Found, samples: int, error: float | None, generator: np.random.Generator
) -> None:
    """Sample coalitions of one image."""
    players = game.present[row]

    def play(chosen: np.ndarray) -> np.ndarray:
        uncovered = np.zeros((len(chosen), game.areas.shape[1]), dtype=bool)
        uncovered[:, players] = chosen
        answers = [
            game.scores(np.full(len(part), row), part)
            for part in np.split(uncovered, range(game.task.batch_size, len(uncovered), game.task.batch_size))
        ]
        return np.concatenate(answers, axis=1).T

    estimate = sampled_shapley(play, len(players), samples=samples, error=error, generator=generator)
    found.values[:, row, players], found.errors[:, row, players] = estimate.values.T, estimate.errors.T
    found.empty[:, row], found.evaluations[:, row] = estimate.empty, estimate.evaluations


def _findings(
    players: Regions, game: _Game, found: _Found, *, scores: np.ndarray, sampled: bool, paired: bool
) -> dict[str, np.ndarray]:
    """Return the columns of every image's table, ``(T, n)`` each."""
    names = players.names
    alike = np.ones((len(scores), 1))
    columns = {f"shap:{name}": found.values[:, :, place] for place, name in enumerate(names)}
    if sampled:
        columns |= {f"error:{name}": found.errors[:, :, place] for place, name in enumerate(names)}
    shares = game.areas / game.areas.sum(axis=1, keepdims=True)
    columns |= {f"area:{name}": alike * shares[:, place] for place, name in enumerate(names)}
    if paired:
        for one, other in combinations(range(len(names)), 2):
            columns[f"interaction:{names[one]} × {names[other]}"] = found.interactions[:, :, one, other]
    columns["empty_score"] = found.empty
    columns["efficiency_gap"] = found.values.sum(axis=2) - (scores - found.empty)
    columns["absent_regions"] = alike * (game.areas == 0).sum(axis=1)
    columns["coalitions"] = found.evaluations
    return columns


def _told(regions: Any) -> Any:
    """Tell an atlas by its shape and hash; whole it would fill the record."""
    if isinstance(regions, np.ndarray):
        return f"atlas {regions.shape}, {digest(regions)[:12]}"
    if isinstance(regions, dict):
        hashes = digest([[str(image_id), digest(np.asarray(atlas))] for image_id, atlas in regions.items()])
        return f"atlas of {len(regions)} images, {hashes[:12]}"
    return regions

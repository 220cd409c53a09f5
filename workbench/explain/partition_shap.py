"""Partition SHAP: Owen values of the parts of an image in a tree, refined where the score changes, until they settle."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from workbench.errors import EvidenceWarning, InputError, unknown_name
from workbench.explain.fill import Fill
from workbench.explain.memory import Fitting
from workbench.explain.references import stand_in
from workbench.explain.regions import GRID, SUPERPIXELS, grid, superpixels
from workbench.explain.settings import check_number, check_whole
from workbench.explain.task import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workbench.cohorts.cohort import Cohort
    from workbench.explain.chosen import Chosen
    from workbench.explain.task import Batch, Explain, Task

FIRST = 64  # evaluations before the first look at the values
FINDINGS = ("fill_score", "efficiency_gap", "evaluations", "change", "unopened")
QUEUE = 32  # nodes that shap opens together; fixed, so that maps do not depend on batch_size


def partition_shap(
    task: Task,
    *,
    regions: str | np.ndarray = GRID,
    count: int = 64,
    fill: Any = None,
    background: Cohort | None = None,
    tolerance: float = 0.2,
    evaluations: int = 2048,
) -> Explain:
    """Share out a score among the parts of an image, halving parts again and again where the score depends on them.

    Owen values (Owen 1977) as ``shap.explainers.Partition`` computes them: the image is halved, each half again, down
    to `count` regions. Every node of this tree shares its value between its halves by the Shapley value of two players,
    in every context of its ancestors' other halves, uncovered or filled. Nodes that carry most are opened first; what
    is not opened is spread evenly over its regions, and a region's value over its pixels. So the map is coarse where
    nothing happens and fine where it matters, and its sum is always the score less the score of the image filled all
    over (``fill_score``; ``efficiency_gap`` tells the rounding).

    The number of evaluations doubles until the map has settled, the tree is open to its leaves, or `evaluations` are
    spent; each target stops on its own. Settled means that neither its last change (``change``) nor what is still spread
    evenly over parts that were not opened (``unopened``) is more than `tolerance` of the map, each as root-mean-square
    over pixels. Evaluations made are never made again. Labels and tree are built once a cohort; with ``"superpixels"``
    once an image, since these follow its edges.

    Parameters
    ----------
    regions : the leaves of the tree: ``"grid"`` (boxes of about equal sides), ``"superpixels"`` (each image's own) or
        an atlas, integers ``(*spatial)`` on the grid of the model's input.
    count : regions, about; 2 or more.
    fill : what covers a region: ``"blur"`` (the default), ``"mean"``, ``"black"``, ``"inpaint"`` (slow), a number or an
        image; see :func:`~workbench.explain.fill.fill_images`.
    background : a cohort whose mean image covers regions, in place of `fill`.
    tolerance : the relative change that is left alone. The error left is mostly smaller: the change is that of the
        coarser map.
    evaluations : forward passes an image and target, at most, and at least 64; a warning says where they did not
        suffice. Targets asked at once share theirs.

    Raises
    ------
    InputError : where regions, fill or a number cannot be used.
    """
    check_whole("count", count, least=2)
    check_whole("evaluations", evaluations, least=FIRST)
    check_number(
        "tolerance", tolerance, above=0, meaning="0.2 stops where doubling the work changes the map by a fifth"
    )
    if not isinstance(regions, np.ndarray) and regions not in (GRID, SUPERPIXELS):
        raise unknown_name("regions", regions, [GRID, SUPERPIXELS, "an array of labels"])
    cover = stand_in(task, fill, background, default="blur")
    fitting, shared = Fitting(task.batch_size), dict[tuple[int, ...], _Tree]()

    def tree_of(image: torch.Tensor, image_id: str) -> _Tree:
        spatial = tuple(image.shape[1:])
        if isinstance(regions, str) and regions == SUPERPIXELS:
            return _Tree.over(superpixels(image.float().cpu().numpy(), count))
        if spatial not in shared:
            labels = grid(spatial, _boxes(spatial, count)) if isinstance(regions, str) else regions
            _check_atlas(labels, spatial, image_id)
            shared[spatial] = _Tree.over(labels)
        return shared[spatial]

    def explain(batch: Batch) -> Part:
        output = task.evaluate(batch.inputs)
        chosen = task.choose(output, batch.ids)
        scores, behind = chosen.scores(output).double().cpu().numpy(), Fill.of(batch.inputs, cover.fill)
        maps = np.zeros((task.count, len(batch.ids), *batch.inputs.shape[2:]), dtype=np.float32)
        found = {name: np.zeros(scores.shape) for name in FINDINGS}
        for row, image_id in enumerate(batch.ids):
            tree = tree_of(batch.inputs[row], image_id)
            game = _Game(task, chosen, row, fill=behind, tree=tree, fitting=fitting)
            game.know(np.ones(tree.players, dtype=bool), scores[:, row])
            for target in range(task.count):
                values, facts = _settled(game, target, tolerance=tolerance, most=evaluations)
                maps[target, row] = (values / tree.areas)[tree.labels]
                facts["fill_score"] = float(game.scores(np.zeros((1, tree.players), dtype=bool))[0, target])
                facts["efficiency_gap"] = float(values.sum()) - (scores[target, row] - facts["fill_score"])
                for name, value in facts.items():
                    found[name][target, row] = value
        _warn_of(np.maximum(found["change"], found["unopened"]), tolerance, evaluations)
        return Part(chosen, scores.astype(np.float32), maps, findings=found, settings=cover.told, parents=cover.parents)

    return explain


def _settled(game: _Game, target: int, *, tolerance: float, most: int) -> tuple[np.ndarray, dict[str, float]]:
    """Return the regions' values of one target, float64 ``(P,)``, with twice the work until they hardly change."""
    areas = game.tree.areas
    before, budget = areas * game.total(target) / areas.sum(), FIRST
    while True:
        values, unopened, used = _owen(game, target, budget)
        size = np.sqrt((values**2 / areas).sum()) or 1.0  # a map of zeros has nothing left to share out
        left = np.sqrt((unopened**2 / game.tree.node_areas[len(areas) :]).sum()) / size
        change = np.sqrt(((values - before) ** 2 / areas).sum()) / size if used >= budget else 0.0
        if max(change, left) <= tolerance or used < budget or budget >= most:  # fewer: the tree is open to its leaves
            return values, {"evaluations": used, "change": change, "unopened": left}
        before, budget = values, min(2 * budget, most)


def _owen(game: _Game, target: int, budget: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Let shap open the tree with at most `budget` evaluations.

    Returns
    -------
    The leaves' values ``(P,)``; the part of them that still lies on inner nodes ``(P - 1,)``; the evaluations it took.
    """
    if game.tree.players == 1:
        return np.array([game.total(target)]), np.zeros(0), 2
    explainer = game.tree.explainer
    explainer.masker.ask = lambda masks: game.scores(masks.astype(bool))[:, target]
    np.random.seed(0)  # noqa: NPY002  shap breaks ties by NumPy's global state, which is put back afterwards
    whole = np.ones((1, game.tree.players), dtype=bool)
    found = explainer(whole, max_evals=budget, batch_size=QUEUE, silent=True)
    nodes = np.asarray(found.hierarchical_values[0], dtype=np.float64)
    return np.asarray(found.values[0], dtype=np.float64), nodes[game.tree.players :], explainer.last_eval_count + 2


@dataclass(frozen=True)
class _Tree:
    """Regions and how they are halved.

    Parameters
    ----------
    labels : int64 ``(*spatial)``, 0 … P - 1, each of them present.
    areas : float64 ``(P,)``, pixels.
    clustering : float64 ``(P - 1, 4)`` as of ``scipy.cluster.hierarchy``: two children, a distance, the leaves below.
    """

    labels: np.ndarray
    areas: np.ndarray
    clustering: np.ndarray

    @classmethod
    def over(cls, labels: np.ndarray) -> _Tree:
        _, dense = np.unique(labels, return_inverse=True)
        dense = dense.reshape(labels.shape)
        areas = np.bincount(dense.ravel()).astype(np.float64)
        places = [np.bincount(dense.ravel(), weights=axis.ravel()) / areas for axis in np.indices(labels.shape)]
        return cls(dense, areas, halved(np.stack(places, axis=1)))

    @property
    def players(self) -> int:
        return len(self.areas)

    @cached_property
    def node_areas(self) -> np.ndarray:
        """Pixels of every node, leaves first, float64 ``(2 P - 1,)``."""
        found = list(self.areas)
        for left, right in self.clustering[:, :2].astype(int):
            found.append(found[left] + found[right])
        return np.array(found)

    @cached_property
    def explainer(self) -> Any:
        """The explainer of shap over this tree, for any image and target: set ``masker.ask`` first."""
        from shap.explainers import PartitionExplainer

        masker = _Masks(self)
        explainer = PartitionExplainer(masker.scores, masker)
        # shap cuts each mask out of a sparse matrix; for some hundred players that takes as long as a small network.
        explainer._mask_matrix = explainer._mask_matrix.toarray()
        return explainer


class _Masks:
    """What shap calls a masker: hands masks of the players through; the network's inputs are made from them later."""

    immutable_outputs = True

    def __init__(self, tree: _Tree) -> None:
        self.shape, self.clustering = (1, tree.players), tree.clustering
        self.ask: Callable[[np.ndarray], np.ndarray]

    def __call__(self, mask: np.ndarray, _whole: np.ndarray) -> tuple[np.ndarray]:
        return (mask[None].copy(),)

    def scores(self, masks: np.ndarray) -> np.ndarray:
        return self.ask(masks)

    def mask_shapes(self, _whole: np.ndarray) -> list[tuple[int]]:
        return [self.shape[1:]]


@dataclass
class _Game:
    """What the network scores when only some regions of one image are uncovered; nothing is evaluated twice."""

    task: Task
    chosen: Chosen
    row: int
    fill: Fill
    tree: _Tree
    fitting: Fitting
    _known: dict[bytes, np.ndarray] = field(default_factory=dict)

    def know(self, mask: np.ndarray, scores: np.ndarray) -> None:
        """Note a score ``(T,)`` that has been seen elsewhere."""
        self._known[np.packbits(mask).tobytes()] = scores

    def total(self, target: int) -> float:
        """Return what there is to share: the score less the score of the image filled all over."""
        ends = self.scores(np.array([[False] * self.tree.players, [True] * self.tree.players]))
        return float(ends[1, target] - ends[0, target])

    def scores(self, masks: np.ndarray) -> np.ndarray:
        """Return the scores of masks ``(m, P)``, true where uncovered: float64 ``(m, T)``."""
        keys = [key.tobytes() for key in np.packbits(masks, axis=1)]
        new = list({key: place for place, key in enumerate(keys) if key not in self._known}.values())
        for part, scores in self.fitting.run(len(new), lambda part: self._evaluated(masks[new[part]])):
            for place, own in zip(new[part], scores, strict=True):
                self._known[keys[place]] = own
        return np.stack([self._known[key] for key in keys])

    def _evaluated(self, masks: np.ndarray) -> np.ndarray:
        rows = np.full(len(masks), self.row)
        hidden = torch.from_numpy(~masks[:, self.tree.labels]).to(self.fill.images.device)
        output = self.task.evaluate(self.fill.hide(hidden, rows))
        return self.chosen.scores(output, rows).double().cpu().numpy().T


def halved(places: np.ndarray) -> np.ndarray:
    """Halve a set of points again and again across its longer side: a balanced tree.

    Parameters
    ----------
    places : float ``(P, axes)``.

    Returns
    -------
    float64 ``(P - 1, 4)`` as of ``scipy.cluster.hierarchy``: row k makes node P + k of two earlier nodes.

    Examples
    --------
    >>> halved(np.array([[0.0], [1.0], [10.0]]))[:, :2].tolist()
    [[1.0, 2.0], [0.0, 3.0]]
    """
    rows: list[tuple[float, float, float, float]] = []

    def node(members: np.ndarray) -> int:
        if len(members) == 1:
            return int(members[0])
        extent = np.ptp(places[members], axis=0)
        order = members[np.argsort(places[members, int(np.argmax(extent))], kind="stable")]
        left, right = node(order[: len(order) // 2]), node(order[len(order) // 2 :])
        rows.append((left, right, float(extent.max()), len(members)))
        return len(places) + len(rows) - 1

    node(np.arange(len(places)))
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def _boxes(spatial: Sequence[int], count: int) -> tuple[int, ...]:
    """Return how many boxes to make along each axis, for about `count` in all with sides about equal."""
    side = (np.prod(spatial) / count) ** (1 / len(spatial))
    return tuple(int(np.clip(round(extent / side), 1, extent)) for extent in spatial)


def _check_atlas(labels: np.ndarray, spatial: tuple[int, ...], image_id: str) -> None:
    if labels.dtype.kind not in "iub" or labels.shape != spatial:
        message = (
            f"the atlas is {labels.dtype} of shape {labels.shape}, image {image_id!r} as the network sees it has {spatial}; give whole "
            "numbers on that grid (model.inputs(cohort) shows it)."
        )
        raise InputError(message)


def _warn_of(unsettled: np.ndarray, tolerance: float, most: int) -> None:
    missed = int((unsettled > tolerance).any(0).sum())
    if missed:
        message = (
            f"{missed} of {unsettled.shape[1]} maps by partition SHAP had not settled within {tolerance:.0%} after {most} evaluations: see "
            "change and unopened in to_frame(). Raise evaluations, or take fewer regions (count)."
        )
        warnings.warn(message, EvidenceWarning, stacklevel=3)

"""Score-CAM: feature maps weighted by the score of the image seen through each of them; no gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from workbench.explain.cam import carried
from workbench.explain.layers import Layers
from workbench.explain.settings import check_whole
from workbench.explain.task import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from workbench.explain.chosen import Chosen
    from workbench.explain.task import Batch, Explain, Task


def score_cam(task: Task, *, layer: str | Sequence[str] | None = None, masks: int | None = None) -> Explain:
    """Weight each feature map by the score of the image multiplied by it (Wang et al. 2020, arXiv:1910.01279).

    Each map is carried to the input's grid and stretched to 0–1, the input multiplied by it, and
    ``map = relu(Σ_k α_k A_k)``, where α is the softmax over channels of the scores so reached. The paper takes off the
    score of a baseline image first ("increase of confidence"); a softmax does not see what is taken off all, so that
    pass is saved. Channels of one value throughout cannot mask and get no weight.

    Since α adds up to 1 whatever the scores, Score-CAM *cannot say that there is no evidence*; it only tells where the
    layer's maps that serve the class best are. Units are the layer's; several layers are averaged.

    It costs one forward pass a channel (1,024 on DenseNet121). All targets share these passes.

    Parameters
    ----------
    layer : see :func:`~workbench.explain.cam.gradcam`.
    masks : look only through so many masks instead of one a channel. Channels that look alike are grouped (Ward's
        method on their maps stretched to 0–1) and share the score of their mean map. How near that comes to the whole
        map, ``benchmarks/explain/cam_cost.py`` prints.

    Raises
    ------
    InputError : where `masks` is no whole number of at least 2, or a layer cannot be used.
    """
    if masks is not None:
        check_whole("masks", masks, least=2, meaning="None takes one a channel")
    layers = Layers(task.network, layer, dense=task.model.task == "segmentation")

    def explain(batch: Batch) -> Part:
        with torch.no_grad():
            looks = layers.look(batch.inputs, run=task.forward)
            chosen = task.choose(torch.cat([look.output for look in looks]), batch.ids)
            scores = torch.cat([chosen.scores(look.output, look.rows) for look in looks], dim=1)
            maps = np.empty((task.count, *batch.inputs[:, 0].shape), np.float32)
            for look in looks:
                rows = range(len(batch.ids)) if look.rows is None else look.rows.tolist()
                whole = [place.maps(caught) for caught, place in zip(look.caught, look.places, strict=True)]
                for place, row in enumerate(rows):
                    drawn = [
                        _image_map(task, batch.inputs[row], maps_of[place], (chosen, row, masks)) for maps_of in whole
                    ]
                    maps[:, row] = torch.stack(drawn).mean(0).cpu().numpy()
        return Part(chosen, scores.cpu().numpy(), maps, settings={"layer": layers.setting})

    return explain


def _image_map(
    task: Task, image: torch.Tensor, activation: torch.Tensor, asked: tuple[Chosen, int, int | None]
) -> torch.Tensor:
    """Return one image's maps ``(T, *spatial)`` from one layer's feature maps ``(K, *positions)``."""
    chosen, row, masks = asked
    activation = activation.float()
    stretched, varies = stretch(activation)
    activation, candidates = activation[varies], stretched[varies]
    if len(activation) == 0:
        return torch.zeros(task.count, *image.shape[1:])
    group = torch.arange(len(activation))
    if masks is not None and masks < len(activation):
        group = torch.from_numpy(alike(candidates.flatten(1).cpu().numpy(), masks))
        sums = torch.zeros(int(group.max()) + 1, *candidates.shape[1:], device=candidates.device)
        candidates = sums.index_add_(
            0, group.to(sums.device), candidates
        )  # stretched again: a sum is as good as a mean
    reached = [
        chosen.scores(task.evaluate(part), np.full(len(part), row)) for part in _seen_through(task, image, candidates)
    ]
    weights = torch.cat(reached, dim=1).double()[:, group].softmax(1)
    coarse = torch.einsum("tk,k...->t...", weights.float(), activation).relu()
    return carried(coarse, image.shape[1:])


def _seen_through(task: Task, image: torch.Tensor, candidates: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the image multiplied by each mask, `batch_size` of them at a time."""
    for part in torch.split(candidates, task.batch_size):
        mask, _ = stretch(carried(part, image.shape[1:]))
        yield image * mask[:, None].to(image.dtype)


def stretch(maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each map ``(k, *positions)`` stretched to 0–1, and which of them vary at all, bool ``(k,)``."""
    flat = maps.flatten(1)
    low, high = flat.min(1, keepdim=True).values, flat.max(1, keepdim=True).values
    width = high - low
    stretched = (flat - low) / torch.where(width > 0, width, 1)
    return stretched.view_as(maps), width[:, 0] > 0


def alike(maps: np.ndarray, groups: int) -> np.ndarray:
    """Group maps ``(k, positions)`` that look alike: the group of each, from 0, int64 ``(k,)``."""
    from scipy.cluster.hierarchy import fcluster, linkage

    grouped: np.ndarray = fcluster(linkage(maps.astype(np.float64), "ward"), groups, "maxclust").astype(np.int64) - 1
    return grouped

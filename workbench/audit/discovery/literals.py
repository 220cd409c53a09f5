"""What slices are made of: attribute values, clusters of embeddings and score bands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError
from workbench.groups import partitions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.discovery.cases import Cases

BANDS = 4
# Clusters of fewer images than this are too small to be tested on other patients.
IMAGES_A_CLUSTER = 50
MOST_CLUSTERS = 12
COMPONENTS = 20
# By how much commoner an attribute value must be in a cluster than outside to describe it.
DESCRIBES = 0.2


@dataclass(frozen=True, eq=False)
class Literals:
    """L yes-or-no descriptions of n images: `names`, the attribute each belongs to, and bool ``(L, n)``."""

    names: tuple[str, ...]
    owners: tuple[str, ...]
    masks: np.ndarray


def attribute_literals(cases: Cases, attributes: Sequence[str] | None) -> tuple[Literals, list[str]]:
    """Return one literal a value of each attribute, and what was left out and why.

    With ``attributes=None`` all are taken, except those that are names rather than groups (more than 50 words).
    """
    names, owners, masks, left = [], [], [], []
    for attribute in cases.attributes if attributes is None else attributes:
        try:
            (_, partition) = partitions(cases, [attribute])
        except InputError:
            if attributes is not None or attribute not in cases.attributes:
                raise
            left.append(str(attribute))
            continue
        for code, name in enumerate(partition.names):
            names.append(name)
            owners.append(str(attribute))
            masks.append(partition.codes == code)
    return Literals(tuple(names), tuple(owners), np.array(masks, dtype=bool).reshape(len(masks), len(cases))), left


def cluster_literals(vectors: np.ndarray, found: np.ndarray, described: Literals, seed: int) -> Literals:
    """Cluster the embeddings of the images in `found`, and give every image the cluster whose middle is nearest.

    Parameters
    ----------
    vectors : ``(n, D)``; brought to mean 0 and standard deviation 1, and to their first principal components, by the
        images in `found` alone.
    found : bool ``(n,)``, the half that is searched.
    described : literals that say what a cluster is most like, judged in `found` too.
    seed : of the k-means.
    """
    from sklearn.cluster import KMeans

    count = min(MOST_CLUSTERS, int(found.sum()) // IMAGES_A_CLUSTER)
    if count < 2:
        return Literals((), (), np.empty((0, len(vectors)), dtype=bool))
    points = _components(vectors, found)
    means = KMeans(count, n_init=5, random_state=seed).fit(points[found])
    codes = means.predict(points)
    masks = np.array([codes == code for code in range(count)])
    names = [f"cluster {k + 1}{_likeness(masks[k][found], described, found)}" for k in range(count)]
    return Literals(tuple(names), ("cluster",) * count, masks)


def bands(scores: np.ndarray, found: np.ndarray) -> Literals:
    """Cut the scores at the quartiles of the images in `found`."""
    edges = np.unique(np.quantile(scores[found], np.arange(1, BANDS) / BANDS, method="higher"))
    codes = np.searchsorted(edges, scores, side="right")
    ends = ["0", *(f"{edge:.3g}" for edge in edges), "1"]
    names = [f"score {ends[k]}–{'' if k == len(edges) else '<'}{ends[k + 1]}" for k in range(len(edges) + 1)]
    return Literals(tuple(names), ("score",) * len(names), np.array([codes == k for k in range(len(names))]))


def joined(parts: Sequence[Literals]) -> Literals:
    """Put literals of the same images together."""
    return Literals(
        tuple(name for part in parts for name in part.names),
        tuple(owner for part in parts for owner in part.owners),
        np.concatenate([part.masks for part in parts]),
    )


def _components(vectors: np.ndarray, found: np.ndarray) -> np.ndarray:
    middle, spread = vectors[found].mean(0), vectors[found].std(0)
    points = (vectors - middle) / np.where(spread > 0, spread, 1)
    _, _, axes = np.linalg.svd(points[found], full_matrices=False)
    axes = axes[:COMPONENTS]
    # The sign of a principal axis is arbitrary; that of its largest entry is made positive.
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(1)]
    return np.asarray(points @ (axes * np.sign(largest)[:, None]).T)


def _likeness(inside: np.ndarray, described: Literals, found: np.ndarray) -> str:
    if not len(described.names) or not inside.any() or inside.all():
        return ""
    masks = described.masks[:, found]
    lift = masks[:, inside].mean(1) - masks[:, ~inside].mean(1)
    best = int(lift.argmax())
    return f" (most like: {described.names[best]})" if lift[best] >= DESCRIBES else " (like no attribute)"

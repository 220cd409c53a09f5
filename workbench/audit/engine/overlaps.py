"""Groups that overlap: a partition whose groups are unions of another's is measured by adding those up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.groups import Partition


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Where the groups of all partitions stand in one row, and which are sums of others.

    Parameters
    ----------
    starts : number of each partition's first group, then the number of all groups.
    finest : the partitions that no other one refines; their groups are measured, the others added up.
    finer : for every other partition, one of `finest` that refines it, and the group in which each of that one's lies.
    """

    starts: np.ndarray
    finest: tuple[int, ...]
    finer: dict[int, tuple[int, np.ndarray]]

    def complete(self, sums: np.ndarray) -> None:
        """Fill in the groups of the coarser partitions, ``(groups, …)``."""
        for part, (fine, parents) in self.finer.items():
            own = sums[self.starts[part] : self.starts[part + 1]]
            own[...] = 0
            for child, parent in enumerate(parents):
                own[parent] += sums[self.starts[fine] + child]

    def rest(self, sums: np.ndarray) -> np.ndarray:
        """Return, for every group, the sum over the other groups of its partition, ``(groups, …)``.

        Nothing is subtracted: what is 0 in all of them is 0 here.
        """
        result = np.zeros_like(sums)
        for first, last in zip(self.starts[:-1], self.starts[1:], strict=True):
            own, others = sums[first:last], result[first:last]
            np.cumsum(own[:-1], axis=0, out=others[1:])
            others[:-1] += np.cumsum(own[:0:-1], axis=0)[::-1]
        return result


def overlaps_of(partitions: Sequence[Partition]) -> Overlaps:
    """Find out which partitions refine which."""
    sizes = [len(partition.names) for partition in partitions]
    # The finest come first; of two that are the same, the first stays.
    order = sorted(range(len(sizes)), key=lambda part: -sizes[part])
    finest: list[int] = []
    finer: dict[int, tuple[int, np.ndarray]] = {}
    for part in order:
        for fine in finest:
            found = _parents(partitions[fine].codes, partitions[part].codes, sizes[fine])
            if found is not None:
                finer[part] = fine, found
                break
        else:
            finest.append(part)
    return Overlaps(np.concatenate([[0], np.cumsum(sizes)]), tuple(sorted(finest)), finer)


def _parents(fine: np.ndarray, coarse: np.ndarray, groups: int) -> np.ndarray | None:
    """Return the coarse group in which each fine one lies, or None where one lies in several."""
    found = np.zeros(groups, dtype=np.int64)
    found[fine] = coarse
    return found if np.array_equal(found[fine], coarse) else None

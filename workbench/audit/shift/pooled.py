"""Two sets of images in one table, and how their patients change places under the null hypothesis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.audit.discovery.cases import Cases, Images, cases_of
from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

LEAST = 10


@dataclass(frozen=True, eq=False)
class Pooled:
    """Images of before and after.

    Parameters
    ----------
    cases : all of them, with the attributes that both know.
    after : bool ``(n,)``.
    patients : ``(n,)``, numbers without gaps; a patient of both times has one.
    exchanged : bool ``(n, 1 + P)``; column 0 is `after`, the others what it might as well have been.
    one_sided : attributes that only one of the two has.
    """

    cases: Cases
    after: np.ndarray
    patients: np.ndarray
    exchanged: np.ndarray
    one_sided: tuple[str, ...]

    @property
    def in_both(self) -> int:
        """Number of patients with images at both times."""
        return len(np.intersect1d(self.patients[self.after], self.patients[~self.after]))

    def exchanged_of(self, rows: np.ndarray) -> np.ndarray:
        """Return some rows of `exchanged`, each column in one piece."""
        return np.asarray(self.exchanged.T[:, rows].T)

    def count(self, rows: np.ndarray) -> int:
        """Return the number of patients in some rows."""
        return len(np.unique(self.patients[rows]))


def pooled(before: Images, after: Images, embeddings: Sequence[object] | None, *, permuted: int, seed: int) -> Pooled:
    """Put two sets together.

    Raises
    ------
    InputError : where they have other classes, other sizes of embeddings, or too few patients.
    """
    vectors = (None, None) if embeddings is None else tuple(embeddings)
    if len(vectors) != 2:
        message = f"embeddings must be a pair, those of before and those of after; {len(vectors)} given."
        raise InputError(message)
    sides = [cases_of(images, given) for images, given in zip((before, after), vectors, strict=True)]  # type: ignore[arg-type]
    if set(sides[0].classes) != set(sides[1].classes):
        message = (
            f"before has the classes {', '.join(sides[0].classes)} and after {', '.join(sides[1].classes)}; give both the "
            "same (classes=…)."
        )
        raise InputError(message)
    widths = {side.vectors.shape[1] for side in sides if side.vectors is not None}
    if len(widths) > 1:
        message = f"the embeddings have {' and '.join(map(str, sorted(widths)))} features; both must come from the same model."
        raise InputError(message)
    shared = tuple(name for name in sides[0].attributes if name in sides[1].attributes)
    one_sided = tuple(sorted({*sides[0].attributes, *sides[1].attributes} - set(shared)))
    table = pd.concat([side.table for side in sides])
    known = [side.vectors for side in sides if side.vectors is not None]
    moved = np.repeat([False, True], [len(side) for side in sides])
    order = np.lexsort((np.arange(len(moved)), moved, table["patient"].astype(str).to_numpy().astype(str)))
    cases = Cases(
        table.iloc[order], shared, sides[0].classes, np.concatenate(known)[order] if len(known) == 2 else None
    )
    moved, patients = moved[order], cases.patients
    for name, rows in (("before", ~moved), ("after", moved)):
        if len(np.unique(patients[rows])) < LEAST:
            message = (
                f"{name} has {len(np.unique(patients[rows]))} patients; at least {LEAST} are needed on either side."
            )
            raise InputError(message)
    return Pooled(cases, moved, patients, exchanged(moved, patients, count=permuted, seed=seed), one_sided)


def exchanged(after: np.ndarray, patients: np.ndarray, *, count: int, seed: int) -> np.ndarray:
    """Return `after` and `count` ways it might as well have been, bool ``(n, 1 + count)``.

    Patients of one time exchange it with each other, all images at once. A patient of both times keeps both, and tosses a
    coin which of the two is called after.
    """
    generator = np.random.default_rng([seed, 3])
    total = int(patients.max()) + 1
    share = np.bincount(patients, weights=after, minlength=total) / np.bincount(patients, minlength=total)
    single = np.flatnonzero((share == 0) | (share == 1))
    drawn = np.empty((len(after), 1 + count), dtype=bool, order="F")
    drawn[:, 0] = after
    twice = ~np.isin(patients, single)
    for column in range(1, 1 + count):
        side = generator.random(total) < 0.5
        moved = after ^ side[patients]
        own = np.zeros(total, dtype=bool)
        own[single] = share[single][generator.permutation(len(single))] == 1
        drawn[:, column] = np.where(twice, moved, own[patients])
    return drawn

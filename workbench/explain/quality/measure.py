"""What every part of the evidence gives back: a number an image, what it means, and who was left out and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


@dataclass(frozen=True)
class Measure:
    """One number an image.

    Parameters
    ----------
    name : column of the table: ``"deletion area"``, ``"pointing game"``.
    part : ``"sanity"``, ``"faithfulness"``, ``"localisation"``, ``"shares"``, ``"stability"`` or ``"agreement"``.
    better : ``"higher"``, ``"lower"`` or ``""`` (neither).
    baseline : column with what a control (random order, centre prior, …) reaches on the same image; None without one.
    proportion : 0 or 1 an image, which calls for Wilson's interval.
    says : one plain sentence: what it is, unit, range, source.
    """

    name: str
    part: str
    better: str
    baseline: str | None
    proportion: bool
    says: str


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one part found.

    Parameters
    ----------
    table : the index is the image ids in the attributions' order; one float column a measure and a baseline; NaN where
        it has no meaning.
    measures : the columns explained.
    left_out : by measure and reason (``"empty mask"``, ``"map without evidence"``), the number of images.
    curves : tidy frames for figures, such as a deletion curve: columns id, order, fraction, score.
    """

    table: pd.DataFrame
    measures: tuple[Measure, ...]
    left_out: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    curves: Mapping[str, pd.DataFrame] = field(default_factory=dict)

"""Agreement: do methods tell the same of the same images?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from workbench.clustered import means
from workbench.errors import InputError
from workbench.explain.attributions import PIECE, Attributions
from workbench.explain.quality.similarity import rank_correlation
from workbench.explain.titles import method_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def agreement(
    attributions: Sequence[Attributions] | Mapping[str, Attributions], *, absolute: bool = False, level: float = 0.95
) -> pd.DataFrame:
    """Correlate every two methods' maps of the same images and targets by rank, and average over the images.

    Methods that disagree cannot all be right; methods that agree may be wrong together (two that multiply by the image
    agree for that alone).

    Parameters
    ----------
    attributions : two or more, of the same images, targets and input grid; a mapping names them, a list calls them by
        their method.
    absolute : compare magnitudes, where one method has signs and the other has none.
    level : of the intervals.

    Returns
    -------
    One row a pair: ``first, second, value`` (mean Spearman correlation, −1 to 1), ``low, high`` (patient-clustered
    interval), ``n`` (images where both maps show evidence), ``patients``.

    Raises
    ------
    InputError : where fewer than two are given, two have one name, or they are not of the same images, targets and grid.

    Examples
    --------
    >>> table = wb.explain.agreement([gradcam, shap])  # doctest: +SKIP
    >>> table.pivot(index="first", columns="second", values="value")  # doctest: +SKIP
    """
    import pandas as pd

    named = by_name(attributions)
    _check_comparable(named)
    pairs = list(itertools.combinations(named, 2))
    values = np.stack(
        [_correlations(named[first], named[second], absolute=absolute) for first, second in pairs], axis=1
    )
    found = means(values, next(iter(named.values())).table["patient"].to_numpy())
    low, high = found.intervals(level)
    return pd.DataFrame(
        {
            "first": [first for first, _ in pairs], "second": [second for _, second in pairs],
            "value": found.values, "low": low, "high": high, "n": found.images, "patients": found.patients,
        }
    )  # fmt: skip


def _correlations(first: Attributions, second: Attributions, *, absolute: bool) -> np.ndarray:
    """Correlate some maps at a time: those on a disk pass through memory in pieces."""
    parts = [slice(start, start + PIECE) for start in range(0, len(first), PIECE)]
    return np.concatenate([rank_correlation(first.maps[part], second.maps[part], absolute=absolute) for part in parts])


def by_name(given: Attributions | Sequence[Attributions] | Mapping[str, Attributions]) -> dict[str, Attributions]:
    """Return attributions by the names that a mapping gives them, else by what their methods are called.

    Raises
    ------
    InputError : where there is none, or two are of the same method and have no name.
    """
    if isinstance(given, Mapping):
        named = dict(given)
    else:
        several = [given] if isinstance(given, Attributions) else list(given)
        named = {method_title(one.method): one for one in several}
        if len(named) < len(several):
            message = "two of the attributions are of the same method; name them, {'layer3': maps, 'layer4': others}."
            raise InputError(message)
    if not named:
        message = "no attributions were given; make some with wb.explain(model, cohort, …)."
        raise InputError(message)
    return named


def _check_comparable(named: Mapping[str, Attributions]) -> None:
    """Refuse fewer than two, and those of other images, targets or grids than the first."""
    if len(named) < 2:
        message = f"agreement is between two or more attributions; {len(named)} given."
        raise InputError(message)
    (name, first), *others = named.items()
    for other, own in others:
        _check_same(name, first, other, own)


def _check_same(name: str, first: Attributions, other: str, second: Attributions) -> None:
    if first.ids != second.ids:
        odd = next((one for one in first.ids if one not in second.ids), None)
        why = (
            "in another order"
            if odd is None and len(first) == len(second)
            else f"{len(first)} and {len(second)} of them"
        )
        message = (
            f"{name} and {other} are not of the same images ({why}); bring them to the same ids with "
            "attributions.subset(ids)."
        )
        raise InputError(message)
    told, also = first.target_names, second.target_names
    if told != also or first.explained != second.explained:
        row = next((k for k, (one, two) in enumerate(zip(told, also, strict=True)) if one != two), 0)
        message = (
            f"{name} and {other} do not explain the same: of image {first.ids[row]!r}, {told[row]} ({first.explained}) and "
            f"{also[row]} ({second.explained}). Explain again with one target."
        )
        raise InputError(message)
    if first.maps.shape != second.maps.shape:
        grids = [" × ".join(map(str, own.maps.shape[1:])) for own in (first, second)]
        message = (
            f"{name} is on a grid of {grids[0]} and {other} on {grids[1]}: they are of models with other inputs, and maps "
            "resampled to fit would agree for being smooth. Explain both with one preprocessing."
        )
        raise InputError(message)

"""Many comparisons at once: bands that hold together, and p-values that count how often one looked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from workbench.errors import InputError

if TYPE_CHECKING:
    from workbench.clustered import Estimates

# A correlation of more quantities than this is not taken apart, which costs the cube of their number; the multipliers go
# to the patients (or replicates) themselves.
MANY = 1000


@dataclass(frozen=True, eq=False)
class Together:
    """A family of K quantities, all of which are right at once in `level` of samples.

    Parameters
    ----------
    level : of the whole family, 0.95.
    each : the level of one quantity's interval that this takes: 0.9975 or so; Bonferroni's would be 1 − 0.05 / K.
    low, high : float64 ``(K,)``, the intervals at `each`; NaN where none can be estimated.
    p : adjusted p-values ``(K,)``; NaN for quantities without one.
    """

    level: float
    each: float
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def together(estimates: Estimates, *, level: float = 0.95, draws: int = 10_000, seed: int = 0) -> Together:
    """Widen intervals and raise p-values so that they hold for all quantities of the family at once (single-step max-T).

    How far depends on how many independent questions the family holds: quantities that err together (a site and the
    scanner that stands there) count less than twice. That is read from the patients' influences: their multiplier
    bootstrap with normal weights has the correlation of its columns, from which the largest of K standardised errors is
    drawn. Each quantity keeps its own small-sample distribution (t, Wilson): it enters by its p-value, as a normal
    quantile. With few patients the correlations are themselves uncertain and are shrunk towards none, which is the
    careful side.

    Parameters
    ----------
    estimates : the whole family: everything that is shown, or looked at, together (see ``clustered.joined``).
    level : probability that all intervals hold.
    draws : of the largest error; with 10,000 an adjusted p of 0.05 is right to ± 0.004.
    seed : of the draws.

    References
    ----------
    Westfall & Young 1993, Resampling-Based Multiple Testing; Hothorn, Bretz & Westfall 2008, Biom J 50:346;
    Chernozhukov, Chetverikov & Kato 2013, Ann Stat 41:2786 (multiplier bootstrap of a maximum);
    Schäfer & Strimmer 2005, Stat Appl Genet Mol Biol 4:32 (shrinkage).
    """
    if draws < 100:
        message = f"draws={draws} is too few for a 95 % band; give at least 100, better 10,000."
        raise InputError(message)
    low, _ = estimates.intervals(level)
    family = np.isfinite(low)
    largest = _largest(estimates.influence[:, family], draws, seed)
    each = _own_level(largest, level, int(family.sum()))
    low, high = estimates.intervals(each)
    p = estimates.p_values()
    return Together(level, each, low, high, _adjusted(p, largest, int(family.sum())))


def joint_quantile(errors: np.ndarray, *, level: float = 0.95, draws: int = 10_000, seed: int = 0) -> float:
    """Return how many standard errors each of K intervals must reach so that all hold at once in `level` of samples.

    The errors are taken for jointly normal with the correlation of their replicates, so that no more replicates are
    needed than a correlation takes; it lies between the quantile of one interval and Bonferroni's of K.

    Parameters
    ----------
    errors : replicates of K quantities, ``(R, K)``, row by row from the same patients; NaN counts as no error.
    level, draws, seed : as in :func:`together`.

    References
    ----------
    Hothorn, Bretz & Westfall 2008, Biom J 50:346 (single-step max-T).
    """
    known = np.isfinite(errors)
    count = np.maximum(known.sum(0), 1)
    centred = np.where(known, errors - np.where(known, errors, 0.0).sum(0) / count, 0.0)
    lengths = np.sqrt((centred**2).sum(0))
    moving = lengths > 1e-12 * np.sqrt(count)
    kinds = int(moving.sum())
    each = _own_level(_largest(centred[:, moving] / lengths[moving], draws, seed), level, kinds)
    return float(-ndtri((1 - each) / 2))


def holm(p: np.ndarray) -> np.ndarray:
    """Adjust p-values for the chance of any false alarm (Holm 1979, Scand J Stat 6:65); NaN stays and does not count.

    Examples
    --------
    >>> holm(np.array([0.01, 0.04, np.nan, 0.03]))
    array([0.03, 0.06,  nan, 0.06])
    """
    known, order = _sorted(p)
    steps = np.maximum.accumulate(known[order] * np.arange(len(known), 0, -1))
    return _placed(p, order, np.minimum(steps, 1))


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjust p-values for the share of false alarms among the alarms (Benjamini & Hochberg 1995, J R Stat Soc B 57:289).

    NaN stays and does not count.

    Examples
    --------
    >>> benjamini_hochberg(np.array([0.01, 0.04, np.nan, 0.03]))
    array([0.03, 0.04,  nan, 0.04])
    """
    known, order = _sorted(p)
    raised = known[order] * len(known) / np.arange(1, len(known) + 1)
    return _placed(p, order, np.minimum(np.minimum.accumulate(raised[::-1])[::-1], 1))


def _largest(influence: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Draw the largest absolute standardised error of all quantities, sorted, ``(draws,)``."""
    count = influence.shape[1]
    if count == 0:
        return np.zeros(draws)
    if count <= MANY:
        values, vectors = np.linalg.eigh(_shrunk(influence))
        root = vectors * np.sqrt(np.maximum(values, 0))
    else:
        length = np.sqrt((influence**2).sum(0))
        root = influence.T / np.where(length > 0, length, 1)[:, None]
    generator = np.random.default_rng(seed)
    block = max(1, 2**22 // max(root.shape))
    parts = [
        np.abs(generator.standard_normal((min(block, draws - start), root.shape[1])) @ root.T).max(1)
        for start in range(0, draws, block)
    ]
    return np.sort(np.concatenate(parts))


def _shrunk(influence: np.ndarray) -> np.ndarray:
    """Correlation of the columns ``(K, K)``, its off-diagonal shrunk by its own sampling error."""
    length = np.sqrt((influence**2).sum(0))
    scaled = influence / np.where(length > 0, length, 1)
    correlation = scaled.T @ scaled
    np.fill_diagonal(correlation, 1)
    # Patients that carry both of two quantities; two groups without a common patient are uncorrelated for sure.
    carried = (influence != 0).astype(np.float64)
    common = carried.T @ carried
    error = np.where(common > 1, (1 - correlation**2) ** 2 / np.maximum(common - 1, 1), 0)
    np.fill_diagonal(error, 0)
    squares = (correlation**2).sum() - len(correlation)
    keep = 1 - min(error.sum() / squares, 1) if squares > 0 else 1.0
    return np.asarray(correlation * keep + (1 - keep) * np.eye(len(correlation)))


def _own_level(largest: np.ndarray, level: float, count: int) -> float:
    """Level of one interval at which all hold: between that of one alone and Bonferroni's."""
    alone = float(2 * ndtr(-np.quantile(largest, level))) if count > 1 else 1 - level
    return 1 - float(np.clip(alone, (1 - level) / max(count, 1), 1 - level))


def _adjusted(p: np.ndarray, largest: np.ndarray, count: int) -> np.ndarray:
    reached = -ndtri(p / 2)
    beyond = len(largest) - np.searchsorted(largest, np.nan_to_num(reached), side="left")
    adjusted = np.clip((beyond + 1) / (len(largest) + 1), p, np.minimum(p * max(count, 1), 1))
    return np.where(np.isnan(p), np.nan, adjusted)


def _sorted(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.asarray(p, dtype=np.float64)
    known = known[np.isfinite(known)]
    return known, np.argsort(known, kind="stable")


def _placed(p: np.ndarray, order: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    p = np.asarray(p, dtype=np.float64)
    result = np.full(p.shape, np.nan)
    places = np.flatnonzero(np.isfinite(p))
    result[places[order]] = adjusted
    return result

"""Shapley values of a game given as numbers: exact from every coalition's score, or estimated with an honest error."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Pairs of coalitions drawn between two looks at the error; fixed, so that nothing depends on a batch size.
ROUND = 64
# Parts that are each corrected by a model fitted to the others.
FOLDS = 8


def coalitions(players: int) -> np.ndarray:
    """Return every coalition, bool ``(2^P, P)``, in the order of :func:`members_of`; the first is empty, the last is all."""
    return members_of(np.arange(2**players), players)


def members_of(codes: np.ndarray, players: int) -> np.ndarray:
    """Return who is in some numbered coalitions, bool ``(m, P)``: player i where bit i of the number is set."""
    found: np.ndarray = (np.asarray(codes)[:, None] >> np.arange(players)) & 1 > 0
    return found


def exact_shapley(scores: np.ndarray) -> np.ndarray:
    """Share out ``v(all) - v(none)`` among the players by the average of what each adds to every coalition.

    ``φ_i = Σ over S without i of s! (P - s - 1)! / P! · (v(S with i) - v(S))`` (Shapley 1953), here as
    ``Σ over S with i of m(S) / s`` with m the Möbius transform of v (Harsanyi's dividends): O(P · 2^P) additions.

    Parameters
    ----------
    scores : ``(2^P, T)``, row c the score of coalition c as :func:`coalitions` orders them, for T targets.

    Returns
    -------
    float64 ``(P, T)``; the values add up to ``scores[-1] - scores[0]`` but for rounding.

    Raises
    ------
    InputError : where the number of rows is no power of two.

    Examples
    --------
    >>> exact_shapley(np.array([[0.0], [1.0], [3.0], [8.0]])).ravel().tolist()
    [3.0, 5.0]
    """
    dividends, sizes = _dividends(scores)
    shares = _sum_supersets(dividends / np.maximum(sizes, 1)[:, None])
    return shares[2 ** np.arange(_players(scores))]


def exact_interactions(scores: np.ndarray) -> np.ndarray:
    """Measure, for each two players, how much more they add together than each alone.

    The Shapley interaction index (Grabisch & Roubens 1999, Int. J. Game Theory 28:547):
    ``I_ij = Σ over S without i, j of s! (P - s - 2)! / (P - 1)! · (v(S with i, j) - v(S with i) - v(S with j) + v(S))``,
    here as ``Σ over S with i and j of m(S) / (s - 1)``. Positive: they need each other. Negative: either will do.

    Parameters
    ----------
    scores : as in :func:`exact_shapley`, of at least two players.

    Returns
    -------
    float64 ``(P, P, T)``, symmetric, 0 on the diagonal.

    Examples
    --------
    >>> exact_interactions(np.array([[0.0], [1.0], [3.0], [8.0]]))[0, 1].tolist()
    [4.0]
    """
    dividends, sizes = _dividends(scores)
    shares = _sum_supersets(dividends / np.maximum(sizes - 1, 1)[:, None])
    bits = 2 ** np.arange(_players(scores))
    found: np.ndarray = shares[bits[:, None] | bits]
    found[np.arange(len(bits)), np.arange(len(bits))] = 0
    return found


@dataclass(frozen=True)
class Estimate:
    """Shapley values and their standard errors, float64 ``(P, T)``, the empty coalition's score ``(T,)``, coalitions scored."""

    values: np.ndarray
    errors: np.ndarray
    empty: np.ndarray
    evaluations: int


def sampled_shapley(
    game: Callable[[np.ndarray], np.ndarray],
    players: int,
    *,
    samples: int = 2048,
    error: float | None = 0.02,
    generator: np.random.Generator,
) -> Estimate:
    """Estimate Shapley values of many players from random coalitions, each with its complement.

    Unbiased KernelSHAP with paired coalitions (Covert & Lee 2021, arXiv:2012.01536), corrected
    by regression (Witter, Liu & Musco 2025, arXiv:2506.11849). With p(s) ∝ 1 / (s (P - s)) the kernel's weight of
    coalitions of size s and ``λ = 1 / (2 H_{P-1})``, H the harmonic number,

        ``φ_i = β_i + E_p[(z_i - s / P) · (v(z) - g(z))] / λ``

    for any additive game ``g(z) = v(none) + Σ β_i z_i`` with ``Σ β_i = v(all) - v(none)``. The better g fits, the
    smaller is what has to be sampled: g is fitted by least squares, to the other seven of eight parts of the sample,
    so that the estimate has no bias. The complement takes away all that pairs of players do together. Sizes are drawn
    ∝ ``1 / √(s (P - s))``, which is best where the misfit of g is alike at all sizes. Single players and their
    complements, and larger sizes where the budget would draw about all of them, are listed, not drawn.

    Parameters
    ----------
    game : scores of coalitions: takes bool ``(m, P)``, gives ``(m, T)``. No coalition is asked for twice.
    players : P, at least 2.
    samples : most coalitions drawn or listed, at least :func:`least_samples`.
    error : stop when no standard error is larger than this part of the range of the values, as Covert & Lee
        propose; each target keeps what it had when it got there. None uses all of `samples`.
    generator : of all draws.

    Returns
    -------
    Estimate : the values add up to ``v(all) - v(none)`` but for rounding. Errors are 0 where everything was listed.

    Raises
    ------
    InputError : where `samples` is too small.
    """
    if samples < least_samples(players):
        message = f"samples {samples} is too few to tell the error for {players} players; give at least {least_samples(players)}."
        raise InputError(message)
    asked = _Asked(game, players)
    ends = asked.scores(np.array([np.zeros(players, dtype=bool), np.ones(players, dtype=bool)]))
    # What is listed is spent before the first look at the error; an easy game should stop soon however much is allowed.
    pairs = samples // 2 - 1
    listed_sizes, chances = _plan(players, pairs if error is None else min(pairs, 8 * ROUND))
    listed = _listed(players, listed_sizes)
    sample = _Sample(ends, listed, asked.differences(listed))
    left = pairs - len(listed) if chances else 0
    best = sample.estimate()
    values, errors, unsettled = *best, np.full(ends.shape[1], True)
    while left > 0 and unsettled.any():
        # The remainder joins the last round: a handful of pairs would tell nothing of its own.
        count = left if left < 2 * ROUND else ROUND
        drawn = _drawn(players, chances, count, generator)
        sample.add(drawn, asked.differences(drawn), chances)
        left -= count
        best = sample.estimate()
        values[:, unsettled], errors[:, unsettled] = best[0][:, unsettled], best[1][:, unsettled]
        if error is not None:
            unsettled &= errors.max(axis=0) > error * np.ptp(values, axis=0)
    return Estimate(values, errors, ends[0], asked.count)


def least_samples(players: int) -> int:
    """Return the fewest coalitions that tell an error: both ends, every player alone and left out, 16 drawn pairs."""
    return 2 + 2 * players + 32


def _players(scores: np.ndarray) -> int:
    players = max(len(scores), 1).bit_length() - 1
    if scores.ndim != 2 or len(scores) != 2**players or players < 1:
        message = f"scores of shape {scores.shape} must be (2^P, T): one row for each coalition of P players."
        raise InputError(message)
    return players


def _dividends(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the Möbius transform ``m(S) = Σ over R within S of (-1)^(s - r) v(R)``, and the size of each S."""
    players = _players(scores)
    values = scores.astype(np.float64)
    for player in range(players):
        halves = values.reshape(-1, 2, 2**player, values.shape[1])
        halves[:, 1] -= halves[:, 0]
    return values, coalitions(players).sum(axis=1)


def _sum_supersets(values: np.ndarray) -> np.ndarray:
    """Return, for each S, the sum over all coalitions that hold S."""
    sums = values.copy()
    for player in range(_players(values)):
        halves = sums.reshape(-1, 2, 2**player, sums.shape[1])
        halves[:, 0] += halves[:, 1]
    return sums


class _Asked:
    """The game, with what it said before."""

    def __init__(self, game: Callable[[np.ndarray], np.ndarray], players: int) -> None:
        self._game, self._players = game, players
        self._said: dict[bytes, np.ndarray] = {}

    @property
    def count(self) -> int:
        return len(self._said)

    def scores(self, members: np.ndarray) -> np.ndarray:
        keys = [row.tobytes() for row in members]
        fresh = list(dict.fromkeys(key for key in keys if key not in self._said))
        if fresh:
            new = np.frombuffer(b"".join(fresh), dtype=bool).reshape(-1, self._players)
            self._said |= dict(zip(fresh, np.asarray(self._game(new), dtype=np.float64), strict=True))
        return np.array([self._said[key] for key in keys])

    def differences(self, members: np.ndarray) -> np.ndarray:
        """Return each coalition's score less its complement's, ``(m, T)``."""
        both = self.scores(np.stack([members, ~members], axis=1).reshape(-1, self._players))
        difference: np.ndarray = both[::2] - both[1::2]
        return difference


class _Sample:
    """Pairs of coalitions seen so far; those listed come first."""

    def __init__(self, ends: np.ndarray, listed: np.ndarray, differences: np.ndarray) -> None:
        self.players = listed.shape[1]
        self.rise = ends[1] - ends[0]
        self.listed = len(listed)
        sizes = listed.sum(axis=1)
        counts = np.array([comb(self.players, int(size)) for size in sizes])
        self.weights = 2 * _kernel(self.players)[sizes - 1] / counts
        self.centred, self.left = self._without_mean(listed, differences)

    def add(self, drawn: np.ndarray, differences: np.ndarray, chances: dict[int, float]) -> None:
        sizes = drawn.sum(axis=1)
        kernel = _kernel(self.players)
        share = {s: kernel[s - 1] * (1 if 2 * s == self.players else 2) / chance for s, chance in chances.items()}
        centred, left = self._without_mean(drawn, differences)
        self.weights = np.concatenate([self.weights, [share[int(size)] for size in sizes]])
        self.centred, self.left = np.concatenate([self.centred, centred]), np.concatenate([self.left, left])

    def _without_mean(self, members: np.ndarray, differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take off what the additive game says whose players are all alike."""
        sizes = members.sum(axis=1)[:, None]
        alike = self.rise * (2 * sizes - self.players) / self.players
        return 2.0 * (members - sizes / self.players), differences - alike

    def estimate(self) -> tuple[np.ndarray, np.ndarray]:
        """Return values and standard errors, ``(P, T)``."""
        x, y, listed = self.centred, self.left, self.listed
        scale = np.sum(1 / np.arange(1, self.players)) / 2  # 1 / (4 λ)
        drawn = len(x) - listed
        folds = np.arange(drawn) % FOLDS
        gram, moment = x.T @ x, x.T @ y
        total, squares = np.zeros((self.players, y.shape[1])), np.zeros((self.players, y.shape[1]))
        for fold in range(FOLDS) if drawn else [0]:
            own = listed + np.flatnonzero(folds == fold)
            # Every row of x adds up to 0, and so must the fit; one more equation says so (the + 1 in every place).
            fit = np.linalg.solve(gram - x[own].T @ x[own] + 1, moment - x[own].T @ y[own])
            misfit = y - x @ fit
            known = (self.weights[:listed, None] * x[:listed]).T @ misfit[:listed]
            guesses = self.weights[own, None, None] * x[own, :, None] * misfit[own, None, :]
            total += max(len(own), 1) * (fit + scale * known) + scale * guesses.sum(axis=0)
            squares += ((guesses - guesses.mean(axis=0)) ** 2).sum(axis=0) if len(own) else 0
        values = self.rise / self.players + total / max(drawn, 1)
        errors = scale * np.sqrt(squares / max(drawn - FOLDS, 1) / max(drawn, 1))
        return values, errors


def _kernel(players: int) -> np.ndarray:
    """Return how likely the kernel makes each size 1 … P - 1."""
    sizes = np.arange(1, players)
    weights = 1 / (sizes * (players - sizes))
    kernel: np.ndarray = weights / weights.sum()
    return kernel


def _plan(players: int, pairs: int) -> tuple[list[int], dict[int, float]]:
    """Choose the sizes (up to half the players) that are listed, and how likely each other one is drawn."""
    sizes = list(range(1, players // 2 + 1))
    counts = {size: comb(players, size) // (2 if 2 * size == players else 1) for size in sizes}
    # A size s stands for P - s too; the middle one for itself alone.
    weights = {s: (0.5 if 2 * s == players else 1.0) / np.sqrt(s * (players - s)) for s in sizes}
    listed = 0
    while listed < len(sizes):
        left = pairs - sum(counts[size] for size in sizes[:listed])
        rest = sum(weights[size] for size in sizes[listed:])
        if listed and left * weights[sizes[listed]] / rest < counts[sizes[listed]]:
            break
        listed += 1
    rest = sum(weights[size] for size in sizes[listed:])
    return sizes[:listed], {size: weights[size] / rest for size in sizes[listed:]}


def _listed(players: int, sizes: Iterable[int]) -> np.ndarray:
    """List one of each two complementary coalitions of these sizes."""
    rows = []
    for size in sizes:
        for chosen in combinations(range(players), size):
            if 2 * size < players or chosen[0] == 0:
                row = np.zeros(players, dtype=bool)
                row[list(chosen)] = True
                rows.append(row)
    return np.array(rows)


def _drawn(players: int, chances: dict[int, float], count: int, generator: np.random.Generator) -> np.ndarray:
    sizes = generator.choice(list(chances), size=count, p=list(chances.values()))
    ranks = generator.random((count, players)).argsort(axis=1).argsort(axis=1)
    members: np.ndarray = ranks < sizes[:, None]
    return members

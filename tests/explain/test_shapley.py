"""Shapley values against all orders of the players, the axioms, and the estimator's error against many seeds."""

from __future__ import annotations

from itertools import combinations, permutations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from workbench.errors import InputError
from workbench.explain.shapley import (
    coalitions,
    exact_interactions,
    exact_shapley,
    least_samples,
    members_of,
    sampled_shapley,
)


def games(players: int, targets: int = 2) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, (2**players, targets), elements=st.floats(-10, 10))


some_games = st.integers(1, 5).flatmap(games)


def number(coalition: frozenset[int] | tuple[int, ...]) -> int:
    return sum(2**player for player in coalition)


def by_all_orders(scores: np.ndarray) -> np.ndarray:
    players = len(scores).bit_length() - 1
    total = np.zeros((players, scores.shape[1]))
    for order in permutations(range(players)):
        for place, player in enumerate(order):
            total[player] += scores[number(order[: place + 1])] - scores[number(order[:place])]
    return total / factorial(players)


def network_like(players: int, seed: int = 1) -> np.ndarray:
    """A smooth game with interactions of all orders, two targets."""
    generator = np.random.default_rng(seed)
    inner, outer = generator.normal(size=(players, 24)) / np.sqrt(players), generator.normal(size=(24, 2))
    return np.tanh((coalitions(players) - 0.5) @ inner * 4) @ outer


def played(scores: np.ndarray) -> tuple[list[int], object]:
    """The game as a function, and a list of how many coalitions each call asked for."""
    asked: list[int] = []
    bits = 2 ** np.arange(len(scores).bit_length() - 1)

    def game(members: np.ndarray) -> np.ndarray:
        asked.append(len(members))
        return scores[members @ bits]

    return asked, game


def estimates(scores: np.ndarray, *, seeds: int, **settings: object) -> list:
    players = len(scores).bit_length() - 1
    _, game = played(scores)
    return [sampled_shapley(game, players, generator=np.random.default_rng(s), **settings) for s in range(seeds)]


@given(some_games)
def test_values_are_the_average_over_all_orders(scores: np.ndarray) -> None:
    assert np.allclose(exact_shapley(scores), by_all_orders(scores), atol=1e-9)


@given(some_games)
def test_values_add_up_to_what_all_achieve(scores: np.ndarray) -> None:
    assert np.allclose(exact_shapley(scores).sum(axis=0), scores[-1] - scores[0], atol=1e-9)


@given(games(4))
def test_players_who_add_alike_get_alike(scores: np.ndarray) -> None:
    swapped = members_of(np.arange(16), 4)[:, [1, 0, 2, 3]] @ (2 ** np.arange(4))
    values = exact_shapley(scores + scores[swapped])
    assert np.allclose(values[0], values[1], atol=1e-9)


@given(games(4))
def test_a_player_who_adds_nothing_gets_nothing_and_interacts_with_nobody(scores: np.ndarray) -> None:
    codes = np.arange(16)
    without_2 = scores[codes & ~4]
    assert np.allclose(exact_shapley(without_2)[2], 0, atol=1e-9)
    assert np.allclose(exact_interactions(without_2)[2], 0, atol=1e-9)


@given(games(4), games(4), st.floats(-3, 3))
def test_values_and_interactions_are_linear_in_the_game(one: np.ndarray, other: np.ndarray, factor: float) -> None:
    for index in (exact_shapley, exact_interactions):
        assert np.allclose(index(one + factor * other), index(one) + factor * index(other), atol=1e-8)


@given(st.integers(2, 5).flatmap(games))
def test_interactions_are_what_their_definition_says(scores: np.ndarray) -> None:
    players = len(scores).bit_length() - 1
    found = exact_interactions(scores)
    for i, j in combinations(range(players), 2):
        rest = [player for player in range(players) if player not in {i, j}]
        expected = np.zeros(scores.shape[1])
        for size in range(len(rest) + 1):
            weight = factorial(size) * factorial(players - size - 2) / factorial(players - 1)
            for others in combinations(rest, size):
                corners = [scores[number((*others, *more))] for more in ((i, j), (i,), (j,), ())]
                expected += weight * (corners[0] - corners[1] - corners[2] + corners[3])
        assert np.allclose(found[i, j], expected, atol=1e-8)
        assert np.array_equal(found[i, j], found[j, i])


def test_a_product_of_two_players_is_all_interaction() -> None:
    both = coalitions(3)[:, :1] * coalitions(3)[:, 2:] * 6.0
    assert np.allclose(exact_shapley(both).ravel(), [3, 0, 3])
    assert np.allclose(exact_interactions(both)[:, :, 0], [[0, 0, 6], [0, 0, 0], [6, 0, 0]])


def test_twelve_players_are_exact_to_rounding() -> None:
    scores = network_like(12) * 100
    members = coalitions(12)
    weights = np.array([factorial(s) * factorial(11 - s) / factorial(12) for s in range(12)])
    without = ~members[:, 7]
    codes = np.flatnonzero(without)
    expected = weights[members[without].sum(axis=1)] @ (scores[codes | 2**7] - scores[codes])
    assert np.allclose(exact_shapley(scores)[7], expected, atol=1e-10)


@pytest.mark.parametrize("shape", [(3, 1), (8,), (1, 2), (0, 2)])
def test_scores_that_are_not_one_row_a_coalition_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"must be \(2\^P, T\)"):
        exact_shapley(np.zeros(shape))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**30), players=st.integers(6, 20))
def test_a_game_of_singles_and_pairs_is_found_without_error(seed: int, players: int) -> None:
    generator = np.random.default_rng(seed)
    single, pair = generator.normal(size=players), np.triu(generator.normal(size=(players, players)), 1)

    def game(members: np.ndarray) -> np.ndarray:
        members = members.astype(float)
        return (members @ single + ((members @ pair) * members).sum(axis=1))[:, None]

    found = sampled_shapley(game, players, samples=200, generator=generator)
    assert np.allclose(found.values[:, 0], single + (pair + pair.T).sum(axis=1) / 2, atol=1e-9)
    assert found.errors.max() < 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**30), players=st.integers(2, 13), samples=st.integers(60, 700))
def test_estimates_add_up_to_what_all_achieve(seed: int, players: int, samples: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(2**players, 3))
    asked, game = played(scores)
    found = sampled_shapley(game, players, samples=samples, error=None, generator=np.random.default_rng(seed))
    assert np.allclose(found.values.sum(axis=0), scores[-1] - scores[0], atol=1e-9)
    assert np.array_equal(found.empty, scores[0])
    assert found.evaluations == sum(asked) <= samples


def test_few_players_are_listed_and_have_no_error() -> None:
    scores = np.random.default_rng(0).normal(size=(2**7, 2))
    (found,) = estimates(scores, seeds=1, samples=200)
    assert found.evaluations == 128
    assert np.allclose(found.values, exact_shapley(scores), atol=1e-9)
    assert not found.errors.any()


@pytest.mark.parametrize(("players", "samples"), [(13, 300), (13, 1200), (16, 500)])
@pytest.mark.parametrize("kind", ["smooth", "noise"])
def test_the_error_is_what_other_seeds_show_and_there_is_no_bias(players: int, samples: int, kind: str) -> None:
    scores = network_like(players) if kind == "smooth" else np.random.default_rng(2).normal(size=(2**players, 2))
    runs = estimates(scores, seeds=100, samples=samples, error=None)
    off = np.array([run.values for run in runs]) - exact_shapley(scores)
    said = np.array([run.errors for run in runs])
    assert 0.93 < np.sqrt((off**2).mean() / (said**2).mean()) < 1.08
    assert 0.92 < (np.abs(off) < 1.96 * said).mean() < 0.97
    bias = off.mean(axis=0) / (off.std(axis=0, ddof=1) / np.sqrt(len(runs)))
    assert np.abs(bias).max() < 4
    assert 0.6 < np.sqrt((bias**2).mean()) < 1.4


def test_it_needs_at_most_half_the_coalitions_of_paired_permutations() -> None:
    players, samples = 14, 1000
    scores, bits, exact = network_like(players), 2 ** np.arange(players), exact_shapley(network_like(players))
    ours = np.array([run.values for run in estimates(scores, seeds=30, samples=samples, error=None)])
    generator, theirs = np.random.default_rng(0), []
    for _ in range(30):
        total = np.zeros(exact.shape)
        for _ in range(samples // (2 * (players - 1))):
            order = generator.permutation(players)
            for way in (order, order[::-1]):
                total[way] += np.diff(scores[np.concatenate([[0], np.cumsum(bits[way])])], axis=0)
        theirs.append(total / (2 * (samples // (2 * (players - 1)))))
    assert ((ours - exact) ** 2).mean() < 0.5 * ((np.array(theirs) - exact) ** 2).mean()


def test_sampling_stops_at_the_error_asked_for_and_keeps_each_targets_own_answer() -> None:
    scores = network_like(16)
    scores[:, 1] = coalitions(16) @ np.arange(16.0)
    _, game = played(scores)
    both = sampled_shapley(game, 16, error=0.03, samples=20_000, generator=np.random.default_rng(0))
    _, game = played(scores[:, 1:])
    easy = sampled_shapley(game, 16, error=0.03, samples=20_000, generator=np.random.default_rng(0))
    assert (both.errors.max(axis=0) <= 0.03 * np.ptp(both.values, axis=0)).all()
    assert easy.evaluations < 200 < both.evaluations < 20_000
    assert np.allclose(both.values[:, 1:], easy.values, atol=1e-12)
    assert (both.errors[:, 1] < 1e-12).all()


def test_the_error_stays_right_when_it_decides_when_to_stop() -> None:
    scores = network_like(14, seed=3)
    runs = estimates(scores, seeds=80, error=0.06, samples=4096)
    z = np.array([(run.values - exact_shapley(scores)) / run.errors for run in runs])
    assert len({run.evaluations for run in runs}) > 2
    assert 0.92 < (np.abs(z) < 1.96).mean() < 0.97


def test_no_coalition_is_scored_twice() -> None:
    seen: set[bytes] = set()

    def game(members: np.ndarray) -> np.ndarray:
        fresh = {row.tobytes() for row in members}
        assert len(fresh) == len(members)
        assert not fresh & seen
        seen.update(fresh)
        return (members @ np.arange(13.0))[:, None] ** 2

    sampled_shapley(game, 13, samples=1500, error=None, generator=np.random.default_rng(0))


def test_too_few_samples_are_refused_with_the_number_that_will_do() -> None:
    _, game = played(np.zeros((2**13, 1)))
    with pytest.raises(InputError, match="give at least 60"):
        sampled_shapley(game, 13, samples=59, generator=np.random.default_rng(0))
    assert sampled_shapley(game, 13, samples=least_samples(13), generator=np.random.default_rng(0)).evaluations <= 60

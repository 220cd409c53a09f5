"""Point values and closed-form intervals against independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from workbench.audit.estimation.closed_forms import area, pulls, share
from workbench.audit.estimation.clusters import clusters_of, counts, shares
from workbench.audit.sample import Design
from workbench.groups import Partition
from workbench.intervals import area_score, difference, logit, normal_quantile, ratio, wilson

Z = normal_quantile(0.95)


def found(truth, score, who=None, weights=None):
    truth, score = np.asarray(truth, bool), np.asarray(score, float)
    who = np.arange(len(truth)) if who is None else np.asarray(who)
    weights = np.ones(len(truth)) if weights is None else np.asarray(weights, float)
    order = np.argsort(score, kind="stable")
    return pulls(score[order], truth[order], patients=who[order], weights=weights[order])


def design(truth, score, who, groups, weights=None):
    codes = np.asarray(groups, dtype=np.int64)
    names = tuple(f"g={code}" for code in range(codes.max() + 1))
    weights = np.ones(len(truth)) if weights is None else weights
    return Design(np.asarray(score), np.asarray(truth), np.asarray(who), (Partition("g", names, codes),), weights)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(1, 3)), min_size=4, max_size=60))
@settings(max_examples=60, deadline=None)
def test_auroc_with_ties_and_weights_is_scikit_learns(rows):
    truth = [True, False, *(row[0] for row in rows)]
    score = [0.5, 0.5, *(row[1] / 6 for row in rows)]
    weights = [1, 1, *(row[2] for row in rows)]
    expected = roc_auc_score(truth, score, sample_weight=weights)
    assert found(truth, score, weights=weights).value == pytest.approx(expected, abs=1e-12)


def test_pairs_beyond_32_bits_are_counted():
    truth = np.repeat([True, False], 70_000)
    assert found(truth, np.linspace(0, 1, 140_000) ** 2).value == 0.0


def brute_variance(truth, score, who):
    """Obuchowski 1997 by two nested loops over all pairs."""
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    psi = np.array([[float(score[i] > score[j]) + 0.5 * (score[i] == score[j]) for j in negative] for i in positive])
    value, m, n = psi.mean(), len(positive), len(negative)
    first = {p: (psi.mean(axis=1) - value)[who[positive] == p].sum() for p in set(who[positive])}
    second = {p: (psi.mean(axis=0) - value)[who[negative] == p].sum() for p in set(who[negative])}
    k, a, b = len(set(who)), len(first), len(second)
    both = sum(first[p] * second[p] for p in set(first) & set(second))
    return (
        a / (a - 1) * sum(v**2 for v in first.values()) / m**2
        + b / (b - 1) * sum(v**2 for v in second.values()) / n**2
        + 2 * k / (k - 1) * both / (m * n)
    )


@pytest.mark.parametrize("images", [1, 3])
def test_the_logit_interval_uses_delongs_or_obuchowskis_variance(images):
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(60 // images), images)
    truth, score = rng.random(60) < 0.5, rng.random(60).round(1)
    made = area(found(truth, score, who))
    expected = logit(made.value, brute_variance(truth, score, who), Z)
    assert made.interval(Z) == pytest.approx(expected, abs=1e-12)
    assert ("DeLong" in made.method) == (images == 1)


def test_whole_weights_are_copies_of_rows_of_the_same_patient():
    rng = np.random.default_rng(4)
    truth, score, weights = rng.random(40) < 0.5, rng.random(40).round(1), rng.integers(1, 4, 40)
    once = found(truth, score, weights=weights)
    copied = found(*(np.repeat(one, weights) for one in (truth, score, np.arange(40))))
    assert once.value == pytest.approx(copied.value, abs=1e-12)
    assert once.variance == pytest.approx(copied.variance, rel=1e-12)


def test_perfect_separation_keeps_an_honest_width():
    truth, score = np.repeat([False, True], 10), np.linspace(0, 1, 20)
    made = area(found(truth, score))
    assert made.value == made.interval(Z)[1] == 1.0
    assert 0.75 < made.interval(Z)[0] < 0.95
    assert "no pair is out of order" in made.reason


def test_a_missing_class_is_not_estimable():
    assert found([True, True], [0.1, 0.2]) is None


def test_the_correlation_of_two_areas_is_that_of_their_replicates():
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(150), 2)
    truth = (rng.random(150) < 0.5)[who]
    score = rng.normal(size=150)[who] + 0.5 * rng.normal(size=300) + truth
    sides = [np.arange(300) % 2 == side for side in (0, 1)]
    apart = [found(truth[one], score[one], who[one]) for one in sides]
    drawn = np.array([
        [found(truth[one], score[one], who[one], weights[who[one]]).value for one in sides]
        for weights in rng.poisson(1, (600, 150)) + 1e-12
    ])  # fmt: skip
    # The error of a correlation of 600 draws is about 0.04 (1 - r²).
    assert apart[0].correlation(apart[1]) == pytest.approx(np.corrcoef(drawn.T)[0, 1], abs=0.06)


def test_shares_counts_and_their_errors_are_those_of_plain_loops():
    rng = np.random.default_rng(1)
    who, groups = rng.integers(0, 40, 200), rng.integers(0, 3, 200)
    hits, weights = (
        np.where(rng.random(200) < 0.2, np.nan, rng.random(200) < 0.7),
        rng.integers(1, 4, 200).astype(float),
    )
    made = design(hits == 1, hits, who, groups)
    clusters = clusters_of(made, made.partitions[0])
    got, rows = shares(clusters, hits, weights), np.isfinite(hits)
    images, patients = counts(clusters, rows)
    for side, chosen in ((0, lambda g: groups == g), (1, lambda g: groups != g)):
        for group in range(3):
            here = rows & chosen(group)
            value = np.average(hits[here], weights=weights[here])
            pull = np.array([(weights * (hits - value))[here & (who == one)].sum() for one in np.unique(who[here])])
            total = weights[here].sum()
            assert (images[side, group], patients[side, group]) == (here.sum(), len(pull))
            assert got.values[side, group] == pytest.approx(value)
            assert got.variance[side, group] == pytest.approx(len(pull) / (len(pull) - 1) * (pull**2).sum() / total**2)
            mass = np.array([weights[here & (who == one)].sum() for one in np.unique(who[here])])
            assert got.alone[side, group] == pytest.approx(total**2 / (mass**2).sum())
    here, there = rows & (groups == 1), rows & (groups != 1)
    first, second = (np.average(hits[one], weights=weights[one]) for one in (here, there))
    both = sum(
        (weights * (hits - first))[here & (who == one)].sum() * (weights * (hits - second))[there & (who == one)].sum()
        for one in range(40)
    )
    assert got.covariance[1] == pytest.approx(both / (weights[here].sum() * weights[there].sum()))


def test_copies_of_an_image_add_no_evidence():
    rng = np.random.default_rng(1)
    hits = (rng.random(80) < 0.7).astype(float)
    once = design(hits == 1, hits, np.arange(80), np.zeros(80))
    copied = design(np.repeat(hits, 4) == 1, np.repeat(hits, 4), np.repeat(np.arange(80), 4), np.zeros(320))
    single, many = (
        share(shares(clusters_of(one, one.partitions[0]), one.scores, one.weights), 0, 0) for one in (once, copied)
    )
    assert many.value == single.value
    assert many.interval(Z) == pytest.approx(single.interval(Z), abs=0.01)
    assert many.interval(Z)[1] - many.interval(Z)[0] >= single.interval(Z)[1] - single.interval(Z)[0]


def test_wilson_solves_its_defining_equation():
    for value, size in [(0.9, 20), (0.5, 7), (0.02, 300)]:
        for bound in wilson(value, size, Z):
            assert abs(value - bound) == pytest.approx(Z * math.sqrt(bound * (1 - bound) / size), abs=1e-12)
    assert wilson(1.0, 10, Z) == (pytest.approx(10 / (10 + Z**2)), 1.0)


def test_newcombes_area_interval_solves_its_defining_equation():
    low, high = area_score(0.8, 12, 30, Z)
    for theta in (low, high):
        spread = 1 + 20 * (1 - theta) / (2 - theta) + 20 * theta / (1 + theta)
        assert abs(0.8 - theta) == pytest.approx(Z * math.sqrt(theta * (1 - theta) * spread / 360), abs=1e-9)


def test_the_difference_is_newcombes_published_one():
    # Newcombe 1998, table II, example (a): 56/70 against 48/80.
    interval = difference(0.8, wilson(0.8, 70, Z), 0.6, wilson(0.6, 80, Z))
    assert interval == (pytest.approx(0.0524, abs=5e-5), pytest.approx(0.3339, abs=5e-5))


@pytest.mark.parametrize("correlation", [0.0, 0.4, -0.3])
def test_at_a_bound_of_the_ratio_the_interval_of_the_difference_touches_zero(correlation):
    first, second = (0.6, (0.45, 0.73)), (0.8, (0.7, 0.87))
    low, high = ratio(*first, *second, correlation=correlation)
    assert low < 0.75 < high
    for bound, end in ((low, 0), (high, 1)):
        scaled = bound * second[0], (bound * second[1][0], bound * second[1][1])
        assert difference(*first, *scaled, correlation=correlation)[end] == pytest.approx(0, abs=1e-12)
    assert ratio(0.3, (0.1, 0.6), 0.2, (0.0, 0.5))[1] == math.inf
    assert all(math.isnan(bound) for bound in ratio(0.3, (0.1, 0.6), 0.0, (0.0, 0.2)))

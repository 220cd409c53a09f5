"""Point values and closed-form intervals against independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from workbench.audit.metrics import auroc, rate
from workbench.audit.sample import Design
from workbench.intervals import area_score, difference, logit, normal_quantile, wilson

Z = normal_quantile(0.95)


def arms(truth, score, who=None):
    from workbench.groups import Partition

    who = np.arange(len(truth)) if who is None else np.asarray(who)
    everybody = Partition("", ("all",), np.zeros(len(truth), dtype=np.int64))
    sample = Design(np.asarray(score, float), np.asarray(truth, bool), who, (everybody,), np.ones(len(who))).samples[0]
    return sample.positives, sample.negatives


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=60))
@settings(max_examples=60, deadline=None)
def test_auroc_with_ties_is_scikit_learns(rows):
    truth = [True, False, *(row[0] for row in rows)]
    score = [0.5, 0.5, *(row[1] / 6 for row in rows)]
    assert auroc(*arms(truth, score), Z).value == pytest.approx(roc_auc_score(truth, score), abs=1e-12)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_a_rising_transform_of_the_scores_leaves_auroc_as_it_is(seed):
    rng = np.random.default_rng(seed)
    truth, score = rng.permutation([True, False] * 15), rng.random(30)
    assert auroc(*arms(truth, score), Z) == auroc(*arms(truth, score**3), Z)


def test_pairs_beyond_32_bits_are_counted():
    truth = np.repeat([True, False], 70_000)
    score = np.linspace(0, 1, 140_000) ** 2
    assert auroc(*arms(truth, score), Z).value == 0.0


def brute_variance(truth, score, who):
    """Obuchowski 1997 by two nested loops over all pairs."""
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    psi = np.array([[float(score[i] > score[j]) + 0.5 * (score[i] == score[j]) for j in negative] for i in positive])
    area, m, n = psi.mean(), len(positive), len(negative)
    first = {p: (psi.mean(axis=1) - area)[who[positive] == p].sum() for p in set(who[positive])}
    second = {p: (psi.mean(axis=0) - area)[who[negative] == p].sum() for p in set(who[negative])}
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
    found = auroc(*arms(truth, score, who), Z)
    assert found.interval == pytest.approx(logit(found.value, brute_variance(truth, score, who), Z), abs=1e-12)
    assert ("DeLong" in found.method) == (images == 1)


def test_perfect_separation_keeps_an_honest_width():
    truth, score = np.repeat([False, True], 10), np.linspace(0, 1, 20)
    found = auroc(*arms(truth, score), Z)
    assert found.value == found.interval[1] == 1.0
    assert 0.75 < found.interval[0] < 0.95


def test_a_missing_class_is_not_estimable():
    assert math.isnan(auroc(*arms([True, True], [0.1, 0.2]), Z).value)


def test_wilson_solves_its_defining_equation():
    for share, size in [(0.9, 20), (0.5, 7), (0.02, 300)]:
        for bound in wilson(share, size, Z):
            assert abs(share - bound) == pytest.approx(Z * math.sqrt(bound * (1 - bound) / size), abs=1e-12)
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


def test_copies_of_an_image_add_no_evidence():
    rng = np.random.default_rng(1)
    truth, score = np.repeat([True, False], 40), rng.random(80)
    once, _ = arms(truth, score)
    copied, _ = arms(np.repeat(truth, 4), np.repeat(score, 4), np.repeat(np.arange(80), 4))
    single, many = rate(once, once.scores > 0.3, Z), rate(copied, copied.scores > 0.3, Z)
    assert many.value == single.value
    assert many.interval == pytest.approx(single.interval, abs=0.005)

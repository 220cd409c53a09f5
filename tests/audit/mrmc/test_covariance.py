"""Covariances of the readers' figures of merit, against plain loops over pairs, cases and patients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from workbench.audit.mrmc.covariance import delong, jackknife, leave_one_out, unbiased
from workbench.audit.mrmc.merit import METRICS, Sides, sides_of
from workbench.audit.mrmc.readings import readings


def win(a, b):
    return 1.0 if a > b else 0.5 if a == b else 0.0


@pytest.fixture
def small():
    """Five rows of coarse ratings of 7 positives and 6 negatives, of 13 patients."""
    rng = np.random.default_rng(3)
    return Sides(
        rng.integers(2, 6, (5, 7)).astype(float), rng.integers(0, 5, (5, 6)).astype(float), np.arange(7), np.arange(7, 13),
        np.zeros(5, int), np.arange(5),
    )  # fmt: skip


def test_delong_equals_the_sum_over_all_pairs(small):
    values, matrix = delong(small)
    wins = np.array(
        [[[win(a, b) for b in low] for a in high] for high, low in zip(small.positive, small.negative, strict=True)]
    )
    assert values == pytest.approx(wins.mean((1, 2)), abs=1e-12)
    expected = np.cov(wins.mean(2)) / 7 + np.cov(wins.mean(1)) / 6
    assert matrix == pytest.approx(expected, abs=1e-12)


def test_a_patients_cases_are_kept_together_as_obuchowski_did(small):
    patients = np.array([0, 0, 1, 2, 3, 3, 3]), np.array([0, 4, 4, 5, 6, 7])
    clustered = Sides(small.positive, small.negative, *patients, small.modality, small.reader)
    _, matrix = delong(clustered)
    wins = np.array(
        [[[win(a, b) for b in low] for a in high] for high, low in zip(small.positive, small.negative, strict=True)]
    )
    values = wins.mean((1, 2))
    first = [[(wins[r].mean(1) - values[r])[patients[0] == who].sum() for who in range(8)] for r in range(5)]
    second = [[(wins[r].mean(0) - values[r])[patients[1] == who].sum() for who in range(8)] for r in range(5)]
    for i, j in itertools.product(range(5), repeat=2):
        # Obuchowski 1997, eq. 5–7: 4 patients have positives, 5 have negatives, 8 there are.
        expected = 4 / 3 * np.dot(first[i], first[j]) / 49 + 5 / 4 * np.dot(second[i], second[j]) / 36
        expected += 8 / 7 * (np.dot(first[i], second[j]) + np.dot(second[i], first[j])) / 42
        assert matrix[i, j] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("together", [False, True])
def test_the_jackknife_equals_leaving_out_by_hand(small, together):
    patients = (
        (np.array([0, 0, 1, 2, 3, 3, 3]), np.array([0, 4, 4, 5, 6, 7]))
        if together
        else (np.arange(7), np.arange(7, 13))
    )
    sides = Sides(small.positive, small.negative, *patients, small.modality, small.reader)
    _, matrix = jackknife(sides)
    names = np.unique(np.concatenate(patients))
    left = np.array([
        [np.mean([win(a, b) for a, b in itertools.product(high[patients[0] != who], low[patients[1] != who])]) for who in names]
        for high, low in zip(small.positive, small.negative, strict=True)
    ])  # fmt: skip
    assert leave_one_out(sides)[1] == pytest.approx(left, abs=1e-12)
    count = len(names)
    assert matrix == pytest.approx(np.cov(left) * (count - 1) ** 2 / count, abs=1e-12)


def test_the_unbiased_covariance_is_right_on_average():
    # All 3^6 samples of a population of three pairs of ratings: the mean estimate is the variance of the areas.
    population = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0]])
    areas, estimates = [], []
    for draw in itertools.product(range(3), repeat=6):
        high, low = population[:, draw[:3]] + 0.5, population[:, draw[3:]]
        sides = Sides(high, low, np.arange(3), np.arange(3, 6), np.zeros(2, int), np.arange(2))
        values, matrix = unbiased(sides)
        areas.append(values)
        estimates.append(matrix)
    assert np.mean(estimates, axis=0) == pytest.approx(np.cov(np.array(areas).T, ddof=0), abs=1e-12)


@pytest.mark.parametrize("method", [delong, jackknife, unbiased])
def test_the_variance_of_a_sensitivity_is_that_of_a_share(study, columns, method):
    table = study(1, readers=2, modalities=("A",), positives=40)
    data = readings(table, columns | {"patient": None})
    values, matrix = method(sides_of(data, "sensitivity", 1.0))
    calls = data.scores[0][:, data.truth] >= 1.0
    assert values == pytest.approx(calls.mean(1), abs=1e-12)
    assert matrix == pytest.approx(np.cov(calls) / 40, abs=1e-12)


def test_balanced_accuracy_is_the_mean_of_sensitivity_and_specificity(study, columns):
    data = readings(study(2), columns | {"patient": None})
    found = {name: delong(sides_of(data, name, 0.7)) for name in METRICS[1:]}
    half = (found["sensitivity"][0] + found["specificity"][0]) / 2
    assert found["balanced accuracy"][0] == pytest.approx(half, abs=1e-12)
    quarter = (found["sensitivity"][1] + found["specificity"][1]) / 4
    assert found["balanced accuracy"][1] == pytest.approx(quarter, abs=1e-12)


def test_areas_agree_with_scikit_learn(study, columns):
    from sklearn.metrics import roc_auc_score

    data = readings(study(4, digits=0), columns | {"patient": None})
    values, _ = delong(sides_of(data, "AUROC", None))
    expected = [roc_auc_score(data.truth, scores) for scores in data.scores.reshape(-1, len(data.cases))]
    assert values == pytest.approx(expected, abs=1e-12)

"""Numbers per image of patients with several images: intervals that hold, p-values that agree with the textbook's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from workbench.clustered import FEWEST, Estimates, gaps, joined, means, paired
from workbench.errors import InputError
from workbench.influence import freedom, influence, side


def correlated(rng, patients, images, columns, correlation):
    """Standard normal values of which those of a patient correlate; who they are of."""
    who = np.repeat(np.arange(patients), images)
    shared = rng.normal(size=(patients, columns))[who]
    return who, np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=(len(who), columns))


def halves(values, first):
    return np.where(first, values, np.nan), np.where(first, np.nan, values)


def both_bounds(estimates: Estimates, level=0.95):
    return np.concatenate(estimates.intervals(level))


def test_one_image_a_patient_gives_students_interval():
    values = np.random.default_rng(0).normal(3, 2, size=11)
    known = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert both_bounds(means(values, np.arange(11)), 0.9) == pytest.approx([known.low, known.high], abs=1e-12)


@given(st.integers(2, 12), st.integers(2, 12), st.floats(0.1, 20), st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_a_gap_between_independent_images_is_welchs(first, second, spread, seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(size=first), rng.normal(1, spread, size=second)])
    gap = gaps(*halves(values, np.arange(first + second) < first), np.arange(first + second))
    welch = stats.ttest_ind(values[:first], values[first:], equal_var=False)
    assert gap.p_values()[0] == pytest.approx(welch.pvalue, rel=1e-9)
    assert both_bounds(gap) == pytest.approx(list(welch.confidence_interval()), rel=1e-9)


def test_a_difference_on_the_same_images_is_the_paired_t_test():
    values, baseline = np.random.default_rng(1).normal(size=(2, 15))
    found, known = paired(values, baseline, np.arange(15)), stats.ttest_rel(values, baseline)
    assert found.p_values()[0] == pytest.approx(known.pvalue, rel=1e-9)
    assert both_bounds(found) == pytest.approx(list(known.confidence_interval()), rel=1e-9)


def regression(values, first, who):
    """CR2 and Satterthwaite of the gap from a regression on two cells, matrix by matrix (Bell & McCaffrey 2002)."""
    design = np.column_stack([first, ~first]).astype(float)
    inverse = np.linalg.inv(design.T @ design)
    hat, contrast = design @ inverse @ design.T, inverse @ [1, -1]
    residuals = values - hat @ values
    spread = np.where(first, *(np.sqrt((residuals[c] ** 2).sum() / (c.sum() - 1)) for c in (first, ~first)))
    off = (who[:, None] == who) & ~np.eye(len(who), dtype=bool)
    scaled = np.outer(residuals / spread, residuals / spread)
    rho = np.clip((scaled * off).sum() / off.sum(), 0, 1)
    pulls, columns = [], []
    for patient in np.unique(who):
        own = who == patient
        eigen, vectors = np.linalg.eigh(np.eye(own.sum()) - hat[np.ix_(own, own)])
        loading = vectors @ np.diag(eigen**-0.5) @ vectors.T @ design[own] @ contrast
        pulls.append(loading @ residuals[own])
        columns.append((np.eye(len(who)) - hat)[:, own] @ loading)
    covariance = np.array(columns) @ (np.outer(spread, spread) * (np.eye(len(who)) + rho * off)) @ np.array(columns).T
    return np.sqrt(np.sum(np.square(pulls))), np.trace(covariance) ** 2 / (covariance**2).sum()


@pytest.mark.parametrize("seed", range(5))
def test_patients_on_both_sides_give_the_error_and_degrees_of_freedom_of_the_regression(seed):
    rng = np.random.default_rng(seed)
    who = np.concatenate([np.arange(9), rng.integers(0, 9, 30)])
    values, first = rng.normal(size=39) + who, rng.random(39) < 0.4
    gap = gaps(*halves(values, first), who)
    assert (gap.errors[0], gap.freedom[0]) == pytest.approx(regression(values, first, who), rel=1e-9)


def test_equal_patients_leave_one_degree_of_freedom_less_than_patients():
    who, values = correlated(np.random.default_rng(0), 7, 4, 3, 0.5)
    assert freedom(side(values, who)) == pytest.approx([6, 6, 6])


def test_one_patient_with_most_images_leaves_few_degrees_of_freedom():
    who, values = correlated(np.random.default_rng(0), 20, [200, *[1] * 19], 1, 0.8)
    assert means(values, who).freedom[0] < 3


def test_the_spread_of_the_pulls_is_the_error():
    who, values = correlated(np.random.default_rng(2), 10, 3, 2, 0.5)
    gap = gaps(*halves(values, np.arange(30)[:, None] % 3 == 0), who)
    assert np.sqrt((gap.influence**2).sum(0)) == pytest.approx(gap.errors)
    assert influence(side(values, who)).sum(0) == pytest.approx([0, 0], abs=1e-12)


def test_images_without_a_value_are_left_out_of_their_quantity_only():
    values = np.array([[1.0, 5.0], [2.0, np.nan], [4.0, 9.0]])
    found = means(values, ["a", "b", "c"])
    assert found.values == pytest.approx([7 / 3, 7])
    assert found.images.tolist() == found.patients.tolist() == [3, 2]
    assert both_bounds(means(values[[0, 2], 1], ["a", "c"])) == pytest.approx([bound[1] for bound in found.intervals()])


def test_the_order_of_the_images_does_not_matter():
    rng = np.random.default_rng(3)
    who, values = correlated(rng, 8, 3, 1, 0.4)
    order = rng.permutation(len(who))
    assert both_bounds(means(values[order], who[order])) == pytest.approx(both_bounds(means(values, who)), rel=1e-12)


def test_proportions_of_single_images_get_wilsons_interval():
    low, high = means(np.array([1.0] * 8 + [0.0] * 2), np.arange(10), proportion=True).intervals()
    known = stats.binomtest(8, 10).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((known.low, known.high))


def test_numbers_and_proportions_stand_side_by_side():
    numbers, hits = np.random.default_rng(0).normal(90, 5, size=12), np.arange(12) % 3 == 0
    together = means(np.column_stack([numbers, hits]), np.arange(12), proportion=[False, True])
    alone = [means(numbers, np.arange(12)), means(hits, np.arange(12), proportion=True)]
    assert both_bounds(together) == pytest.approx(np.concatenate([np.array(e.intervals()) for e in alone], 1).ravel())


def test_images_that_all_tell_the_same_count_as_one():
    hits = np.repeat([1.0, 0.0, 1.0, 1.0], 1)
    alone = both_bounds(means(hits, np.arange(4), proportion=True))
    fivefold = both_bounds(means(np.repeat(hits, 5), np.repeat(np.arange(4), 5), proportion=True))
    assert fivefold == pytest.approx(alone)


@pytest.mark.parametrize(("patients", "low"), [("aaaa", 0.207), ("aabb", 0.342), ("abcd", 0.510)])
def test_hits_throughout_leave_an_interval_as_wide_as_patients_are_few(patients, low):
    found = means(np.ones(4), list(patients), proportion=True)
    assert both_bounds(found) == pytest.approx([low, 1], abs=1e-3)


def test_a_gap_between_independent_proportions_is_newcombes():
    # Newcombe 1998, Stat Med 17:873, table II: 56/70 against 48/80, method 10.
    values = np.concatenate([np.repeat([1.0, 0.0], [56, 14]), np.repeat([1.0, 0.0], [48, 32])])
    gap = gaps(*halves(values, np.arange(150) < 70), np.arange(150), proportion=True)
    assert both_bounds(gap) == pytest.approx([0.0524, 0.3339], abs=1e-4)


def test_the_p_value_of_proportions_is_the_level_at_which_the_interval_touches_zero():
    who, noise = correlated(np.random.default_rng(5), 40, 3, 1, 0.5)
    gap = gaps(*halves((noise > 0) * 1.0, who[:, None] < 15), who, proportion=True)
    low, high = gap.intervals(1 - gap.p_values()[0])
    assert min(abs(low[0]), abs(high[0])) < 1e-9


def test_few_patients_a_side_give_proportions_no_verdict():
    values, first = np.array([1.0] * 4 + [0.0] * 30), np.arange(34) < 4
    gap = gaps(*halves(values, first), np.arange(34), proportion=True)
    assert np.isnan([*both_bounds(gap), gap.p_values()[0]]).all()
    assert gap.notes[0] == "only 4 patients: no interval can be estimated"
    assert gap.values[0] == 1
    assert gap.fewest[0] < FEWEST


@pytest.mark.parametrize(
    ("values", "patients", "note"),
    [
        ([np.nan, np.nan], "ab", "not estimable: no images"),
        ([1.0, 3.0], "aa", "only 1 patient: no interval can be estimated"),
        ([0.1, 0.3, 0.1, 0.3], "aabb", "patients do not differ: no interval can be estimated"),
        ([0.3, 0.1 + 0.2, 0.3], "abc", "patients do not differ: no interval can be estimated"),
    ],
)
def test_what_cannot_be_estimated_has_no_interval_and_says_why(values, patients, note):
    found = means(np.array(values), list(patients))
    assert np.isnan(both_bounds(found)).all()
    assert note in found.notes[0]


def test_a_difference_that_only_rounding_makes_is_none():
    baseline = np.random.default_rng(0).random(30)
    found = paired((baseline * 3) / 3, baseline, np.arange(30))
    assert found.values[0] == 0
    assert np.isnan(found.p_values()[0])


def test_few_patients_leave_a_paired_difference_of_proportions_without_a_verdict_too():
    found = paired(np.ones(4), np.zeros(4), np.arange(4), proportion=True)
    assert np.isnan([*both_bounds(found), found.p_values()[0]]).all()
    assert found.notes == ("only 4 patients: no interval can be estimated",)


def test_means_alone_have_no_p_value():
    assert np.isnan(means(np.arange(5.0), np.arange(5)).p_values()).all()


def test_a_joined_family_is_its_parts():
    who, values = correlated(np.random.default_rng(1), 12, 2, 2, 0.5)
    parts = [means(values, who), gaps(*halves(values, np.arange(24)[:, None] % 2 == 0), who)]
    family = joined(parts)
    assert both_bounds(family) == pytest.approx(np.concatenate([np.array(p.intervals()) for p in parts], 1).ravel())
    assert family.contrasts.tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: means(np.zeros(3), list("ab")), "do not fit 2 patients"),
        (lambda: means(np.array([1.0, np.inf]), list("ab")), "infinity"),
        (lambda: means(np.array([1.0, 0.5]), list("ab"), proportion=True), "neither 0 nor 1"),
        (lambda: gaps(np.ones(2), np.ones(2), list("ab")), "both sides"),
        (lambda: gaps(np.ones(2), np.ones((2, 3)), list("ab")), "shapes"),
        (lambda: joined([means(np.ones(2), list("ab")), means(np.ones(3), list("abc"))]), "same patients"),
        (lambda: means(np.ones(2), list("ab")).intervals(95), "between 0 and 1"),
    ],
)
def test_what_cannot_be_used_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize("patients", [12, 30, 100])
@pytest.mark.parametrize("kind", ["number", "proportion"])
def test_intervals_by_patients_hold_where_those_by_rows_do_not(patients, kind):
    rng, tries = np.random.default_rng(patients), 800
    who, values = correlated(rng, patients, 5, tries, 0.6)
    truth = 0.0 if kind == "number" else 0.5
    values = values if kind == "number" else (values > 0) * 1.0
    held = []
    for clusters in (who, np.arange(len(who))):
        low, high = means(values, clusters, proportion=kind == "proportion").intervals()
        held.append(((low <= truth) & (truth <= high)).mean())
    assert 0.92 <= held[0] <= 0.98
    assert held[1] < 0.82


@pytest.mark.parametrize("crossed", [False, True])
def test_p_values_of_gaps_are_uniform_under_the_null_whether_or_not_patients_are_on_both_sides(crossed):
    who, values = correlated(np.random.default_rng(8), 24, 4, 2000, 0.7)
    first = (np.arange(96)[:, None] % 4 == 0) if crossed else (who[:, None] < 8)
    p = gaps(*halves(values, first), who).p_values()
    assert [(p < at).mean() for at in (0.05, 0.5)] == pytest.approx([0.05, 0.5], abs=0.035)

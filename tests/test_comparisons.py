"""Many comparisons: no more false alarms than promised, and no more caution than needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from workbench.clustered import gaps, joined, means
from workbench.comparisons import benjamini_hochberg, holm, together
from workbench.errors import InputError


def gap_family(rng, patients, columns, *, alike=0.0):
    """Gaps that are all zero in truth, of `columns` measures that correlate by `alike`; three images a patient."""
    who = np.repeat(np.arange(patients), 3)
    own, common = rng.normal(size=(patients, columns)), rng.normal(size=(patients, 1))
    values = (np.sqrt(alike) * common + np.sqrt(1 - alike) * own)[who] + rng.normal(size=(len(who), columns))
    first = rng.permutation(patients)[who][:, None] < patients // 2
    return gaps(np.where(first, values, np.nan), np.where(first, np.nan, values), who)


def test_bands_and_adjusted_p_values_tell_the_same():
    family = gap_family(np.random.default_rng(3), 30, 40)
    found = together(family)
    outside = (found.low > 0) | (found.high < 0)
    assert (found.p[outside] <= 0.05).all()
    assert (found.p[~outside] > 0.045).all()
    assert (found.p >= family.p_values()).all()


def test_a_family_of_one_is_left_as_it_is():
    family = gap_family(np.random.default_rng(0), 30, 1)
    found = together(family)
    assert found.each == pytest.approx(0.95)
    assert (found.low[0], found.high[0]) == pytest.approx(np.ravel(family.intervals()))
    assert found.p == pytest.approx(family.p_values())


def test_one_question_asked_ten_times_costs_nothing_and_ten_questions_cost_almost_bonferronis():
    rng = np.random.default_rng(1)
    same = joined([gap_family(np.random.default_rng(2), 200, 1)] * 10)
    assert together(same).each == pytest.approx(0.95, abs=0.004)
    assert together(gap_family(rng, 200, 10)).each == pytest.approx(0.95**0.1, abs=0.001)


def test_quantities_without_an_interval_do_not_count():
    values = np.random.default_rng(1).normal(size=(30, 1))
    family = joined([means(values, np.arange(30)), means(np.full(30, np.nan), np.arange(30))])
    found = together(family)
    assert found.each == pytest.approx(0.95)
    assert np.isnan([found.low[1], found.high[1], *found.p]).all()


def test_an_empty_family_is_no_error():
    found = together(means(np.full(3, np.nan), list("abc")))
    assert np.isnan([*found.low, *found.p]).all()


def test_the_seed_decides_and_the_order_of_patients_does_not():
    family = gap_family(np.random.default_rng(4), 20, 5)
    assert together(family, seed=1).each == together(family, seed=1).each
    assert together(family, seed=1).each != together(family, seed=2).each


def test_too_few_draws_are_refused():
    with pytest.raises(InputError, match="at least 100"):
        together(gap_family(np.random.default_rng(4), 20, 2), draws=10)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_benjamini_hochberg_is_scipys(p):
    assert benjamini_hochberg(np.array(p)) == pytest.approx(stats.false_discovery_control(p))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_holm_lies_between_the_p_value_and_bonferronis(p):
    p = np.array(p)
    adjusted = holm(p)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(p * len(p), 1)).all()
    assert adjusted.min() == pytest.approx(min(p.min() * len(p), 1))


@pytest.mark.slow
@pytest.mark.parametrize(("patients", "alike"), [(12, 0.8), (40, 0.0)])
def test_some_false_alarm_in_one_family_of_twenty(patients, alike):
    rng, tries = np.random.default_rng(7), 500
    families = [gap_family(rng, patients, 8, alike=alike) for _ in range(tries)]
    alone = np.mean([family.p_values().min() <= 0.05 for family in families])
    alarms = np.mean([together(family, draws=1000).p.min() <= 0.05 for family in families])
    # Three standard errors of 0.05 in 500 are 0.029.
    assert 0.021 <= alarms <= 0.079
    assert alone > 0.12

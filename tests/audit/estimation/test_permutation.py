"""Permutation tests of gaps against SciPy's, their level, and what may change places."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from workbench.audit.engine.measure import measure
from workbench.audit.estimation.closed_forms import area, pulls
from workbench.audit.estimation.estimates import Estimates, Reading
from workbench.audit.estimation.gaps import against
from workbench.audit.estimation.permutation import _areas, _dealt, permuted
from workbench.audit.estimation.roster import Roster
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.sample import Design
from workbench.groups import Partition


def made(patients=60, images=1, seed=0, *, groups=2, shift=0.0, digits=None, names=("AUROC",)):
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), images)
    truth, group = (rng.random(patients) < 0.5)[who], rng.permutation(np.arange(patients) % groups)[who]
    score = rng.normal(size=len(who)) + truth * (1 + shift * group)
    score = score if digits is None else score.round(digits)
    parts = (
        Partition("", ("all",), np.zeros(len(who), dtype=np.int64)),
        Partition("site", tuple(f"site={one}" for one in range(groups)), group),
    )
    design, metrics = Design(score, truth, who, parts, np.ones(len(who))), tuple(metrics_of(names))
    setting = Setting(threshold=0.5)
    return Estimates(Roster(design), Reading(metrics, setting), measure(design, metrics, setting))


def p_of(estimates, *, permutations=199, seed=0, reference="rest"):
    return permuted(estimates, against(estimates, reference), permutations=permutations, seed=seed)


@pytest.mark.parametrize(("images", "digits"), [(1, None), (3, 0)])
def test_areas_and_their_errors_are_those_of_each_group_alone(images, digits):
    one = made(40, images, digits=digits)
    design = one.design
    inside = np.random.default_rng(1).random((5, 40)) < 0.6
    values, squares = _areas(one, inside)
    for number in range(5):
        rows = np.flatnonzero(inside[number][design.patients])
        rows = rows[np.argsort(design.scores[rows], kind="stable")]
        alone = pulls(
            design.scores[rows], design.truth[rows], patients=design.patients[rows], weights=design.weights[rows]
        )
        assert values[number] == pytest.approx(roc_auc_score(design.truth[rows], design.scores[rows]), abs=1e-12)
        assert values[number] == pytest.approx(area(alone).value, abs=1e-12)
        assert squares[number] == pytest.approx(alone.variance, rel=1e-9)


def test_the_error_of_a_metric_of_sums_is_that_of_the_jackknife():
    one = made(300, 2, names=("MCC",))
    design, metric = one.design, one.reading.metrics[0]
    codes = np.zeros((1, 300), dtype=np.int64)
    codes[0, design.patients] = design.partitions[1].codes
    dealt = _dealt(one, metric, codes, 2)
    for group in (0, 1):
        mine = [patient for patient in range(300) if codes[0, patient] == group]
        call = design.scores >= 0.5

        def of(kept, call=call):
            rows = np.isin(design.patients, kept)
            return matthews_corrcoef(design.truth[rows], call[rows])

        left = np.array([of([other for other in mine if other != patient]) for patient in mine])
        assert dealt.values[0, 0, group] == pytest.approx(of(mine), abs=1e-12)
        jackknife = (len(mine) - 1) / len(mine) * ((left - left.mean()) ** 2).sum()
        assert dealt.squares[0, 0, group] == pytest.approx(jackknife, rel=0.05)


def test_an_unstudentised_metric_has_scipys_p_value():
    one = made(50, names=("AUPRC",), shift=0.6, seed=3)
    design = one.design
    found = p_of(one, permutations=1999)["AUPRC", "site=1"]

    def gap(codes):
        from sklearn.metrics import average_precision_score as auprc

        sides = [auprc(design.truth[codes == side], design.scores[codes == side]) for side in (1, 0)]
        return abs(sides[0] - sides[1])

    rng, codes = np.random.default_rng(5), design.partitions[1].codes
    drawn = []
    for _ in range(1500):
        dealt = codes.copy()
        for side in (True, False):
            dealt[design.truth == side] = rng.permutation(codes[design.truth == side])
        drawn.append(gap(dealt))
    p = (1 + np.sum(np.array(drawn) >= gap(codes))) / 1501
    # The two draws err by √(p(1-p)(1/1999 + 1/1500)).
    assert found == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) * (1 / 1999 + 1 / 1500)))


def test_a_planted_gap_is_found_and_two_groups_have_one_p_value():
    found = p_of(made(200, shift=2.0, names=("AUROC", "sensitivity", "Brier score")))
    assert found["AUROC", "site=0"] == found["AUROC", "site=1"] == 1 / 200
    assert found["sensitivity", "site=1"] == 1 / 200


def test_no_p_value_where_a_patient_has_images_in_several_groups():
    one = made(30, 2)
    part = Partition("view", ("view=0", "view=1"), np.arange(60) % 2)
    split = Design(
        one.design.scores, one.design.truth, one.design.patients, (one.design.partitions[0], part), np.ones(60)
    )
    again = Estimates(Roster(split), one.reading, measure(split, one.reading.metrics, one.reading.setting))
    assert p_of(again) == {}


def test_a_named_reference_and_the_mean_have_their_own_statistic():
    one = made(90, groups=3, shift=0.4)
    named, mean = p_of(one, reference={"site": "0"}), p_of(one, reference="mean")
    assert set(named) == {("AUROC", "site=1"), ("AUROC", "site=2")}
    assert set(mean) == {("AUROC", f"site={group}") for group in range(3)}


@pytest.mark.slow
def test_without_a_gap_p_values_are_uniform():
    p = np.array([p_of(made(60, seed=seed), permutations=99)["AUROC", "site=1"] for seed in range(200)])
    assert (p <= 0.05).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert stats.kstest(p, "uniform").pvalue > 0.001

"""Calibration as data: bins, the error that chance makes, and the smooth curve with its band."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import expit, logit
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

from workbench.audit.calibration.bins import agreement, chance_errors, edges_of, reliability
from workbench.audit.calibration.smooth_curve import smooth_curves, spline
from workbench.audit.engine.measure import measure
from workbench.audit.metric import Setting, metric_of
from workbench.audit.sample import Design
from workbench.errors import InputError
from workbench.groups import Partition
from workbench.intervals import normal_quantile, wilson

SIX = Setting(bins=6)


def calibrated(seed, patients=120, images=1, *, alike=0.0, bend=lambda x: x, weights=None):
    """Labels drawn with the scores as their odds, bent; those of a patient together with chance `alike`. Two groups."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(patients), images)
    odds = 1.2 * rng.normal(size=patients)[who] + 0.6 * rng.normal(size=len(who)) - 0.5
    chance = np.where((rng.random(patients) < alike)[who], rng.random(patients)[who], rng.random(len(who)))
    parts = (
        Partition("", ("all",), np.zeros(len(who), dtype=np.int64)),
        Partition("sex", ("sex=F", "sex=M"), (who % 3 == 0).astype(np.int64)),
    )
    weights = np.ones(len(who)) if weights is None else weights(rng, len(who))
    return Design(expit(odds), chance < expit(bend(odds)), who, parts, weights)


def shuffled(design, seed=0):
    order = np.random.default_rng(seed).permutation(len(design.truth))
    parts = tuple(Partition(part.by, part.names, part.codes[order]) for part in design.partitions)
    return Design(design.scores[order], design.truth[order], design.patients[order], parts, design.weights[order])


@pytest.mark.parametrize(("equal", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_bins_hold_what_scikit_learns_hold(equal, strategy):
    design = calibrated(0, patients=600)
    table = reliability(design, SIX, equal=equal)
    everybody = table[table["group"] == "all"]
    observed, mean = calibration_curve(design.truth, design.scores, n_bins=6, strategy=strategy)
    # Between two of 600 scores the ends of quantile bins may fall differently by one image.
    allowed = 1e-12 if equal == "width" else 0.02
    assert everybody["value"].to_numpy() == pytest.approx(observed, abs=allowed)
    assert everybody["score"].to_numpy() == pytest.approx(mean, abs=allowed)
    assert everybody["n"].sum() == 600


def test_bins_of_one_image_a_patient_have_wilsons_interval():
    table = reliability(calibrated(1), SIX)
    for row in table.itertuples():
        expected = wilson(row.positives / row.n, row.n, normal_quantile(0.95))
        assert (row.low, row.high) == pytest.approx(expected)
        assert row.method == "Wilson"


def test_images_of_a_patient_that_agree_widen_the_interval_of_a_bin():
    design = calibrated(2, patients=80, images=4, alike=1.0)
    alone = Design(design.scores, design.truth, np.arange(len(design.truth)), design.partitions, design.weights)
    kept, apart = (reliability(one, Setting(bins=3)) for one in (design, alone))
    assert (kept["value"] == apart["value"]).all()
    assert (kept["high"] - kept["low"]).mean() > 1.2 * (apart["high"] - apart["low"]).mean()
    assert (kept["patients"] <= kept["n"]).all()


@pytest.mark.parametrize("equal", ["mass", "width"])
def test_bins_add_up_to_the_calibration_error_with_weights_and_prevalence(equal):
    design = calibrated(3, weights=lambda rng, n: rng.integers(1, 4, n).astype(float))
    setting = Setting(bins=6, prevalence=0.2)
    table = reliability(design, setting, equal=equal)
    from workbench.audit.calibration.bins import at_prevalence

    name = f"ECE (equal {equal})"
    measured = measure(design, [metric_of(name)], setting).values[name]
    edges, place = edges_of(design.scores, 6, equal), 0
    for part in design.partitions:
        weights = at_prevalence(design, part, 0.2)
        bins = np.searchsorted(edges, design.scores, side="left")
        for code, group in enumerate(part.names):
            rows = part.codes == code
            share = np.bincount(bins[rows], weights=weights[rows], minlength=6) / weights[rows].sum()
            told = table[table["group"] == group]
            gap = (told["value"] - told["score"]).abs().to_numpy()
            assert (gap * share[told["bin"]]).sum() == pytest.approx(measured[place])
            place += 1


def test_a_calibrated_model_errs_as_chance_would_have_it():
    p = [
        chance_errors(calibrated(seed, patients=60), SIX, equal=["mass"], replicates=100).set_index("group").loc["all", "p"]
        for seed in range(60)
    ]  # fmt: skip
    assert np.mean(np.array(p) < 0.1) < 0.25
    assert 0.3 < np.mean(p) < 0.7


def test_small_groups_are_expected_to_err_more_and_a_biased_model_is_found():
    fair = chance_errors(calibrated(4, patients=400), SIX, replicates=200).set_index(["metric", "group"])
    for metric in ("ECE (equal mass)", "ECE (equal width)"):
        everybody, few = fair.loc[(metric, "all")], fair.loc[(metric, "sex=M")]
        assert few["n"] < everybody["n"]
        assert few["expected"] > 1.3 * everybody["expected"]
        assert everybody["low"] < everybody["expected"] < everybody["high"]
        assert everybody["excess"] == everybody["value"] - everybody["expected"]
    wrong = chance_errors(calibrated(4, patients=400, bend=lambda x: 2.5 * x + 1), SIX, replicates=200)
    assert (wrong.loc[wrong["group"] == "all", "p"] == 1 / 201).all()


def test_the_mean_error_of_one_bin_is_that_of_the_binomial():
    # One bin: |Σ (truth − score)| / n, whose mean for many rows is √(2/π) · √(Σ score · (1 − score)) / n.
    design = calibrated(5, patients=400)
    found = chance_errors(design, Setting(bins=1), equal=["width"], replicates=4000).set_index("group").loc["all"]
    spread = math.sqrt((design.scores * (1 - design.scores)).sum()) / 400
    assert found["expected"] == pytest.approx(math.sqrt(2 / math.pi) * spread, rel=0.05)
    assert found["high"] == pytest.approx(2.24 * spread, rel=0.08)  # 97.5 % of the half-normal


def test_labels_that_go_together_in_a_patient_raise_what_chance_makes():
    together, apart = (calibrated(6, patients=100, images=5, alike=alike) for alike in (1.0, 0.0))
    assert agreement(apart) < 0.1
    assert agreement(together) > 0.6
    assert agreement(calibrated(6)) == 0
    first, second = (
        chance_errors(one, SIX, equal=["mass"], replicates=200)["expected"][0] for one in (together, apart)
    )
    assert first > 1.3 * second


def test_neither_order_of_rows_nor_threads_of_luck_change_what_is_drawn():
    design = calibrated(7, images=2)
    pd.testing.assert_frame_equal(
        chance_errors(design, SIX, replicates=100, seed=3), chance_errors(shuffled(design), SIX, replicates=100, seed=3)
    )
    pd.testing.assert_frame_equal(reliability(design, SIX), reliability(shuffled(design), SIX))
    pd.testing.assert_frame_equal(smooth_curves(design, SIX), smooth_curves(shuffled(design), SIX))


def test_a_sample_of_no_replicates_is_refused():
    with pytest.raises(InputError, match="take 100 or more"):
        chance_errors(calibrated(0), SIX, replicates=10)
    with pytest.raises(InputError, match="did you mean 'mass'"):
        reliability(calibrated(0), SIX, equal="mas")
    several = Design(np.eye(3), np.arange(3), np.arange(3), calibrated(0).partitions, np.ones(3))
    with pytest.raises(InputError, match="which class or finding is the positive one"):
        reliability(several, SIX)


@pytest.mark.parametrize("count", [3, 4, 5])
def test_the_spline_spans_the_natural_cubic_splines_of_its_knots(count):
    knots = np.sort(np.random.default_rng(count).normal(size=count))
    x = np.linspace(knots[0], knots[-1], 50)
    peer = CubicSpline(knots, np.eye(count), bc_type="natural")(x)
    mixed, _, rank, _ = np.linalg.lstsq(peer, spline(x, knots), rcond=None)
    assert rank == count
    assert peer @ mixed == pytest.approx(spline(x, knots), abs=1e-9)
    outside = spline(knots[-1] + np.array([1.0, 2, 3]), knots)
    assert outside[0] - 2 * outside[1] + outside[2] == pytest.approx(0, abs=1e-9)


def test_the_curve_is_the_logistic_regression_on_that_spline():
    design = calibrated(8, patients=400, weights=lambda rng, n: rng.integers(1, 4, n).astype(float))
    table = smooth_curves(design, SIX)
    curve = table[table["group"] == "all"]
    odds = logit(design.scores)
    knots = np.quantile(odds, [0.05, 0.275, 0.5, 0.725, 0.95], method="inverted_cdf")
    basis = CubicSpline(knots, np.eye(5), bc_type="natural")
    inside = (logit(curve["score"]) > knots[0]) & (logit(curve["score"]) < knots[-1])

    # Beyond the outer knots the peer's pieces are carried on straight.
    def straight(x):
        low, high = np.minimum(x - knots[0], 0), np.maximum(x - knots[-1], 0)
        return (
            basis(np.clip(x, knots[0], knots[-1]))
            + low[:, None] * basis(knots[0], 1)
            + high[:, None] * basis(knots[-1], 1)
        )

    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=500, fit_intercept=False)
    model.fit(straight(odds), design.truth, sample_weight=design.weights)
    expected = model.predict_proba(straight(logit(curve["score"].to_numpy())))[:, 1]
    assert inside.sum() > 50
    assert curve["value"].to_numpy() == pytest.approx(expected, abs=1e-6)


def test_interval_and_band_hold_the_true_curve():
    inside, along, patients = [], [], 100
    for seed in range(60):
        table = smooth_curves(calibrated(seed, patients, 3, alike=0.6, bend=lambda x: 0.6 * x + 0.3), SIX, points=41)
        curve = table[table["group"] == "all"]
        true = expit(0.6 * logit(curve["score"]) + 0.3)
        inside.append(((curve["low"] <= true) & (true <= curve["high"])).mean())
        along.append(((curve["band_low"] <= true) & (true <= curve["band_high"])).all())
        assert (curve["band_low"] <= curve["low"]).all()
    assert 0.9 < np.mean(inside) < 0.99
    assert np.mean(along) > 0.87


def test_a_group_that_cannot_carry_a_curve_has_none():
    design = calibrated(9, patients=30)
    few = Design(design.scores, np.arange(30) < 4, design.patients, design.partitions, design.weights)
    assert smooth_curves(few, SIX).empty
    separated = Design(
        design.scores, design.scores > np.median(design.scores), design.patients, design.partitions, np.ones(30)
    )
    assert smooth_curves(separated, SIX).empty
    with pytest.raises(InputError, match="points=1"):
        smooth_curves(design, SIX, points=1)


def test_at_a_prevalence_the_curve_moves_as_the_odds_do():
    design = calibrated(10, patients=500)
    own = design.truth.mean()
    plain, moved = (smooth_curves(design, Setting(prevalence=share)) for share in (own, 0.1))
    # Weighting both classes adds the same to every logit only where the curve is straight; so compare its sign and size.
    shift = (logit(moved["value"]) - logit(plain["value"]))[plain["group"] == "all"]
    assert shift.mean() == pytest.approx(logit(0.1) - logit(own), abs=0.15)

"""Every binary metric against scikit-learn or a plain computation, with weights, ties and a prevalence."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer
from sklearn.linear_model import LogisticRegression

from workbench.audit.definitions import METRICS
from workbench.audit.engine.measure import measure
from workbench.audit.metric import Setting, metric_of
from workbench.audit.sample import Design
from workbench.errors import InputError
from workbench.groups import Partition

BINARY = [name for name, metric in METRICS.items() if "binary" in metric.tasks]
AT = Setting(threshold=0.5, specificity=0.8, sensitivity=0.7, partial=(0.0, 0.3), bins=7)


def value(name, truth, scores, weights=None, setting=AT):
    """Return one metric of everybody, by the road that every audit takes."""
    n = len(truth)
    everybody = Partition("", ("all",), np.zeros(n, dtype=np.int64))
    weights = np.ones(n) if weights is None else np.asarray(weights, float)
    design = Design(np.asarray(scores, float), np.asarray(truth, bool), np.arange(n), (everybody,), weights)
    return float(measure(design, [metric_of(name)], setting).values[name][0])


def sample(seed, n=150):
    """Labels, scores of which many tie, and weights."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.35
    scores = np.clip(0.3 + 0.2 * truth + 0.25 * rng.normal(size=n), 0.01, 0.99).round(2)
    return truth, scores, rng.integers(1, 5, n) * 0.5


def calibration_error(truth, scores, weights, edges):
    """Written bin by bin."""
    total = 0.0
    for low, high in zip([-1, *edges], [*edges, 1], strict=True):
        inside = (scores > low) & (scores <= high)
        if inside.any():
            w = weights[inside]
            total += w.sum() * abs(np.average(truth[inside], weights=w) - np.average(scores[inside], weights=w))
    return total / weights.sum()


def equal_mass(scores, bins):
    ordered = np.sort(scores)
    return sorted({ordered[math.ceil(len(scores) * k / bins) - 1] for k in range(1, bins)})


def best_at(truth, scores, weights, keep, floor, of):
    """Go through every threshold there is."""
    points = []
    for cut in [*np.unique(scores), 2.0]:
        call = scores >= cut
        points.append(
            {"sensitivity": np.average(call[truth], weights=weights[truth]),
             "specificity": np.average(~call[~truth], weights=weights[~truth])}
        )  # fmt: skip
    return max(point[of] for point in points if point[keep] >= floor - 1e-9)


def area(truth, scores, weights, low, high):
    """Trapezoids between the corners of scikit-learn's curve and the ends of the range."""
    across, up, _ = peer.roc_curve(truth, scores, sample_weight=weights, drop_intermediate=False)
    total = 0.0
    for x0, x1, y0, y1 in zip(across[:-1], across[1:], up[:-1], up[1:], strict=True):
        a, b = max(x0, low), min(x1, high)
        if x1 > x0 and b > a:
            line = np.poly1d(np.polyfit([x0, x1], [y0, y1], 1))
            total += (line(a) + line(b)) / 2 * (b - a)
    return total


def recalibrated(truth, scores, weights):
    odds = np.log(scores / (1 - scores))[:, None]
    model = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-12, max_iter=1000)
    return model.fit(odds, truth, sample_weight=weights).coef_[0, 0]


def in_the_large(truth, scores, weights):
    """Bisect for the shift at which observed and expected agree."""
    odds = np.log(scores / (1 - scores))
    low, high = -20.0, 20.0
    for _ in range(200):
        middle = (low + high) / 2
        too_low = (weights * (truth - 1 / (1 + np.exp(-odds - middle)))).sum() > 0
        low, high = (middle, high) if too_low else (low, middle)
    return low


def call(function, **asked):
    return lambda t, s, w: function(t, s >= 0.5, sample_weight=w, **asked)


PEERS = {
    "AUROC": lambda t, s, w: peer.roc_auc_score(t, s, sample_weight=w),
    "AUPRC": lambda t, s, w: peer.average_precision_score(t, s, sample_weight=w),
    "sensitivity": call(peer.recall_score),
    "specificity": call(peer.recall_score, pos_label=0),
    "PPV": call(peer.precision_score),
    "NPV": call(peer.precision_score, pos_label=0),
    "accuracy": call(peer.accuracy_score),
    "balanced accuracy": call(peer.balanced_accuracy_score),
    "F1": call(peer.f1_score),
    "MCC": call(peer.matthews_corrcoef),
    "Youden's J": call(peer.balanced_accuracy_score, adjusted=True),
    "positive rate": lambda t, s, w: np.average(s >= 0.5, weights=w),
    "underdiagnosis rate": lambda t, s, w: 1 - peer.recall_score(t, s >= 0.5, sample_weight=w),
    "false positive rate": lambda t, s, w: np.average((s >= 0.5)[~t], weights=w[~t]),
    "Brier score": lambda t, s, w: peer.brier_score_loss(t, s, sample_weight=w),
    "log loss": lambda t, s, w: peer.log_loss(t, s, sample_weight=w),
    "ECE (equal width)": lambda t, s, w: calibration_error(t, s, w, np.arange(1, 7) / 7),
    "ECE (equal mass)": lambda t, s, w: calibration_error(t, s, w, equal_mass(s, 7)),
    "calibration slope": recalibrated,
    "calibration intercept": in_the_large,
    "sensitivity at fixed specificity": lambda t, s, w: best_at(t, s, w, "specificity", 0.8, "sensitivity"),
    "specificity at fixed sensitivity": lambda t, s, w: best_at(t, s, w, "sensitivity", 0.7, "specificity"),
    "partial AUROC": lambda t, s, w: area(t, s, w, 0.0, 0.3),
    "partial AUROC (standardised)": lambda t, s, w: peer.roc_auc_score(t, s, sample_weight=w, max_fpr=0.3),
}


def test_every_binary_metric_has_an_independent_peer_here():
    assert set(PEERS) == set(BINARY)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", PEERS)
def test_a_metric_is_its_peers_with_weights_and_ties(name, seed):
    truth, scores, weights = sample(seed)
    assert value(name, truth, scores) == pytest.approx(PEERS[name](truth, scores, np.ones(len(truth))), abs=1e-9)
    assert value(name, truth, scores, weights) == pytest.approx(PEERS[name](truth, scores, weights), abs=1e-9)


@pytest.mark.parametrize("name", PEERS)
def test_a_prevalence_weighs_both_classes_to_it(name):
    truth, scores, weights = sample(3)
    wanted = np.where(truth, 0.05 / weights[truth].sum(), 0.95 / weights[~truth].sum()) * weights
    found = value(name, truth, scores, weights, Setting(**(vars(AT) | {"prevalence": 0.05})))
    assert found == pytest.approx(PEERS[name](truth, scores, wanted * len(truth)), abs=1e-8)


def test_ppv_at_a_prevalence_is_bayes_rule():
    truth, scores, _ = sample(4)
    se, sp = value("sensitivity", truth, scores), value("specificity", truth, scores)
    found = value("PPV", truth, scores, setting=Setting(prevalence=0.01))
    assert found == pytest.approx(se * 0.01 / (se * 0.01 + (1 - sp) * 0.99))


@pytest.mark.parametrize("bounds", [(0.1, 0.35), (0.0, 1.0), (0.5, 1.0)])
def test_the_partial_area_may_lie_anywhere(bounds):
    truth, scores, weights = sample(5)
    found = value("partial AUROC", truth, scores, weights, Setting(partial=bounds))
    assert found == pytest.approx(area(truth, scores, weights, *bounds), abs=1e-9)


RANKS = ("AUROC", "AUPRC", "partial AUROC", "sensitivity at fixed specificity", "specificity at fixed sensitivity")
rows = st.lists(st.tuples(st.booleans(), st.integers(1, 19), st.integers(1, 3)), min_size=6, max_size=40)


def drawn(rows):
    truth = np.array([True, False, *(row[0] for row in rows)])
    scores = np.array([0.35, 0.55, *(row[1] / 20 for row in rows)])
    return truth, scores, np.array([1.0, 2.0, *(row[2] for row in rows)])


def same(first, second):
    return first == pytest.approx(second, abs=1e-7, nan_ok=True)


@given(rows)
@settings(max_examples=25, deadline=None)
def test_rising_transforms_leave_what_ranks(rows):
    truth, scores, weights = drawn(rows)
    for name in RANKS:
        assert same(value(name, truth, scores**3, weights), value(name, truth, scores, weights))


@given(rows)
@settings(max_examples=25, deadline=None)
def test_all_rows_twice_or_in_another_order_change_nothing(rows):
    truth, scores, weights = drawn(rows)
    order = np.random.default_rng(0).permutation(len(truth))
    for name in BINARY:
        once = value(name, truth, scores, weights)
        assert same(value(name, np.tile(truth, 2), np.tile(scores, 2), np.tile(weights, 2)), once)
        assert same(value(name, truth[order], scores[order], weights[order]), once)


@given(rows)
@settings(max_examples=25, deadline=None)
def test_a_weight_of_two_is_the_row_twice(rows):
    truth, scores, weights = drawn(rows)
    times = weights.astype(int)
    for name in BINARY:
        if name == "ECE (equal mass)":  # its bins hold equal numbers of rows, whatever these weigh
            continue
        repeated = value(name, np.repeat(truth, times), np.repeat(scores, times))
        assert same(value(name, truth, scores, weights), repeated)


MIRRORED = {
    "AUROC": "AUROC", "sensitivity": "specificity", "PPV": "NPV", "underdiagnosis rate": "false positive rate",
    "accuracy": "accuracy", "balanced accuracy": "balanced accuracy", "MCC": "MCC", "Youden's J": "Youden's J",
    "Brier score": "Brier score", "log loss": "log loss", "calibration slope": "calibration slope",
}  # fmt: skip


@given(rows)
@settings(max_examples=25, deadline=None)
def test_swapping_the_classes_mirrors(rows):
    truth, scores, weights = drawn(rows)
    scores = scores + 0.001  # none at the threshold, which belongs to the positive side
    for name, mirror in MIRRORED.items():
        assert same(value(mirror, ~truth, 1 - scores, weights), value(name, truth, scores, weights))
    assert same(value("calibration intercept", ~truth, 1 - scores), -value("calibration intercept", truth, scores))


WITHOUT_POSITIVES = {
    "specificity", "PPV", "NPV", "accuracy", "positive rate", "false positive rate", "Brier score", "log loss",
    "ECE (equal width)", "ECE (equal mass)", "F1",
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_what_is_not_defined_is_nan_without_a_warning(name):
    scores = np.array([0.2, 0.6, 0.7])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(value(name, [0, 0, 0], scores)) == (name not in WITHOUT_POSITIVES)
        assert math.isnan(value(name, [0, 0, 0], scores, setting=Setting(prevalence=0.2))) == (
            name not in {"specificity", "false positive rate"}
        )
        value(name, [1, 1, 1], scores)


def test_nobody_called_positive_leaves_ppv_and_mcc_open():
    assert math.isnan(value("PPV", [0, 1], [0.1, 0.2]))
    assert math.isnan(value("MCC", [0, 1], [0.1, 0.2]))
    assert math.isnan(value("F1", [0, 0], [0.1, 0.2]))
    assert value("F1", [0, 1], [0.1, 0.2]) == 0


def test_separated_classes_have_no_calibration_slope():
    assert math.isnan(value("calibration slope", [0, 0, 1, 1], [0.1, 0.4, 0.4, 0.9]))
    assert math.isnan(value("calibration slope", [1, 1, 0, 0], [0.1, 0.4, 0.4, 0.9]))
    assert math.isnan(value("calibration slope", [0, 1, 0, 1], [0.4, 0.4, 0.4, 0.4]))
    assert math.isfinite(value("calibration slope", [0, 0, 1, 1], [0.1, 0.5, 0.4, 0.9]))


def test_hard_zeros_and_ones_can_be_recalibrated():
    # 80 % of either call are right: the logit must shrink from 36 to log(4).
    truth, scores = np.repeat([1, 0, 0, 1], [8, 2, 8, 2]), np.repeat([1.0, 1.0, 0.0, 0.0], [8, 2, 8, 2])
    found = value("calibration slope", truth, scores)
    assert found == pytest.approx(math.log(4) / math.log((1 - 2**-52) / 2**-52), rel=1e-6)


def test_replicates_are_fitted_as_one_by_one():
    truth, scores, _ = sample(6)
    metric = metric_of("calibration slope")
    weights = np.random.default_rng(0).poisson(1, (5, len(truth))).astype(float)
    weights[3] = 0
    together = metric.of_rows(truth, scores, weights, AT)
    assert math.isnan(together[3])
    for place in (0, 1, 2, 4):
        assert together[place] == pytest.approx(recalibrated(truth, scores, weights[place]), abs=1e-8)


@pytest.mark.parametrize("name", [name for name in BINARY if METRICS[name].proportion])
def test_the_share_of_a_proportion_is_its_value(name):
    truth, scores, _ = sample(7)
    whole, hit = METRICS[name].share(truth, scores, AT).T
    assert set(np.unique(whole)) <= {0, 1}
    assert (hit <= whole).all()
    assert hit.sum() / whole.sum() == pytest.approx(value(name, truth, scores))


def test_values_stay_within_their_bounds_and_name_their_source():
    for seed in range(5):
        truth, scores, weights = sample(seed, n=25)
        for name in BINARY:
            low, high = METRICS[name].bounds
            assert low - 1e-12 <= value(name, truth, scores, weights) <= high + 1e-12
    assert all(metric.source.endswith(".") for metric in METRICS.values())


def test_a_misspelt_metric_is_offered_the_nearest():
    with pytest.raises(InputError, match="did you mean 'specificity'"):
        metric_of("specifity")


def test_a_group_is_measured_with_the_whole_samples_bins():
    truth, scores, weights = sample(8)
    codes = (np.arange(len(truth)) % 3 == 0).astype(np.int64)
    parts = Partition("", ("all",), np.zeros(len(truth), dtype=np.int64)), Partition("g", ("a", "b"), codes)
    design = Design(scores, truth, np.arange(len(truth)), parts, weights)
    found = measure(design, [metric_of("ECE (equal mass)")], AT).values["ECE (equal mass)"]
    edges = equal_mass(scores, 7)
    for place, rows in enumerate([codes >= 0, codes == 0, codes == 1]):
        assert found[place] == pytest.approx(
            calibration_error(truth[rows], scores[rows], weights[rows], edges), abs=1e-12
        )

"""Metrics of several classes, findings, quantities and measures of masks, against scikit-learn, NumPy and plain loops."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from workbench.audit.engine.measure import measure
from workbench.audit.metric import Setting, known_metrics, metric_of
from workbench.audit.sample import Design, design_of
from workbench.errors import EvidenceWarning, InputError
from workbench.groups import Partition
from workbench.predictions import Predictions

AT = Setting(bins=5)


def everybody(truth, scores, weights=None):
    n = len(truth)
    part = Partition("", ("all",), np.zeros(n, dtype=np.int64))
    weights = np.ones(n) if weights is None else np.asarray(weights, float)
    return Design(scores, truth, np.arange(n), (part,), weights)


def value(task, name, truth, scores, weights=None, measures=()):
    metric = metric_of(name, task, measures)
    return float(measure(everybody(truth, scores, weights), [metric], AT).values[name][0])


def classes(seed, n=160, k=4):
    rng = np.random.default_rng(seed)
    truth = rng.choice(k, n, p=[0.4, 0.3, 0.2, 0.1]).astype(np.int64)
    logits = rng.normal(size=(n, k)).round(1) + 1.2 * (truth[:, None] == np.arange(k))
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return truth, scores, rng.integers(1, 5, n) * 0.5


def top_label(t, s, w):
    total = 0.0
    for low, high in zip(np.arange(5) / 5, np.arange(1, 6) / 5, strict=True):
        inside = (s.max(1) > low) & (s.max(1) <= high)
        if inside.any():
            right = np.average(s.argmax(1)[inside] == t[inside], weights=w[inside])
            total += w[inside].sum() * abs(right - np.average(s.max(1)[inside], weights=w[inside]))
    return total / w.sum()


MULTICLASS = {
    "macro AUROC": lambda t, s, w: np.mean(
        [peer.roc_auc_score(t == k, s[:, k], sample_weight=w) for k in range(s.shape[1])]
    ),
    "accuracy": lambda t, s, w: peer.accuracy_score(t, s.argmax(1), sample_weight=w),
    "balanced accuracy": lambda t, s, w: peer.balanced_accuracy_score(t, s.argmax(1), sample_weight=w),
    "macro F1": lambda t, s, w: peer.f1_score(t, s.argmax(1), average="macro", sample_weight=w),
    "kappa": lambda t, s, w: peer.cohen_kappa_score(t, s.argmax(1), sample_weight=w),
    "linear-weighted kappa": lambda t, s, w: peer.cohen_kappa_score(t, s.argmax(1), weights="linear", sample_weight=w),
    "quadratic-weighted kappa": lambda t, s, w: peer.cohen_kappa_score(
        t, s.argmax(1), weights="quadratic", sample_weight=w
    ),
    "Brier score": lambda t, s, w: np.average(((s - np.eye(s.shape[1])[t]) ** 2).sum(1), weights=w),
    "log loss": lambda t, s, w: peer.log_loss(t, s, sample_weight=w),
    "ECE (top label)": top_label,
}


def quantities(seed, n=90):
    rng = np.random.default_rng(seed)
    truth = rng.normal(120, 40, n).round()
    return truth, (0.9 * truth + rng.normal(8, 10, n)).round(), rng.integers(1, 4, n).astype(float)


def limits(sign):
    def limit(t, s, w):
        error = s - t
        return np.average(error, weights=w) + sign * 1.96 * np.sqrt(np.cov(error, fweights=w.astype(int), ddof=1))

    return limit


def moments(t, s, w):
    """Covariance matrix of measured and predicted, divisor n."""
    return np.cov(np.stack([t, s]), aweights=w, ddof=0)


REGRESSION = {
    "MAE": lambda t, s, w: peer.mean_absolute_error(t, s, sample_weight=w),
    "RMSE": lambda t, s, w: peer.root_mean_squared_error(t, s, sample_weight=w),
    "bias": lambda t, s, w: np.average(s - t, weights=w),
    "lower limit of agreement": limits(-1),
    "upper limit of agreement": limits(1),
    "R²": lambda t, s, w: peer.r2_score(t, s, sample_weight=w),
    "Pearson r": lambda t, s, w: moments(t, s, w)[0, 1] / np.sqrt(moments(t, s, w)[0, 0] * moments(t, s, w)[1, 1]),
    "concordance correlation": lambda t, s, w: (
        2 * moments(t, s, w)[0, 1] / (np.trace(moments(t, s, w)) + np.average(s - t, weights=w) ** 2)
    ),
    "calibration slope": lambda t, s, w: np.polyfit(s, t, 1, w=np.sqrt(w))[0],
}
PEERS = {"multiclass": (MULTICLASS, classes), "regression": (REGRESSION, quantities)}
EACH = [(task, name) for task, (peers, _) in PEERS.items() for name in peers]


@pytest.mark.parametrize("task", PEERS)
def test_every_metric_of_a_task_has_an_independent_peer_here(task):
    assert set(PEERS[task][0]) == set(known_metrics(task))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("task", "name"), EACH)
def test_a_metric_is_its_peers_with_weights(task, name, seed):
    peers, sample = PEERS[task]
    truth, scores, weights = sample(seed)
    even = np.ones(len(truth))
    assert value(task, name, truth, scores) == pytest.approx(peers[name](truth, scores, even), rel=1e-9, abs=1e-12)
    found = value(task, name, truth, scores, weights)
    assert found == pytest.approx(peers[name](truth, scores, weights), rel=1e-9, abs=1e-12)


def test_two_classes_score_alike_whether_told_apart_or_one_against_the_other():
    truth, scores, _ = classes(3)
    half = np.column_stack([scores[:, :2].sum(1), scores[:, 2:].sum(1)])
    two = value("multiclass", "Brier score", truth // 2, half)
    one = float(
        measure(everybody(truth // 2 == 1, half[:, 1]), [metric_of("Brier score")], AT).values["Brier score"][0]
    )
    assert two == pytest.approx(2 * one)


def test_the_log_loss_of_a_certain_mistake_is_finite():
    truth, scores = np.array([0, 1, 2]), np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1.0]])
    assert value("multiclass", "log loss", truth, scores) == pytest.approx(-math.log(2**-52) / 3)


@pytest.mark.parametrize("name", MULTICLASS)
def test_a_class_that_a_group_lacks_leaves_macro_averages_open(name):
    truth, scores, _ = classes(4)
    truth[truth == 3] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = value("multiclass", name, truth, scores)
    assert math.isnan(found) == (name in {"macro AUROC", "balanced accuracy", "macro F1"})


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_repeated_weighted_and_shuffled_rows_agree(seed):
    rng = np.random.default_rng(seed)
    for task, (peers, sample) in PEERS.items():
        truth, scores, _ = sample(seed % 7, n=40)
        times = rng.integers(1, 4, len(truth))
        order = rng.permutation(np.repeat(np.arange(len(truth)), times))
        for name in peers:
            weighted = value(task, name, truth, scores, times)
            assert value(task, name, truth[order], scores[order]) == pytest.approx(
                weighted, rel=1e-9, abs=1e-12, nan_ok=True
            )


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_renaming_the_classes_backwards_changes_no_multi_class_metric(seed):
    truth, scores, weights = classes(seed % 11, n=60)
    scores = scores + 1e-6 * np.random.default_rng(seed).random(scores.shape)  # of tied classes the first is called
    for name in MULTICLASS:
        once = value("multiclass", name, truth, scores, weights)
        back = value("multiclass", name, 3 - truth, scores[:, ::-1].copy(), weights)
        assert back == pytest.approx(once, abs=1e-12, nan_ok=True)


def test_a_perfect_prediction_has_the_best_value():
    truth, _, _ = quantities(0)
    for name, metric in known_metrics("regression").items():
        assert value("regression", name, truth, truth.copy()) == pytest.approx(metric.best, abs=1e-12)
    codes = classes(0)[0]
    for name, metric in known_metrics("multiclass").items():
        assert value("multiclass", name, codes, np.eye(4)[codes]) == pytest.approx(metric.best, abs=1e-12)


def test_a_constant_has_no_correlation_and_one_row_no_limits():
    truth = np.array([1.1, 2.2, 3.3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("Pearson r", "calibration slope"):
            assert math.isnan(value("regression", name, truth, np.full(3, 0.7)))
        assert math.isnan(value("regression", "R²", np.full(3, 0.7), truth))
        assert math.isnan(value("regression", "lower limit of agreement", truth[:1], truth[:1]))


def test_a_large_offset_costs_no_digits():
    truth, scores, weights = quantities(5)
    for name, of in REGRESSION.items():
        found = value("regression", name, truth + 1e7, scores + 1e7, weights)
        assert found == pytest.approx(of(truth, scores, weights), rel=1e-8)


def masks(seed, n=70):
    rng = np.random.default_rng(seed)
    scores = np.column_stack([rng.beta(8, 2, n).round(2), rng.gamma(2, 3, n).round(1)])
    scores[rng.random(n) < 0.2, 1] = np.nan
    return scores


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("place", "measure_name"), [(0, "Dice"), (1, "HD95")])
def test_means_and_medians_are_numpys_over_the_images_told(seed, place, measure_name):
    scores = masks(seed)
    truth, names = np.full(len(scores), np.nan), ("Dice", "HD95")
    times = np.random.default_rng(seed).integers(1, 4, len(scores))
    repeated = np.repeat(scores[:, place], times)
    for name, of in (("mean", np.nanmean), ("median", np.nanmedian)):
        asked = f"{name} {measure_name}"
        assert value("segmentation", asked, truth, scores, measures=names) == pytest.approx(of(scores[:, place]))
        weighted = value("segmentation", asked, truth, scores, times * 0.1, measures=names)
        assert weighted == pytest.approx(of(repeated))


def test_replicates_of_a_median_leave_out_images_of_weight_0():
    metric = metric_of("median Dice", "segmentation", ("Dice",))
    scores, weights = np.array([[0.1], [0.5], [0.9], [np.nan]]), np.array([[0, 2, 0, 9], [1, 0, 1, 0], [0, 0, 0, 5]])
    found = metric.of_rows(np.full(4, np.nan), scores, weights, AT)
    assert found[:2].tolist() == [0.5, 0.5]
    assert math.isnan(found[2])


def test_a_measure_nobody_knows_has_neither_best_value_nor_bounds():
    assert math.isnan(metric_of("mean lesions", "segmentation", ("lesions",)).best)
    assert metric_of("mean Dice (lesion)", "segmentation", ("Dice (lesion)",)).bounds == (0, 1)
    with pytest.raises(InputError, match="did you mean 'mean Dice'"):
        metric_of("mean Dise", "segmentation", ("Dice",))


# The way from predictions of each task to the arrays.


def test_a_finding_is_audited_on_its_labelled_images_and_patients_keep_their_numbers():
    frame = pd.DataFrame({
        "a": [1, None, 0, 1, None, 0], "b": [0, 1, 1, 0, 1, 0], "pa": np.linspace(0.1, 0.9, 6), "pb": np.linspace(0.9, 0.1, 6),
        "who": ["w", "v", "u", "x", "y", "z"], "age": [10, 20, 30, 40, 50, 60], "w": [1, 2, 3, 4, 5, 6],
    })  # fmt: skip
    with pytest.warns(EvidenceWarning, match=r"a \(2\), of 6"):
        found = Predictions.from_table(
            frame,
            task="multilabel",
            label={"a": "a", "b": "b"},
            score={"a": "pa", "b": "pb"},
            patient="who",
            weight="w",
        )
    first, second = design_of(found, ["age"], "a"), design_of(found, ["age"], "b")
    assert (first.left_out, second.left_out) == (2, 0)
    assert first.truth.tolist() == [True, False, True, False]
    assert first.scores == pytest.approx(np.linspace(0.1, 0.9, 6)[[0, 2, 3, 5]])
    assert first.weights.tolist() == [1, 3, 4, 6]
    assert first.patients.tolist() == second.patients[[0, 2, 3, 5]].tolist() == [2, 0, 3, 5]
    assert [part.names for part in first.partitions] == [part.names for part in second.partitions]
    auroc = [metric_of("AUROC")]
    measured = measure(first, auroc, AT, replicates=70)
    expected = peer.roc_auc_score(first.truth, first.scores, sample_weight=first.weights)
    assert measured.values["AUROC"][0] == pytest.approx(expected)
    assert np.isfinite(measured.drawn["AUROC"][0]).any()


def test_findings_without_positives_or_labels_are_refused():
    frame = pd.DataFrame({"a": [0, 0, 0], "b": [None, None, None], "pa": [0.1, 0.2, 0.3], "pb": [0.1, 0.2, 0.3]})
    with pytest.warns(EvidenceWarning):
        found = Predictions.from_table(frame, task="multilabel", label=["a", "b"], score=["pa", "pb"])
    with pytest.raises(InputError, match="not of class 'a'"):
        design_of(found, [], "a")
    with pytest.raises(InputError, match="no image is labelled for the finding 'b'"):
        design_of(found, [], "b")
    with pytest.raises(InputError, match="finding None is unknown"):
        design_of(found, [])


def test_several_classes_are_kept_apart_or_held_against_one():
    frame = pd.DataFrame(
        {"y": list("abca"), "pa": [0.5, 0.2, 0.1, 0.6], "pb": [0.3, 0.6, 0.1, 0.2], "pc": [0.2, 0.2, 0.8, 0.2]}
    )
    found = Predictions.from_table(frame, label="y", score=["pa", "pb", "pc"], classes=["a", "b", "c"])
    apart = design_of(found, [])
    assert apart.truth.tolist() == [0, 1, 2, 0]
    assert apart.scores.shape == (4, 3)
    assert measure(apart, [metric_of("accuracy", "multiclass")], AT).values["accuracy"][0] == 1
    assert len(apart.samples[0].negatives) == 4
    assert design_of(found, [], "b").truth.tolist() == [False, True, False, False]


def test_quantities_and_measures_stand_in_one_arm():
    frame = pd.DataFrame({"t": [1.0, 2, 3], "s": [1.5, 2, 2], "Dice": [0.9, 0.8, 0.7], "sex": list("FMF")})
    for task, asked, name in (
        ("regression", {"label": "t", "score": "s"}, "bias"), ("segmentation", {"score": ["Dice"]}, "mean Dice"),
    ):  # fmt: skip
        found = Predictions.from_table(frame, task=task, attributes=["sex"], **asked)
        design = design_of(found, ["sex"])
        assert [(sample.n, len(sample.positives)) for sample in design.samples] == [(3, 0), (2, 0), (1, 0)]
        value = measure(design, [metric_of(name, task, found.classes)], AT).values[name]
        assert value == pytest.approx([-1 / 6, -0.25, 0] if task == "regression" else [0.8, 0.8, 0.8])
        with pytest.raises(InputError, match=f"a {task} has no classes"):
            design_of(found, [], "t")


def carried(design, metric):
    """Say what the audit's tables say of the evidence, and count the patients, for every group."""
    from workbench.audit.estimation.estimates import Estimates, Reading
    from workbench.audit.estimation.roster import Roster

    estimates = Estimates(Roster(design), Reading((metric,), AT), measure(design, [metric], AT, replicates=20))
    places = range(len(design.samples))
    return [estimates.patients(metric, 0, place) for place in places], [
        estimates.note(metric, 0, place) for place in places
    ]


def test_a_macro_average_rests_on_its_rarest_class_and_a_measure_on_the_images_it_is_told_of():
    codes, scores = np.repeat([0, 1, 2], [30, 25, 3]), np.full((58, 3), 1 / 3)
    patients, notes = carried(everybody(codes, scores), metric_of("macro AUROC", "multiclass"))
    assert patients == [3]
    assert notes == ["refused: only 3 images of the rarest class; at least 5 are needed"]
    assert carried(everybody(codes, scores), metric_of("accuracy", "multiclass"))[0] == [58]
    distances = np.where(np.arange(40) < 28, np.nan, 1.0)[:, None]
    patients, notes = carried(
        everybody(np.full(40, np.nan), distances), metric_of("mean HD95", "segmentation", ("HD95",))
    )
    assert patients == [12]
    assert notes == ["only 12 images: wide interval, do not rely on it"]


def test_chance_explains_a_top_label_error_of_a_calibrated_model():
    rng = np.random.default_rng(0)
    scores = rng.dirichlet([2, 1, 1], 60)
    codes = np.array([rng.choice(3, p=row) for row in scores])
    _, notes = carried(everybody(codes, scores), metric_of("ECE (top label)", "multiclass"))
    assert "chance" in notes[0] or "calibrated" in notes[0]

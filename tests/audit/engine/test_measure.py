"""All metrics in all groups and replicates: against plain sums with the same weights, against peers, and what must not matter."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats
from sklearn.metrics import average_precision_score, brier_score_loss, precision_score, recall_score, roc_auc_score

from workbench.audit.definitions import METRICS
from workbench.audit.engine import blocks, measure_curves, measure_rows, measure_sums
from workbench.audit.engine.blocks import weights_of
from workbench.audit.engine.measure import measure, prepare
from workbench.audit.metric import Metric, Setting, metrics_of
from workbench.audit.sample import Design
from workbench.groups import Partition

EVERY = [name for name, metric in METRICS.items() if "binary" in metric.tasks]
SOME = ("AUROC", "AUPRC", "sensitivity", "PPV", "Brier score", "ECE (equal width)", "partial AUROC")


def partition(by, codes):
    present, codes = np.unique(codes, return_inverse=True)
    return Partition(by, tuple(f"{by}={value}" for value in present), codes.astype(np.int64))


def made(patients=40, images=3, seed=0, *, digits=None, weighted=False, prevalence=0.4, crossed=True):
    """Rows of patients in any order; sex is the patient's, view the image's, and their crossing is finest."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(patients), images))
    n = len(who)
    truth = rng.random(n) < prevalence
    truth[:2] = True, False
    scores = 1 / (1 + np.exp(-(rng.normal(size=n) + 1.5 * truth - 0.7)))
    sex, view = rng.integers(0, 2, patients)[who], rng.integers(0, 3, n)
    parts = [Partition("", ("all",), np.zeros(n, dtype=np.int64)), partition("sex", sex), partition("view", view)]
    parts += [partition("sex × view", sex * 3 + view)] if crossed else []
    weights = rng.choice([0.1, 0.7, 1.3], n) if weighted else np.ones(n)
    return Design(scores if digits is None else scores.round(digits).clip(0.1, 0.9), truth, who, tuple(parts), weights)


def plain(design, metric, setting, *, replicates, seed):
    """One metric by its definition, without any haste: groups, rests ``(2, G, 1 + R)``."""
    lots = np.hstack(
        [
            np.ones((design.patients.max() + 1, 1)),
            weights_of(design.patients.max() + 1, seed=seed, replicates=replicates),
        ]
    )
    inside = [part.codes == code for part in design.partitions for code in range(len(part.names))]
    two = design.truth.dtype == bool and design.truth.ndim == 1
    arms = (
        (~design.truth, design.truth) if two else (np.ones(len(design.truth), bool), np.zeros(len(design.truth), bool))
    )
    result = np.full((2, len(inside), 1 + replicates), np.nan)
    for side, masks in enumerate((inside, [~one for one in inside])):
        for group, rows in enumerate(masks):
            if not rows.any():
                continue
            truth, scores = design.truth[rows], design.scores[rows]
            weights = lots.T[:, design.patients[rows]] * design.weights[rows]
            if metric.of_rows is not None:
                result[side, group] = metric.of_rows(truth, scores, weights, setting)
            elif metric.of_curve is not None:
                _, place = np.unique(-scores, return_inverse=True)
                gather = sparse.csr_array((np.ones(len(place)), (np.arange(len(place)), place)))
                start = np.zeros((len(weights), 1))
                curve = [np.hstack([start, np.cumsum((weights * arm) @ gather, axis=1)]) for arm in (truth, ~truth)]
                result[side, group] = metric.of_curve(*curve, setting)
            else:
                columns = metric.columns(design.truth, design.scores, setting)[rows]
                sums = np.stack([(weights * arm[rows]) @ columns for arm in arms], axis=-2)
                result[side, group] = metric.of_sums(sums, setting)
    return result


def both(measured, name):
    return np.stack([
        np.column_stack([measured.values[name], measured.drawn[name]]),
        np.column_stack([measured.rest[name], measured.rest_drawn[name]]),
    ])  # fmt: skip


def same(first, second):
    for name in first.values:
        np.testing.assert_array_equal(both(first, name), both(second, name), err_msg=name)


@pytest.mark.parametrize("design", [
    made(digits=1), made(digits=2, weighted=True), made(crossed=False), made(9, 1, prevalence=0.15), made(images=1, weighted=True),
], ids=["ties", "weights", "two finest partitions", "classes missing", "one image a patient"])  # fmt: skip
@pytest.mark.parametrize(
    "setting", [Setting(), Setting(threshold=0.3, prevalence=0.05, bins=4)], ids=["as is", "prevalence"]
)
def test_every_metric_is_what_its_definition_gives_with_the_same_weights(design, setting):
    measured = measure(design, metrics_of(EVERY), setting, replicates=130, seed=3)
    for name in EVERY:
        wanted = plain(design, METRICS[name], setting, replicates=130, seed=3)
        np.testing.assert_allclose(both(measured, name), wanted, rtol=1e-9, atol=1e-11, err_msg=name)


def test_replicates_are_scikit_learns_weighted_numbers():
    design = made(digits=1, weighted=True)
    measured = measure(
        design, metrics_of(["AUROC", "AUPRC", "sensitivity", "PPV", "Brier score"]), Setting(), replicates=70, seed=4
    )
    weights = weights_of(40, seed=4, replicates=70)[design.patients] * design.weights[:, None]
    peers = {
        "AUROC": roc_auc_score, "AUPRC": average_precision_score, "Brier score": brier_score_loss,
        "sensitivity": lambda truth, score, **w: recall_score(truth, score >= 0.5, **w),
        "PPV": lambda truth, score, **w: precision_score(truth, score >= 0.5, **w),
    }  # fmt: skip
    for replicate in (0, 1, 62, 63, 64, 69):
        for group, rows in enumerate(
            part.codes == code for part in design.partitions for code in range(len(part.names))
        ):
            for name, peer in peers.items():
                told = peer(design.truth[rows], design.scores[rows], sample_weight=weights[rows, replicate])
                assert measured.drawn[name][group, replicate] == pytest.approx(told, abs=1e-12), name


def test_the_bootstraps_standard_error_is_delongs():
    design = made(900, 1, seed=5)
    drawn = measure(design, metrics_of(["AUROC"]), Setting(), replicates=2000, seed=0).drawn["AUROC"]
    for place, sample in enumerate(design.samples):
        positive, negative = sample.positives.scores, sample.negatives.scores
        wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
        error = np.sqrt(wins.mean(1).var(ddof=1) / len(positive) + wins.mean(0).var(ddof=1) / len(negative))
        # The standard error of a standard deviation of 2,000 draws is 1.6 %.
        assert drawn[place].std() == pytest.approx(error, rel=0.06)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), digits=st.sampled_from([1, 3, None]), weighted=st.booleans())
def test_the_order_of_rows_does_not_change_a_digit(seed, digits, weighted):
    design = made(25, seed=seed, digits=digits, weighted=weighted)
    order = np.random.default_rng(seed + 1).permutation(len(design.truth))
    moved = dataclasses.replace(
        design, scores=design.scores[order], truth=design.truth[order], patients=design.patients[order],
        weights=design.weights[order], partitions=tuple(dataclasses.replace(p, codes=p.codes[order]) for p in design.partitions),
    )  # fmt: skip
    first, second = (measure(one, metrics_of(SOME), Setting(), replicates=40, seed=1) for one in (design, moved))
    same(first, second)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_number_of_threads_does_not_change_a_digit(monkeypatch, weighted):
    design = made(60, digits=2, weighted=weighted)
    found = []
    for number in (1, 2, 5):
        monkeypatch.setattr("workbench.audit.engine.measure.threads", lambda patients, number=number: number)
        found.append(measure(design, metrics_of(EVERY), Setting(), replicates=300, seed=1))
    same(found[0], found[1])
    same(found[0], found[2])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), digits=st.sampled_from([1, None]))
def test_rank_metrics_see_only_the_order_of_scores(seed, digits):
    design = made(25, seed=seed, digits=digits)
    bent = dataclasses.replace(design, scores=np.exp(3 * design.scores) - 7)
    names = ["AUROC", "AUPRC", "partial AUROC", "sensitivity at fixed specificity"]
    same(*(measure(one, metrics_of(names), Setting(), replicates=40) for one in (design, bent)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), digits=st.sampled_from([1, None]))
def test_swapping_labels_and_scores_mirrors(seed, digits):
    design = made(25, seed=seed, digits=digits)
    turned = dataclasses.replace(design, truth=~design.truth)
    one, other = (measure(d, metrics_of(["AUROC"]), Setting(), replicates=40) for d in (design, turned))
    np.testing.assert_allclose(both(one, "AUROC"), 1 - both(other, "AUROC"), atol=1e-14)


def test_counting_every_row_twice_changes_nothing():
    design = made(digits=1)
    twice = Design(
        *(np.tile(part, 2) for part in (design.scores, design.truth, design.patients)),
        tuple(dataclasses.replace(part, codes=np.tile(part.codes, 2)) for part in design.partitions), np.ones(2 * len(design.truth)),
    )  # fmt: skip
    one, other = (measure(d, metrics_of(EVERY), Setting(), replicates=70) for d in (design, twice))
    heavy = measure(
        dataclasses.replace(design, weights=2 * design.weights), metrics_of(EVERY), Setting(), replicates=70
    )
    for name in EVERY:
        np.testing.assert_allclose(both(other, name), both(one, name), rtol=1e-9, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(both(heavy, name), both(one, name), rtol=1e-9, atol=1e-12, err_msg=name)


def test_more_replicates_begin_with_the_same_ones():
    design = made()
    few, many = (measure(design, metrics_of(SOME), Setting(), replicates=r, seed=9) for r in (10, 200))
    none = measure(design, metrics_of(SOME), Setting())
    for name in SOME:
        np.testing.assert_array_equal(few.drawn[name], many.drawn[name][:, :10])
        np.testing.assert_array_equal(none.values[name], many.values[name])
        assert none.drawn[name].shape == (len(none.values[name]), 0)


def test_a_prepared_design_gives_the_same_at_every_threshold():
    design, names = made(digits=2), ["sensitivity", "specificity", "PPV"]
    prepared = prepare(design, replicates=50, seed=2)
    for threshold in (0.2, 0.5, 0.2, 1.5):
        setting = Setting(threshold=threshold)
        same(
            prepared.measure(metrics_of(names), setting),
            measure(design, metrics_of(names), setting, replicates=50, seed=2),
        )


def test_many_pairs_do_not_overflow():
    # 3·10⁵ × 3·10⁵ pairs are 40 times more than 32 bits can count.
    n = 600_000
    truth = np.arange(n) % 2 == 0
    scores = np.arange(n) / n
    design = Design(scores, truth, np.arange(n), (Partition("", ("all",), np.zeros(n, dtype=np.int64)),), np.ones(n))
    measured = measure(design, metrics_of(["AUROC"]), Setting(), replicates=3)
    ranks = stats.rankdata(scores)[truth].sum()
    assert measured.values["AUROC"][0] == pytest.approx((ranks - n / 2 * (n / 2 + 1) / 2) / (n / 2) ** 2, abs=1e-14)
    assert measured.drawn["AUROC"][0] == pytest.approx([0.5] * 3, abs=0.01)


def test_the_rest_of_everybody_is_nobody():
    measured = measure(made(), metrics_of(EVERY), Setting(), replicates=20)
    for name in EVERY:
        assert np.isnan(measured.rest[name][0])
        assert np.isnan(measured.rest_drawn[name][0]).all()


def test_a_replicate_without_positives_is_nan_not_zero():
    drawn = measure(made(12, 1, prevalence=0.15), metrics_of(["sensitivity", "AUROC"]), Setting(), replicates=500).drawn
    for values in drawn.values():
        assert np.isnan(values[0]).any()
        assert np.isfinite(values[0]).any()


def test_rows_of_several_numbers_are_one_arm():
    """Truth of no two classes: everything is added up as the first arm, whatever its shape."""
    rng = np.random.default_rng(0)
    design = made(30)
    design = dataclasses.replace(design, truth=rng.normal(size=(90, 2)), scores=rng.normal(size=(90, 2)))
    error = Metric(
        "squared error", ("regression",), 0, (0, np.inf), "",
        columns=lambda truth, scores, _: np.column_stack([np.ones(len(truth)), ((truth - scores) ** 2).sum(-1)]),
        of_sums=lambda sums, _: np.divide(sums[..., 0, 1], sums[..., 0, 0], out=np.full(sums.shape[:-2], np.nan), where=sums[..., 0, 0] > 0),
    )  # fmt: skip
    measured = measure(design, [error], Setting(), replicates=70)
    np.testing.assert_allclose(
        both(measured, error.name), plain(design, error, Setting(), replicates=70, seed=0), rtol=1e-12
    )


@pytest.mark.parametrize("module", [measure_sums, measure_curves, measure_rows])
def test_working_in_small_portions_gives_the_same(monkeypatch, module):
    design = made(60, digits=2)
    whole = measure(design, metrics_of(EVERY), Setting(), replicates=150)
    monkeypatch.setattr(module, "AT_ONCE" if hasattr(module, "AT_ONCE") else "MOST_BYTES", 1)
    monkeypatch.setattr("workbench.audit.engine.measure.threads", lambda patients: 1)
    parts = measure(design, metrics_of(EVERY), Setting(), replicates=150)
    for name in EVERY:
        np.testing.assert_allclose(both(parts, name), both(whole, name), rtol=1e-10, atol=1e-12, err_msg=name)


def test_rows_gathered_in_many_portions_give_the_same(monkeypatch):
    design = made(60, digits=2)
    whole = measure(design, metrics_of(SOME), Setting(), replicates=70)
    monkeypatch.setattr(measure_sums, "ROWS", 7)
    parts = measure(design, metrics_of(SOME), Setting(), replicates=70)
    for name in SOME:
        np.testing.assert_allclose(both(parts, name), both(whole, name), rtol=1e-12, atol=1e-14, err_msg=name)


def test_threads_are_held_back_where_weights_are_many(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    assert blocks.threads(1000) == 64
    assert blocks.threads(400_000) == 10
    assert blocks.threads(10**9) == 1

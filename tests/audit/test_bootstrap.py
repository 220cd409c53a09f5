"""The patient bootstrap against a plain loop, and what it must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from workbench.audit.bootstrap import BLOCK, _weights, bootstrap
from workbench.audit.sample import design_of
from workbench.predictions import Predictions


def design(frame, by=("sex", "view", ("sex", "view"))):
    return design_of(Predictions.from_table(frame, label="truth", score="p", patient="who"), by, "1")


def test_each_replicate_is_scikit_learns_weighted_number(scores):
    made = design(scores(patients=40, digits=1))
    drawn = bootstrap(made, 0.5, replicates=BLOCK, seed=4)
    weights = _weights(40, 4, 0)[made.patients]
    place = 0
    for partition in made.partitions:
        for code in range(len(partition.names)):
            for side, inside in ((drawn.group, partition.codes == code), (drawn.rest, partition.codes != code)):
                for replicate in range(5) if inside.any() else ():
                    truth, score, w = made.truth[inside], made.scores[inside], weights[inside, replicate]
                    area = roc_auc_score(truth, score, sample_weight=w)
                    assert side["AUROC"][place, replicate] == pytest.approx(area, abs=1e-12)
                    hit = np.average(score >= 0.5, weights=w * truth)
                    assert side["sensitivity"][place, replicate] == pytest.approx(hit)
                    spared = np.average(score < 0.5, weights=w * ~truth)
                    assert side["specificity"][place, replicate] == pytest.approx(spared)
            place += 1


def test_weights_are_poisson_with_mean_one():
    drawn = np.concatenate([_weights(4000, 0, block) for block in range(4)], axis=1)
    share = np.bincount(drawn.astype(int).ravel())[:4] / drawn.size
    assert share == pytest.approx(np.exp(-1) / np.array([1, 1, 2, 6]), abs=0.003)


def test_quantiles_agree_with_a_plain_loop_that_draws_patients(scores):
    frame = scores(patients=150, seed=5)
    fast = bootstrap(design(frame, ()), 0.5, replicates=2000, seed=0).group["AUROC"][0]
    rng, parts = np.random.default_rng(1), [part for _, part in frame.groupby("who")]
    truth, score = (np.array([part[name].to_numpy() for part in parts]) for name in ("truth", "p"))
    slow = []
    for _ in range(600):
        chosen = rng.integers(0, len(parts), len(parts))
        slow.append(roc_auc_score(truth[chosen].ravel(), score[chosen].ravel()))
    # Monte-Carlo error of a 2.5 % quantile of 600 draws is about 0.11 standard deviations.
    spread = np.std(slow)
    assert np.quantile(fast, [0.025, 0.5, 0.975]) == pytest.approx(
        np.quantile(slow, [0.025, 0.5, 0.975]), abs=0.35 * spread
    )
    assert fast.std() == pytest.approx(spread, rel=0.1)


def test_the_order_of_rows_does_not_change_a_digit(scores):
    frame = scores(patients=50)
    first = bootstrap(design(frame), 0.5, replicates=100, seed=2)
    second = bootstrap(design(frame.sample(frac=1, random_state=0)), 0.5, replicates=100, seed=2)
    for metric in first.group:
        np.testing.assert_array_equal(first.group[metric], second.group[metric])
        np.testing.assert_array_equal(first.rest[metric], second.rest[metric])


def test_a_replicate_without_positives_is_nan_not_zero(scores):
    frame = scores(patients=12, prevalence=0.2, seed=3)
    drawn = bootstrap(design(frame, ()), 0.5, replicates=500, seed=0).group["sensitivity"][0]
    assert np.isnan(drawn).any()
    assert np.isfinite(drawn).any()

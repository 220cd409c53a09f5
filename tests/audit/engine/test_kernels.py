"""The compiled loops one by one, against plain NumPy; and the weights of patients, which all of them share."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from workbench.audit.engine import curve_kernels, kernels
from workbench.audit.engine.blocks import LANES, blocks_of, in_threads, packed_weights, runs_of, weights_of
from workbench.audit.engine.measure import measure
from workbench.audit.engine.overlaps import overlaps_of
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.sample import design_of
from workbench.groups import Partition
from workbench.predictions import Predictions


def test_weights_are_poisson_with_mean_one():
    drawn = weights_of(4000, seed=0, replicates=200).astype(int)
    expected = stats.poisson.pmf(np.arange(8), 1)
    expected = np.append(expected, 1 - expected.sum())
    found = np.bincount(drawn.ravel(), minlength=9)
    assert stats.chisquare(found, expected * drawn.size).pvalue > 1e-3
    # Means of patients and of replicates spread as those of independent numbers do.
    for axis in (0, 1):
        means = drawn.mean(axis)
        assert means.var() * drawn.shape[axis] == pytest.approx(1, abs=4 * math.sqrt(2 / len(means)))


def test_weights_of_neighbours_and_of_other_seeds_do_not_go_together():
    drawn, other = weights_of(20_000, seed=0, replicates=130), weights_of(20_000, seed=1, replicates=130)
    correlations = np.corrcoef(drawn.T)[np.triu_indices(130, 1)]
    # 8,385 pairs: the largest of so many standard normal numbers is about 4.
    assert np.abs(correlations).max() * math.sqrt(20_000) < 5.5
    assert abs(np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]) < 4 / math.sqrt(drawn.size)
    assert abs(np.corrcoef(drawn.ravel(), other.ravel())[0, 1]) < 4 / math.sqrt(drawn.size)


def test_a_weight_depends_on_seed_replicate_and_patient_alone():
    whole = packed_weights(500, 7, 2)
    np.testing.assert_array_equal(packed_weights(100, 7, 2, lowest=250), whole[250:350])
    assert (packed_weights(500, 7, 3) != whole).mean() > 0.5
    np.testing.assert_array_equal(
        weights_of(500, seed=7, replicates=10), weights_of(700, seed=7, replicates=150)[:500, :10]
    )
    assert (packed_weights(50, 2**80, 0)[:, 0] & 15 == 1).all()


def test_replicates_vary_as_drawing_patients_with_replacement_does(scores):
    frame = scores(patients=150, seed=5)
    design = design_of(Predictions.from_table(frame, label="truth", score="p", patient="who"), (), "1")
    fast = measure(design, metrics_of(["AUROC"]), Setting(), replicates=2000).drawn["AUROC"][0]
    rng, parts = np.random.default_rng(1), [part for _, part in frame.groupby("who")]
    truth, score = (np.array([part[name].to_numpy() for part in parts]) for name in ("truth", "p"))
    slow = []
    for _ in range(600):
        chosen = rng.integers(0, len(parts), len(parts))
        slow.append(roc_auc_score(truth[chosen].ravel(), score[chosen].ravel()))
    # Monte-Carlo error of a 2.5 % quantile of 600 draws is about 0.11 standard deviations.
    spread = np.std(slow)
    ends = [np.quantile(drawn, [0.025, 0.5, 0.975]) for drawn in (fast, slow)]
    assert ends[0] == pytest.approx(ends[1], abs=0.35 * spread)
    assert fast.std() == pytest.approx(spread, rel=0.1)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=40))
def test_tied_negatives_count_half_before_and_half_after(rows):
    scores, truth = (np.array(part) for part in zip(*sorted(rows, key=lambda row: row[0]), strict=True))
    entry, share = curve_kernels.ties_apart(scores.astype(float), truth)
    assert np.bincount(entry, weights=share, minlength=len(rows)) == pytest.approx(1)
    assert (np.diff(scores[entry]) >= 0).all()
    below = np.cumsum(share * ~truth[entry])
    pairs = (below * share)[truth[entry]].sum()
    wins = np.subtract.outer(scores[truth], scores[~truth])
    assert pairs == (wins > 0).sum() + 0.5 * (wins == 0).sum()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=40), st.randoms())
def test_rows_are_sorted_by_patient_and_stay_in_order_within(patients, random):
    patients, order = np.array(patients), np.arange(len(patients))
    random.shuffle(order)
    found = kernels.by_patient(patients.astype(np.int32), order.astype(np.int32), 7)
    np.testing.assert_array_equal(found, order[np.argsort(patients[order], kind="stable")])


def test_patients_columns_are_added_up_where_they_belong():
    rng = np.random.default_rng(0)
    patients = np.sort(rng.choice([3, 4, 7, 8, 20], 60))
    columns = rng.normal(size=(60, 4)) * (rng.random((60, 4)) < 0.5)
    places, weights = rng.integers(0, 5, (60, 2)).astype(np.int32) * 4, rng.random(60)
    entries = kernels.gather(patients, columns, places, weights, np.full(20, -1))
    wanted = np.zeros((18, 20))
    for row, part, column in np.ndindex(60, 2, 4):
        wanted[patients[row] - 3, places[row, part] + column] += columns[row, column] * weights[row]
    found = np.zeros((18, 20))
    for patient in range(18):
        mine = slice(entries.start[patient], entries.start[patient + 1])
        assert len(set(entries.place[mine])) == len(entries.place[mine])
        found[patient, entries.place[mine]] = entries.value[mine]
    np.testing.assert_allclose(found, wanted, atol=1e-14)
    sums = np.zeros((20, LANES))
    packed = packed_weights(18, 0, 1, lowest=3)
    kernels.add_up(packed, entries, sums)
    np.testing.assert_allclose(sums, wanted.T @ np.hstack([packed & 15, packed >> 4]), rtol=1e-12, atol=1e-12)


def test_loops_work_where_no_machine_code_can_be_kept(monkeypatch):
    real = numba.njit

    def nowhere(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    monkeypatch.setattr(numba, "njit", nowhere)
    assert kernels.compiled(lambda x: x + 1)(1) == 2


def test_groups_that_are_unions_of_others_are_added_up():
    sex, view = np.array([0, 0, 1, 1, 1, 0]), np.array([0, 1, 0, 1, 2, 0])
    cells = np.array([0, 1, 2, 3, 4, 0])
    parts = [("", np.zeros(6, int), 1), ("sex", sex, 2), ("view", view, 3), ("sex × view", cells, 5)]
    overlaps = overlaps_of([Partition(by, tuple(map(str, range(size))), codes) for by, codes, size in parts])
    assert overlaps.finest == (3,)
    values = np.array([1.0, 2, 4, 8, 16, 32])
    sums = np.concatenate(
        [np.bincount(codes, values, size) if by == "sex × view" else np.zeros(size) for by, codes, size in parts]
    )
    overlaps.complete(sums)
    wanted = np.concatenate([np.bincount(codes, values, size) for _, codes, size in parts])
    np.testing.assert_array_equal(sums, wanted)
    np.testing.assert_array_equal(overlaps.rest(sums), 63 - wanted)


def test_blocks_hold_the_sample_itself_and_all_replicates():
    assert [blocks_of(replicates) for replicates in (0, 63, 64, 1000)] == [1, 1, 2, 16]
    for replicates, patients, workers in ((0, 10, 4), (1000, 10, 3), (1000, 100_000, 2), (1000, 10**9, 1)):
        runs = runs_of(replicates, patients, workers)
        assert [block for run in runs for block in run] == list(range(blocks_of(replicates)))


def test_results_of_threads_come_in_order_and_errors_come_through():
    assert in_threads(lambda item: item**2, range(20), 4) == [item**2 for item in range(20)]
    with pytest.raises(ZeroDivisionError):
        in_threads(lambda item: 1 / item, range(3), 2)


@pytest.mark.slow
def test_after_warming_up_a_new_process_compiles_nothing(tmp_path):
    audit = """
import numpy as np, pandas as pd
from workbench.audit.engine import curve_kernels
from workbench.audit.engine import kernels
from workbench.audit.engine.measure import measure
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.sample import design_of
from workbench.predictions import Predictions
truth = np.arange(400) % 3 == 0
frame = pd.DataFrame({"truth": truth.astype(int), "p": np.random.default_rng(0).random(400), "who": np.arange(400) // 2, "sex": ["F", "M"] * 200})
design = design_of(Predictions.from_table(frame, label="truth", score="p", patient="who"), ["sex"], "1")
names = ["AUROC", "AUPRC", "sensitivity at fixed specificity", "specificity at fixed sensitivity", "partial AUROC", "PPV", "Brier score"]
measure(design, metrics_of(names), Setting(), replicates=100)
loops = [loop for module in (kernels, curve_kernels) for loop in vars(module).values() if hasattr(loop, "stats")]
print(sum(sum(loop.stats.cache_hits.values()) for loop in loops), sum(sum(loop.stats.cache_misses.values()) for loop in loops))
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "workbench.audit.engine.warm"], check=True, env=environment)
    done = subprocess.run([sys.executable, "-c", audit], check=True, env=environment, capture_output=True, text=True)
    hits, misses = map(int, done.stdout.split())
    assert misses == 0
    assert hits >= 9

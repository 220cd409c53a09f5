"""Areas and their covariance: against all pairs, scikit-learn, published values, and what must never change them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from workbench.audit.validation.areas import areas, placements
from workbench.audit.validation.contrasts import area_gap

# Turck et al. 2010, Intensive Care Med 36:107 (Table in pROC's aSAH): outcome (Good, Poor), WFNS grade, S100β in µg/l.
SUBARACHNOID = """
G1.13 G1.14 G1.1 G1.04 P3.13 P2.1 G5.47 P4.16 G1.18 G2.1 P5.12 G2.1 P5.44 P5.71 G1.04 G2.08 P5.49 G2.04 P2.07 P5.33
P2.09 G1.09 P1.07 G1.11 G1.07 G2.17 G1.07 G2.11 G1.13 G1.19 G3.05 G4.16 P2.41 G1.14 G4.34 P5.35 P4.48 G1.09 P4.96 P2.25
G5.5 G5.46 G1.16 G1.07 G2.43 G4.45 G1.11 G1.08 G2.09 P5.86 P5.52 G2.08 G1.06 G2.13 P52.07 G1.1 G2.14 G2.15 P2.07 G1.06
P5.77 G1.05 G1.09 P2.3 P5.03 P2.09 G1.04 P4.23 P5.7 G2.09 P4.27 P4.71 P1.08 P4.26 G1.08 G2.16 G1.09 P4.13 P2.1 G1.08
P2.11 G3.33 G2.11 G4.28 G2.07 G1.1 G4.32 P5.22 G1.07 G1.05 G5.24 G4.38 G2.1 G2.15 G1.08 G1.14 G1.1 G3.07 G1.04 G2.19
P5.56 P2.14 P2.58 P5.32 P5.82 P5.74 G2.15 G4.47 G4.17 P5.44 G1.15 G1.5 G1.48
"""


def made(seed, n=120, k=2, *, digits=8, images=1):
    rng = np.random.default_rng(seed)
    patients = np.arange(n) // images
    truth = rng.random(n) < 0.4
    scores = (rng.normal(size=(k, n)) + rng.normal(size=n) + rng.normal(size=n // images + 1)[patients] + truth).round(
        digits
    )
    return scores, truth, patients


def kernel(row, truth):
    positive, negative = row[truth], row[~truth]
    return (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)


def all_pairs(scores, truth):
    """DeLong's equations 4–6 as they are printed: O(mn)."""
    kernels = [kernel(row, truth) for row in scores]
    ten, one = np.stack([k.mean(1) for k in kernels]), np.stack([k.mean(0) for k in kernels])
    return np.array([k.mean() for k in kernels]), np.cov(ten) / ten.shape[1] + np.cov(one) / one.shape[1]


def obuchowski(scores, truth, patients):
    """Obuchowski's equations patient by patient, in plain loops."""
    m, n = truth.sum(), (~truth).sum()
    moved = []
    for row in scores:
        k = kernel(row, truth)
        above, below = k.mean(1) - k.mean(), k.mean(0) - k.mean()
        first = {who: above[patients[truth] == who].sum() for who in set(patients[truth])}
        second = {who: below[patients[~truth] == who].sum() for who in set(patients[~truth])}
        moved.append((first, second))
    everybody = len(set(patients))
    result = np.zeros((len(scores), len(scores)))
    for a, (first, second) in enumerate(moved):
        for b, (other_first, other_second) in enumerate(moved):
            ten = sum(first[who] * other_first[who] for who in first) * len(first) / (len(first) - 1) / m**2
            one = sum(second[who] * other_second[who] for who in second) * len(second) / (len(second) - 1) / n**2
            crossed = sum(first[who] * other_second[who] for who in first if who in second)
            crossed += sum(second[who] * other_first[who] for who in first if who in second)
            result[a, b] = ten + one + crossed * everybody / (everybody - 1) / (m * n)
    return result


@pytest.mark.parametrize("digits", [8, 1, 0])
def test_values_and_covariance_are_those_of_all_pairs(digits):
    scores, truth, patients = made(3, k=4, digits=digits)
    found = areas(scores, truth, patients)
    values, covariance = all_pairs(scores, truth)
    np.testing.assert_allclose(found.values, values, atol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-12, rtol=1e-10)
    assert not found.clustered
    assert found.values == pytest.approx([roc_auc_score(truth, row) for row in scores], abs=1e-12)


@pytest.mark.parametrize("digits", [8, 1])
def test_one_area_alone_is_the_same_as_among_others(digits):
    scores, truth, patients = made(4, digits=digits)
    alone, among = areas(scores[0], truth), areas(scores, truth, patients)
    assert alone.values[0] == pytest.approx(among.values[0], abs=1e-14)
    assert alone.covariance[0, 0] == pytest.approx(among.covariance[0, 0], rel=1e-12)


@pytest.mark.parametrize("images", [2, 5])
def test_clustered_covariance_is_obuchowskis(images):
    scores, truth, patients = made(5, k=3, images=images, digits=1)
    found = areas(scores, truth, patients)
    np.testing.assert_allclose(found.covariance, obuchowski(scores, truth, patients), rtol=1e-10)
    assert found.clustered


def test_the_published_comparison_of_two_markers_of_subarachnoid_haemorrhage():
    """pROC (Robin et al. 2011): WFNS 0.8236789, S100β 0.7313686; DeLong's paired test Z = 2.209, p = 0.02718."""
    truth = np.array([cell[0] == "P" for cell in SUBARACHNOID.split()])
    scores = np.array([[float(cell[1]), float(cell[2:])] for cell in SUBARACHNOID.split()]).T
    found = areas(scores, truth, np.arange(len(truth)))
    assert found.values == pytest.approx([0.8236789, 0.7313686], abs=5e-8)
    gap = area_gap(found)
    assert gap.value / gap.error == pytest.approx(2.209, abs=5e-4)
    assert gap.p_two_sided() == pytest.approx(0.02718, abs=5e-6)


def test_the_published_analysis_of_van_dykes_readers_rests_on_the_covariance(shared_data):
    """MRMCaov: difference −0.04380032, SE 0.0206825, df 15.066 from DeLong's covariance of the ten areas."""
    path = shared_data / "mrmc_readers" / "VanDyke.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    table = pd.read_csv(path).pivot(index="case", columns=["treatment", "reader"], values=["rating", "truth"])
    truth = table["truth"].iloc[:, 0].to_numpy(dtype=bool)
    names = table["rating"].columns
    found = areas(table["rating"].to_numpy(dtype=float).T, truth, np.arange(len(truth)))
    treatment, reader = names.get_level_values(0).to_numpy(), names.get_level_values(1).to_numpy()
    same_treatment, same_reader = treatment[:, None] == treatment, reader[:, None] == reader
    value = pd.Series(found.values, names).unstack("reader").to_numpy()
    second, third = (
        found.covariance[mask].mean() for mask in (same_treatment & ~same_reader, ~same_treatment & ~same_reader)
    )
    off = value - value.mean(0) - value.mean(1, keepdims=True) + value.mean()
    interaction = (off**2).sum() / 4
    spread = interaction + max(5 * (second - third), 0)
    assert value[0].mean() - value[1].mean() == pytest.approx(-0.04380032, abs=5e-9)
    assert np.sqrt(2 / 5 * spread) == pytest.approx(0.0206825, abs=5e-7)
    assert spread**2 / (interaction**2 / 4) == pytest.approx(15.066, abs=5e-3)


def test_placements_count_ties_half():
    positive, negative = np.array([2.0, 1.0, 3.0]), np.array([2.0, 2.0, 0.0, 5.0])
    above, below = placements(positive, negative)
    table = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    assert above.tolist() == table.sum(1).tolist()
    assert below.tolist() == table.sum(0).tolist()


def test_pairs_beyond_int32_are_counted_exactly():
    truth = np.arange(200_000) % 2 == 1
    found = areas(np.arange(200_000, dtype=float), truth)
    assert found.values[0] == (100_000 * 100_001 / 2) / 100_000**2
    assert found.covariance[0, 0] > 0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([1, 3]), st.sampled_from([0, 1, 8]))
def test_invariants(seed, images, digits):
    scores, truth, patients = made(seed, n=60, images=images, digits=digits)
    if truth.all() or not truth.any():
        return
    found = areas(scores, truth, patients)
    order = np.random.default_rng(seed).permutation(60)
    shuffled = areas(scores[:, order], truth[order], patients[order])
    assert shuffled.values.tolist() == found.values.tolist()
    assert shuffled.covariance.tolist() == found.covariance.tolist()
    np.testing.assert_array_equal(areas(scores**3, truth, patients).covariance, found.covariance)
    mirrored = areas(scores, ~truth, patients)
    np.testing.assert_allclose(mirrored.values, 1 - found.values, atol=1e-12)
    np.testing.assert_allclose(mirrored.covariance, found.covariance, atol=1e-14)
    doubled = areas(np.hstack([scores, scores]), np.hstack([truth, truth]), np.hstack([patients, patients]))
    np.testing.assert_allclose(doubled.values, found.values, atol=1e-12)
    np.testing.assert_allclose(doubled.covariance, found.covariance, atol=1e-12)


def test_different_images_of_different_patients_do_not_covary():
    scores, truth, patients = made(6)
    scores[0, :60], scores[1, 60:] = np.nan, np.nan
    found = areas(scores, truth, patients)
    assert found.covariance[0, 1] == 0
    for place, rows in enumerate((slice(60, None), slice(60))):
        alone = areas(scores[place, rows], truth[rows])
        assert found.values[place] == pytest.approx(alone.values[0])
        assert found.covariance[place, place] == pytest.approx(alone.covariance[0, 0])


def test_perfect_separation_has_an_interval_and_no_images_have_none():
    found = areas(np.arange(60.0), np.arange(60) >= 30)
    (low, high), method = found.interval(0, 1.96)
    assert method == "Newcombe"
    assert 0.85 < low < 0.95
    assert high == 1
    empty = areas(np.arange(5.0), np.ones(5, bool))
    assert np.isnan(empty.values[0])
    assert np.isnan(empty.interval(0, 1.96)[0]).all()


def test_the_two_scales_agree_for_many_images():
    scores, truth, _ = made(7, n=20_000, k=1)
    found = areas(scores, truth)
    logit, plain = (found.interval(0, 1.96, scale=scale)[0] for scale in ("logit", "plain"))
    assert logit == pytest.approx(plain, abs=5e-4)
    half = 1.96 * np.sqrt(found.covariance[0, 0])
    assert plain == pytest.approx((found.values[0] - half, found.values[0] + half))


def test_clustered_differences_cover_as_often_as_told():
    """Two models on five images a patient: 95 % intervals of the difference hold in 93–97 of 100 samples; DeLong's do not."""
    rng, kept, lost = np.random.default_rng(0), 0, 0
    truth_gap = stats.norm.cdf(1.4 / np.sqrt(2 * 2)) - stats.norm.cdf(1.0 / np.sqrt(2 * 2))
    for _ in range(600):
        who = np.repeat(np.arange(80), 5)
        truth = (rng.random(80) < 0.5)[who]
        shared = np.sqrt(0.6) * rng.normal(size=(2, 80))[:, who]
        scores = shared + np.sqrt(0.4) * rng.normal(size=(2, 400)) + rng.normal(size=80)[who]
        scores += truth * np.array([[1.4], [1.0]])
        for place, patients in enumerate((who, np.arange(400))):
            low, high = area_gap(areas(scores, truth, patients)).bounds(1.96)
            inside = low <= truth_gap <= high
            kept, lost = (kept + inside, lost) if place == 0 else (kept, lost + inside)
    assert 0.93 <= kept / 600 <= 0.97
    assert lost / 600 < 0.85

"""Sizes of studies: published tables, and power found again by simulation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb
from workbench.audit.validation.areas import areas
from workbench.audit.validation.contrasts import area_gap, paired_gap
from workbench.audit.validation.precision import hanley_mcneil
from workbench.audit.validation.reader_power import Components, cases_for, components_of, power
from workbench.errors import InputError

# Van Dyke's readers by the jackknife, as wb.audit.mrmc tells them.
VAN_DYKE = Components(
    interaction=0.00020040252358145854, error=0.0008022882655720646, cov1=0.0003466137094407316, cov2=0.000344074828860889,
    cov3=0.0002390283708921538, cases=114,
)  # fmt: skip
DIFFERENCE = 0.04380032206119144


@pytest.mark.parametrize(
    ("readers", "cases", "published"), [(6, 112, 0.5555789), (10, 163, 0.8015625), (10, 236, 0.9003501)]
)
def test_the_published_power_of_van_dykes_study(readers, cases, published):
    """RJafroc's book, chapter on sample size: SsPowerGivenJK and SsSampleSizeKGivenJ on Van Dyke's data."""
    assert power(VAN_DYKE, DIFFERENCE, readers=readers, cases=cases, alpha=0.05)[0] == pytest.approx(
        published, abs=5e-7
    )


def test_the_published_table_of_cases_by_readers():
    """RJafroc's SsPowerTable: 3 readers never, 4 with 1089 cases, 5 with 344, …"""
    published = {3: None, 4: 1089, 5: 344, 6: 251, 7: 211, 8: 188, 9: 173, 10: 163, 15: 137, 20: 126, 30: 116, 60: 107}
    asked = {"alpha": 0.05, "most": 2000}
    assert {j: cases_for(0.8, VAN_DYKE, DIFFERENCE, readers=j, **asked) for j in published} == published


def test_a_pilot_is_read_from_the_analysis_of_its_readings(shared_data):
    path = shared_data / "mrmc_readers" / "VanDyke.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    pilot = wb.audit.mrmc(
        path, reader="reader", modality="treatment", case="case", label="truth", score="rating", covariance="jackknife"
    )
    read = components_of(pilot)
    for name, value in VAN_DYKE.__dict__.items():
        assert getattr(read, name) == pytest.approx(value, rel=1e-9)
    found = wb.audit.reader_sample_size(pilot, difference=-DIFFERENCE, readers=[3, 10])
    assert found.table["cases"].fillna(0).tolist() == [0, 163]
    assert found.table["readings"].iloc[1] == 2 * 10 * 163
    assert "163 cases and 10 readers" in found.sentences[0]


def obuchowski_rockette(values, components, cases):
    """F and p of studies ``(S, 2, J)``, with the covariances known, as in large studies."""
    readers = values.shape[2]
    scale = components.cases / cases
    gap = values[:, 0] - values[:, 1]
    interaction = gap.var(axis=1, ddof=1) / 2
    spread = interaction + readers * scale * (components.cov2 - components.cov3)
    statistic = readers / 2 * gap.mean(1) ** 2 / spread
    return gap.mean(1), spread, stats.f.sf(statistic, 1, spread**2 / (interaction**2 / (readers - 1)))


def simulated(components, difference, readers, cases, studies, seed=0):
    """Figures of merit ``(S, 2, J)`` from the model itself."""
    scale = components.cases / cases
    same_test, same_reader = (
        np.kron(*pair) for pair in ((np.eye(2), np.ones((readers, readers))), (np.ones((2, 2)), np.eye(readers)))
    )
    covariance = scale * np.select(
        [(same_test == 1) & (same_reader == 1), same_reader == 1, same_test == 1],
        [components.error, components.cov1, components.cov2], components.cov3,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    made = rng.multivariate_normal(np.zeros(2 * readers), covariance, studies).reshape(studies, 2, readers)
    made += math.sqrt(components.interaction) * rng.normal(size=made.shape)
    return made + np.array([difference, 0])[None, :, None]


@pytest.mark.parametrize(("readers", "cases"), [(5, 300), (10, 100)])
def test_power_is_found_again_by_simulation(readers, cases):
    expected, _ = power(VAN_DYKE, 0.045, readers=readers, cases=cases, alpha=0.05)
    _, _, p = obuchowski_rockette(simulated(VAN_DYKE, 0.045, readers, cases, 8000), VAN_DYKE, cases)
    assert (p < 0.05).mean() == pytest.approx(expected, abs=0.03)
    _, _, null = obuchowski_rockette(simulated(VAN_DYKE, 0.0, readers, cases, 8000), VAN_DYKE, cases)
    assert 0.035 <= (null < 0.05).mean() <= 0.06


def test_noninferiority_of_readers_is_found_again_by_simulation():
    expected, _ = power(VAN_DYKE, 0.0, readers=8, cases=150, alpha=0.025, margin=0.05)
    lead, spread, _ = obuchowski_rockette(simulated(VAN_DYKE, 0.0, 8, 150, 8000), VAN_DYKE, 150)
    interaction = spread - 8 * 114 / 150 * (VAN_DYKE.cov2 - VAN_DYKE.cov3)
    freedom = spread**2 / (interaction**2 / 7)
    passed = (lead + 0.05) / np.sqrt(spread / 4) > stats.t.isf(0.025, freedom)
    assert passed.mean() == pytest.approx(expected, abs=0.03)


def test_more_readers_or_cases_never_hurt_and_fixed_readers_need_fewer():
    grid = [
        [power(VAN_DYKE, 0.04, readers=j, cases=k, alpha=0.05)[0] for k in (50, 100, 200, 400)] for j in (4, 6, 9, 15)
    ]
    assert (np.diff(grid, axis=0) > 0).all()
    assert (np.diff(grid, axis=1) > 0).all()
    fixed = wb.audit.reader_sample_size(VAN_DYKE.__dict__, difference=0.04, readers=[6], random_readers=False).table
    random = wb.audit.reader_sample_size(VAN_DYKE.__dict__, difference=0.04, readers=[6]).table
    assert fixed["cases"].iloc[0] < random["cases"].iloc[0]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"pilot": {"eror": 1}}, "did you mean 'error'"),
        ({"pilot": {"error": 1.0}}, "component 'interaction' is missing"),
        ({"pilot": VAN_DYKE.__dict__ | {"cov1": 0.01}}, "above each covariance"),
        ({"difference": 0}, "nothing to show"),
        ({"difference": -0.06, "margin": 0.05}, "nothing to show"),
        ({"readers": [2]}, "numbers of 3 or more"),
        ({"power": 80}, "power=80 must lie"),
    ],
)
def test_impossible_reader_studies_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        wb.audit.reader_sample_size(**({"pilot": VAN_DYKE.__dict__, "difference": 0.05} | asked))


def test_a_pilot_of_few_readers_is_told(shared_data):
    path = shared_data / "mrmc_readers" / "VanDyke.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    table = pd.read_csv(path)
    columns = {"reader": "reader", "modality": "treatment", "case": "case", "label": "truth", "score": "rating"}
    with pytest.warns(wb.errors.EvidenceWarning):
        pilot = wb.audit.mrmc(table[table["reader"] < 4], **columns)
    with pytest.warns(wb.errors.EvidenceWarning, match="The pilot had 3 readers"):
        wb.audit.reader_sample_size(pilot, difference=0.05)


def test_hanley_and_mcneils_variance_is_the_spread_of_areas():
    """For exponential scores, from which it was derived."""
    rng = np.random.default_rng(0)
    found = [
        areas(np.concatenate([rng.exponential(size=40) * 4, rng.exponential(size=80)]), np.arange(120) < 40).values[0]
        for _ in range(3000)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.005)
    assert np.var(found) == pytest.approx(hanley_mcneil(0.8, 40, 80), rel=0.08)


def test_precision_of_a_sensitivity_is_buderers():
    found = wb.audit.sample_size("sensitivity", expected=0.9, half_width=0.05, prevalence=0.2).table.iloc[0]
    needed = 1.959964**2 * 0.9 * 0.1 / 0.05**2
    assert found["positives"] == math.ceil(needed)
    assert found["n"] == pytest.approx(needed / 0.2, abs=5)
    assert found["half_width"] <= 0.05
    specificity = wb.audit.sample_size("specificity", expected=0.9, half_width=0.05, prevalence=0.2).table.iloc[0]
    assert specificity["negatives"] == math.ceil(needed)


def test_the_size_of_a_paired_comparison_of_areas_has_the_power():
    asked = {"expected": 0.85, "reference": 0.78, "prevalence": 0.4}
    rng, found, correlations, size = (
        np.random.default_rng(0),
        0,
        [],
        wb.audit.sample_size("AUROC", correlation=0.5, **asked).table.iloc[0],
    )
    n, m = int(size["n"]), int(size["positives"])
    shift = np.sqrt(2) * stats.norm.ppf([[0.85], [0.78]])
    for _ in range(600):
        noise = np.sqrt(0.55) * rng.normal(size=n) + np.sqrt(0.45) * rng.normal(size=(2, n))
        both = areas(noise + shift * (np.arange(n) < m), np.arange(n) < m, np.arange(n))
        correlations.append(both.covariance[0, 1] / np.sqrt(both.covariance[0, 0] * both.covariance[1, 1]))
        found += area_gap(both).p_two_sided() < 0.05
    assert np.mean(correlations) == pytest.approx(0.5, abs=0.05)
    assert found / 600 == pytest.approx(0.8, abs=0.06)


def test_the_size_of_a_noninferiority_study_of_sensitivity_has_the_power():
    size = wb.audit.sample_size("sensitivity", expected=0.9, reference=0.9, correlation=0.4, margin=0.05).table.iloc[0]
    m, rng, passed = int(size["positives"]), np.random.default_rng(0), 0
    both = 0.81 + 0.4 * 0.09
    for _ in range(800):
        cell = rng.choice(4, p=[both, 0.9 - both, 0.9 - both, 1 - 1.8 + both], size=m)
        passed += paired_gap(cell < 2, (cell == 0) | (cell == 2), np.arange(m)).bounds(1.959964)[0] > -0.05
    assert passed / 800 == pytest.approx(0.8, abs=0.05)


def test_images_of_a_patient_inflate_the_size():
    plain = wb.audit.sample_size("AUROC", expected=0.85, half_width=0.04).table.iloc[0]
    careful = wb.audit.sample_size("AUROC", expected=0.85, half_width=0.04, images=4).table.iloc[0]
    assert careful["patients"] == pytest.approx(plain["n"], rel=0.01)
    alike = wb.audit.sample_size("AUROC", expected=0.85, half_width=0.04, images=4, intraclass=0.5).table.iloc[0]
    assert alike["n"] == pytest.approx(2.5 * plain["n"], rel=0.01)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({}, "give either half_width"),
        ({"half_width": 0.05, "reference": 0.8}, "give either half_width"),
        ({"reference": 0.85}, "nothing to show"),
        ({"reference": 0.95, "margin": 0.05}, "nothing to show"),
        ({"expected": 0.4, "half_width": 0.05}, "expected=0.4 must lie between 0.5 and 1"),
        ({"half_width": 5}, "half_width=5 must lie"),
        ({"half_width": 0.05, "prevalence": 0}, "prevalence=0 must be"),
        ({"half_width": 0.05, "images": 0.5}, "images=0.5 must be 1 or more"),
        ({"reference": 0.8, "correlation": 1.0}, "correlation=1.0 must lie"),
        ({"half_width": 1e-6}, "more than 10⁸ images"),
    ],
)
def test_impossible_evaluations_are_refused(asked, message):
    with pytest.raises(InputError, match=message):
        wb.audit.sample_size("AUROC", **({"expected": 0.85} | asked))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"half_width": 0.05}, "An AUROC of 0.85 is told to ± 0.05"),
        ({"reference": 0.8, "correlation": 0.5}, "a difference of an AUROC"),
        ({"reference": 0.8, "margin": 0.05}, "non-inferiority with a margin of 0.05"),
    ],
)
def test_sentences_say_what_was_asked(asked, said):
    assert said in wb.audit.sample_size("AUROC", expected=0.85, **asked).sentences[0]

"""Published analyses, reproduced through the front door to the digits that were printed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb

VAN_DYKE = {"reader": "reader", "modality": "treatment", "case": "case", "score": "rating", "label": "truth"}
VIPER = {
    "reader": "readerID", "modality": "modalityID", "case": "caseID", "score": "score", "label": "cancerStatus455", "method": "U",
}  # fmt: skip


@pytest.fixture
def van_dyke(mrmc_data):
    return mrmc_data / "VanDyke.csv"


@pytest.fixture
def viper(mrmc_data):
    return pd.read_csv(mrmc_data / "viper" / "viperObs.csv")


def row(finding, group):
    return finding.table.set_index("group").loc[group]


def test_van_dyke_with_delong_covariances(van_dyke):
    # Smith & Hillis, MRMCaov: the analysis of Van Dyke's five readers of aortic dissection.
    found = wb.audit.mrmc(van_dyke, **VAN_DYKE)
    gap, test = row(found, "1 − 2"), found.tables["test"].iloc[0]
    assert gap["value"] == pytest.approx(-0.04380032, abs=5e-9)
    assert gap["error"] == pytest.approx(0.0206825, abs=5e-8)
    assert gap["df"] == pytest.approx(15.066, abs=5e-4)
    assert [gap["p"], test["p"]] == pytest.approx([0.05123303] * 2, abs=5e-9)
    assert test["F"] == pytest.approx(4.484854, abs=5e-7)
    assert found.settings["design"] == "fully crossed"


def test_van_dyke_with_jackknife_covariances(van_dyke):
    # OR-DBM MRMC 2.51, Van Dyke, trapezoidal area, analysis 1.
    found = wb.audit.mrmc(van_dyke, **VAN_DYKE, covariance="jackknife")
    components = found.tables["components"].set_index("component")
    printed = {"reader": 0.00153500, "modality × reader": 0.00020040, "Cov1": 0.00034661, "Cov2": 0.00034407,
               "Cov3": 0.00023903, "error": 0.00080229}  # fmt: skip
    for name, value in printed.items():
        assert components.loc[name, "value"] == pytest.approx(value, abs=5e-9), name
    assert components.loc[["Cov1", "Cov2", "Cov3"], "correlation"].tolist() == pytest.approx(
        [0.43203138, 0.42886683, 0.29793328], abs=5e-9
    )
    assert found.tables["anova"]["mean_square"].tolist() == pytest.approx(
        [0.00479617, 0.00383620, 0.00055103], abs=5e-9
    )
    gap = row(found, "1 − 2")
    assert gap[["error", "low", "high", "p"]].tolist() == pytest.approx(
        [0.02074862, -0.0879595, 0.00035885, 0.05166569], abs=5e-8
    )
    assert gap["df"] == pytest.approx(15.25967, abs=5e-6)
    for group, numbers in {"1": [0.89703704, 0.03317360, 0.82522360, 0.96885048],
                           "2": [0.94083736, 0.02156637, 0.89413783, 0.98753689]}.items():  # fmt: skip
        assert row(found, group)[["value", "error", "low", "high"]].tolist() == pytest.approx(numbers, abs=5e-9)
    assert found.tables["readers"]["value"].tolist() == pytest.approx(
        [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066,
         0.94782609, 0.90531401, 0.92173913, 0.99935588, 0.92995169], abs=5e-9)  # fmt: skip


def test_van_dyke_for_these_readers_and_for_these_cases(van_dyke):
    # OR-DBM MRMC 2.51, analyses 2 and 3.
    these = wb.audit.mrmc(van_dyke, **VAN_DYKE, covariance="jackknife", readers="fixed")
    test = these.tables["test"].iloc[0]
    assert [test["F"], test["p"]] == pytest.approx([5.47595, 0.01928], abs=5e-6)
    assert row(these, "1 − 2")[["error", "low", "high"]].tolist() == pytest.approx(
        [0.01872, -0.08049, -0.00711], abs=6e-6
    )
    assert row(these, "1")[["error", "low", "high"]].tolist() == pytest.approx(
        [0.02428971, 0.84943008, 0.94464399], abs=5e-9
    )
    cases = wb.audit.mrmc(van_dyke, **VAN_DYKE, cases="fixed")
    assert row(cases, "1 − 2")[["error", "df", "low", "high"]].tolist() == pytest.approx(
        [0.01485, 4, -0.08502, -0.00258], abs=5e-6
    )
    assert cases.tables["test"].loc[0, "p"] == pytest.approx(0.0420, abs=5e-5)
    assert row(cases, "2")[["error", "low", "high"]].tolist() == pytest.approx(
        [0.01615303, 0.89598936, 0.98568536], abs=5e-9
    )


def test_van_dyke_from_pseudovalues(van_dyke):
    # RJafroc 1.2, dataset02, DBM: its three-way table and all three analyses.
    found = wb.audit.mrmc(van_dyke, **VAN_DYKE, method="DBM")
    assert found.tables["anova"]["mean_square"].tolist() == pytest.approx(
        [0.54676344, 0.43732680, 0.39686988, 0.06281749, 0.09984808, 0.06450106, 0.03997160], abs=5e-9
    )
    assert found.tables["components"]["value"].tolist() == pytest.approx(
        [0.00153500, 0.02724923, 0.00020040, 0.01197530, 0.01226473, 0.03997160], abs=5e-9
    )
    these = wb.audit.mrmc(van_dyke, **VAN_DYKE, method="DBM", readers="fixed")
    assert row(these, "1 − 2")[["df", "p", "low", "high"]].tolist() == pytest.approx(
        [113, 0.0210, -0.08088, -0.00672], abs=5e-5
    )
    cases = wb.audit.mrmc(van_dyke, **VAN_DYKE, method="DBM", cases="fixed")
    assert cases.tables["test"].loc[0, ["F", "p"]].tolist() == pytest.approx([8.70, 0.0420], abs=5e-3)


def test_viper_table_3(viper):
    # Gallas et al. 2019, J Med Imag 6:015501, Table 3: pooled AUC differences of five split-plot sub-studies.
    printed = {"screeningLowP": (-0.029, 6911), "screeningMedP": (-0.005, 4325), "screeningHighP": (-0.025, 2390),
               "challengeMedP": (-0.024, 4377), "challengeHighP": (-0.047, 2379)}  # fmt: skip
    for name, (difference, count) in printed.items():
        gap = row(wb.audit.mrmc(viper[viper["subStudyLabel"] == name], **VIPER), "FFDM − SFM")
        assert round(gap["value"], 3) == difference, name
        assert gap["n"] == count
    # The abstract's largest: SE = 0.023, p = 0.047 (of the normal distribution, as that analysis took above 50 df).
    assert round(gap["error"], 3) == 0.023
    assert round(2 * stats.norm.sf(abs(gap["value"] / gap["error"])), 3) == 0.047


def test_a_model_on_all_cases_against_split_plot_readers(viper):
    # iMRMC's guide to non-inferiority: each case's first FFDM reading stands in for a model; tables 1–4.
    part = viper[viper["subStudyLabel"] == "screeningHighP"]
    model = part[part["modalityID"] == "FFDM"].drop_duplicates("caseID").assign(modalityID="AI", readerID=None)
    found = wb.audit.mrmc(pd.concat([part[part["modalityID"] == "SFM"], model]), **VIPER)
    gap = row(found, "AI − SFM")
    assert [round(row(found, "AI")["value"], 4), round(row(found, "SFM")["value"], 4)] == [0.7500, 0.7379]
    assert round(gap["error"], 4) == 0.0296
    statistic = (gap["value"] + 0.05) / gap["error"]
    assert round(statistic, 4) == 2.0956
    assert round(2 * stats.t.sf(statistic, gap["df"]), 4) == 0.0380
    moments = found.tables["moments"].set_index(["modality_1", "modality_2"])
    names = [f"M{number}" for number in range(1, 9)]
    assert moments.loc[("SFM", "SFM"), names].tolist() == pytest.approx(
        [0.734, 0.615, 0.592, 0.543, 0.598, 0.577, 0.557, 0.544], abs=5e-4
    )
    assert moments.loc[("AI", "AI"), names[:4]].tolist() == pytest.approx([0.749, 0.648, 0.595, 0.561], abs=5e-4)
    assert moments.loc[("AI", "SFM"), names[4:]].tolist() == pytest.approx([0.591, 0.583, 0.562, 0.553], abs=5.5e-4)
    weights = [f"c{number}" for number in range(1, 9)]
    assert moments.loc[("SFM", "SFM"), weights].tolist() == pytest.approx(
        [5.66e-5, 1.78e-3, 1.49e-3, 4.67e-2, 2.27e-4, 7.13e-3, 5.96e-3, -6.34e-2], rel=3e-3
    )
    covariances = [moments.loc[pair, "covariance"] for pair in (("AI", "AI"), ("SFM", "SFM"), ("AI", "SFM"))]
    assert covariances == pytest.approx([1.06e-3, 5.06e-4, 3.43e-4], rel=2e-3)


def test_a_model_against_ten_readers():
    # Google Health's reader_study_test.py prints RJafroc's result for a study drawn with this generator and order.
    disease = np.repeat([1, 0], [200, 800])
    rng = np.random.RandomState(1987)
    common = rng.randn(1000)
    scores = [disease + common]
    for _ in range(10):
        skill = 0.075 * rng.randn(2)
        own = 0.8 * rng.randn(1000)
        scores.append(disease + np.where(disease == 1, skill[1], skill[0]) + 0.6 * common + own)
    table = pd.DataFrame({
        "reader": np.repeat(["", *"abcdefghij"], 1000), "modality": np.repeat(["model"] + ["reader"] * 10, 1000),
        "case": np.tile(np.arange(1000), 11), "score": np.concatenate(scores), "label": np.tile(disease, 11),
    })  # fmt: skip
    found = wb.audit.mrmc(
        table, reader="reader", modality="modality", case="case", score="score", label="label", covariance="jackknife"
    )
    gap = row(found, "model − reader")
    assert gap[["value", "p", "low", "high"]].tolist() == pytest.approx(
        [-0.00584125, 0.6560453, -0.03233184, 0.02064934], abs=5e-8
    )
    assert gap["df"] == pytest.approx(31.00905, abs=5e-6)
    assert found.tables["readers"]["standalone"].sum() == 1

"""Published subgroup reports, reproduced through the front door."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.intervals import normal_quantile

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")

SITES = {
    "head/neck": "H/N", "lower extremity": "LE", "upper extremity": "UE", "torso": "TO", "palms/soles": "P/S",
    "oral/genital": "O/G",
}  # fmt: skip


@pytest.fixture(scope="module")
def isic(shared_data):
    """The report by our names of groups, and an audit of the scores beside it, one image a row."""
    folder = shared_data / "audit_isic_meval"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    report = pd.read_csv(folder / "isic_evaluation_results.csv")
    report["group"] = report["group"].str.replace(", ", " & ").str.replace("=nan", "=missing")
    scores = pd.read_csv(folder / "isic_test_results.csv")
    bands = pd.cut(scores["age"], [0, 20, 45, 65, 200], right=False, labels=["<20", "20-44", "45-64", "65+"])
    scores = scores.assign(site=scores["site"].map(SITES), age=bands.astype(object))
    base_rate = scores["label"].mean()
    found = wb.audit(
        scores, ["age", "sex", "site", ("age", "sex"), ("age", "site"), ("sex", "site")], label="label", score="y_prob",
        threshold=base_rate, metrics=["accuracy", "AUROC", "Brier score"], enough=1, fewest=1, replicates=100,
    )  # fmt: skip
    assert base_rate == pytest.approx(0.0177, abs=5e-5)
    return report.set_index("group"), found.table.set_index(["metric", "group"])


def test_the_48_groups_of_the_isic_report_have_its_counts_and_accuracies_with_wilsons_intervals(isic):
    report, table = isic
    assert len(report) == 48
    ours = table.loc["accuracy"].loc[report.index]
    assert ours["n"].tolist() == report["Count"].tolist()
    for name, suffix in (("value", ""), ("low", " (low)"), ("high", " (high)")):
        np.testing.assert_allclose(ours[name], report[f"Acc (thr=0.018){suffix}"], atol=1e-9)
    assert set(ours["method"]) == {"Wilson"}


def test_every_area_of_the_isic_report_has_its_value_and_delongs_standard_error(isic):
    report, table = isic
    told = report[report["AUROC"].notna()]
    assert len(told) > 30
    ours = table.loc["AUROC"].loc[told.index]
    np.testing.assert_allclose(ours["value"], told["AUROC"], atol=1e-9)
    # The report's intervals are DeLong's on the plain scale, cut at 1; ours stand on the logit scale, from the same error.
    scale = np.log(ours[["low", "high"]] / (1 - ours[["low", "high"]]))
    error = (scale["high"] - scale["low"]) / 2 / normal_quantile(0.95) * ours["value"] * (1 - ours["value"])
    published = (told["AUROC"] - told["AUROC (low)"]) / normal_quantile(0.95)
    # Its placements were taken in single precision.
    np.testing.assert_allclose(error, published, rtol=3e-6)


def test_the_brier_scores_of_the_isic_report_are_met(isic):
    report, table = isic
    np.testing.assert_allclose(table.loc["Brier score"].loc[report.index]["value"], report["BS"], atol=1e-9)


def test_patients_of_the_wrist_radiographs_widen_the_interval(shared_data):
    path = shared_data / "audit_graz_wrist_fracture" / "image_level_scores_DERIVED.csv"
    if not path.is_file():
        pytest.skip(f"no {path}")
    asked = {"label": "fracture_label", "score": "fracture_score", "by": ["gender", "age"]}
    found = wb.audit(path, patient="patient_id", **asked)
    table = found.table.set_index(["metric", "group"])
    # As the set's own notes report.
    for group, value in {"all": 0.9796, "gender=F": 0.9829, "gender=M": 0.9772}.items():
        assert table.loc[("AUROC", group), "value"] == pytest.approx(value, abs=5e-5)
    rows = wb.audit(path, **asked).table.set_index(["metric", "group"])
    width = table["high"] - table["low"]
    assert width["sensitivity", "all"] > 1.2 * (rows["high"] - rows["low"])["sensitivity", "all"]
    assert table.loc[("AUROC", "all"), "patients"] == 610
    assert "Obuchowski" in table.loc[("AUROC", "all"), "method"]

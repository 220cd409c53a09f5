"""Published subgroup reports, reproduced through the front door."""

from __future__ import annotations

import pandas as pd
import pytest

import workbench as wb
from workbench.audit.metrics import auroc
from workbench.audit.sample import design_of
from workbench.intervals import normal_quantile, wilson

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


@pytest.fixture
def isic(shared_data):
    folder = shared_data / "audit_isic_meval"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    report = pd.read_csv(folder / "isic_evaluation_results.csv").set_index("group")
    return folder / "isic_test_results.csv", report


@pytest.mark.parametrize("group", ["sex=0", "sex=1"])
def test_the_isic_report_is_reproduced(isic, group):
    path, report = isic
    predictions = wb.Predictions.from_table(path, label="label", score="y_prob", id="image_name", attributes=["sex"])
    design = design_of(predictions, ["sex"], "1")
    sample = next(sample for sample in design.samples if sample.group == group)
    assert sample.n == report.loc[group, "Count"]
    assert auroc(sample.positives, sample.negatives, 1.96).value == pytest.approx(report.loc[group, "AUROC"], abs=1e-9)
    threshold = design.truth.mean()
    right = int((sample.positives.scores >= threshold).sum() + (sample.negatives.scores < threshold).sum())
    share = right / sample.n
    column = "Acc (thr=0.018)"
    assert share == pytest.approx(report.loc[group, column], abs=1e-12)
    published = report.loc[group, f"{column} (low)"], report.loc[group, f"{column} (high)"]
    assert wilson(share, sample.n, normal_quantile(0.95)) == pytest.approx(published, abs=1e-9)


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

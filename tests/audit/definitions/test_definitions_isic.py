"""The definitions against a published report on real scores: 48 groups of 6,540 skin lesions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench.audit.engine.measure import measure
from workbench.audit.metric import Setting, metric_of
from workbench.audit.sample import design_of
from workbench.predictions import Predictions

SITES = {
    "head/neck": "H/N", "lower extremity": "LE", "palms/soles": "P/S", "torso": "TO", "upper extremity": "UE",
    "oral/genital": "O/G",
}  # fmt: skip


@pytest.fixture
def isic(shared_data):
    folder = shared_data / "audit_isic_meval"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    table = pd.read_csv(folder / "isic_test_results.csv")
    table["age"] = pd.cut(table["age"], [-np.inf, 19, 44, 64, np.inf], labels=["<20", "20-44", "45-64", "65+"]).astype(
        object
    )
    table["site"] = table["site"].map(SITES).fillna("nan")
    table["sex"] = table["sex"].astype(str)
    report = pd.read_csv(folder / "isic_evaluation_results.csv").set_index("group")
    return table, report


def test_the_published_numbers_of_all_groups_come_out(isic):
    table, report = isic
    by = ["age", "sex", "site", ("age", "sex"), ("age", "site"), ("sex", "site")]
    predictions = Predictions.from_table(
        table, label="label", score="y_prob", id="image_name", attributes=["age", "sex", "site"]
    )
    design = design_of(predictions, by, "1")
    names = [sample.group.replace(" & ", ", ") for sample in design.samples]
    assert set(report.index) <= set(names)
    asked = {
        "AUROC": ("AUROC", Setting(), 36),
        "Acc (thr=0.018)": ("accuracy", Setting(threshold=design.truth.mean()), 48),
        "BS": ("Brier score", Setting(), 48),
        "BS (bal)": ("Brier score", Setting(prevalence=0.5), 39),
    }
    for column, (metric, setting, groups) in asked.items():
        found = pd.Series(measure(design, [metric_of(metric)], setting).values[metric], index=names)
        told = report[column].dropna()
        assert len(told) == groups
        assert found[told.index].to_numpy() == pytest.approx(told.to_numpy(), abs=1e-9), column

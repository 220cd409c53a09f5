"""The verb and its value: groups, warnings, gaps, thresholds, what is kept and shown."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.audit.result import Audit
from workbench.errors import EvidenceWarning, InputError

BY = ["sex", ("sex", "view")]


@pytest.fixture
def audit(scores):
    return wb.audit(scores(patients=400), BY, label="truth", score="p", patient="who")


def thin(predictions, positives):
    """Keep this many patients with positives."""
    table = predictions.table
    kept = table.loc[table["label"] == "1", "patient"].unique()[:positives]
    return predictions.subset(table.index[(table["label"] == "0") | table["patient"].isin(kept)])


def row(table, metric, group):
    return table[(table["metric"] == metric) & (table["group"] == group)].iloc[0]


def test_every_metric_and_group_has_a_row_with_its_counts(audit):
    assert audit.groups[:3] == ["all", "sex=F", "sex=M"]
    assert audit.groups[3] == "sex=F & view=0"
    assert len(audit.table) == 6 * 9
    assert row(audit.table, "AUROC", "all")["n"] == 1200
    assert row(audit.table, "AUROC", "all")["patients"] == 400
    assert (audit.table["low"] <= audit.table["value"]).all()
    assert (audit.table["value"] <= audit.table["high"]).all()


def test_the_same_seed_gives_the_same_digits_and_another_does_not(predictions):
    first, again, other = (wb.audit(predictions, seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first.table, again.table, check_exact=True)
    assert first.provenance == again.provenance
    assert row(first.table, "Brier score", "all")["low"] != row(other.table, "Brier score", "all")["low"]


def test_a_gap_is_group_minus_rest_and_two_groups_mirror_each_other(audit):
    gaps = audit.gaps[audit.gaps["by"] == "sex"]
    for metric in ("AUROC", "sensitivity", "specificity", "PPV", "Brier score"):
        women, men = row(gaps, metric, "sex=F"), row(gaps, metric, "sex=M")
        apart = row(audit.table, metric, "sex=F")["value"] - row(audit.table, metric, "sex=M")["value"]
        assert women["value"] == pytest.approx(apart, abs=1e-12)
        assert (women["low"], women["high"]) == pytest.approx((-men["high"], -men["low"]), abs=1e-12)


def test_missing_attributes_are_a_group_of_their_own(scores):
    frame = scores(patients=400).assign(sex=lambda f: f["sex"].where(f["who"] % 3 > 0))
    found = wb.audit(frame, ["sex"], label="truth", score="p", patient="who")
    assert found.groups == ["all", "sex=F", "sex=M", "sex=missing"]
    assert row(found.table, "AUROC", "sex=missing")["n"] == int(frame["sex"].isna().sum())


def test_ages_are_cut_into_quarters_with_their_edges_shown(scores):
    frame = scores(patients=480).assign(age=lambda f: 20 + f["who"] % 60)
    found = wb.audit(frame, ["age"], label="truth", score="p", patient="who")
    assert found.groups[1:] == ["age=20–34", "age=35–49", "age=50–64", "age=65–79"]


def test_few_positives_are_shown_with_a_warning(predictions):
    with pytest.warns(EvidenceWarning, match="some of all are uncertain") as caught:
        found = wb.audit(thin(predictions, 12))
    assert len(caught) == 1
    assert row(found.table, "AUROC", "all")["note"].startswith("only 36 positives of 12 patients")
    assert "Obuchowski" in row(found.table, "AUROC", "all")["method"]


def test_fewer_than_five_positives_are_refused_but_specificity_stands(predictions):
    with pytest.warns(EvidenceWarning, match="refused"):
        found = wb.audit(thin(predictions, 4))
    assert np.isnan(row(found.table, "AUROC", "all")["value"])
    assert "refused: only 12 positives of 4 patients" in row(found.table, "sensitivity", "all")["note"]
    assert row(found.table, "specificity", "all")["note"] == ""


def test_a_group_without_positives_is_not_estimable_and_never_zero(scores):
    frame = scores(patients=200).assign(site=lambda f: np.where(f["truth"] == 1, "A", np.where(f["who"] % 2, "A", "B")))
    with pytest.warns(EvidenceWarning, match="site=B"):
        found = wb.audit(frame, ["site"], label="truth", score="p", patient="who")
    lost = row(found.table, "sensitivity", "site=B")
    assert np.isnan(lost["value"])
    assert lost["note"] == "not estimable: no positives"
    assert np.isnan(row(found.gaps, "AUROC", "site=B")["value"])
    assert "site=B" not in set(found.curves()["group"])


def test_without_a_patient_column_the_audit_says_what_it_took_for_granted(scores):
    with pytest.warns(EvidenceWarning, match="No patient column"):
        wb.audit(scores(patients=100), label="truth", score="p")


def test_copies_of_images_widen_nothing_but_rows_would(scores):
    once = scores(patients=150, images=1)
    four = pd.concat([once] * 4, ignore_index=True)
    widths = []
    for frame in (once, four, four.assign(who=np.arange(len(four)))):
        found = row(wb.audit(frame, label="truth", score="p", patient="who").table, "AUROC", "all")
        widths.append(found["high"] - found["low"])
    assert widths[1] == pytest.approx(widths[0], abs=1e-9)
    assert widths[2] < 0.6 * widths[0]


def test_another_threshold_gives_what_a_new_audit_there_gives(audit):
    again = wb.audit(audit.predictions, BY, threshold=0.3)
    bands = ["band_low", "band_high"]
    pd.testing.assert_frame_equal(audit.at(0.3).drop(columns=bands), again.table.drop(columns=bands), check_exact=True)
    pd.testing.assert_frame_equal(
        audit.gaps_at(0.3).drop(columns=bands), again.gaps.drop(columns=bands), check_exact=True
    )
    pd.testing.assert_frame_equal(audit.at(0.5), audit.table, check_exact=True)
    pd.testing.assert_frame_equal(audit.gaps_at(0.5), audit.gaps, check_exact=True)


def test_metrics_without_a_formula_move_with_the_threshold_too(scores):
    asked = {
        "label": "truth",
        "score": "p",
        "patient": "who",
        "metrics": ["F1", "MCC", "Brier score"],
        "replicates": 200,
    }
    here, there = (wb.audit(scores(patients=200), ["sex"], threshold=cut, **asked) for cut in (0.5, 0.4))
    columns = ["value", "low", "high"]
    pd.testing.assert_frame_equal(here.at(0.4)[columns], there.table[columns], check_exact=True)
    assert here.at(0.4)["value"].tolist() != here.table["value"].tolist()


def test_curves_hold_the_area_and_start_and_end_in_the_corners(audit):
    for group, curve in audit.curves(most=10_000).groupby("group"):
        assert (curve.iloc[0]["fpr"], curve.iloc[-1]["tpr"]) == (0, 1)
        area = np.trapezoid(curve["tpr"], curve["fpr"])
        assert area == pytest.approx(row(audit.table, "AUROC", group)["value"], abs=1e-12)
    assert len(audit.curves("", most=20)) <= 20


def test_a_saved_audit_comes_back_the_same(audit, tmp_path):
    again = Audit.load(audit.save(tmp_path / "a"))
    pd.testing.assert_frame_equal(again.table, audit.table, check_exact=True)
    pd.testing.assert_frame_equal(again.at(0.2), audit.at(0.2), check_exact=True)
    assert again.provenance == audit.provenance


def test_names_from_the_table_are_escaped_in_html(scores):
    frame = scores(patients=300).assign(sex=lambda f: f["sex"].replace("F", "<b>F"))
    html = wb.audit(frame, ["sex"], label="truth", score="p", patient="who")._repr_html_()
    assert "<b>F" not in html
    assert "sex=&lt;b&gt;F" in html


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"by": ["sx"]}, "did you mean 'sex'"), ({"metrics": ["AUC"]}, "metric 'AUC' is unknown"),
     ({"threshold": 2}, "threshold=2 must be a number from 0 to 1"), ({"level": 95}, "level 95"), ({"replicates": 10}, "10 replicates"),
     ({"positive": "2"}, "class '2' is unknown"), ({"label": "truth"}, "Leave them out")],
)  # fmt: skip
def test_wrong_settings_are_refused_with_the_mend(predictions, asked, message):
    with pytest.raises(InputError, match=message):
        wb.audit(predictions, **asked)


def test_one_class_only_and_three_classes_are_refused_with_the_mend(predictions):
    with pytest.raises(InputError, match="with one class only"):
        wb.audit(predictions.subset(predictions.table.index[predictions.labels == 1]))
    frame = pd.DataFrame({"y": list("abc") * 30, "a": [0.2] * 90, "b": [0.3] * 90, "c": [0.5] * 90})
    three = wb.Predictions.from_table(frame, label="y", score=["a", "b", "c"])
    with pytest.warns(EvidenceWarning, match="No patient"):
        assert row(wb.audit(three, positive="b").table, "AUROC", "all")["value"] == 0.5


def test_an_audit_of_a_table_imports_neither_torch_nor_matplotlib(scores, tmp_path):
    scores(patients=100).to_csv(tmp_path / "s.csv", index=False)
    code = (
        "import sys, workbench as wb\n"
        f"a = wb.audit({str(tmp_path / 's.csv')!r}, ['sex'], label='truth', score='p', patient='who', replicates=100)\n"
        "a._repr_html_()\n"
        "print([m for m in ('torch', 'monai', 'captum', 'shap', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""What an audit can be asked: weights, prevalence, thresholds, references, other intervals and other tasks."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, matthews_corrcoef, roc_auc_score

import workbench as wb
from workbench.errors import EvidenceWarning, InputError
from workbench.predictions import Predictions

COLUMNS = {"label": "truth", "score": "p", "patient": "who"}


@pytest.fixture
def frame(scores):
    return scores(patients=300, digits=2)


def of(table, metric, group="all"):
    return table[(table["metric"] == metric) & (table["group"] == group)].iloc[0]


def test_any_metric_of_the_registry_may_be_asked_for(frame):
    names = ["AUROC", "AUPRC", "MCC", "Brier score", "F1", "calibration slope"]
    found = wb.audit(frame, ["sex"], metrics=names, replicates=100, **COLUMNS).table
    for group, part in (("all", frame), ("sex=F", frame[frame["sex"] == "F"])):
        truth, score = part["truth"], part["p"]
        assert of(found, "AUROC", group)["value"] == pytest.approx(roc_auc_score(truth, score))
        assert of(found, "AUPRC", group)["value"] == pytest.approx(average_precision_score(truth, score))
        assert of(found, "MCC", group)["value"] == pytest.approx(matthews_corrcoef(truth, score >= 0.5))
        assert of(found, "Brier score", group)["value"] == pytest.approx(brier_score_loss(truth, score))
    with pytest.raises(InputError, match="did you mean 'AUPRC'"):
        wb.audit(frame, metrics=["AUPRCC"], **COLUMNS)


def test_each_interval_says_its_method_and_its_reason(frame):
    found = wb.audit(frame, ["sex", "view"], metrics=["AUROC", "sensitivity", "MCC"], replicates=200, **COLUMNS).table
    assert of(found, "sensitivity")["method"] == "Wilson, images of a patient kept together"
    assert "tell as much as" in of(found, "sensitivity")["reason"]
    assert of(found, "sensitivity", "view=0")["method"] == "Wilson"
    assert of(found, "AUROC", "view=0")["method"] == "logit DeLong"
    assert of(found, "AUROC")["method"].startswith("logit Obuchowski")
    assert of(found, "MCC")["method"] == "BCa bootstrap of patients"
    assert "200 replicates" in of(found, "MCC")["reason"]
    copies = pd.concat([frame.assign(who=frame["who"] + 1000 * number) for number in range(4)])
    many = wb.audit(copies, metrics=["MCC"], replicates=200, **COLUMNS)
    assert of(many.table, "MCC")["method"] == "percentile bootstrap of patients"


def test_a_bootstrap_of_everything_may_be_asked_for(frame):
    asked = {"metrics": ["AUROC", "sensitivity"], "replicates": 400, **COLUMNS}
    for interval, method in (("percentile", "percentile bootstrap"), ("BCa", "BCa bootstrap")):
        found = wb.audit(frame, ["sex"], interval=interval, **asked)
        assert found.table["method"].str.startswith(method).all()
        assert found.gaps["method"].str.startswith(method).all()
        auto = wb.audit(frame, ["sex"], **asked).table
        np.testing.assert_allclose(found.table[["low", "high"]], auto[["low", "high"]], atol=0.02)
    with pytest.raises(InputError, match="did you mean 'percentile'"):
        wb.audit(frame, interval="percentiles", **COLUMNS)


def test_no_error_in_a_sample_is_never_an_interval_of_no_width(frame):
    sure = frame.assign(p=np.where(frame["truth"] == 1, 0.9, 0.1))
    found = wb.audit(sure, ["sex"], metrics=["AUROC", "sensitivity", "specificity", "F1"], replicates=100, **COLUMNS)
    told = found.table[found.table["metric"] != "F1"]
    assert (told["value"] == 1).all()
    assert (told["low"] < 0.99).all()
    assert (told["high"] == 1).all()
    assert np.isnan(of(found.table, "F1")["low"])
    assert "all replicates agree" in of(found.table, "F1")["reason"]
    gaps = found.gaps[found.gaps["metric"] != "F1"]
    assert (gaps["low"] < 0).all()
    assert (gaps["high"] > 0).all()


def test_row_weights_count_rows_and_patients_stay_patients(frame):
    weighted = frame.assign(w=np.where(frame["truth"] == 1, 2, 1))
    copied = pd.concat([frame, frame[frame["truth"] == 1]])
    names = ["AUROC", "sensitivity", "PPV", "Brier score"]
    once = wb.audit(weighted, ["sex"], weight="w", metrics=names, replicates=300, **COLUMNS).table
    twice = wb.audit(copied, ["sex"], metrics=names, replicates=300, **COLUMNS).table
    np.testing.assert_allclose(once["value"], twice["value"], atol=1e-12)
    np.testing.assert_allclose(once[["low", "high"]], twice[["low", "high"]], atol=2e-3)
    assert of(once, "PPV")["n"] == len(frame)


def test_a_prevalence_moves_what_depends_on_it_and_its_interval_is_bootstrapped(frame):
    found = wb.audit(
        frame, ["sex"], prevalence=0.1, metrics=["sensitivity", "specificity", "PPV"], replicates=300, **COLUMNS
    )
    sens, spec, ppv = (of(found.table, name, "sex=F")["value"] for name in ("sensitivity", "specificity", "PPV"))
    assert ppv == pytest.approx(0.1 * sens / (0.1 * sens + 0.9 * (1 - spec)))
    assert of(found.table, "sensitivity")["method"].startswith("Wilson")
    assert "bootstrap" in of(found.table, "PPV")["method"]
    assert "prevalence of 10 %" in " ".join(found.methods())


def test_a_ratio_has_the_p_value_of_its_difference_and_touches_one_where_that_touches_zero(frame):
    found = wb.audit(frame, ["sex"], replicates=200, **COLUMNS)
    gaps, ratios = found.gaps, found.ratios
    assert (ratios["p"] == gaps["p"]).all()
    assert set(gaps["kind"]) == {"difference"}
    assert set(ratios["kind"]) == {"ratio"}
    assert ((gaps["low"] > 0) == (ratios["low"] > 1)).all()
    apart = of(found.table, "sensitivity", "sex=F")["value"], of(found.table, "sensitivity", "sex=M")["value"]
    assert of(ratios, "sensitivity", "sex=F")["value"] == pytest.approx(apart[0] / apart[1])


def test_a_p_value_is_the_level_whose_interval_touches_zero(frame):
    gaps = wb.audit(frame, ["view"], metrics=["specificity"], **COLUMNS).gaps
    row = gaps.iloc[0]
    edge = wb.audit(frame, ["view"], metrics=["specificity"], level=max(0.5, 1 - row["p"]), **COLUMNS).gaps.iloc[0]
    assert min(abs(edge["low"]), abs(edge["high"])) == pytest.approx(0, abs=1e-5) or row["p"] > 0.5


def test_holm_counts_the_gaps_of_two_groups_once(frame):
    gaps = wb.audit(frame, ["sex"], metrics=["sensitivity", "specificity"], **COLUMNS).gaps
    small, large = sorted(gaps["p"].unique())
    assert sorted(gaps["p_holm"].unique()) == pytest.approx(sorted({min(2 * small, 1), max(min(2 * small, 1), large)}))
    assert gaps["p_bh"].tolist()[::2] == gaps["p_bh"].tolist()[1::2]


def test_groups_may_be_held_against_a_group_the_largest_or_the_mean(frame):
    frame = frame.assign(site=np.array(["N", "N", "S", "E"])[frame["who"] % 4])
    asked = {"metrics": ["sensitivity", "Brier score"], "replicates": 200, **COLUMNS}
    named = wb.audit(frame, ["site", "sex"], reference={"site": "S"}, **asked)
    value = {group: of(named.table, "Brier score", f"site={group}")["value"] for group in "NSE"}
    gaps = named.gaps[named.gaps["by"] == "site"]
    assert sorted(gaps["group"].unique()) == ["site=E", "site=N"]
    assert of(gaps, "Brier score", "site=N")["value"] == pytest.approx(value["N"] - value["S"])
    assert set(named.gaps["reference"]) == {"site=S", "rest"}
    largest = wb.audit(frame, ["site"], reference="largest", **asked).gaps
    assert set(largest["reference"]) == {"site=N"}
    mean = wb.audit(frame, ["site"], reference="mean", **asked)
    for name in asked["metrics"]:
        values = [of(mean.table, name, f"site={group}")["value"] for group in "NSE"]
        gap, ratio = (of(table, name, "site=E") for table in (mean.gaps, mean.ratios))
        assert gap["value"] == pytest.approx(values[2] - np.mean(values))
        assert ratio["value"] == pytest.approx(values[2] / np.mean(values))
        assert gap["low"] < gap["value"] < gap["high"]
    for wrong, message in (
        ("means", "did you mean 'mean'"),
        ({"sit": "S"}, "did you mean 'site'"),
        ({"site": "X"}, "'X'"),
    ):
        with pytest.raises(InputError, match=message):
            wb.audit(frame, ["site"], reference=wrong, **asked)


def test_permutation_p_values_stand_beside_the_others(frame):
    found = wb.audit(frame, ["sex", "view"], metrics=["sensitivity"], permutations=99, **COLUMNS)
    sex = found.gaps[found.gaps["by"] == "sex"]
    assert sex["p_permutation"].between(0.01, 1).all()
    # A patient's images have several views: patients cannot change places between them.
    assert found.gaps.loc[found.gaps["by"] == "view", "p_permutation"].isna().all()
    assert "99 times" in " ".join(found.methods())
    with pytest.raises(InputError, match="take 19 or more"):
        wb.audit(frame, permutations=5, **COLUMNS)


def test_each_group_may_have_its_own_threshold_with_the_warning_that_belongs_to_it(frame):
    own = {"sex=F": 0.3, "sex=M": 0.6}
    with pytest.warns(EvidenceWarning, match="may be unlawful"):
        found = wb.audit(
            frame, ["sex"], threshold=own, metrics=["sensitivity", "AUROC", "MCC"], replicates=100, **COLUMNS
        )
    for group, cut in own.items():
        alone = wb.audit(
            frame[frame["sex"] == group[-1]], threshold=cut, metrics=["sensitivity", "AUROC"], **COLUMNS
        ).table
        for name in ("sensitivity", "AUROC"):
            mine = of(found.table, name, group)
            assert mine[["value", "low", "high"]].tolist() == pytest.approx(
                of(alone, name)[["value", "low", "high"]].tolist()
            )
    called = frame["p"] >= frame["sex"].map({"F": 0.3, "M": 0.6})
    assert of(found.table, "sensitivity")["value"] == pytest.approx(called[frame["truth"] == 1].mean())
    assert of(found.table, "MCC")["value"] == pytest.approx(matthews_corrcoef(frame["truth"], called))
    assert "sex=F 0.3, sex=M 0.6" in " ".join(found.methods())
    with pytest.raises(InputError, match="none for 'sex=M'"):
        wb.audit(frame, ["sex"], threshold={"sex=F": 0.3}, **COLUMNS)
    with pytest.raises(InputError, match="did you mean 'sex=F'"):
        wb.audit(frame, ["sex"], threshold={"sex=f": 0.3}, **COLUMNS)


def test_a_threshold_chosen_on_the_audited_images_is_said_aloud(scores):
    tuning, test = (
        Predictions.from_table(scores(patients=200, seed=seed), label="truth", score="p", patient="who")
        for seed in (1, 2)
    )
    point = wb.audit.operating_point(tuning, rule="sensitivity", target=0.8, replicates=100)
    honest = wb.audit(test, threshold=point)
    assert honest.settings["threshold"] == point.settings["threshold"]
    assert honest.warnings == ()
    assert "chosen on other predictions by the rule 'sensitivity 0.8'" in " ".join(honest.methods())
    with pytest.warns(EvidenceWarning, match="chosen on these very images"):
        flattered = wb.audit(tuning, threshold=point)
    assert "chosen on these very images" in flattered._repr_html_()


def test_what_is_doubtful_in_the_table_is_told(frame):
    twice = frame.copy()
    twice.loc[(twice["who"] == 7) & (twice["view"] == "1"), "sex"] = {"F": "M", "M": "F"}[
        twice.loc[twice["who"] == 7, "sex"].iloc[0]
    ]
    with pytest.warns(EvidenceWarning, match="Patient '7' has two values of 'sex': F, M"):
        wb.audit(twice, ["sex"], metrics=["AUROC"], **COLUMNS)
    without = frame[~((frame["sex"] == "F") & (frame["view"] == "2"))]
    with pytest.warns(EvidenceWarning, match="No image is sex=F & view=2"):
        wb.audit(without, [("sex", "view")], metrics=["AUROC"], **COLUMNS)


def test_what_is_enough_may_be_set(frame):
    few = frame[(frame["truth"] == 0) | (frame["who"].isin(frame.loc[frame["truth"] == 1, "who"].unique()[:12]))]
    with pytest.warns(EvidenceWarning, match="uncertain"):
        wb.audit(few, metrics=["sensitivity"], **COLUMNS)
    assert wb.audit(few, metrics=["sensitivity"], enough=10, **COLUMNS).warnings == ()
    with pytest.warns(EvidenceWarning, match="refused"):
        refused = wb.audit(few, metrics=["sensitivity"], enough=40, fewest=13, **COLUMNS)
    assert np.isnan(refused.table["value"].iloc[0])
    with pytest.raises(InputError, match="fewest=9"):
        wb.audit(frame, enough=3, fewest=9, **COLUMNS)


def test_predictive_values_of_few_calls_are_grey_for_that(frame):
    strict = float(frame["p"].sort_values().iloc[-8])
    with pytest.warns(EvidenceWarning, match="uncertain"):
        found = wb.audit(frame, threshold=strict, metrics=["PPV", "NPV"], **COLUMNS)
    assert "images called positive" in of(found.table, "PPV")["note"]
    assert of(found.table, "NPV")["note"] == ""


def test_a_calibration_error_that_is_noise_says_so(scores):
    small = scores(patients=60, images=1, shift=2.0)
    found = wb.audit(small, metrics=["ECE (equal width)"], replicates=200, **COLUMNS).table.iloc[0]
    assert found["method"] == "basic bootstrap of patients"
    assert "by chance alone a calibrated model would show about" in found["note"]


def test_settings_of_metrics_are_passed_on_and_checked(frame):
    name = "specificity at fixed sensitivity"
    loose, tight = (
        wb.audit(frame, metrics=[name], sensitivity=asked, replicates=100, **COLUMNS).table["value"].iloc[0]
        for asked in (0.5, 0.99)
    )
    assert loose > tight
    for asked, message in (({"sensitivty": 0.9}, "did you mean 'sensitivity'"), ({"sensitivity": 2}, "between 0 and 1"),
                           ({"partial": (0.5, 0.2)}, "rising"), ({"bins": 1}, "too few")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            wb.audit(frame, **asked, **COLUMNS)


def test_words_hold_the_numbers(frame):
    found = wb.audit(
        frame.assign(sex=frame["sex"].where(frame["who"] > 120)), ["sex"], metrics=["AUROC", "NPV"], **COLUMNS
    )
    area = of(found.table, "AUROC")
    said = " ".join(found.sentences())
    assert f"AUROC {area['value']:.3f} ({area['low']:.3f}–{area['high']:.3f})" in said
    methods = " ".join(found.methods())
    assert "900 images of 300 patients" in methods
    assert "sex: 363 missing" in methods
    assert "threshold 0.5, as none was given" in methods
    assert "none missing" in wb.audit(frame, ["sex"], metrics=["AUROC"], **COLUMNS)._repr_html_()


def test_tables_for_a_paper_hold_value_and_interval_in_one_cell(frame):
    found = wb.audit(frame, ["sex"], metrics=["AUROC"], **COLUMNS)
    area = of(found.table, "AUROC")
    cell = f"{area['value']:.3f} [{area['low']:.3f}, {area['high']:.3f}]"
    assert cell in found.to_markdown()
    assert cell in found.to_latex()
    assert "ratio" in found.to_markdown("ratios")
    assert r"\begin{tabular}" in found.to_latex("gaps", label="tab:gaps")
    with pytest.raises(InputError, match="did you mean 'gaps'"):
        found.to_markdown("gap")


def test_an_audit_saved_by_an_older_version_says_what_to_do(frame, tmp_path):
    found = wb.audit(frame, metrics=["AUROC"], **COLUMNS)
    found.save(tmp_path / "a")
    (tmp_path / "a" / "ratios.parquet").unlink()
    import json

    manifest = tmp_path / "a" / "workbench.json"
    record = json.loads(manifest.read_text())
    del record["files"]["ratios.parquet"]
    manifest.write_text(json.dumps(record))
    with pytest.raises(InputError, match="older Workbench"):
        type(found).load(tmp_path / "a")

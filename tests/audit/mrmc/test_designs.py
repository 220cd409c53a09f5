"""Designs: found from the table, analysed by what fits them, refused by what does not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb
from workbench.audit.mrmc.covariance import delong
from workbench.audit.mrmc.merit import sides_of
from workbench.audit.mrmc.readings import readings

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


def number(table):
    return table["case"].str[1:].astype(int)


def reader(table):
    return table["reader"].str[1:].astype(int)


def split_plot(table, groups=2):
    """Keep the cases and readers of the same group, by number modulo `groups`."""
    return table[number(table) % groups == reader(table) % groups]


def gap(finding):
    return finding.table[finding.table["by"] == "difference"].iloc[0]


@pytest.mark.parametrize(
    ("cut", "name"),
    [
        (lambda t: t, "fully crossed"),
        (split_plot, "split-plot: cases nested in groups of readers"),
        (lambda t: split_plot(t, 6), "cases nested in readers"),
        (lambda t: t[number(t) % 2 == (t["modality"] == "A")], "cases nested in modalities"),
        (lambda t: t[reader(t) % 2 == (t["modality"] == "A")], "readers nested in modalities"),
        (lambda t: t[(reader(t) % 2 == (t["modality"] == "A")) & (number(t) % 2 == (t["modality"] == "A"))],
         "unpaired: readers and cases nested in modalities"),
        (lambda t: t[(t["modality"] == "A") | (t["reader"] == "r3")].replace({"reader": {"r3": "net"}}).query(
            "not (modality == 'A' and reader == 'net')"), "fully crossed, beside 1 stand-alone model"),
    ],
)  # fmt: skip
def test_the_design_is_found_and_named(study, columns, cut, name):
    table = cut(study(readers=6, positives=60, negatives=60))
    found = wb.audit.mrmc(table, **columns)
    assert found.settings["design"] == name
    assert name in found.methods[0]
    assert np.isfinite(gap(found)[["low", "high", "p"]].astype(float)).all()
    # Gallas' method takes every design.
    assert np.isfinite(gap(wb.audit.mrmc(table, **columns, method="U"))["error"])


def test_missing_readings_are_counted_and_the_method_that_takes_them_is_named(study, columns):
    table = study().drop(index=[7, 11])
    with pytest.raises(
        wb.InputError,
        match=r"2 of 500 readings are missing, the first of reader 'r0' on case 'c0007' with 'A'.*method='U'",
    ):
        wb.audit.mrmc(table, **columns)
    found = wb.audit.mrmc(table, **columns, method="U")
    assert gap(found)["n"] == 498
    assert "irregular (2 of 500 readings are missing" in found.settings["design"]


def test_a_reader_of_one_modality_among_others_is_named(study, columns):
    table = study()
    with pytest.raises(wb.InputError, match="reader 'r2' read with only some of the modalities"):
        wb.audit.mrmc(table[~((table["reader"] == "r2") & (table["modality"] == "B"))], **columns)


def test_pseudovalues_need_a_fully_crossed_study(study, columns):
    with pytest.raises(wb.InputError, match=r"needs a fully crossed study; this one is split-plot.*Take method='OR'"):
        wb.audit.mrmc(split_plot(study(readers=6)), **columns, method="DBM")


def test_readers_with_cases_of_their_own_are_compared_by_a_paired_t_test(study, columns):
    table = split_plot(study(readers=6, positives=60, negatives=60), 6)
    found = gap(wb.audit.mrmc(table, **columns))
    values = wb.audit.mrmc(table, **columns).tables["readers"].pivot(index="reader", columns="modality", values="value")
    expected = stats.ttest_rel(values["A"], values["B"])
    assert [found["p"], found["df"]] == pytest.approx([expected.pvalue, 5])


def test_a_split_plot_study_is_analysed_within_groups(study, columns):
    # Hillis 2014: F = MS(T) / (MS(T×R(G)) + r·max(Cov2 − Cov3, 0)) with r readers in each of G groups.
    table = split_plot(study(5, readers=6, positives=40, negatives=40))
    found = wb.audit.mrmc(table, **columns)
    data = readings(table, columns | {"patient": None})
    values, matrix = delong(sides_of(data, "AUROC", None))
    values, matrix = values.reshape(2, 6), matrix.reshape(2, 6, 2, 6)
    gaps = values[0] - values[1]
    ms = np.mean([gaps[start::2].var(ddof=1) for start in (0, 1)]) / 2
    pairs = [(j, k) for j in range(6) for k in range(6) if j != k and j % 2 == k % 2]
    cov2 = np.mean([matrix[i, j, i, k] for i in (0, 1) for j, k in pairs])
    cov3 = np.mean([matrix[i, j, 1 - i, k] for i in (0, 1) for j, k in pairs])
    below = ms + 3 * max(cov2 - cov3, 0)
    assert gap(found)["error"] == pytest.approx(np.sqrt(2 * below / 6))
    assert gap(found)["df"] == pytest.approx(below**2 / (ms**2 / 4))
    assert found.tables["test"].loc[0, "F"] == pytest.approx((gaps.mean() / np.sqrt(2 * below / 6)) ** 2)
    assert np.allclose(matrix[0, 0, :, 1], 0)


def test_unpaired_readers_and_cases_are_compared_by_two_single_modalities(study, columns):
    table = study(readers=8, positives=60, negatives=60)
    half = (reader(table) % 2 == (table["modality"] == "A")) & (number(table) % 2 == (table["modality"] == "A"))
    found = wb.audit.mrmc(table[half], **columns, readers="fixed")
    means = found.table[found.table["by"] == "modality"]
    assert gap(found)["error"] == pytest.approx(np.sqrt((means["error"] ** 2).sum()))


def test_three_modalities_share_one_error_term_and_get_holms_p(study, columns):
    found = wb.audit.mrmc(study(modalities=("A", "B", "C"), gap=0.3), **columns)
    gaps = found.table[found.table["by"] == "difference"]
    assert list(gaps["group"]) == ["A − B", "A − C", "B − C"]
    assert gaps["error"].nunique() == gaps["df"].nunique() == 1
    assert gaps["p_holm"].min() == pytest.approx(3 * gaps["p"].min())
    test = found.tables["test"].iloc[0]
    # With one error term, F is Σ t² over the pairs, times 2 / (3 · 2).
    assert test["F"] == pytest.approx(((gaps["value"] / gaps["error"]) ** 2).sum() * 2 / 6)
    assert any("All equal: F(2" in sentence for sentence in found.sentences)


def test_the_reference_stands_last(study, columns):
    found = wb.audit.mrmc(study(), **columns, reference="A")
    assert gap(found)["group"] == "B − A"
    with pytest.raises(wb.InputError, match="reference"):
        wb.audit.mrmc(study(), **columns, reference="film")


def test_one_modality_has_a_mean_and_no_test(study, columns):
    found = wb.audit.mrmc(study(modalities=("A",)), **columns)
    assert list(found.table["group"]) == ["A"]
    assert "test" not in found.tables


def test_one_reader_can_only_speak_for_himself(study, columns):
    table = study(readers=1, positives=40, negatives=40)
    with pytest.raises(wb.InputError, match="readers='fixed'"):
        wb.audit.mrmc(table, **columns)
    found = gap(wb.audit.mrmc(table, **columns, readers="fixed"))
    data = readings(table, columns | {"patient": None})
    _, matrix = delong(sides_of(data, "AUROC", None))
    assert found["error"] == pytest.approx(np.sqrt(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]))
    assert found["df"] == np.inf


def test_two_models_are_compared_by_delong(study, columns):
    table = study(readers=1, positives=40, negatives=40).assign(reader=lambda t: t["modality"])
    found = gap(wb.audit.mrmc(table, **columns, readers="fixed"))
    one = gap(wb.audit.mrmc(table.assign(reader="r0"), **columns, readers="fixed"))
    assert found[["value", "error", "p"]].tolist() == pytest.approx(one[["value", "error", "p"]].tolist())


def test_readers_nested_in_modalities_are_analysed_as_hillis_did(study, columns):
    # Hillis 2014: F = MS(T) / (MS(R(T)) + r·max(Cov2 − Cov3, 0)).
    table = study(1, readers=8)
    table = table[reader(table) % 2 == (table["modality"] == "A")]
    found = wb.audit.mrmc(table, **columns)
    data = readings(table, columns | {"patient": None})
    sides = sides_of(data, "AUROC", None)
    values, matrix = delong(sides)
    first, second = sides.modality == 0, sides.modality == 1
    ms = (values[first].var(ddof=1) + values[second].var(ddof=1)) / 2
    off = ~np.eye(4, dtype=bool)
    cov2 = np.mean([matrix[np.ix_(rows, rows)][off].mean() for rows in (first, second)])
    below = ms + 4 * max(cov2 - matrix[np.ix_(first, second)].mean(), 0)
    difference = values[first].mean() - values[second].mean()
    assert found.tables["test"].loc[0, ["F", "df2"]].tolist() == pytest.approx(
        [2 * difference**2 / below, below**2 / (ms**2 / 6)]
    )
    assert gap(found)["error"] == pytest.approx(np.sqrt(below / 2))


def test_neither_the_order_of_rows_nor_of_columns_matters(study, columns):
    table = study(3)
    shuffled = table.sample(frac=1, random_state=0)[::-1][list(table.columns)[::-1]]
    first, second = wb.audit.mrmc(table, **columns), wb.audit.mrmc(shuffled, **columns)
    pd.testing.assert_frame_equal(first.table, second.table)
    assert first.provenance.content == second.provenance.content

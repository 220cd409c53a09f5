"""The three methods, against each other and against plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import workbench as wb

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")
NUMBERS = ["value", "low", "high", "error", "df", "p"]


@pytest.mark.parametrize("metric", ["AUROC", "sensitivity", "specificity", "balanced accuracy"])
@pytest.mark.parametrize("modalities", [("A",), ("A", "B"), ("A", "B", "C")])
def test_pseudovalues_give_what_obuchowski_and_rockette_give_with_the_jackknife(study, columns, metric, modalities):
    # Hillis, Berbaum & Metz 2008.
    table = study(2, modalities=modalities, digits=1, gap=0.4)
    asked = columns | {"metric": metric, "threshold": None if metric == "AUROC" else 0.5}
    first, second = wb.audit.mrmc(table, **asked, covariance="jackknife"), wb.audit.mrmc(table, **asked, method="DBM")
    pd.testing.assert_frame_equal(first.table[NUMBERS], second.table[NUMBERS], rtol=1e-8)


def test_they_agree_with_several_cases_a_patient(study, columns):
    table = study(6).assign(patient=lambda t: t["case"].str[1:].astype(int) % 17)
    asked = columns | {"patient": "patient"}
    first, second = wb.audit.mrmc(table, **asked, covariance="jackknife"), wb.audit.mrmc(table, **asked, method="DBM")
    pd.testing.assert_frame_equal(first.table[NUMBERS], second.table[NUMBERS], rtol=1e-8)


def test_in_a_crossed_study_u_statistics_have_the_variance_of_the_unbiased_covariance(study, columns):
    table = study(8)
    first, second = wb.audit.mrmc(table, **columns, covariance="unbiased"), wb.audit.mrmc(table, **columns, method="U")
    # Only where no bound of a covariance at zero bites are the two the same number.
    assert first.table["error"].to_numpy() == pytest.approx(second.table["error"].to_numpy(), rel=1e-10)
    fixed = [
        wb.audit.mrmc(table, **columns, readers="fixed", **how) for how in ({"covariance": "unbiased"}, {"method": "U"})
    ]
    assert fixed[0].table["error"].to_numpy() == pytest.approx(fixed[1].table["error"].to_numpy(), rel=1e-10)


def test_the_moments_are_averages_over_pairs_of_pairs(study, columns):
    table = study(9, readers=3, positives=5, negatives=4, digits=0).sample(frac=0.85, random_state=1)
    found = wb.audit.mrmc(table, **columns, method="U").tables["moments"].set_index(["modality_1", "modality_2"])
    scores = table.set_index(["modality", "reader", "case"])["score"]
    cases = table.drop_duplicates("case").set_index("case")["label"]
    sides = [list(cases[cases == label].index) for label in (1, 0)]
    sums = {pair: np.zeros((2, 8)) for pair in found.index}
    pairs = list(itertools.product(sorted(table["reader"].unique()), *sides))
    won = {
        (m, *place): (scores[m, place[0], place[1]] > scores[m, place[0], place[2]])
        + 0.5 * (scores[m, place[0], place[1]] == scores[m, place[0], place[2]])
        for m in "AB" for place in pairs
        if (m, place[0], place[1]) in scores.index and (m, place[0], place[2]) in scores.index
    }  # fmt: skip
    for (m, j, p, n), (m2, j2, p2, n2) in itertools.product(won, repeat=2):
        if (m, m2) in sums:
            place = (
                4 * (j != j2)
                + {(True, True): 0, (True, False): 1, (False, True): 2, (False, False): 3}[p == p2, n == n2]
            )
            sums[m, m2][:, place] += won[m, j, p, n] * won[m2, j2, p2, n2], 1
    for pair, (total, count) in sums.items():
        assert found.loc[pair, [f"M{k}" for k in range(1, 9)]].astype(float).tolist() == pytest.approx(
            list(total / count)
        )
        weights = count / count.sum() - np.eye(8)[7]
        assert found.loc[pair, [f"c{k}" for k in range(1, 9)]].astype(float).tolist() == pytest.approx(list(weights))
        assert found.loc[pair, "covariance"] == pytest.approx(weights @ (total / count))


def test_readers_count_by_the_pairs_they_read(study, columns):
    table = study(3, modalities=("A",))
    table = table[(table["reader"] != "r0") | (table["case"].str[1:].astype(int) % 3 == 0)]
    found = wb.audit.mrmc(table, **columns, method="U")
    readers = found.tables["readers"]
    pairs = readers["positives"] * (readers["n"] - readers["positives"])
    assert found.table.loc[0, "value"] == pytest.approx(np.average(readers["value"], weights=pairs))


def test_an_increasing_transform_of_a_readers_scale_changes_nothing(study, columns):
    table = study(4)
    bent = table.assign(score=np.where(table["reader"] == "r1", np.exp(table["score"]), table["score"]))
    for method in ("OR", "DBM", "U"):
        first, second = (wb.audit.mrmc(each, **columns, method=method).table for each in (table, bent))
        pd.testing.assert_frame_equal(first, second)


def test_two_copies_of_each_case_of_a_patient_change_nothing_but_would_if_taken_for_two(study, columns):
    table = study(5).assign(patient=lambda t: t["case"])
    twice = pd.concat([table, table.assign(case=table["case"] + "b")])
    asked = columns | {"patient": "patient"}
    once, kept = wb.audit.mrmc(table, **asked).table, wb.audit.mrmc(twice, **asked).table
    pd.testing.assert_frame_equal(once[NUMBERS], kept[NUMBERS])
    assert (wb.audit.mrmc(twice, **columns, readers="fixed").table["error"] < 0.8 * once["error"]).all()


def test_a_patient_with_several_cases_is_not_for_u_statistics_or_the_unbiased_covariance(study, columns):
    table = study().assign(patient=lambda t: t["case"].str[1:].astype(int) // 2)
    with pytest.raises(wb.InputError, match=r"cases 'c0000' and 'c0001' are of one patient.*method='OR'"):
        wb.audit.mrmc(table, **columns, patient="patient", method="U")
    with pytest.raises(wb.InputError, match="covariance='DeLong'"):
        wb.audit.mrmc(table, **columns, patient="patient", covariance="unbiased")

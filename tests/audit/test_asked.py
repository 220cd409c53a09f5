"""The door of the side questions: which predictions they take, and what they make of a multi-label task."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.audit.asked import cut, two_classes
from workbench.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


@pytest.fixture
def findings():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (300, 2)).astype(float)
    truth[:20, 0] = np.nan
    scores = np.clip((np.nan_to_num(truth) + 2 * rng.random((300, 2))) / 3, 0, 1)
    return pd.DataFrame(
        {"effusion": truth[:, 0], "mass": truth[:, 1], "p1": scores[:, 0], "p2": scores[:, 1], "who": np.arange(300) // 2}
    ).assign(sex=rng.choice(["F", "M"], 300))  # fmt: skip


def multilabel(table):
    names = {"effusion": "effusion", "mass": "mass"}, {"effusion": "p1", "mass": "p2"}
    return wb.Predictions.from_table(
        table, label=names[0], score=names[1], patient="who", attributes=["sex"], task="multilabel"
    )


def test_a_finding_is_asked_about_as_two_classes_would_be(findings):
    whole, positive = two_classes(multilabel(findings), "predictions", "effusion")
    assert positive == "effusion"
    assert len(whole) == 280
    assert whole.provenance.settings["left_out"] == 20
    known = findings.dropna()
    alone = wb.Predictions.from_table(known, label="effusion", score="p1", patient="who", attributes=["sex"])
    one = wb.audit.criteria(multilabel(findings), ["sex"], positive="effusion", replicates=100).table
    same = wb.audit.criteria(alone, ["sex"], replicates=100).table
    assert one["value"].to_numpy() == pytest.approx(same["value"].to_numpy(), nan_ok=True)


def test_which_finding_is_meant_must_be_said_where_there_are_several(findings):
    table = findings.assign(third=findings["mass"], p3=findings["p2"])
    names = {"effusion": "effusion", "mass": "mass", "third": "third"}
    made = wb.Predictions.from_table(
        table, label=names, score={"effusion": "p1", "mass": "p2", "third": "p3"}, task="multilabel", attributes=["sex"]
    )
    with pytest.raises(InputError, match="say which one"):
        wb.audit.detectable(made, "sex")


def test_a_regression_has_no_positive_class(findings):
    made = wb.Predictions.from_table(findings.assign(age=np.arange(300.0)), label="age", score="p1", task="regression")
    with pytest.raises(InputError, match="no positive class"):
        wb.audit.criteria(made, ["sex"])


def test_a_threshold_is_a_number_or_an_operating_point(findings):
    point = wb.audit.operating_point(multilabel(findings), rule="youden", positive="mass", replicates=100)
    assert cut(point) == point.settings["threshold"]
    power = wb.audit.detectable(multilabel(findings), "sex", positive="mass")
    assert cut(power) == 0.5
    with pytest.raises(InputError, match="holds no threshold"):
        cut(wb.audit.Finding("drift", "Drift", pd.DataFrame(), {}, (), (), (), {}, point.provenance))
    with pytest.raises(InputError, match="from 0 to 1"):
        cut(True)

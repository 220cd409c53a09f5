"""Agreement between methods: mean rank correlations, patients in their intervals, and what may not be compared."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from workbench.clustered import means
from workbench.errors import InputError
from workbench.explain.attributions import Attributions
from workbench.explain.quality.agreement import agreement


def values(maps: np.ndarray, method: str = "gradcam", **changed: object) -> Attributions:
    ids = [f"i{row}" for row in range(len(maps))]
    table = pd.DataFrame({"patient": [f"p{row // 3}" for row in range(len(ids))]}, index=pd.Index(ids, name="id"))
    given = {
        "maps": maps, "ids": tuple(ids), "method": method, "settings": {}, "targets": np.zeros(len(ids), int), "classes": ("no", "yes"),
        "scores": np.zeros(len(ids)), "table": table,
    }  # fmt: skip
    return Attributions(**given | changed)


@pytest.fixture(params=[(12, 8, 9), (12, 4, 6, 5)], ids=["2-D", "3-D"])
def maps(request: pytest.FixtureRequest) -> np.ndarray:
    return np.random.default_rng(0).normal(size=request.param)


def test_it_is_the_mean_of_spearmans_correlation_with_a_patient_clustered_interval(maps: np.ndarray) -> None:
    other = maps + np.random.default_rng(1).normal(size=maps.shape)
    row = agreement([values(maps), values(other, "shap")]).iloc[0]
    each = np.array([spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(maps, other, strict=True)])
    (low,), (high,) = means(each, values(maps).table["patient"]).intervals()
    assert (row["first"], row["second"]) == ("Grad-CAM", "SHAP")
    assert np.allclose(row[["value", "low", "high"]].astype(float), [each.mean(), low, high], atol=1e-6)
    assert (row["n"], row["patients"]) == (12, 4)


def test_every_pair_is_there_once_by_its_name(maps: np.ndarray) -> None:
    table = agreement({"a": values(maps), "b": values(-maps), "c": values(3 * maps)})
    assert list(zip(table["first"], table["second"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert np.allclose(table["value"], [-1, 1, -1])
    assert np.allclose(agreement({"a": values(maps), "b": values(-maps)}, absolute=True)["value"], 1)


def test_maps_without_evidence_do_not_count(maps: np.ndarray) -> None:
    other = maps.copy()
    other[:5] = 0
    row = agreement([values(maps), values(other, "shap")]).iloc[0]
    assert row["value"] == pytest.approx(1)
    assert row["n"] == 7


def test_nothing_is_compared_that_does_not_belong_together(maps: np.ndarray) -> None:
    first = values(maps)
    for second, said in (
        (first.subset(first.ids[:4]), "not of the same images"),
        (first.subset(first.ids[::-1]), "in another order"),
        (values(maps, targets=np.ones(12, int)), "do not explain the same"),
        (values(maps, explained="logit of the class less that of no"), "do not explain the same"),
        (values(maps[..., :-1]), "on a grid of"),
    ):
        with pytest.raises(InputError, match=said):
            agreement({"first": first, "second": second})


def test_one_method_alone_or_twice_under_one_name_is_refused(maps: np.ndarray) -> None:
    with pytest.raises(InputError, match="two or more"):
        agreement([values(maps)])
    with pytest.raises(InputError, match="name them"):
        agreement([values(maps), values(maps)])

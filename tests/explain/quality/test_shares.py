"""Shares: what lies where, and whether a marker holds more than its edges explain."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.explain.attributions import Attributions
from workbench.explain.quality.orders import edge_strength
from workbench.explain.quality.shares import share_of, shares
from workbench.explain.task import Batch
from workbench.imaging.preprocess import Preprocessing


def study_of_maps(cohort, maps, preprocessing=None) -> SimpleNamespace:
    attributions = Attributions(
        maps=maps, ids=cohort.ids, method="gradcam", settings={}, targets=np.ones(len(maps)), classes=cohort.classes,
        scores=np.zeros(len(maps)), table=cohort.table, attributes=cohort.attributes, preprocessing=preprocessing,
    )  # fmt: skip
    images = [cohort.image(image_id) for image_id in cohort.ids]
    inputs = np.stack(images if preprocessing is None else [preprocessing(image) for image in images])
    task = SimpleNamespace(batches=lambda: iter([Batch(cohort.ids[:1], inputs[:1]), Batch(cohort.ids[1:], inputs[1:])]))
    return SimpleNamespace(cohort=cohort, attributions=attributions, task=task)


def masks_of(count, spatial, **regions) -> dict[str, np.ndarray]:
    """Build masks ``(count, 1, *spatial)``, the same in every image."""
    masks = {name: np.zeros((count, 1, *spatial), np.uint8) for name in regions}
    for name, region in regions.items():
        masks[name][(slice(None), slice(None), *region)] = 1
    return masks


@pytest.fixture
def breast(make_cohort):
    """Two images of which a lesion lies in a breast and a marker beside it."""
    masks = masks_of(
        2, (8, 8), lesion=np.s_[2:4, 2:4], breast=np.s_[:, :6], marker=np.s_[:2, 6:]
    )  # 4, 48 and 4 of 64 pixels; 12 lie elsewhere
    return make_cohort(2, shape=(1, 8, 8), masks=masks)


def test_shares_by_region_by_hand(breast) -> None:
    maps = np.zeros((2, 8, 8), np.float32)
    maps[:, 2, 2], maps[:, 5, 5], maps[:, 0, 7], maps[:, 7, 7] = 4, 2, -1, 1
    row = shares(study_of_maps(breast, maps)).table.loc["i0"]
    assert row[["share: lesion", "share: breast", "share: marker", "share: elsewhere"]].tolist() == [
        0.5,
        0.75,
        0.125,
        0.125,
    ]
    assert row["share: breast without lesion"] == 0.25
    assert row["positive share: lesion"] == pytest.approx(4 / 7)
    assert row["positive share: marker"] == 0
    assert row["density: lesion"] == 0.5 / (4 / 64)
    assert row["share: elsewhere | even map"] == 12 / 64


def test_regions_that_do_not_overlap_share_the_whole_map(breast) -> None:
    table = shares(study_of_maps(breast, np.random.default_rng(0).normal(size=(2, 8, 8)))).table
    disjoint = [f"share: {name}" for name in ("lesion", "breast without lesion", "marker", "elsewhere")]
    assert table[disjoint].sum(axis=1).tolist() == pytest.approx([1, 1])
    assert table[[f"{name} | even map" for name in disjoint]].sum(axis=1).tolist() == pytest.approx([1, 1])


def test_an_almost_even_map_has_density_one_everywhere(breast) -> None:
    maps = 1 + 1e-4 * np.random.default_rng(0).random((2, 8, 8))
    outcome = shares(study_of_maps(breast, maps))
    dense = outcome.table[[one.name for one in outcome.measures if one.name.startswith("density")]]
    assert np.allclose(dense, 1, atol=1e-3)


def test_a_map_of_edges_is_as_dense_as_its_control(breast) -> None:
    study = study_of_maps(breast, edge_strength(breast.images()))
    table = shares(study).table
    assert table["density: marker"].tolist() == pytest.approx(table["density: marker | edges"].tolist(), rel=1e-5)
    assert "positive share: marker" not in table  # no map speaks against its class


def test_shares_agree_with_those_of_the_attributions(make_cohort) -> None:
    masks = masks_of(3, (40, 20), lesion=np.s_[11:12, 3:5])
    cohort, recipe = make_cohort(3, shape=(1, 40, 20), masks=masks), Preprocessing(shape=(16, 16))
    study = study_of_maps(cohort, np.random.default_rng(0).normal(size=(3, 16, 16)), recipe)
    expected = study.attributions.share(cohort, "lesion")
    assert shares(study).table["share: lesion"].tolist() == pytest.approx(expected.tolist(), rel=1e-6)


def test_a_volume_is_shared_out_too(make_cohort) -> None:
    cohort = make_cohort(2, shape=(2, 4, 6, 6), masks=masks_of(2, (4, 6, 6), tumour=np.s_[1:3, 2:4, 2:4]))
    maps = np.zeros((2, 4, 6, 6), np.float32)
    maps[:, 1, 2, 2], maps[:, 0, 0, 0] = 3, 1
    table = shares(study_of_maps(cohort, maps)).table
    assert table["share: tumour"].tolist() == [0.75, 0.75]
    assert table["density: tumour | even map"].tolist() == [1, 1]


def test_images_without_a_region_and_maps_without_evidence_are_counted_apart(make_cohort) -> None:
    masks = masks_of(4, (8, 8), lesion=np.s_[2:4, 2:4])
    masks["lesion"][1] = 0
    cohort, maps = make_cohort(4, shape=(1, 8, 8), masks=masks), np.random.default_rng(0).random((4, 8, 8))
    maps[2], maps[3] = 0, 3
    outcome = shares(study_of_maps(cohort, maps))
    assert outcome.table["share: lesion"].notna().tolist() == [True, False, False, False]
    assert outcome.left_out["density: lesion"] == {"empty region": 1, "map without evidence": 2}
    assert outcome.left_out["share: elsewhere"] == {"map without evidence": 2}


def test_a_mask_that_some_images_lack_is_no_region_there_and_takes_nothing_from_the_others(breast) -> None:
    breast.masks["lesion"] = breast.masks["lesion"].subset(["i0"])
    outcome = shares(study_of_maps(breast, np.random.default_rng(0).random((2, 8, 8))))
    row = outcome.table.loc["i1"]
    assert outcome.left_out["share: lesion"] == {"no region known": 1}
    assert row["share: breast without lesion"] == row["share: breast"]


def test_every_column_is_a_measure_or_its_baseline(breast) -> None:
    outcome = shares(study_of_maps(breast, np.random.default_rng(0).normal(size=(2, 8, 8))), regions=["marker"])
    assert {name for one in outcome.measures for name in (one.name, one.baseline)} == set(outcome.table.columns)
    assert {one.name for one in outcome.measures} == {
        f"{kind}: {place}" for kind in ("share", "positive share", "density") for place in ("marker", "elsewhere")
    }


def test_a_cohort_without_masks_gives_an_empty_outcome(make_cohort) -> None:
    outcome = shares(study_of_maps(make_cohort(2, shape=(1, 8, 8)), np.random.default_rng(0).random((2, 8, 8))))
    assert outcome.table.shape == (2, 0)


def test_an_unknown_region_is_refused(breast) -> None:
    with pytest.raises(InputError, match="did you mean 'marker'"):
        shares(study_of_maps(breast, np.ones((2, 8, 8))), regions=["markers"])


def test_maps_that_cannot_be_carried_to_the_image_are_refused(breast) -> None:
    study = study_of_maps(breast, np.random.default_rng(0).random((2, 4, 4)))
    with pytest.raises(InputError, match="cannot be carried"):
        shares(study)


def test_no_weight_and_no_mask_have_no_share() -> None:
    assert np.isnan(share_of(np.zeros((2, 2)), np.ones((2, 2), bool)))
    assert np.isnan(share_of(np.ones((2, 2)), np.zeros((2, 2), bool)))

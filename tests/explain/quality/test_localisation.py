"""Localisation: hand-computed numbers, and nothing that is empty or flat counted as a hit or a miss."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, jaccard_score

from workbench.errors import InputError
from workbench.explain.attributions import Attributions
from workbench.explain.quality.localisation import localisation
from workbench.explain.quality.places import drawn_regions, pointing_masks
from workbench.explain.quality.pointing import (
    average_precision,
    best_overlap,
    centre_prior,
    dice,
    mass_inside,
    overlap,
    pointing_game,
    rank_accuracy,
)
from workbench.imaging.preprocess import Preprocessing

MEASURES = (pointing_game, mass_inside, rank_accuracy, overlap, best_overlap, average_precision)


def marked(shape, *places) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    for place in places:
        mask[place] = True
    return mask


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("shape", [(5, 6), (3, 4, 5)])
def test_what_is_empty_flat_or_speaks_only_against_the_class_is_neither_hit_nor_miss(measure, shape) -> None:
    mask, heat = marked(shape, (1,) * len(shape)), np.random.default_rng(0).random(shape)
    assert np.isnan(measure(heat, marked(shape)))
    for without in (0 * heat, 0 * heat + 3, -heat):
        assert np.isnan(measure(without, mask))
    assert 0 <= measure(heat, mask) <= 1


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 5)])
def test_a_map_that_is_the_region_itself_is_perfect(measure, shape) -> None:
    mask = marked(shape, (slice(1, 3),) * len(shape))
    assert measure(7.0 * mask, mask) == 1


@pytest.mark.parametrize("measure", MEASURES)
@given(arrays(np.int8, (4, 5), elements=st.integers(-3, 5)), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_the_unit_of_the_map_does_not_matter(measure, heat, seed) -> None:
    mask = np.random.default_rng(seed).random((4, 5)) < 0.3
    assert measure(heat * 1e-3, mask) == pytest.approx(measure(heat.astype(float), mask), nan_ok=True)


@pytest.mark.parametrize(("tolerance", "hit"), [(0, 0), (4.9, 0), (5, 1)])
def test_a_maximum_beside_the_region_counts_within_the_tolerance(tolerance, hit) -> None:
    heat, mask = np.zeros((12, 12)), marked((12, 12), (8, 9))
    heat[4, 6] = 1  # 4 rows and 3 columns away
    assert pointing_game(heat, mask, tolerance=tolerance) == hit
    volume = np.zeros((2, 12, 12))
    volume[1] = heat
    assert pointing_game(volume, np.stack([mask & False, mask]), tolerance=tolerance) == hit


def test_tied_maxima_must_all_lie_in_the_region() -> None:
    heat, mask = np.zeros((4, 4)), marked((4, 4), (0, 0), (0, 1))
    heat[0, 0] = heat[0, 1] = 1
    assert pointing_game(heat, mask) == 1
    heat[3, 3] = 1
    assert pointing_game(heat, mask) == 0


def test_negative_values_inside_are_no_mass() -> None:
    heat = np.array([[4.0, -9.0], [1.0, 3.0]])
    assert mass_inside(heat, marked((2, 2), (0, 0), (0, 1))) == 0.5


def test_rank_accuracy_counts_the_highest_pixels_and_shares_out_ties() -> None:
    heat = np.array([[5.0, 4.0, 1.0], [1.0, 1.0, 0.0]])
    # The region has three pixels: 5 is inside, 4 is not, and of three ones two are inside, so 2/3 of the third place.
    assert rank_accuracy(heat, marked((2, 3), (0, 0), (0, 2), (1, 0))) == pytest.approx((1 + 2 / 3) / 3)


def test_overlap_at_half_the_maximum_and_at_the_best_threshold_by_hand() -> None:
    heat, mask = np.array([[10.0, 6.0, 3.0, -1.0]]), marked((1, 4), (0, 0), (0, 1), (0, 2))
    assert overlap(heat, mask) == pytest.approx(2 / 3)
    assert overlap(heat, mask, threshold=0.9) == pytest.approx(1 / 3)
    assert best_overlap(heat, mask) == 1
    assert dice(2 / 3) == pytest.approx(0.8)


@given(arrays(np.int8, (4, 5), elements=st.integers(-2, 3)), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_overlap_and_average_precision_are_scikit_learns(heat, seed) -> None:
    mask = np.random.default_rng(seed).random((4, 5)) < 0.4
    heat = heat.astype(float)
    if heat.max() <= 0 or heat.min() == heat.max() or not mask.any():
        return
    cut = {level: jaccard_score(mask.ravel(), heat.ravel() >= level) for level in np.unique(heat[heat > 0])}
    assert best_overlap(heat, mask) == pytest.approx(max(cut.values()))
    assert overlap(heat, mask) == pytest.approx(jaccard_score(mask.ravel(), heat.ravel() >= heat.max() / 2))
    assert average_precision(heat, mask) == pytest.approx(average_precision_score(mask.ravel(), heat.ravel()))


def test_a_random_map_ranks_at_the_regions_part_of_the_area() -> None:
    rng, mask = np.random.default_rng(0), marked((20, 20), (slice(5, 11), slice(3, 13)))
    found = [[m(heat, mask) for m in (mass_inside, rank_accuracy)] for heat in rng.random((300, 20, 20))]
    assert np.mean(found, axis=0) == pytest.approx([mask.mean()] * 2, abs=0.01)


@pytest.mark.parametrize("shape", [(8, 6), (4, 7, 5)])
def test_the_centre_prior_has_one_maximum_in_the_middle(shape) -> None:
    prior = centre_prior(shape)
    assert np.argwhere(prior == prior.max()).tolist() == [[extent // 2 for extent in shape]]


def test_a_mask_on_another_grid_is_refused() -> None:
    with pytest.raises(InputError, match="same grid"):
        mass_inside(np.ones((3, 3)), np.ones((3, 4), bool))


def study_of_maps(cohort, maps, preprocessing=None) -> SimpleNamespace:
    attributions = Attributions(
        maps=maps, ids=cohort.ids, method="gradcam", settings={}, targets=np.ones(len(maps)), classes=cohort.classes,
        scores=np.zeros(len(maps)), table=cohort.table, attributes=cohort.attributes, preprocessing=preprocessing,
    )  # fmt: skip

    def mask(image_id, name):
        found = cohort.mask(image_id, name)
        return found if found is None or preprocessing is None else preprocessing.to_input(found)

    model = SimpleNamespace(preprocessing=preprocessing)
    return SimpleNamespace(cohort=cohort, attributions=attributions, mask=mask, model=model)


@pytest.fixture
def found(make_cohort):
    """Return an outcome of six maps: a hit, a miss, one flat, one against the class, one without lesion, one without mask."""
    masks, maps = np.zeros((6, 16, 16), np.uint8), np.zeros((6, 16, 16), np.float32)
    masks[[0, 1, 2, 3, 5], 2:6, 2:6] = 1
    maps[0, 3, 3] = maps[4, 3, 3] = maps[5, 3, 3] = maps[1, 9, 9] = 1
    maps[2], maps[3] = 0.5, -np.eye(16)
    cohort = make_cohort(6, shape=(1, 16, 16), masks={"lesion": masks[:, None]})
    cohort = cohort.subset(cohort.ids)
    cohort.masks["lesion"] = cohort.masks["lesion"].subset(cohort.ids[:5])
    return localisation(study_of_maps(cohort, maps))


def test_every_image_is_a_hit_a_miss_or_counted_apart(found) -> None:
    assert found.table["pointing game: lesion"].tolist()[:2] == [1, 0]
    assert found.table.iloc[2:].isna().all(axis=None)
    reasons = {
        "map without evidence": 1, "map without positive values": 1, "empty region": 1, "no region known": 1,
    }  # fmt: skip
    assert found.left_out["hit rate: lesion"] == found.left_out["mass inside: lesion"] == reasons


def test_controls_are_of_the_same_image(found) -> None:
    row = found.table.loc["i0"]
    assert row["mass inside: lesion | even map"] == pytest.approx(16 / 256)
    mask = marked((16, 16), (slice(2, 6), slice(2, 6)))
    assert row["mass inside: lesion | centre prior"] == pytest.approx(mass_inside(centre_prior((16, 16)), mask))
    assert row["pointing game: lesion | centre prior"] == 0


def test_every_column_is_a_measure_or_its_baseline(found) -> None:
    named = {name for one in found.measures for name in (one.name, one.baseline)}
    assert named == set(found.table.columns)
    assert {one.name for one in found.measures if one.proportion} == {"pointing game: lesion", "hit rate: lesion"}
    assert all(one.says.endswith(".") and "{" not in one.says for one in found.measures)


def test_large_masks_and_a_planted_shortcut_are_not_pointed_at_unless_named(make_cohort) -> None:
    masks = {name: np.zeros((4, 8, 8), np.uint8) for name in ("lesion", "breast", "marker")}
    masks["lesion"][:, :2, :2] = masks["marker"][:, 6:, 6:] = masks["breast"][:, :, :6] = 1
    cohort = make_cohort(4, shape=(1, 8, 8), masks={name: mask[:, None] for name, mask in masks.items()})
    object.__setattr__(cohort, "card", {"truth": {"shortcut_mask": "marker"}})
    assert pointing_masks(cohort) == ("lesion",)
    maps = np.random.default_rng(0).random((4, 8, 8))
    named = localisation(study_of_maps(cohort, maps), masks=["marker"])
    assert "hit rate: marker" in named.table
    with pytest.raises(InputError, match="did you mean 'lesion'"):
        localisation(study_of_maps(cohort, maps), masks=["lesions"])


def test_nothing_to_point_at_gives_an_empty_outcome(make_cohort) -> None:
    cohort = make_cohort(2, shape=(1, 8, 8))
    empty = localisation(study_of_maps(cohort, np.random.default_rng(0).random((2, 8, 8))))
    assert empty.table.shape == (2, 0)
    assert empty.measures == ()


@pytest.mark.parametrize("kind", ["mapping", "frame", "frame with ids"])
def test_boxes_come_as_mapping_or_frame_in_pixels_of_the_image(make_cohort, kind) -> None:
    cohort = make_cohort(4, shape=(1, 32, 16))
    recipe = Preprocessing(shape=(16, 16))  # the image lies in columns 4–11
    study = study_of_maps(cohort, np.random.default_rng(0).random((4, 16, 16)), recipe)
    frame = pd.DataFrame([(0, 0, 8, 4), (16, 8, 32, 16)], columns=["top", "left", "bottom", "right"], index=["i0"] * 2)
    given = {"i0": frame.to_numpy().tolist()} if kind == "mapping" else frame
    given = frame.rename_axis("id").reset_index() if kind == "frame with ids" else given
    region = drawn_regions(study, given)["boxes"]["i0"]
    assert (region == marked((16, 16), (slice(0, 4), slice(4, 6)), (slice(8, 16), slice(8, 12)))).all()


def test_boxes_and_points_of_volumes(make_cohort) -> None:
    cohort, maps = make_cohort(2, shape=(2, 6, 8, 10)), np.zeros((2, 6, 8, 10), np.float32)
    maps[:, 2, 3, 4] = 1
    outcome = localisation(
        study_of_maps(cohort, maps),
        boxes={"i0": (1, 2, 3, 3, 5, 6)},
        points={"i0": (2, 3, 5), "i1": (5, 7, 9)},
        tolerance=1,
    )
    assert outcome.table["hit rate: boxes"].tolist() == pytest.approx([1, np.nan], nan_ok=True)
    assert outcome.table["pointing game: points"].tolist() == [1, 0]
    assert "mass inside: points" not in outcome.table
    assert outcome.left_out["hit rate: boxes"] == {"no region known": 1}


@pytest.mark.parametrize(
    ("boxes", "points", "words"),
    [
        ({"i9": (0, 0, 2, 2)}, None, "image id among the boxes 'i9' is unknown"),
        ({"i0": (2, 0, 1, 2)}, None, "the first corner, then the second"),
        ({"i0": (0, 0, 9, 2)}, None, "does not lie in image 'i0' of 8 × 8"),
        ({"i0": (0, 0, 2)}, None, "top, left, bottom, right"),
        ({"i0": (0, 0, np.nan, 2)}, None, "no number"),
        (None, {"i0": (8, 0)}, "does not lie in image 'i0'"),
        (None, {"i0": ("a", 0)}, "no number"),
        (None, [(1, 2)], "mapping of image id"),
        (pd.DataFrame({"x": [1]}, index=["i0"]), None, "no column 'top'"),
    ],
)
def test_boxes_and_points_that_do_not_fit_are_refused(make_cohort, boxes, points, words) -> None:
    study = study_of_maps(make_cohort(2, shape=(1, 8, 8)), np.random.default_rng(0).random((2, 8, 8)))
    with pytest.raises(InputError, match=words):
        localisation(study, boxes=boxes, points=points)


@pytest.mark.parametrize(("setting", "value"), [("tolerance", -1), ("threshold", 0), ("threshold", 1.5)])
def test_settings_out_of_range_are_refused(make_cohort, setting, value) -> None:
    study = study_of_maps(make_cohort(2, shape=(1, 8, 8)), np.random.default_rng(0).random((2, 8, 8)))
    with pytest.raises(InputError, match=setting):
        localisation(study, **{setting: value})

"""Masks against references: hand-computed boxes, brute force over all pairs of edge pixels, and a cardiac atlas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from workbench.audit.engine.measure import measure
from workbench.audit.metric import Setting, metric_of
from workbench.audit.sample import design_of
from workbench.errors import EvidenceWarning, InputError
from workbench.models.segmentation_scores import segmentation_scores
from workbench.predictions import Predictions


def box(shape, *bounds):
    mask = np.zeros(shape, dtype=np.uint8)
    mask[tuple(slice(*pair) for pair in bounds)] = 1
    return mask


def one(mask, reference, spacing, **asked):
    return segmentation_scores([mask], [reference], spacing=spacing, **asked).iloc[0]


def test_two_squares_shifted_by_three_pixels_are_as_computed_by_hand():
    # 10 × 10 squares, pixels 2 mm high and 0.5 mm wide. The outline of each: 18 pieces of 0.5 mm along the rows, 18 of 2 mm
    # along the columns, 4 corners of √(0.5² + 2²) / 2. Within 1 mm (two columns) of the other outline lie all pieces along
    # the rows and the two corners on the other's side.
    first, second = box((40, 40), (10, 20), (10, 20)), box((40, 40), (10, 20), (13, 23))
    found = one(second, first, (2.0, 0.5))
    corner = math.hypot(0.5, 2) / 2
    assert found["Dice"] == pytest.approx(0.7)
    assert found["HD95 (mm)"] == pytest.approx(1.5)
    assert found["surface Dice (1 mm)"] == pytest.approx((18 * 0.5 + 2 * corner) / (18 * 0.5 + 18 * 2 + 4 * corner))
    assert one(second, first, (2.0, 0.5), tolerance=1.5)["surface Dice (1.5 mm)"] == 1
    assert found["area error (mm²)"] == found["relative area error"] == 0
    assert found["empty"] == "neither"


def test_volumes_are_in_millilitres():
    found = one(box((9, 20, 20), (2, 6), (5, 15), (5, 15)), box((9, 20, 20), (2, 7), (5, 15), (5, 15)), (5.0, 1.0, 1.0))
    assert found["volume error (ml)"] == pytest.approx(-0.5)  # a slice of 100 voxels of 5 mm³
    assert found["relative volume error"] == pytest.approx(-0.2)
    assert found["Dice"] == pytest.approx(800 / 900)


def brute(mask, reference, spacing):
    """Both directed 95th percentiles over all pairs of edge pixels."""
    edges = [np.argwhere(one & ~binary_erosion(one)) * spacing for one in (mask > 0, reference > 0)]
    distances = cdist(*edges)
    return max(np.percentile(distances.min(1), 95), np.percentile(distances.min(0), 95))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", [(30, 25), (8, 20, 18)])
def test_distances_and_overlap_are_those_of_brute_force(seed, shape):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.arange(side) for side in shape), indexing="ij"), axis=-1)
    spacing = np.array([2.5, 0.8, 0.7][-len(shape) :])
    blobs = []
    for _ in range(2):
        centre = np.array(shape) / 2 + rng.normal(0, 1.5, len(shape))
        blobs.append(((((grid - centre) / (np.array(shape) / 4)) ** 2).sum(-1) + 0.2 * rng.random(shape)) < 1)
    found = one(blobs[0], blobs[1], tuple(spacing))
    assert found["HD95 (mm)"] == pytest.approx(brute(*blobs, spacing), rel=1e-5)
    overlap = 2 * (blobs[0] & blobs[1]).sum() / (blobs[0].sum() + blobs[1].sum())
    assert found["Dice"] == pytest.approx(overlap, rel=1e-6)
    back = one(blobs[1], blobs[0], tuple(spacing))
    shared = [name for name in found.index if "error" not in name and name != "empty"]
    assert back[shared].tolist() == pytest.approx(found[shared].tolist(), rel=1e-5)


def test_empty_masks_are_told_and_defined():
    nothing, something = np.zeros((6, 12, 12)), box((6, 12, 12), (1, 4), (2, 8), (2, 8))
    table = segmentation_scores(
        [nothing, nothing, something, something],
        [nothing, something, nothing, something],
        spacing=(1, 1, 1),
        ids="abcd",
    )
    assert table["empty"].tolist() == ["both", "mask", "reference", "neither"]
    assert table["Dice"].tolist() == table["surface Dice (1 mm)"].tolist() == [1, 0, 0, 1]
    assert table["HD95 (mm)"].tolist() == pytest.approx([0, math.nan, math.nan, 0], nan_ok=True)
    assert table["volume error (ml)"].tolist() == pytest.approx([0, -0.108, 0.108, 0])
    assert table["relative volume error"].tolist() == pytest.approx([0, -1, math.nan, 0], nan_ok=True)


def test_a_mask_at_the_border_has_a_surface_there():
    inside, corner = box((20, 20), (5, 10), (5, 10)), box((20, 20), (0, 5), (0, 5))
    whole = np.ones((5, 5))
    assert one(corner, corner, (1, 1))["surface Dice (1 mm)"] == 1
    shifted = box((20, 20), (0, 5), (1, 6)), box((20, 20), (5, 10), (6, 11))
    for name in ("Dice", "HD95 (mm)", "surface Dice (1 mm)"):
        assert one(shifted[0], corner, (1, 1))[name] == pytest.approx(one(shifted[1], inside, (1, 1))[name])
    assert one(whole, whole, (1, 1))["HD95 (mm)"] == 0


BAD = {
    "labels": ([np.array([[0, 2], [1, 3]])], {}, "mask of image '0' holds 0, 1, 2, 3; .*one structure at a time"),
    "probabilities": ([np.full((2, 2), 0.5)], {}, "holds 0.5; .*threshold first"),
    "shape": ([np.zeros((2, 3))], {}, r"image '0': the mask is \(2, 3\) and the reference \(2, 2\)"),
    "count": ([np.zeros((2, 2))] * 2, {}, "2 masks and 1 references"),
    "spacing": ([np.zeros((2, 2))], {"spacing": (1.0, 1.0, 1.0)}, "2 axes and the spacing 3 numbers"),
    "no size": ([np.zeros((2, 2))], {"spacing": (1.0, 0.0)}, "not in mm above 0"),
    "spacings": ([np.zeros((2, 2))], {"spacing": [(1, 1), (1, 1)]}, "2 spacings and 1 masks"),
    "ids": ([np.zeros((2, 2))], {"ids": ["a", "b"]}, "2 ids and 1 masks"),
    "tolerance": ([np.zeros((2, 2))], {"tolerance": -1.0}, "tolerance -1.0"),
}


@pytest.mark.parametrize(("masks", "asked", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_compared_is_refused(masks, asked, message):
    with pytest.raises(InputError, match=message):
        segmentation_scores(masks, [np.zeros((2, 2))], **({"spacing": (1.0, 1.0)} | asked))


def test_ids_must_be_unique_and_something_be_there():
    with pytest.raises(InputError, match="id 'a' is given twice"):
        segmentation_scores(np.zeros((2, 3, 3)), np.zeros((2, 3, 3)), spacing=(1, 1), ids=["a", "a"])
    with pytest.raises(InputError, match="there is no mask"):
        segmentation_scores([], [], spacing=(1, 1))


def test_the_table_goes_straight_into_an_audit():
    rng = np.random.default_rng(0)
    reference = np.stack([box((16, 16), (4, 12), (4, 12)) for _ in range(12)])
    masks = np.stack([np.roll(mask, int(rng.integers(0, 4)), axis=1) for mask in reference])
    masks[0] = 0
    table = segmentation_scores(masks, reference, spacing=[(1.0, 1.0)] * 12, ids=[f"i{n}" for n in range(12)])
    with pytest.warns(EvidenceWarning, match=r"HD95 \(mm\) \(1\), of 12"):
        found = Predictions.from_table(
            table, task="segmentation", score=["Dice", "HD95 (mm)"], id="id", attributes=["empty"]
        )
    assert found.ids[0] == "i0"
    design = design_of(found, ["empty"])
    names = ["mean Dice", "mean HD95 (mm)"]
    values = measure(design, [metric_of(name, "segmentation", found.classes) for name in names], Setting()).values
    assert values["mean Dice"][0] == pytest.approx(table["Dice"].mean())
    assert values["mean HD95 (mm)"][0] == pytest.approx(table["HD95 (mm)"].mean())
    assert [sample.group for sample in design.samples] == ["all", "empty=mask", "empty=neither"]


def test_a_real_volume_shifted_by_a_voxel_errs_by_its_spacing(shared_data):
    folder = shared_data / "brain_hippocampus_nifti" / "labels"
    files = sorted(folder.glob("*.nii*")) if folder.is_dir() else []
    if not files:
        pytest.skip(f"no labels in {folder}")
    import nibabel

    image = nibabel.load(files[0])
    reference = np.asarray(image.dataobj) > 0
    spacing = tuple(float(side) for side in image.header.get_zooms()[:3])
    same = one(reference, reference, spacing)
    assert (same["Dice"], same["HD95 (mm)"], same["volume error (ml)"]) == (1, 0, 0)
    moved = one(np.roll(reference, 1, axis=0), reference, spacing, tolerance=1.01 * spacing[0])
    assert 0 < moved["HD95 (mm)"] <= spacing[0] + 1e-6
    assert moved.filter(like="surface Dice").item() == 1
    assert 0.8 < moved["Dice"] < 1

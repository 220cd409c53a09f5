"""Region SHAP on models whose Shapley values are known, beside captum's estimates, and as tables."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.attributions import Attributions
from workbench.explain.fill import fill_images
from workbench.explain.region_tables import region_interactions, region_table
from workbench.explain.regions import grid
from workbench.explain.target import Over


class Reads(nn.Module):
    """Scores a function of the mean value within boxes; counts the inputs it sees."""

    def __init__(self, function, *boxes: tuple[slice, ...]) -> None:
        super().__init__()
        self.function, self.boxes = function, boxes
        self.batches: list[int] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.batches.append(len(inputs))
        means = [inputs[(slice(None), slice(None), *box)].flatten(1).mean(1) for box in self.boxes]
        score = self.function(*means)
        return torch.stack([-score, score], 1)


MARKER, LESION = (slice(1, 5), slice(20, 26)), (slice(12, 20), slice(8, 16))


def small_net(channels: int = 1, classes: int = 2) -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(channels, 6, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3), nn.ReLU(),
        nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(54, 16), nn.Tanh(), nn.Linear(16, classes),
    ).eval()  # fmt: skip


def mask_of(box: tuple[slice, ...], images: int = 4) -> np.ndarray:
    mask = np.zeros((images, 1, 32, 32), dtype=np.uint8)
    mask[(slice(None), slice(None), *box)] = 1
    return mask


@pytest.fixture
def marked(make_cohort):
    return make_cohort(4, masks={"lesion": mask_of(LESION), "marker": mask_of(MARKER)})


def test_a_model_that_reads_only_the_marker_gives_all_to_the_marker(make_model, marked) -> None:
    net = Reads(lambda marker: torch.exp(3 * marker), MARKER)
    found = explain(make_model(net), marked, "region-shap", regions=["lesion", "marker"], target="yes")
    table = region_table(found).pivot_table(index="id", columns="region", values="value")
    rise = found.scores - found.table["found:empty_score"]
    assert np.abs(rise).min() > 0.01
    assert np.allclose(table["marker"], rise, atol=1e-6)
    assert np.abs(table[["lesion", "elsewhere"]]).to_numpy().max() < 1e-6
    assert np.abs(region_interactions(found)["value"]).max() < 1e-6


def test_a_product_of_two_regions_is_shared_evenly_and_is_all_interaction(make_model, marked) -> None:
    net = Reads(lambda lesion, marker: 50 * lesion * marker, LESION, MARKER)
    found = explain(make_model(net), marked, "region-shap", regions=["marker", "lesion"], target="yes", fill=0)
    values = region_table(found).pivot_table(index="id", columns="region", values="value")
    assert np.allclose(values["lesion"], found.scores / 2, atol=1e-6)
    assert np.allclose(values["marker"], found.scores / 2, atol=1e-6)
    pairs = region_interactions(found).set_index(["first", "second"])["value"]
    assert np.allclose(pairs["marker", "lesion"], found.scores, atol=1e-6)
    assert np.abs(pairs["lesion", "elsewhere"]).max() < 1e-6


def test_a_maps_sum_over_a_region_is_its_value(make_model, marked) -> None:
    found = explain(make_model(small_net()), marked, "region-shap", regions=["lesion", "marker"])
    table = region_table(found).set_index(["id", "region"])
    for image_id in marked.ids:
        heat, inside = found.map(image_id), marked.mask(image_id, "lesion")
        assert heat[inside].sum() == pytest.approx(table.loc[(image_id, "lesion"), "value"], abs=1e-6)
        assert table.loc[(image_id, "lesion"), "area"] == inside.mean()
        assert np.ptp(heat[inside]) == 0
    assert np.allclose(found.maps.sum((1, 2)), found.scores - found.table["found:empty_score"], atol=1e-5)
    assert found.errors is None
    assert found.table["found:efficiency_gap"].abs().max() < 1e-12


@pytest.mark.parametrize("batch_size", [5, 64])
def test_each_coalition_is_scored_once_in_full_batches(batch_size: int, make_model, marked) -> None:
    net = Reads(lambda marker: marker, MARKER)
    found = explain(make_model(net), marked, "region-shap", regions="grid", parts=(2, 3), batch_size=batch_size)
    assert sum(net.batches) == 4 * 2**6
    assert (found.table["found:coalitions"] == 2**6).all()
    chunks = -(-len(marked) // batch_size)
    assert sum(size < min(batch_size, 63) for size in net.batches) <= 2 * chunks


def test_coalitions_of_an_absent_region_are_not_scored_twice(make_model, make_cohort) -> None:
    lesion = mask_of(LESION)
    lesion[1] = 0
    cohort, net = make_cohort(4, masks={"lesion": lesion, "marker": mask_of(MARKER)}), Reads(lambda a: a, MARKER)
    found = explain(make_model(net), cohort, "region-shap", regions=["lesion", "marker"])
    assert found.table["found:coalitions"].tolist() == [8, 4, 8, 8]
    assert sum(net.batches) == 28
    assert found.table["found:absent_regions"].tolist() == [0, 1, 0, 0]
    absent = region_table(found).query("region == 'lesion' and area == 0")
    assert (absent["id"].tolist(), absent["value"].tolist()) == (["i1"], [0.0])


def test_captums_estimates_lie_around_the_exact_values(make_model, make_cohort) -> None:
    from captum.attr import KernelShap, ShapleyValueSampling

    net, cohort = small_net(), make_cohort(1)
    labels, image = torch.from_numpy(grid((32, 32), (2, 3))), torch.from_numpy(cohort.images())
    found = explain(make_model(net), cohort, "region-shap", regions=labels.numpy(), target="yes")
    exact = region_table(found)["value"].to_numpy()
    asked = {
        "baselines": fill_images(image, "blur"),
        "target": 1,
        "feature_mask": labels[None, None],
        "perturbations_per_eval": 50,
    }
    torch.manual_seed(0)
    for peer, samples in ((ShapleyValueSampling(net), 100), (KernelShap(net), 500)):
        spread = peer.attribute(image, n_samples=samples, **asked)[0, 0]
        theirs = np.array([spread[labels == region].mean().item() for region in range(6)])
        assert np.abs(theirs - exact).max() < 0.1 * np.ptp(exact)
        assert theirs.sum() == pytest.approx(exact.sum(), abs=1e-3)


@pytest.mark.parametrize("fill", ["blur", "mean", "black", "inpaint", 0.5])
def test_values_are_those_of_coalitions_made_by_hand(fill, make_model, make_cohort) -> None:
    from workbench.explain.fill import Fill

    net, cohort = small_net(channels=2), make_cohort(2, shape=(2, 32, 32))
    labels = np.zeros((32, 32), dtype=int)
    labels[:, 20:] = 1
    found = explain(make_model(net), cohort, "region-shap", regions=labels, target="yes", fill=fill)
    images = torch.from_numpy(cohort.images())
    hidden = torch.from_numpy(np.stack([labels == 2, labels == 1, labels == 0, labels >= 0]))
    with torch.no_grad():
        full, left, right, none = (
            net(Fill.of(images, fill).hide(one.expand(2, 32, 32)))[:, 1].double().numpy() for one in hidden
        )
    assert np.allclose(found.table["found:shap:elsewhere"], (left - none + full - right) / 2, atol=1e-5)
    assert np.allclose(found.table["found:interaction:elsewhere × label 1"], full - left - right + none, atol=1e-5)


def test_many_regions_are_estimated_within_their_errors(make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(2)
    asked = {"regions": "grid", "parts": (13, 1), "target": "yes", "batch_size": 64}
    exact = region_table(explain(model, cohort.subset(["i1"]), "region-shap", exact=13, **asked))["value"].to_numpy()
    runs = [
        explain(model, cohort, "region-shap", samples=200, error=None, seed=seed, **asked).subset(["i1"])
        for seed in range(12)
    ]
    tables = [region_table(run) for run in runs]
    z = np.concatenate([(table["value"] - exact) / table["error"] for table in tables])
    assert 0.8 < np.sqrt((z**2).mean()) < 1.2
    labels = grid((32, 32), (13, 1))
    spread = [runs[0].errors[0][labels == row].sum() for row in range(13)]
    assert np.allclose(spread, tables[0]["error"], rtol=1e-4)
    assert runs[0].table["found:coalitions"].max() <= 200


def test_an_image_with_few_of_many_regions_is_exact(make_model, make_cohort) -> None:
    cohort = make_cohort(2)
    atlases = {"i0": grid((32, 32), (4, 4)), "i1": grid((32, 32), (1, 3))}
    found = explain(make_model(small_net()), cohort, "region-shap", regions=atlases, samples=100)
    assert found.errors is not None
    assert found.errors[0].min() > 0
    assert not found.errors[1].any()
    assert found.table["found:coalitions"].tolist()[1] == 8
    assert found.table["found:absent_regions"].tolist() == [0, 13]
    assert found.settings["regions"].startswith("atlas of 2 images, ")


def test_the_error_asked_for_is_reached(make_model, make_cohort) -> None:
    found = explain(make_model(small_net()), make_cohort(2), "region-shap", regions="grid", parts=(4, 4), error=0.04)
    table = region_table(found)
    for _, own in table.groupby("id"):
        assert own["error"].max() <= 0.04 * np.ptp(own["value"])
    assert found.table["found:coalitions"].max() < 2048


@pytest.mark.parametrize("settings", [{"count": 6}, {"regions": "grid", "parts": (4, 4), "samples": 100}])
def test_neither_batch_size_nor_company_changes_a_map(settings, make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(5)
    whole = explain(model, cohort, "region-shap", batch_size=16, **settings)
    alone = explain(model, cohort.subset(["i3"]), "region-shap", batch_size=7, **settings)
    assert np.abs(whole.map("i3") - alone.maps[0]).max() < 1e-7
    assert whole.map("i3").any()


def test_several_targets_come_from_the_same_forward_passes(make_model, marked) -> None:
    counted = Reads(lambda marker, lesion: torch.tanh(marker + 2 * lesion), MARKER, LESION)
    each = explain(make_model(counted), marked, "region-shap", regions="grid", target="each")
    assert sum(counted.batches) == 4 * 2**9
    for name in ("no", "yes"):
        one = explain(make_model(counted), marked, "region-shap", regions="grid", target=name)
        assert np.abs(each[name].maps - one.maps).max() < 1e-7
    assert np.allclose(each["no"].maps, -each["yes"].maps, atol=1e-7)


@pytest.mark.parametrize("regions", ["grid", "superpixels"])
def test_volumes_are_explained(regions: str, make_model, make_cohort) -> None:
    net = Reads(lambda box: 10 * box, (slice(0, 4), slice(0, 8), slice(0, 8)))
    cohort = make_cohort(2, shape=(1, 8, 16, 16))
    found = explain(make_model(net), cohort, "region-shap", regions=regions, target="yes", count=8, fill=0)
    assert found.maps.shape == (2, 8, 16, 16)
    assert np.allclose(found.maps.sum((1, 2, 3)), found.scores, atol=1e-5)
    if regions == "grid":
        values = found.table[[name for name in found.table if name.startswith("found:shap:")]].to_numpy()
        assert np.allclose(values[:, 0], found.scores, atol=1e-5)
        assert np.abs(values[:, 1:]).max() < 1e-5


def test_a_segmentation_over_a_mask_is_shared_out(make_model, marked) -> None:
    net = nn.Conv2d(1, 2, 1)
    found = explain(
        make_model(net, task="segmentation"), marked, "region-shap", target=Over("yes", mask="lesion"),
        regions=["marker", "lesion"], fill=0,
    )  # fmt: skip
    weight, inside = net.weight[1].item(), np.stack([marked.mask(i, "lesion") for i in marked.ids])
    expected = (marked.images()[:, 0] * inside).sum((1, 2)) * weight
    assert np.allclose(found.table["found:shap:lesion"], expected, atol=1e-4)
    assert found.table["found:shap:marker"].abs().max() < 1e-5


def test_a_background_covers_regions_by_its_mean_and_is_a_parent(make_model, marked, make_cohort) -> None:
    background = make_cohort(6)
    net = Reads(lambda lesion: lesion, LESION)
    found = explain(make_model(net), marked, "region-shap", regions=["lesion"], target="yes", background=background)
    mean = background.images().mean(0)[(0, *LESION)].mean()
    assert np.allclose(found.table["found:empty_score"], mean, atol=1e-6)
    assert found.provenance.parents["background"] == background.provenance
    assert found.settings["fill"] == "mean image of the background"


def test_tables_of_loaded_values_are_the_same_and_need_no_torch(make_model, marked, tmp_path) -> None:
    found = explain(make_model(small_net()), marked, "region-shap", regions=["lesion", "marker"], out=tmp_path / "maps")
    loaded = Attributions.load(tmp_path / "maps")
    for table in (region_table, region_interactions):
        pd.testing.assert_frame_equal(table(found), table(loaded))
    assert region_table(loaded).columns.tolist() == ["id", "region", "value", "error", "area"]
    assert len(region_interactions(loaded)) == 4 * 3
    code = "import sys, workbench.explain.region_tables, workbench.explain.regions; print('torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"exact": 17}, r"exact 17 would take 2\^17 = 131,072 forward passes an image; at most 16"),
        ({"exact": 0}, "exact 0 must be a whole number of at least 1"),
        ({"error": 0}, "error 0 must be a number above 0"),
        ({"regions": "grid", "parts": (4, 4), "samples": 65}, "samples 65 must be a whole number of at least 66"),
        ({"regions": "grid", "parts": (4, 4), "interactions": True}, "interactions need every coalition of the 16 regions"),
        ({"fill": "blurr"}, "fill 'blurr' is unknown; did you mean 'blur'"),
        ({"background": "blur"}, "background is str, and must be a cohort"),
        ({"count": 3}, "count 3 must be a whole number of at least 4"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(settings, message, make_model, marked) -> None:
    with pytest.raises(InputError, match=message):
        explain(make_model(small_net()), marked, "region-shap", **settings)


def test_a_fill_and_a_background_are_refused(make_model, marked) -> None:
    with pytest.raises(InputError, match="fill 'black' and background= both say"):
        explain(make_model(small_net()), marked, "region-shap", fill="black", background=marked)


def test_tables_say_what_they_need(make_model, marked) -> None:
    with pytest.raises(InputError, match=r"by 'gradcam', which has no regions; .* method='region-shap'"):
        region_table(explain(make_model(small_net()), marked, "gradcam"))
    own = explain(make_model(small_net()), marked, "region-shap", count=4)
    with pytest.raises(InputError, match="explain again with interactions=True"):
        region_interactions(own)
    asked = explain(make_model(small_net()), marked, "region-shap", count=4, interactions=True)
    assert len(region_interactions(asked)) == 4 * 6

"""What holds for every method: any kind of image, any target, batches that do not mix, folders, and the tests of trust."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import InputError
from workbench.explain.methods import known_methods
from workbench.explain.target import Margin, Over

# Settings that keep each method cheap; nothing else about them is special.
CHEAP = {
    "smoothgrad": {"samples": 4},
    "integrated-gradients": {"steps": 4, "max_steps": 4, "tolerance": 1e6},
    "shap": {"samples": 4},
    "partition-shap": {"count": 8, "evaluations": 64, "tolerance": 10},
    "region-shap": {"count": 8},
    "rise": {"masks": 32},
}
CAMS = ("gradcam", "gradcam++", "hirescam", "layercam", "eigencam", "scorecam")
METHODS = [name for name in known_methods() if name != "rollout"]  # of transformers alone, see test_tokens.py
KINDS = {"2-D": (1, 16, 16), "three channels": (3, 16, 16), "volume": (1, 8, 12, 12), "cine": (2, 6, 12, 12)}

pytestmark = pytest.mark.filterwarnings("ignore:guided:workbench.errors.EvidenceWarning")


def layers(shape: tuple[int, ...]) -> tuple[type, type]:
    return (nn.Conv2d, nn.AdaptiveAvgPool2d) if len(shape) == 3 else (nn.Conv3d, nn.AdaptiveAvgPool3d)


def classifier(shape: tuple[int, ...], outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(2)
    conv, pool = layers(shape)
    return nn.Sequential(
        conv(shape[0], 6, 3, padding=1), nn.ReLU(inplace=True), conv(6, 8, 3, 2, 1), nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(8, outputs)
    ).eval()  # fmt: skip


def segmenter(shape: tuple[int, ...]) -> nn.Sequential:
    torch.manual_seed(3)
    conv, _ = layers(shape)
    return nn.Sequential(conv(shape[0], 6, 3, padding=1), nn.ReLU(), conv(6, 6, 3, padding=1), nn.ReLU(), conv(6, 3, 1))


def explained(model: wb.Model, cohort: wb.Cohort, method: str, **asked: object) -> wb.Attributions:
    own = {"background": cohort} if method == "shap" else {}
    return wb.explain(model, cohort, method, **CHEAP.get(method, {}), **own, **asked)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_images_of_every_kind_get_a_map_on_their_own_grid(method: str, kind: str, make_model, make_cohort) -> None:
    shape = KINDS[kind]
    model, cohort = make_model(classifier(shape), ("no", "yes", "unsure")), make_cohort(4, shape=shape)
    maps = explained(model, cohort, method)
    assert maps.maps.shape == (4, *shape[1:])
    assert maps.maps.any()
    assert np.allclose(maps.scores, model.network(model.inputs(cohort)).detach().max(1).values, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_neither_batch_size_nor_company_changes_a_map(method: str, make_model, make_cohort) -> None:
    shape = KINDS["2-D"]
    model, cohort = make_model(classifier(shape), ("no", "yes", "unsure")), make_cohort(5, shape=shape)
    together = explained(model, cohort, method, batch_size=5)
    parts = explained(model, cohort, method, batch_size=2)
    scale = np.abs(together.maps).max()
    assert np.abs(together.maps - parts.maps).max() <= 2e-5 * scale
    own = {"background": cohort} if method == "shap" else {}
    alone = wb.explain(model, cohort.subset(["i3"]), method, **CHEAP.get(method, {}), **own)
    assert np.abs(together.maps[3] - alone.maps[0]).max() <= 2e-5 * scale


@pytest.mark.parametrize("method", METHODS)
def test_several_targets_are_answered_as_one_by_one(method: str, make_model, make_cohort) -> None:
    shape = KINDS["2-D"]
    model, cohort = make_model(classifier(shape), ("no", "yes", "unsure")), make_cohort(3, shape=shape)
    asked = ["yes", Margin("unsure", "no"), "predicted"]
    together = explained(model, cohort, method, target=asked)
    for target, maps in zip(asked, together.values(), strict=True):
        alone = explained(model, cohort, method, target=target)
        assert np.abs(maps.maps - alone.maps).max() <= 2e-5 * max(np.abs(alone.maps).max(), 1e-6)
        assert np.allclose(maps.scores, alone.scores, atol=1e-5)


@pytest.mark.parametrize("kind", ["2-D", "volume"])
@pytest.mark.parametrize("method", METHODS)
def test_a_segmentation_is_explained_over_a_box_and_its_own_prediction(method, kind, make_model, make_cohort) -> None:
    shape = KINDS[kind]
    model = make_model(segmenter(shape), ("back", "organ", "tumour"), task="segmentation")
    cohort, axes = make_cohort(4, shape=shape), len(shape) - 1
    box = (*[2] * axes, *[6] * axes)
    maps = explained(model, cohort, method, target=["organ", Over("tumour", box=box)])
    assert [one.maps.shape for one in maps.values()] == [(4, *shape[1:])] * 2
    # The last layer's maps may all be negative, of which Score-CAM keeps nothing.
    assert list(maps.values())[1].maps.any() or method == "scorecam"


@pytest.mark.parametrize(("task", "outputs"), [("regression", ("months",)), ("multilabel", ("mass", "nodule"))])
@pytest.mark.parametrize("method", METHODS)
def test_heads_of_every_kind_are_explained(method: str, task: str, outputs: tuple, make_model, make_cohort) -> None:
    shape = KINDS["2-D"]
    net = classifier(shape, len(outputs))
    model, cohort = make_model(net, outputs, task=task), make_cohort(4, shape=shape)
    maps = explained(model, cohort, method, target=outputs[-1])
    assert np.allclose(maps.scores, net(model.inputs(cohort)).detach()[:, -1], atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_folder_holds_what_memory_would(method: str, tmp_path, make_model, make_cohort) -> None:
    shape = KINDS["2-D"]
    model, cohort = make_model(classifier(shape), ("no", "yes", "unsure")), make_cohort(4, shape=shape)
    kept = explained(model, cohort, method, batch_size=3)
    explained(model, cohort, method, batch_size=3, out=tmp_path / "maps")
    back = wb.Attributions.load(tmp_path / "maps")
    assert back.content_digest() == kept.content_digest()
    assert back.to_frame().equals(kept.to_frame())


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_put_to_the_test(method: str, make_model, make_cohort) -> None:
    shape = KINDS["2-D"]
    masks = np.zeros((4, 1, 16, 16), bool)
    masks[:, :, 4:9, 4:9] = True
    model, cohort = (
        make_model(classifier(shape), ("no", "yes", "unsure")),
        make_cohort(4, shape=shape, masks={"lesion": masks}),
    )
    maps = explained(model, cohort, method, target="yes")
    parts = {
        "sanity": {"stages": 2}, "faithfulness": {"steps": 3}, "road": {"percentiles": (50,)}, "infidelity": {"samples": 4},
        "localisation": {}, "shares": {}, "stability": {}, "sensitivity": {"samples": 1},
    }  # fmt: skip
    evidence = wb.explain.trust(model, maps, parts=parts)
    assert set(evidence.table["group"]) == {"all", "sex=F", "sex=missing"}
    assert evidence.table.loc[evidence.table["measure"] == "deletion area", "value"].notna().all()
    assert "<table" in evidence._repr_html_()


@pytest.mark.parametrize("method", METHODS)
def test_a_broken_image_or_network_is_named(method: str, make_model, make_cohort) -> None:
    shape = KINDS["2-D"]
    images = np.random.default_rng(1).normal(size=(4, *shape)).astype(np.float32)
    images[2, 0, 3, 3] = np.inf
    with pytest.raises(InputError, match="image 'i2' holds NaN or infinite"):
        explained(make_model(classifier(shape), ("no", "yes", "unsure")), make_cohort(images), method)
    net = classifier(shape)
    net[6].weight.data[0, 0] = torch.nan
    with pytest.raises(InputError, match=r"weight '6\.weight' holds NaN"):
        explained(make_model(net, ("no", "yes", "unsure")), make_cohort(4, shape=shape), method)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in CAMS])
def test_a_network_without_any_convolution_is_explained_by_what_needs_no_layer(method, make_model, make_cohort) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 2))
    assert explained(make_model(net), make_cohort(4, shape=KINDS["2-D"]), method).maps.any()

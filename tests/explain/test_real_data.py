"""Explanations of real images end to end: small sets beside the checkout, small networks trained in seconds."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.cohorts.pixels import ArrayPixels
from workbench.errors import EvidenceWarning, InputError

if TYPE_CHECKING:
    from pathlib import Path

    from workbench.cohorts.cohort import Cohort
    from workbench.models.model import Model

CHEAP = {"sanity": {"stages": 2, "draws": 1, "images": 12}, "faithfulness": {"steps": 8}}


def classifier(outputs: int) -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [
        layer
        for before, after in ((1, 8), (8, 16))
        for layer in (nn.Conv2d(before, after, 3, 1, 1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2))
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, outputs))


def fitted(model: Model, cohort: Cohort, wanted: torch.Tensor, loss: nn.Module, *, steps: int = 60) -> Model:
    torch.manual_seed(0)
    inputs = model.inputs(cohort)
    optimiser = torch.optim.Adam(model.network.parameters(), 1e-2)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (16,))
        optimiser.zero_grad()
        loss(model.network(inputs[rows]), wanted[rows]).backward()
        optimiser.step()
    model.network.eval()
    return model


def folder(shared_data: Path, name: str) -> Path:
    if not (shared_data / name).is_dir():
        pytest.skip(f"{name} is not among the data sets in {shared_data}")
    return shared_data / name


@pytest.fixture(scope="module")
def radiographs(shared_data: Path) -> tuple[Model, Cohort]:
    """Radiographs of the NIH, several a patient, and a network that tells the view: AP films carry other letters."""
    home = folder(shared_data, "cxr_nih1000_64px")
    table = pd.read_csv(home / "joined_metadata.csv").iloc[::4]
    cohort = wb.Cohort.from_table(
        table, folder=home, image="file", label="View Position", patient="Patient ID", attributes=["Patient Gender"]
    )
    model = wb.Model.wrap(classifier(2), classes=cohort.classes, preprocessing=wb.Preprocessing((64, 64)))
    return fitted(model, cohort, torch.tensor(cohort.labels), nn.CrossEntropyLoss()), cohort.subset(cohort.ids[::4])


def test_each_method_explains_radiographs_in_its_own_scale(radiographs) -> None:
    model, cohort = radiographs
    few = cohort.subset(cohort.ids[:6])
    settings = {"shap": {"samples": 8}, "rise": {"masks": 64}, "region-shap": {"count": 6}, "occlusion": {"window": 16}}
    for method in ("gradcam", "layercam", "saliency", "input-x-gradient", *settings):
        maps = wb.explain(model, few, method, target="AP", **settings.get(method, {}))
        assert maps.maps.shape == (6, 64, 64)
        assert np.isfinite(maps.maps).all()
        assert maps.highs.max() != pytest.approx(1)
        assert maps.scores == pytest.approx(wb.explain(model, few, "saliency", target="AP").scores, abs=1e-4)


def test_trust_on_radiographs_counts_patients_and_compares_groups(radiographs) -> None:
    model, cohort = radiographs
    maps = wb.explain(model, cohort, "gradcam", target="AP")
    evidence = wb.explain.trust(model, maps, parts=CHEAP, by="Patient Gender")
    everybody = evidence.table.query("group == 'all' and measure == 'deletion area'").iloc[0]
    assert everybody["patients"] <= cohort.table["patient"].nunique() < len(cohort)
    assert set(evidence.gaps["group"]) == {"Patient Gender=F", "Patient Gender=M"}
    assert evidence.verdict("depends on the model").answer in {"yes", "no", "cannot tell"}
    assert "Left out" in evidence._repr_html_() or evidence.left_out.empty


def test_what_was_streamed_of_radiographs_is_what_memory_holds(radiographs, tmp_path) -> None:
    model, cohort = radiographs
    kept = wb.explain(model, cohort, target="each")
    for name, streamed in wb.explain(model, cohort, target="each", out=tmp_path / "maps", batch_size=16).items():
        assert np.allclose(streamed.maps, kept[name].maps, atol=1e-6)
        back = wb.Attributions.load(tmp_path / "maps" / name)
        assert back.to_frame().equals(streamed.to_frame())


def test_letters_in_films_of_all_sizes_and_colours_do_not_stop_anything(shared_data: Path) -> None:
    home = folder(shared_data, "cxr_covid_agesex")
    cohort = wb.Cohort.from_table(home / "subset.csv", label="noncovid", folder=home / "images")
    cohort = cohort.subset(cohort.ids[:24])
    assert len({cohort.image(image_id).shape for image_id in cohort.ids}) > 10
    model = wb.Model.wrap(classifier(2), classes=cohort.classes, preprocessing=wb.Preprocessing((64, 64)))
    maps = wb.explain(model, cohort, "layercam", target="true")
    for image_id in cohort.ids[:3]:
        spatial = cohort.image(image_id).shape[1:]
        assert maps.on_image(image_id, spatial).shape == spatial
    wb.figures.attribution_grid(maps, cohort, cases=2)


def test_a_bone_age_is_explained_in_its_own_unit(shared_data: Path) -> None:
    home = folder(shared_data, "bone_rsna_handage")
    table = pd.read_csv(home / "subset.csv").iloc[:48]
    table = table.assign(image=table["id"].astype(str) + ".png", sex=np.where(table["male"], "M", "F"))
    cohort = wb.Cohort.from_table(table, folder=home, image="image", label="sex", attributes=["sex"])
    wanted = torch.tensor(cohort.table["boneage"].to_numpy()[:, None] / 100, dtype=torch.float32)
    recipe = wb.Preprocessing((48, 48))
    model = wb.Model.wrap(classifier(1), classes=["bone age"], preprocessing=recipe, task="regression")
    few = cohort.subset(cohort.ids[:8])
    maps = wb.explain(fitted(model, cohort, wanted, nn.MSELoss()), few, "integrated-gradients")
    with torch.no_grad():
        told = model.network(model.inputs(few))[:, 0].numpy()
    assert maps.explained == "output"
    assert maps.scores == pytest.approx(told, abs=1e-4)
    gap = maps.maps.sum((1, 2)) - (maps.scores - maps.table["found:baseline_score"].to_numpy())
    assert np.abs(gap).max() < 0.1
    with pytest.raises(InputError, match="'true' has no one meaning for regression; name one of its outputs: bone age"):
        wb.explain(model, few, target="true")


def test_a_hippocampus_in_volumes_is_segmented_and_explained(shared_data: Path) -> None:
    home = folder(shared_data, "brain_hippocampus_nifti")
    names = sorted(path.name for path in (home / "images").glob("*.nii.gz"))[:10]
    table = pd.DataFrame({"image": [f"images/{n}" for n in names], "hippocampus": [f"labels/{n}" for n in names]})
    table["label"] = ["a", "b"] * (len(names) // 2)
    cohort = wb.Cohort.from_table(table, folder=home, image="image", label="label", mask="hippocampus")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv3d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv3d(8, 8, 3, 1, 1), nn.ReLU(), nn.Upsample(scale_factor=2), nn.Conv3d(8, 2, 1)
    )  # fmt: skip
    recipe = wb.Preprocessing((16, 24, 16))
    model = wb.Model.wrap(net, classes=["back", "hippocampus"], preprocessing=recipe, task="segmentation")
    masks = np.stack([recipe.to_input(cohort.mask(image_id, "hippocampus")) for image_id in cohort.ids])
    wanted = torch.from_numpy(masks).long()
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 8.0]))
    few = fitted(model, cohort, wanted, loss, steps=80) and cohort.subset(cohort.ids[:4])
    over = wb.explain.Over("hippocampus", mask="hippocampus")
    regions = wb.explain(model, few, "region-shap", target=over, regions="hippocampus")
    with torch.no_grad():
        output = net(model.inputs(few))[:, 1].numpy()
    assert regions.scores == pytest.approx((output * masks[:4]).sum((1, 2, 3)), rel=1e-3)
    values = wb.explain.region_table(regions).groupby("id")["value"].sum()
    rise = regions.scores - regions.table["found:empty_score"]
    assert values.loc[list(few.ids)].to_numpy() == pytest.approx(rise.to_numpy(), rel=1e-3)
    maps = wb.explain(model, few, "saliency", target=over)
    evidence = wb.explain.trust(model, maps, parts=["localisation", "shares"], by=[])
    # The gradient of logits summed over a mask lies in and around it.
    density = evidence.table.query("measure == 'density: hippocampus' and control == 'even map'").iloc[0]
    assert density["value"] > 3


def test_circles_on_mammograms_are_where_maps_are_held_against(shared_data: Path) -> None:
    home = folder(shared_data, "mammo_mias")
    cohort = wb.load("mini-mias", path=home)
    info = pd.read_csv(home / "info_parsed.csv").dropna(subset=["x", "y", "r"]).set_index("film")
    rows, columns = np.mgrid[:1024, :1024]
    masks = np.zeros((len(cohort), 1, 1024, 1024), bool)
    for place, film in enumerate(cohort.ids):
        for circle in info.loc[info.index == film].itertuples():
            masks[place, 0] |= (rows - (1023 - circle.y)) ** 2 + (columns - circle.x) ** 2 <= circle.r**2
    circled = type(cohort)(
        cohort.table, cohort.classes, cohort.attributes, cohort.pixels, {"lesion": ArrayPixels.of(masks, cohort.ids)}
    )
    model = wb.Model.wrap(classifier(3), classes=cohort.classes, preprocessing=wb.Preprocessing((64, 64)))
    evidence = wb.explain.trust(model, wb.explain(model, circled, "layercam"), parts=["localisation"], by=[])
    hits = evidence.table.query("measure == 'hit rate: lesion'").iloc[0]
    assert hits["n"] == int(masks.any((1, 2, 3)).sum()) < len(cohort)
    assert evidence.left_out.query("measure == 'hit rate: lesion'")["reason"].tolist() == ["empty region"]


def test_a_cine_of_the_heart_goes_through_a_network_of_frames(shared_data: Path) -> None:
    from workbench.imaging.read import read_image

    home = folder(shared_data, "cardiac_camus_echo")
    names = sorted(path.name for path in (home / "images").glob("*.jpg"))[:8]
    shown, drawn = (
        np.stack([np.repeat(read_image(home / kind / name)[:1, ::8, ::8], 3, axis=0) for name in names])
        for kind in ("images", "masks")
    )
    labels = ["4CH" if "4CH" in name else "2CH" for name in names]
    cohort = wb.Cohort.from_arrays(
        shown, labels, classes=["2CH", "4CH"], patients=[name[:11] for name in names], masks={"heart": drawn > 127}, channels=False
    )  # fmt: skip

    class Frames(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frame = classifier(2)

        def forward(self, cine: torch.Tensor) -> torch.Tensor:
            images, _, frames = cine.shape[:3]
            return self.frame(cine.transpose(1, 2).flatten(0, 1)).reshape(images, frames, 2).mean(1)

    model = wb.Model.wrap(Frames().eval(), classes=cohort.classes, preprocessing=wb.Preprocessing((3, 64, 64)))
    for method, settings in (("gradcam", {}), ("shap", {"samples": 4}), ("region-shap", {"regions": "heart"})):
        maps = wb.explain(model, cohort, method, target="4CH", **settings)
        assert maps.maps.shape == (8, 3, 64, 64)
        # Three times the same frame: a network of frames has no reason to prefer one of them.
        assert method == "shap" or np.allclose(maps.maps[:, 0], maps.maps[:, 2], atol=1e-6)


@pytest.mark.slow
def test_ultrasound_is_loaded_trained_explained_and_judged(shared_data: Path) -> None:
    home = folder(shared_data, "medmnist_npz")
    cohort = wb.load("medmnist-breast", path=next(home.rglob("BreastMNIST.npz")))
    train, tune, test = cohort.split(column="split")
    model = wb.train(train, tune, epochs=2, seed=1)
    few = test.subset(test.ids[:24])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        maps = [
            wb.explain(model, few, "gradcam", target="malignant"),
            wb.explain(model, few, "shap", target="malignant", background=train, samples=16),
        ]
        evidence = wb.explain.trust(model, maps, parts=CHEAP, by=[])
    assert evidence.methods == ["Grad-CAM", "SHAP"]
    assert len(evidence.agreement) == 1
    assert {one.answer for one in evidence.verdicts} <= {"yes", "no", "cannot tell"}

"""Trust as a whole: one table, plain verdicts, saved and shown; and on phantoms, the answers that are known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import EvidenceWarning, InputError
from workbench.explain import methods
from workbench.explain.quality.result import Trust
from workbench.explain.quality.study import study_of
from workbench.explain.quality.verdicts import _faithfulness

CHEAP = {"sanity": {"stages": 2}, "faithfulness": {"steps": 16}, "localisation": {}, "shares": {}, "stability": {}}
COLUMNS = [
    "method", "part", "measure", "by", "group", "value", "low", "high", "n", "patients", "control", "baseline", "gain",
    "gain_low", "gain_high", "p", "better", "note",
]  # fmt: skip


def blobs(images: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright blob somewhere and its mask, and a dark one with as sharp an edge."""
    generator = np.random.default_rng(5)
    pixels = generator.normal(scale=0.3, size=(images, 1, 24, 24)).astype(np.float32)
    masks = np.zeros((images, 1, 24, 24), bool)
    for row in range(images):
        top, left = generator.integers(1, 19, 2)
        masks[row, 0, top : top + 4, left : left + 4] = True
        pixels[row, 0, 23 - top - 3 : 23 - top + 3, 23 - left - 3 : 23 - left + 3] -= 5
        pixels[row, masks[row]] = 3
    return pixels, masks


class Bright(nn.Module):
    """Looks for what is bright: the score is the sum of a smooth threshold of the image, blurred a little."""

    def __init__(self) -> None:
        super().__init__()
        self.blur, self.head = nn.Conv2d(1, 1, 3, padding=1), nn.Linear(1, 2)
        nn.init.constant_(self.blur.weight, 1 / 9)
        nn.init.constant_(self.blur.bias, -1.0)
        self.head.weight.data, self.head.bias.data = torch.tensor([[-20.0], [20.0]]), torch.zeros(2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.blur(inputs)).mean((2, 3)))


@pytest.fixture(scope="module")
def study(make_model, make_cohort):
    pixels, masks = blobs()
    cohort = make_cohort(pixels, masks={"lesion": masks})
    return make_model(Bright()), cohort


@pytest.fixture(scope="module")
def evidence(study) -> Trust:
    model, cohort = study
    maps = wb.explain(model, cohort, "gradcam", target="yes")
    return wb.explain.trust(model, maps, parts=CHEAP, by=["sex"])


def test_a_table_has_every_measure_for_everybody_and_each_group(evidence: Trust) -> None:
    assert list(evidence.table.columns) == COLUMNS
    groups = evidence.table.groupby("group")["measure"].apply(list)
    assert list(groups.index) == ["all", "sex=F", "sex=missing"]
    assert groups["all"] == groups["sex=F"]
    parts = list(dict.fromkeys(evidence.table["part"]))
    assert parts == ["sanity", "faithfulness", "localisation", "shares", "stability"]


def test_intervals_hold_their_means_and_count_patients(evidence: Trust) -> None:
    known = evidence.table.dropna(subset=["low"])
    assert (known["low"] <= known["value"] + 1e-12).all()
    assert (known["value"] <= known["high"] + 1e-12).all()
    assert (evidence.table["patients"] <= evidence.table["n"]).all()
    assert evidence.table.loc[evidence.table["group"] == "all", "patients"].max() == 12


def test_the_mean_of_the_images_is_the_tables_value(evidence: Trust) -> None:
    images = evidence.images
    for row in evidence.table.query("group == 'sex=F'").to_dict("records"):
        chosen = images.loc[[f"i{k}" for k in range(0, 24, 2)], row["measure"]]
        assert np.isclose(row["value"], chosen.mean(), equal_nan=True)
        if row["control"]:
            assert row["n"] == chosen.notna().sum()


def test_a_map_of_what_the_model_sees_gets_good_verdicts(evidence: Trust) -> None:
    answers = {one.question: one.answer for one in evidence.verdicts}
    assert answers["finds what the score rests on"] == "yes"
    assert answers["points at lesion"] == "yes"
    assert "deletion area" in evidence.says


@pytest.mark.parametrize(
    ("deletion", "insertion", "answer"),
    [
        (-1, 1, "yes"),
        (-1, 0, "yes"),
        (-1, -1, "cannot tell"),
        (1, 1, "cannot tell"),
        (1, -1, "no"),
        (0, 1, "cannot tell"),
    ],
)
def test_deletion_and_insertion_that_contradict_each_other_settle_nothing(deletion, insertion, answer) -> None:
    rows = [
        {"measure": measure, "better": better, "control": control, "gain": gain, "gain_low": gain - 0.5, "gain_high": gain + 0.5}
        for measure, better, gain in (("deletion area", "lower", deletion), ("insertion area", "higher", insertion))
        for control in ("random order", "edges")
    ]  # fmt: skip
    (found,) = _faithfulness(rows)
    assert found[:2] == ("finds what the score rests on", answer)
    assert ("contradict" in found[2]) == (deletion * insertion > 0)


def test_gaps_are_corrected_for_all_that_is_compared(evidence: Trust) -> None:
    known = evidence.gaps.dropna(subset=["p"])
    assert len(known) > 10
    assert (known["p_adjusted"] >= known["p"] - 1e-9).all()
    assert (known["low_together"] <= known["low"] + 1e-9).all()
    halves = evidence.gaps.pivot_table(index="measure", columns="group", values="gap")
    assert np.allclose(halves["sex=F"], -halves["sex=missing"])


def test_it_is_saved_loaded_and_shown(evidence: Trust, tmp_path) -> None:
    evidence.save(tmp_path / "trust")
    back = Trust.load(tmp_path / "trust")
    assert back.table.equals(evidence.table)
    assert back.verdicts == evidence.verdicts
    assert back.provenance.to_json() == evidence.provenance.to_json()
    html = back._repr_html_()
    assert "points at" not in html
    assert "the middle of the image" in html
    assert evidence.verdict("points at lesion").sentence in html.replace("&#39;", "'")
    with pytest.raises(InputError, match="did you mean 'points at lesion'"):
        evidence.verdict("points at leison")


def test_several_methods_stand_side_by_side_and_are_compared(study) -> None:
    model, cohort = study
    maps = [wb.explain(model, cohort, name, target="yes") for name in ("gradcam", "saliency")]
    evidence = wb.explain.trust(model, maps, parts=["localisation"], by=[])
    assert evidence.methods == ["Grad-CAM", "Saliency"]
    assert evidence.agreement[["first", "second"]].to_numpy().tolist() == [["Grad-CAM", "Saliency"]]
    assert set(evidence.images["method"]) == {"Grad-CAM", "Saliency"}
    assert evidence.gaps.empty
    with pytest.raises(InputError, match="two of the attributions are of the same method"):
        wb.explain.trust(model, [maps[0], maps[0]])


def test_what_a_folder_did_not_keep_is_asked_for_and_not_replaced(study, tmp_path) -> None:
    model, cohort = study
    background = cohort.subset(cohort.ids[8:])
    few = cohort.subset(cohort.ids[:6])
    wb.explain(model, few, "shap", target="yes", background=background, samples=8).save(tmp_path / "maps")
    maps = wb.Attributions.load(tmp_path / "maps")
    with pytest.raises(InputError, match=r"made with background='cohort', .* settings=\{'background': …\}"):
        wb.explain.trust(model, maps, cohort=few, by=[])
    assert len(wb.explain.trust(model, maps, cohort=few, by=[], parts=["localisation"]).table)
    with pytest.raises(InputError, match="setting 'backgroud' is unknown; did you mean 'background'"):
        wb.explain.trust(model, maps, cohort=few, settings={"backgroud": background})
    other = {"background": cohort.subset(cohort.ids[6:])}
    with pytest.raises(InputError, match="is not the one these maps were made with"):
        wb.explain.trust(model, maps, cohort=few, settings=other)
    asked = {"cohort": few, "settings": {"background": background}}
    for batch, chosen, told in study_of(model, maps, cohort=few, background=background).batches("Asking"):
        again = study_of(model, maps, cohort=few, background=background).again(batch, chosen)
        assert np.allclose(again, told, atol=1e-5)
    assert len(wb.explain.trust(model, maps, by=[], parts={"sanity": {"stages": 2}}, **asked).table)


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("shap", {"samples": 4}),
        ("region-shap", {"regions": np.repeat([[0, 1]], 24, 0).repeat(12, 1)}),
        ("region-shap", {"regions": "grid", "fill": np.zeros((1, 24, 24), np.float32)}),
        ("integrated-gradients", {"steps": 4}),
        ("occlusion", {"window": 8}),
    ],
)
def test_loaded_maps_are_made_again_alike_or_the_lost_setting_is_named(method, settings, study, tmp_path) -> None:
    model, cohort = study
    few = cohort.subset(cohort.ids[:4])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        wb.explain(model, few, method, target="yes", **settings).save(tmp_path / "maps")
        back = study_of(model, wb.Attributions.load(tmp_path / "maps"), cohort=few)
        arrays = [name for name, value in settings.items() if isinstance(value, np.ndarray)]
        assert list(back.lost) == arrays
        for batch, chosen, told in back.batches("Asking"):
            if arrays:
                with pytest.raises(InputError, match=f"made with {arrays[0]}="):
                    back.again(batch, chosen)
            else:
                assert np.allclose(back.again(batch, chosen), told, atol=1e-4)


def test_maps_of_different_images_are_refused_before_any_work(study, make_model) -> None:
    model, cohort = study
    maps = wb.explain(model, cohort, target="yes")
    few = wb.explain(model, cohort.subset(cohort.ids[:4]), "saliency", target="yes")
    fails = Bright()
    fails.register_forward_hook(lambda *_: pytest.fail("the network was asked"))
    with pytest.raises(InputError, match="not of the same images"):
        wb.explain.trust(make_model(fails), [maps, few], parts=["faithfulness"])


def test_another_model_is_refused_also_where_no_part_runs_it(study, make_model) -> None:
    model, cohort = study
    other = Bright()
    other.head.weight.data *= 2
    with pytest.raises(InputError, match="They are of another model"):
        wb.explain.trust(make_model(other), wb.explain(model, cohort, target="yes"), parts=["localisation"])


def test_a_part_without_anything_to_point_at_is_refused(study, make_cohort) -> None:
    model, _ = study
    pixels, masks = blobs(8)
    maps = wb.explain(model, make_cohort(pixels), target="yes")
    for part, said in (("localisation", "needs masks, boxes or points"), ("shares", "needs masks, and there are none")):
        with pytest.raises(InputError, match=said):
            wb.explain.trust(model, maps, parts=[part])
    large = wb.explain(model, make_cohort(pixels, masks={"breast": ~masks}), target="yes")
    for parts in (["localisation"], []):
        with pytest.raises(InputError, match="there is nothing to measure"):
            wb.explain.trust(model, large, parts=parts)


def test_one_attribute_may_be_named_without_a_list(study) -> None:
    model, cohort = study
    evidence = wb.explain.trust(model, wb.explain(model, cohort, target="yes"), parts=["localisation"], by="sex")
    assert set(evidence.gaps["by"]) == {"sex"}


def test_maps_without_any_evidence_get_one_answer_and_a_way_out(make_model, make_cohort) -> None:
    model, cohort = make_model(Bright()), make_cohort(np.full((4, 1, 24, 24), -3, np.float32))
    evidence = wb.explain.trust(
        model, wb.explain(model, cohort, target="yes"), parts=["sanity", "faithfulness", "stability"], by=[]
    )
    assert [one.question for one in evidence.verdicts] == ["every map has evidence"]
    assert "4 of 4 maps show none (no evidence): there is nothing to judge" in evidence.verdicts[0].sentence
    # One reason is told once, however many measures it is common to.
    assert evidence._repr_html_().count("map without evidence (4 images)") == 1


def test_names_of_patients_are_never_read_as_html(study, make_model) -> None:
    model, cohort = study
    maps = {"<b>mine</b>": wb.explain(model, cohort, target="yes")}
    html = wb.explain.trust(model, maps, parts=["shares"])._repr_html_()
    assert "<b>mine</b>" not in html
    assert "&lt;b&gt;mine" in html


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"parts": ["sanitty"]}, "part 'sanitty' is unknown; did you mean 'sanity'"),
        ({"parts": {"sanity": {"stage": 3}}}, "sanity setting 'stage' is unknown; did you mean 'stages'"),
        ({"by": ["sexx"]}, "attribute 'sexx' is unknown; did you mean 'sex'"),
        ({"masks": ["leison"], "parts": ["localisation"]}, "did you mean 'lesion'"),
    ],
)
def test_what_is_misspelt_is_named(asked: dict, said: str, study) -> None:
    model, cohort = study
    with pytest.raises(InputError, match=said):
        wb.explain.trust(model, wb.explain(model, cohort, target="yes"), **asked)


def test_without_masks_what_needs_them_is_left_out(study, make_cohort) -> None:
    model, cohort = study
    bare = make_cohort(np.stack([cohort.image(image_id) for image_id in cohort.ids]))
    maps = wb.explain(model, bare, target="yes")
    evidence = wb.explain.trust(model, maps, by=[], parts={"faithfulness": {"steps": 2}, "stability": {}})
    assert set(evidence.table["part"]) == {"faithfulness", "stability"}
    boxes = {image_id: (2, 2, 8, 8) for image_id in bare.ids}
    pointed = wb.explain.trust(model, maps, by=[], boxes=boxes, parts=["localisation"])
    assert pointed.table["n"].max() == 24


def test_maps_without_evidence_are_told_first(study, make_model) -> None:
    net = Bright()
    net.head.weight.data[0] = 0
    model, cohort = make_model(net), study[1]
    maps = wb.explain(model, cohort, "gradcam", target="no")
    evidence = wb.explain.trust(model, maps, by=[], parts=["shares"])
    assert evidence.verdicts[0].question == "every map has evidence"
    assert evidence.verdicts[0].answer == "no"
    assert evidence.left_out["images"].max() == 24


# ---- phantoms, whose answers are known


@pytest.fixture(scope="module")
def phantom_models() -> dict[str, tuple[wb.Model, wb.Cohort]]:
    """Two networks: one had only lesions to learn from, the other a marker that gives the label away."""
    found = {}
    for name, knobs in (("honest", {}), ("shortcut", {"shortcut": 0.95, "disadvantage": 0.6})):
        cohort = wb.load("phantom-mammography", n=600, shape=(128, 96), seed=7, **knobs)
        train, tune, test = cohort.split(by="patient", seed=7)
        found[name] = (wb.train(train, tune, seed=7), test.where("label == 'cancer'"))
    return found


@pytest.mark.slow
def test_a_model_that_uses_the_marker_is_caught_and_one_that_uses_the_lesion_passes(phantom_models) -> None:
    answers = {}
    for name, (model, cancers) in phantom_models.items():
        maps = wb.explain(model, cancers, "gradcam", target="cancer")
        evidence = wb.explain.trust(model, maps, parts={"sanity": {}, "localisation": {}, "shares": {}})
        answers[name] = {one.question: one.answer for one in evidence.verdicts}
    assert answers["shortcut"]["free of marker"] == "no"
    assert answers["honest"]["free of marker"] == "yes"
    assert answers["honest"]["points at lesion"] == "yes"
    assert answers["shortcut"]["points at lesion"] != "yes"
    assert {answers[name]["depends on the model"] for name in answers} == {"yes"}


@pytest.mark.slow
def test_guided_backprop_fails_the_sanity_check(phantom_models) -> None:
    model, cancers = phantom_models["honest"]
    with pytest.warns(EvidenceWarning, match="guided"):
        maps = wb.explain(model, cancers, "guided-backprop", target="cancer")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        evidence = wb.explain.trust(model, maps, parts=["sanity"], by=[])
    assert evidence.verdict("depends on the model").answer == "no"


@pytest.mark.slow
def test_random_maps_score_at_chance(phantom_models) -> None:
    model, cancers = phantom_models["honest"]

    @wb.explain.register("dice")
    def dice(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        # Drawn from the image, so that the same image gets the same map.
        seeds = [int(image.double().sum().abs() * 1e4) for image in images]
        return torch.stack([torch.rand(image.shape[1:], generator=torch.Generator().manual_seed(s)) for image, s in zip(images, seeds, strict=True)])  # fmt: skip

    try:
        maps = wb.explain(model, cancers, "dice", target="cancer")
        evidence = wb.explain.trust(model, maps, parts=["faithfulness", "localisation", "shares"], by=[])
    finally:
        del methods._registered["dice"]
    table = evidence.table.set_index(["measure", "control"])
    for measure, control in (
        ("deletion area", "random order"), ("insertion area", "random order"), ("mass inside: lesion", "even map"),
        ("rank accuracy: lesion", "even map"), ("density: lesion", "even map"),
    ):  # fmt: skip
        row = table.loc[(measure, control)]
        assert row["gain_low"] < 0 < row["gain_high"], measure

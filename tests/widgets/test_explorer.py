"""The explorer's Python side: traits, questions and answers, and the picture that stays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import traitlets

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.errors import InputError
from workbench.explain.attributions import Attributions
from workbench.predictions import Predictions
from workbench.provenance import Provenance
from workbench.widgets.explorer import Explorer, gallery_columns
from workbench.widgets.planes import FULL, heat_plane, image_plane, mask_plane

CLASSES = ("healthy", "mass")


def predictions(scores: np.ndarray, labels: list[str], classes: tuple[str, ...] = CLASSES) -> Predictions:
    table = pd.DataFrame(
        {"patient": "P", "label": labels}, index=pd.Index([f"i{k}" for k in range(len(labels))], name="id")
    )
    table = table.assign(**{f"score:{name}": scores[:, k] for k, name in enumerate(classes)})
    return Predictions(table, classes, (), Provenance("predict", {}, "0" * 64))


class Reader:
    classes = CLASSES

    def predict(self, cohort: Cohort) -> Predictions:
        return predictions(np.array([[0.2, 0.8], [0.9, 0.1]]), list(cohort.table["label"]))


@pytest.fixture
def widget(monkeypatch: pytest.MonkeyPatch) -> Explorer:
    table = pd.DataFrame({"patient": ["P", "P"], "label": ["mass", "mass"]}, index=pd.Index(["i0", "i1"], name="id"))
    images = np.arange(2 * 8 * 6, dtype=np.uint16).reshape(2, 1, 8, 6)
    lesion = np.zeros((2, 1, 8, 6), bool)
    lesion[0, 0, 2:4, 2:4] = True
    pixels = ArrayPixels.of(images, ["i0", "i1"])
    cohort = Cohort(table, CLASSES, (), pixels, {"lesion": ArrayPixels.of(lesion, ["i0", "i1"])})

    def explain(model: object, part: Cohort, method: str, *, target: str, **settings: object) -> Attributions:
        asked.append((part.ids, method, target, sorted(settings)))
        heat = np.linspace(-1, 1, 48, dtype=np.float32).reshape(1, 8, 6)
        return Attributions(heat, tuple(part.ids), method, {}, np.array([1]), CLASSES, np.array([2.0]), part.table)

    asked: list[object] = []
    monkeypatch.setattr("workbench.explain.attribute.explain", explain)
    made = Explorer(Reader(), cohort)  # type: ignore[arg-type]  # all the explorer needs of a model
    made.asked, made.told = asked, []
    made.send = lambda content, buffers=None: made.told.append((content, buffers or []))
    return made


def test_outcomes_of_two_classes_are_named_as_a_reader_names_them() -> None:
    scores = np.array([[0.1, 0.9], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])
    columns = gallery_columns(predictions(scores, ["mass", "mass", "healthy", "healthy"]))
    assert columns["outcome"] == ["true positive", "false negative", "false positive", "true negative"]
    assert columns["truth_score"] == [0.9, 0.1, 0.2, 0.7]


def test_outcomes_of_three_classes_are_right_or_wrong() -> None:
    scores = np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
    columns = gallery_columns(predictions(scores, ["c", "b"], ("a", "b", "c")))
    assert (columns["outcome"], columns["score"]) == (["right", "wrong"], [0.7, 0.5])


@pytest.mark.parametrize(
    ("trait", "value", "hint"),
    [
        ("method", "shapp", "'shap'"),
        ("target", "mas", "'mass'"),
        ("selected", "i9", "i0"),
        ("outline", "lesions", "'lesion'"),
    ],
)
def test_a_misspelt_choice_is_refused_with_the_nearest(widget: Explorer, trait: str, value: str, hint: str) -> None:
    with pytest.raises(InputError, match="is unknown") as refusal:
        setattr(widget, trait, value)
    assert hint in str(refusal.value)


def test_opacity_outside_its_range_is_refused(widget: Explorer) -> None:
    with pytest.raises(traitlets.TraitError):
        widget.opacity = 1.5


def test_a_map_is_computed_once_and_with_a_reference_where_the_method_compares(widget: Explorer) -> None:
    for method in ("gradcam", "gradcam", "shap"):
        widget.map("i0", method, "mass")
    assert widget.asked == [(["i0"], "gradcam", "mass", []), (["i0"], "shap", "mass", ["background"])]


def test_a_question_is_answered_with_the_planes_as_bytes(widget: Explorer) -> None:
    widget._handle_custom_msg({"ask": "image", "id": "i1", "key": "k"}, [])
    widget._handle_custom_msg({"ask": "map", "id": "i1", "method": "gradcam", "target": "mass", "key": "k"}, [])
    widget._handle_custom_msg({"ask": "mask", "id": "i1", "name": "lesion", "key": "k"}, [])
    (image, planes), (heat, maps), (mask, none) = widget.told
    assert (image["scores"], len(planes[0]), image["shape"]) == ([0.9, 0.1], 96, [1, 8, 6, 1])
    assert (heat["signed"], heat["explains"], len(maps[0])) == (True, "mass", 96)
    assert (mask["empty"], none) == (True, [])


def test_what_goes_wrong_is_told_in_a_sentence(widget: Explorer) -> None:
    widget._handle_custom_msg({"ask": "map", "id": "i1", "method": "gradcamm", "target": "mass", "key": "k"}, [])
    content, _ = widget.told[0]
    assert (content["tell"], content["of"]) == ("error", "map")
    assert "did you mean 'gradcam'?" in content["text"]


def test_a_picture_stays_where_no_kernel_lives(widget: Explorer) -> None:
    bundle, _ = widget._repr_mimebundle_()
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert "i0" in bundle["text/plain"]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_stored_values_come_back_from_the_codes(dtype: str) -> None:
    image = (np.random.default_rng(0).normal(100, 30, (1, 9, 7))).astype(dtype)
    record, plane = image_plane(image)
    codes = np.frombuffer(plane, np.uint8 if record["bits"] == 8 else "<u2").reshape(9, 7)
    step = record["scale"] if dtype == "float32" else 1e-9
    assert np.abs(record["offset"] + record["scale"] * codes - image[0]).max() <= step


def test_a_map_comes_back_to_a_thousandth_of_its_limit() -> None:
    heat = np.random.default_rng(0).normal(0, 1e-5, (9, 7)).astype(np.float32)
    record, plane = heat_plane(heat)
    back = np.frombuffer(plane, "<i2").reshape(9, 7) / FULL * record["limit"]
    assert np.abs(back - heat.clip(-record["limit"], record["limit"])).max() <= record["limit"] / 1000


def test_a_huge_image_and_its_mask_are_sent_on_one_smaller_grid() -> None:
    record, plane = image_plane(np.zeros((1, 5000, 4000), np.uint8))
    assert record["reduced"]
    assert len(plane) == len(mask_plane(np.ones((5000, 4000), bool))) <= 8_010_000

"""What can be explained: classes, margins, outputs of any head, and a segmentation summed over a region."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import EvidenceWarning, InputError
from workbench.explain.attribute import explain
from workbench.explain.carry import on_input
from workbench.explain.methods import register
from workbench.explain.target import Margin, Over
from workbench.imaging.preprocess import Preprocessing


@pytest.fixture(autouse=True, scope="module")
def _plain_gradient():
    from workbench.explain import methods

    @register("plain-gradient")
    def gradient(network: nn.Module, images: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        images = images.clone().requires_grad_()
        return torch.autograd.grad(network(images).gather(1, target[:, None]).sum(), images)[0]

    yield
    del methods._registered["plain-gradient"]


def network(outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs))


def segmenter(outputs: int = 3, stride: int = 1, axes: int = 2) -> nn.Sequential:
    torch.manual_seed(1)
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    return nn.Sequential(conv(1, 4, 3, stride, 1), nn.Tanh(), conv(4, outputs, 3, 1, 1))


CLASSES = ("no", "yes", "unsure")
FAST = {"method": "plain-gradient"}


def test_a_margin_is_the_difference_of_its_classes(make_model, make_cohort) -> None:
    model, cohort = make_model(network(), CLASSES), make_cohort(4)
    one, other = (explain(model, cohort, target=name, **FAST) for name in ("unsure", "no"))
    margin = explain(model, cohort, target=Margin("unsure", "no"), **FAST)
    assert np.allclose(margin.maps, one.maps - other.maps, atol=1e-6)
    assert np.allclose(margin.scores, one.scores - other.scores, atol=1e-6)
    assert margin.explained == "logit of the class less that of no"


def test_a_margin_of_the_predicted_over_the_true_class_is_nothing_where_they_agree(make_model, make_cohort) -> None:
    model, cohort = make_model(network(), CLASSES), make_cohort(8)
    model.network[4].bias.data = torch.tensor([0.0, 0.05, -5.0])
    predicted = explain(model, cohort, **FAST).targets
    margin = explain(model, cohort, target=Margin("predicted", "true"), **FAST)
    agree = predicted == cohort.labels
    assert 0 < agree.sum() < 8
    assert [flag == "no evidence" for flag in margin.flags] == agree.tolist()
    assert (margin.scores[~agree] > 0).all()


@pytest.mark.parametrize("method", ["plain-gradient", "shap"])
def test_several_targets_are_answered_as_one_by_one(method: str, make_model, make_cohort) -> None:
    model, cohort = make_model(network(), CLASSES), make_cohort(4)
    asked = ["yes", 2, "predicted", Margin("yes", "no")]
    together = explain(model, cohort, method, target=asked)
    assert list(together) == ["yes", "unsure", "predicted", "yes rather than no"]
    for target, maps in zip(asked, together.values(), strict=True):
        alone = explain(model, cohort, method, target=target)
        assert np.allclose(maps.maps, alone.maps, atol=1e-6)
        assert maps.targets.tolist() == alone.targets.tolist()


def test_each_asks_for_every_class(make_model, make_cohort) -> None:
    every = explain(make_model(network(), CLASSES), make_cohort(4), target="each", **FAST)
    assert list(every) == list(CLASSES)
    assert [maps.targets.tolist() for maps in every.values()] == [[k] * 4 for k in range(3)]


def test_a_regression_is_explained_in_its_own_unit(make_model, make_cohort) -> None:
    cohort, net = make_cohort(4), network(1)
    model = make_model(net, ("months",), task="regression")
    maps = explain(model, cohort, **FAST)
    assert np.allclose(maps.scores, net(model.inputs(cohort)).detach().numpy()[:, 0], atol=1e-6)
    assert (maps.explained, maps.target_names) == ("output", ["months"] * 4)
    with pytest.raises(InputError, match="'true' has no one meaning for regression"):
        explain(model, cohort, target="true", **FAST)
    with pytest.raises(InputError, match="a model for regression"):
        model.predict(cohort)


def test_a_multi_label_head_is_asked_for_one_output(make_model, make_cohort) -> None:
    model = make_model(network(), ("mass", "nodule", "effusion"), task="multilabel")
    assert explain(model, make_cohort(4), target="nodule", **FAST).target_names == ["nodule"] * 4
    with pytest.raises(
        InputError, match="'predicted' has no one meaning for multilabel; name one of its outputs: mass"
    ):
        explain(model, make_cohort(4), **FAST)


@pytest.mark.parametrize(("shape", "box"), [((1, 16, 12), (2, 3, 9, 8)), ((1, 6, 8, 10), (1, 2, 3, 4, 6, 9))])
def test_a_segmentation_is_summed_over_a_box_a_mask_or_its_own_prediction(shape, box, make_model, make_cohort) -> None:
    net, axes = segmenter(axes=len(shape) - 1), len(shape) - 1
    inside = np.zeros((3, *shape), bool)
    inside[(slice(None), slice(None), *(slice(a, b) for a, b in zip(box[:axes], box[axes:], strict=True)))] = True
    cohort = make_cohort(3, shape=shape, masks={"lesion": inside})
    model = make_model(net, CLASSES, task="segmentation")
    logits = net(model.inputs(cohort)).detach()
    by_box, by_mask = (
        explain(model, cohort, target=Over("yes", **how), **FAST) for how in ({"box": box}, {"mask": "lesion"})
    )
    assert np.allclose(by_box.maps, by_mask.maps)
    assert np.allclose(by_box.scores, (logits[:, 1] * torch.from_numpy(inside[:, 0])).flatten(1).sum(1), rtol=1e-4)
    own = explain(model, cohort, target="yes", **FAST)
    expected = (logits[:, 1] * (logits.argmax(1) == 1)).flatten(1).sum(1)
    assert np.allclose(own.scores, expected, rtol=1e-4)
    assert own.explained == "logit of the class, summed over its own prediction"


def test_a_region_is_fixed_while_the_image_is_changed(make_model, make_cohort) -> None:
    """Expected gradients look at mixtures of images, whose own predictions lie elsewhere."""
    model, cohort = make_model(segmenter(), CLASSES, task="segmentation"), make_cohort(6, shape=(1, 12, 12))
    maps = explain(model, cohort, "shap", target="unsure", samples=200)
    gap = maps.to_frame()["completeness_gap"].abs().max()
    assert gap < 0.2 * np.abs(maps.scores).max()


def test_a_prediction_that_is_empty_leaves_no_evidence(make_model, make_cohort) -> None:
    net = segmenter()
    net[2].bias.data[2] = -100
    maps = explain(make_model(net, CLASSES, task="segmentation"), make_cohort(2), target="unsure", **FAST)
    assert maps.flags == ("no evidence", "no evidence")


def test_a_coarser_output_takes_the_region_along(make_model, make_cohort) -> None:
    model = make_model(segmenter(stride=2), CLASSES, task="segmentation")
    maps = explain(model, make_cohort(2, shape=(1, 16, 16)), target=Over("yes", box=(0, 0, 8, 8)), **FAST)
    assert (maps.maps[:, :8, :8] != 0).any()
    assert (maps.maps[:, 10:, 10:] == 0).all()


def test_a_single_logit_segmentation_speaks_for_its_second_class(make_model, make_cohort) -> None:
    net, cohort = segmenter(1), make_cohort(2)
    model = make_model(net, task="segmentation")
    maps = explain(model, cohort, target="yes", **FAST)
    logits = net(model.inputs(cohort)).detach()[:, 0]
    assert np.allclose(maps.scores, (logits * (logits > 0)).flatten(1).sum(1), rtol=1e-4)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Over("yes", mask="leison"), "mask 'leison' is unknown; did you mean 'lesion'"),
        (Over("yes", box=(0, 0, 40, 8)), "box .* does not lie in image 'i0' of 32 × 32"),
        (Over("yes", box=(4, 4, 2, 8)), "does not lie in image"),
        (Over("yes", box=(4, 4, 8)), "needs 4 whole numbers"),
        (Over("yess"), "target 'yess' is unknown; did you mean 'yes'"),
        (Over("yes", mask="lesion", box=(0, 0, 2, 2)), "not both"),
        (Margin("yes", "no"), "a margin is of a classifier"),
        ("predicted", "'predicted' has no one meaning for segmentation"),
        ([], "empty list"),
        (["yes", "yes"], "twice"),
    ],
)
def test_a_target_that_makes_no_sense_of_a_segmentation_is_refused(target, said, make_model, make_cohort) -> None:
    model = make_model(segmenter(), CLASSES, task="segmentation")
    with pytest.raises(InputError, match=said):
        explain(model, make_cohort(2, masks={"lesion": np.ones((2, 1, 32, 32), bool)}), target=target, **FAST)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Over("yes"), "sums a segmentation"),
        (Margin("yes", "yes"), "less itself"),
        (Margin("yes", "nö"), "unknown"),
        ({"class": "yes"}, "target of type dict names no class"),
        (np.array([0, 1]), "target of type ndarray names no class"),
        (None, "target of type NoneType names no class"),
        (7, r"target 7 is outside 0–2; the model's classes are 0 \(no\)"),
    ],
)
def test_a_target_that_makes_no_sense_of_a_classifier_is_refused(target, said, make_model, make_cohort) -> None:
    with pytest.raises(InputError, match=said):
        explain(make_model(network(), CLASSES), make_cohort(2), target=target, **FAST)


@pytest.mark.parametrize("box", [(0, 0, 8.5, 8), "whole", ("a", "b"), 4.5])
def test_a_box_that_is_no_whole_numbers_is_refused(box) -> None:
    with pytest.raises(InputError, match="must be whole numbers"):
        Over("yes", box=box)


def test_a_network_that_ends_in_a_softmax_is_flagged_where_it_has_nothing_left_to_say(make_model, make_cohort) -> None:
    net = network(2)
    net[4].weight.data *= 1e4
    with pytest.warns(EvidenceWarning, match="seems to end in a softmax or sigmoid"):
        maps = explain(make_model(nn.Sequential(net, nn.Softmax(1))), make_cohort(4), **FAST)
    assert maps.flags == ("saturated",) * 4
    assert "saturated" not in explain(make_model(net), make_cohort(4), **FAST).flags


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (lambda network, images, target: "map", "gave a str"),
        (lambda network, images, target: images[:, :, :-1], r"gave maps of shape .* it must give \(2, 32, 32\)"),
        (lambda network, images, target: images * torch.nan, "gave NaN or infinity for image 'i0'"),
    ],
)
def test_a_function_of_ones_own_that_gives_something_else_is_named(asked, said, make_model, make_cohort) -> None:
    from workbench.explain import methods

    register("odd")(asked)
    try:
        with pytest.raises(InputError, match=f"method 'odd' {said}"):
            explain(make_model(network(), CLASSES), make_cohort(2), "odd")
    finally:
        del methods._registered["odd"]


def test_a_small_mask_does_not_vanish_on_a_coarse_input(make_model) -> None:
    mask = np.zeros((64, 64), bool)
    mask[40, 21] = True
    model = make_model(network(), CLASSES, preprocessing=Preprocessing(shape=(8, 16)))
    carried = on_input(mask, model, (8, 16), "i0")
    assert np.argwhere(carried).tolist() == [[5, 6]]


def test_a_mask_on_another_grid_is_refused_where_nobody_knows_the_way(make_model) -> None:
    model = make_model(network(), CLASSES, preprocessing=lambda image: image[:, ::2, ::2])
    with pytest.raises(InputError, match=r"its mask of .* does not lie on the input's grid"):
        on_input(np.ones((64, 64), bool), model, (32, 32), "i7")

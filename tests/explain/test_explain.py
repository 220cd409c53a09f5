"""The verb: names, targets, kinds of network, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import workbench
from workbench.errors import InputError
from workbench.explain.attribute import explain


def network(outputs: int = 2) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, outputs))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"method": "grad-cam"}, "did you mean 'gradcam'"),
        ({"method": "expected_gradient"}, "did you mean 'expected-gradients'"),
        ({"laier": "0"}, "gradcam setting 'laier' is unknown; did you mean 'layer'"),
        ({"samples": 3}, "gradcam setting 'samples' is unknown"),
        ({"method": "shap", "layer": "0"}, "shap setting 'layer' is unknown"),
        ({"target": "yess"}, "did you mean 'yes'"),
        ({"target": 2}, r"target 2 is outside 0–1; the model's classes are 0 \(no\), 1 \(yes\)"),
        ({"target": -1}, "outside"),
        ({"layer": "1x"}, "layer '1x' is unknown"),
        ({"layer": "3"}, "more than one position"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"method": "shap", "samples": 1}, "samples 1"),
        ({"method": "shap", "background_size": 0}, "background_size 0"),
    ],
)
def test_what_cannot_be_asked_is_named_with_the_mend(asked: dict, said: str, make_model, make_cohort) -> None:
    with pytest.raises(InputError, match=said):
        explain(make_model(network()), make_cohort(4), **asked)


@pytest.mark.parametrize("method", ["gradcam", "shap"])
def test_an_image_with_nan_is_named(method: str, make_model, make_cohort) -> None:
    images = np.ones((4, 1, 16, 16), np.float32)
    images[2, 0, 3, 3] = np.nan
    with pytest.raises(InputError, match="image 'i2' holds NaN"):
        explain(make_model(network()), make_cohort(images), method)


def test_a_diverged_network_is_named_by_its_weight(make_model, make_cohort) -> None:
    net = network()
    net[4].weight.data[0, 0] = torch.nan
    with pytest.raises(InputError, match=r"weight '4.weight' holds NaN"):
        explain(make_model(net), make_cohort(4))


def test_an_output_that_is_not_one_logit_a_class_is_refused(make_model, make_cohort) -> None:
    with pytest.raises(InputError, match=r"returned \(4, 3\) for 4 images"):
        explain(make_model(network(3)), make_cohort(4))


def test_each_image_is_explained_for_its_own_class(make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(6)
    logits = model.network(model.inputs(cohort)).detach().numpy()
    predicted, true = explain(model, cohort), explain(model, cohort, target="true")
    assert predicted.targets.tolist() == logits.argmax(1).tolist()
    assert true.targets.tolist() == cohort.labels.tolist()
    assert np.allclose(true.scores, logits[np.arange(6), cohort.labels], atol=1e-6)
    for row, label in enumerate(cohort.labels):
        assert np.array_equal(true.maps[row], explain(model, cohort, target=int(label)).maps[row])


def test_true_classes_are_matched_by_name_not_by_position(make_model, make_cohort) -> None:
    cohort = make_cohort(4)
    assert explain(make_model(network(), ("yes", "no")), cohort, target="true").targets.tolist() == [1, 0, 1, 0]
    with pytest.raises(InputError, match="target 'no' is unknown"):
        explain(make_model(network(), ("benign", "yes")), cohort, target="true")


@pytest.mark.parametrize("flat", [True, False])
def test_a_single_logit_speaks_for_the_last_class_and_against_the_first(flat: bool, make_model, make_cohort) -> None:
    net = network(1)
    net = nn.Sequential(*net, nn.Flatten(0)) if flat else net
    model, cohort = make_model(net), make_cohort(4)
    yes = explain(model, cohort, "shap", target="yes", samples=4)
    no = explain(model, cohort, "shap", target="no", samples=4)
    assert np.allclose(yes.maps, -no.maps)
    assert np.allclose(yes.scores, net(model.inputs(cohort)).detach().flatten(), atol=1e-6)


@pytest.mark.parametrize(("method", "settings"), [("gradcam", {}), ("shap", {"samples": 2})])
def test_volumes_are_explained(method: str, settings: dict, make_model, make_cohort) -> None:
    net = nn.Sequential(nn.Conv3d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(3, 2))
    cohort = make_cohort(4, shape=(1, 6, 8, 10))
    assert explain(make_model(net), cohort, method, **settings).maps.shape == (4, 6, 8, 10)


def test_the_answer_carries_the_cohorts_rows_and_the_way_back(make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(4)
    maps = workbench.explain(model, cohort)
    assert maps.ids == tuple(cohort.ids)
    assert maps.to_frame()["sex"].isna().tolist() == [False, True, False, True]
    assert maps.settings == {"target": "predicted", "layer": "1"}
    assert maps.provenance.parents == {"model": model.provenance, "cohort": cohort.provenance}


def test_the_same_question_gets_the_same_answer_to_the_last_digit(make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(4)
    first, second = (explain(model, cohort, "shap", samples=8, seed=3) for _ in range(2))
    assert first.provenance.to_json() == second.provenance.to_json()
    assert np.array_equal(first.maps, second.maps)


def test_a_number_from_numpy_is_a_number(make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(2)
    given = explain(model, cohort, "smoothgrad", samples=np.int64(3), noise=np.float32(0.25), batch_size=np.int64(2))
    plain = explain(model, cohort, "smoothgrad", samples=3, noise=0.25, batch_size=2)
    assert given.settings == plain.settings
    assert np.array_equal(given.maps, plain.maps)

"""The model: wrapped, asked, saved and read again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import FileError, InputError
from workbench.imaging.preprocess import Preprocessing
from workbench.models.model import Model, weights_digest
from workbench.models.networks import NETWORKS, build_network, rebuild_network

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from workbench.cohorts.cohort import Cohort

CLASSES = ("healthy", "cancer")


def small(outputs: int = 2) -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, outputs),
    )


def halved(image: np.ndarray) -> np.ndarray:
    return image[:, ::2, ::2]


@pytest.fixture
def cohort(make_cohort: Callable[..., Cohort]) -> Cohort:
    return make_cohort(10)


@pytest.fixture
def model() -> Model:
    return Model.wrap(small(), classes=CLASSES, preprocessing=Preprocessing((32, 32)))


def test_a_wrapped_network_predicts_what_the_bare_network_gives(cohort: Cohort) -> None:
    network = small()
    scores = Model.wrap(network, classes=CLASSES).predict(cohort).scores
    with torch.no_grad():
        expected = network.eval()(torch.from_numpy(cohort.images())).softmax(1).numpy()
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_predictions_keep_the_cohorts_order_labels_and_patients(model: Model, cohort: Cohort) -> None:
    turned = cohort.subset(cohort.ids[::-1])
    predictions, straight = model.predict(turned, batch_size=3), model.predict(cohort, batch_size=3)
    assert list(predictions.table.index) == cohort.ids[::-1]
    assert list(predictions.patients) == list(turned.patients)
    np.testing.assert_array_equal(predictions.labels, turned.labels)
    np.testing.assert_allclose(predictions.scores, straight.scores[::-1], atol=1e-6)


def test_probabilities_sum_to_one(model: Model, cohort: Cohort) -> None:
    scores = model.predict(cohort).scores
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_scores_do_not_depend_on_the_batch_size(model: Model, cohort: Cohort, batch_size: int) -> None:
    np.testing.assert_allclose(
        model.predict(cohort, batch_size=batch_size).scores, model.predict(cohort).scores, rtol=0, atol=1e-6
    )


def test_own_preprocessing_function_is_used(cohort: Cohort) -> None:
    model = Model.wrap(small(), classes=CLASSES, preprocessing=halved)
    np.testing.assert_array_equal(model.inputs(cohort).numpy(), cohort.images()[:, :, ::2, ::2])


def test_inputs_come_in_the_order_of_the_ids_asked_for(model: Model, cohort: Cohort) -> None:
    wanted = [cohort.ids[7], cohort.ids[2]]
    np.testing.assert_array_equal(model.inputs(cohort, wanted).numpy(), model.inputs(cohort).numpy()[[7, 2]])


def test_single_logit_is_the_positive_classs_log_odds(cohort: Cohort) -> None:
    network = small(1)
    scores = Model.wrap(network, classes=CLASSES).predict(cohort).scores
    with torch.no_grad():
        positive = network.eval()(torch.from_numpy(cohort.images())).sigmoid().numpy()[:, 0]
    np.testing.assert_allclose(scores, np.column_stack([1 - positive, positive]), atol=1e-6)


def test_network_with_another_number_of_logits_than_classes_is_refused(cohort: Cohort) -> None:
    with pytest.raises(InputError, match=r"shape \(10, 3\) for 2 classes \(healthy, cancer\).*\(n, 2\)"):
        Model.wrap(small(3), classes=CLASSES).predict(cohort)


@pytest.mark.parametrize("classes", [["cancer"], ["cancer", "cancer"]])
def test_classes_must_be_two_different_names(classes: list[str]) -> None:
    with pytest.raises(InputError, match="two or more different names"):
        Model.wrap(small(), classes=classes)


def test_every_part_of_the_network_gets_its_mode_back(model: Model, cohort: Cohort) -> None:
    model.network.train()
    model.network[1].eval()
    before = {name: part.training for name, part in model.network.named_modules()}
    digest = weights_digest(model.network)
    model.predict(cohort)
    assert {name: part.training for name, part in model.network.named_modules()} == before
    assert weights_digest(model.network) == digest


def test_class_the_model_does_not_know_is_named(model: Model, make_cohort: Callable[..., Cohort]) -> None:
    with pytest.raises(InputError, match=r"class 'benign' is unknown to the model, which tells healthy, cancer apart"):
        model.predict(make_cohort(9, classes=("healthy", "benign", "cancer")))


def test_the_same_classes_in_another_order_are_refused(model: Model, make_cohort: Callable[..., Cohort]) -> None:
    turned = Model.wrap(model.network, classes=CLASSES[::-1], preprocessing=model.preprocessing)
    with pytest.raises(InputError, match="the last one counts as positive"):
        turned.predict(make_cohort())


def test_a_batch_of_no_images_is_refused(model: Model, cohort: Cohort) -> None:
    with pytest.raises(InputError, match="batch_size is 0"):
        model.predict(cohort, batch_size=0)


def test_what_an_own_preprocessing_raises_names_the_image(cohort: Cohort) -> None:
    own = Model.wrap(small(), classes=CLASSES, preprocessing=lambda image: image.no_such_method())
    with pytest.raises(AttributeError) as raised:
        own.predict(cohort)
    assert repr(cohort.ids[0]) in raised.value.__notes__[0]


def test_image_of_another_size_than_the_network_takes_is_named_with_the_mend(
    make_cohort: Callable[..., Cohort],
) -> None:
    model = Model.wrap(small(), classes=CLASSES, input_shape=(1, 32, 32))
    with pytest.raises(
        InputError, match=r"'i000'.*\(1, 24, 20\).*takes \(1, 32, 32\).*wb\.Preprocessing\(shape=\(32, 32\)"
    ):
        model.predict(make_cohort(4, shape=(24, 20)))


def test_network_that_fails_on_a_size_nobody_declared_says_so(make_cohort: Callable[..., Cohort]) -> None:
    model = Model.wrap(nn.Sequential(nn.Flatten(), nn.Linear(32 * 32, 2)), classes=CLASSES)
    with pytest.raises(InputError, match=r"\(1, 24, 20\) \(from image 'i000' on\): mat1.*preprocessing="):
        model.predict(make_cohort(4, shape=(24, 20)))


@pytest.mark.parametrize("recipe", [None, Preprocessing((32, 32))])
def test_image_with_a_nan_is_named(recipe: Preprocessing | None, make_cohort: Callable[..., Cohort]) -> None:
    images = np.random.default_rng(1).normal(size=(4, 32, 32)).astype(np.float32)
    images[2, 5, 5] = np.nan
    with pytest.raises(InputError, match=r"'i002'.*NaN"):
        Model.wrap(small(), classes=CLASSES, preprocessing=recipe).predict(make_cohort(4, images=images))


def test_network_that_returns_a_tuple_is_refused(cohort: Cohort) -> None:
    class Talkative(nn.Module):
        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return images, images

    with pytest.raises(InputError, match=r"returns a tuple; wrap it"):
        Model.wrap(Talkative(), classes=CLASSES).predict(cohort)


def test_no_ids_are_refused(model: Model, cohort: Cohort) -> None:
    with pytest.raises(InputError, match="list of ids is empty"):
        model.inputs(cohort, [])


def test_saved_wrapped_model_predicts_the_same_bits(model: Model, cohort: Cohort, tmp_path: Path) -> None:
    again = Model.load(model.save(tmp_path / "model"), network=small().apply(spoil))
    np.testing.assert_array_equal(again.predict(cohort).scores, model.predict(cohort).scores)
    assert again.provenance.to_json() == model.provenance.to_json()
    assert (again.preprocessing, again.classes, again.input_shape) == (
        model.preprocessing, model.classes, model.input_shape
    )  # fmt: skip


def spoil(part: nn.Module) -> None:
    for value in part.parameters(recurse=False):
        value.data.zero_()


@pytest.mark.parametrize("name", ["compact", "resnet10"])
def test_named_network_is_rebuilt_from_its_record(name: str, cohort: Cohort, tmp_path: Path) -> None:
    architecture = {"name": name, "channels": 1, "classes": 2, "dimensions": 2}
    wrapped = Model.wrap(rebuild_network(architecture), classes=CLASSES)
    model = Model(wrapped.network, CLASSES, None, (1, 32, 32), architecture, {"network": name}, wrapped.provenance)
    again = Model.load(model.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict(cohort).scores, model.predict(cohort).scores)
    assert not again.network.training


def test_wrapped_model_is_not_loaded_without_its_network(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    with pytest.raises(InputError, match=r"your own Sequential: give the network, .*network="):
        Model.load(tmp_path / "model")


def test_own_preprocessing_must_be_given_again(tmp_path: Path, cohort: Cohort) -> None:
    model = Model.wrap(small(), classes=CLASSES, preprocessing=halved)
    model.save(tmp_path / "model")
    with pytest.raises(InputError, match="preprocessing="):
        Model.load(tmp_path / "model", network=small())
    again = Model.load(tmp_path / "model", network=small(), preprocessing=halved)
    np.testing.assert_array_equal(again.predict(cohort).scores, model.predict(cohort).scores)


def test_weights_of_another_network_are_refused(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    with pytest.raises(FileError, match="do not fit the network given"):
        Model.load(tmp_path / "model", network=small(3))


@pytest.mark.parametrize("name", ["weights.safetensors", "model.json"])
def test_one_changed_byte_is_noticed(model: Model, tmp_path: Path, name: str) -> None:
    file = model.save(tmp_path / "model") / name
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(FileError, match=rf"{name} has changed"):
        Model.load(tmp_path / "model", network=small())


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("zipped", [True, False])
def test_pickled_weights_are_refused_and_never_run(tmp_path: Path, zipped: bool) -> None:
    file, proof = tmp_path / "weights.pt", tmp_path / "ran"
    torch.save(Payload(proof), file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(FileError, match=r"is a pickle.*weights_only=True.*wb\.Model\.wrap"):
        Model.load(file, network=small())
    assert not proof.exists()
    torch.load(file, weights_only=False)
    assert proof.is_dir(), "the payload must be a real one"


def test_misspelt_network_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'densnet121' is unknown; did you mean 'densenet121'\?"):
        build_network("densnet121", channels=1, classes=2, dimensions=2)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_one_logit_a_class(name: str) -> None:
    network = build_network(name, channels=3, classes=5, dimensions=2).eval()
    with torch.inference_mode():
        assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 5)


def test_class_names_reach_html_escaped() -> None:
    html = Model.wrap(small(), classes=["<script>alert(1)</script>", "b"])._repr_html_()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_repr_names_network_parameters_and_classes(model: Model) -> None:
    assert repr(model) == "Model(Sequential, 82 parameters, input 1 × 32 × 32, classes healthy, cancer)"

"""Training: the same seed gives the same weights, and what cannot be trained is refused by name."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import workbench as wb
from workbench.errors import InputError
from workbench.imaging.preprocess import Preprocessing
from workbench.models import train as module
from workbench.models.model import weights_digest
from workbench.models.train import auroc

if TYPE_CHECKING:
    from collections.abc import Callable

    from workbench.cohorts.cohort import Cohort
    from workbench.models.model import Model

SMALL = {"preprocessing": Preprocessing((32, 32)), "network": "resnet10", "epochs": 2, "batch_size": 8}


@pytest.fixture(scope="session")
def parts(make_cohort: Callable[..., Cohort]) -> tuple[Cohort, Cohort]:
    return make_cohort(24), make_cohort(16, first=100)


def trained(parts: tuple[Cohort, Cohort], **settings: Any) -> Model:
    return wb.train(*parts, **(SMALL | settings))


@pytest.fixture(scope="module")
def first(parts: tuple[Cohort, Cohort]) -> Model:
    return trained(parts, seed=3)


def test_same_seed_gives_the_same_weights_and_history(first: Model, parts: tuple[Cohort, Cohort]) -> None:
    again = trained(parts, seed=3)
    assert weights_digest(again.network) == weights_digest(first.network)
    assert again.record["history"] == first.record["history"]
    assert again.provenance.to_json() == first.provenance.to_json()


def test_same_seed_gives_the_same_weights_whatever_was_drawn_before(first: Model, parts: tuple[Cohort, Cohort]) -> None:
    torch.rand(7), np.random.rand(3), random.random()  # noqa: NPY002
    assert weights_digest(trained(parts, seed=3).network) == weights_digest(first.network)


def test_another_seed_gives_other_weights(first: Model, parts: tuple[Cohort, Cohort]) -> None:
    assert weights_digest(trained(parts, seed=4).network) != weights_digest(first.network)


def test_the_users_random_states_are_left_alone(parts: tuple[Cohort, Cohort]) -> None:
    def states() -> tuple[Any, ...]:
        name, keys, *rest = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), random.getstate(), name, keys.tolist(), rest

    before = states()
    trained(parts, epochs=1)
    assert states() == before


def test_the_provenance_holds_the_weights_digest(first: Model) -> None:
    assert first.provenance.content == weights_digest(first.network)
    assert first.provenance.seed == 3
    assert set(first.provenance.parents) == {"train", "tune"}


def test_trained_model_is_saved_and_read_whole(first: Model, parts: tuple[Cohort, Cohort], tmp_path: Any) -> None:
    again = wb.Model.load(first.save(tmp_path / "model"))
    np.testing.assert_array_equal(again.predict(parts[1]).scores, first.predict(parts[1]).scores)
    assert again.record["history"] == first.record["history"]
    assert "Best of 2 epochs" in again._repr_html_()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_best_epochs_weights_are_returned(parts: tuple[Cohort, Cohort], seed: int) -> None:
    model = trained(parts, epochs=4, seed=seed, learning_rate=0.02)
    history, best = model.record["history"], model.record["best_epoch"]
    areas = [entry["tune_auroc"] for entry in history]
    assert areas[best - 1] == max(areas)
    predictions = model.predict(parts[1])
    assert roc_auc_score(predictions.labels, predictions.scores[:, 1]) == pytest.approx(max(areas), abs=1e-9)


def test_training_stops_after_patience_epochs_without_a_better_one(
    parts: tuple[Cohort, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    areas = iter([0.7, 0.8, 0.6, 0.75, 0.9])
    monkeypatch.setattr(module, "_measure", lambda loop: {"tune_loss": 1.0, "tune_auroc": next(areas)})
    model = trained(parts, epochs=5, patience=2)
    assert [entry["tune_auroc"] for entry in model.record["history"]] == [0.7, 0.8, 0.6, 0.75]
    assert model.record["best_epoch"] == 2


def test_the_lower_loss_decides_between_equal_areas(
    parts: tuple[Cohort, Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = iter([0.5, 0.3, 0.4])
    monkeypatch.setattr(module, "_measure", lambda loop: {"tune_loss": next(losses), "tune_auroc": 1.0})
    assert trained(parts, epochs=3).record["best_epoch"] == 2


def test_a_bright_spot_is_learned(make_cohort: Callable[..., Cohort]) -> None:
    parts = make_cohort(60), make_cohort(40, first=100)
    model = trained(parts, epochs=6)
    predictions = model.predict(make_cohort(60, first=300))
    assert roc_auc_score(predictions.labels, predictions.scores[:, 1]) > 0.9


@pytest.mark.parametrize(("role", "place"), [("training", 0), ("tuning", 1)])
def test_part_with_one_class_only_is_refused(parts: tuple[Cohort, Cohort], role: str, place: int) -> None:
    given = list(parts)
    given[place] = given[place].where("label == 'healthy'")
    with pytest.raises(InputError, match=rf"the {role} part has no image of class 'cancer'"):
        trained(tuple(given))


def test_patient_in_both_parts_is_named(make_cohort: Callable[..., Cohort]) -> None:
    with pytest.raises(InputError, match=r"patient 'p004' is in the training and in the tuning part \(2 such"):
        trained((make_cohort(12), make_cohort(10, first=8)))


def test_parts_with_other_classes_are_refused(make_cohort: Callable[..., Cohort]) -> None:
    with pytest.raises(InputError, match="must be the same"):
        trained((make_cohort(12), make_cohort(12, first=100, classes=("a", "b"))))


def test_too_small_images_for_the_network_are_refused_with_the_mend(parts: tuple[Cohort, Cohort]) -> None:
    with pytest.raises(InputError, match=r"'densenet121' cannot take images of 16 × 16 pixels.*at least 64 pixels"):
        trained(parts, network="densenet121", preprocessing=Preprocessing((16, 16)))


def test_misspelt_network_is_answered_before_any_image_is_read(parts: tuple[Cohort, Cohort]) -> None:
    with pytest.raises(InputError, match=r"did you mean 'compact'\?"):
        trained(parts, network="compat")


@pytest.mark.parametrize("settings", [{"epochs": 0}, {"batch_size": 1}, {"patience": 0}, {"seed": -1}])
def test_senseless_settings_are_refused(parts: tuple[Cohort, Cohort], settings: dict[str, int]) -> None:
    with pytest.raises(InputError, match=rf"{next(iter(settings))} \({next(iter(settings.values()))}\)"):
        trained(parts, **settings)


def test_loss_that_is_not_a_number_names_the_batchs_images(parts: tuple[Cohort, Cohort]) -> None:
    with pytest.raises(InputError, match=r"the loss is nan in epoch 1, step 2 \(images i0\d\d, i0\d\d.*learning_rate"):
        trained(parts, learning_rate=1e38)


def test_divergence_in_the_last_step_is_not_returned_as_a_model(parts: tuple[Cohort, Cohort]) -> None:
    with pytest.raises(InputError, match=r"after epoch 1 .* are not numbers.*learning_rate"):
        trained(parts, learning_rate=1e38, batch_size=24, epochs=1)


def test_last_batch_of_one_image_is_left_out(
    make_cohort: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    step = module._step
    monkeypatch.setattr(
        module, "_step", lambda loop, state, chosen: (seen.append(len(chosen)), step(loop, state, chosen))[1]
    )
    model = trained((make_cohort(17), make_cohort(8, first=100)), epochs=1)
    assert seen == [8, 8]
    assert np.isfinite(model.record["history"][0]["loss"])


def test_volumes_are_trained_as_images_are(make_cohort: Callable[..., Cohort]) -> None:
    parts = (make_cohort(8, shape=(16, 16, 16)), make_cohort(8, first=100, shape=(16, 16, 16)))
    model = trained(parts, preprocessing=Preprocessing((32, 32, 32)), batch_size=4, epochs=1)
    assert model.input_shape == (1, 32, 32, 32)
    assert model.predict(parts[1]).scores.shape == (8, 2)


def test_three_classes_are_trained(make_cohort: Callable[..., Cohort]) -> None:
    classes = ("none", "faint", "bright")
    model = trained((make_cohort(24, classes=classes), make_cohort(18, first=102, classes=classes)), epochs=1)
    assert model.architecture["classes"] == 3
    assert 0 <= model.record["history"][0]["tune_auroc"] <= 1


def test_class_weights_are_the_inverse_frequencies(make_cohort: Callable[..., Cohort], monkeypatch: Any) -> None:
    train = make_cohort(24)
    few = train.subset([name for name in train.ids if name not in train.ids[1:18:2]])  # 12 healthy, 3 with cancer
    seen = []
    monkeypatch.setattr(module, "_epoch", lambda loop, state, shown: seen.append(loop.class_weights.tolist()) or 1 / 0)
    for switch in (True, False):
        with pytest.raises(ZeroDivisionError):
            trained((few, make_cohort(8, first=100)), class_weights=switch)
    assert seen == [[pytest.approx(15 / 24), pytest.approx(15 / 6)], [1.0, 1.0]]


def test_augmentation_changes_what_is_learned_and_can_be_off(first: Model, parts: tuple[Cohort, Cohort]) -> None:
    plain = trained(parts, seed=3, augment=False)
    assert weights_digest(plain.network) != weights_digest(first.network)
    own = trained(parts, seed=3, augment=wb.models.augment.Augmentation())
    assert weights_digest(own.network) == weights_digest(first.network)


@pytest.mark.parametrize("decimals", [1, 3])
def test_auroc_equals_scikit_learns_with_ties(decimals: int) -> None:
    draw = np.random.default_rng(decimals)
    labels, scores = draw.integers(0, 2, 200), draw.random(200).round(decimals)
    assert auroc(labels, np.column_stack([1 - scores, scores])) == pytest.approx(
        roc_auc_score(labels, scores), abs=1e-12
    )


def test_auroc_of_many_classes_equals_scikit_learns_mean_of_one_against_rest() -> None:
    draw = np.random.default_rng(0)
    labels, scores = draw.integers(0, 4, 120), draw.dirichlet(np.ones(4), 120)
    assert auroc(labels, scores) == pytest.approx(roc_auc_score(labels, scores, multi_class="ovr"), abs=1e-12)

"""The study: the same question asked again, of the same images, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain
from workbench.explain.attributions import Attributions
from workbench.explain.quality.study import study_of
from workbench.explain.target import Margin
from workbench.explain.task import Batch


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(("method", "settings"), [("gradcam", {}), ("shap", {"samples": 4, "seed": 3})])
def test_asking_again_gives_the_same_maps(method: str, settings: dict, make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(6)
    study = study_of(model, explain(model, cohort, method, **settings), batch_size=4)
    for batch, chosen, maps in study.batches("Asking"):
        assert np.allclose(study.again(batch, chosen), maps, atol=1e-6)


def test_another_network_is_asked_for_the_class_that_was_explained(make_model, make_cohort) -> None:
    model, other, cohort = make_model(network()), network(1), make_cohort(4)
    maps = explain(model, cohort, target="predicted")
    assert (other(model.inputs(cohort)).argmax(1).numpy() != maps.targets).any()
    for batch, chosen, _ in study_of(model, maps).batches("Asking"):
        again = study_of(model, maps).again(batch, chosen, other)
        expected = [explain(make_model(other), cohort, target=int(t)).maps[k] for k, t in enumerate(maps.targets)]
        assert np.allclose(again, expected, atol=1e-6)
    assert all(p.requires_grad for p in other.parameters())


def test_changed_inputs_are_explained_as_the_same_images(make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(4)
    study = study_of(model, explain(model, cohort, target=Margin("yes", "no")))
    for batch, chosen, maps in study.batches("Asking"):
        doubled = study.again(Batch(batch.ids, 2 * batch.inputs), chosen)
        assert doubled.shape == maps.shape
        assert not np.allclose(doubled, maps)


def test_maps_of_another_model_are_refused(make_model, make_cohort) -> None:
    cohort = make_cohort(4)
    maps = explain(make_model(network()), cohort)
    with pytest.raises(InputError, match="of another model"):
        list(study_of(make_model(network(1)), maps).batches("Asking"))


def test_loaded_maps_need_their_images(tmp_path, make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(6)
    explain(model, cohort, target=Margin("yes", "no")).save(tmp_path / "maps")
    maps = Attributions.load(tmp_path / "maps")
    with pytest.raises(InputError, match="cohort=test"):
        study_of(model, maps)
    with pytest.raises(InputError, match="image 'i3' has a map but is not in the cohort"):
        study_of(model, maps, cohort=cohort.subset(cohort.ids[:3]))
    for batch, chosen, same in study_of(model, maps, cohort=cohort).batches("Asking"):
        assert np.allclose(study_of(model, maps, cohort=cohort).again(batch, chosen), same, atol=1e-6)


def test_a_subset_of_maps_is_judged_on_its_images(make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(6)
    study = study_of(model, explain(model, cohort).subset(["i4", "i1"]))
    assert study.cohort.ids == ["i4", "i1"]
    assert [batch.ids for batch, *_ in study.batches("Asking")] == [["i4", "i1"]]


@pytest.mark.parametrize("batch_size", [0, 2.5, "x"])
def test_a_batch_that_is_no_whole_number_is_refused(batch_size: object, make_model, make_cohort) -> None:
    model, cohort = make_model(network()), make_cohort(2)
    with pytest.raises(InputError, match=r"batch_size .* whole number of at least 1"):
        study_of(model, explain(model, cohort), batch_size=batch_size)

"""Expected gradients against closed forms and against the shap package."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.explain.attribute import explain


class Linear(nn.Module):
    """The score is a weighted sum: its SHAP values are ``w (x - mean x')``, without sampling error in α."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(0)))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = (inputs * self.weight).flatten(1).sum(1)
        return torch.stack([-score, score], 1)


class Square(nn.Module):
    """The score is Σ x²: along a path from x' the values are ``(x - x')(x + x')``, after averaging α."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        score = (inputs**2).flatten(1).sum(1)
        return torch.stack([-score, score], 1)


def small_net() -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(54, 2)
    ).eval()  # fmt: skip


def test_a_linear_model_is_explained_exactly_and_channels_are_summed(make_model, make_cohort) -> None:
    cohort, background = make_cohort(3, shape=(2, 5, 5)), make_cohort(8, shape=(2, 5, 5))
    background = background.where("patient not in ['p0', 'p1']")  # patients are p0 to p3; cohort has p0 and p1
    net = Linear((2, 5, 5))
    maps = explain(make_model(net), cohort, "shap", target="yes", background=background, samples=8).maps
    expected = net.weight.detach().numpy() * (cohort.images() - background.images().mean(0))
    assert np.allclose(maps, expected.sum(1), atol=1e-5)


def test_a_quadratic_is_met_within_its_standard_errors(make_model, make_cohort) -> None:
    cohort = make_cohort(8, shape=(1, 6, 6))
    maps = explain(make_model(Square()), cohort, "shap", target="yes", samples=600)
    for row, patient in enumerate(cohort.patients):
        image, others = cohort.images()[row, 0], cohort.images()[cohort.patients != patient][:, 0]
        exact = image**2 - (others**2).mean(0)
        assert np.abs((maps.maps[row] - exact) / maps.errors[row]).max() < 3


def test_it_agrees_with_shap_within_the_error_of_both(make_model, make_cohort) -> None:
    shap = pytest.importorskip("shap")
    net, cohort = small_net(), make_cohort(10, shape=(1, 12, 12))
    model, background = make_model(net), cohort.subset(cohort.ids[2:])
    explained = cohort.subset(cohort.ids[:2])
    ours = explain(model, explained, "shap", target="yes", background=background, samples=1000, batch_size=500)
    explainer = shap.GradientExplainer(net, model.inputs(background), batch_size=500)
    theirs, variances = explainer.shap_values(model.inputs(explained), nsamples=1000, rseed=1, return_variances=True)
    theirs = np.asarray(theirs)[:, 0, :, :, 1]
    # shap gives variance / √n where the squared standard error is variance / n.
    squared = np.asarray(variances)[1][:, 0] / np.sqrt(1000)
    z = (ours.maps - theirs) / np.sqrt(ours.errors**2 + squared + 1e-16)
    assert np.corrcoef(ours.maps.ravel(), theirs.ravel())[0, 1] > 0.99
    assert np.abs(z).max() < 4.5
    assert 0.4 < z.std() < 1.15


def test_the_standard_error_is_what_other_seeds_show_and_never_too_small(make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(8, shape=(1, 12, 12))
    one, rest = cohort.subset(cohort.ids[:1]), cohort.subset(cohort.ids[2:])
    runs = [explain(model, one, "shap", background=rest, samples=24, seed=seed, batch_size=24) for seed in range(60)]
    seen = np.std([run.maps for run in runs], axis=0, ddof=1)
    said = np.sqrt(np.mean([run.errors**2 for run in runs], axis=0))
    assert 0.2 < np.sqrt((seen**2).sum() / (said**2).sum()) < 1.05


def test_values_add_up_to_the_score_but_for_the_gap_that_is_told(make_model, make_cohort) -> None:
    maps = explain(make_model(small_net()), make_cohort(6, shape=(1, 12, 12)), "shap", samples=400, batch_size=100)
    frame = maps.to_frame()
    total = maps.maps.sum(axis=(1, 2))
    assert np.allclose(frame["completeness_gap"], total - (frame["score"] - frame["reference_score"]), atol=1e-5)
    assert frame["completeness_gap"].abs().max() < 0.1 * np.abs(total).max()


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_neither_batch_size_nor_company_changes_a_map(batch_size: int, make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(6, shape=(1, 12, 12))
    settings = {"background": cohort, "samples": 10, "seed": 5}
    whole = explain(model, cohort, "shap", **settings)
    alone = explain(model, cohort.subset(["i4"]), "shap", batch_size=batch_size, **settings)
    assert np.abs(whole.maps[4] - alone.maps[0]).max() <= 1e-6
    assert not np.allclose(explain(model, cohort, "shap", **{**settings, "seed": 6}).maps, whole.maps, atol=1e-4)


def test_a_patient_is_never_its_own_reference(make_model, make_cohort) -> None:
    cohort = make_cohort(4, shape=(1, 12, 12))
    with pytest.raises(InputError, match=r"own patient 'p0'\. Give .* background=train"):
        explain(make_model(small_net()), cohort.where("patient == 'p0'"), "shap")


def test_the_background_is_a_parent_and_told_in_the_settings(make_model, make_cohort) -> None:
    cohort = make_cohort(6, shape=(1, 12, 12))
    maps = explain(make_model(small_net()), cohort, "shap", samples=2, background=cohort, background_size=3, seed=9)
    assert maps.provenance.parents["background"] == cohort.provenance
    assert (maps.settings["background"], maps.settings["background_size"]) == ("cohort", 3)
    assert maps.provenance.seed == 9


@pytest.mark.slow
def test_networks_that_deep_shap_cannot_take_are_explained(make_model, make_cohort) -> None:
    from monai.networks.nets import DenseNet121, resnet18

    cohort = make_cohort(4)
    for net in (DenseNet121(2, 1, 2), resnet18(spatial_dims=2, n_input_channels=1, num_classes=2)):
        assert explain(make_model(net), cohort, "shap", samples=2).maps.any()

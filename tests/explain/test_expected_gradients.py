"""Expected gradients against closed forms and against the shap package."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import EvidenceWarning, InputError
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


@pytest.mark.parametrize("shape", [(2, 5, 5), (1, 4, 5, 6)])
def test_a_linear_model_is_explained_exactly_and_channels_are_summed(shape, make_model, make_cohort) -> None:
    cohort, background = make_cohort(3, shape=shape), make_cohort(8, shape=shape)
    background = background.where("patient not in ['p0', 'p1']")  # patients are p0 to p3; cohort has p0 and p1
    net = Linear(shape)
    maps = explain(make_model(net), cohort, "shap", target="yes", background=background, samples=8)
    expected = net.weight.detach().numpy() * (cohort.images() - background.images().mean(0))
    assert np.allclose(maps.maps, expected.sum(1), atol=1e-5)
    assert maps.errors.max() < 1e-6


@pytest.mark.parametrize("shape", [(1, 6, 6), (1, 3, 4, 4)])
def test_a_quadratic_is_met_within_its_standard_errors(shape, make_model, make_cohort) -> None:
    cohort, seen, said = make_cohort(8, shape=shape), [], []
    for seed in range(20):
        maps = explain(make_model(Square()), cohort, "shap", target="yes", samples=60, seed=seed)
        for row, patient in enumerate(cohort.patients):
            image, others = cohort.images()[row, 0], cohort.images()[cohort.patients != patient][:, 0]
            seen.append((maps.maps[row] - image**2 + (others**2).mean(0)) ** 2)
            said.append(maps.errors[row] ** 2)
    assert 0.4 < np.sqrt(np.mean(seen) / np.mean(said)) < 1.05


def test_a_class_of_a_segmentation_is_explained_over_its_region(make_model, make_cohort) -> None:
    net = nn.Conv2d(1, 2, 1, bias=False)
    nn.init.constant_(net.weight[0], 0.0), nn.init.constant_(net.weight[1], 3.0)
    cohort = make_cohort(4, shape=(1, 6, 6))
    maps = explain(make_model(net, task="segmentation"), cohort, "shap", target="yes", background=cohort, samples=4)
    for row, patient in enumerate(cohort.patients):
        image, others = cohort.images()[row, 0], cohort.images()[cohort.patients != patient][:, 0]
        assert np.allclose(maps.maps[row], np.where(image > 0, 3 * (image - others.mean(0)), 0), atol=1e-5)


def test_it_agrees_with_shap_within_the_error_of_both(make_model, make_cohort) -> None:
    shap = pytest.importorskip("shap")
    net, cohort = small_net(), make_cohort(10, shape=(1, 12, 12))
    model, background = make_model(net), cohort.subset(cohort.ids[2:])
    explained = cohort.subset(cohort.ids[:2])
    ours = explain(model, explained, "shap", target="yes", background=background, samples=200, batch_size=500)
    explainer = shap.GradientExplainer(net, model.inputs(background), batch_size=500)
    theirs, variances = explainer.shap_values(model.inputs(explained), nsamples=1000, rseed=1, return_variances=True)
    theirs = np.asarray(theirs)[:, 0, :, :, 1]
    # shap gives variance / √n where the squared standard error is variance / n.
    squared = np.asarray(variances)[1][:, 0] / np.sqrt(1000)
    z = (ours.maps - theirs) / np.sqrt(ours.errors**2 + squared + 1e-16)
    assert np.corrcoef(ours.maps.ravel(), theirs.ravel())[0, 1] > 0.99
    assert np.abs(z).max() < 4.5
    assert 0.4 < z.std() < 1.15


@pytest.mark.parametrize(("references", "samples"), [(6, 24), (1, 40), (6, 96), (20, 16), (20, 40)])
def test_the_standard_error_is_what_other_seeds_show_and_never_too_small(references, samples, make_model, make_cohort) -> None:  # fmt: skip
    model, cohort = make_model(small_net()), make_cohort(24, shape=(1, 12, 12))
    one, rest = cohort.subset(cohort.ids[:1]), cohort.subset(cohort.ids[2 : 2 + references])
    settings = {"background": rest, "samples": samples, "batch_size": samples}
    runs = [explain(model, one, "shap", seed=seed, **settings) for seed in range(40)]
    truth = explain(model, one, "shap", background=rest, samples=4000, batch_size=500).maps
    seen = np.mean([(run.maps - truth) ** 2 for run in runs])
    said = np.mean([run.errors**2 for run in runs])
    assert 0.4 < np.sqrt(seen / said) < 1.05


def test_it_is_less_noisy_than_independent_draws_of_the_same_number(make_model, make_cohort) -> None:
    shap = pytest.importorskip("shap")
    net, cohort = small_net(), make_cohort(10, shape=(1, 12, 12))
    model, rest, one = make_model(net), cohort.subset(cohort.ids[2:]), cohort.subset(cohort.ids[:1])
    ours = [explain(model, one, "shap", target="yes", background=rest, samples=64, seed=s).maps[0] for s in range(12)]
    explainer = shap.GradientExplainer(net, model.inputs(rest))
    theirs = [explainer.shap_values(model.inputs(one), nsamples=64, rseed=s)[0, 0, ..., 1] for s in range(12)]
    assert np.var(theirs, axis=0).sum() > 4 * np.var(ours, axis=0).sum()


@pytest.mark.parametrize("error", [0.3, 0.1])
def test_sampling_goes_on_until_the_error_asked_for_is_reached(error, make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(10, shape=(1, 12, 12))
    settings = {"target": "yes", "background": cohort, "batch_size": 64}
    truth = explain(model, cohort, "shap", samples=4000, **settings).maps
    runs = [explain(model, cohort, "shap", error=error, seed=seed, **settings) for seed in range(6)]
    off = [np.sqrt(((run.maps - truth) ** 2).mean((1, 2)) / (truth**2).mean((1, 2))) for run in runs]
    assert 0.3 * error < np.sqrt(np.mean(np.square(off))) <= error
    assert max(run.to_frame()["relative_error"].max() for run in runs) <= error
    assert runs[0].to_frame()["samples"].nunique() > 1


def test_a_limit_that_is_met_before_the_error_is_told(make_model, make_cohort) -> None:
    cohort = make_cohort(4, shape=(1, 12, 12))
    with pytest.warns(EvidenceWarning, match=r"4 of 4 images did not come to the error 0\.001 within 50 samples"):
        maps = explain(make_model(small_net()), cohort, "shap", error=0.001, samples_limit=50)
    frame = maps.to_frame()
    assert frame["samples"].between(25, 50).all()
    assert frame["relative_error"].gt(0.001).all()


def test_values_add_up_to_the_score_but_for_the_gap_that_is_told(make_model, make_cohort) -> None:
    maps = explain(make_model(small_net()), make_cohort(6, shape=(1, 12, 12)), "shap", samples=400, batch_size=100)
    frame = maps.to_frame()
    total = maps.maps.sum(axis=(1, 2))
    assert np.allclose(frame["completeness_gap"], total - (frame["score"] - frame["reference_score"]), atol=1e-5)
    assert frame["completeness_gap"].abs().max() < 0.1 * np.abs(total).max()


@pytest.mark.parametrize("asked", [{"samples": 10}, {"error": 0.3}])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_neither_batch_size_nor_company_changes_a_map(batch_size, asked, make_model, make_cohort) -> None:
    model, cohort = make_model(small_net()), make_cohort(6, shape=(1, 12, 12))
    settings = {"background": cohort, "seed": 5, **asked}
    whole = explain(model, cohort, "shap", **settings)
    alone = explain(model, cohort.subset(["i4"]), "shap", batch_size=batch_size, **settings)
    assert np.abs(whole.maps[4] - alone.maps[0]).max() <= 1e-6
    assert np.allclose(whole.errors[4], alone.errors[0], atol=1e-6)
    assert not np.allclose(explain(model, cohort, "shap", **{**settings, "seed": 6}).maps, whole.maps, atol=1e-4)


@pytest.mark.parametrize("asked", [{"samples": 20}, {"error": 0.2}])
def test_several_targets_are_explained_as_each_one_alone(asked, make_model, make_cohort) -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(600, 3))
    model, cohort = make_model(net, ("no", "yes", "perhaps")), make_cohort(4, shape=(1, 12, 12))
    together = explain(model, cohort, "shap", target="each", **asked)
    for name, maps in together.items():
        alone = explain(model, cohort, "shap", target=name, **asked)
        assert np.allclose(maps.maps, alone.maps, atol=1e-6)
        assert maps.to_frame()["samples"].equals(alone.to_frame()["samples"])


def test_all_targets_come_from_the_same_forward_passes(make_model, make_cohort) -> None:
    net, seen = small_net(), []
    net.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    model, cohort = make_model(net), make_cohort(4, shape=(1, 12, 12))
    explain(model, cohort, "shap", target="each", samples=30)
    assert sum(seen) == 4 + 4 + 4 * 30  # references, images, samples


class Cramped(nn.Module):
    """Runs out of memory where more than `room` inputs are differentiated."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.net, self.room = small_net(), room

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if inputs.requires_grad and len(inputs) > self.room:
            message = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
            raise RuntimeError(message)
        return self.net(inputs)


def test_where_memory_runs_out_smaller_batches_give_the_same_maps(make_model, make_cohort) -> None:
    cohort = make_cohort(4, shape=(1, 12, 12))
    roomy = explain(make_model(small_net()), cohort, "shap", samples=20)
    cramped = explain(make_model(Cramped(3)), cohort, "shap", samples=20)
    assert np.allclose(roomy.maps, cramped.maps, atol=1e-6)
    with pytest.raises(InputError, match="one image alone does not fit into the memory"):
        explain(make_model(Cramped(0)), cohort, "shap", samples=20)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"error": 0}, "error 0 must be a number above 0"),
        ({"samples": 1}, "samples 1 must be"),
        ({"background": "train"}, "background is str, and must be a cohort"),
    ],
)
def test_what_cannot_be_used_is_refused(wrong, told, make_model, make_cohort) -> None:
    with pytest.raises(InputError, match=told):
        explain(make_model(small_net()), make_cohort(4, shape=(1, 12, 12)), "shap", **wrong)


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

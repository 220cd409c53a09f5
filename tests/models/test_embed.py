"""Embeddings are what the last layer is given, and taking them leaves the network as it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import InputError
from workbench.models.model import Model, weights_digest
from workbench.models.networks import build_network

CLASSES = ("healthy", "cancer")


class Transformer(nn.Module):
    """One token a row of the image; every token is classified, and the logits are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(32, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(32, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(images[:, 0])).mean(1)


def flat() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2)
    )


def test_features_are_what_the_last_linear_layer_is_given(make_cohort):
    cohort, network = make_cohort(10), flat()
    model = Model.wrap(network, classes=CLASSES)
    found = model.embed(cohort, batch_size=4)
    with torch.inference_mode():
        expected = network[:-1].eval()(model.inputs(cohort))
    assert list(found.index) == cohort.ids
    assert found.index.name == "id"
    assert found.to_numpy().dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # The last layer on the features gives the model's own scores.
    logits = found.to_numpy() @ network[-1].weight.detach().numpy().T + network[-1].bias.detach().numpy()
    scores = torch.from_numpy(logits).softmax(1)[:, 1]
    np.testing.assert_allclose(model.predict(cohort).positive, scores, atol=1e-5)


def test_ids_are_embedded_in_the_order_asked_for(make_cohort):
    cohort = make_cohort(8)
    model = Model.wrap(flat(), classes=CLASSES)
    some = model.embed(cohort, ["i005", "i001"])
    np.testing.assert_allclose(some, model.embed(cohort).loc[["i005", "i001"]], atol=1e-6)


@pytest.mark.parametrize("shape", [(24, 24), (12, 12, 12)])
def test_maps_before_a_last_convolution_are_averaged_over_space(make_cohort, shape):
    cohort = make_cohort(4, shape=shape)
    conv = nn.Conv2d if len(shape) == 2 else nn.Conv3d
    pool = nn.AdaptiveAvgPool2d if len(shape) == 2 else nn.AdaptiveAvgPool3d
    torch.manual_seed(0)
    network = nn.Sequential(conv(1, 6, 3), nn.ReLU(), conv(6, 2, 1), pool(1), nn.Flatten())
    model = Model.wrap(network, classes=CLASSES)
    with torch.inference_mode():
        expected = network[:2](model.inputs(cohort)).flatten(2).mean(2)
    np.testing.assert_allclose(model.embed(cohort), expected, atol=1e-6)


def test_tokens_before_a_last_linear_layer_are_averaged(make_cohort):
    cohort, network = make_cohort(4), Transformer()
    model = Model.wrap(network, classes=CLASSES)
    with torch.inference_mode():
        expected = network.eval().layer(model.inputs(cohort)[:, 0]).mean(1)
    np.testing.assert_allclose(model.embed(cohort), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["compact", "resnet10"])
def test_the_networks_that_are_trained_here_can_be_embedded(make_cohort, name):
    network = build_network(name, channels=1, classes=2, dimensions=2)
    found = Model.wrap(network, classes=CLASSES).embed(make_cohort(4))
    assert found.shape[0] == 4
    assert found.shape[1] >= 8
    assert found.nunique().max() > 1


def test_the_network_is_left_as_it_was(make_cohort):
    network = flat().train()
    network[1].eval()
    before = weights_digest(network)
    modes = [part.training for part in network.modules()]
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    Model.wrap(network, classes=CLASSES).embed(make_cohort(4))
    assert weights_digest(network) == before
    assert [part.training for part in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == wanted
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(part._forward_pre_hooks for part in network.modules())


def test_hooks_are_removed_after_an_error_too(make_cohort):
    network = flat()
    with pytest.raises(InputError, match="shape"):
        Model.wrap(network, classes=CLASSES).embed(make_cohort(2, shape=(2, 2)))
    assert not any(part._forward_pre_hooks for part in network.modules())


def test_the_module_inside_a_wrapper_is_listened_to(make_cohort):
    cohort, network = make_cohort(4), flat()
    inside = Model.wrap(network, classes=CLASSES).embed(cohort)
    outside = Model.wrap(nn.DataParallel(network), classes=CLASSES).embed(cohort)
    np.testing.assert_array_equal(inside, outside)


def test_what_cannot_be_embedded_is_refused(make_cohort):
    cohort = make_cohort(4)
    with pytest.raises(InputError, match="no linear or convolutional layer"):
        Model.wrap(nn.Sequential(nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten()), classes=CLASSES).embed(cohort)
    with pytest.raises(InputError, match="list of ids is empty"):
        Model.wrap(flat(), classes=CLASSES).embed(cohort, [])
    with pytest.raises(InputError, match="batch_size is 0"):
        Model.wrap(flat(), classes=CLASSES).embed(cohort, batch_size=0)
    broken = flat()
    nn.init.constant_(broken[0].weight, torch.nan)
    with pytest.raises(InputError, match="'i000' are NaN"):
        Model.wrap(broken, classes=CLASSES).embed(cohort)

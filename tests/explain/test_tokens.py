"""Transformers: maps on the grid of their tokens, and attention rolled out, whoever wrote the blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from workbench.errors import InputError
from workbench.explain.attention import watched
from workbench.explain.attribute import explain
from workbench.explain.survey import Survey
from workbench.explain.tokens import tokens_on_grid

WIDTH = 12


class ByHand(nn.Module):
    """Attention as many write it: a softmax over a product."""

    def __init__(self, *, fused: bool = False) -> None:
        super().__init__()
        self.qkv, self.out, self.fused = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH), fused

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(tokens).unflatten(2, (3, 2, WIDTH // 2)).permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = scaled_dot_product_attention(q, k, v)
        else:
            mixed = (q @ k.transpose(-2, -1) * (WIDTH // 2) ** -0.5).softmax(dim=-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class Torch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.inner(tokens, tokens, tokens, need_weights=False)[0]


class Block(nn.Module):
    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm, self.attend = nn.LayerNorm(WIDTH), attention
        self.mlp = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH), nn.GELU())

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        tokens = tokens + self.attend(self.norm(tokens))
        return tokens + self.mlp(tokens)


class Transformer(nn.Module):
    """Patches cut by a convolution, `prefix` tokens in front, blocks, and a head on the first token or on the mean."""

    def __init__(self, blocks: nn.Module, *, axes: int = 2, prefix: int = 1, tokens_first: bool = False) -> None:
        super().__init__()
        self.cut = (nn.Conv2d, nn.Conv3d)[axes - 2](1, WIDTH, 8, 8)
        self.front = nn.Parameter(torch.randn(1, prefix, WIDTH))
        self.blocks, self.norm, self.head = blocks, nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 2)
        self.prefix, self.tokens_first = prefix, tokens_first

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        tokens = self.cut(inputs).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.front.expand(len(inputs), -1, -1), tokens], 1)
        order = 1 if self.tokens_first else 0
        tokens = self.norm(self.blocks(tokens.transpose(0, order)).transpose(0, order))
        return self.head(tokens[:, 0] if self.prefix else tokens.mean(1))


KINDS = ["by hand", "fused", "torch", "encoder", "encoder, tokens first"]


def transformer(kind: str, **settings: object) -> Transformer:
    torch.manual_seed(5)
    if kind.startswith("encoder"):
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=kind == "encoder", norm_first=True)
        blocks: nn.Module = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        for place, own in enumerate(blocks.layers):  # torch copies one layer; weights of their own
            torch.manual_seed(place)
            for weight in own.parameters():
                nn.init.normal_(weight, std=0.4)
    else:
        attentions = {"by hand": ByHand, "fused": lambda: ByHand(fused=True), "torch": Torch}
        blocks = nn.Sequential(*[Block(attentions[kind]()) for _ in range(3)])
    return Transformer(blocks, tokens_first=kind.endswith("first"), **settings).eval()


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_drawn_on_what_enters_the_last_block(kind: str, prefix: int, make_model, make_cohort) -> None:
    net = transformer(kind, prefix=prefix)
    model, cohort = make_model(net), make_cohort(3, shape=(1, 24, 32))
    found = explain(model, cohort, "hirescam", target="yes")
    last = "blocks.layers.2" if kind.startswith("encoder") else "blocks.2"
    assert found.settings["layer"] == f"input of {last}"
    images, kept = model.inputs(cohort), {}
    net.get_submodule(last).register_forward_pre_hook(lambda _m, given: kept.update(a=given[0]))
    output = net(images)  # parameters ask for gradients, so all is recorded
    (gradient,) = torch.autograd.grad(output[:, 1].sum(), kept["a"])
    tokens = (kept["a"] * gradient).detach().sum(2)
    tokens = tokens.T if kind.endswith("first") else tokens
    fine = torch.nn.functional.interpolate(tokens[:, prefix:].reshape(3, 1, 3, 4), size=(24, 32), mode="bilinear")
    assert np.allclose(found.maps, fine[:, 0].numpy(), atol=1e-6)
    assert found.maps.any()


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "hirescam", "layercam", "eigencam", "scorecam", "rollout"])
def test_volumes_work_and_an_image_alone_gets_the_same_map(method: str, make_model, make_cohort) -> None:
    model, cohort = make_model(transformer("by hand", axes=3)), make_cohort(3, shape=(1, 16, 24, 16))
    together = explain(model, cohort, method, target="each", batch_size=3)["yes"]
    alone = explain(model, cohort, method, target="yes", batch_size=1)
    assert together.maps.shape == (3, 16, 24, 16)
    assert np.abs(together.maps - alone.maps).max() <= 1e-5 * np.abs(alone.maps).max()


def attention_of(net: Transformer, images: torch.Tensor) -> list[np.ndarray]:
    """Attention of each block from its own weights, ``(n, L, L)``, heads averaged."""
    found: list[np.ndarray] = []

    def reckon(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        tokens = module.norm(given[0])
        attend = module.attend
        weight, bias = (
            (attend.inner.in_proj_weight, attend.inner.in_proj_bias)
            if isinstance(attend, Torch)
            else (attend.qkv.weight, attend.qkv.bias)
        )
        q, k, _ = (tokens @ weight.T + bias).unflatten(2, (3, 2, WIDTH // 2)).permute(2, 0, 3, 1, 4)
        found.append(((q @ k.mT) / (WIDTH // 2) ** 0.5).softmax(-1).mean(1).detach().numpy())

    handles = [block.register_forward_pre_hook(reckon) for block in net.blocks]
    with torch.no_grad():
        net(images)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("kind", ["by hand", "fused", "torch"])
def test_rollout_is_the_product_of_half_attention_and_half_identity(kind, prefix, make_model, make_cohort) -> None:
    net = transformer(kind, prefix=prefix)
    model, cohort = make_model(net), make_cohort(2, shape=(1, 24, 32))
    product = np.eye(12 + prefix)
    for attention in attention_of(net, model.inputs(cohort)):
        product = (attention / 2 + np.eye(12 + prefix) / 2) @ product
    row = product[:, 0, 1:] if prefix else product.mean(1)
    found = explain(model, cohort, "rollout", target="each")
    assert found["yes"].settings["class_independent"] is True
    assert np.array_equal(found["yes"].maps, found["no"].maps)
    fine = torch.nn.functional.interpolate(torch.tensor(row).reshape(2, 1, 3, 4), size=(24, 32), mode="bilinear")
    assert np.allclose(found["yes"].maps, fine[:, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_networks_answer_is_the_same_while_attention_is_watched(kind: str) -> None:
    net, images = transformer(kind), torch.randn(2, 1, 24, 32)
    for differentiable in (False, True):
        seen: list[torch.Tensor] = []
        with watched(seen.append, differentiable=differentiable):
            output = net(images)
        assert torch.allclose(output, net(images), atol=1e-6)
        assert [matrix.shape[-2:] for matrix in seen] == [(13, 13)] * 3
        assert all(torch.allclose(matrix.sum(-1), torch.ones(()), atol=1e-5) for matrix in seen)


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_rollout_uses_the_gradient_of_each_attention(kind: str, make_model, make_cohort) -> None:
    net, cohort = transformer(kind), make_cohort(2, shape=(1, 24, 32))
    model = make_model(net)
    found = explain(model, cohort, "rollout", weighted=True, target="each")
    assert found["yes"].settings["class_independent"] is False
    assert not np.allclose(found["yes"].maps, found["no"].maps)
    seen: list[torch.Tensor] = []
    with watched(seen.append, differentiable=True):
        output = net(model.inputs(cohort))
    product = torch.eye(13).expand(2, -1, -1)
    for matrix, gradient in zip(seen, torch.autograd.grad(output[:, 1].sum(), seen), strict=True):
        product = product + (matrix * gradient).reshape(2, 2, 13, 13).relu().mean(1) @ product
    assert found["yes"].maps.any()
    fine = torch.nn.functional.interpolate(product[:, None, 0, 1:].reshape(2, 1, 3, 4), size=(24, 32), mode="bilinear")
    assert np.allclose(found["yes"].maps, fine[:, 0].detach().numpy(), atol=1e-6)


def test_a_gradient_by_attention_is_what_a_small_change_does() -> None:
    query, key, value = torch.randn(3, 1, 2, 5, 4, dtype=torch.float64)
    seen: list[torch.Tensor] = []
    with watched(seen.append, differentiable=True):
        output = scaled_dot_product_attention(query.requires_grad_(), key, value)
    (gradient,) = torch.autograd.grad(output.sum(), seen)
    assert torch.allclose(gradient, value.sum(-1)[:, :, None].expand_as(gradient))


@pytest.mark.parametrize(
    "settings", [{"is_causal": True}, {"attn_mask": torch.ones(5, 5).tril().bool()}, {"scale": 0.1}]
)
def test_masks_and_scales_are_heeded(settings: dict) -> None:
    query, key = torch.randn(2, 1, 2, 5, 4)
    seen: list[torch.Tensor] = []
    with watched(seen.append):
        output = scaled_dot_product_attention(query, key, torch.eye(5).expand(1, 2, 5, 5), **settings)
    assert torch.allclose(seen[0], output, atol=1e-6)  # with an identity for its values, attention shows its own matrix


def test_discarding_weak_attention_sharpens_the_map(make_model, make_cohort) -> None:
    model, cohort = make_model(transformer("by hand", prefix=0)), make_cohort(2, shape=(1, 24, 32))
    whole, part = (explain(model, cohort, "rollout", discard=share).maps for share in (0.0, 0.8))
    assert part.std() > whole.std()
    assert np.allclose(part.sum((1, 2)), whole.sum((1, 2)), rtol=1e-4)


@pytest.mark.parametrize("settings", [{"discard": 1.0}, {"discard": -0.1}, {"discard": 0.5, "weighted": True}])
def test_settings_without_meaning_are_refused(settings: dict, make_model, make_cohort) -> None:
    with pytest.raises(InputError, match="discard"):
        explain(make_model(transformer("by hand")), make_cohort(2, shape=(1, 24, 32)), "rollout", **settings)


def test_rollout_without_attention_is_refused(make_model, make_cohort) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match="nothing to roll out; method='gradcam'"):
        explain(make_model(net), make_cohort(2), "rollout")


def test_a_layer_of_which_only_the_class_token_is_read_is_refused(make_model, make_cohort) -> None:
    model, cohort = make_model(transformer("by hand")), make_cohort(2, shape=(1, 24, 32))
    with pytest.raises(InputError, match=r"class token alone.*leave layer out"):
        explain(model, cohort, layer="blocks.2")
    assert explain(model, cohort, "hirescam", layer="blocks.1").maps.any()


class Mixed(nn.Module):
    """Tokens that never attend to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix, self.head = nn.Conv2d(1, 6, 8, 8), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.mix(self.patches(inputs).flatten(2).transpose(1, 2)).mean(1))


def test_tokens_without_attention_are_drawn_as_well(make_model, make_cohort) -> None:
    found = explain(make_model(Mixed()), make_cohort(2, shape=(1, 24, 32)), "hirescam", target=1)
    assert found.settings["layer"] == "mix"
    assert found.maps.any()


@pytest.mark.parametrize(
    ("length", "spatial", "grid", "prefix"),
    [
        (196, (224, 224), (14, 14), 0),
        (197, (224, 224), (14, 14), 1),
        (201, (224, 224), (14, 14), 5),
        (25, (32, 48), (4, 6), 1),
        (8, (16, 32, 64), (1, 2, 4), 0),
        (6, (16, 24), (2, 3), 0),
    ],
)
def test_equal_patches_tell_the_grid(length: int, spatial: tuple, grid: tuple, prefix: int) -> None:
    tokens = tokens_on_grid(length, spatial, Survey())
    assert (tokens.grid, tokens.prefix) == (grid, prefix)


def test_a_number_of_tokens_that_fits_no_grid_is_refused() -> None:
    with pytest.raises(InputError, match="41 tokens lie in no one way on an image of 32 × 32 pixels"):
        tokens_on_grid(41, (32, 32), Survey())


@pytest.mark.parametrize("flash", [False, True])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("classification", [False, True])
@pytest.mark.parametrize("projection", ["conv", "perceptron"])
def test_monais_vit_is_explained(projection, classification, axes, flash, make_model, make_cohort) -> None:
    pytest.importorskip("einops")
    from monai.networks.nets import ViT

    class Answer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            shape = (16, 24, 8)[:axes]
            self.net = ViT(1, shape, 8, WIDTH, 16, 2, 2, projection, classification=classification, spatial_dims=axes)
            for block in self.net.blocks:
                block.attn.use_flash_attention = flash
            self.head = nn.Identity() if classification else nn.Linear(WIDTH, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            out = self.net(inputs)[0]
            return self.head(out if classification else out.mean(1))

    shape = (16, 24, 8)[:axes]
    model, cohort = make_model(Answer()), make_cohort(2, shape=(1, *shape))
    maps = {m: explain(model, cohort, m, target="yes") for m in ("hirescam", "rollout")}
    assert maps["hirescam"].settings["layer"] == "input of net.blocks.1"
    assert all(found.maps.shape == (2, *shape) and found.maps.any() for found in maps.values())
    coarse = maps["rollout"].maps.sum(tuple(range(1, axes + 1))) / 8**axes
    assert np.allclose(coarse, 1, atol=1e-5) != classification  # else the class token keeps its share


class Windows(nn.Module):
    """Attention within the left and the right half of the image, as in a Swin transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = ByHand()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        parts = tokens.unflatten(1, (3, 2, 2)).transpose(1, 2).flatten(0, 1).flatten(1, 2)
        parts = self.attend(parts).unflatten(1, (3, 2)).unflatten(0, (len(tokens), 2))
        return parts.transpose(1, 2).flatten(1, 3)


def test_attention_within_windows_cannot_be_rolled_out_but_has_maps(make_model, make_cohort) -> None:
    torch.manual_seed(0)
    net = Transformer(nn.Sequential(Block(Windows()), Block(Windows())), prefix=0).eval()
    model, cohort = make_model(net), make_cohort(2, shape=(1, 24, 32))
    with pytest.raises(InputError, match="over 6 tokens, not over all"):
        explain(model, cohort, "rollout")
    assert explain(model, cohort, "hirescam").maps.any()

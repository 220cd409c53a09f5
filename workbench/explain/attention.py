"""See every self-attention matrix of a forward pass, whoever wrote the network, without changing it."""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

SOFTMAX = {torch.softmax, torch.Tensor.softmax, functional.softmax, torch.special.softmax}
MULTI_HEAD = inspect.signature(functional.multi_head_attention_forward)


@contextmanager
def watched(take: Callable[[torch.Tensor], None], *, differentiable: bool = False) -> Iterator[None]:
    """Within the block, hand each square attention matrix ``(…, L, L)`` to `take`, as the softmax gave it.

    Three ways of writing attention are seen: a softmax over a square matrix (by hand; MONAI's blocks),
    ``scaled_dot_product_attention`` (MONAI's with ``use_flash_attention``; its matrix is never formed, so it is computed
    beside it), and ``nn.MultiheadAttention``, whose fused kernel for inference is switched off meanwhile.

    Parameters
    ----------
    take : called once an attention, in the order in which they run.
    differentiable : whether the output must follow from the matrix handed over, so that autograd gives its gradient.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _Watch(take, differentiable=differentiable):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


class _Watch(TorchFunctionMode):
    def __init__(self, take: Callable[[torch.Tensor], None], *, differentiable: bool) -> None:
        super().__init__()
        self.take, self.differentiable = take, differentiable

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is functional.multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return self._scaled(*args, **kwargs)
        result = func(*args, **kwargs)
        if func in SOFTMAX and _square(result) and _last(args, kwargs, result.dim()):
            self.take(result)
        return result

    def _multi_head(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        call = MULTI_HEAD.bind(*args, **kwargs)
        call.apply_defaults()
        wanted, averaged = call.arguments["need_weights"], call.arguments["average_attn_weights"]
        call.arguments.update(need_weights=True, average_attn_weights=False)
        output, weights = functional.multi_head_attention_forward(*call.args, **call.kwargs)
        if weights is None:
            return output, None
        if _square(weights):
            # What comes back is a view of the matrix that went into the product; only that one has a gradient.
            self.take(weights if weights._base is None else weights._base)
        if not wanted:
            return output, None
        return output, weights.mean(-3) if averaged else weights

    def _scaled(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if query.shape[-2] != key.shape[-2] or query.shape[-2] < 2:
            return functional.scaled_dot_product_attention(query, key, value, *args, **kwargs)
        settings = dict(zip(("attn_mask", "dropout_p", "is_causal"), args, strict=False)) | kwargs
        if settings.get("enable_gqa"):
            repeats = query.shape[-3] // key.shape[-3]
            key, value = key.repeat_interleave(repeats, -3), value.repeat_interleave(repeats, -3)
        weights = _attention(query, key, settings)
        self.take(weights)
        if self.differentiable:
            return functional.dropout(weights, settings.get("dropout_p", 0.0)) @ value
        settings.pop("enable_gqa", None)
        return functional.scaled_dot_product_attention(query, key, value, **settings)


def _attention(query: torch.Tensor, key: torch.Tensor, settings: Mapping[str, Any]) -> torch.Tensor:
    """Return ``softmax(q kᵀ · scale + mask)``, as ``scaled_dot_product_attention`` documents it."""
    scale = settings.get("scale") or query.shape[-1] ** -0.5
    logits: torch.Tensor = query @ key.transpose(-2, -1) * scale
    mask = settings.get("attn_mask")
    if settings.get("is_causal"):
        mask = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
    return torch.softmax(logits, -1)


def _square(matrix: Any) -> bool:
    return isinstance(matrix, torch.Tensor) and matrix.dim() >= 3 and matrix.shape[-1] == matrix.shape[-2] > 1  # fmt: skip


def _last(args: Sequence[Any], kwargs: Mapping[str, Any], axes: int) -> bool:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return axis in (-1, axes - 1)

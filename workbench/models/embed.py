"""What a network makes of images before it decides: the features that its last weighted layer is given."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import nn

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@contextmanager
def penultimate(network: nn.Module) -> Iterator[Callable[[], torch.Tensor]]:
    """Listen to `network`; after a forward pass, the function that is given returns its features, ``(n, D)``.

    The features are what the linear or convolutional layer that ran last was given, averaged over space (or over the
    tokens of a transformer). The hooks are removed at the end.

    Raises
    ------
    InputError : where no such layer ran.
    """
    heard: list[tuple[nn.Module, torch.Tensor]] = []

    def listen(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        heard[:] = [(module, inputs[0])]

    def features() -> torch.Tensor:
        if not heard:
            message = (
                "no linear or convolutional layer of the network ran, so there are no features before the last one; embed "
                "the images by your own means, and give the array."
            )
            raise InputError(message)
        return _pooled(*heard.pop())

    hooks = [part.register_forward_pre_hook(listen) for part in network.modules() if isinstance(part, WEIGHTED)]
    try:
        yield features
    finally:
        for hook in hooks:
            hook.remove()


def plain(network: nn.Module) -> nn.Module:
    """Return the module inside ``torch.compile`` and ``DataParallel``, whose layers can be listened to."""
    parallel = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(network, parallel) or hasattr(network, "_orig_mod"):
        inner: nn.Module = getattr(network, "module" if isinstance(network, parallel) else "_orig_mod")
        network = inner
    return network


def _pooled(layer: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """Average over all but image and feature; features stand last for a linear layer, second for a convolution."""
    if features.ndim == 2:
        return features
    return features.flatten(1, -2).mean(1) if isinstance(layer, nn.Linear) else features.flatten(2).mean(2)

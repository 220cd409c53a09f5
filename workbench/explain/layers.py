"""Take the output of a layer as a leaf of autograd, so that only what follows the layer is differentiated."""

from __future__ import annotations

import difflib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

INSTEAD = "method='shap' needs no layer."


@dataclass
class Capture:
    """What the last watched layer with spatial extent gave in the forward pass just run."""

    name: str | None = None
    leaf: torch.Tensor | None = None
    given: torch.Tensor | None = None
    version: int = 0
    tokens: bool = False
    rank: int = 0
    watched: list[str] = field(default_factory=list)

    def take(self, name: str, output: Any) -> torch.Tensor | None:
        """Replace a layer's output by a copy that hangs on a fresh leaf; every later layer does so again."""
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return None
        if output.dim() != self.rank or output.shape[2:].numel() <= 1:
            # A transformer goes on with (n, tokens, features): its positions are no longer a grid.
            self.tokens = self.tokens or (self.leaf is not None and output.dim() == 3 and output.shape[1] > 1)
            return None
        if output is self.given and output._version == self.version:
            self.name = name  # an outer module hands on what an inner one gave
            return None
        self.leaf = output.detach().requires_grad_()
        with torch.enable_grad():
            # The copy may be overwritten by what follows (an in-place ReLU); the leaf keeps the layer's own values.
            self.given = self.leaf.clone()
        self.name, self.version, self.tokens = name, self.given._version, False
        return self.given


@contextmanager
def capture(network: torch.nn.Module, layer: str | None, inputs: torch.Tensor) -> Iterator[Capture]:
    """Watch `layer`, or with None every layer, while the block runs `network` once; hooks are removed at its end.

    With None the last layer whose output has spatial extent wins, under the outermost name it goes by: ``layer4``
    of a ResNet, the ReLU before the pooling of a DenseNet. A layer that runs several times counts with its last run.

    Raises
    ------
    InputError : where `layer` is unknown; the nearest names are offered.
    """
    names = {name: module for name, module in network.named_modules(remove_duplicate=False) if name}
    if layer is not None and layer not in names:
        near = difflib.get_close_matches(layer, names, n=5, cutoff=0.4) or list(names)[-5:]
        raise unknown_name("layer", layer, near)
    seen = Capture(rank=inputs.dim())
    handles = []
    for name in names if layer is None else [layer]:

        def hook(_module: torch.nn.Module, _args: Any, output: Any, name: str = name) -> torch.Tensor | None:
            return seen.take(name, output)

        handles.append(names[name].register_forward_hook(hook))
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def check_captured(seen: Capture, layer: str | None, network: torch.nn.Module) -> torch.Tensor:
    """Return the leaf, or say why there is none and what would work."""
    if seen.leaf is None and layer is None:
        message = (
            f"no layer of {type(network).__name__} gives an output with spatial extent (no convolution?), so there is "
            f"nothing Grad-CAM could draw; {INSTEAD}"
        )
        raise InputError(message)
    if seen.leaf is None:
        message = (
            f"layer {layer!r} did not give a tensor (images, channels, positions…) with more than one position in this "
            f"forward pass; leave layer out to take the last one that does. {INSTEAD}"
        )
        raise InputError(message)
    if layer is None and seen.tokens:
        message = (
            f"{type(network).__name__} turns its positions into tokens after layer {seen.name!r}, where Grad-CAM has no "
            f"grid to draw on. Name a convolutional layer with layer=… if one carries meaning; {INSTEAD}"
        )
        raise InputError(message)
    return seen.leaf

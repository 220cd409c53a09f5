"""Take the output of a layer as a leaf of autograd, so that only what follows the layer is differentiated."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

INSTEAD = "method='shap' needs no layer."


def forward_from(
    network: torch.nn.Module, layer: str | None, inputs: torch.Tensor, *, run: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, Capture]:
    """Run the network once, with autograd recording only what follows `layer`; hooks are removed at its end.

    With None the last layer whose output has spatial extent is taken, under the outermost name it goes by: ``layer4``
    of a ResNet, the ReLU before the pooling of a DenseNet. A layer that runs several times counts with its last run.

    Parameters
    ----------
    run : gives the logits of inputs; calls `network`.

    Raises
    ------
    InputError : where `layer` is unknown; the nearest names are offered.
    """
    names = [name for name, _ in network.named_modules() if name]
    if layer is not None:
        known = dict(network.named_modules(remove_duplicate=False))
        if layer not in known or not layer:
            raise unknown_name("layer", layer, difflib.get_close_matches(layer, names, n=5, cutoff=0.4) or names[-5:])
        return _watched(network, {layer}, [layer], inputs, run)
    # The layer looked for is nearly always among the last tenth; copying every output would cost half a forward pass.
    tail = names[-max(8, len(names) // 10) :]
    around = {name.rsplit(".", depth)[0] for name in tail for depth in range(1, name.count(".") + 1)}
    logits, seen = _watched(network, around.union(tail), names, inputs, run)
    return _watched(network, set(names), names, inputs, run) if seen.missed else (logits, seen)


@dataclass
class Capture:
    """What the last watched layer with spatial extent gave in the forward pass just run.

    `missed` tells that a layer which was not watched gave one later; `tokens` that the network went on with tokens.
    """

    rank: int
    name: str | None = None
    leaf: torch.Tensor | None = None
    given: torch.Tensor | None = None
    version: int = 0
    tokens: bool = False
    missed: bool = False

    def take(self, name: str, output: Any, *, watched: bool) -> torch.Tensor | None:
        """Replace a watched layer's output by a copy that hangs on a fresh leaf; every later layer does so again."""
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return None
        if output.dim() != self.rank or output.shape[2:].numel() <= 1:
            # A transformer goes on with (n, tokens, features): its positions are no longer a grid.
            self.tokens = self.tokens or (self.leaf is not None and output.dim() == 3 and output.shape[1] > 1)
            return None
        if output is self.given and output._version == self.version:
            self.name = name  # an outer module hands on what an inner one gave
            return None
        self.missed = not watched
        if not watched:
            return None
        self.leaf = output.detach().requires_grad_()
        with torch.enable_grad():
            # The copy may be overwritten by what follows (an in-place ReLU); the leaf keeps the layer's own values.
            self.given = self.leaf.clone()
        self.name, self.version, self.tokens = name, self.given._version, False
        return self.given


def _watched(
    network: torch.nn.Module,
    watched: set[str],
    names: list[str],
    inputs: torch.Tensor,
    run: Callable[[torch.Tensor], torch.Tensor],
) -> tuple[torch.Tensor, Capture]:
    seen = Capture(rank=inputs.dim())
    handles = []
    try:
        for name in names:

            def hook(_module: torch.nn.Module, _args: Any, output: Any, name: str = name) -> torch.Tensor | None:
                return seen.take(name, output, watched=name in watched)

            handles.append(network.get_submodule(name).register_forward_hook(hook))
        return run(inputs), seen
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

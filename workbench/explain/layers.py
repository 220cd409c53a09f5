"""Take the outputs of layers as leaves of autograd, so that only what follows them is differentiated."""

from __future__ import annotations

import difflib
import math
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.modules.module import register_module_forward_hook

from workbench.errors import InputError, unknown_name
from workbench.explain.survey import Survey, first_tensor, form, listed, survey
from workbench.explain.tokens import PREFIX, Tokens, tokens_on_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

INSTEAD = "method='shap' and method='occlusion' need no layer."
INPUT_OF = "input of "
"""In front of a layer's name: what goes into it, where what comes out carries no gradient (a transformer's last block)."""


@dataclass(frozen=True)
class Place:
    """One layer, and how its output lies on the image (the forms of :class:`~workbench.explain.survey.Seen`)."""

    name: str
    form: str = "grid"
    tokens: Tokens | None = None
    channels_last: bool = False

    def maps(self, values: torch.Tensor) -> torch.Tensor:
        """Return an output, or its gradient, as feature maps ``(n, channels, *positions)``."""
        if self.tokens is not None:
            return self.tokens.patches(values)
        if self.form == "frames":
            return values.transpose(0, 1)[None]
        return values.movedim(-1, 1) if self.channels_last else values


@dataclass(frozen=True)
class Look:
    """One forward pass and the outputs caught in it: `rows` tells which images of the batch; None means all."""

    output: torch.Tensor
    caught: tuple[torch.Tensor, ...]
    places: tuple[Place, ...]
    rows: np.ndarray | None = None


class Layers:
    """The layers that a map is drawn from: named, or found in the first batch and the same in all others.

    Without a name it is the last layer whose output has positions, under the outermost name it goes by: ``layer4`` of
    a ResNet, the ReLU before the pooling of a DenseNet. Of a segmentation it is the last of the coarsest ones, its
    bottleneck, since the very last is the segmentation itself (Vinogradova et al. 2020, arXiv:2002.11434, section 2).
    Of a transformer it is what enters the last block with attention: in what leaves it, only the class token is read.
    A layer that runs several times counts with its last run.

    Parameters
    ----------
    layer : a name as in ``network.named_modules()``, also ``"input of NAME"``; several; or None.
    dense : whether the network segments.

    Raises
    ------
    InputError : where a name is unknown; the nearest are offered.
    """

    def __init__(
        self, network: torch.nn.Module, layer: str | Sequence[str] | None = None, *, dense: bool = False
    ) -> None:
        self.network = network
        self.dense = dense
        self.names = (
            None
            if layer is None
            else _checked(network, list(layer) if isinstance(layer, list | tuple) else [str(layer)])
        )
        self.places: tuple[Place, ...] | None = None

    @property
    def setting(self) -> str | list[str] | None:
        """What was used, as the setting `layer` takes it."""
        names = [place.name for place in self.places or ()]
        return names[0] if len(names) == 1 else names or None

    def look(self, inputs: torch.Tensor, *, run: Callable[[torch.Tensor], torch.Tensor]) -> list[Look]:
        """Run the network once, with autograd recording only what follows the earliest of the layers.

        Images whose slices went through a 2-D network run one by one, in as many looks; all others in one.

        Parameters
        ----------
        run : gives the output of inputs; calls the network.

        Raises
        ------
        InputError : where a layer has no positions or did not run, or none has any.
        """
        if self.names is None:
            if not self.dense and not _attends(self.network) and (look := self._watch(inputs, run)):
                return [look]
            self.names = (self._found(survey(self.network, inputs)),)
        if self.places is not None and any(place.form == "frames" for place in self.places):
            return self._one_by_one(inputs, run)
        output, caught = catch(self.network, self.names, inputs, run=run)
        if self.places is None:
            self.places = self._placed(caught, inputs)
            if any(place.form == "frames" for place in self.places):
                return self._one_by_one(inputs, run)
        tensors = tuple(caught[name] for name in self.names)
        return [Look(output, tensors, self.places)]

    def _watch(self, inputs: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> Look | None:
        """Find the last layer with positions within the pass that explains; None where that cannot be told so."""
        seen = _Last(self.network, inputs)
        with seen.hook():
            output = run(inputs.clone())
        if seen.leaf is None or seen.doubtful or seen.name is None or output.dim() == inputs.dim():
            return None
        self.names = (seen.name,)
        self.places = (Place(seen.name, channels_last=self._channels_last(seen.name, seen.leaf, inputs)),)
        return Look(output, (seen.leaf,), self.places)

    def _one_by_one(self, inputs: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]) -> list[Look]:
        names, places = self.names or (), self.places or ()
        looks = []
        for row in range(len(inputs)):
            output, caught = catch(self.network, names, inputs[row : row + 1], run=run)
            looks.append(Look(output, tuple(caught[name] for name in names), places, np.array([row])))
        return looks

    def _found(self, found: Survey) -> str:
        grids = found.grids
        if found.dense and grids:
            fewest = min(math.prod(seen.shape[2:]) for seen in grids)
            grids = [seen for seen in grids if math.prod(seen.shape[2:]) == fewest]
        last = grids[-1] if grids else None
        later = found.tokens[-1] if found.tokens else None
        if later and last and (last.form == "frames" or last.when > later.when):
            later = None
        if later and found.block:
            return INPUT_OF + found.block
        if later and (last is None or later.length - math.prod(last.shape[2:]) in range(PREFIX + 1)):
            return later.name  # tokens that never attend to each other (an MLP-Mixer)
        if last is None:
            message = (
                f"no layer of {type(self.network).__name__} gives feature maps or tokens with more than one position (no "
                f"convolution, no transformer?), so there is nothing to draw on; {INSTEAD}"
            )
            raise InputError(message)
        return last.name

    def others(self, inputs: torch.Tensor) -> str:
        """Return names of layers that could be drawn, for a message."""
        found = survey(self.network, inputs)
        own = [seen.name for seen in [*found.grids, *found.tokens] if seen.name not in (self.names or ())]
        return listed(own) or "none"

    def _placed(self, caught: dict[str, torch.Tensor], inputs: torch.Tensor) -> tuple[Place, ...]:
        known: list[Survey] = []  # made only if a layer is no plain feature map

        def once() -> Survey:
            if not known:
                known.append(survey(self.network, inputs))
            return known[0]

        return tuple(self._place(name, caught.get(name), inputs, once) for name in self.names or ())

    def _place(self, name: str, tensor: torch.Tensor | None, inputs: torch.Tensor, once: Callable[[], Survey]) -> Place:
        if tensor is None:
            message = (
                f"layer {name!r} did not run in this forward pass, or gave no tensor; layers that did: "
                f"{listed([seen.name for seen in [*once().grids, *once().tokens]]) or 'none'}."
            )
            raise InputError(message)
        shaped = form(tensor, inputs)
        if shaped == "tokens":
            found = once()
            axis = self._batch_axis(name, tensor, inputs, found)
            length = tensor.shape[1 - axis]
            return Place(name, shaped, tokens_on_grid(length, inputs.shape[2:], found, batch_axis=axis))
        if shaped is None:
            message = (
                f"layer {name!r} gave {tuple(tensor.shape)}, not images, channels and more than one position on an image of "
                f"{' × '.join(map(str, inputs.shape[2:]))} pixels; layers that do: {listed([seen.name for seen in once().grids]) or 'none'}. {INSTEAD}"
            )
            raise InputError(message)
        return Place(name, shaped, channels_last=shaped == "grid" and self._channels_last(name, tensor, inputs))

    def _channels_last(self, name: str, tensor: torch.Tensor, inputs: torch.Tensor) -> bool:
        """Tell a layer whose channels are its last axis, as within Swin transformers and ConvNeXt."""
        if type(self.network.get_submodule(name.removeprefix(INPUT_OF))) in {torch.nn.Linear, torch.nn.LayerNorm}:
            return True
        shape, spatial = tensor.shape, inputs.shape[2:]
        return len(spatial) == 2 and not _proportional(shape[2:], spatial) and _proportional(shape[1:3], spatial)

    def _batch_axis(self, name: str, tensor: torch.Tensor, inputs: torch.Tensor, found: Survey) -> int:
        """Tell whether images or tokens come first, from the survey of one image, where it cannot be mistaken."""
        if name == INPUT_OF + (found.block or ""):
            return found.batch_axis
        seen = found.named(name)
        if seen is not None:
            return seen.shape.index(1)
        return 0 if tensor.shape[0] == len(inputs) else 1


def _checked(network: torch.nn.Module, layers: list[str]) -> tuple[str, ...]:
    known = [name for name, _ in network.named_modules(remove_duplicate=False) if name]
    for layer in layers:
        name = layer.removeprefix(INPUT_OF) if isinstance(layer, str) else layer
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=5, cutoff=0.4)
            raise unknown_name("layer", layer, near or listed(known).split(", "))
    if not layers or len(set(layers)) < len(layers):
        message = f"layer {layers} must name at least one layer, and each once; leave it out to have it found."
        raise InputError(message)
    return tuple(layers)


def _proportional(positions: Sequence[int], spatial: Sequence[int]) -> bool:
    return abs(positions[1] - positions[0] * spatial[1] / spatial[0]) <= 1


def _attends(network: torch.nn.Module) -> bool:
    """Tell by their names whether some module is likely to attend over tokens; a look at one image then decides."""
    telling = ("attention", "attn", "transformer", "sablock", "mixer")
    kinds = {type(module) for module in network.modules()}
    return any(word in kind.__name__.lower() for kind in kinds for word in telling)


def catch(
    network: torch.nn.Module,
    names: Sequence[str],
    inputs: torch.Tensor,
    *,
    run: Callable[[torch.Tensor], torch.Tensor],
    keep: bool = False,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Run the network and return its output and the named layers', each of them ready to be differentiated by.

    With `keep`, what is recorded before a single layer stays so; else it is cut off.
    """
    caught: dict[str, torch.Tensor] = {}
    alone = len(names) == 1 and not keep

    def take(name: str, values: Any) -> Any:
        tensor = first_tensor(values)
        if tensor is None or not tensor.is_floating_point():
            return None
        if alone or not tensor.requires_grad:
            # Nothing before a single layer, or before the earliest of several, is recorded.
            tensor = tensor.detach().requires_grad_()
        caught[name] = tensor
        with torch.enable_grad():
            # The copy may be overwritten by what follows (an in-place ReLU); what was caught keeps the layer's values.
            given = tensor.clone()
        return given if isinstance(values, torch.Tensor) else type(values)((given, *values[1:]))

    def after(_module: torch.nn.Module, _args: Any, output: Any, name: str) -> Any:
        return take(name, output)

    def before(_module: torch.nn.Module, args: tuple[Any, ...], name: str) -> Any:
        taken = take(name, args[0]) if args else None
        return None if taken is None else (taken, *args[1:])

    handles = []
    try:
        for name in names:
            module = network.get_submodule(name.removeprefix(INPUT_OF))
            if name.startswith(INPUT_OF):
                handles.append(module.register_forward_pre_hook(partial(before, name=name)))
            else:
                handles.append(module.register_forward_hook(partial(after, name=name)))
        return run(inputs.clone()), caught
    finally:
        for handle in handles:
            handle.remove()


class _Last:
    """Catches, without knowing its name, the last layer with positions.

    Each of the last tenth of all layers gets its output replaced by a copy on a fresh leaf, until a later one does so
    again. It is `doubtful` where a layer before that tenth came later, or the network went on with tokens or frames.
    """

    def __init__(self, network: torch.nn.Module, inputs: torch.Tensor) -> None:
        self.names = {module: name for name, module in network.named_modules() if name}
        names = list(self.names.values())
        tail = names[-max(8, len(names) // 10) :]
        around = {name.rsplit(".", depth)[0] for name in tail for depth in range(1, name.count(".") + 1)}
        self.watched = around.union(tail)
        self.inputs = inputs
        self.name: str | None = None
        self.leaf: torch.Tensor | None = None
        self.given: torch.Tensor | None = None
        self.version = 0
        self.doubtful = False

    @contextmanager
    def hook(self) -> Iterator[None]:
        # One hook for all modules, heeded in this thread only: setting one on each of 400 modules takes longer.
        thread = threading.get_ident()

        def after(module: torch.nn.Module, _args: Any, output: Any) -> Any:
            name = self.names.get(module)
            return self.take(name, output) if name and threading.get_ident() == thread else None

        handle = register_module_forward_hook(after)
        try:
            yield
        finally:
            handle.remove()

    def take(self, name: str, output: Any) -> torch.Tensor | None:
        shaped = form(output, self.inputs) if isinstance(output, torch.Tensor) else None
        if shaped != "grid":
            self.doubtful = self.doubtful or shaped is not None
            return None
        if self.given is not None and output is self.given and self.given._version == self.version:
            self.name = name  # an outer module hands on what an inner one gave
            return None
        self.doubtful = name not in self.watched
        if self.doubtful:
            return None
        self.leaf = output.detach().requires_grad_()
        with torch.enable_grad():
            given = self.leaf.clone()
        self.given, self.name, self.version = given, name, given._version
        return given

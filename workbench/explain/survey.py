"""Send one image through a network and note which layers have positions: where a map could be drawn at all."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from workbench.explain.attention import watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any


@dataclass(frozen=True)
class Seen:
    """The output of one layer, under the outermost name it goes by.

    ``form`` is ``"grid"`` for ``(n, channels, *positions)``, ``"frames"`` for a volume or cine whose slices went
    through a 2-D network one by one, ``(n · slices, channels, *positions)``, and ``"tokens"`` for
    ``(n, tokens, features)``, or with the first two axes exchanged.
    """

    name: str
    form: str
    shape: tuple[int, ...]
    when: int

    @property
    def length(self) -> int:
        """How many tokens there are of the one image."""
        return self.shape[1] if self.shape[0] == 1 else self.shape[0]


@dataclass
class Survey:
    """What one image met on its way: outputs with positions, and the last self-attention.

    `block` is the outermost module that takes tokens and holds that attention and no other; `length` the number of
    tokens it compares, `batch_axis` where in the block's input the images are. `windowed` tells that some attention was
    over fewer tokens than any module around it took.
    """

    grids: list[Seen] = field(default_factory=list)
    tokens: list[Seen] = field(default_factory=list)
    attentions: int = 0
    windowed: bool = False
    block: str | None = None
    length: int = 0
    batch_axis: int = 0
    dense: bool = False

    def named(self, name: str) -> Seen | None:
        """Return the last output with positions of that layer."""
        return next((seen for seen in reversed([*self.grids, *self.tokens]) if seen.name == name), None)


def survey(network: torch.nn.Module, inputs: torch.Tensor) -> Survey:
    """Run the network on the first of `inputs` without autograd, watching every module."""
    found = _Watch(network, inputs[:1])
    with torch.no_grad(), watched(found.attend), found.hooks():
        output = network(inputs[:1].clone())
    return found.result(dense=isinstance(output, torch.Tensor) and output.dim() == inputs.dim())


@dataclass
class _Call:
    """A module at work: how many attentions ran within it, and the shape of the tokens it took."""

    name: str | None
    taken: tuple[int, ...] | None
    attentions: int = 0


class _Watch:
    def __init__(self, network: torch.nn.Module, inputs: torch.Tensor) -> None:
        self.names = {module: name for name, module in network.named_modules() if name}
        self.inputs = inputs
        self.calls: list[_Call] = []
        self.last: tuple[_Call, ...] = ()
        self.length = 0
        self.attentions = 0
        self.windowed = False
        self.outputs: list[Seen] = []
        self.previous: tuple[torch.Tensor, int] | None = None

    @contextmanager
    def hooks(self) -> Iterator[None]:
        # Hooks on all modules at once, for this thread only: setting one on each of 400 modules takes longer.
        thread = threading.get_ident()

        def before(module: torch.nn.Module, args: tuple[Any, ...]) -> None:
            if threading.get_ident() == thread:
                first = first_tensor(args)
                tokens = first is not None and form(first, self.inputs) == "tokens"
                self.calls.append(
                    _Call(self.names.get(module), tuple(first.shape) if first is not None and tokens else None)
                )

        def after(module: torch.nn.Module, _args: Any, output: Any) -> None:
            if threading.get_ident() == thread:
                self.calls.pop()
                # Of several outputs none stands for the layer; a single one may be named and then counts.
                self.note(self.names.get(module), output if isinstance(output, torch.Tensor) else None)

        handles = [register_module_forward_pre_hook(before), register_module_forward_hook(after)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def attend(self, matrix: torch.Tensor) -> None:
        self.attentions += 1
        self.length = matrix.shape[-1]
        self.windowed = self.windowed or not any(self.length in (call.taken or ())[:2] for call in self.calls)
        for call in self.calls:
            call.attentions += 1
        self.last = tuple(self.calls)

    def note(self, name: str | None, output: torch.Tensor | None) -> None:
        shaped = None if output is None else form(output, self.inputs)
        if output is None or name is None or shaped is None:
            return
        if self.previous is not None and self.previous[0] is output and self.previous[1] == output._version:
            self.outputs.pop()  # an outer module hands on what an inner one gave
        self.outputs.append(Seen(name, shaped, tuple(output.shape), len(self.outputs)))
        self.previous = output, output._version

    def result(self, *, dense: bool) -> Survey:
        found = Survey(
            [seen for seen in self.outputs if seen.form != "tokens"],
            [seen for seen in self.outputs if seen.form == "tokens"],
            attentions=self.attentions, windowed=self.windowed, length=self.length, dense=dense,
        )  # fmt: skip
        for call in self.last:  # outermost first
            if (
                call.name is not None
                and call.taken is not None
                and call.attentions == 1
                and self.length in call.taken[:2]
            ):
                found.block, found.batch_axis = call.name, call.taken.index(1)
                break
        return found


def form(output: torch.Tensor, inputs: torch.Tensor) -> str | None:
    """Tell how an output lies on an image (see :class:`Seen`); None where it has no positions."""
    if not output.is_floating_point():
        return None
    if output.dim() == inputs.dim() and len(output) == len(inputs):
        return "grid" if output.shape[2:].numel() > 1 else None
    if inputs.dim() == 5 and output.dim() == 4 and len(output) == len(inputs) * inputs.shape[2] > len(inputs):  # fmt: skip
        return "frames" if output.shape[2:].numel() > 1 else None
    if output.dim() == 3 and output.shape[2] > 1:
        images, other = len(inputs), {output.shape[0], output.shape[1]}
        return "tokens" if images in other and other != {1} else None
    return None


def first_tensor(output: Any) -> torch.Tensor | None:
    """Return the tensor itself, or the first of a tuple (an LSTM's or ``nn.MultiheadAttention``'s)."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, torch.Tensor) else None


def listed(names: list[str], most: int = 6) -> str:
    """Write the outermost names for a message, the last ones where there are many."""
    outer = sorted(dict.fromkeys(names), key=lambda name: name.count("."))[: 4 * most]
    kept = [name for name in dict.fromkeys(names) if name in outer]
    return ", ".join(kept[-most:])

"""Copies of a network whose learned parameters are replaced by random ones, stage by stage from the output down."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _NormBase
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from workbench.errors import InputError
from workbench.explain.draws import generator_of
from workbench.explain.settings import check_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

MEAN = "running_mean"


@dataclass(frozen=True)
class Stage:
    """One step of the cascade.

    Parameters
    ----------
    name : the module nearest to the input among those that are random.
    network : a copy; everything from the output down to `name` is random, the rest as it was. The next stage is made of
        the same copy: use it before asking for the next.
    randomised : names of the parameters that are random.
    fraction : their share of all learned values, 0–1.
    """

    name: str
    network: torch.nn.Module
    randomised: tuple[str, ...]
    fraction: float


@dataclass(frozen=True)
class _Learned:
    """A parameter of the copy, and the mean and standard deviation it had when it was learned."""

    name: str
    parameter: torch.Tensor
    mean: float
    deviation: float


def cascade(network: torch.nn.Module, inputs: torch.Tensor, *, stages: int = 6, seed: int = 0) -> Iterator[Stage]:
    """Randomise a copy of a network from its output down to its input (Adebayo et al. 2018, arXiv:1810.03292).

    Modules that hold parameters of their own are put in the order in which the network last uses them, found in one
    forward pass, and cut from the end into `stages` groups of equal number. Randomisation reaches further down at each
    stage; the last is random throughout. Each stage draws everything it randomises anew, so that six stages are six
    looks at chance and not one: with the output layer drawn once, a coarse map is alike or unlike in all of them.

    **Scale.** A tensor is drawn, value by value, from the normal distribution with its own mean and standard deviation,
    so each layer works at the scale it was trained to. ``reset_parameters()`` does not keep it: torch's default for
    convolutions is √6 times smaller than He et al.'s, and that multiplies over the layers until scores hardly differ
    from image to image. A tensor of equal values (a lone bias, a scale that was
    never trained) stays: nothing of where to look was learned there.

    **Batch normalisation.** Running statistics describe the activations of the trained network. Behind random weights
    they are wrong, layers saturate or die, and maps that are zero everywhere would pass for maps that changed. So every
    batch-norm layer that runs after the first random module takes its statistics from `inputs` as they arrive there.
    Layers before it keep theirs.

    Parameters
    ----------
    network : it is not changed.
    inputs : ``(n, C, *spatial)``, some images of the cohort, on the network's device.
    stages : steps from the output to the input, at least 1; no more are made than there are modules with parameters.
    seed : of all draws.

    Raises
    ------
    InputError : where `stages` is out of range, the network cannot be copied or has nothing to randomise.
    """
    check_whole("stages", stages, least=1)
    drawn = _copied(network)
    last = _last_uses(drawn, inputs)
    groups = _groups(drawn, last, stages)
    norms = [module for module in drawn.modules() if isinstance(module, _NormBase) and module.running_mean is not None]
    total = sum(part.parameter.numel() for group in groups for _, own in group for part in own)
    for number in range(1, len(groups) + 1):
        reached = [unit for group in groups[:number] for unit in group]
        parts = [part for _, own in reached for part in own]
        for part in parts:
            _draw(part, generator_of(f"{part.name} at stage {number}", seed))
        earliest = min(last[id(part.parameter)] for part in parts)
        _recalibrate(drawn, [norm for norm in norms if last[id(norm.running_mean)] >= earliest], inputs)
        name = reached[-1][0] or type(network).__name__
        fraction = sum(part.parameter.numel() for part in parts) / total
        yield Stage(name, drawn, tuple(part.name for part in parts), fraction)


def _copied(network: torch.nn.Module) -> torch.nn.Module:
    try:
        return copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
    except (TypeError, RuntimeError, NotImplementedError) as error:
        message = (
            f"{type(network).__name__} cannot be copied ({error}), and its own weights must not be randomised; wrap the "
            "network without what cannot be copied (open files, locks, tensors that hang on a graph)."
        )
        raise InputError(message) from error


class _Uses(TorchFunctionMode):
    """Notes when each tensor last took part in a computation; hooks would miss those of a module never called."""

    def __init__(self, tensors: set[int]) -> None:
        super().__init__()
        self.tensors, self.clock, self.last = tensors, 0, dict[int, int]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.clock += 1
        if any(isinstance(part, torch.Tensor) for part in tree_leaves(result)):  # not: asked for a dtype or a shape
            for part in tree_leaves((args, kwargs)):
                if id(part) in self.tensors:
                    self.last[id(part)] = self.clock
        return result


def _last_uses(network: torch.nn.Module, inputs: torch.Tensor) -> dict[int, int]:
    """Return when each parameter and running mean was last used, by its id.

    One that is never seen (scripted, unused) counts with the one registered before it.
    """
    tensors = [
        tensor
        for module in network.modules()
        for tensor in (
            *module.parameters(recurse=False),
            *(own for name, own in module.named_buffers(recurse=False) if name == MEAN),
        )
    ]
    with torch.no_grad(), _Uses({id(tensor) for tensor in tensors}) as seen:
        network(inputs[:1].clone())
    clock, last = 0, {}
    for tensor in tensors:
        clock = last[id(tensor)] = seen.last.get(id(tensor), clock)
    return last


def _groups(network: torch.nn.Module, last: dict[int, int], stages: int) -> list[list[tuple[str, list[_Learned]]]]:
    """Cut modules, latest used first, into groups of equal number: each module's name and its own parameters."""
    units, taken = [], set[int]()
    for name, module in network.named_modules():
        own = [
            _Learned(f"{name}.{key}".lstrip("."), parameter, *_spread(parameter))
            for key, parameter in module.named_parameters(recurse=False)
            if parameter.is_floating_point() and id(parameter) not in taken
        ]
        own = [part for part in own if part.deviation > 0]
        taken.update(id(part.parameter) for part in own)
        if own:
            units.append((max(last[id(part.parameter)] for part in own), name, own))
    if not units:
        message = (
            f"{type(network).__name__} has no parameter to randomise (none, or each holds one value throughout), so it "
            "cannot be told whether maps depend on what was learned."
        )
        raise InputError(message)
    ordered = [(name, own) for _, name, own in sorted(units, key=lambda unit: unit[0])][::-1]
    cuts = np.linspace(0, len(ordered), min(stages, len(ordered)) + 1).round().astype(int)
    return [ordered[start:end] for start, end in itertools.pairwise(cuts)]


def _spread(parameter: torch.Tensor) -> tuple[float, float]:
    """Return mean and standard deviation; the latter is exactly 0 for one value throughout."""
    values = parameter.detach().double().flatten()
    same = bool((values == values[:1]).all())
    return (float(values.mean()), 0.0 if same else float(values.std())) if len(values) else (0.0, 0.0)


def _draw(part: _Learned, generator: np.random.Generator) -> None:
    values = torch.from_numpy(generator.standard_normal(tuple(part.parameter.shape), dtype=np.float32))
    with torch.no_grad():
        part.parameter.copy_(part.mean + part.deviation * values)


def _recalibrate(network: torch.nn.Module, norms: list[torch.nn.Module], inputs: torch.Tensor) -> None:
    """Set the running statistics of these batch-norm layers to those of what arrives at them."""
    handles = [norm.register_forward_pre_hook(_take_statistics) for norm in norms]
    try:
        if norms:
            with torch.no_grad():
                network(inputs.clone())
    finally:
        for handle in handles:
            handle.remove()


def _take_statistics(layer: torch.nn.Module, args: tuple[torch.Tensor]) -> None:
    """Run before the layer itself, so that the layers after it already see what it gives with its new statistics."""
    values = args[0].transpose(0, 1).flatten(1).double()
    variance = values.var(1, unbiased=False)
    for name, statistic in (
        (MEAN, values.mean(1)),
        ("running_var", torch.where(variance > 0, variance, 1.0)),
    ):
        layer.get_buffer(name).copy_(statistic)

"""Look at a network without leaving a trace: everything that an explanation might change is put back."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


def unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    """Return the network inside ``DataParallel``, ``DistributedDataParallel`` and ``torch.compile``.

    A compiled graph ignores hooks set after compiling, and replicas are copies that hooks would have to be set on each
    time; the module they were made of has the same weights and is looked at instead.
    """
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while isinstance(network, parallel) or hasattr(network, "_orig_mod"):
        inner: torch.nn.Module = getattr(network, "module" if isinstance(network, parallel) else "_orig_mod")
        network = inner
    return network


@contextmanager
def untouched(network: torch.nn.Module) -> Iterator[None]:
    """Within the block the network is in evaluation mode, frozen and recorded by autograd; afterwards it is as it was.

    Put back, also when the block raises: train or evaluation mode of every submodule, ``requires_grad`` of every
    parameter, every buffer (a layer may count or average even in evaluation mode), the states of the random
    generators of Python, NumPy and torch, and torch's switches. Gradients are asked for by ``torch.autograd.grad``,
    which never writes ``.grad``; that of the parameters is laid aside all the same, since a function of the user's own
    may call ``backward``. Hooks are removed by who sets them; ``inplace`` flags are not touched at all.

    Frozen parameters are what makes an explanation cheap: autograd then records only what follows a tensor that
    itself asks for a gradient. The block works under ``torch.no_grad`` and ``torch.inference_mode``. Modules that were
    compiled in place (``module.compile()``) run as they were written, and attention takes no fused path around the
    modules that hooks are set on. Networks that draw random numbers while evaluating draw the same ones at each call.
    """
    modules = list(network.modules())
    modes = [(module, module.training) for module in modules]
    compiled = [(m, m._compiled_call_impl) for m in modules if getattr(m, "_compiled_call_impl", None) is not None]
    asked = [(parameter, parameter.requires_grad, parameter.grad) for parameter in network.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  the global state is what is put back
    devices = sorted({p.device.index or 0 for p in network.parameters() if p.is_cuda})
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        with torch.inference_mode(mode=False), torch.enable_grad(), torch.random.fork_rng(devices):
            torch.manual_seed(0)
            torch.backends.mha.set_fastpath_enabled(False)
            for module, training in modes:
                if training:
                    module.training = False
            for module, _ in compiled:
                module._compiled_call_impl = None
            for parameter, wanted, _ in asked:
                parameter.grad = None
                if wanted:
                    parameter.requires_grad_(False)
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in modes:
            module.training = training
        for module, implementation in compiled:
            module._compiled_call_impl = implementation
        for parameter, wanted, gradient in asked:
            parameter.grad = gradient
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002

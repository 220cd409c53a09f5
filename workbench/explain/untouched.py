"""Look at a network without leaving a trace: everything that an explanation might change is put back."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def untouched(network: torch.nn.Module) -> Iterator[None]:
    """Within the block the network is in evaluation mode, frozen and recorded by autograd; afterwards it is as it was.

    Put back, also when the block raises: train or evaluation mode of every submodule, ``requires_grad`` of every
    parameter, every buffer (a layer may count or average even in evaluation mode), and the states of the random
    generators of Python, NumPy and torch. Gradients are asked for by ``torch.autograd.grad``, which never writes
    ``.grad``; hooks are removed by who sets them; ``inplace`` flags are not touched at all.

    Frozen parameters are what makes an explanation cheap: autograd then records only what follows a tensor that
    itself asks for a gradient. The block works under ``torch.no_grad`` and ``torch.inference_mode``.
    Networks that draw random numbers while evaluating draw the same ones at each call.
    """
    modes = [(module, module.training) for module in network.modules()]
    asked = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in network.buffers()]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  the global state is what is put back
    devices = sorted({p.device.index or 0 for p in network.parameters() if p.is_cuda})
    try:
        with torch.inference_mode(mode=False), torch.enable_grad(), torch.random.fork_rng(devices):
            torch.manual_seed(0)
            network.eval()
            for parameter, _ in asked:
                parameter.requires_grad_(False)
            yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, wanted in asked:
            parameter.requires_grad_(wanted)
        with torch.no_grad():
            for buffer, before in buffers:
                if not torch.equal(buffer, before):
                    buffer.copy_(before)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002

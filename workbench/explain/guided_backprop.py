"""Guided backpropagation (Springenberg et al. 2014, arXiv:1412.6806), kept to show what a map that fails looks like."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from workbench.errors import EvidenceWarning, InputError
from workbench.explain.gradients import image_gradients
from workbench.explain.task import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from workbench.explain.task import Batch, Explain, Task

CAUTION = (
    "guided backpropagation draws nearly the same map for a network with random weights (Adebayo et al. 2018, "
    "arXiv:1810.03292) and for every class: it restores edges of the image (Nie et al. 2018, arXiv:1805.07039). "
    "Do not read it as evidence of what the model uses; method='saliency' or 'integrated-gradients' depends on the model."
)

# Names under which torch runs them, as modules, as functions and in place; nn.ReLU6 runs as hardtanh from 0 to 6.
RECTIFIERS = {"relu", "relu_", "relu6", "relu6_"}
BOUNDED = {"hardtanh", "hardtanh_"}
OTHERS = {
    "gelu", "silu", "silu_", "mish", "mish_", "hardswish", "hardswish_", "softplus", "prelu", "leaky_relu", "leaky_relu_", "rrelu",
    "rrelu_", "elu", "elu_", "celu", "celu_", "selu", "selu_", "_threshold", "threshold", "threshold_", "glu",
}  # fmt: skip


def guided_backprop(task: Task) -> Explain:
    """Differentiate as :func:`~workbench.explain.gradients.saliency` does, but let no ReLU hand back a negative gradient.

    ``R = 1[x > 0] · 1[R' > 0] · R'`` at each ReLU (figure 1). Signed at the image, in score per unit of the
    input, summed over channels.

    The method is here for comparison and teaching, and warns when asked: cutting negative gradients makes the map
    largely independent of the weights and of the class. ``wb.explain.trust`` shows it by randomising the model.

    Guided are ReLU and ReLU6, as modules (in place and used again, too) and as functions, which hooks on modules
    never see. Other activations keep their own gradient; the settings name them in ``unguided``.

    Raises
    ------
    InputError : where the network runs no ReLU at all, so that there is nothing to guide.
    """
    warnings.warn(CAUTION, EvidenceWarning, stacklevel=4)

    def explain(batch: Batch) -> Part:
        with GuidedReLUs() as seen:
            chosen, scores, maps = image_gradients(task, batch, lambda gradient: gradient.sum(1))
        _check_guided(seen, task.network)
        settings = {"guided": seen.guided, "unguided": sorted(seen.unguided), "caution": CAUTION}
        return Part(chosen, scores, maps, settings=settings)

    return explain


class GuidedReLUs(TorchFunctionMode):
    """While active, every ReLU hands back only positive gradients; nothing of the network is changed.

    Attributes
    ----------
    guided : number of ReLU calls so far.
    unguided : names of other activations that ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.guided = 0
        self.unguided: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run what torch would run, and guide what comes out of a ReLU."""
        named = dict(kwargs or {})
        result = func(*args, **named)
        name = getattr(func, "__name__", "")
        lowest = named.get("min_val", args[1] if len(args) > 1 else None) if name in BOUNDED else None
        if name in RECTIFIERS or lowest == 0:
            self.guided += 1
            if result.requires_grad:
                # The gradient from above is cut before the ReLU's own derivative, which keeps it where the input was
                # positive. Set on the result, it also holds after an in-place step.
                result.register_hook(_positive)
        elif name in OTHERS or name in BOUNDED:
            self.unguided.add(name.strip("_"))
        return result


def _positive(gradient: torch.Tensor) -> torch.Tensor:
    return gradient.clamp(min=0)


def _check_guided(seen: GuidedReLUs, network: torch.nn.Module) -> None:
    if seen.guided:
        return
    found = f" but {', '.join(sorted(seen.unguided))}" if seen.unguided else ""
    scripted = any(isinstance(module, torch.jit.ScriptModule) for module in network.modules())
    why = "TorchScript, whose ReLUs cannot be reached" if scripted else f"no ReLU{found}"
    message = (
        f"guided backpropagation changes the gradient of ReLUs, and {type(network).__name__} runs {why}; use "
        "method='saliency', or 'integrated-gradients', which work with any activation."
    )
    raise InputError(message)

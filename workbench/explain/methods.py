"""The methods by name, what each lets the user set, and the door for anybody's own."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InputError, unknown_name
from workbench.provenance import digest

if TYPE_CHECKING:
    from workbench.explain.task import Explain

Method = Callable[..., "Explain"]
"""Takes a `Task` and its own settings by keyword; what can be set is read off its signature."""

# name: module of this package, function. Imported when first asked for: shap alone takes seconds.
BUILT_IN = {
    "gradcam": ("cam", "gradcam"),
    "gradcam++": ("cam", "gradcam_plus_plus"),
    "hirescam": ("cam", "hirescam"),
    "layercam": ("cam", "layercam"),
    "eigencam": ("cam", "eigencam"),
    "scorecam": ("score_cam", "score_cam"),
    "rollout": ("rollout", "rollout"),
    "saliency": ("gradients", "saliency"),
    "input-x-gradient": ("gradients", "input_x_gradient"),
    "smoothgrad": ("gradients", "smoothgrad"),
    "integrated-gradients": ("integrated_gradients", "integrated_gradients"),
    "guided-backprop": ("guided_backprop", "guided_backprop"),
    "shap": ("expected_gradients", "expected_gradients"),
    "partition-shap": ("partition_shap", "partition_shap"),
    "region-shap": ("region_shap", "region_shap"),
    "occlusion": ("occlusion", "occlusion"),
    "rise": ("rise", "rise"),
}
ALSO_CALLED = {
    "expected-gradients": "shap",
    "grad-cam++": "gradcam++",
    "hires-cam": "hirescam",
    "layer-cam": "layercam",
    "score-cam": "scorecam",
    "eigen-cam": "eigencam",
    "attention-rollout": "rollout",
}
_registered: dict[str, Method] = {}


def known_methods() -> list[str]:
    """Return the names of all methods, registered ones last."""
    return [*BUILT_IN, *_registered]


def find_method(name: str) -> tuple[str, Method]:
    """Return a method's own name and its function.

    Raises
    ------
    InputError : where the name is unknown; the nearest is offered.
    """
    own = ALSO_CALLED.get(name, name)
    if own in _registered:
        return own, _registered[own]
    if own not in BUILT_IN:
        raise unknown_name("method", name, [*known_methods(), *ALSO_CALLED])
    module, function = BUILT_IN[own]
    found: Method = getattr(importlib.import_module(f"workbench.explain.{module}"), function)
    return own, found


def check_settings(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a method, defaults included; a misspelt one is refused with the nearest."""
    parameters = inspect.signature(find_method(name)[1]).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    # A number from a NumPy array is a number, not an array to be told by its hash.
    settings = {key: value.item() if isinstance(value, np.generic) else value for key, value in settings.items()}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return known | settings
    kind = f"{name} setting"
    for given in settings:
        if given not in known:
            raise unknown_name(kind, given, [*known, "target", "batch_size", "out"])
    return known | settings


def fingerprint(name: str) -> str:
    """Return what tells two functions apart that were registered under one name; a method of Workbench is its name."""
    return name if name in BUILT_IN else f"{name}: {written(inspect.unwrap(_registered[name]))}"


def written(function: Any) -> str:
    """Tell a function by its byte code, and by the plain values it closes over."""
    code = getattr(function, "__code__", None)
    if code is None:
        return type(function).__qualname__
    closed = [cell.cell_contents for cell in function.__closure__ or ()]
    values = [*closed, *(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return digest(_code(code), [repr(value) for value in values if isinstance(value, str | int | float | None)])


def _code(code: CodeType) -> list[Any]:
    constants = [
        _code(one) if isinstance(one, CodeType) else repr(one)
        for one in code.co_consts
        if not isinstance(one, frozenset)
    ]
    return [code.co_code.hex(), list(code.co_names), constants]


def register(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make anybody's own function a method: it gets targets, streaming, tests of trust and figures as all others do.

    Parameters
    ----------
    name : what ``wb.explain(…, method=name)`` will call it.

    Returns
    -------
    A decorator for a function ``(network, images, target) -> maps``, which may take settings by keyword:

    network : a ``torch.nn.Module`` in evaluation mode that gives ``(n, K)`` scores. Where a margin or a region of a
        segmentation is explained, it gives ``(n, 1)``, the explained score alone, and `images` come one at a time.
    images : float tensor ``(n, C, *spatial)``.
    target : int64 tensor ``(n,)``, the column of the scores to explain.
    maps : tensor or array ``(n, *spatial)`` or ``(n, C, *spatial)``; channels are summed.

    Raises
    ------
    InputError : where a method of Workbench has this name, or the name is no text.

    Examples
    --------
    >>> @register("gradient")
    ... def gradient(network, images, target):
    ...     images = images.clone().requires_grad_()
    ...     score = network(images).gather(1, target[:, None]).sum()
    ...     return torch.autograd.grad(score, images)[0]
    """
    if not isinstance(name, str) or not name:
        message = f'the name {name!r} must be text: @wb.explain.register("my-method") above the function.'
        raise InputError(message)
    if name in BUILT_IN or name in ALSO_CALLED:
        message = f"{name!r} is a method of Workbench; register yours under another name."
        raise InputError(message)

    def made(function: Callable[..., Any]) -> Callable[..., Any]:
        from workbench.explain.own import own_method

        method = own_method(name, function)
        method.__wrapped__ = function  # type: ignore[attr-defined]
        _registered[name] = method
        return function

    return made

"""Read what a user asks to be explained, and refuse, before any work, what the model or the cohort cannot answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InputError, unknown_name
from workbench.explain.target import EACH, PREDICTED, TRUE, Margin, Over, Target, class_index

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort
    from workbench.models.model import Model


def read_targets(target: Any, model: Model, cohort: Cohort) -> tuple[tuple[Target, ...], bool]:
    """Check what is asked; return the targets, and whether several were asked for.

    Raises
    ------
    InputError : where a target is no class of the model, or does not go with its task.
    """
    every = isinstance(target, str) and target == EACH and EACH not in model.classes
    if every:
        listed: list[Any] = list(model.classes)
    else:
        listed = list(target) if isinstance(target, list | tuple) else [target]
    if not listed:
        message = "target is an empty list; name a class, or leave it out to explain the predicted one."
        raise InputError(message)
    if len({str(one) for one in listed}) < len(listed):
        message = f"target {listed} names one target twice; each is explained once."
        raise InputError(message)
    checked = tuple(_checked(one, model, cohort) for one in listed)
    return checked, isinstance(target, list | tuple) or every


def explained(target: Target, model: Model) -> str:
    """Say in words what the score is that a target explains."""
    unit = "output" if model.task == "regression" else "logit"
    if isinstance(target, Margin):
        return f"{unit} of the class less that of {target.second}"
    if model.task == "segmentation" or isinstance(target, Over):
        region = target.region if isinstance(target, Over) else "its own prediction"
        return f"{unit} of the class, summed over {region}"
    return unit


def _checked(target: Any, model: Model, cohort: Cohort) -> Target:
    if isinstance(target, Margin):
        ends = tuple(_checked_class(end, model, cohort) for end in (target.first, target.second))
        if ends[0] == ends[1]:
            message = f"Margin({target.first!r}, {target.second!r}) is a class less itself; name two."
            raise InputError(message)
        if model.task == "segmentation":
            message = "a margin is of a classifier; of a segmentation, explain Over(name, mask=… or box=…)."
            raise InputError(message)
        return Margin(*ends)
    if isinstance(target, Over):
        if model.task in {"classification", "regression"}:
            message = (
                f"Over(…) sums a segmentation over a region, and this is a model for {model.task}; name a class alone."
            )
            raise InputError(message)
        if target.mask is not None and target.mask not in cohort.masks:
            raise unknown_name("mask", target.mask, cohort.masks)
        if target.mask is not None and target.box is not None:
            message = "Over(…) takes a mask or a box, not both."
            raise InputError(message)
        return Over(_checked_class(target.name, model, cohort), target.mask, target.box)
    return _checked_class(target, model, cohort)


def _checked_class(target: Any, model: Model, cohort: Cohort) -> str | int:
    if not isinstance(target, str | int | np.integer):
        message = (
            f"target of type {type(target).__name__} names no class; give one by name or index, 'predicted', 'true', a Margin or "
            "an Over, or a list of these."
        )
        raise InputError(message)
    if target not in model.classes and target == TRUE and model.task in {"classification", "multilabel"}:
        for label in cohort.table["label"].unique():
            class_index(label, model.classes)
        return TRUE
    only = model.task == "classification" or (model.task == "regression" and len(model.classes) == 1)
    if target not in model.classes and target == PREDICTED and only:
        return PREDICTED
    if target not in model.classes and target in {TRUE, PREDICTED}:
        message = f"target {target!r} has no one meaning for {model.task}; name one of its outputs: {', '.join(model.classes)}."
        raise InputError(message)
    index = class_index(target, model.classes)
    return target if isinstance(target, str) else index

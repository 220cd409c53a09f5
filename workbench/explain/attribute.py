"""The verb: explain what a model says of each image of a cohort."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import pandas as pd

from workbench.errors import EvidenceWarning
from workbench.explain.attributions import SATURATED, Attributions, Source
from workbench.explain.chosen import Question
from workbench.explain.gather import Gathered, InMemory, OnDisk
from workbench.explain.methods import check_settings, find_method, fingerprint, written
from workbench.explain.reading import explained, read_targets
from workbench.explain.task import Task
from workbench.explain.untouched import untouched
from workbench.imaging.preprocess import Preprocessing
from workbench.progress import live
from workbench.provenance import Provenance, digest, plain

# How far a score may lie from the one found before, relative to its size: other batches round differently.
SAME_SCORE = 1e-3

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from workbench.cohorts.cohort import Cohort
    from workbench.explain.target import Several, Target
    from workbench.models.model import Model


@overload
def explain(
    model: Model, cohort: Cohort, method: str = ..., *, target: Several | Literal["each"],
    batch_size: int = ..., out: str | Path | None = ..., **settings: Any,
) -> dict[str, Attributions]: ...  # fmt: skip
@overload
def explain(
    model: Model, cohort: Cohort, method: str = ..., *, target: Target = ...,
    batch_size: int = ..., out: str | Path | None = ..., **settings: Any,
) -> Attributions: ...  # fmt: skip
def explain(
    model: Model,
    cohort: Cohort,
    method: str = "gradcam",
    *,
    target: Target | Several = "predicted",
    batch_size: int = 16,
    out: str | Path | None = None,
    **settings: Any,
) -> Attributions | dict[str, Attributions]:
    """Draw one heat map an image: what in it spoke for (positive) or against (negative) a class.

    The score explained is the target's logit, before softmax or sigmoid: a saturated probability has no gradient to
    explain. The model is left exactly as it was.

    Parameters
    ----------
    model : a trained or wrapped model.
    cohort : the images; they are read and explained batch by batch.
    method : a name from :func:`~workbench.explain.methods.known_methods`, e.g. ``"gradcam"`` (about one forward pass
        an image), ``"shap"`` (expected gradients; hundreds), ``"region-shap"``, ``"occlusion"``; or a registered one.
    target : a class or output by name or index, ``"predicted"`` (each image's own), ``"true"`` (each image's label),
        :class:`~workbench.explain.target.Margin` of two classes, or :class:`~workbench.explain.target.Over` a region
        of a segmentation. A list of these, or ``"each"`` for every class, is answered from the same forward passes.
    batch_size : images, or perturbed inputs, that go through the network at once; a smaller number takes less memory
        and gives the same maps.
    out : folder to write the maps to as they are made. Memory then stays flat however large the cohort, and the same
        call goes on where a stopped one ended. Several targets get a folder each within.
    **settings : the method's own, told in its documentation; a misspelt one is refused.

    Returns
    -------
    Attributions : maps on the model's input grid, in the cohort's order, never rescaled. For several targets a dict
        of them, by the target's name.

    Raises
    ------
    InputError : where a name (method, setting, target, layer) is unknown, an image or a weight is NaN, or the method
        cannot work on this network; the message says what would.
    FileError : where `out` cannot be written; what is finished stays there.

    Examples
    --------
    >>> maps = wb.explain(model, test, "gradcam", target="true")  # doctest: +SKIP
    >>> maps.share(test, "lesion").mean()  # doctest: +SKIP
    """
    name, prepare = find_method(method)
    chosen = check_settings(name, settings)
    targets, several = read_targets(target, model, cohort)
    task = Task(model, cohort, Question(targets, model, cohort), batch_size)
    names = [target_name(one, model) for one in targets]
    gathered = (
        InMemory(len(cohort), len(targets))
        if out is None
        else OnDisk(out, len(cohort), names if several else None, _question(task, name, chosen))
    )
    with closing(gathered), untouched(task.network):
        if isinstance(gathered, OnDisk) and gathered.done and not _answers_alike(task, gathered):
            gathered.start_over()
        if gathered.done < len(cohort):
            answer = prepare(task, **chosen)
            with live(f"Explaining by {name}", len(cohort), keep=False) as shown:
                shown.restore(gathered.done, [])
                for batch in task.batches(gathered.done):
                    gathered.add(answer(batch))
                    shown.advance(len(batch.ids))
        wholes = gathered.finish()
    table = cohort.table[list(dict.fromkeys(["patient", "label", *cohort.attributes]))]
    values = [
        _attributions(model, cohort, whole, table, target=one, method=name, settings=chosen)
        for one, whole in zip(targets, wholes, strict=True)
    ]
    if isinstance(gathered, OnDisk):
        values = gathered.saved(values)
    _warn_saturated(values)
    return dict(zip(names, values, strict=True)) if several else values[0]


def target_name(target: Target, model: Model) -> str:
    """Return what a target is called: a class by its name."""
    return model.classes[target] if isinstance(target, int) else str(target)


def _question(task: Task, method: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the maps depend on: a folder is gone on with only for the very same."""
    from workbench.models.model import weights_digest

    own = {key: _fingerprint(value) for key, value in settings.items()}
    return {
        "method": fingerprint(method), "settings": plain(own), "targets": [plain(one) for one in task.question.targets],
        "weights": weights_digest(task.network), "network": digest(repr(task.network)), "model": task.model.provenance.content,
        "task": task.model.task, "classes": list(task.model.classes), "preprocessing": _recipe(task.model.preprocessing),
        "cohort": digest(task.cohort.provenance.content, task.cohort.ids),
    }  # fmt: skip


def _recipe(preprocessing: Any) -> Any:
    return (
        plain(preprocessing)
        if preprocessing is None or isinstance(preprocessing, Preprocessing)
        else written(preprocessing)
    )


def _answers_alike(task: Task, gathered: OnDisk) -> bool:
    """Tell whether the model still scores the first finished images as it did.

    What a network or a preprocessing of the user's own does may change without its weights or its name telling.
    """
    ids = task.cohort.ids[: min(gathered.done, task.batch_size)]
    output = task.evaluate(task.inputs(ids))
    scores = task.choose(output, ids).scores(output).cpu().numpy()
    return bool(np.allclose(scores, gathered.scores(len(ids)), rtol=SAME_SCORE, atol=SAME_SCORE))


def _attributions(
    model: Model, cohort: Cohort, whole: Gathered, table: pd.DataFrame, *, target: Target, method: str,
    settings: dict[str, Any],
) -> Attributions:  # fmt: skip
    rows = dict(whole.rows)
    targets, scores = rows.pop("target").astype(np.int64), rows.pop("score").astype(np.float32)
    if not rows["saturated"].any():
        del rows["saturated"]
    # A setting that is a value itself (a background cohort) is told by the method, in words, and is a parent.
    plainly = {key: value for key, value in settings.items() if not hasattr(value, "provenance")}
    told = {"target": target, **_short(plainly), **whole.settings}
    made = Provenance(
        "explain",
        {"method": method, **{key: value for key, value in told.items() if key != "seed"}},
        lambda: digest(cohort.ids, whole.maps, targets, scores),
        {"model": model.provenance, "cohort": cohort.provenance, **whole.parents},
        seed=settings.get("seed"),
    )
    findings = {f"found:{key}": values for key, values in rows.items()}
    if findings:
        table = table.join(pd.DataFrame(findings, index=table.index))
    recipe = model.preprocessing
    return Attributions(
        maps=whole.maps, ids=tuple(cohort.ids), method=method, settings=told, targets=targets,
        classes=tuple(model.classes), scores=scores, table=table,
        attributes=cohort.attributes, provenance=made, errors=whole.errors,
        preprocessing=recipe if isinstance(recipe, Preprocessing) else None, explained=explained(target, model),
        source=Source(cohort, target, settings),
    )  # fmt: skip


def _fingerprint(value: Any) -> Any:
    """Return what tells a setting from another: the content of a value, the hash of an array, else the setting itself."""
    if hasattr(value, "provenance"):
        return value.provenance.content
    if isinstance(value, Mapping):
        return {str(key): _fingerprint(item) for key, item in value.items()}
    return digest(np.asarray(value)) if hasattr(value, "shape") and hasattr(value, "dtype") else value


def _short(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Tell arrays (an atlas, an image to fill with) by shape and hash; whole they would fill the record."""
    return {key: _told(value) for key, value in settings.items()}


def _told(value: Any) -> Any:
    if isinstance(value, Mapping) and any(hasattr(item, "shape") for item in value.values()):
        return f"{len(value)} arrays, {digest(_fingerprint(value))[:12]}"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"array {tuple(value.shape)}, {_fingerprint(value)[:12]}"
    return value


def _warn_saturated(values: Sequence[Attributions]) -> None:
    flagged = sum(flag == SATURATED for value in values for flag in value.flags)
    if flagged:
        message = (
            f"{flagged} scores stand within 0.001 of 0 or 1, and all outputs lie between: the network seems to end in a softmax "
            "or sigmoid, whose limits leave hardly any gradient to explain. Wrap the network without it."
        )
        warnings.warn(message, EvidenceWarning, stacklevel=4)

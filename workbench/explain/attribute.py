"""The verb: explain what a model says of each image of a cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.explain.attributions import Attributions
from workbench.explain.methods import check_settings, find_method
from workbench.explain.task import Task, check_target
from workbench.explain.untouched import untouched
from workbench.imaging.preprocess import Preprocessing
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort
    from workbench.explain.task import Answer
    from workbench.models.model import Model


def explain(
    model: Model,
    cohort: Cohort,
    method: str = "gradcam",
    *,
    target: str | int = "predicted",
    batch_size: int = 16,
    **settings: Any,
) -> Attributions:
    """Draw one heat map an image: what in it spoke for (positive) or against (negative) a class.

    The score explained is the target's logit, before softmax or sigmoid: a saturated probability has no gradient to
    explain. The model is left exactly as it was.

    Parameters
    ----------
    model : a trained or wrapped model.
    cohort : the images; they are read and explained batch by batch.
    method : ``"gradcam"`` (about one forward pass an image) or ``"shap"``, also ``"expected-gradients"`` (hundreds).
    target : a class by name or index, ``"predicted"`` (each image's own) or ``"true"`` (each image's label).
    batch_size : images, or sampled inputs, that go through the network at once; a smaller number takes less memory
        and gives the same maps.
    **settings : the method's own: `layer` (:func:`~workbench.explain.gradcam.gradcam`); `background`,
        `background_size`, `samples`, `seed` (:func:`~workbench.explain.expected_gradients.expected_gradients`).

    Returns
    -------
    Attributions : maps on the model's input grid, in the cohort's order, never rescaled.

    Raises
    ------
    InputError : where a name (method, setting, target, layer) is unknown, an image or a weight is NaN, or the method
        cannot work on this network; the message says what would.

    Examples
    --------
    >>> maps = wb.explain(model, test, "gradcam", target="true")  # doctest: +SKIP
    >>> maps.share(test, "lesion").mean()  # doctest: +SKIP
    """
    name, function = find_method(method)
    chosen = check_settings(name, settings)
    check_target(target, cohort, model.classes)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        message = f"batch_size {batch_size!r} must be a whole number of at least 1."
        raise InputError(message)
    with untouched(model.network):
        answer = function(Task(model, cohort, target, batch_size), **chosen)
    return _attributions(model, cohort, answer, method=name, settings={"target": target, **chosen, **answer.settings})


def _attributions(
    model: Model, cohort: Cohort, answer: Answer, *, method: str, settings: dict[str, Any]
) -> Attributions:
    settings = {key: value for key, value in settings.items() if key != "seed"}
    made = Provenance(
        "explain",
        {"method": method, **settings},
        digest(cohort.ids, answer.maps, answer.targets, answer.scores),
        {"model": model.provenance, "cohort": cohort.provenance, **answer.parents},
        seed=answer.seed,
    )
    kept = list(dict.fromkeys(["patient", "label", *cohort.attributes]))
    findings = {f"found:{key}": values for key, values in answer.findings.items()}
    recipe = model.preprocessing
    return Attributions(
        maps=answer.maps, ids=tuple(cohort.ids), method=method, settings=settings, targets=answer.targets,
        classes=tuple(model.classes), scores=answer.scores, table=cohort.table[kept].assign(**findings),
        attributes=cohort.attributes, provenance=made, errors=answer.errors,
        preprocessing=recipe if isinstance(recipe, Preprocessing) else None,
    )  # fmt: skip

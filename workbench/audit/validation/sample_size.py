"""``wb.audit.sample_size``: how many images a stand-alone evaluation needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.audit.asked import share
from workbench.audit.validation.precision import Sizes, hanley_mcneil, of_gap, reached, smallest
from workbench.audit.validation.telling import check_between, check_level, told
from workbench.errors import InputError, unknown_name
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from workbench.audit.finding import Finding

METRICS = ("AUROC", "sensitivity", "specificity")


def sample_size(
    metric: str, *, expected: float, half_width: float | None = None, reference: float | None = None,
    correlation: float | None = None, margin: float | None = None, prevalence: float = 0.5, power: float = 0.8,
    alpha: float | None = None, level: float = 0.95, images: float = 1.0, intraclass: float = 1.0,
) -> Finding:  # fmt: skip
    """Say how many images a stand-alone evaluation needs: to be precise, to beat a reference, or not to fall behind it.

    Parameters
    ----------
    metric : ``"AUROC"``, ``"sensitivity"`` or ``"specificity"``.
    expected : its expected value, between 0.5 (AUROC) or 0 and 1.
    half_width : asks for precision: half the width of the interval with confidence `level`.
    reference : asks for power instead: the other model's expected value, or, without `correlation`, a fixed performance goal.
    correlation : of the two models' errors on the same images, −1 to below 1: of AUROCs (Hanley & McNeil's r, 0.3–0.7 for models
        alike), or of being right (sensitivity, specificity).
    margin : of non-inferiority; without it, superiority.
    prevalence : share of positives among the images, between 0 and 1.
    power, alpha : of the test; `alpha` is two-sided, 0.05, or with a margin one-sided, 0.025.
    images, intraclass : images of a patient, and how alike they are, 0–1; 1 counts a patient as one image, which is careful.

    Returns
    -------
    Finding
        `table`: one row: positives, negatives and `n` images, `patients`, what is reached.

    Raises
    ------
    InputError : where neither or both of `half_width` and `reference` are given, or nothing can be shown.

    References
    ----------
    Hanley & McNeil 1982, Radiology 143:29 and 1983, Radiology 148:839 (AUROC); Buderer 1996, Acad Emerg Med 3:895 (precision
    of sensitivity and specificity).

    Examples
    --------
    >>> import workbench as wb
    >>> wb.audit.sample_size("sensitivity", expected=0.9, half_width=0.05, prevalence=0.2).table[["positives", "n"]]
       positives    n
    0        139  693
    >>> wb.audit.sample_size("AUROC", expected=0.8, half_width=0.05).sentences[0]
    'An AUROC of 0.8 is told to ± 0.05 (95% CI) with 302 images, 151 of them positive.'
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    check_level(level)
    asked = {"metric": metric, "expected": expected, "half_width": half_width, "reference": reference,
             "correlation": correlation, "margin": margin}  # fmt: skip
    _check(asked)
    share(prevalence, "prevalence", ends=False)
    check_between(power, 0.5, 0.999, "power")
    alpha = (0.05 if margin is None else 0.025) if alpha is None else alpha
    check_between(alpha, 0.0005, 0.25, "alpha")
    if images < 1 or not 0 <= intraclass <= 1:
        message = f"images={images} must be 1 or more, and intraclass={intraclass} lie in 0–1."
        raise InputError(message)
    effect = 1 + (images - 1) * intraclass

    def error(sizes: Sizes) -> float:
        return math.sqrt(effect * _variance(metric, expected, reference, correlation, sizes))

    lead = 0.0 if reference is None else expected - reference + (margin or 0.0)
    if half_width is not None:
        z = normal_quantile(level)
        found = smallest(lambda sizes: z * error(sizes) <= half_width, prevalence)
    else:
        found = smallest(
            lambda sizes: reached(abs(lead), error(sizes), alpha, two_sided=margin is None) >= power, prevalence
        )
    if found is None:
        message = "more than 10⁸ images would be needed; ask for a wider interval or a larger difference."
        raise InputError(message)
    got = {"half_width": normal_quantile(level) * error(found)} if half_width is not None else {
        "power": reached(abs(lead), error(found), alpha, two_sided=margin is None)}  # fmt: skip
    row = {"metric": metric, "expected": expected, "reference": reference, "margin": margin, "positives": found.positives,
           "negatives": found.negatives, "n": found.n, "patients": math.ceil(found.n / images)} | got  # fmt: skip
    settings = asked | {"prevalence": prevalence, "power": power, "alpha": alpha, "level": level, "images": images,
                        "intraclass": intraclass}  # fmt: skip
    return told(
        "sample_size", f"Size of an evaluation of {metric}", pd.DataFrame([row]), sentences=[_sentence(settings, row)],
        methods=[_method(settings)], said=[], settings=settings, parents={},
    )  # fmt: skip


def _variance(metric: str, expected: float, reference: float | None, correlation: float | None, sizes: Sizes) -> float:
    """Variance of the metric, or of its difference to another model's, with these images."""
    values = [expected] if reference is None or correlation is None else [expected, reference]
    if metric == "AUROC":
        variances = [hanley_mcneil(value, sizes.positives, sizes.negatives) for value in values]
    else:
        count = sizes.positives if metric == "sensitivity" else sizes.negatives
        variances = [value * (1 - value) / count for value in values]
    return variances[0] if len(values) == 1 else of_gap(variances[0], variances[1], correlation or 0.0)


def _check(asked: dict[str, Any]) -> None:
    metric, expected, half_width, reference, correlation, margin = asked.values()
    least = 0.5 if metric == "AUROC" else 0.0
    for name, value in (("expected", expected), ("reference", reference)):
        if value is not None and not least < value < 1:
            message = f"{name}={value} must lie between {least:g} and 1 for {metric}."
            raise InputError(message)
    if (half_width is None) == (reference is None):
        message = "give either half_width= (how precise) or reference= (compared with what); not both, and not neither."
        raise InputError(message)
    if half_width is not None and not 0 < half_width < 0.5:
        message = f"half_width={half_width} must lie between 0 and 0.5."
        raise InputError(message)
    if correlation is not None and not -1 < correlation < 1:
        message = f"correlation={correlation} must lie between −1 and 1."
        raise InputError(message)
    if margin is not None and not 0 < margin < 0.5:
        message = f"margin={margin} must lie between 0 and 0.5."
        raise InputError(message)
    if reference is not None and (
        expected == reference if margin is None else expected - reference + (margin or 0) <= 0
    ):
        message = f"expected={expected} against reference={reference} with margin={margin}: there is nothing to show; no sample is large enough."
        raise InputError(message)


def _sentence(asked: dict[str, Any], row: dict[str, Any]) -> str:
    with_images = f"{row['n']:,} images, {row['positives']:,} of them positive"
    if asked["images"] > 1:
        with_images += f", of {row['patients']:,} patients"
    article = "An" if asked["metric"] == "AUROC" else "A"
    if asked["half_width"] is not None:
        return (
            f"{article} {asked['metric']} of {asked['expected']:g} is told to ± {asked['half_width']:g} "
            f"({100 * asked['level']:g}% CI) with {with_images}."
        )
    other = "a performance goal of" if asked["correlation"] is None else "another model's"
    claim = f"non-inferiority with a margin of {asked['margin']:g}" if asked["margin"] else "a difference"
    side = "one" if asked["margin"] else "two"
    return (
        f"With {with_images}, {claim} of {article.lower()} {asked['metric']} of {asked['expected']:g} to {other} {asked['reference']:g} is shown "
        f"with a power of {row['power']:.0%} at a {side}-sided level of {asked['alpha']:g}."
    )


def _method(asked: dict[str, Any]) -> str:
    how = (
        "Hanley and McNeil's variance (1982)" if asked["metric"] == "AUROC" else "the binomial variance (Buderer 1996)"
    )
    method = f"The sample size was computed from {how} and a prevalence of {asked['prevalence']:g}"
    if asked["correlation"] is not None:
        method += f", with a correlation of {asked['correlation']:g} between the models"
    if asked["images"] > 1:
        method += (
            f", with {asked['images']:g} images a patient and an intraclass correlation of {asked['intraclass']:g}"
        )
    return method + "."

"""The verb: ``wb.audit.mrmc(readings, reader=…, modality=…, case=…, score=…, label=…)``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from workbench.audit.asked import check_interval
from workbench.audit.finding import Finding
from workbench.audit.mrmc.covariance import COVARIANCES, delong, jackknife, leave_one_out, unbiased
from workbench.audit.mrmc.design import CROSSED, design_of
from workbench.audit.mrmc.dorfman_berbaum_metz import dorfman_berbaum_metz, pseudovalues
from workbench.audit.mrmc.merit import sides_of
from workbench.audit.mrmc.obuchowski_rockette import obuchowski_rockette
from workbench.audit.mrmc.readings import readings
from workbench.audit.mrmc.report import Study, main_table, methods, sentences, tables, warned
from workbench.audit.mrmc.ustatistics import u_statistics
from workbench.errors import EvidenceWarning, InputError, unknown_name
from workbench.provenance import Provenance, digest, file_digest

if TYPE_CHECKING:
    import pandas as pd

    from workbench.audit.mrmc.design import Design
    from workbench.audit.mrmc.estimate import Analysis
    from workbench.audit.mrmc.merit import Sides
    from workbench.audit.mrmc.readings import Readings

METHODS = ("OR", "DBM", "U")
RANDOM = ("random", "fixed")


def mrmc(
    table: str | Path | pd.DataFrame,
    *,
    reader: str,
    modality: str,
    case: str,
    score: str,
    label: str,
    patient: str | None = None,
    method: Literal["OR", "DBM", "U"] = "OR",
    covariance: Literal["DeLong", "jackknife", "unbiased"] | None = None,
    readers: Literal["random", "fixed"] = "random",
    cases: Literal["random", "fixed"] = "random",
    metric: str = "AUROC",
    threshold: float | None = None,
    reference: str | None = None,
    positive: str | None = None,
    level: float = 0.95,
) -> Finding:
    """Compare modalities read by several readers, for readers and cases like these (multi-reader multi-case analysis).

    The design is found from the table and named in the result. A modality with one reader of its own, beside
    modalities with several, is taken for a stand-alone model, and compared with the readers' mean.

    Parameters
    ----------
    table : one row a reading: a CSV, Excel or Parquet file, or a DataFrame.
    reader, modality, case : columns of who read, with what (film or digital; alone or with a model), and which case. A row
        without a reader is the stand-alone model's.
    score : column of the rating, a number that rises with suspicion: 1–5, 0–100, a probability, or a call of 0 and 1.
    label : column of the truth, two classes.
    patient : column of the patient, where patients have several cases; their cases are kept together (not for ``"U"``).
    method : ``"OR"`` (Obuchowski–Rockette), ``"DBM"`` (Dorfman–Berbaum–Metz; fully crossed only), both with Hillis'
        degrees of freedom, or ``"U"`` (U-statistics, Gallas; any design, readings may be missing; readers count by the
        pairs of cases that they read).
    covariance : for ``"OR"``: ``"DeLong"`` (default; Obuchowski 1997 where patients have several cases), ``"jackknife"``
        or ``"unbiased"``.
    readers, cases : ``"random"``, so that the result holds for others like them, or ``"fixed"``, for just these.
    metric : ``"AUROC"``, ``"sensitivity"``, ``"specificity"`` or ``"balanced accuracy"``.
    threshold : scores at or above it are calls of disease; for the last three, unless scores are 0 and 1.
    reference : the modality that others are compared with; by default all stand in the order of their names.
    positive : the positive class; by default the last of two.
    level : confidence of the intervals, 0.5–0.999.

    Returns
    -------
    Finding
        Its table has a row for each modality's mean and each difference, with interval, p and (beyond one difference)
        Holm's p. Tables: ``readers``, ``reader_differences``, ``test``, ``components``, and ``anova`` or ``moments``.

    Warns
    -----
    EvidenceWarning
        Once: few readers, few cases, readings left out, or ratings that fall with disease.

    Raises
    ------
    InputError : where the table cannot be read this way, or the method cannot handle the design; it says which can.

    References
    ----------
    Obuchowski & Rockette 1995, Commun Stat Simul Comput 24:285; Dorfman, Berbaum & Metz 1992, Invest Radiol 27:723;
    Hillis 2007, Stat Med 26:596; Hillis 2014, Stat Med 33:330; Gallas et al. 2009, Commun Stat Theory Methods 38:2586.

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> grid = pd.MultiIndex.from_product([range(5), ["CT", "film"], range(80)], names=["reader", "modality", "case"])
    >>> study = grid.to_frame(index=False)
    >>> study["diseased"] = study["case"] % 2
    >>> gain = study["diseased"] * np.where(study["modality"] == "CT", 2.0, 1.0)
    >>> study["rating"] = rng.normal(size=80)[study["case"]] + rng.normal(size=len(study)) + gain
    >>> found = wb.audit.mrmc(study, reader="reader", modality="modality", case="case", score="rating", label="diseased")
    >>> found.table[["group", "value"]].round(2)
           group  value
    0         CT   0.88
    1       film   0.72
    2  CT − film   0.16
    """
    _check(method, covariance, {"readers": readers, "cases": cases}, level)
    columns = {"reader": reader, "modality": modality, "case": case, "score": score, "label": label, "patient": patient}
    data = readings(table, columns, positive=positive, reference=reference)
    design = design_of(data)
    sides = sides_of(data, metric, threshold)
    chosen = covariance or ("jackknife" if method == "DBM" else "unbiased" if method == "U" else "DeLong")
    random = Random(readers == "random", cases == "random")
    _possible(data, design, method, chosen, random=random)
    analysis = _analysed(design, sides, method, chosen, random=random)
    study = Study(data, design, sides, analysis, method, chosen, readers, cases, metric, threshold, float(level))
    settings = {
        "columns": columns, "method": method, "covariance": chosen, "readers": readers, "cases": cases, "metric": metric,
        "threshold": threshold, "reference": reference, "positive": data.classes[1], "level": float(level),
        "design": str(design),
    }  # fmt: skip
    main, further, warning = main_table(study), tables(study), warned(study)
    origin = {} if not isinstance(table, str | Path) else {"file": Path(table).name, "sha256": file_digest(table)}
    content = digest(main, *further.values(), data.scores, data.truth, data.patients)
    finding = Finding(
        "mrmc", f"Reader study: {metric} of {len(data.modalities)} modalit{'y' if len(data.modalities) == 1 else 'ies'}", main,
        further, sentences(study, main), methods(study), warning, settings, Provenance("mrmc", settings | origin, content),
    )  # fmt: skip
    if warning:
        warnings.warn(" ".join(warning), EvidenceWarning, stacklevel=2)
    return finding


class Random(NamedTuple):
    """What the result shall hold beyond."""

    readers: bool
    cases: bool


def _analysed(design: Design, sides: Sides, method: str, chosen: str, *, random: Random) -> Analysis:
    if method == "U":
        return u_statistics(sides, random_readers=random.readers)
    at = sides.at()
    if method == "DBM":
        values, left = leave_one_out(sides)
        pseudo = pseudovalues(values[at], left[at])
        return dorfman_berbaum_metz(pseudo, random_readers=random.readers, random_cases=random.cases)
    values, matrix = {"DeLong": delong, "jackknife": jackknife, "unbiased": unbiased}[chosen](sides)
    known = at >= 0
    merit = np.where(known, values[at], np.nan)
    grid = np.where(known[:, :, None, None] & known, matrix[at[:, :, None, None], at], 0.0)
    return obuchowski_rockette(merit, grid, design, random_readers=random.readers, random_cases=random.cases)


def _check(method: str, covariance: str | None, random: dict[str, str], level: float) -> None:
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    if covariance is not None and covariance not in COVARIANCES:
        raise unknown_name("covariance", covariance, COVARIANCES)
    if covariance is not None and method != "OR":
        message = f"covariance= belongs to method='OR'; {method!r} has its own. Leave it out."
        raise InputError(message)
    for name, value in random.items():
        if value not in RANDOM:
            raise unknown_name(name, value, RANDOM)
    if random["readers"] == random["cases"] == "fixed":
        message = "with fixed readers and fixed cases nothing varies, so that there is no interval; let one of them be 'random'."
        raise InputError(message)
    check_interval(level, 100)


def _possible(data: Readings, design: Design, method: str, covariance: str, *, random: Random) -> None:
    """Refuse what a method cannot handle, and say what would work."""
    if method == "U":
        if data.clustered:
            at = int(np.bincount(data.patients).argmax())
            first, second = np.flatnonzero(data.patients == at)[:2]
            message = (
                f"cases {data.cases[first]!r} and {data.cases[second]!r} are of one patient, whom method='U' takes for two. "
                "Take method='OR', which keeps a patient's cases together, with the cases that all readers read."
            )
            raise InputError(message)
        if not random.cases:
            message = "method='U' takes cases for random; with cases='fixed' take method='OR'."
            raise InputError(message)
    elif design.why:
        message = (
            f"the design does not fit: {design.why}. method={method!r} needs every reader to read the same cases, or cases "
            "or readers that are fully nested. Take method='U', which takes any design, or leave out the incomplete part."
        )
        raise InputError(message)
    elif method == "DBM" and (design.kind != CROSSED or design.alone):
        message = f"method='DBM' needs a fully crossed study; this one is {design}. Take method='OR'."
        raise InputError(message)
    elif covariance == "unbiased" and data.clustered:
        message = (
            "the unbiased covariance takes a patient's cases for independent; take covariance='DeLong' or 'jackknife', "
            "which keep them together."
        )
        raise InputError(message)
    panel = data.read[list(design.panel)].any(2)
    if random.readers and panel.sum(1).max() < 2:
        message = "there is one reader, whose variation nobody can tell; take readers='fixed', and the result holds for this reader."
        raise InputError(message)

"""``wb.audit.delong``: do two models tell the classes apart equally well?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from workbench.audit.paper import p_said
from workbench.audit.validation.areas import Areas, areas, placements
from workbench.audit.validation.contrasts import Contrast, area_gap
from workbench.audit.validation.pairing import Columns, Pair, Source, pair_of
from workbench.audit.validation.telling import check_level, told, with_interval
from workbench.errors import unknown_name
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.finding import Finding

__all__ = ["Areas", "areas", "delong", "placements"]


def delong(
    first: Source, second: Source, *, label: str | None = None, score: str | Sequence[str] | None = None,
    patient: str | None = None, id: str | None = None, positive: str | None = None, paired: bool | None = None,
    level: float = 0.95, scale: Literal["logit", "plain"] = "logit", names: tuple[str, str] = ("first", "second"),
) -> Finding:  # fmt: skip
    """Compare the AUROCs of two models on the same images, or of two on images of their own, by DeLong's test.

    Where patients have several images, Obuchowski's clustered variance takes the place of DeLong's; the finding says so.

    Parameters
    ----------
    first, second : Predictions, a folder of saved ones, or anybody's table (CSV, Excel, Parquet, DataFrame).
    label, score, patient, id : columns of tables: the truth, the probability of the positive class (two where both models
        stand in one table: ``score=["a", "b"]``), the patient, the image id by which the two are paired.
    positive : the positive class; by default the last of two.
    paired : whether both models scored the same images; by default they did where all ids agree, and did not where none does.
    level : confidence of the intervals, 0.5–0.999.
    scale : of the interval of a single AUROC: ``"logit"``, which holds with 20 positives, or ``"plain"``, DeLong's own.
    names : what the two are called in the table.

    Returns
    -------
    Finding
        `table`: a row for each model and one for ``first − second``, with ``z`` and ``p``.

    Warns
    -----
    EvidenceWarning : where few patients carry the numbers, no patients are named, or images are left out of the pairing.

    Raises
    ------
    InputError : where images have two labels, share only some ids, or are all of one class.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44:837; Obuchowski 1997, Biometrics 53:567.

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.integers(0, 2, 300)
    >>> table = pd.DataFrame({"truth": truth, "who": range(300), "old": rng.beta(2 + truth, 3), "new": rng.beta(2 + 2 * truth, 3)})
    >>> found = wb.audit.delong(table, table, label="truth", score=["new", "old"], patient="who")
    >>> found.table[["model", "value", "p"]].round(3)
                model  value      p
    0           first  0.715    NaN
    1          second  0.656    NaN
    2  first − second  0.059  0.156
    """
    check_level(level)
    if scale not in ("logit", "plain"):
        raise unknown_name("scale", scale, ("logit", "plain"))
    pair = pair_of(first, second, Columns(label, score, patient, id), positive=positive, paired=paired, roles=names)
    z = normal_quantile(level)
    found, rows = pair.areas(), []
    for place, (name, side) in enumerate(zip(names, (pair.first, pair.second), strict=True)):
        note = side.note("AUROC")
        (low, high), method = found.interval(place, z, scale=scale)
        refused = note.startswith("refused")
        numbers = (math.nan, math.nan, math.nan, "") if refused else (float(found.values[place]), low, high, method)
        rows.append(_row(name, numbers, note) | _size(side))
    rows.append(_difference(pair, found, rows, z, names))
    table = pd.DataFrame(rows)
    table = table[["model", "metric", "value", "low", "high", "z", "p", "n", "positives", "patients", "method", "note"]]
    settings = {
        "positive": pair.positive, "paired": pair.paired, "level": float(level), "scale": scale, "names": list(names),
        "clustered": pair.clustered,
    }  # fmt: skip
    noted = [f"{'AUROC' if pair.paired else row['model']}: {row['note']}." for row in rows[:2] if row["note"]]
    said = [*pair.warnings, *dict.fromkeys(noted)]
    return told(
        "delong", "Two AUROCs compared", table, sentences=_sentences(rows, pair, level), methods=_methods(pair), said=said,
        settings=settings, parents=pair.parents,
    )  # fmt: skip


def _row(name: str, numbers: tuple[float, float, float, str], note: str) -> dict[str, Any]:
    value, low, high, method = numbers
    return {
        "model": name, "metric": "AUROC", "value": value, "low": low, "high": high, "z": math.nan, "p": math.nan,
        "method": method, "note": note,
    }  # fmt: skip


def _size(side: Any) -> dict[str, int]:
    return {"n": len(side), "positives": int(side.truth.sum()), "patients": len(set(side.patients))}


def _difference(
    pair: Pair, found: Areas, rows: list[dict[str, Any]], z: float, names: tuple[str, str]
) -> dict[str, Any]:
    gap: Contrast = area_gap(found)
    name = f"{names[0]} − {names[1]}"
    notes = [gap.note] + [row["note"] for row in rows if row["note"].startswith("refused")]
    note = "; ".join(dict.fromkeys(text for text in notes if text))
    if len(notes) > 1:
        return _row(name, (math.nan, math.nan, math.nan, ""), note) | _together(pair)
    low, high = gap.bounds(z)
    tested = {"z": gap.value / gap.error, "p": gap.p_two_sided()}
    return _row(name, (gap.value, low, high, gap.method), note) | tested | _together(pair)


def _together(pair: Pair) -> dict[str, int]:
    if pair.paired:
        return _size(pair.first)
    one, other = _size(pair.first), _size(pair.second)
    both = len(set(pair.first.patients) | set(pair.second.patients))
    return {"n": one["n"] + other["n"], "positives": one["positives"] + other["positives"], "patients": both}


def _sentences(rows: list[dict[str, Any]], pair: Pair, level: float) -> list[str]:
    first, second, gap = rows
    where = (
        f"on the same {gap['n']:,} images" if pair.paired else f"on {first['n']:,} and {second['n']:,} different images"
    )
    said = [
        f"The AUROC was {with_interval(first, level)} for {first['model']} and {with_interval(second, level)} for "
        f"{second['model']}, {where} of {gap['patients']:,} patients."
    ]
    if math.isnan(gap["value"]):
        return [*said, f"Their difference is not told: {gap['note']}."]
    if math.isnan(gap["p"]):
        return [*said, f"Their difference was {gap['value']:+.3f}; {gap['note']}."]
    return [*said, f"The difference was {with_interval(gap, level, signed=True)}, {p_said(gap['p'])}."]


def _methods(pair: Pair) -> list[str]:
    kind = "paired" if pair.paired else "unpaired"
    if pair.clustered:
        several = (
            "Patients had several images, which were kept together by Obuchowski's extension of DeLong's method (1997)."
        )
        return [f"AUROCs were compared by a {kind} test of their difference.", several]
    return [f"AUROCs were compared by DeLong's {kind} test (1988)."]

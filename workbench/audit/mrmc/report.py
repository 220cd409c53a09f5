"""The analysis as tables and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.estimation.evidence import ENOUGH, FEWEST
from workbench.audit.mrmc.covariance import delong
from workbench.audit.paper import p_said
from workbench.comparisons import holm
from workbench.intervals import area_score, logit, normal_quantile, wilson

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from workbench.audit.mrmc.design import Design
    from workbench.audit.mrmc.estimate import Analysis, Estimate
    from workbench.audit.mrmc.merit import Sides
    from workbench.audit.mrmc.readings import Readings

NAMES = {"OR": "Obuchowski–Rockette", "DBM": "Dorfman–Berbaum–Metz", "U": "U-statistics"}
MINUS = " − "
# Fewer random readers than this say little about others: with 3, a difference has about 2 degrees of freedom of readers.
FEW_READERS = 4


@dataclass(frozen=True, eq=False)
class Study:
    """A reader study with its analysis and what was chosen; see :func:`workbench.audit.mrmc`."""

    readings: Readings
    design: Design
    sides: Sides
    analysis: Analysis
    method: str
    covariance: str
    readers: str
    cases: str
    metric: str
    threshold: float | None
    level: float

    @property
    def said(self) -> str:
        """The method's name in a table."""
        return f"{NAMES[self.method]} ({self.covariance})" if self.method == "OR" else NAMES[self.method]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The differences' modalities."""
        return list(self.analysis.differences)

    def name(self, pair: tuple[int, ...]) -> str:
        """Name a modality, or a difference of two."""
        return MINUS.join(self.readings.modalities[each] for each in pair)


def main_table(study: Study) -> pd.DataFrame:
    """Return one row a mean and one a difference."""
    rows = [_row(study, (i,), study.analysis.means[i]) for i in range(len(study.readings.modalities))]
    rows += [_row(study, pair, study.analysis.differences[pair]) for pair in study.pairs]
    table = pd.DataFrame(rows)
    if len(study.pairs) > 1:
        table.insert(list(table.columns).index("p") + 1, "p_holm", holm(table["p"].to_numpy()))
    return table


def _row(study: Study, places: tuple[int, ...], estimate: Estimate) -> dict[str, object]:
    data = study.readings
    read = data.read[list(places)]
    seen = read.any((0, 1))
    counted = {kind: len(np.unique(data.patients[seen & side])) for kind, side in _needed(study)}
    scarce = min(counted.items(), key=lambda item: item[1])
    note = estimate.note
    if scarce[1] < ENOUGH:
        unit = "patient" if data.clustered else "case"
        note = (
            f"only {scarce[1]} {unit}{'s' * (scarce[1] > 1)} of class {scarce[0]!r}: wide interval, do not rely on it"
        )
    refused = scarce[1] < FEWEST
    if refused:
        note = f"refused: only {scarce[1]} of class {scarce[0]!r}; at least {FEWEST} are needed"
    low, high = (math.nan, math.nan) if refused else estimate.interval(study.level)
    mean = len(places) == 1
    if mean:
        # A mean's t interval knows nothing of the ends of the scale.
        low, high = (math.nan, math.nan) if math.isnan(low) else (max(low, 0.0), min(high, 1.0))
    return {
        "group": study.name(places), "by": "modality" if mean else "difference", "metric": study.metric,
        "value": estimate.value, "low": low, "high": high, "error": estimate.error, "df": estimate.freedom,
        "p": math.nan if mean or refused else estimate.p, "readers": int(read.any((0, 2)).sum()), "n": int(read.sum()),
        "cases": int(seen.sum()), "positives": int((seen & data.truth).sum()), "patients": len(np.unique(data.patients[seen])),
        "method": study.said, "note": note,
    }  # fmt: skip


def _needed(study: Study) -> list[tuple[str, np.ndarray]]:
    data = study.readings
    sides = [(data.classes[1], data.truth), (data.classes[0], ~data.truth)]
    return {"sensitivity": sides[:1], "specificity": sides[1:]}.get(study.metric, sides)


def tables(study: Study) -> dict[str, pd.DataFrame]:
    """Return the further tables: each reader, each reader's differences, the test, the components."""
    data, analysis = study.readings, study.analysis
    values, matrix = delong(study.sides)
    made = {
        "readers": _readers(study, values, matrix),
        "reader_differences": _reader_differences(study, values, matrix),
    }
    if analysis.test is not None:
        among = [data.modalities[i] for i in study.design.panel] if study.method != "U" else list(data.modalities)
        made["test"] = pd.DataFrame([{
            "modalities": ", ".join(among), "F": analysis.test.statistic, "df1": float(analysis.test.df1),
            "df2": analysis.test.df2, "p": analysis.test.p,
        }])  # fmt: skip
    named = {number: name for number, name in enumerate(data.modalities)}
    for name, table in {"components": analysis.components, **analysis.tables}.items():
        places = [column for column in ("modality_1", "modality_2") if column in table]
        made[name] = table.assign(**{column: table[column].map(named) for column in places})
    return made


def _readers(study: Study, values: np.ndarray, matrix: np.ndarray) -> pd.DataFrame:
    data, sides = study.readings, study.sides
    z = normal_quantile(study.level)
    rows = []
    for row, (i, j) in enumerate(zip(sides.modality, sides.reader, strict=True)):
        read = data.read[i, j]
        value, variance = float(values[row]), float(matrix[row, row])
        m, n = int((read & data.truth).sum()), int((read & ~data.truth).sum())
        low, high = _interval(study, value, variance, (m, n), z)
        rows.append({
            "modality": data.modalities[i], "reader": data.readers[j], "metric": study.metric, "value": value, "low": low,
            "high": high, "n": m + n, "positives": m, "standalone": int(i) in study.design.alone,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _interval(study: Study, value: float, variance: float, counts: tuple[int, int], z: float) -> tuple[float, float]:
    """Return a reader's interval: DeLong's on the logit scale, Wilson's for a share, a score interval at the ends."""
    if study.metric in {"sensitivity", "specificity"}:
        size = float(counts[study.metric == "specificity"])
        effective = min(value * (1 - value) / variance, size) if variance > 0 and 0 < value < 1 else size
        return wilson(value, effective, z)
    if 0 < value < 1 and variance > 0:
        return logit(value, variance, z)
    return area_score(value, *counts, z)


def _reader_differences(study: Study, values: np.ndarray, matrix: np.ndarray) -> pd.DataFrame:
    """Compare modalities reader by reader, for those who read with both; the interval holds for that reader."""
    at, z, rows = study.sides.at(), normal_quantile(study.level), []
    for a, b in study.pairs:
        for j in np.flatnonzero((at[a] >= 0) & (at[b] >= 0)):
            first, second = at[a, j], at[b, j]
            error = math.sqrt(max(matrix[first, first] + matrix[second, second] - 2 * matrix[first, second], 0.0))
            value = float(values[first] - values[second])
            rows.append({
                "group": study.name((a, b)), "reader": study.readings.readers[j], "metric": study.metric, "value": value,
                "low": value - z * error, "high": value + z * error, "error": error,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=["group", "reader", "metric", "value", "low", "high", "error"])


def warned(study: Study) -> tuple[str, ...]:
    """Say what a reader of the numbers must know first."""
    data, said = study.readings, []
    if data.blank:
        said.append(
            f"{data.blank} row{'s' * (data.blank > 1)} had no score and were left out as readings that did not take place."
        )
    few = {i: int(data.read[i].any(1).sum()) for i in study.design.panel}
    if study.readers == "random" and min(few.values()) < FEW_READERS:
        place = min(few, key=few.__getitem__)
        said.append(
            f"Only {few[place]} readers read with {data.modalities[place]!r}: they say little about other readers; plan for "
            "five or more, or take readers='fixed'."
        )
    counted = [(kind, len(np.unique(data.patients[side]))) for kind, side in _needed(study)]
    for kind, count in counted:
        if count < ENOUGH:
            said.append(
                f"Only {count} {'patients' if data.clustered else 'cases'} of class {kind!r}: intervals are wide and may not hold."
            )
    if study.metric == "AUROC" and np.mean([each.value for each in study.analysis.means.values()]) < 0.5:
        said.append(
            "The mean AUROC is below 0.5: do the ratings fall with suspicion? Then turn them round, or name positive=."
        )
    for pair, estimate in [((i,), each) for i, each in study.analysis.means.items()] + list(
        study.analysis.differences.items()
    ):
        if estimate.note:
            said.append(f"{study.name(pair)}: {estimate.note}.")
    return tuple(said)


def sentences(study: Study, table: pd.DataFrame) -> tuple[str, ...]:
    """Say what was found, with the numbers."""
    rows = table.to_dict("records")
    listed = [f"{_said(study, row)} with {row['group']}" for row in rows if row["by"] == "modality"]
    made = [f"The mean {study.metric} was {_listed(listed)}."]
    made += [
        f"The difference {row['group']} was {_said(study, row)}{_p(row['p'])}."
        for row in rows
        if row["by"] == "difference"
    ]
    test = study.analysis.test
    if test is not None and test.df1 > 1:
        df2 = f"{test.df2:.1f}" if math.isfinite(test.df2) else "∞"
        made.append(f"All equal: F({test.df1:g}, {df2}) = {test.statistic:.2f}{_p(test.p)}.")
    return tuple(made)


def methods(study: Study) -> tuple[str, ...]:
    """Say how it was done, for a methods section."""
    data, design = study.readings, study.design
    people = len(design.panel_readers)
    positives = int(data.truth.sum())
    of_patients = f" of {len(np.unique(data.patients))} patients" if data.clustered else ""
    first = (
        f"{people} readers rated {len(data.cases)} cases{of_patients} ({positives} {data.classes[1]}, "
        f"{len(data.cases) - positives} {data.classes[0]}) with {_listed([data.modalities[i] for i in design.panel])}, "
        f"{int(data.read[list(design.panel)].sum()):,} readings in all; the design is {design}."
    )
    how = {
        "OR": f"the method of Obuchowski and Rockette with {_covariance(study)} covariances and Hillis' degrees of freedom",
        "DBM": "the method of Dorfman, Berbaum and Metz on normalised jackknife pseudovalues with Hillis' degrees of freedom",
        "U": "U-statistics (Gallas), readers weighted by the pairs of cases that they read, with Satterthwaite's degrees of freedom",
    }[study.method]
    kinds = f"{study.readers} readers and {study.cases} cases"
    called = f" at a threshold of {study.threshold:g}" if study.threshold is not None else ""
    made = [first, f"The {study.metric}{called} was compared by {how}, for {kinds}."]
    if design.alone:
        alone = _listed([data.modalities[i] for i in design.alone])
        made.append(f"{alone} stood alone and was compared with the readers' mean; a model has no variance of readers.")
    if len(study.pairs) > 1:
        made.append("p-values of the differences were adjusted by Holm's method beside the unadjusted ones.")
    return tuple(made)


def _covariance(study: Study) -> str:
    clustered = study.readings.clustered
    names = {"DeLong": "Obuchowski's clustered" if clustered else "DeLong's", "unbiased": "unbiased",
             "jackknife": "jackknife (by patient)" if clustered else "jackknife"}  # fmt: skip
    return names[study.covariance]


def _number(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def _said(study: Study, row: Mapping[Hashable, Any]) -> str:
    if math.isnan(row["low"]):
        return _number(row["value"])
    return f"{_number(row['value'])} ({100 * study.level:g} % CI {_number(row['low'])} to {_number(row['high'])})"


def _p(p: float) -> str:
    return "" if math.isnan(p) else f", {p_said(p)}"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"

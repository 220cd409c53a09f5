"""``wb.audit.reader_sample_size``: how many readers and cases a reader study needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.audit.finding import Finding
from workbench.audit.validation.reader_power import cases_for, components_of
from workbench.audit.validation.reader_power import power as power_of
from workbench.audit.validation.telling import check_between, told
from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from workbench.provenance import Provenance

# A pilot with fewer readers hardly knows how far they differ in their preferences.
FEW_READERS = 5


def reader_sample_size(
    pilot: Finding | Mapping[str, float], *, difference: float, readers: Iterable[int] = range(3, 21), power: float = 0.8,
    alpha: float = 0.05, margin: float | None = None, random_readers: bool = True, most_cases: int = 5000,
) -> Finding:  # fmt: skip
    """Say how many cases a reader study of two modalities needs, for each number of readers.

    The study is fully crossed: every reader reads every case with both modalities. The error's components fall with the number
    of cases, that of readers' preferences does not: with too few readers no number of cases is enough.

    Parameters
    ----------
    pilot : what :func:`workbench.audit.mrmc` with ``method="OR"`` found; or the components, ``{"interaction": …, "error": …,
        "cov1": …, "cov2": …, "cov3": …, "cases": …}`` as in `workbench.audit.validation.reader_power.Components`.
    difference : the true difference of mean figures of merit that shall be found; with a `margin` the one expected, often 0.
    readers : numbers of readers to be tried, 2 or more (3 or more where they are random).
    power : wanted, 0.5–0.999.
    alpha : two-sided level; with a margin one-sided, for which 0.025 is usual.
    margin : of non-inferiority, above 0.
    random_readers : whether the result shall hold for other readers; cases are always random.
    most_cases : no more are looked for.

    Returns
    -------
    Finding
        `table`: a row for each number of readers: `cases` (NaN where `most_cases` are not enough), `power` reached, `df`, and
        `readings` to be made. Table ``"power"``: the power at 25 to `most_cases` cases.

    Warns
    -----
    EvidenceWarning : where the pilot's components rest on few readers.

    Raises
    ------
    InputError : where the difference and margin leave nothing to find, or a number is out of range.

    References
    ----------
    Hillis, Obuchowski & Berbaum 2011, Acad Radiol 18:129.

    Examples
    --------
    >>> import workbench as wb
    >>> components = {"interaction": 0.0002, "error": 0.0008, "cov1": 0.00034, "cov2": 0.00034, "cov3": 0.00024, "cases": 114}
    >>> wb.audit.reader_sample_size(components, difference=0.05, readers=[4, 8, 12]).table[["readers", "cases", "df"]].round(1)
       readers  cases     df
    0        4  366.0    5.9
    1        8  131.0   38.9
    2       12  106.0  112.5
    """
    check_between(power, 0.5, 0.999, "power")
    check_between(alpha, 0.0005, 0.25, "alpha")
    lead = abs(difference) if margin is None else difference + margin
    if (margin is not None and margin <= 0) or lead <= 0:
        message = f"difference={difference} with margin={margin} leaves nothing to show; the difference must not be 0, or lie above −margin."
        raise InputError(message)
    components, numbers = components_of(pilot), sorted({int(one) for one in readers})
    if not numbers or numbers[0] < (3 if random_readers else 1):
        message = f"readers={numbers} must be numbers of {3 if random_readers else 1} or more."
        raise InputError(message)
    asked: dict[str, Any] = {"alpha": alpha, "margin": margin, "random_readers": random_readers}
    rows = []
    for number in numbers:
        cases = cases_for(power, components, difference, readers=number, most=most_cases, **asked)
        at = cases or most_cases
        got, freedom = power_of(components, difference, readers=number, cases=at, **asked)
        note = "" if cases else f"power {got:.2f} with {most_cases:,} cases: more readers are needed"
        rows.append({"readers": number, "cases": float(cases) if cases else math.nan, "power": got, "df": freedom,
                     "readings": 2.0 * number * cases if cases else math.nan, "note": note})  # fmt: skip
    table = pd.DataFrame(rows)
    grid = [
        {
            "readers": number,
            "cases": cases,
            "power": power_of(components, difference, readers=number, cases=cases, **asked)[0],
        }
        for number in numbers
        for cases in (25, 50, 100, 150, 200, 300, 500, 1000, 2000, 5000)
        if cases <= most_cases
    ]
    settings = {"difference": float(difference), "power": power, "alpha": alpha, "margin": margin, "random_readers": random_readers,
                "components": components.__dict__}  # fmt: skip
    said: list[str] = []
    parents: dict[str, Provenance] = {}
    if isinstance(pilot, Finding):
        parents = {"pilot": pilot.provenance}
        few = int(pilot.table["readers"].max())
        if few < FEW_READERS and random_readers:
            said.append(
                f"The pilot had {few} readers: how far they differ in their preferences is hardly known, and so is the size."
            )
    return told(
        "reader_sample_size", "Size of a reader study", table, tables={"power": pd.DataFrame(grid)},
        sentences=_sentences(table, difference, power, alpha, margin), said=said, settings=settings, parents=parents,
        methods=_methods(random_readers=random_readers, shape="F" if margin is None else "t"),
    )  # fmt: skip


def _sentences(table: pd.DataFrame, difference: float, power: float, alpha: float, margin: float | None) -> list[str]:
    what = (
        f"a difference of {difference:g} is found"
        if margin is None
        else f"non-inferiority with a margin of {margin:g} is shown"
    )
    enough = table[table["cases"].notna()].to_dict("records")
    if not enough:
        return [f"With none of these numbers of readers {what} with a power of {power:.0%}: {table['note'].iloc[-1]}."]
    first, last, least = enough[0], enough[-1], min(enough, key=lambda row: row["readings"])
    side = "two-sided" if margin is None else "one-sided"
    said = f"{first['cases']:,.0f} cases and {first['readers']} readers"
    said += f", or {last['cases']:,.0f} cases and {last['readers']} readers" if last is not first else ""
    return [
        f"With {said}, {what} with a power of {power:.0%} ({side} level {alpha:g}).",
        f"The fewest readings ({least['readings']:,.0f}) are needed with {least['readers']} readers.",
    ]


def _methods(*, random_readers: bool, shape: str) -> list[str]:
    who = "random readers and cases" if random_readers else "these readers and random cases"
    return [
        f"Power was computed for a fully crossed study with {who} from Obuchowski and Rockette's variance components, the "
        f"non-central {shape} distribution and Hillis' degrees of freedom (Hillis, Obuchowski & Berbaum 2011)."
    ]

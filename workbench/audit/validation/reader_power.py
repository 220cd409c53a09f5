"""Power of a reader study from the variance components of Obuchowski and Rockette.

References
----------
Hillis, Obuchowski & Berbaum 2011, Acad Radiol 18:129, eq. 9–10.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.audit.finding import Finding
from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

# As the components are called by wb.audit.mrmc, and here.
NAMES = {"modality × reader": "interaction", "error": "error", "Cov1": "cov1", "Cov2": "cov2", "Cov3": "cov3"}


@dataclass(frozen=True)
class Components:
    """How readers' figures of merit vary.

    Parameters
    ----------
    interaction : variance of a reader's preference for one of the modalities (modality × reader); not below 0.
    error : variance of a reader's figure of merit from the cases, for `cases` cases.
    cov1, cov2, cov3 : covariance of these errors for the same cases: one reader with two modalities, two readers with one, two
        readers with two.
    cases : the number that the last four hold for; they fall as 1/cases.
    """

    interaction: float
    error: float
    cov1: float
    cov2: float
    cov3: float
    cases: int

    def __post_init__(self) -> None:
        if (
            not self.error > 0
            or self.cases < 2
            or not self.cov1 < self.error
            or not max(self.cov2, self.cov3) < self.error
        ):
            message = (
                f"error={self.error:g}, cov1={self.cov1:g}, cov2={self.cov2:g}, cov3={self.cov3:g}, cases={self.cases}: the error "
                "must be above 0 and above each covariance, and rest on two cases or more."
            )
            raise InputError(message)


def components_of(pilot: Finding | Mapping[str, float]) -> Components:
    """Read the components of a finding of ``wb.audit.mrmc(…, method="OR")``, or of a mapping with the names of `Components`.

    Raises
    ------
    InputError : where a component is missing, or they cannot be variances of anything.
    """
    if isinstance(pilot, Finding):
        if pilot.kind != "mrmc" or pilot.settings.get("method") != "OR":
            message = (
                "reader studies are sized from a pilot's wb.audit.mrmc(…, method='OR'), whose table 'components' is read, or "
                "from a mapping of components."
            )
            raise InputError(message)
        table = pilot.to_frame("components").set_index("component")["value"]
        named = {short: float(table[name]) for name, short in NAMES.items()}
        return Components(**named, cases=int(pilot.table["cases"].max()))
    fields = (*NAMES.values(), "cases")
    for name in pilot:
        if name not in fields:
            raise unknown_name("component", name, fields)
    absent = [name for name in fields if name not in pilot]
    if absent:
        message = f"component {absent[0]!r} is missing; give {', '.join(fields)}."
        raise InputError(message)
    return Components(**{name: float(pilot[name]) for name in NAMES.values()}, cases=int(pilot["cases"]))


def power(components: Components, difference: float, *, readers: int, cases: int, alpha: float, margin: float | None = None,
          random_readers: bool = True) -> tuple[float, float]:  # fmt: skip
    """Return the power of a fully crossed study of two modalities, and the degrees of freedom of its test.

    Parameters
    ----------
    components : of a pilot or of the literature.
    difference : true difference of the two modalities' mean figures of merit.
    readers, cases : of the study, with the pilot's share of diseased cases.
    alpha : two-sided; with a margin one-sided.
    margin : of non-inferiority; None asks for any difference.
    random_readers : whether the result shall hold for other readers.
    """
    from scipy.stats import chi2, ncf, nct, ncx2, norm, t
    from scipy.stats import f as fisher

    of_reader = components.cases / cases * (components.error - components.cov1)
    shared = components.cases / cases * max(components.cov2 - components.cov3, 0.0)
    interaction = max(components.interaction, 0.0) if random_readers else 0.0
    spread = interaction + of_reader + (readers - 1) * shared
    own = interaction + of_reader - shared
    freedom = spread**2 / (own**2 / (readers - 1)) if random_readers else math.inf
    error = math.sqrt(2 * spread / readers)
    if margin is None:
        shift = (difference / error) ** 2
        if math.isinf(freedom):
            return float(ncx2.sf(chi2.isf(alpha, 1), 1, shift)), freedom
        return float(ncf.sf(fisher.isf(alpha, 1, freedom), 1, freedom, shift)), freedom
    lead = (difference + margin) / error
    if math.isinf(freedom):
        return float(norm.sf(norm.isf(alpha) - lead)), freedom
    return float(nct.sf(t.isf(alpha, freedom), freedom, lead)), freedom


def cases_for(wanted: float, components: Components, difference: float, *, readers: int, alpha: float, most: int,
              margin: float | None = None, random_readers: bool = True) -> int | None:  # fmt: skip
    """Return the smallest number of cases that reaches a power, or None where `most` do not."""

    def enough(cases: int) -> bool:
        reached, _ = power(
            components,
            difference,
            readers=readers,
            cases=cases,
            alpha=alpha,
            margin=margin,
            random_readers=random_readers,
        )
        return reached >= wanted

    low, high = 2, most
    if not enough(most):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low

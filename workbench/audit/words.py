"""What an audit found and how it was done, in sentences with the numbers in them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.audit.estimation.evidence import NOT_ESTIMABLE, REFUSED
from workbench.audit.paper import p_said
from workbench.groups import unknown

if TYPE_CHECKING:
    from workbench.audit.result import Audit


def results(audit: Audit) -> list[str]:
    """Say what everybody's numbers are, which gaps stand after adjustment, and what could not be told."""
    table, gaps, settings = audit.table, audit.gaps, audit.settings
    first = table.iloc[0]
    positive = (
        f" ({first['positives']:,} images labelled {settings['positive']})" if settings["task"] == "binary" else ""
    )
    numbers = "; ".join(f"{name} {with_interval(row)}" for name, row in everybody(audit))
    said = [
        f"Among {len(audit.predictions):,} images of {audit.predictions.table['patient'].nunique():,} patients{positive}, the numbers were (value, "
        f"{100 * settings['level']:g} % CI): {numbers}."
    ]
    if len(gaps):
        said.append(_gaps_in_words(audit))
    unsure = table[(table["value"].isna()) & (table["group"] != "all")]
    if len(unsure):
        said.append(f"{len(unsure)} of {len(table)} numbers could not be estimated for want of patients.")
    return said


def everybody(audit: Audit) -> list[tuple[str, Any]]:
    """Return the names of everybody's numbers (of a finding: with it) and their rows."""
    rows = audit.table[audit.table["group"] == "all"].rename(columns={"class": "finding"})
    return [
        (f"{row.metric} of {row.finding}" if "finding" in rows else str(row.metric), row) for row in rows.itertuples()
    ]


def methods(audit: Audit) -> list[str]:
    """Say whom the numbers are of, how intervals and gaps were made and why, and where the threshold came from."""
    settings, table = audit.settings, audit.table
    patients = audit.predictions.table["patient"].nunique()
    said = [f"We audited {len(audit.predictions):,} images of {patients:,} patients with {_and(settings['metrics'])}."]
    if settings["task"] in ("binary", "multilabel"):
        said.append(_threshold(settings))
    weights = audit.predictions.weights
    if weights.size and weights.min() != weights.max():
        said.append(f"Images were weighted ({weights.min():.3g} to {weights.max():.3g}).")
    if settings["prevalence"] is not None:
        said.append(f"Every group was weighted to a prevalence of {100 * settings['prevalence']:g} %.")
    if settings["by"]:
        groups = table.drop_duplicates("group").groupby("by", sort=False).size()
        listed = ", ".join(f"{by} ({count})" for by, count in groups.items() if by)
        said.append(f"Groups (number): {listed}; missing values are a group of their own ({missing_in_words(audit)}).")
    alike: dict[str, list[str]] = {}
    for metric, rows in table[table["method"] != ""].groupby("metric", sort=False):
        used = rows["method"].value_counts()
        listed = ", ".join(f"{method} ({count} group{'s' if count > 1 else ''})" for method, count in used.items())
        alike.setdefault(listed, []).append(str(metric))
    for listed, metrics in alike.items():
        said.append(f"Intervals of {_and(metrics)}{' (each)' if len(metrics) > 1 else ''}: {listed}.")
    said.append(
        f"All intervals keep the images of a patient together; bootstrap intervals rest on {settings['replicates']:,} "
        f"replicates that draw patients (Poisson weights, seed {settings['seed']}). Simultaneous bands hold for all numbers "
        f"of a table at once with {100 * settings['level']:g} % probability (max-T)."
    )
    said.append(
        f"Numbers carried by fewer than {settings['enough']} patients of the class needed are marked, below "
        f"{settings['fewest']} they are refused."
    )
    if len(audit.gaps):
        said.append(_gap_methods(audit))
    return said


def thin_groups(table: pd.DataFrame) -> list[str]:
    """Name the groups whose sample cannot carry some number."""
    noted = table[table["note"] != ""]
    without = noted["note"].str.contains(f"{REFUSED}|{NOT_ESTIMABLE}", regex=True)
    few = noted["note"].str.contains("wide interval", regex=False)
    refused, wide = _listed(noted[without]["group"]), _listed(noted[few & ~without]["group"])
    parts = [f"some numbers of {refused} are refused or not estimable"] if refused else []
    parts += [f"some of {wide} are uncertain"] if wide else []
    return [f"Too few cases: {', and '.join(parts)}. See the column 'note'."] if parts else []


def with_interval(row: Any) -> str:
    """Write ``0.912 (0.874–0.941)``."""
    if pd.isna(row.value):
        return "not estimable"
    ends = (
        ""
        if pd.isna(row.low)
        else f" ({row.low:.3f} to {row.high:.3f})"
        if row.low < 0
        else f" ({row.low:.3f}–{row.high:.3f})"
    )
    return f"{row.value:.3f}{ends}".replace("-", "−")


def _gaps_in_words(audit: Audit) -> str:
    gaps = audit.gaps[audit.gaps["p"].notna()]
    alpha = 1 - audit.settings["level"]
    standing = gaps[gaps["p_holm"] < alpha]
    lead = f"Of {len(gaps)} gaps between groups that could be tested, {len(standing)} stood after Holm's adjustment"
    if standing.empty:
        return f"{lead} (p below {alpha:.2g}); the sample shows no gap that chance does not explain, which is not proof of none."
    told = [
        f"{row.metric} {_of(row)}of {row.group} against {'the rest' if row.reference == 'rest' else row.reference} "
        f"{with_interval(row)}, adjusted {_p(row.p_holm)}"
        for row in standing.sort_values("p_holm", kind="stable")
        .rename(columns={"class": "finding"})
        .head(5)
        .itertuples()
    ]
    more = f"; and {len(standing) - 5} more" if len(standing) > 5 else ""
    return f"{lead} (p below {alpha:.2g}): {'; '.join(told)}{more}."


def _gap_methods(audit: Audit) -> str:
    settings = audit.settings
    reference = settings["reference"]
    held = {
        "rest": "everybody else", "mean": "the mean of the groups", "largest": "the largest group",
    }.get(reference if isinstance(reference, str) else "", "")  # fmt: skip
    if not held:
        held = " and ".join(f"{name} of {by}" for by, name in reference.items()) + " (other attributes: everybody else)"
    used = audit.gaps.loc[audit.gaps["method"] != "", "method"].value_counts()
    methods_used = ", ".join(f"{method} ({count})" for method, count in used.items())
    said = (
        f"Each group was held against {held}, as a difference and as a ratio; intervals of the gap itself: {methods_used}. "
        f"p-values are where the interval touches no difference, adjusted over all {int(audit.gaps['p'].notna().sum())} gaps "
        "looked at (Holm; Benjamini–Hochberg)."
    )
    if settings["permutations"]:
        said += (
            f" Permutation p-values move patients between groups {settings['permutations']:,} times (studentised; for "
            "metrics within a class, among patients with the same classes)."
        )
    return said


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _of(row: Any) -> str:
    return f"({row.finding}) " if hasattr(row, "finding") else ""


def _threshold(settings: Any) -> str:
    positive = settings["positive"] or "positive for a finding"
    if settings["thresholds"] is not None:
        listed = ", ".join(f"{group} {value:g}" for group, value in settings["thresholds"].items())
        return f"Images were called {positive} at a score at or above their group's threshold: {listed}."
    return (
        f"Images with a score of {settings['threshold']:g} or more were called {positive} (threshold "
        f"{settings['threshold_origin']})."
    )


def missing_in_words(audit: Audit, names: list[str] | None = None) -> str:
    """Say of how many images each attribute is unknown: ``"sex: 12 missing, view: none missing"``."""
    if names is None:
        entries = audit.settings["by"]
        names = list(
            dict.fromkeys(name for entry in entries for name in ([entry] if isinstance(entry, str) else entry))
        )
    counts = {name: int(unknown(audit.predictions.table[name]).sum()) for name in names}
    return ", ".join(f"{name}: {f'{count:,}' if count else 'none'} missing" for name, count in counts.items())


def _p(value: float) -> str:
    return "p unknown" if math.isnan(value) else p_said(value)


def _listed(groups: pd.Series) -> str:
    names = list(dict.fromkeys(groups))
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more

"""What goes with the label where a model learns: ``wb.audit.association(training, ["sex", "site"])``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.asked import entries, whole
from workbench.audit.discovery.cases import Cases, Images, cases_of, checked, found, positive_class
from workbench.audit.discovery.crossfit import permutations
from workbench.audit.estimation.evidence import FEWEST
from workbench.audit.paper import p_text
from workbench.clustered import Estimates, gaps, means
from workbench.comparisons import holm, together
from workbench.errors import InputError
from workbench.groups import Partition, partitions
from workbench.intervals import normal_quantile
from workbench.labels import class_order, label_text
from workbench.provenance import Provenance, digest
from workbench.spreadsheet import read_spreadsheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.finding import Finding

# Cohen 1988: a small association.
SMALL = 0.1


def association(
    images: Images | pd.DataFrame | str | Path, by: Sequence[str | Sequence[str]] | str | None = None, *,
    label: str | None = None, patient: str | None = None, positive: str | None = None, permuted: int = 999,
    level: float = 0.95, seed: int = 0,
) -> Finding:  # fmt: skip
    """Measure how far attributes go with the label, in the set that a model learns from: what it could take a shortcut by.

    Parameters
    ----------
    images : a `Cohort`, `Predictions`, or a table (CSV, Excel, Parquet, DataFrame) with `label` and, if known, `patient`.
    by : attributes, and tuples of them to be crossed; by default every attribute of up to 50 groups.
    label, patient : columns of a table.
    positive : the class whose prevalence is shown; by default the last of two.
    permuted : exchanges of an attribute between patients, for the p-values of attributes; 199 or more.
    level : of intervals.
    seed : of the exchanges.

    Returns
    -------
    Finding
        `table`: one row a group: prevalence with interval, that of the rest, the gap (with simultaneous interval, ``gap_low,
        gap_high``), the odds ratio, ``p`` and ``p_adjusted`` (max-T over all groups). Table ``"attributes"``: Cramér's V and
        mutual information (bits) of each, what exchanges between patients give by chance, and p by permutation (Holm).

    Warns
    -----
    EvidenceWarning
        For every attribute that a model could use in the label's place (V of 0.1 or more, beyond chance).

    Raises
    ------
    InputError : where a name is unknown.

    References
    ----------
    Cramér 1946, Mathematical Methods of Statistics, ch. 21 (V); Jones et al. 2024, Nat Mach
    Intell, s42256-024-00797-8 (disparities of prevalence as a source of bias).
    """
    checked("permuted", permuted, 199, 10**6, "999 exchanges are usual")
    checked("level", level, 0.5, 0.999, "0.95 is usual")
    whole(seed, "seed")
    named = None if by is None else entries(by, needed=True)
    cases, origin = _opened(images, named, label, patient)
    chosen = positive_class(cases, positive)
    if (cases.table["label"].astype(str) == chosen).nunique() < 2:
        message = (
            f"all {len(cases)} images are {'' if (cases.table['label'].astype(str) == chosen).all() else 'not '}of class {chosen!r}: "
            "nothing can go with a label that is always the same. Give images of both classes."
        )
        raise InputError(message)
    parts, left_out = _parts(cases, named)
    groups = _groups(cases, parts, chosen, level, seed)
    attributes = _attributes(cases, parts, permuted, seed)
    strong = attributes[(attributes["p_adjusted"] <= 1 - level) & (attributes["cramers_v"] >= SMALL)]
    settings = {"by": [part.by for part in parts], "positive": chosen, "permuted": permuted, "level": level}
    return found(
        "association", "What goes with the label", groups, tables={"attributes": attributes},
        sentences=_sentences(attributes, groups, chosen, level), methods=_methods(chosen, permuted, level),
        cautions=[*[_shortcut(row, groups, chosen) for _, row in strong.iterrows()], *left_out], settings=settings,
        parents={"images": origin}, seed=seed,
    )  # fmt: skip


def _opened(images: Any, by: list[Any] | None, label: str | None, patient: str | None) -> tuple[Cases, Provenance]:
    if not isinstance(images, pd.DataFrame | str | Path):
        return cases_of(images), images.provenance
    if label is None:
        message = "a table needs label= (column of the truth), and patient= where patients have several images."
        raise InputError(message)
    sheet = read_spreadsheet(images, text=() if patient is None else (patient,))
    labels = label_text(sheet.column(label, "label"), where=sheet.name, first_row=sheet.first_row)
    rows = pd.Series([f"row {sheet.first_row + place}" for place in range(len(sheet.frame))])
    patients = rows if patient is None else sheet.column(patient, "patient")
    if patients.isna().any():
        message = (
            f"{sheet.cell(int(patients.isna().to_numpy().argmax()), str(patient))}: the patient is missing; fill it in, or leave "
            "the row out."
        )
        raise InputError(message)
    named = sheet.others({label, patient}) if by is None else [name for entry in by for name in ([entry] if isinstance(entry, str) else entry)]  # fmt: skip
    table = pd.DataFrame(
        {"patient": patients.astype(str).to_numpy(), "label": labels.to_numpy()}, index=pd.Index(rows, name="id")
    )
    for name in dict.fromkeys(named):
        table[str(name)] = sheet.column(name, "attribute").to_numpy()
    origin = Provenance("from_table", {"label": label, "patient": patient}, digest(table))
    order = table.sort_values(["patient", "label"], kind="stable")
    return Cases(order, tuple(dict.fromkeys(map(str, named))), tuple(class_order(labels))), origin


def _parts(cases: Cases, by: list[Any] | None) -> tuple[list[Partition], list[str]]:
    """Return who is compared, and what is told of attributes that make no groups."""
    found_parts, names = [], []
    if by is not None:
        found_parts = partitions(cases, by)[1:]
    else:
        for name in cases.attributes:
            try:
                found_parts += partitions(cases, [name])[1:]
            except InputError:  # too many values to be groups
                names.append(name)
    # One group alone goes with nothing.
    found_parts = [part for part in found_parts if len(np.unique(part.codes)) > 1]
    if not found_parts:
        message = "there is no attribute with two groups to hold against the label; name some with by=[…]."
        raise InputError(message)
    told = f"Not looked at, since they have too many values to be groups: {', '.join(names)}."
    return found_parts, [told] if names else []


def _groups(cases: Cases, parts: list[Partition], positive: str, level: float, seed: int) -> pd.DataFrame:
    truth = (cases.table["label"].astype(str) == positive).to_numpy(dtype=bool)
    named = [(part, code) for part in parts for code in np.unique(part.codes)]
    inside = np.column_stack([part.codes == code for part, code in named])
    value = truth[:, None].astype(np.float64)
    first, second = np.where(inside, value, np.nan), np.where(~inside, value, np.nan)
    own, gap = means(first, cases.patients, proportion=True), gaps(first, second, cases.patients, proportion=True)
    family = together(gap, level=level, seed=seed)
    low, high = own.intervals(level)
    ratio, ratio_low, ratio_high = _odds_ratios(gap, level)
    return pd.DataFrame(
        {
            "group": [part.names[code] for part, code in named], "by": [part.by for part, _ in named],
            "metric": f"prevalence of {positive}", "value": own.values, "low": low, "high": high, "rest": gap.shares[1],
            "gap": gap.values, "gap_low": family.low, "gap_high": family.high, "odds_ratio": ratio, "or_low": ratio_low,
            "or_high": ratio_high, "p": gap.p_values(), "p_adjusted": family.p, "n": own.images,
            "positives": (inside & truth[:, None]).sum(0), "patients": own.patients, "note": gap.notes,
        }
    )  # fmt: skip


def _odds_ratios(gap: Estimates, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Odds ratio with the interval of its logarithm (delta method, cluster-robust); NaN where a share is 0 or 1."""
    inner = ((gap.shares > 0) & (gap.shares < 1)).all(0) & np.isfinite(gap.p_values())
    shares = np.where(inner, gap.shares, np.nan)
    slope = 1 / (shares * (1 - shares))
    errors = np.sqrt(gap.variances) * slope
    log = np.log(shares / (1 - shares))
    variance = (errors**2).sum(0) - 2 * gap.correlation * errors[0] * errors[1]
    half = normal_quantile(level) * np.sqrt(np.maximum(variance, 0))
    lead = log[0] - log[1]
    return np.exp(lead), np.exp(lead - half), np.exp(lead + half)


def _attributes(cases: Cases, parts: list[Partition], permuted: int, seed: int) -> pd.DataFrame:
    labels = pd.Categorical(cases.table["label"].astype(str)).codes.astype(np.int64)
    rows = []
    for part in parts:
        # At most 51 groups: short numbers keep a thousand exchanges of a large set in memory.
        drawn = permutations(part.codes.astype(np.int16), cases.patients, None, count=permuted, seed=seed)
        tables = [_crossed(codes, labels) for codes in (part.codes, *drawn.T)]
        v, bits = np.array([cramers_v(table) for table in tables]), mutual_information(tables[0])
        chance = np.mean([mutual_information(table) for table in tables[1:]])
        p = (1 + (v[1:] >= v[0] - 1e-12).sum()) / (1 + permuted)
        rows.append((part.by, v[0], v[1:].mean(), bits, chance, p, len(np.unique(part.codes)), len(labels)))
    columns = ["by", "cramers_v", "v_by_chance", "mutual_information", "mi_by_chance", "p", "groups", "n"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(6, "p_adjusted", holm(table["p"].to_numpy()))
    return table.sort_values("cramers_v", ascending=False, kind="stable", ignore_index=True)


def _crossed(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    width = int(labels.max()) + 1
    counts = np.bincount(codes * np.int64(width) + labels, minlength=(int(codes.max()) + 1) * width).reshape(-1, width)
    return np.asarray(counts[counts.sum(1) > 0][:, counts.sum(0) > 0])


def cramers_v(counts: np.ndarray) -> float:
    """Cramér's V of a table of counts ``(groups, labels)``: √(χ² / n (k − 1)), k the smaller number of rows or columns."""
    n = counts.sum()
    expected = counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) / n
    chi = ((counts - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi / (n * max(min(counts.shape) - 1, 1))))


def mutual_information(counts: np.ndarray) -> float:
    """Bits that a group tells of the label, from a table of counts ``(groups, labels)``."""
    shares = counts / counts.sum()
    apart = shares.sum(1, keepdims=True) * shares.sum(0, keepdims=True)
    known = shares > 0
    return float((shares[known] * np.log2(shares[known] / apart[known])).sum())


def _sentences(attributes: pd.DataFrame, groups: pd.DataFrame, positive: str, level: float) -> list[str]:
    beyond = attributes[attributes["p_adjusted"] <= 1 - level]
    said = [
        f"Of {len(attributes)} attributes and crossings, {len(beyond)} go with the label beyond chance"
        + (f": {', '.join(beyond['by'])}." if len(beyond) else ".")
    ]
    for _, row in beyond.head(4).iterrows():
        mine = _carried(groups, row["by"])
        low, high = mine.iloc[0], mine.iloc[-1]
        said.append(
            f"By {row['by']}, the prevalence of {positive} runs from {low['value']:.2f} ({low['group']}, n = {low['n']}) to "
            f"{high['value']:.2f} ({high['group']}, n = {high['n']}); Cramér's V {row['cramers_v']:.2f} ({row['v_by_chance']:.2f} by "
            f"chance), {row['mutual_information']:.3f} bits, adjusted p {p_text(row['p_adjusted'])}."
        )
    return said


def _shortcut(row: Any, groups: pd.DataFrame, positive: str) -> str:
    worst = _carried(groups, row["by"]).iloc[-1]
    return (
        f"A model could use {row['by']} in the label's place where it shows in the images (Cramér's V {row['cramers_v']:.2f}; "
        f"{positive} in {worst['value']:.0%} of {worst['group']}, {worst['rest']:.0%} of the rest)."
    )


def _carried(groups: pd.DataFrame, by: str) -> pd.DataFrame:
    """Return the groups of an attribute by prevalence, without those of fewer than 5 patients where others are left."""
    mine = groups[groups["by"] == by].sort_values("value", kind="stable")
    carried = mine[mine["patients"] >= FEWEST]
    return carried if len(carried) else mine


def _methods(positive: str, permuted: int, level: float) -> list[str]:
    return [
        f"Prevalence of {positive} by group has {100 * level:g} % Wilson intervals with an effective number of images; gaps to the "
        "rest are tested with the images of a patient kept together, with simultaneous intervals and adjusted p-values over all "
        "groups (single-step max-T). Cramér's V and mutual information of each attribute were compared with "
        f"{permuted} exchanges of the attribute between patients (Holm over attributes).",
    ]

"""Is it still the same: ``wb.audit.drift(before, after)``."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.discovery.cases import Images, checked, embedding_digest, found, positive_class
from workbench.audit.discovery.crossfit import scaled
from workbench.audit.metric import metrics_of
from workbench.audit.paper import p_text
from workbench.audit.shift.kernel import (
    COMPONENTS,
    bandwidth,
    detectable_shift,
    discrepancy,
    squared_distances,
    told_apart,
)
from workbench.audit.shift.looks import BEYOND, POWER, Look, attribute, images_a_patient, numbers, shares
from workbench.audit.shift.performance import performance
from workbench.audit.shift.pooled import Pooled, pooled
from workbench.comparisons import holm
from workbench.groups import partitions
from workbench.predictions import SCORE, Predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.finding import Finding

# Images of each side that the discrepancy is computed from: its cost grows with their square.
MOST_IMAGES = 1500


def drift(
    before: Images, after: Images, *, by: Sequence[str | Sequence[str]] = (), embeddings: Sequence[object] | None = None,
    metrics: Sequence[str] = ("AUROC", "sensitivity", "specificity"), threshold: float = 0.5, positive: str | None = None,
    permuted: int = 999, level: float = 0.95, seed: int = 0,
) -> Finding:  # fmt: skip
    """Compare two cohorts, or two periods: labels, scores, attributes, embeddings, metrics, and each group's.

    Everything that is looked at stands in one table, with one correction over all of it (Holm), and beside each number the
    smallest true one that this sample would have found, after the correction, with 80 % power. Distributions are tested
    by exchanging patients between the two times, all images of a patient at once. A patient with images at both times stays
    at both, and only which of the two is called after is left to chance.

    Parameters
    ----------
    before, after : `Predictions`, or `Cohort` (then without scores and metrics), with the same classes.
    by : groups whose scores and metrics are compared too, as in :func:`workbench.audit`. How often the groups occur is
        looked at for every attribute in any case.
    embeddings : a pair, of before and of after, each as for ``wb.audit.probe``.
    metrics : of two classes, as in :func:`workbench.audit`; ``()`` for none.
    threshold : images with a score at or above it are called positive.
    positive : the positive class; by default the last of two.
    permuted : exchanges of patients, 199 or more. The smallest p is 1 / (permuted + 1), and must survive the correction.
    level : of the intervals of metrics; 1 − level is the level of the family of tests.
    seed : of the exchanges, the bootstrap and the simulated power.

    Returns
    -------
    Finding
        `table`: ``by, group, metric, value, low, high, before, after, smd, p, p_adjusted, detectable, n, patients, note``.
        `value` is after − before (shares, metrics), or a distance (distributions, embeddings), or the AUROC with which a
        classifier tells after from before.

    Raises
    ------
    InputError : where the two do not fit each other, or one has fewer than 10 patients.

    References
    ----------
    Rabanser, Günnemann & Lipton 2019, NeurIPS (which tests find shifts); Gretton et al. 2012, J Mach Learn Res 13:723;
    Lopez-Paz & Oquab 2017, ICLR; Lipton, Wang & Smola 2018, ICML (label shift).
    """
    checked("permuted", permuted, 199, 10**6, "999 exchanges are usual")
    checked("level", level, 0.5, 0.999, "0.95 is usual")
    checked("threshold", threshold, 0, 1, "scores are probabilities, and so is the threshold")
    chosen = metrics_of(metrics) if len(metrics) else []
    pool = pooled(before, after, embeddings, permuted=permuted, seed=seed)
    chosen_class = positive_class(pool.cases, positive)
    truth = (pool.cases.table["label"].astype(str) == chosen_class).to_numpy(dtype=bool)
    everybody = np.ones(len(truth), dtype=bool)
    groups = [("all", "all", everybody), *_groups(pool, by)]
    looks = [shares(pool, pool.cases.table["label"], by="label", group="label"), images_a_patient(pool)]
    if isinstance(before, Predictions) and isinstance(after, Predictions):
        scores = pool.cases.table[SCORE + chosen_class].to_numpy(dtype=np.float64)
        looks += _scores(pool, scores, groups)
        looks += performance(
            pool, groups, chosen, scores=scores, truth=truth, threshold=threshold, level=level, seed=seed
        )
    skipped = []
    for name in pool.cases.attributes:
        seen = attribute(pool, name)
        looks += seen
        skipped += [] if seen else [name]
    if pool.cases.vectors is not None:
        looks += _embeddings(pool, seed)
    table = _table(looks, 1 - level)
    settings = {
        "by": [entry if isinstance(entry, str) else list(entry) for entry in by], "metrics": list(metrics),
        "threshold": threshold, "positive": chosen_class, "permuted": permuted, "level": level,
        "embeddings": embedding_digest(pool.cases.vectors),
    }  # fmt: skip
    return found(
        "drift", "Before and after", table, tables={}, sentences=_sentences(table, 1 - level),
        methods=_methods(pool, permuted, level), cautions=_cautions(pool, table, skipped), settings=settings,
        parents={"before": before.provenance, "after": after.provenance}, seed=seed,
    )  # fmt: skip


def _groups(pool: Pooled, by: Sequence[str | Sequence[str]]) -> list[tuple[str, str, np.ndarray]]:
    parts = partitions(pool.cases, [by] if isinstance(by, str) else by)[1:]
    return [
        (part.by, name, part.codes == code)
        for part in parts
        for code, name in enumerate(part.names)
        if (part.codes == code).any()
    ]


def _scores(pool: Pooled, scores: np.ndarray, groups: list[tuple[str, str, np.ndarray]]) -> list[Look]:
    """Scores of all, of each label, and of each group."""
    labels = pool.cases.table["label"].astype(str).to_numpy()
    looks = [numbers(pool, scores, by="score", group="score")]
    for label in pool.cases.classes:
        looks.append(numbers(pool, scores, by="score given label", group=f"score, label={label}", rows=labels == label))
    return looks + [
        numbers(pool, scores, by=by, group=f"score, {name}", rows=rows) for by, name, rows in groups if by != "all"
    ]


def _embeddings(pool: Pooled, seed: int) -> list[Look]:
    """Discrepancy and classifier; both by the exchanges of patients that all other tests use."""
    assert pool.cases.vectors is not None
    rows = _drawn_rows(pool, seed)
    points, after, patients = scaled(pool.cases.vectors[rows]), pool.exchanged_of(rows), pool.patients[rows]
    patients = np.unique(patients, return_inverse=True)[1]
    usable = after.sum(0).clip(max=len(after) - after.sum(0)) > 1
    distances = squared_distances(points)
    values = discrepancy(np.exp(-distances / bandwidth(distances)), after[:, usable])
    fits = told_apart(points, after[:, usable], patients, seed=seed)
    note = f"of {len(rows)} of {len(pool.after)} images" if len(rows) < len(pool.after) else ""
    count = len(np.unique(patients))

    @cache
    def shift(level: float) -> tuple[float, float]:
        critical = float(np.quantile(values[1:], 1 - level))
        return detectable_shift(points, distances, after[:, usable][:, 1:], critical=critical, power=POWER, seed=seed)

    def apart(level: float) -> float:
        return min(float(np.quantile(fits[1:], 1 - level) + BEYOND * fits[1:].std(ddof=1)), 1.0)

    def in_words(level: float) -> str:
        return f"detectable: every feature moved by {shift(level)[0]:.2f} standard deviations"

    return [
        Look("embedding", "embedding", statistic, float(some[0]),
             float((1 + (some[1:] >= some[0] - 1e-12).sum()) / len(some)), *(float("nan"),) * 3, reach, len(rows), count, note,
             in_words=words)
        for statistic, some, reach, words in (
            ("MMD²", values, lambda level: shift(level)[1], in_words), ("AUROC of a classifier", fits, apart, lambda _: ""),
        )
    ]  # fmt: skip


def _drawn_rows(pool: Pooled, seed: int) -> np.ndarray:
    """Draw whole patients until a side has `MOST_IMAGES`; all rows where there are no more than that."""
    generator = np.random.default_rng([seed, 5])
    rank = generator.permutation(int(pool.patients.max()) + 1)[pool.patients]
    kept = np.ones(len(rank), dtype=bool)
    for side in (pool.after, ~pool.after):
        mine = np.flatnonzero(side)
        if len(mine) > MOST_IMAGES:
            limit = np.sort(rank[mine])[MOST_IMAGES - 1]
            kept[mine[rank[mine] > limit]] = False
    return np.flatnonzero(kept)


def _table(looks: list[Look], alpha: float) -> pd.DataFrame:
    p = np.array([look.p for look in looks])
    tests = max(int(np.isfinite(p).sum()), 1)
    return pd.DataFrame(
        {
            "by": [look.by for look in looks], "group": [look.group for look in looks],
            "metric": [look.metric for look in looks], "value": [look.value for look in looks],
            "low": [look.low for look in looks], "high": [look.high for look in looks],
            "before": [look.before for look in looks], "after": [look.after for look in looks],
            "smd": [look.smd for look in looks], "p": p, "p_adjusted": holm(p),
            "detectable": [look.reach(alpha / tests) if np.isfinite(look.p) else np.nan for look in looks],
            "n": [look.n for look in looks], "patients": [look.patients for look in looks],
            "note": ["; ".join(t for t in (look.note, look.in_words(alpha / tests)) if t) for look in looks],
        }
    )  # fmt: skip


def _sentences(table: pd.DataFrame, alpha: float) -> list[str]:
    moved = table[table["p_adjusted"] <= alpha].sort_values("p_adjusted", kind="stable")
    tests = int(table["p"].notna().sum())
    if not len(moved):
        said = [f"Of {tests} comparisons of before and after, none differs beyond chance after correction."]
        said.append("What would have been found, in 80 of 100 samples like these, stands in the column 'detectable'.")
    else:
        said = [f"Of {tests} comparisons of before and after, {len(moved)} differ beyond chance after correction."]
        said += [_told(row) for _, row in moved.head(6).iterrows()]
    return [*said, _kind(table, set(moved["by"]))]


def _told(row: Any) -> str:
    """One change in words."""
    p = f"adjusted p {p_text(row['p_adjusted'])}"
    if row["by"] == "embedding":
        return f"The embeddings differ ({row['metric']} {row['value']:.3f}, {p})."
    if row["metric"] == "Kolmogorov–Smirnov distance":
        medians = f"median {row['before']:.3g} before, {row['after']:.3g} after"
        return f"The distribution of {row['group']} differs: distance {row['value']:.2f}, {medians} ({p})."
    what = row["metric"] if row["by"] != "label" and row["group"] == "all" else f"{row['metric']} ({row['group']})"
    return f"{what[0].upper()}{what[1:]} went from {row['before']:.2f} to {row['after']:.2f} ({p})."


def _kind(table: pd.DataFrame, moved: set[str]) -> str:
    """Say what kind of shift the changes are compatible with, where they tell."""
    given, whole = table["by"] == "score given label", table["group"] == "all"
    tested = bool(table.loc[given, "p"].notna().any())
    works = tested and bool((table.loc[whole, "p_adjusted"] <= 0.05).any())
    if "score given label" in moved:
        worse = " and metrics changed" if works else ""
        return (
            f"Images of the same label get other scores{worse}: this is not label shift alone; the images, the patients within a "
            "label, or what the label means have changed."
        )
    if not moved:
        return "No shift is told; that is no proof that there is none."
    if "label" in moved:
        if not tested:
            return "The labels' shares changed; without scores it cannot be told whether that is all."
        return (
            "This is compatible with label shift: the labels' shares changed, and images of the same label get the same scores "
            "as before as far as this sample can show. Predictive values and calibration move with the prevalence."
        )
    if moved & {"attribute", "embedding"}:
        unfelt = " that the scores of images of the same label do not show" if tested else ""
        return f"This is compatible with covariate shift{unfelt}: other patients or images, with the labels' shares as before."
    return "What kind of shift it is cannot be told from these comparisons."


def _methods(pool: Pooled, permuted: int, level: float) -> list[str]:
    said = [
        f"Distributions before and after were compared by the χ² statistic (categories) and the Kolmogorov–Smirnov distance "
        f"(numbers), with p-values from {permuted} exchanges of patients, all images of a patient together. Metrics were "
        f"compared unpaired, with {100 * level:g} % intervals: sensitivity and specificity by cluster-robust square-and-add of "
        "Wilson intervals, others by bootstrap of patients. All p-values were adjusted together (Holm). The smallest "
        "difference found with 80 % power is given at the level that this correction leaves to a single test (Bonferroni).",
    ]
    if pool.cases.vectors is not None:
        said.append(
            "Embeddings, each feature scaled to standard deviation 1, were compared by the unbiased squared maximum mean "
            "discrepancy with a Gaussian kernel (median heuristic), and by a linear classifier in nested cross-validation "
            f"grouped by patient on the first {COMPONENTS} principal components, with p-values from the same exchanges of patients. What the "
            "discrepancy can detect was simulated: all features moved by the same number of standard deviations."
        )
    return said


def _cautions(pool: Pooled, table: pd.DataFrame, skipped: list[str]) -> list[str]:
    noted = table[table["note"].str.contains("refused|not estimable|do not rely", regex=True)]
    tests = int(table["p"].notna().sum())
    reached = 1 / pool.exchanged.shape[1] * tests
    return [
        f"{pool.in_both} patients have images both before and after; they were kept at both times." if pool.in_both else "",
        f"Only one of the two knows {', '.join(pool.one_sided)}: not compared." if pool.one_sided else "",
        f"Not compared by {', '.join(skipped)}: more than 50 different values are names, not groups." if skipped else "",
        f"Too few patients for {len(noted)} comparison(s), such as {noted['group'].iloc[0]}: see the column 'note'." if len(noted) else "",
        f"{pool.exchanged.shape[1] - 1} exchanges are too few for {tests} tests: no adjusted p of a distribution can fall below "
        f"{reached:.2f}. Give permuted={20 * tests} or more." if reached > 0.05 else "",
    ]  # fmt: skip

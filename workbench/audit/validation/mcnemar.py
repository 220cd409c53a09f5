"""``wb.audit.mcnemar``: do two models call the same images right equally often?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.asked import cut
from workbench.audit.decisions.cutting import chosen_among
from workbench.audit.finding import Finding
from workbench.audit.paper import p_said
from workbench.audit.validation.contrasts import paired_gap
from workbench.audit.validation.pairing import Columns, Scored, Source, pair_of
from workbench.audit.validation.telling import check_level, told, with_interval
from workbench.errors import InputError
from workbench.intervals import normal_quantile

if TYPE_CHECKING:
    from collections.abc import Sequence

Cut = float | Finding
METRICS = ("sensitivity", "specificity", "accuracy")


def mcnemar(
    first: Source, second: Source, *, threshold: Cut | tuple[Cut, Cut] = 0.5, label: str | None = None,
    score: str | Sequence[str] | None = None, patient: str | None = None, id: str | None = None,
    positive: str | None = None, level: float = 0.95, names: tuple[str, str] = ("first", "second"),
) -> Finding:  # fmt: skip
    """Compare sensitivity, specificity and accuracy of two models on the same images, each at its threshold.

    Only images that one model calls right and the other wrong tell the two apart. With one image a patient, p is that of
    McNemar's exact test with half the probability of the result itself (mid-p), and `p_exact` the exact one, which is too
    careful; where patients have several images, p is Obuchowski's. The interval is Tango's score interval.

    Parameters
    ----------
    first, second : Predictions, a folder of saved ones, or anybody's table.
    threshold : images with a score at or above it are called positive, 0–1, or the finding of
        :func:`workbench.audit.operating_point`; a pair gives each model its own. It must not have been chosen on these images.
    label, score, patient, id, positive, level, names : as in :func:`workbench.audit.delong`.

    Returns
    -------
    Finding
        `table`: a row a metric: `first` and `second` (shares), ``value`` their difference, `both`, `only_first`,
        `only_second` and `neither` (images called right), ``p``, ``p_exact``.

    Raises
    ------
    InputError : where a threshold lies outside 0–1, or the two do not have the same images.

    References
    ----------
    Fagerland, Lydersen & Laake 2013, BMC Med Res Methodol 13:91 (mid-p); Obuchowski 1998, Stat Med 17:1495 (clustered);
    Tango 1998, Stat Med 17:891 (interval).

    Examples
    --------
    >>> import pandas as pd, workbench as wb
    >>> scores = pd.DataFrame({"truth": [1, 0] * 60, "who": range(120), "a": [0.8, 0.2] * 60, "b": [0.8, 0.2, 0.3, 0.2] * 30})
    >>> found = wb.audit.mcnemar(scores, scores, label="truth", score=["a", "b"], patient="who")
    >>> found.table[["metric", "first", "second", "only_first", "only_second"]].round(2)
            metric  first  second  only_first  only_second
    0  sensitivity    1.0    0.50          30            0
    1  specificity    1.0    1.00           0            0
    2     accuracy    1.0    0.75          30            0
    """
    check_level(level)
    cuts = thresholds(threshold)
    columns = Columns(label, score, patient, id)
    pair = pair_of(first, second, columns, positive=positive, paired=True, roles=names)
    z = normal_quantile(level)
    rows = [_row(metric, pair.first, pair.second, cuts, z) for metric in METRICS]
    table = pd.DataFrame(rows)
    said = [*pair.warnings, *chosen_here(threshold, [pair.first, pair.second])]
    said += [*dict.fromkeys(f"{row['metric']}: {row['note']}." for row in rows if row["note"])]
    settings = {"threshold": list(cuts), "positive": pair.positive, "level": float(level), "names": list(names),
                "clustered": pair.clustered}  # fmt: skip
    sentences = [_sentence(row, names, level) for row in rows]
    return told(
        "mcnemar", "Two models' calls compared", table, sentences=sentences, methods=_methods(clustered=pair.clustered),
        said=said, settings=settings, parents=pair.parents,
    )  # fmt: skip


def exact(only_first: int, only_second: int) -> tuple[float, float]:
    """Return McNemar's exact p and mid-p, two-sided, from the two counts of discordant pairs.

    Examples
    --------
    >>> [round(p, 4) for p in exact(1, 7)]
    [0.0703, 0.0391]
    """
    from scipy.stats import binom

    n, fewer = only_first + only_second, min(only_first, only_second)
    if n == 0:
        return 1.0, 1.0
    below, point = float(binom.cdf(fewer, n, 0.5)), float(binom.pmf(fewer, n, 0.5))
    if only_first == only_second:
        return 1.0, 1 - point / 2
    return min(2 * below, 1.0), min(2 * below - point, 1.0)


def obuchowski(lead: np.ndarray, patients: np.ndarray) -> float:
    """Two-sided p-value of no difference between two shares of the same, clustered images.

    Parameters
    ----------
    lead : 1 where only the first model is right, −1 where only the second, else 0, ``(n,)``.
    patients : ``(n,)``.

    The sum of a patient's leads varies by its square; with K patients the statistic is (K − 1)/K · (Σ leads)² / Σ leads²,
    χ² with one degree of freedom: Obuchowski's with the variance under no difference, where the pooled share cancels.
    """
    from scipy.stats import chi2

    _, codes = np.unique(patients, return_inverse=True)
    sums = np.bincount(codes, weights=lead)
    spread = float(sums @ sums)
    return float(chi2.sf((len(sums) - 1) / len(sums) * float(sums.sum()) ** 2 / spread, 1)) if spread else 1.0


def thresholds(given: Cut | tuple[Cut, Cut]) -> tuple[float, float]:
    """Return one threshold a model, given as numbers or as what :func:`workbench.audit.operating_point` found.

    Raises
    ------
    InputError : where one lies outside 0–1, or there are other than one or two.
    """
    pair = tuple(given) if isinstance(given, list | tuple) else (given, given)
    if len(pair) != 2:
        message = f"threshold={given!r} must be one threshold for both models, or two: one of each."
        raise InputError(message)
    return cut(pair[0]), cut(pair[1])


def chosen_here(given: Cut | tuple[Cut, Cut], sides: Sequence[Scored]) -> list[str]:
    """Say that a threshold was chosen on the very images that it is judged on, or nothing."""
    cuts = given if isinstance(given, list | tuple) else [given] * len(sides)
    said = [chosen_among(one, side.patients, side.scores) for one, side in zip(cuts, sides, strict=False)]
    return list(dict.fromkeys(sentence for sentences in said for sentence in sentences))


def _row(metric: str, first: Scored, second: Scored, cuts: tuple[float, float], z: float) -> dict[str, Any]:
    one, patients = first.right(metric, cuts[0])
    other, _ = second.right(metric, cuts[1])
    gap, note = paired_gap(one, other, patients), first.note(metric)
    counts = {
        "both": int((one & other).sum()), "only_first": int((one & ~other).sum()),
        "only_second": int((~one & other).sum()), "neither": int((~one & ~other).sum()),
    }  # fmt: skip
    clustered = len(np.unique(patients)) < len(patients)
    p_exact, p = exact(counts["only_first"], counts["only_second"])
    if clustered:
        p_exact, p = math.nan, obuchowski(one.astype(np.float64) - other, patients)
    low, high = gap.bounds(z)
    numbers = {"first": float(one.mean()), "second": float(other.mean()), "value": gap.value, "low": low, "high": high,
               "p": p, "p_exact": p_exact}  # fmt: skip
    if note.startswith("refused"):
        numbers = dict.fromkeys(numbers, math.nan)
    test = "Obuchowski's test" if clustered else "McNemar's mid-p"
    positives = {"sensitivity": len(one), "specificity": 0}.get(metric, int(first.truth.sum()))
    return {"metric": metric} | numbers | counts | {
        "n": len(one), "positives": positives, "patients": len(np.unique(patients)), "method": f"{test}; {gap.method}", "note": note,
    }  # fmt: skip


def _sentence(row: dict[str, Any], names: tuple[str, str], level: float) -> str:
    metric = row["metric"].capitalize()
    if math.isnan(row["value"]):
        return f"{metric} is not compared: {row['note']}."
    apart = row["only_first"] + row["only_second"]
    return (
        f"{metric} was {row['first']:.3f} for {names[0]} and {row['second']:.3f} for {names[1]}, a difference of "
        f"{with_interval(row, level, signed=True)}, {p_said(row['p'])}; {apart:,} of {row['n']:,} images were called right "
        f"by one of them only."
    )


def _methods(*, clustered: bool) -> list[str]:
    test = "McNemar's exact mid-p test"
    if clustered:
        test = "Obuchowski's test for clustered matched pairs (1998), because patients had several images"
    return [
        f"Sensitivity, specificity and accuracy on the same images were compared by {test}, with Tango's score interval of "
        "the difference. P-values are not adjusted for there being three of them."
    ]

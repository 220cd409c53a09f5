"""What a subgroup table says, in words: one finding, how sure it is, and what the sample cannot carry."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING, Any

from workbench.audit.definitions import METRICS
from workbench.audit.paper import p_text

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

# What is said of a share is what goes wrong: the complement of sensitivity and of specificity.
FAILURES = {
    "sensitivity": "misses {share} of images labelled {positive}",
    "specificity": "raises a false alarm for {share} of images not labelled {positive}",
}


def sentences(
    table: pd.DataFrame,
    gaps: pd.DataFrame,
    metric: str,
    *,
    by: str,
    threshold: float,
    positive: str,
    selected: str = "",
) -> list[str]:
    r"""Put one metric of an audit into words, the finding first.

    It speaks of the selected group or, where none is selected, of the worst group that its sample can carry: the one
    furthest from what a model without fault has, or, of a metric without such a value, furthest from everybody's.

    Parameters
    ----------
    table : one row a metric and group, as ``audit.table``.
    gaps : one row a metric and group, as ``audit.gaps``.
    metric : which metric to speak of.
    by : the partition whose groups are compared; empty for the overall value alone.
    threshold : the threshold both tables were made at, 0–1.
    positive : name of the positive class.
    selected : the group to speak of; empty for the worst one.

    Returns
    -------
    list of str : one sentence or more.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"metric": "sensitivity", "by": "site", "value": 0.62, "low": 0.5, "high": 0.73, "note": ""}
    >>> table = pd.DataFrame([row | {"group": "all", "by": "", "value": 0.91}, row | {"group": "site=South"}])
    >>> words = sentences(table, table[:0], "sensitivity", by="site", threshold=0.5, positive="cancer")
    >>> words[0].replace("\N{NO-BREAK SPACE}", " ")
    'At 0.50 the model misses 38 % of images labelled cancer in site=South [27–50 %], against 9 % overall.'
    """
    rows = _records(table[table["metric"] == metric])
    overall = next(row for row in rows if row["group"] == "all")
    groups = [row for row in rows if row["by"] == by and row["group"] != "all"]
    sound = [row for row in groups if row["value"] == row["value"] and not row["note"]]
    best = METRICS[metric].best
    aim = overall["value"] if math.isnan(best) else best
    sound.sort(key=lambda row: -abs(row["value"] - aim))
    chosen = [row for row in groups if row["group"] == selected]
    if not chosen and not sound:
        said = [_finding(overall, None, metric, threshold, positive)]
        return said + ([f"No group of {by} has enough cases to be judged by its {metric}."] if groups else [])
    row = (chosen or sound)[0]
    said = [_finding(row, overall, metric, threshold, positive)]
    gap = _records(gaps[(gaps["metric"] == metric) & (gaps["group"] == row["group"])])
    said += _gap(gap[0], metric) if gap else []
    if chosen:
        return said + ([f"Little evidence: {row['note'].rstrip('.')}."] if row["note"] else [])
    return said + _choice(
        sound, len(groups) - len(sound), by, extreme="furthest from overall" if math.isnan(best) else "worst"
    )


def number(value: float) -> str:
    """Write a metric with two decimals and a true minus sign."""
    return f"{value:.2f}".replace("-", "−")


def signed(value: float) -> str:
    """Write a difference with two decimals and its sign; what rounds to zero has none."""
    text = f"{value:+z.2f}".replace("-", "−")
    return "0.00" if text == "+0.00" else text


def threshold_text(threshold: float) -> str:
    """Write a threshold with two decimals, or three where two would not do."""
    return f"{threshold:.2f}" if abs(threshold - round(threshold, 2)) < 5e-4 else f"{threshold:.3f}"


def isolated(name: str) -> str:
    """Fence a name with right-to-left letters, so that it does not reorder the sentence around it (UAX 9, FSI … PDI)."""
    turns = any(unicodedata.bidirectional(letter) in {"R", "AL", "AN"} for letter in name)
    return f"\u2068{name}\u2069" if turns else name


def _finding(row: Row, overall: Row | None, metric: str, threshold: float, positive: str) -> str:
    """State a row's value with its interval and, where another row is given, that value beside it."""
    where = "overall" if row["group"] == "all" else f"in {isolated(row['group'])}"
    at = f"At {threshold_text(threshold)}"
    if math.isnan(row["value"]):
        return f"{at} the {metric} {where} cannot be estimated."
    beside = None if overall is None or math.isnan(overall["value"]) else float(overall["value"])
    if metric in FAILURES:
        share = FAILURES[metric].format(share=_percent(1 - row["value"]), positive=positive)
        text = f"{at} the model {share} {where}"
        # What goes wrong is the complement, so the interval turns round.
        interval = f"{100 * (1 - row['high']):.0f}–{_percent(1 - row['low'])}"
        against = "" if beside is None else _percent(1 - beside)
    else:
        start = (
            f"{at} the" if METRICS[metric].moves else "Over all thresholds the" if METRICS[metric].of_curve else "The"
        )
        text = f"{start} model's {metric} is {number(row['value'])} {where}"
        interval = f"{number(row['low'])}–{number(row['high'])}"
        against = "" if beside is None else number(beside)
    return (
        text
        + ("" if math.isnan(row["low"]) else f" [{interval}]")
        + (f", against {against} overall." if against else ".")
    )


def _gap(gap: Row, metric: str) -> list[str]:
    """Say whether the group differs from what it is held against, or whether the sample cannot tell."""
    value, low, high = (float(gap[name]) for name in ("value", "low", "high"))
    if math.isnan(value) or math.isnan(low) or math.isnan(high):
        return []
    worse, better = ("more", "less") if metric in FAILURES else ("lower", "higher")
    if metric in FAILURES:
        size, least, most = (f"{100 * abs(end):.0f}" for end in (value, *sorted((low, high), key=abs)))
        unit = " percentage points"
        span = f"from {_points(100 * -high)} to {_points(100 * -low)}{unit}"
    else:
        size, least, most = (f"{abs(end):.2f}" for end in (value, *sorted((low, high), key=abs)))
        unit, span = "", f"from {number(low)} to {number(high)}"
    beside = {"rest": "the rest", "mean": "the mean of the groups"}.get(
        gap.get("reference", "rest"), isolated(str(gap.get("reference")))
    )
    if low <= 0 <= high:
        return [f"The difference to {beside} may be chance: its interval goes {span}."]
    said = f"That is {size}{unit} {worse if value < 0 else better} than in {beside} [{least}–{most}]."
    corrected = gap.get("p_holm", math.nan)
    if math.isnan(corrected):
        return [said]
    return [said, f"Corrected for all gaps of this audit (Holm), p {_compared(corrected)}."]


def _compared(p: float) -> str:
    text = p_text(p)
    return text if text.startswith("<") else f"= {text}"


def _choice(sound: list[Row], left: int, by: str, *, extreme: str) -> list[str]:
    """Say from how many groups the worst was taken, and how many could not be judged."""
    said = []
    if len(sound) > 1:
        best = isolated(sound[-1]["group"])
        other = "best" if extreme == "worst" else "nearest"
        said.append(f"This is the {extreme} of {len(sound)} groups of {by}; the {other} is {best}.")
    if left:
        said.append(f"{left} more {'has' if left == 1 else 'have'} too few cases to be judged.")
    return said


def _records(table: pd.DataFrame) -> list[Row]:
    rows: list[Row] = table.to_dict("records")  # type: ignore[assignment]
    return rows


def _percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"


def _points(value: float) -> str:
    return f"{value:+.0f}".replace("-", "−")

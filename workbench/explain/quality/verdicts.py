"""Plain answers: what the numbers of trust allow one to say, and what they do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.explain.quality.picture import number, p_text
from workbench.explain.quality.places import LARGEST, covers, pointing_masks
from workbench.explain.quality.result import Verdict
from workbench.explain.quality.sanity import DECISIVE
from workbench.groups import ALL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from workbench.explain.quality.study import Study

YES, NO, CANNOT = "yes", "no", "cannot tell"
MODEL = "depends on the model"
SCORE = "finds what the score rests on"
PLACE = "points at"
SHORTCUT = "free of"
EVERYBODY = "alike for all groups"
# Half of what makes an image's map its own; benchmarks/explain/sanity_limit.py prints what lies on either side.
KEPT = 0.5
# What a gap between groups has to reach after correction.
SIGNIFICANT = 0.05


def verdicts_of(
    method: str, table: pd.DataFrame, gaps: pd.DataFrame, study: Study, *, masks: Sequence[str] | None = None
) -> list[Verdict]:
    """Answer each question that the table can answer.

    Parameters
    ----------
    method : whose maps.
    table, gaps : from :func:`~workbench.explain.quality.tables.trust_table` and ``gap_table``.
    study : the maps' flags and the cohort's masks.
    masks : where the disease is; by default as in ``pointing_masks``.
    """
    if all(study.attributions.flags):
        return [Verdict(method, *answer) for answer in _evidence(study)]
    everybody = table[table["group"] == ALL].to_dict("records")
    answers = [
        *_evidence(study), *_sanity(everybody), *_faithfulness(everybody), *_places(everybody), *_shortcuts(everybody, study, masks),
        *_groups(gaps),
    ]  # fmt: skip
    return [Verdict(method, *answer) for answer in answers]


Answer = tuple[str, str, str]
Rows = list[dict[Any, Any]]


def _evidence(study: Study) -> Iterator[Answer]:
    """Say it where many maps are empty: all that follows is about the others."""
    flags = study.attributions.flags
    flagged = sum(flag != "" for flag in flags)
    if flagged:
        ending = "; they are counted apart, and what follows is about the others."
        if flagged == len(flags):
            ending = ": there is nothing to judge. Try another layer, or a method that needs none, such as 'shap' or 'occlusion'."
        kinds = ", ".join(dict.fromkeys(flag for flag in flags if flag))
        answer = NO if flagged > len(flags) / 2 else CANNOT
        yield (
            "every map has evidence",
            answer,
            f"{flagged} of {len(flags)} maps show none ({kinds}){ending}",
        )


def _sanity(everybody: Rows) -> Iterator[Answer]:
    for row in everybody:
        if row["measure"] == DECISIVE:
            yield (MODEL, *sanity_verdict(row["low"], row["value"], row["high"]))


def sanity_verdict(low: float, value: float, high: float) -> tuple[str, str]:
    """Answer whether maps depend on the model: yes where the whole interval lies below 0.5, no where above.

    The limit is half of what makes a map its image's own. What methods keep on phantom mammograms,
    ``benchmarks/explain/sanity_limit.py`` prints: filters of the image lie above, methods that follow the gradient
    below. SmoothGrad's magnitudes may cross it where maps are much alike whatever the model and the image.

    Parameters
    ----------
    low, value, high : the mean over images of ``"kept once randomised"`` and its interval, −1 to 1; NaN where there is
        none.

    Returns
    -------
    The answer and the sentence.

    Examples
    --------
    >>> sanity_verdict(0.66, 0.71, 0.76)[1]
    'The map does not depend on the model: while the model is randomised it keeps 0.71 (0.66 to 0.76) of its own order.'
    """
    if not np.isfinite([low, value, high]).all():
        return CANNOT, "Cannot tell whether the map follows the model: too few maps or patients to compare."
    figures = f"{value:.2f} ({low:.2f} to {high:.2f})".replace("-", "−")
    kept = f"while the model is randomised it keeps {f'nothing, {figures},' if high < 0 else figures} of its own order"
    if low > KEPT:
        return NO, f"The map does not depend on the model: {kept}."
    if high < KEPT:
        return YES, f"The map depends on the model: {kept}, less than {KEPT}."
    return CANNOT, f"Cannot tell whether the map follows the model: {kept}, and the limit is {KEPT}."


def _faithfulness(everybody: Rows) -> Iterator[Answer]:
    """Deletion has to beat both a random order and the edge detector, each on the same images, and insertion not to contradict."""
    deletion, insertion = (
        [row for row in everybody if row["measure"] == measure] for measure in ("deletion area", "insertion area")
    )
    if not deletion:
        return
    answer, contrary = _beats(deletion), _beats(insertion)
    if {answer, contrary} == {YES, NO}:
        sentence = (
            f"Two tests contradict each other: taking out pixels in the map's order lowers the score {FASTER[answer]} "
            f"({_gains(deletion)}), putting them back raises it {FASTER[contrary]} ({_gains(insertion)}). The score may rise "
            "as such when an image is altered; look at the curves."
        )
        yield SCORE, CANNOT, sentence
        return
    verb = {
        YES: "lowers the score faster than the controls",
        NO: "lowers the score more slowly than a control",
        CANNOT: "is not surely better than the controls",
    }[answer]
    sentence = f"Taking out pixels in the map's order {verb} (area under the deletion curve, in units of the score: {_gains(deletion)})."
    yield SCORE, answer, sentence


FASTER = {YES: "faster than the controls", NO: "more slowly than a control"}


def _beats(rows: Rows) -> str:
    """Tell whether maps are surely better than every control, surely worse than one, or neither."""
    ends = [
        (row["gain_low"], row["gain_high"]) if row["better"] == "higher" else (-row["gain_high"], -row["gain_low"])
        for row in rows
    ]
    return YES if ends and all(low > 0 for low, _ in ends) else NO if any(high < 0 for _, high in ends) else CANNOT


def _gains(rows: Rows) -> str:
    return "; ".join(
        f"{number(row['gain'], row['gain_low'], row['gain_high'], sign=True)} against {row['control']}" for row in rows
    )


def _places(everybody: Rows) -> Iterator[Answer]:
    """Hits of each region against the centre prior."""
    for row in everybody:
        region = row["measure"].removeprefix("hit rate: ")
        if region != row["measure"] and row["control"] == "centre prior" and not np.isnan(row["value"]):
            answer = YES if row["gain_low"] > 0 else NO if row["gain_high"] < 0 else CANNOT
            verb = {YES: "more often than", NO: "less often than", CANNOT: "not surely more often than"}[answer]
            yield (
                f"{PLACE} {region}",
                answer,
                (
                    f"The strongest point lies in {region} in {number(row['value'], row['low'], row['high'])} of {row['n']} images, {verb} the "
                    f"middle of the image does ({number(row['baseline'])})."
                ),
            )


def _shortcuts(everybody: Rows, study: Study, masks: Sequence[str] | None) -> Iterator[Answer]:
    """A region where no disease is should hold no more of a map than its edges bring along."""
    pointing = set(pointing_masks(study.cohort) if masks is None else masks)
    innocent = [name for name in study.cohort.masks if name not in pointing and covers(study.cohort, name) < LARGEST]
    for name in innocent:
        rows = {row["control"]: row for row in everybody if row["measure"] == f"density: {name}"}
        if not rows or np.isnan(rows["even map"]["value"]):
            continue
        even, edges = rows["even map"], rows["edges"]
        # Where no image differs there is no interval, and the value stands for its end.
        most = even["value"] if np.isnan(even["high"]) else even["high"]
        shortcut = even["gain_low"] > 0 and edges["gain_low"] > 0
        answer = NO if shortcut else YES if most <= max(1, edges["baseline"]) else CANNOT
        said = {
            NO: f"The map looks at {name}, where no disease is: it is {{}} times as strong there as an even map, and an edge detector {{}} times",
            CANNOT: f"The map may look at {name}, or its edges may bring that along: it is {{}} times as strong there as an even map, an edge detector {{}} times",
            YES: f"On {name}, where no disease is, the map is no stronger than edges make it: {{}} times an even map, an edge detector {{}} times",
        }[answer]
        yield (
            f"{SHORTCUT} {name}",
            answer,
            said.format(number(even["value"], even["low"], even["high"]), number(edges["baseline"])) + ".",
        )


def _groups(gaps: pd.DataFrame) -> Iterator[Answer]:
    # How much maps change under a random model is no quality that a group could be denied.
    worse = gaps[(gaps["part"] != "sanity") & ((gaps["better"] != "") | gaps["measure"].str.startswith("density"))]
    known = worse.dropna(subset=["p_adjusted"]).sort_values("p_adjusted", kind="stable").to_dict("records")
    if not known:
        return
    worst = known[0]
    found = [row for row in known if row["p_adjusted"] < SIGNIFICANT]
    seen = (
        f"{worst['measure']} for {worst['group']} less the rest {number(worst['gap'], worst['low_together'], worst['high_together'], sign=True)}, "
        f"p {p_text(worst['p_adjusted'])} corrected for all {gaps['p_adjusted'].notna().sum()} comparisons"
    )
    if found:
        groups = list(dict.fromkeys(row["group"] for row in found))
        yield (
            EVERYBODY,
            NO,
            f"Maps differ for {', '.join(groups[:4])}{' and others' if len(groups) > 4 else ''}; most surely {seen}.",
        )
    else:
        yield (
            EVERYBODY,
            CANNOT,
            f"No group differs surely from the rest; nearest: {seen}. A small group may differ unseen.",
        )

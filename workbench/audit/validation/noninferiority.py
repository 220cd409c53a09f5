"""``wb.audit.noninferiority``: is the new model not worse than the reference by more than a margin, and is it better?"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from workbench.audit.asked import positive_class
from workbench.audit.paper import p_said
from workbench.audit.validation.areas import areas
from workbench.audit.validation.contrasts import Contrast, area, area_gap, paired_gap, share, share_gap
from workbench.audit.validation.mcnemar import Cut, chosen_here, thresholds
from workbench.audit.validation.pairing import (
    Columns,
    Pair,
    Scored,
    Source,
    pair_of,
    predictions_of,
    scored,
    unused,
)
from workbench.audit.validation.telling import told, with_interval
from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.finding import Finding
    from workbench.provenance import Provenance

METRICS = ("AUROC", "sensitivity", "specificity")
ROLES = ("new", "reference")
# A wider margin lets a model pass that loses one case in ten; a wider share of the reference's gain over chance, one that
# has lost most of what it is for.
WIDE, MOST_OF_GAIN = 0.1, 0.5


def noninferiority(
    new: Source, reference: Source | float, *, metric: str = "AUROC", margin: float | None = None,
    threshold: Cut | tuple[Cut, Cut] = 0.5, alpha: float = 0.025, paired: bool | None = None,
    label: str | None = None, score: str | Sequence[str] | None = None, patient: str | None = None, id: str | None = None,
    positive: str | None = None,
) -> Finding:  # fmt: skip
    """Test whether the new model is non-inferior to the reference, and then, at no cost, whether it is superior.

    The two claims are tested in this order, each at the one-sided `alpha`; superiority is claimed only after
    non-inferiority, so that no adjustment is due (closed testing). Non-inferiority holds where the lower end of the
    1 − 2·alpha interval of ``new − reference`` lies above −margin, superiority where it lies above 0.

    Parameters
    ----------
    new : Predictions, a folder of saved ones, or anybody's table.
    reference : another model's, on the same images or on others; or a number, the performance goal to be met.
    metric : ``"AUROC"``, ``"sensitivity"`` or ``"specificity"``.
    margin : the greatest loss that would still be acceptable, above 0 and below 0.5. It must be fixed before the data are seen
        and has no default.
    threshold : for sensitivity and specificity, as in :func:`workbench.audit.mcnemar`.
    alpha : one-sided significance level, 0.0005–0.25.
    paired, label, score, patient, id, positive : as in :func:`workbench.audit.delong`.

    Returns
    -------
    Finding
        `table`: a row for each claim, with the difference, its interval, p, and whether the claim is made.

    Warns
    -----
    EvidenceWarning : where the margin is wide: above 0.1, or more than half of what the reference gains over chance.

    Raises
    ------
    InputError : where no margin is given, or it is out of range.

    References
    ----------
    Morikawa & Yoshida 1995, J Biopharm Stat 5:297 (order of the claims); for the intervals see
    :func:`workbench.audit.delong`, Tango 1998, Stat Med 17:891 and Newcombe 1998, Stat Med 17:873.

    Examples
    --------
    >>> import numpy as np, pandas as pd, workbench as wb
    >>> rng = np.random.default_rng(1)
    >>> truth = rng.integers(0, 2, 600)
    >>> p = rng.beta(2 + 2 * truth, 3)
    >>> scores = pd.DataFrame({"truth": truth, "who": range(600), "new": p, "old": (p + 0.1 * rng.random(600)) / 1.1})
    >>> found = wb.audit.noninferiority(scores, scores, margin=0.05, label="truth", score=["new", "old"], patient="who")
    >>> found.table[["claim", "margin", "claimed"]]
                 claim  margin  claimed
    0  non-inferiority    0.05     True
    1      superiority    0.00    False
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    asked = Question(metric, _checked(margin, alpha), float(alpha), thresholds(threshold))
    columns = Columns(label, score, patient, id)
    if isinstance(reference, int | float):
        held = _against_goal(new, float(reference), asked, columns, positive)
    else:
        pair = pair_of(new, reference, columns, positive=positive, paired=paired, roles=ROLES)
        held = _against_model(pair, asked)
    rows = _claims(held, asked)
    said = [
        *held.said,
        *chosen_here(threshold, held.sides),
        *(f"{metric}: {note}." for note in held.notes),
        *_wide(asked, held.reference),
    ]
    settings = {"metric": metric, "margin": asked.margin, "alpha": asked.alpha, "threshold": list(asked.cuts),
                "design": held.design, "reference": held.reference}  # fmt: skip
    return told(
        "noninferiority", f"{metric}: non-inferiority with a margin of {asked.margin:g}", pd.DataFrame(rows),
        sentences=_sentences(rows, held, asked), methods=_methods(asked, held), said=said, settings=settings,
        parents=held.parents,
    )  # fmt: skip


@dataclass(frozen=True)
class Question:
    """What is asked: of which metric, with which margin and one-sided level, each model called at its threshold."""

    metric: str
    margin: float
    alpha: float
    cuts: tuple[float, float]


@dataclass(frozen=True)
class Held:
    """The new model held against the reference: `contrast` is the gain, new − reference."""

    sides: list[Scored]
    contrast: Contrast
    new: float
    reference: float
    design: Literal["paired", "unpaired", "goal"]
    said: list[str]
    parents: dict[str, Provenance]
    metric: str

    @property
    def notes(self) -> list[str]:
        """What speaks against the numbers, each once."""
        notes = [self.contrast.note, *(side.note(self.metric) for side in self.sides)]
        return [note for note in dict.fromkeys(notes) if note]


def _checked(margin: Any, alpha: Any) -> float:
    if margin is None:
        message = (
            "no margin was given: say how much worse the new model may be and still be acceptable, e.g. margin=0.05, as "
            "fixed in the protocol before the data were seen."
        )
        raise InputError(message)
    number = isinstance(margin, numbers.Real)
    if not number or not 0 < margin < 0.5:
        message = f"margin {margin!r} lies outside 0–0.5: it is the greatest acceptable loss, in the metric's own units (0.05 is five points)."
        raise InputError(message)
    number = isinstance(alpha, numbers.Real)
    if not number or not 0.0005 <= alpha <= 0.25:
        message = f"alpha {alpha!r} lies outside 0.0005–0.25; 0.025 is the usual one-sided level."
        raise InputError(message)
    return float(margin)


def _against_goal(new: Source, goal: float, asked: Question, columns: Columns, positive: str | None) -> Held:
    if not 0 < goal < 1:
        message = f"reference {goal} is a performance goal and must lie between 0 and 1 (0.85 for 85 %)."
        raise InputError(message)
    predictions = predictions_of(new, columns)
    chosen = positive_class(predictions, positive)
    side = scored(predictions, chosen, ROLES[0])
    if asked.metric == "AUROC":
        found = area(areas(side.scores, side.truth, side.patients))
    else:
        found = share(*side.right(asked.metric, asked.cuts[0]))
    said = unused(predictions, chosen)
    gain = found.less(goal)
    return Held([side], gain, found.value, goal, "goal", said, {ROLES[0]: predictions.provenance}, asked.metric)


def _against_model(pair: Pair, asked: Question) -> Held:
    design: Literal["paired", "unpaired"] = "paired" if pair.paired else "unpaired"
    if asked.metric == "AUROC":
        found = pair.areas()
        gain, values = area_gap(found), found.values
    else:
        one, other = (
            side.right(asked.metric, cut) for side, cut in zip((pair.first, pair.second), asked.cuts, strict=True)
        )
        gain = paired_gap(one[0], other[0], one[1]) if pair.paired else share_gap(one, other)
        values = np.array([one[0].mean(), other[0].mean()])
    sides = [pair.first, pair.second]
    return Held(
        sides, gain, float(values[0]), float(values[1]), design, list(pair.warnings), pair.parents, asked.metric
    )


def _wide(asked: Question, reference: float) -> list[str]:
    said = []
    if asked.margin > WIDE:
        said.append(
            f"The margin of {asked.margin:g} is wide: a model that loses {asked.margin:.0%} of {asked.metric} would be called "
            "non-inferior."
        )
    chance, over = (0.5, "gain over chance") if asked.metric == "AUROC" else (0.0, asked.metric)
    if asked.margin > MOST_OF_GAIN * (reference - chance):
        said.append(
            f"The margin of {asked.margin:g} is more than half of the reference's {over} ({reference - chance:.3f}): a model "
            "that kept less than half of it could be called non-inferior."
        )
    return said


def _claims(held: Held, asked: Question) -> list[dict[str, Any]]:
    low, high = held.contrast.bounds(NormalDist().inv_cdf(1 - asked.alpha))
    note = "; ".join(held.notes)
    refused = any(text.startswith("refused") for text in held.notes)
    numbers = {"new": held.new, "reference": held.reference, "value": held.contrast.value, "low": low, "high": high}
    numbers = dict.fromkeys(numbers, math.nan) if refused else numbers
    side = held.sides[0]
    size = {"n": len(side), "positives": int(side.truth.sum()), "patients": len(set(side.patients))}
    rows, open_still = [], True
    for claim, margin in (("non-inferiority", asked.margin), ("superiority", 0.0)):
        p = math.nan if refused else held.contrast.p_above(-margin)
        open_still = open_still and p < asked.alpha
        tested = {"margin": margin, "p": p, "claimed": open_still}
        rows.append(
            {"claim": claim, "metric": asked.metric}
            | numbers
            | tested
            | size
            | {"method": held.contrast.method, "note": note}
        )
    return rows


def _sentences(rows: list[dict[str, Any]], held: Held, asked: Question) -> list[str]:
    first, second = rows
    whom = (
        f"the performance goal of {held.reference:g}"
        if held.design == "goal"
        else f"the reference ({held.reference:.3f})"
    )
    if math.isnan(first["p"]):
        reason = first["note"] or "the difference has no interval"
        return [f"No claim about {asked.metric} against {whom} can be made: {reason}."]
    difference = with_interval(first, 1 - 2 * asked.alpha, signed=True)
    claimed = first["claimed"]
    said = [
        f"With a margin of {asked.margin:g}, {asked.metric} ({held.new:.3f}) was {'' if claimed else 'not shown to be '}non-inferior "
        f"to {whom}: the difference was {difference}, and its lower end is {'' if claimed else 'not '}above −{asked.margin:g} "
        f"(one-sided {p_said(first['p'])})."
    ]
    if not claimed:
        return [*said, "Superiority was therefore not claimed."]
    return [
        *said,
        f"{'It was also superior' if second['claimed'] else 'Superiority was not shown'} (one-sided {p_said(second['p'])}).",
    ]


def _methods(asked: Question, held: Held) -> list[str]:
    interval = held.contrast.method or "none could be estimated"
    return [
        f"Non-inferiority in {asked.metric} was tested with a margin of {asked.margin:g} at a one-sided level of {asked.alpha:g}, "
        f"by the {100 * (1 - 2 * asked.alpha):g}% interval of the difference ({interval}); p is the level at which that interval "
        "touches the margin. Superiority was to be claimed only after non-inferiority, at the same level, which needs no "
        "adjustment."
    ]

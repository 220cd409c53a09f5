"""Where is it worst, unasked: ``wb.audit.slices(predictions)``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from workbench.audit.discovery import heldout
from workbench.audit.discovery.cases import Cases, cases_of, checked, embedding_digest, found, positive_class
from workbench.audit.discovery.lattice import BEAM, DEPTH, WORTH, area_excess, distinct, search, share_excess
from workbench.audit.discovery.literals import Literals, attribute_literals, bands, cluster_literals, joined
from workbench.audit.paper import p_text
from workbench.audit.sample import Design
from workbench.errors import InputError, unknown_name
from workbench.predictions import SCORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.audit.finding import Finding
    from workbench.predictions import Predictions

METRICS = ("sensitivity", "specificity", "error", "AUROC")
NEEDED = {
    "sensitivity": "positive images", "specificity": "negative images", "error": "images",
    "AUROC": "images of each class",
}  # fmt: skip


def slices(
    predictions: Predictions, *, embeddings: np.ndarray | pd.DataFrame | None = None,
    attributes: Sequence[str] | None = None, metric: str = "sensitivity", threshold: float = 0.5,
    positive: str | None = None, least: int = 20, most: int = 10, level: float = 0.95, seed: int = 0,
) -> Finding:  # fmt: skip
    """Search for the groups of images where a model is worst, and test them on patients that the search did not see.

    One half of the patients is searched: every crossing of up to three attribute values and one cluster of embeddings
    (k-means on principal components) and, for ``error`` and ``AUROC``, one band of scores. The worst `most` that neither
    contain nor largely overlap each other go to the other half, where each is compared with everybody else by an interval that keeps a patient's
    images together, and that holds for all of them at once (max-T). Because the other half knows nothing of the search,
    only these few need the correction, however many were looked at. A slice with a score band is compared with the
    rest of that band: that scores near the threshold are wrong more often is no finding. For sensitivity and
    specificity bands would be a tautology and are not used.

    Parameters
    ----------
    predictions : what was predicted; made of anybody's table by ``wb.Predictions.from_table``.
    embeddings : ``(n, D)`` in the order of the table, or a DataFrame with the ids as index, as ``model.embed`` gives.
    attributes : which to search; by default all that are groups.
    metric : ``"sensitivity"``, ``"specificity"``, ``"error"`` (share of images on the wrong side of the threshold) or
        ``"AUROC"``.
    threshold : images with a score at or above it are called positive.
    positive : the positive class; by default the last of two.
    least : patients with the needed class that a slice must have in the searched half, 5 or more.
    most : slices that go to the test.
    level : probability that all intervals of gaps hold together.
    seed : of the halves, the clusters and the simultaneous intervals.

    Returns
    -------
    Finding
        `table`: one row a slice, by adjusted p: ``value, low, high`` on the tested half, ``rest``, ``gap`` (slice − rest) with
        ``gap_low, gap_high``, ``p``, ``p_adjusted`` and ``searched`` (the value on the half it was found on, which is too
        bad). Tables ``"images"`` (ids of each slice, and the half they are in) and ``"looked at"`` (slices by depth).

    Raises
    ------
    InputError : where there is nothing to search by, or too few patients to be halved.

    References
    ----------
    Sagadeeva & Boehm 2021, SIGMOD, SliceLine (the lattice of crossings); Eyuboglu et al. 2022, ICLR, Domino (clusters of
    embeddings); Cox 1975, Biometrika 62:441 (split-sample inference).
    """
    if metric not in METRICS:
        raise unknown_name("metric", metric, METRICS)
    checked("threshold", threshold, 0, 1, "scores are probabilities, and so is the threshold")
    checked("level", level, 0.5, 0.999, "0.95 is usual")
    checked("least", least, 5, 10**9, "20 patients are usual; below 5 no number can be told")
    checked("most", most, 1, 100, "10 are usual: each one more makes the correction harder")
    cases = cases_of(predictions, embeddings)
    question = _question(cases, metric, threshold, positive_class(cases, positive))
    half = _half(question, seed)
    plain, left_out = attribute_literals(cases, attributes)
    parts = [plain]
    if question.cases.vectors is not None:
        parts.append(cluster_literals(question.cases.vectors, half & question.carries, plain, seed))
    literals = joined(parts)
    if not len(literals.names):
        message = "there is nothing to search by: the predictions have no attributes, and no embeddings were given for 100 images or more."
        raise InputError(message)
    looked, taken = _searched(question, literals, half, least, most)
    table = _table(question, taken, half, level, seed)
    images = _images(question, taken, table, half)
    settings = {
        "metric": metric, "threshold": threshold, "positive": question.positive, "attributes": attributes, "least": least,
        "most": most, "level": level, "embeddings": embedding_digest(cases.vectors),
    }  # fmt: skip
    return found(
        "slices", f"Where {metric} is worst", table, tables={"images": images, "looked at": looked},
        sentences=_sentences(question, table, int(looked["slices"].sum()), level), methods=_methods(question, level, least),
        cautions=_cautions(table, left_out), settings=settings, parents={"predictions": predictions.provenance}, seed=seed,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked of each image: ``carries``, whether the metric rests on it, and ``hit``, whether it speaks for the model."""

    cases: Cases
    metric: str
    positive: str
    scores: np.ndarray
    truth: np.ndarray
    patients: np.ndarray
    carries: np.ndarray
    hit: np.ndarray


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: its name, what it was crossed of, its images, and those it is compared with, bool ``(n,)`` each."""

    name: str
    by: str
    inside: np.ndarray
    outside: np.ndarray


def _question(cases: Cases, metric: str, threshold: float, positive: str) -> Question:
    truth = (cases.table["label"].astype(str) == positive).to_numpy(dtype=bool)
    scores = cases.table[SCORE + positive].to_numpy(dtype=np.float64)
    called = scores >= threshold
    carries = {"sensitivity": truth, "specificity": ~truth}.get(metric, np.ones(len(truth), dtype=bool))
    return Question(cases, metric, positive, scores, truth, cases.patients, carries, called == truth)


def _half(question: Question, seed: int) -> np.ndarray:
    """Draw half of the patients with, and half of those without a positive image; return whether an image is searched."""
    count = int(question.patients.max()) + 1
    ill = np.bincount(question.patients, weights=question.truth, minlength=count) > 0
    carried = len(np.unique(question.patients[question.carries]))
    if carried < 20:
        message = (
            f"only {carried} patients have {NEEDED[question.metric]}: too few to search one half and test on the other; "
            "at least 20 are needed."
        )
        raise InputError(message)
    searched = np.zeros(count, dtype=bool)
    generator = np.random.default_rng([seed, 0])
    for group in (ill, ~ill):
        members = generator.permutation(np.flatnonzero(group))
        searched[members[: (len(members) + 1) // 2]] = True
    return np.asarray(searched[question.patients])


def _searched(
    question: Question, literals: Literals, half: np.ndarray, least: int, most: int
) -> tuple[pd.DataFrame, list[Slice]]:
    """Return how many slices of each depth were looked at, and the worst of them."""
    everybody = np.ones(len(half), dtype=bool)
    frames = [("", everybody, DEPTH)]
    if question.metric in ("error", "AUROC"):
        banded = bands(question.scores, half)
        frames += [(name, mask, DEPTH - 1) for name, mask in zip(banded.names, banded.masks, strict=True)]
    counts: dict[int, int] = {}
    pool, slices_, masks = [], [], []
    for band, frame, depth in frames:
        rows = np.flatnonzero(half & frame & question.carries)
        # A band may hold nothing, or one class alone, of which there is no AUROC.
        if not len(rows) or (question.metric == "AUROC" and len(np.unique(question.truth[rows])) < 2):
            continue
        levels = search(literals.masks[:, rows], literals.owners, _excess(question, rows, least), depth=depth)
        for level, candidates in enumerate(levels, start=1):
            at = level + bool(band)
            counts[at] = counts.get(at, 0) + len(candidates)
            for candidate in candidates:
                if candidate.excess < WORTH:
                    continue
                inside = frame & np.logical_and.reduce(literals.masks[list(candidate.parts)])
                names = [literals.names[part] for part in candidate.parts] + [band] * bool(band)
                owners = [literals.owners[part] for part in candidate.parts] + ["score"] * bool(band)
                pool.append(candidate)
                slices_.append(Slice(" & ".join(names), " × ".join(owners), inside, frame & ~inside))
                masks.append(inside & half & question.carries)
    looked = pd.DataFrame({"depth": sorted(counts), "slices": [counts[depth] for depth in sorted(counts)]})
    if not counts or not looked["slices"].sum():
        message = (
            f"no slice of the searched half has {least} patients with {NEEDED[question.metric]}, with as many outside it; "
            "lower least=, or search more images."
        )
        raise InputError(message)
    kept = distinct(pool, np.array(masks, dtype=bool), most=most)
    return looked, [slices_[place] for place, _ in kept]


def _excess(question: Question, rows: np.ndarray, least: int) -> Any:
    patients = np.unique(question.patients[rows], return_inverse=True)[1]
    if question.metric == "AUROC":
        return area_excess(question.scores[rows], question.truth[rows], patients, least)
    return share_excess(~question.hit[rows], patients, least)


def _table(question: Question, taken: list[Slice], half: np.ndarray, level: float, seed: int) -> pd.DataFrame:
    columns = ["group", "by", "metric", "value", "low", "high", "rest", "gap", "gap_low", "gap_high", "p", "p_adjusted",
               "searched", "n", "positives", "patients", "note"]  # fmt: skip
    if not taken:
        return pd.DataFrame(
            {name: pd.Series(dtype=object if name in ("group", "by", "metric", "note") else float) for name in columns}
        )
    rows = np.flatnonzero(~half & question.carries)
    sides = np.array([one.inside[rows] for one in taken]), np.array([one.outside[rows] for one in taken])
    tested = _tested(question, rows, sides, level, seed)
    wrong = question.metric == "error"
    made = {
        "group": [one.name for one in taken], "by": [one.by for one in taken], "metric": question.metric,
        "value": 1 - tested.value if wrong else tested.value, "low": 1 - tested.high if wrong else tested.low,
        "high": 1 - tested.low if wrong else tested.high, "rest": 1 - tested.rest if wrong else tested.rest,
        "gap": -tested.gap if wrong else tested.gap, "gap_low": -tested.gap_high if wrong else tested.gap_low,
        "gap_high": -tested.gap_low if wrong else tested.gap_high, "p": tested.p, "p_adjusted": tested.p_adjusted,
        "searched": [_searched_value(question, one.inside & half & question.carries) for one in taken],
        "n": [int(one.inside[rows].sum()) for one in taken],
        "positives": [int((one.inside & question.truth)[rows].sum()) for one in taken],
        "patients": [len(np.unique(question.patients[rows][one.inside[rows]])) for one in taken], "note": tested.notes,
    }  # fmt: skip
    return pd.DataFrame(made)[columns].sort_values("p_adjusted", kind="stable", na_position="last", ignore_index=True)


def _tested(
    question: Question, rows: np.ndarray, sides: tuple[np.ndarray, np.ndarray], level: float, seed: int
) -> heldout.Tested:
    patients = np.unique(question.patients[rows], return_inverse=True)[1].astype(np.int64)
    if question.metric == "AUROC":
        design = Design(question.scores[rows], question.truth[rows], patients, (), np.ones(len(rows)))
        return heldout.areas(*sides, design, level=level, seed=seed)
    return heldout.shares(*sides, question.hit[rows], patients, level=level, seed=seed)


def _searched_value(question: Question, rows: np.ndarray) -> float:
    if question.metric == "AUROC":
        truth, ranks = question.truth[rows], rankdata(question.scores[rows])
        positives, negatives = truth.sum(), (~truth).sum()
        return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
    right = float(question.hit[rows].mean())
    return 1 - right if question.metric == "error" else right


def _images(question: Question, taken: list[Slice], table: pd.DataFrame, half: np.ndarray) -> pd.DataFrame:
    by_name = {one.name: one for one in taken}
    ids = question.cases.table.index.astype(str).to_numpy()
    parts = []
    for name in table["group"]:
        rows = np.flatnonzero(by_name[name].inside & question.carries)
        where = np.where(half[rows], "searched", "tested")
        parts.append(pd.DataFrame({"group": name, "id": ids[rows], "half": where, "right": question.hit[rows]}))
    empty = pd.DataFrame({"group": [], "id": [], "half": [], "right": []})
    return pd.concat(parts, ignore_index=True) if parts else empty


def _worse(table: pd.DataFrame, metric: str, level: float) -> pd.DataFrame:
    sign = 1 if metric == "error" else -1
    return table[(table["p_adjusted"] <= 1 - level) & (sign * table["gap"] > 0)]


def _sentences(question: Question, table: pd.DataFrame, looked: int, level: float) -> list[str]:
    worse = _worse(table, question.metric, level)
    said = [
        f"Of {looked:,} slices looked at on one half of the patients, {len(table)} were tested on the other half; in "
        f"{len(worse)} of them {question.metric} is worse than in the rest beyond chance."
    ]
    for _, row in worse.head(5).iterrows():
        said.append(
            f"In {row.group}, {question.metric} is {row.value:.2f} ({100 * level:g} % interval {row.low:.2f}–{row.high:.2f}; "
            f"{row.n} images of {row.patients} patients), {row.rest:.2f} in the rest: a gap of {row.gap:+.2f} (simultaneous "
            f"interval {row.gap_low:+.2f} to {row.gap_high:+.2f}, adjusted p {p_text(row.p_adjusted)})."
        )
    if not len(worse):
        said.append(
            "That is no proof that there is none: only a slice that is large, and far worse, would have been found."
        )
    return said


def _methods(question: Question, level: float, least: int) -> list[str]:
    searched = "crossings of up to three attribute values" + (
        "" if question.cases.vectors is None else " and clusters of embeddings (k-means on principal components)"
    )
    searched += " and score bands" if question.metric in ("error", "AUROC") else ""
    test = (
        "bootstrap of patients (Poisson weights)"
        if question.metric == "AUROC"
        else "cluster-robust square-and-add of Wilson intervals"
    )
    return [
        f"Patients were split in two halves at random, stratified by whether they had a positive image. In the first, {searched} "
        f"with at least {least} patients were ranked by the standardised gap in {question.metric} to the rest ({BEAM} of each "
        "depth were crossed further); slices worse by less than one standard error, and those that share more than half of their images with a worse one, were "
        "dropped.",
        f"The slices were tested in the second half by {test}, images of a patient kept together, with simultaneous "
        f"{100 * level:g} % intervals and adjusted p-values (single-step max-T over all slices tested).",
    ]


def _cautions(table: pd.DataFrame, left_out: list[str]) -> list[str]:
    thin = table[table["note"].astype(str) != ""]["group"].tolist()
    return [
        f"Not searched by {', '.join(left_out)}: more than 50 different values are names, not groups."
        if left_out
        else "",
        f"Too few cases in {len(thin)} slice(s), {thin[0]} for one: see the column 'note'." if thin else "",
    ]

"""What an embedding knows: ``wb.audit.probe(embeddings, "sex", images=predictions)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.audit.discovery.cases import Images, cases_of, checked, embedding_digest, found
from workbench.audit.discovery.crossfit import FOLDS
from workbench.audit.discovery.modes import mode_table
from workbench.audit.discovery.probing import REPLICATES, Judged, Target, judged, target_of
from workbench.audit.estimation.evidence import ENOUGH
from workbench.audit.paper import p_text

if TYPE_CHECKING:
    from workbench.audit.finding import Finding

PLAIN, WITHIN, CONTROL = "as it is", "within label", "shuffled"


def probe(
    embeddings: np.ndarray | pd.DataFrame, attribute: str, *, images: Images, permuted: int = 200, level: float = 0.95,
    seed: int = 0,
) -> Finding:  # fmt: skip
    """Ask whether an attribute can be read from embeddings, and whether that is more than the label tells.

    A linear probe (ridge on standardised features) is fitted, and its penalty chosen, on other patients than it is
    judged by. A control reads the attribute shuffled between patients. The probe within the label compares images of the
    same label only, with features and attribute centred within the label: where ill women and healthy men could be told
    apart by the illness, it cannot profit. And along the first principal components the attribute's groups are compared.

    That an attribute can be read does not say that the model uses it.

    Parameters
    ----------
    embeddings : ``(n, D)`` in the order of ``images.table``, or a DataFrame with the ids as index, as ``model.embed`` gives.
    attribute : two groups are judged by AUROC, more by balanced accuracy, numbers (more than ten values) by R².
    images : the `Predictions` or `Cohort` that knows the images' patients, labels and attributes.
    permuted : shuffles of the control, 99 or more.
    level : of the intervals.
    seed : of folds, shuffles and bootstrap.

    Returns
    -------
    Finding
        `table`: rows ``as it is``, ``within label`` and ``shuffled`` (the middle and the range of the shuffles). Table
        ``"modes"``: each principal component's Kolmogorov–Smirnov distance between the attribute's groups (a number is cut
        at its median), and between labels. Table ``"scores"``: the probe's score of each image.

    Raises
    ------
    InputError : where the attribute is unknown, has one value, or too few patients.

    References
    ----------
    Glocker, Jones, Bernhardt & Winzeck 2023, eBioMedicine 89:104467.
    """
    checked("permuted", permuted, 99, 10**6, "200 shuffles are usual")
    checked("level", level, 0.5, 0.999, "0.95 is usual")
    cases = cases_of(images, embeddings)
    target = target_of(cases, attribute)
    plain = judged(target, None, permuted=permuted, level=level, seed=seed)
    both = len(np.unique(target.labels)) > 1
    within = judged(target, target.labels, permuted=permuted, level=level, seed=seed) if both else None
    table = _table(target, plain, within, level)
    groups = target.values if target.groups else target.values > np.median(target.values)
    modes = mode_table(
        target.vectors, groups.astype(np.int64), target.labels, target.patients, count=permuted, seed=seed
    )
    scores = pd.DataFrame({"id": target.ids, "attribute": _words(target), "score": plain.scores})
    settings = {
        "attribute": attribute,
        "permuted": permuted,
        "level": level,
        "embeddings": embedding_digest(cases.vectors),
    }
    return found(
        "probe", f"Can {attribute} be read from the embedding?", table, tables={"modes": modes, "scores": scores},
        sentences=_sentences(target, plain, within, modes, level), methods=_methods(target, permuted, level),
        cautions=_cautions(target, within), settings=settings, parents={"images": images.provenance}, seed=seed,
    )  # fmt: skip


def _words(target: Target) -> np.ndarray:
    return np.array(target.groups)[target.values.astype(int)] if target.groups else target.values


def _table(target: Target, plain: Judged, within: Judged | None, level: float) -> pd.DataFrame:
    tails = np.quantile(plain.shuffled, [(1 - level) / 2, (1 + level) / 2])
    rows = [(PLAIN, plain.value, *plain.interval, plain.p)]
    if within is not None:
        rows.append((WITHIN, within.value, *within.interval, within.p))
    rows.append((CONTROL, float(plain.shuffled.mean()), *tails, np.nan))
    table = pd.DataFrame(rows, columns=["group", "value", "low", "high", "p"])
    table.insert(1, "by", target.name)
    table.insert(2, "metric", target.metric)
    return table.assign(n=len(target.values), patients=int(target.patients.max()) + 1)


def _sentences(target: Target, plain: Judged, within: Judged | None, modes: pd.DataFrame, level: float) -> list[str]:
    alpha = 1 - level
    tails = np.quantile(plain.shuffled, [alpha / 2, 1 - alpha / 2])
    can = "can" if plain.p <= alpha else "could not"
    groups = f" ({' against '.join(target.groups[::-1])})" if len(target.groups) == 2 else ""
    said = [
        f"{target.name}{groups} {can} be read from the embedding by a linear probe: {target.metric} {_told(plain, level)}; shuffled "
        f"between patients it gives {plain.shuffled.mean():.2f} ({tails[0]:.2f} to {tails[1]:.2f})."
    ]
    if within is not None:
        if plain.p > alpha:
            meaning = "as little as among all images" if within.p > alpha else "so the label hid what can be read"
        elif within.p > alpha:
            meaning = "what can be read is no more, as far as this sample can show, than what the label tells"
        else:
            meaning = "so more can be read than what the label tells"
        said.append(f"Among images of the same label the {target.metric} is {_told(within, level)}: {meaning}.")
    apart = modes[modes["p_adjusted"] <= alpha]
    if len(apart):
        largest = apart.sort_values("ks").iloc[-1]
        said.append(
            f"The groups lie apart along {len(apart)} of the first {len(modes)} principal components, most along number "
            f"{largest['mode']:.0f} (Kolmogorov–Smirnov distance {largest['ks']:.2f}; of the labels {largest['ks_label']:.2f})."
        )
    else:
        said.append(f"The groups lie apart along none of the first {len(modes)} principal components.")
    said.append(f"That {target.name} can be read would not say that the model uses it.")
    return said


def _told(one: Judged, level: float) -> str:
    return f"{one.value:.2f} ({100 * level:g} % interval {one.interval[0]:.2f} to {one.interval[1]:.2f}, p {p_text(one.p)})"


def _methods(target: Target, permuted: int, level: float) -> list[str]:
    interval = {
        "AUROC": f"on the logit scale with the variance of {REPLICATES} bootstrap replicates of patients",
        "balanced accuracy": "cluster-robust by patient",
        "R²": "cluster-robust by patient",
    }[target.metric]
    return [
        f"{target.name} was read from {target.vectors.shape[1]} features by ridge regression on standardised features, in "
        f"{FOLDS}-fold nested cross-validation with all images of a patient in one fold, and judged by {target.metric}; "
        f"{100 * level:g} % intervals are {interval}, and take the fitted probes as given. p-values are from {permuted} "
        "permutations of the attribute between patients (within the label: between patients with the same labels).",
        "Groups were compared along principal components by the Kolmogorov–Smirnov distance, with p-values from the same "
        "permutations, adjusted by the largest distance over all components.",
    ]


def _cautions(target: Target, within: Judged | None) -> list[str]:
    left = "; ".join(f"{reason}: {count}" for reason, count in target.left_out.items())
    smallest = min((len(np.unique(target.patients[target.values == code])) for code in range(len(target.groups))), default=ENOUGH)  # fmt: skip
    return [
        f"Images left out: {left}." if left else "",
        f"The smallest group has only {smallest} patients: wide interval, do not rely on it."
        if smallest < ENOUGH
        else "",
        "All images have one label, so the probe within the label is that of all images." if within is None else "",
    ]

"""Sanity: does a map change when what the model learned is taken away (Adebayo et al. 2018, arXiv:1810.03292)?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from workbench.errors import InputError
from workbench.explain.quality.measure import Measure, Outcome
from workbench.explain.quality.randomise import cascade
from workbench.explain.quality.removal import WITHOUT_EVIDENCE
from workbench.explain.quality.similarity import flat, other_patients, rank_correlation, ssim
from workbench.explain.settings import check_whole
from workbench.explain.untouched import untouched, unwrapped
from workbench.progress import live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd
    import torch

    from workbench.explain.chosen import Chosen
    from workbench.explain.quality.study import Study
    from workbench.explain.task import Batch
    from workbench.models.model import Model

# Images from which the random networks' batch-norm statistics are taken.
CALIBRATION = 16
# Values of the inputs kept at once, 256 MiB: the images of a larger cohort are taken in turns.
KEPT = 2**26

SIMILARITIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "rank correlation": rank_correlation,
    "rank correlation of |map|": lambda first, second: rank_correlation(first, second, absolute=True),
    "SSIM": lambda first, second: ssim(first, second, absolute=True),
}
PARTLY, RANDOM, PERMUTED, OTHER = "partly random model", "random model", "permuted labels", "another patient"
SIGNED = "rank correlation"
DECISIVE = "kept once randomised"
"""The measure that the verdict rests on."""
# What maps share anyway counts as chance only up to here: one map for all images is not a map that changed.
SHARED = 0.5


def sanity(
    study: Study, *, stages: int = 6, draws: int = 1, permuted: Model | None = None, seed: int = 0, images: int | None = None
) -> Outcome:  # fmt: skip
    """Compare each map with those of the same method, image and class for networks that lack what the model learned.

    The network is randomised from its output down to its input (:func:`~workbench.explain.quality.randomise.cascade`),
    the last stage being random throughout. A map that explains the model has to change; one that does not is a filter
    of the image. Similarities: Spearman's rank correlation of the maps and of their magnitudes, and SSIM of magnitudes,
    each between −1 and 1 and better low. Beside each stands its control, the similarity of the model's map to its map
    of another patient's image: what maps of this method share anyway, such as an empty border.

    **The verdict** (:func:`~workbench.explain.quality.verdicts.sanity_verdict`) rests on ``"kept once randomised"``,
    ``(ρ − c) / (1 − c)``: ρ is the map's rank correlation averaged over the stages before the last, c the mean of the
    control, at most 0.5. 1: nothing changes; 0: the map of the randomised model is as near as that of another patient.
    From the first stage on the score has lost its meaning, so a map of what it rests on has no reason to stay. The last
    stage alone would not do, nor would magnitudes: where the first convolutions are random too, even guided
    backpropagation changes, for its edges come with random signs; and magnitudes of gradients times the image (SHAP)
    stay, because the image is a factor of them.

    Costs about ``stages × draws`` times what the maps did.

    Parameters
    ----------
    stages : steps of the cascade, at least 2.
    draws : random networks at each stage, at least 1; similarities are averaged over them.
    permuted : a model of the same form trained on permuted labels, the paper's second test: what it learned has nothing
        to do with the classes.
    seed : of all draws.
    images : how many images are looked at, evenly spread over the cohort's order; by default all. Others get NaN.

    Returns
    -------
    Outcome : ``curves["cascade"]`` has columns id, stage (1 to `stages`), module (of those that are random, the one
        nearest to the input), fraction (of learned values that are random, 0–1), measure, value.

    Raises
    ------
    InputError : where a setting is out of range, the network has nothing to randomise, or `permuted` is no other model
        of the same classes.
    """
    check_whole("stages", stages, least=2)
    check_whole("draws", draws, least=1)
    rival = None if permuted is None else _rival(permuted, study)
    ids = _looked_at(study, images)
    partners = other_patients(study.cohort.table.loc[ids, "patient"].to_numpy(), seed=seed)
    random = np.full((draws, stages, len(SIMILARITIES), len(ids)), np.nan)
    other, learned = random[0, 0].copy(), random[0, 0].copy()
    told = np.zeros(len(ids), dtype=bool)
    reached: list[tuple[str, float]] = []
    with untouched(study.task.network), live("Sanity", len(ids) * (draws * stages + 1), keep=False) as shown:
        spread = np.unique(np.linspace(0, len(ids) - 1, CALIBRATION).round().astype(int))
        calibration = study.task.inputs([ids[row] for row in spread])
        for rows in _turns(study, len(ids)):
            kept = list(study.batches("Reading", ids=[ids[row] for row in rows]))
            told[rows] = np.concatenate([~flat(maps) for _, _, maps in kept])
            other[:, rows] = _to_others(study, ids, partners, rows)
            if rival is not None:
                learned[:, rows] = _to_network(study, kept, rival)
            shown.advance(len(rows))
            for draw in range(draws):
                made = cascade(study.task.network, calibration, stages=stages, seed=seed + draw)
                for number, stage in enumerate(made):
                    random[draw, number][:, rows] = _to_network(study, kept, stage.network)
                    if len(reached) == number:  # the stages are the same in every draw
                        reached.append((stage.name, stage.fraction))
                    shown.advance(len(rows))
    random = _mean(random[:, : len(reached)])
    partly = _mean(random[:-1] if len(random) > 1 else random)
    values = {PARTLY: partly, RANDOM: random[-1], **({} if rival is None else {PERMUTED: learned})}
    return _outcome(study, ids, values, told=told, other=other, curve=_curve(ids, random, reached))


def _looked_at(study: Study, images: int | None) -> list[str]:
    ids = list(study.attributions.ids)
    if images is None:
        return ids
    check_whole("images", images, least=1)
    return [ids[row] for row in np.unique(np.linspace(0, len(ids) - 1, images).round().astype(int))]


def _rival(permuted: Model, study: Study) -> torch.nn.Module:
    network = unwrapped(permuted.network)
    if tuple(permuted.classes) != tuple(study.model.classes):
        message = (
            f"permuted= tells {tuple(permuted.classes)} apart and the explained model {tuple(study.model.classes)}; train it "
            "on the same cohort and classes, with the labels permuted."
        )
        raise InputError(message)
    if network is study.task.network:
        message = "permuted= is the explained model itself; give one that was trained on permuted labels."
        raise InputError(message)
    return network


def _turns(study: Study, count: int) -> Iterator[np.ndarray]:
    """Cut the images into parts whose inputs fit into memory together."""
    size = max(1, KEPT // int(np.prod(study.attributions.maps.shape[1:])))
    for start in range(0, count, size):
        yield np.arange(start, min(start + size, count))


def _alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return every similarity of n pairs of maps, ``(3, n)``."""
    return np.stack([similarity(first, second) for similarity in SIMILARITIES.values()])


def _to_network(study: Study, kept: Sequence[tuple[Batch, Chosen, np.ndarray]], network: torch.nn.Module) -> np.ndarray:
    found = [_alike(maps, study.again(batch, chosen, network)) for batch, chosen, maps in kept]
    study.forget()  # what a method prepared for this network does not hold for the next, which may be the same object
    return np.concatenate(found, axis=1)


def _to_others(study: Study, ids: list[str], partners: np.ndarray, rows: np.ndarray) -> np.ndarray:
    import pandas as pd

    places = study.cohort.table.index.get_indexer(pd.Index(ids))
    found = np.full((len(SIMILARITIES), len(rows)), np.nan)
    for start in range(0, len(rows), study.task.batch_size):
        part = rows[start : start + study.task.batch_size]
        part = part[partners[part] >= 0]
        if len(part):
            first, second = (np.asarray(study.attributions.maps[places[of]]) for of in (part, partners[part]))
            found[:, part - rows[0]] = _alike(first, second)
    return found


def _mean(values: np.ndarray) -> np.ndarray:
    """Average over the first axis what is there; NaN where nothing is."""
    count = np.isfinite(values).sum(0)
    mean: np.ndarray = np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
    return mean


def _curve(ids: list[str], random: np.ndarray, reached: list[tuple[str, float]]) -> pd.DataFrame:
    import pandas as pd

    blocks = [
        pd.DataFrame(
            {"id": ids, "stage": stage, "module": module, "fraction": fraction, "measure": name, "value": value}
        )
        for stage, (module, fraction) in enumerate(reached, start=1)
        for name, value in zip(SIMILARITIES, random[stage - 1], strict=True)
    ]
    return pd.concat(blocks, ignore_index=True)


def _kept(random: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the share of each map's own order that is left, from similarities ``(n,)`` to random models' and other maps."""
    known = np.isfinite(other)
    shared = float(np.clip(other[known].mean(), 0, SHARED)) if known.any() else 0.0
    kept: np.ndarray = np.clip((random - shared) / (1 - shared), -1, 1)
    return kept


def _outcome(
    study: Study,
    ids: list[str],
    values: dict[str, np.ndarray],
    *,
    told: np.ndarray,
    other: np.ndarray,
    curve: pd.DataFrame,
) -> Outcome:
    import pandas as pd

    index = pd.Index(study.attributions.ids, name="id")
    columns = {DECISIVE: _kept(values[PARTLY][0], other[0])}
    measures = [Measure(DECISIVE, "sanity", "lower", None, proportion=False, says=ORDER_KEPT)]
    for kind, found in values.items():
        for name, value in zip(SIMILARITIES, found, strict=True):
            if kind != PARTLY or name == SIGNED:  # its other similarities are in the curve
                columns[f"{kind}: {name}"] = value
                measures.append(
                    Measure(
                        f"{kind}: {name}",
                        "sanity",
                        "lower",
                        f"{OTHER}: {name}",
                        proportion=False,
                        says=_says(kind, name),
                    )
                )
    left_out = {}
    for measure in measures:
        empty = NOT_PERMUTED if measure.name.startswith(PERMUTED) else NOT_RANDOM
        missing = np.isnan(columns[measure.name]) & told
        reasons = {
            WITHOUT_EVIDENCE: int((~told).sum()),
            empty: int(missing.sum()),
            NOT_LOOKED_AT: len(index) - len(ids),
        }
        left_out[measure.name] = {reason: count for reason, count in reasons.items() if count}
    columns |= {f"{OTHER}: {name}": value for name, value in zip(SIMILARITIES, other, strict=True)}
    table = pd.DataFrame(columns, index=pd.Index(ids, name="id")).reindex(index)
    return Outcome(table, tuple(measures), {name: own for name, own in left_out.items() if own}, {"cascade": curve})


ORDER_KEPT = (
    "Share of what makes a map its image's own that is left while the model is randomised from its output down; 1: nothing "
    "changes, 0: as near as another patient's map (after Adebayo et al. 2018, arXiv:1810.03292)."
)
NOT_RANDOM, NOT_PERMUTED = "no evidence once randomised", "no evidence under permuted labels"
NOT_LOOKED_AT = "not looked at"


def _says(kind: str, name: str) -> str:
    against = {
        PARTLY: "the same model randomised from its output down, averaged over the stages that leave something as it was",
        RANDOM: "the same model with all its parameters random",
        PERMUTED: "a model trained on permuted labels",
    }[kind]
    how = {
        "rank correlation": "Spearman's rank correlation of the map with that of",
        "rank correlation of |map|": "Spearman's rank correlation of the map's magnitudes with those of",
        "SSIM": "Structural similarity (Wang et al. 2004) of the map's magnitudes to those of",
    }[name]
    return f"{how} {against}; −1 to 1 (Adebayo et al. 2018, arXiv:1810.03292)."

"""The demo: one network trained twice, on an honest phantom and on one with a planted shortcut, and what tells them apart."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.audit.assess import audit
from workbench.clustered import means
from workbench.errors import EvidenceWarning
from workbench.explain.attribute import explain
from workbench.explain.quality.trust import trust
from workbench.figures import attribution_grid, forest, map_evidence, roc
from workbench.models.train import train
from workbench.phantoms.ideal_observer import efficiency
from workbench.phantoms.mammography import phantom_mammography
from workbench.provenance import Provenance, digest
from workbench.reports.page import Section, page
from workbench.storage import writing

if TYPE_CHECKING:
    from workbench.audit.result import Audit
    from workbench.cohorts.cohort import Cohort
    from workbench.explain.attributions import Attributions
    from workbench.explain.quality.result import Trust
    from workbench.models.model import Model

# Only the site North uses markers: with this shortcut, in 97.5 % of its cancers and in 2.5 % of its healthy images.
SHORTCUT = 0.95
DISADVANTAGE = 0.6  # lesions in dense breasts keep 40 % of their contrast
SHOWN = 4
# Cheap ones: some thirty forward passes an image.
EVIDENCE = {"sanity": {"stages": 3}, "faithfulness": {"steps": 5}, "localisation": {}, "shares": {}}
LEAD = (
    "Two copies of one small network were trained on generated mammograms, in which dense tissue hides lesions. In the first cohort the lead "
    "marker that the site North lays on its films means nothing; in the second it goes with the diagnosis. Read on to see that a good AUROC "
    "does not tell the two apart, and what does."
)


@dataclass(frozen=True, eq=False)
class Study:
    """One way through: the test part, the model, its heat maps of every test image, what speaks for them, and its audit."""

    test: Cohort
    model: Model
    gradcam: Attributions
    trust: Trust
    audit: Audit
    cases: Cohort
    shap: Attributions


def demo(folder: str | Path, *, images: int | None = None, epochs: int | None = None, seed: int = 7) -> Path:
    """Train, explain and audit on two phantoms; write figures, tables, the values and one page that shows them.

    Parameters
    ----------
    folder : where all of it goes; written whole or not at all, an earlier demo there is replaced.
    images : images a cohort; by default the phantom's own number.
    epochs : of training, at most; by default the training's own.
    seed : of everything random.

    Returns
    -------
    The page's path, ``<folder>/index.html``.

    Raises
    ------
    InputError : where `folder` holds something else.
    """
    with writing(folder, "Demo") as scratch:
        honest = _study(0.0, images=images, epochs=epochs, seed=seed)
        fooled = _study(SHORTCUT, images=images, epochs=epochs, seed=seed)
        figures: dict[str, Any] = {
            "1-honest-maps": attribution_grid([honest.gradcam, honest.shap], honest.cases, ids=honest.cases.ids),
            "2-honest-evidence": map_evidence(honest.trust),
            "3-honest-gaps": forest(honest.audit, metric="sensitivity"),
            "4-honest-roc": roc(honest.audit, by="density"),
            "5-shortcut-maps": attribution_grid([fooled.gradcam, fooled.shap], fooled.cases, ids=fooled.cases.ids),
            "6-shortcut-gaps": forest(fooled.audit, metric="sensitivity"),
            "7-shortcut-roc": roc(fooled.audit, by="site"),
        }
        files = _write(scratch, figures, {"honest": honest, "shortcut": fooled})
        parents = {"honest": honest.audit.provenance, "shortcut": fooled.audit.provenance}
        settings = {"images": images, "epochs": epochs}
        content = digest(honest.audit.table, fooled.audit.table, honest.gradcam.maps, fooled.gradcam.maps)
        provenance = Provenance("demo", settings, content, parents, seed=seed)
        provenance.save(scratch)
        sections = [*_honest_sections(honest, figures), *_shortcut_sections(honest, fooled, figures)]
        page(
            sections, scratch / "index.html", title="What the model looks at, and whom it fails", lead=LEAD,
            provenance=provenance, files=files,
        )  # fmt: skip
    return Path(folder) / "index.html"


def _study(shortcut: float, *, images: int | None, epochs: int | None, seed: int) -> Study:
    size: dict[str, Any] = {} if images is None else {"n": images}
    length: dict[str, Any] = {} if epochs is None else {"epochs": epochs}
    cohort = phantom_mammography(shortcut=shortcut, disadvantage=DISADVANTAGE, seed=seed, **size)
    learn, tune, test = cohort.split(by="patient", seed=seed)
    model = train(learn, tune, seed=seed, **length)
    scores = model.predict(test)
    cases = _cases(test, scores.positive, marked=shortcut > 0)
    with warnings.catch_warnings():
        # The page shows each row's note; a reader of the terminal can do nothing about them.
        warnings.simplefilter("ignore", EvidenceWarning)
        found = audit(scores, by=["density", "site", "marker", ("site", "marker")])
    gradcam = explain(model, test, "gradcam", target="cancer")
    cancers = gradcam.subset(test.where("label == 'cancer'").ids)
    return Study(
        test=test,
        model=model,
        gradcam=gradcam,
        trust=trust(model, cancers, parts=EVIDENCE, seed=seed),
        audit=found,
        cases=cases,
        shap=explain(model, cases, "shap", target="cancer", background=learn, seed=seed),
    )


def _cases(test: Cohort, scores: np.ndarray, *, marked: bool) -> Cohort:
    """Choose the cancers found most surely: with a marker where one was planted, else whatever they have."""
    chosen = test.table["label"] == "cancer"
    if marked:
        chosen &= (test.table["marker"] == "yes") & (test.table["site"] == "North")
    ranked = pd.Series(scores, index=test.ids)[chosen.to_numpy()].sort_values(ascending=False, kind="stable")
    return test.subset(list(ranked.index[:SHOWN]), verb="most surely found", marked=marked)


def _honest_sections(honest: Study, figures: dict[str, Any]) -> list[Section]:
    truth = honest.test.card["truth"]
    area = _value(honest.audit, "AUROC", "all")
    return [
        Section(
            "The model without a shortcut",
            text="Cancers the model is surest of, with two answers to “where does the score come from?”. The outline is the lesion, "
            "which only a phantom knows. Grad-CAM is coarse and shows what spoke for cancer; SHAP also shows what spoke against it (blue).",
            figure=figures["1-honest-maps"],
            alt="Four mammograms with lesions outlined, their Grad-CAM maps and their SHAP maps.",
            notices=[
                f"AUROC {_text(area)} on {area['n']} test images of {area['patients']} patients. The ideal observer, who knows how "
                f"the images were made, reaches {truth['ideal_auroc']:.3f}: the model uses "
                f"{efficiency(float(area['value']), truth['ideal_auroc']):.0%} of the evidence there is.",
                *_strength_sentences(honest, "lesion"),
                *_strength_sentences(honest, "marker"),
            ],
        ),
        Section(
            "May these maps be believed?",
            text="Grad-CAM of the cancers of the test part, put to the test: does it change when the model forgets what it learned, does the score fall "
            "where the map says it comes from, and is it better than a random order or an edge detector on the same images?",
            figure=figures["2-honest-evidence"],
            alt="Rank correlation of the maps as the model is randomised; the score under deletion and insertion beside two controls.",
            notices=[one.sentence for one in honest.trust.verdicts],
        ),
        Section(
            "Whom it fails",
            text="The gap of each group to everybody else, with 95 % intervals that count patients, not images. An interval that crosses zero "
            "does not show a difference; a grey one stands on too few cases to be read at all.",
            figure=figures["3-honest-gaps"],
            alt="Forest plot of the sensitivity gaps by density, site and marker.",
            table=_table(honest.audit, "density"),
        ),
        Section(
            "The same by threshold",
            figure=figures["4-honest-roc"],
            alt="ROC curves by breast density.",
            text="Every threshold at once, by breast density: dense tissue hides lesions from models as it does from readers.",
        ),
    ]


def _shortcut_sections(honest: Study, fooled: Study, figures: dict[str, Any]) -> list[Section]:
    area = _value(fooled.audit, "AUROC", "all")
    found = {marker: _value(fooled.audit, "sensitivity", f"marker={marker}") for marker in ("yes", "no")}
    return [
        Section(
            "The same network with a shortcut planted",
            text="At the site North the marker now goes with the diagnosis, as happens where the sicker patients are examined on another machine. "
            "Cancers with a marker from North: look at what lights up.",
            figure=figures["5-shortcut-maps"],
            alt="Four mammograms with lesion and marker outlined; the heat lies on the marker.",
            notices=[
                f"AUROC {_text(area)} over all test images, against {_text(_value(honest.audit, 'AUROC', 'all'))} without the "
                "shortcut: on data like its own, the number alone gives nothing away.",
                *_strength_sentences(fooled, "marker"),
                *_strength_sentences(fooled, "lesion"),
                *[
                    one.sentence
                    for one in fooled.trust.verdicts
                    if one.question in {"points at lesion", "free of marker"}
                ],
            ],
        ),
        Section(
            "Who pays for it",
            text="The audit by marker and site, which needs no heat map: whoever has a cancer and no marker.",
            figure=figures["6-shortcut-gaps"],
            alt="Forest plot of the sensitivity gaps by marker and site.",
            notices=[
                f"Of the cancers with a marker the model finds {_text(found['yes'])}; of those without, {_text(found['no'])}.",
                f"Within North the AUROC is {_text(_value(fooled.audit, 'AUROC', 'site=North'))}. The other sites have no marker: "
                + ", ".join(
                    f"{_text(_value(fooled.audit, 'AUROC', f'site={site}'))} at {site}" for site in ("East", "South")
                )
                + ".",
            ],
            table=_table(fooled.audit, "site × marker"),
        ),
        Section(
            "The same by threshold",
            figure=figures["7-shortcut-roc"],
            alt="ROC curves by site.",
            text="No threshold mends it: the curves of the sites stay apart.",
        ),
    ]


def _strength_sentences(study: Study, mask: str) -> list[str]:
    """Say how strong Grad-CAM is on a mask beside the image as a whole: its share of the map over its share of the area."""
    shares = study.gradcam.share(study.test, mask).dropna()
    if shares.empty:
        return []
    areas = np.array([study.test.mask(image_id, mask).mean() for image_id in shares.index])  # type: ignore[union-attr]
    strength = shares.to_numpy() / areas
    mean = means(strength, study.test.table.loc[shares.index, "patient"].to_numpy())
    (low,), (high,) = mean.intervals()
    return [
        f"On the {mask} Grad-CAM is {strength.mean():.1f} times [{low:.1f}–{high:.1f}] as strong as over the whole image, in the "
        f"{len(shares)} test images that have one. A map without any aim would reach 1."
    ]


def _value(found: Audit, metric: str, group: str) -> dict[str, Any]:
    rows = found.table[(found.table["metric"] == metric) & (found.table["group"] == group)]
    return dict(rows.iloc[0]) if len(rows) else {"value": np.nan}  # a small test part may lack the group


def _text(row: dict[str, Any]) -> str:
    if not np.isfinite(row["value"]):
        return "not estimable"
    return f"{row['value']:.3f} [{row['low']:.3f}–{row['high']:.3f}]"


def _table(found: Audit, by: str) -> pd.DataFrame:
    shown = found.table[found.table["by"].isin(["", by])]
    return shown[["group", "metric", "value", "low", "high", "n", "positives", "patients", "note"]]


def _write(folder: Path, figures: dict[str, Any], studies: dict[str, Study]) -> dict[str, str]:
    """Write figures, tables and values; return what the page links to."""
    files = {}
    (folder / "figures").mkdir()
    for name, figure in figures.items():
        for ending in ("pdf", "svg", "png"):
            figure.savefig(folder / "figures" / f"{name}.{ending}")
        files[f"figures/{name}.pdf"] = f"Figure {name}, vector (SVG and PNG beside it)"
    for name, study in studies.items():
        study.audit.to_frame().to_csv(folder / f"audit-{name}.csv", index=False)
        files[f"audit-{name}.csv"] = f"Audit table of the {name} model"
        study.model.save(folder / name / "model")
        study.audit.save(folder / name / "audit")
        study.gradcam.save(folder / name / "gradcam")
        study.trust.save(folder / name / "trust")
    return files

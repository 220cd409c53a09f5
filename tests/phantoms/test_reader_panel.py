"""A simulated panel of readers: calibrated, consistent, and never better than the ideal observer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.phantoms.ideal_observer import auroc
from workbench.phantoms.mammography import phantom_mammography
from workbench.phantoms.reader_panel import ideal_evidence, internal_noise


@pytest.fixture(scope="module")
def cohort():
    """Images whose dense breasts hide their lesions, so that the ideal observer errs too."""
    return phantom_mammography(120, shape=(64, 48), disadvantage=0.94, seed=3)


@pytest.fixture(scope="module")
def model(cohort):
    rng = np.random.default_rng(0)
    score = 1 / (1 + np.exp(-(1.5 * (cohort.labels - 0.5) + rng.normal(size=len(cohort)))))
    table = pd.DataFrame({"id": cohort.ids, "label": cohort.table["label"].to_numpy(), "score": score})
    return wb.Predictions.from_table(table, label="label", score="score", id="id")


def areas(panel):
    return panel.groupby(["modality", "reader"])[["score", "label"]].apply(
        lambda part: auroc(part["score"].to_numpy(), (part["label"] == "cancer").to_numpy())
    )


def test_the_evidence_is_that_of_the_card(cohort):
    log_ratios, diseased = ideal_evidence(cohort)
    assert auroc(log_ratios, diseased) == cohort.card["truth"]["ideal_auroc"] < 0.97
    part = cohort.subset(cohort.ids[5:31:3])
    assert np.array_equal(ideal_evidence(part)[0], log_ratios[5:31:3])


def test_no_reader_is_better_than_the_ideal_observer_on_average(cohort):
    runs = [wb.phantoms.reader_panel(cohort, readers=6, skill=0.88, spread=0.05, seed=seed) for seed in range(12)]
    mean = pd.concat([areas(run) for run in runs], axis=1).mean(axis=1)
    ideal = runs[0].attrs["ideal_auroc"]
    assert (mean < ideal).all()
    assert max(areas(run).mean() for run in runs) < ideal


def test_readers_reach_the_skill_they_were_given(cohort):
    runs = [
        wb.phantoms.reader_panel(cohort, readers=8, skill=0.75, spread=0.0, agreement=0.0, seed=seed)
        for seed in range(10)
    ]
    found = pd.concat([areas(run) for run in runs])
    assert found.mean() == pytest.approx(0.75, abs=4 * found.std() / np.sqrt(len(found)))


def test_noise_brings_the_area_down_to_what_was_asked():
    rng = np.random.default_rng(1)
    evidence, diseased = np.repeat([0.0, 3.0], 800), np.repeat([False, True], 800)
    noise = internal_noise(evidence, diseased, 0.8)
    # Two points 3 apart and noise on both: the area is Φ(3 / (√2·σ)).
    assert noise == pytest.approx(3 / (np.sqrt(2) * 0.8416212), rel=1e-6)
    assert auroc(evidence + noise * rng.normal(size=1600), diseased) == pytest.approx(0.8, abs=0.04)


def test_readers_who_agree_are_misled_by_the_same_images(cohort):
    def correlation(agreement):
        panel = wb.phantoms.reader_panel(cohort, agreement=agreement, skill=0.7, seed=1)
        return (
            panel[panel["label"] == "healthy"].pivot(index="case", columns="reader", values="score").corr().to_numpy()
        )

    off = ~np.eye(5, dtype=bool)
    assert correlation(0.9)[off].mean() > correlation(0.0)[off].mean() + 0.4


def test_a_model_helps_readers_and_stands_alone(cohort, model):
    panel = wb.phantoms.reader_panel(cohort, readers=6, skill=0.7, model=model, ideal=True)
    assert list(panel["modality"].unique()) == ["reader", "reader + model", "model", "ideal observer"]
    assert len(panel) == (6 + 6 + 1 + 1) * len(cohort)
    found = areas(panel).groupby("modality").mean()
    assert found["reader"] < found["reader + model"] < found["ideal observer"]
    assert found["model"] == auroc(model.positive, cohort.labels == 1)
    ignored = wb.phantoms.reader_panel(cohort, readers=6, skill=0.7, model=model, trust=0.0)
    assert areas(ignored).groupby("modality").mean().diff()["reader + model"] == pytest.approx(0, abs=0.03)


def test_a_copied_model_gives_the_models_area(cohort, model):
    panel = wb.phantoms.reader_panel(cohort, model=model, trust=1.0)
    # Ratings of whole numbers tie a few images.
    assert areas(panel)["reader + model"].to_numpy() == pytest.approx(areas(panel)["model"].iloc[0], abs=0.01)


@pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")
@pytest.mark.parametrize("scale", ["0-100", "1-5"])
def test_the_audit_takes_the_panel_as_it_is(cohort, model, scale):
    panel = wb.phantoms.reader_panel(cohort, scale=scale, model=model)
    top = {"0-100": 100, "1-5": 5}[scale]
    own = panel[panel["reader"] != "model"]["score"]
    assert own.between(top // 5 if top == 5 else 0, top).all()
    assert (own == own.round()).all()
    named = {"reader": "reader", "modality": "modality", "case": "case", "label": "label", "patient": "patient"}
    found = wb.audit.mrmc(panel, score="score", **named, reference="reader")
    assert found.settings["design"] == "fully crossed, beside 1 stand-alone model"
    assert list(found.table["group"][3:]) == ["model − reader + model", "model − reader", "reader + model − reader"]
    calls = wb.audit.mrmc(panel, score="call", metric="sensitivity", **named)
    assert calls.table["value"].between(0, 1, inclusive="right").iloc[:3].all()


def test_labels_are_the_truth_where_the_cohorts_are_noisy():
    cohort = phantom_mammography(40, shape=(64, 48), label_noise=0.4)
    panel = wb.phantoms.reader_panel(cohort, readers=2)
    assert (panel["label"].to_numpy()[:40] == cohort.table["true_label"].to_numpy()).all()
    assert (panel["label"].to_numpy()[:40] != cohort.table["label"].to_numpy()).any()


def test_the_same_seed_gives_the_same_readings(cohort):
    first, second, other = (wb.phantoms.reader_panel(cohort, seed=seed) for seed in (4, 4, 5))
    pd.testing.assert_frame_equal(first, second)
    assert not first["score"].equals(other["score"])


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"readers": 1}, "readers"), ({"skill": 0.5}, "skill"), ({"agreement": 1.5}, "agreement"), ({"scale": "0-10"}, "did you mean '0-100'"),
        ({"skill": 0.99}, "the ideal observer reaches on these images"),
    ],
)  # fmt: skip
def test_a_knob_out_of_range_is_refused_by_name(cohort, asked, said):
    with pytest.raises(wb.InputError, match=said):
        wb.phantoms.reader_panel(cohort, **asked)


def test_other_cohorts_and_changed_images_are_refused(cohort, model):
    rng = np.random.default_rng(0)
    other = wb.Cohort.from_arrays(rng.random((20, 16, 16)), labels=[0, 1] * 10)
    with pytest.raises(wb.InputError, match="does not come from 'phantom-mammography'"):
        wb.phantoms.reader_panel(other)
    stranger = phantom_mammography(120, shape=(64, 48), disadvantage=0.0, seed=3)
    with pytest.raises(wb.InputError, match="is not as the phantom made it"):
        wb.phantoms.reader_panel(replace(stranger, provenance=cohort.provenance))
    with pytest.raises(wb.InputError, match="no prediction for image 'p0003-CC'"):
        wb.phantoms.reader_panel(cohort, model=model.subset([name for name in model.ids if name != "p0003-CC"]))


@pytest.mark.parametrize("first", ["import workbench.phantoms.reader_panel", "import workbench"])
def test_the_verb_can_be_called_whichever_import_came_first_and_needs_no_torch(first):
    code = f"{first}\nimport sys, workbench as wb\nok = callable(wb.phantoms.reader_panel)\nsys.exit(not ok or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""How often equal modalities are found different, and how often intervals hold, in simulated studies."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import workbench as wb
from workbench.audit.mrmc.covariance import delong
from workbench.audit.mrmc.design import design_of
from workbench.audit.mrmc.merit import sides_of
from workbench.audit.mrmc.obuchowski_rockette import obuchowski_rockette
from workbench.audit.mrmc.readings import Readings
from workbench.audit.mrmc.ustatistics import u_statistics

pytestmark = pytest.mark.slow
STUDIES = 400
# Of 400 studies at 5 %, 20 ± 4.4: outside these once in a thousand.
FEWEST, MOST = 7, 35


def as_readings(table):
    scores = table["score"].to_numpy().reshape(table["modality"].nunique(), table["reader"].nunique(), -1)
    cases = table["case"].unique()
    truth = table["label"].to_numpy()[: len(cases)] == 1
    names = [tuple(map(str, table[name].unique())) for name in ("modality", "reader", "case")]
    return Readings(scores, *names, truth, np.arange(len(cases)), ("0", "1"), 0)


def test_equal_modalities_are_found_different_in_one_study_of_twenty(study):
    found = {"OR": 0, "U": 0, "split-plot": 0}
    for seed in range(STUDIES):
        data = as_readings(study(seed, readers=6, positives=30, negatives=40, mean=1.5))
        sides, design = sides_of(data, "AUROC", None), design_of(data)
        values, matrix = delong(sides)
        grid = values.reshape(2, 6), matrix.reshape(2, 6, 2, 6)
        found["OR"] += obuchowski_rockette(*grid, design, random_readers=True, random_cases=True).test.p < 0.05
        found["U"] += u_statistics(sides, random_readers=True).differences[0, 1].p < 0.05
        scores = data.scores.copy()
        for reader in range(6):
            scores[:, reader, reader % 2 :: 2] = np.nan
        part = Readings(scores, data.modalities, data.readers, data.cases, data.truth, data.patients, data.classes, 0)
        sides, design = sides_of(part, "AUROC", None), design_of(part)
        values, matrix = delong(sides)
        grid = values.reshape(2, 6), matrix.reshape(2, 6, 2, 6)
        found["split-plot"] += obuchowski_rockette(*grid, design, random_readers=True, random_cases=True).test.p < 0.05
    for name, count in found.items():
        assert FEWEST <= count <= MOST, (name, count)


def test_the_interval_of_a_model_against_readers_holds_in_nineteen_studies_of_twenty():
    truth = np.arange(120) < 50
    missed, covered = 0, 0
    rng = np.random.default_rng(5)
    for _ in range(STUDIES):
        common = rng.normal(size=120)
        skill = rng.normal(size=(5, 1)) * 0.2 * truth
        people = 1.3 * truth + 0.6 * common + 0.8 * rng.normal(size=(5, 120)) + skill
        scores = np.full((2, 6, 120), np.nan)
        scores[0, :5], scores[1, 5] = people, 1.3 * truth + 0.7 * common + np.sqrt(0.51) * rng.normal(size=120)
        data = Readings(
            scores,
            ("people", "model"),
            tuple("abcdef"),
            tuple(map(str, range(120))),
            truth,
            np.arange(120),
            ("0", "1"),
            0,
        )
        sides = sides_of(data, "AUROC", None)
        values, matrix = delong(sides)
        at = sides.at()
        merit = np.where(at >= 0, values[at], np.nan)
        known = (at >= 0)[:, :, None, None] & (at >= 0)
        grid = np.where(known, matrix[at[:, :, None, None], at], 0)
        gap = obuchowski_rockette(merit, grid, design_of(data), random_readers=True, random_cases=True).differences[
            0, 1
        ]
        # Readers differ in skill, so that the mean area of such readers is a little below that of the mean reader.
        truly = stats.norm.cdf(1.3 / np.sqrt(2 + 0.2**2)) - stats.norm.cdf(1.3 / np.sqrt(2))
        low, high = gap.interval(0.95)
        covered += low <= truly <= high
        missed += u_statistics(sides, random_readers=True).differences[0, 1].p < 0.05
    assert STUDIES - MOST <= covered <= STUDIES - FEWEST, covered
    assert FEWEST <= missed <= MOST, missed


def test_rows_of_a_patient_taken_for_patients_find_differences_that_are_not_there():
    rng = np.random.default_rng(2)
    found = {"patient": 0, None: 0}
    patients, images = 40, 4
    who = np.repeat(np.arange(patients), images)
    truth = (who % 2).astype(int)
    i, j, k = np.indices((2, 4, len(who))).reshape(3, -1)
    base = {
        "modality": np.array(["A", "B"])[i],
        "reader": j.astype(str),
        "case": k,
        "label": truth[k],
        "patient": who[k],
    }
    for _ in range(40):
        person = rng.normal(size=(2, 1, patients))[:, :, who] * 0.8
        scores = truth + person + 0.6 * rng.normal(size=(2, 4, len(who)))
        table = pd.DataFrame(base | {"score": scores.reshape(-1)})
        for patient in found:
            gap = wb.audit.mrmc(table, reader="reader", modality="modality", case="case", score="score", label="label",
                                patient=patient, readers="fixed").table.iloc[2]  # fmt: skip
            found[patient] += gap["p"] < 0.05
    assert found["patient"] <= 7, found
    assert found[None] >= 10, found

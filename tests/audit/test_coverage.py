"""Intervals that promise 95 % are right in 95 of 100 cohorts; those by rows are not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.audit.bootstrap import bootstrap
from workbench.audit.metrics import auroc, rate
from workbench.audit.sample import Design
from workbench.groups import Partition
from workbench.intervals import normal_quantile

pytestmark = pytest.mark.slow
Z = normal_quantile(0.95)
COHORTS = 400


def cohort(rng, patients, images, correlation, prevalence, shift):
    who = np.repeat(np.arange(patients), images)
    truth = (rng.random(patients) < prevalence)[who]
    noise = np.sqrt(correlation) * rng.normal(size=patients)[who] + np.sqrt(1 - correlation) * rng.normal(size=len(who))
    everybody = Partition("", ("all",), np.zeros(len(who), dtype=np.int64))
    return Design(noise + shift * truth, truth, who, (everybody,), np.ones(len(who)))


def by_rows(design):
    return Design(design.scores, design.truth, np.arange(len(design.truth)), design.partitions, design.weights)


def test_patients_cover_and_rows_do_not_with_five_images_a_patient():
    rng, held = np.random.default_rng(0), {"patients": 0, "rows": 0, "closed": 0}
    truth = 0.5 * (1 + math.erf(1.5 / 2))  # Φ(shift/√2)
    for number in range(COHORTS):
        design = cohort(rng, 300, 5, 0.6, 0.3, 1.5)
        for kind, made in (("patients", design), ("rows", by_rows(design))):
            drawn = bootstrap(made, 0.5, replicates=256, seed=number).group["AUROC"][0]
            low, high = np.quantile(drawn, [0.025, 0.975])
            held[kind] += low <= truth <= high
        low, high = auroc(design.samples[0].positives, design.samples[0].negatives, Z).interval
        held["closed"] += low <= truth <= high
    # Three standard errors of a share of 0.95 in 400 cohorts are 0.033.
    assert held["patients"] / COHORTS >= 0.917
    assert held["closed"] / COHORTS >= 0.917
    assert held["rows"] / COHORTS < 0.88


@pytest.mark.parametrize(("patients", "images", "correlation"), [(8, 1, 0.0), (15, 1, 0.0), (12, 4, 0.5), (25, 5, 0.6)])
def test_sensitivity_with_few_positives_covers(patients, images, correlation):
    rng, held, tries = np.random.default_rng(1), 0, 3000
    truth = 0.5 * (1 + math.erf(1.0 / math.sqrt(2)))  # P(noise + 1 >= 0)
    for _ in range(tries):
        arm = cohort(rng, patients, images, correlation, 1.1, 1.0).samples[0].positives
        low, high = rate(arm, arm.scores >= 0, Z).interval
        held += low <= truth <= high
    assert held / tries >= 0.92

"""Intervals that promise 95 % are right in 95 of 100 cohorts; those by rows are not, nor percentiles of few positives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from workbench.audit.engine.measure import measure
from workbench.audit.estimation.choose import choose
from workbench.audit.estimation.estimates import Estimates, Reading
from workbench.audit.estimation.gaps import against
from workbench.audit.estimation.roster import GROUP, Roster
from workbench.audit.metric import Setting, metrics_of
from workbench.audit.sample import Design
from workbench.audit.tables import gap_tables, metric_table
from workbench.groups import Partition
from workbench.intervals import normal_quantile

pytestmark = pytest.mark.slow
Z = normal_quantile(0.95)
AT_ZERO = Setting(threshold=0.0)


def cohort(rng, patients, images, correlation, prevalence=0.3, shift=1.5):
    """Patients with several images whose scores go together; sex and age band are the patient's and mean nothing."""
    who = np.repeat(np.arange(patients), images)
    truth = (rng.random(patients) < prevalence)[who]
    noise = np.sqrt(correlation) * rng.normal(size=patients)[who] + np.sqrt(1 - correlation) * rng.normal(size=len(who))
    parts = [Partition("", ("all",), np.zeros(len(who), dtype=np.int64))]
    for by, count in (("sex", 2), ("age", 3)):
        codes = rng.permutation(np.arange(patients) % count)[who]
        parts.append(Partition(by, tuple(f"{by}={code}" for code in range(count)), codes))
    return Design(noise + shift * truth, truth, who, tuple(parts), np.ones(len(who)))


def by_rows(design):
    return Design(design.scores, design.truth, np.arange(len(design.truth)), design.partitions, design.weights)


def estimates(design, names, *, setting=AT_ZERO, replicates=0, seed=0, interval="auto"):
    metrics = metrics_of(names)
    measured = measure(design, metrics, setting, replicates=replicates, seed=seed)
    return Estimates(Roster(design), Reading(tuple(metrics), setting, interval=interval, fewest=1), measured)


def chosen(made, place=0):
    """Bounds of the first metric of a group."""
    return choose(made.quantity(made.reading.metrics[0], GROUP, place), made.reading.interval)


def holds(made, true):
    low, high = chosen(made).at(Z)
    return low <= true <= high


def phi(x):
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def test_patients_cover_and_rows_do_not_with_five_images_a_patient():
    rng, tries, held = np.random.default_rng(0), 400, dict.fromkeys(("patients", "rows", "formula"), 0)
    area = phi(1.5 / math.sqrt(2))
    for number in range(tries):
        design = cohort(rng, 300, 5, 0.6)
        for kind, one in (("patients", design), ("rows", by_rows(design))):
            held[kind] += holds(estimates(one, ["AUROC"], replicates=256, seed=number, interval="percentile"), area)
        held["formula"] += holds(estimates(design, ["AUROC"]), area)
    # Three standard errors of a share of 0.95 in 400 cohorts are 0.033.
    assert held["patients"] / tries >= 0.917
    assert held["formula"] / tries >= 0.917
    assert held["rows"] / tries < 0.88


def test_the_interval_chosen_for_the_auroc_covers_with_20_positives():
    rng, tries, held = np.random.default_rng(1), 1000, 0
    for _ in range(tries):
        held += holds(estimates(cohort(rng, 70, 1, 0.0), ["AUROC"]), phi(1.5 / math.sqrt(2)))
    assert held / tries >= 0.93


@pytest.mark.parametrize(("patients", "images", "correlation"), [(8, 1, 0.0), (15, 1, 0.0), (12, 4, 0.5), (25, 5, 0.6)])
def test_the_interval_chosen_for_a_sensitivity_with_few_positives_covers(patients, images, correlation):
    rng, held, tries = np.random.default_rng(1), 0, 1500
    for _ in range(tries):
        design = cohort(rng, patients, images, correlation, prevalence=1.1, shift=1.0)
        held += holds(estimates(design, ["sensitivity"]), phi(1.0))
    assert held / tries >= 0.92


def test_percentiles_of_five_to_nine_positives_do_not_cover_and_what_is_chosen_does():
    rng, tries, held = np.random.default_rng(2), 400, {"percentile": 0, "auto": 0}
    for number in range(tries):
        design = cohort(rng, int(rng.integers(5, 10)), 1, 0.0, prevalence=1.1, shift=1.6)
        drawn = estimates(design, ["sensitivity"], replicates=256, seed=number).quantity
        values = drawn(metrics_of(["sensitivity"])[0], GROUP, 0).drawn
        low, high = np.nanquantile(values, [0.025, 0.975])
        held["percentile"] += low <= phi(1.6) <= high
        held["auto"] += holds(estimates(design, ["sensitivity"]), phi(1.6))
    assert held["percentile"] / tries < 0.65
    assert held["auto"] / tries >= 0.92


@pytest.mark.parametrize("name", ["Brier score", "MCC", "balanced accuracy", "F1", "AUPRC"])
def test_what_is_chosen_without_a_formula_covers_with_a_dozen_positives(name):
    rng, tries, held, setting = np.random.default_rng(3), 200, 0, Setting(threshold=0.5)

    def probabilities(design):
        scores = 1 / (1 + np.exp(0.75 - design.scores))
        return Design(scores, design.truth, design.patients, design.partitions[:1], design.weights)

    large = probabilities(cohort(np.random.default_rng(9), 200_000, 1, 0.5))
    true = float(measure(large, metrics_of([name]), setting).values[name][0])
    for number in range(tries):
        design = probabilities(cohort(rng, 40, 2, 0.5))
        held += holds(estimates(design, [name], setting=setting, replicates=400, seed=number), true)
    # Three standard errors of a share of 0.93 in 200 cohorts are 0.054.
    assert held / tries >= 0.875


def test_bands_hold_for_all_numbers_together_and_intervals_of_one_do_not():
    rng, tries, names = np.random.default_rng(4), 200, ["AUROC", "sensitivity", "specificity", "balanced accuracy"]
    true = {"AUROC": phi(1.5 / math.sqrt(2)), "sensitivity": phi(1.5), "specificity": 0.5}
    true["balanced accuracy"] = (phi(1.5) + 0.5) / 2
    together = alone = 0
    for number in range(tries):
        made = estimates(cohort(rng, 500, 2, 0.5), names, replicates=300, seed=number)
        table, _ = metric_table(made)
        wanted = table["metric"].map(true)
        together += bool(((table["band_low"] <= wanted) & (wanted <= table["band_high"])).all())
        alone += bool(((table["low"] <= wanted) & (wanted <= table["high"])).all())
    assert together / tries >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / tries)
    assert alone / tries < 0.75


def test_without_gaps_holms_p_values_raise_few_alarms_and_unadjusted_ones_many():
    rng, tries, alarms = np.random.default_rng(5), 200, {"p": 0, "p_holm": 0, "band": 0}
    for number in range(tries):
        made = estimates(cohort(rng, 300, 2, 0.5), ["AUROC", "sensitivity", "MCC"], replicates=300, seed=number)
        gaps, _, _ = gap_tables(made, against(made, "rest"))
        for name in ("p", "p_holm"):
            alarms[name] += bool((gaps[name] < 0.05).any())
        alarms["band"] += bool(((gaps["band_low"] > 0) | (gaps["band_high"] < 0)).any())
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / tries)
    assert alarms["p_holm"] / tries <= most
    assert alarms["band"] / tries <= most
    assert alarms["p"] / tries > 0.2

"""The phantom keeps its promises about seeds, knobs and masks."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.phantoms.mammography import phantom_mammography

SMALL = {"shape": (64, 48)}


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert phantom_mammography(20, **SMALL).provenance.content == phantom_mammography(20, **SMALL).provenance.content


def test_a_larger_cohort_begins_with_the_smaller_one() -> None:
    small, large = phantom_mammography(20, **SMALL), phantom_mammography(30, **SMALL)
    assert np.array_equal(small.images(), large.images(small.ids))


def test_only_cancers_have_a_lesion() -> None:
    cohort = phantom_mammography(40, **SMALL)
    has = np.array([cohort.mask(i, "lesion").any() for i in cohort.ids])
    assert np.array_equal(has, cohort.labels == 1)


def test_a_full_shortcut_marks_exactly_the_cancers_at_the_majority_site() -> None:
    table = phantom_mammography(60, shortcut=1.0, **SMALL).table.query("site == 'North'")
    assert ((table["marker"] == "yes") == (table["label"] == "cancer")).all()


def test_dense_breasts_without_contrast_leave_the_ideal_observer_guessing() -> None:
    by_density = phantom_mammography(60, disadvantage=1.0, **SMALL).card["truth"]["ideal_auroc_by_density"]
    assert by_density["C"] == 0.5


@pytest.mark.parametrize("knob", [{"shortcut": 1.5}, {"prevalence": 0.0}, {"label_noise": -1}, {"shape": (8, 8)}])
def test_a_knob_out_of_range_is_refused_by_name(knob: dict) -> None:
    with pytest.raises(InputError, match=next(iter(knob))):
        phantom_mammography(20, **knob)

"""Parts that share no patient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.cohorts.cohort import Cohort
from workbench.errors import InputError


def cohort_of(patients, labels, **columns):
    images = np.zeros((len(labels), 2, 2), np.uint8)
    return Cohort.from_arrays(images, labels, patients=patients, attributes=columns)


@settings(max_examples=40, deadline=None)
@given(owners=st.lists(st.integers(0, 30), min_size=60, max_size=120), seed=st.integers(0, 1000))
def test_parts_share_no_patient_and_lose_no_image(owners, seed):
    labels = [owner % 2 for owner in owners]
    owners, labels = [*owners, *range(31, 41)], [*labels, *[0, 1] * 5]
    cohort = cohort_of(owners, labels)
    parts = cohort.split(seed=seed)
    assert sorted(i for part in parts for i in part.ids) == sorted(cohort.ids)
    sets = [set(part.patients) for part in parts]
    assert sum(map(len, sets)) == len(set.union(*sets))


def test_the_same_seed_gives_the_same_parts_in_any_order_of_rows():
    cohort = cohort_of(np.arange(60) // 2, np.arange(60) // 2 % 2)
    shuffled = cohort.subset(cohort.ids[::-1])
    assert [set(p.ids) for p in cohort.split(seed=3)] == [set(p.ids) for p in shuffled.split(seed=3)]
    assert set(cohort.split(seed=3)[2].ids) != set(cohort.split(seed=4)[2].ids)


def test_classes_keep_their_shares_of_patients():
    cohort = cohort_of(np.arange(100), [1] * 20 + [0] * 80)
    assert [int(part.labels.sum()) for part in cohort.split()] == [12, 4, 4]


def test_by_image_is_refused_where_a_patient_has_two():
    with pytest.raises(InputError, match=r"patient '0' has 2 images\. Use by='patient'"):
        cohort_of(np.arange(20) // 2, np.arange(20) % 2).split(by="image")


def test_a_class_of_too_few_patients_is_named():
    with pytest.raises(InputError, match=r"class '1' has 2 patient\(s\).*Gather more"):
        cohort_of(np.arange(20), [1, 1] + [0] * 18).split()


def test_a_given_assignment_is_used():
    parts = ["train"] * 4 + ["valid"] * 2 + ["test"] * 2
    cohort = cohort_of(np.arange(8), [0, 1] * 4, fold=parts)
    assert [len(part) for part in cohort.split(column="fold")] == [4, 2, 2]


def test_a_patient_in_two_parts_is_named_with_the_images():
    cohort = cohort_of([0, 1, 2, 3, 4, 0], [0, 1] * 3, fold=["train", "train", "val", "val", "test", "test"])
    with pytest.raises(InputError, match=r"1 patient.s. into more than one part.*patient 0 \(0 in train, 5 in test\)"):
        cohort.split(column="fold")


def test_an_unknown_part_is_named():
    cohort = cohort_of(np.arange(4), [0, 1] * 2, fold=["train", "tset", "val", "test"])
    with pytest.raises(InputError, match=r"image '1', column 'fold': 'tset' names no part"):
        cohort.split(column="fold")


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.8, 0.1, 0.2), (1.0, 0.0, 0.0)])
def test_fractions_must_be_three_shares_of_one(fractions):
    with pytest.raises(InputError, match="three positive numbers"):
        cohort_of(np.arange(20), np.arange(20) % 2).split(fractions=fractions)

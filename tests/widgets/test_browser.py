"""The cohort browser's Python side, and the facets it shows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.cohorts.cohort import Cohort
from workbench.cohorts.facets import facet_counts, facet_filter, facet_table, text_search
from workbench.cohorts.pixels import ArrayPixels
from workbench.errors import InputError
from workbench.widgets.browser import CohortBrowser, browse


def cohort_of(table: pd.DataFrame) -> Cohort:
    table = table.assign(patient=[f"P{k}" for k in range(len(table))]).rename_axis("id")
    attributes = tuple(name for name in table.columns if name not in {"patient", "label"})
    images = np.zeros((len(table), 1, 4, 4), np.uint8)
    return Cohort(table, ("no", "yes"), attributes, ArrayPixels.of(images, list(table.index)))


@pytest.fixture
def widget() -> CohortBrowser:
    table = pd.DataFrame({"label": ["no", "yes"] * 10, "sex": ["F", "F", "M", None] * 5, "age": np.arange(20) + 40})
    table.index = pd.Index([f"i{k}" for k in range(20)])
    return browse(cohort_of(table))


def test_choices_made_in_python_filter_as_clicks_do(widget: CohortBrowser) -> None:
    widget.chosen = {"sex": ["missing"]}
    assert widget.filtered == ["i3", "i7", "i11", "i15", "i19"]
    assert widget.counts["label"] == {"no": 0, "yes": 5}
    assert widget.counts["sex"] == {"F": 10, "M": 5, "missing": 5}


def test_search_finds_every_word_in_any_column(widget: CohortBrowser) -> None:
    widget.search = "p1 YES"
    table = widget.cohort.table
    assert widget.filtered == [
        i for i in table.index if "P1" in table.loc[i, "patient"] and table.loc[i, "label"] == "yes"
    ]


def test_signs_in_a_search_are_letters_not_a_pattern(widget: CohortBrowser) -> None:
    assert not text_search(widget.cohort.table, "i.*").any()


def test_ages_become_bands_that_hold_each_image_once(widget: CohortBrowser) -> None:
    assert widget.counts["age"] == {"40–42": 3, "43–45": 3, "46–48": 3, "49–51": 3, "52–54": 3, "55–59": 5}


def test_an_unknown_id_is_refused(widget: CohortBrowser) -> None:
    with pytest.raises(InputError, match="image id 'j1' is unknown"):
        widget.selected = "j1"


def test_an_image_is_sent_with_what_is_known_of_it(widget: CohortBrowser) -> None:
    told = []
    widget.send = lambda content, buffers=None: told.append((content, buffers))
    widget._handle_custom_msg({"ask": "image", "id": "i3"}, [])
    assert ["sex", "missing"] in told[0][0]["facts"]
    assert len(told[0][1][0]) == 16


@given(
    st.lists(st.tuples(st.sampled_from(["no", "yes"]), st.sampled_from(["a", "b", None]), st.floats(-5, 5) | st.none()), min_size=1, max_size=40),
    st.fixed_dictionaries({}, optional={"label": st.just(["yes"]), "site": st.sets(st.sampled_from(["a", "missing"]))}),
)  # fmt: skip
def test_a_count_is_what_choosing_that_value_gives(
    rows: list[tuple[str, str | None, float | None]], chosen: dict
) -> None:
    table = pd.DataFrame(rows, columns=["label", "site", "dose"], index=[f"i{k}" for k in range(len(rows))])
    table["dose"] = table["dose"].astype(float)
    facets = facet_table(cohort_of(table))
    assert not facets.isna().any(axis=None)
    for column, counts in facet_counts(facets, chosen).items():
        for value, count in counts.items():
            assert facet_filter(facets, {**chosen, column: [value]}).sum() == count

"""The grid of cases and methods."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from workbench import figures
from workbench.cohorts.cohort import Cohort
from workbench.cohorts.pixels import ArrayPixels
from workbench.errors import InputError
from workbench.explain.attributions import Attributions
from workbench.figures.attribution_maps import telling_cases
from workbench.imaging.compose import heat_limit, overlay, to_display


def tiles(figure):
    return [ax for ax in figure.axes if not ax.axison]


def test_one_method_gives_a_row_of_images_and_a_row_of_maps(cams, films, said) -> None:
    figure = figures.attribution_grid(cams, films, ids=["film-1", "film-2", "film-4"], width="single")
    assert len(tiles(figure)) == 2 * 3
    assert {"image", "Grad-CAM", "most evidence"} <= set(said(figure))


def test_two_methods_have_a_scale_each(cams, shaps, films, said) -> None:
    figure = figures.attribution_grid([cams, shaps], films, cases=2)
    assert len(tiles(figure)) == 3 * 2
    assert {"Grad-CAM", "SHAP", "most evidence", "against", "for the class"} <= set(said(figure))
    assert len(figure.axes) - len(tiles(figure)) == 2


def test_names_may_be_given_where_two_are_of_one_method(cams, films, said) -> None:
    figure = figures.attribution_grid({"trained": cams, "random": cams}, films, cases=1)
    assert {"trained", "random"} <= set(said(figure))
    with pytest.raises(InputError, match="two are of the same method"):
        figures.attribution_grid([cams, cams], films)


def test_a_tile_is_the_overlay_on_the_scale_of_its_method(shaps, films) -> None:
    figure = figures.attribution_grid(shaps, films, ids=["film-3"])
    grey = to_display(films.image("film-3"))
    expected = overlay(grey, shaps.map("film-3"), opacity=0.8, limit=heat_limit(shaps.maps), signed=True)
    assert np.array_equal(tiles(figure)[1].images[0].get_array(), expected)


def test_the_caption_tells_the_true_class_and_the_score_in_words(cams, films, said) -> None:
    texts = said(figures.attribution_grid(cams, films, ids=["film-0", "film-1"]))
    assert "true class: healthy\nscore for cancer (logit): −3.0" in texts
    assert "true class: cancer\nscore for cancer (logit): 0.0" in texts
    output = said(figures.attribution_grid(replace(cams, explained="output"), films, ids=["film-0"]))
    assert "true class: healthy\nscore for cancer (output): −3.0" in output


def test_a_map_without_evidence_says_so_on_its_own_tile(cams, shaps, films) -> None:
    figure = figures.attribution_grid([cams, shaps], films, ids=["film-0", "film-1"])
    flagged = [k for k, ax in enumerate(tiles(figure)) if any(text.get_text() == "no evidence" for text in ax.texts)]
    assert flagged == [4]  # column film-1, row Grad-CAM


def test_masks_are_outlined_alike_whether_or_not_others_are_there(cams, films, said) -> None:
    figure = figures.attribution_grid(cams, films, ids=["film-0", "film-1"])
    colours = [[tuple(drawn.get_edgecolor()[0]) for drawn in ax.collections] for ax in tiles(figure)]
    assert [len(found) for found in colours] == [1, 1, 2, 2]
    assert colours[0][0] == colours[2][1] != colours[2][0]
    assert "Outlined: lesion (white), marker (blue, dashed)" in said(figure)


def test_a_cohort_without_masks_has_no_outlines(cams, films, said) -> None:
    plain = Cohort(films.table, films.classes, (), films.pixels)
    figure = figures.attribution_grid(cams, plain, cases=2)
    assert not any(ax.collections for ax in tiles(figure))
    assert not any(text.startswith("Outlined") for text in said(figure))


def volumes(strongest):
    table = pd.DataFrame({"patient": ["a"], "label": ["no"]}, index=pd.Index(["v"], name="id"))
    stack = np.arange(7 * 6 * 5, dtype=np.int16).reshape(1, 1, 7, 6, 5)
    maps = np.zeros((1, 7, 6, 5), np.float32)
    if strongest is not None:
        maps[0, strongest] = 1
    found = Attributions(
        maps=maps, ids=["v"], method="gradcam", settings={}, targets=[1], classes=("no", "yes"), scores=[0], table=table
    )
    return found, Cohort(table, ("no", "yes"), (), ArrayPixels.of(stack, ["v"]))


@pytest.mark.parametrize(("strongest", "shown"), [(None, 4), (1, 2), (6, 7)])
def test_a_volume_shows_its_telling_slice_or_the_middle_one(said, strongest, shown) -> None:
    found, cohort = volumes(strongest)
    figure = figures.attribution_grid(found, cohort, width="single")
    assert any(f"slice {shown} of 7" in text for text in said(figure))


@pytest.mark.parametrize("width", ["single", "double"])
def test_no_text_leaves_the_figure(cams, shaps, films, overhang, width) -> None:
    assert overhang(figures.attribution_grid([cams, shaps], films, width=width)) < 0.2  # mm


def test_the_telling_cases_are_the_surest_and_the_least_sure_of_both_kinds(cams) -> None:
    assert telling_cases(cams, 4) == ["film-5", "film-4", "film-1", "film-0"]
    assert sorted(telling_cases(cams, 99)) == sorted(cams.ids)


def test_a_misspelt_id_is_offered_the_nearest(cams, films) -> None:
    with pytest.raises(InputError, match="did you mean 'film-3'"):
        figures.attribution_grid(cams, films, ids=["flm-3"])
    with pytest.raises(InputError, match="no case to draw"):
        figures.attribution_grid(cams, films, ids=[])


def test_the_provenance_leads_to_the_maps_and_the_images(cams, films) -> None:
    made = figures.attribution_grid(cams, films, cases=2).provenance
    assert made.parents == {"attributions Grad-CAM": cams.provenance, "cohort": films.provenance}
    assert made.settings["ids"] == ["film-5", "film-4"]

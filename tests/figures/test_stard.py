"""The flow diagram: every number is there, nothing overlaps or leaves its box, at both column widths."""

from __future__ import annotations

import warnings
from itertools import combinations

import pytest
from matplotlib.patches import Rectangle

import workbench as wb
from workbench import figures
from workbench.errors import EvidenceWarning, InputError


@pytest.fixture(scope="module")
def full():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        return wb.audit.stard(
            results={"positive": {"present": 180, "absent": 45, "inconclusive": 3},
                     "negative": {"present": 12, "absent": 1495}, "inconclusive": {"present": 4, "absent": 20}},
            excluded={"Previous mastectomy on the side that was examined": 34, "No consent": 112, "Costs above $5 & more": 8},
            untested={"Equipment failure": 7, "Insufficient quality": 16},
            unverified={"negative": {"Lost to follow-up": 61, "Declined biopsy": 4}, "positive": {"Declined biopsy": 6}},
            unit="women",
        )  # fmt: skip


@pytest.fixture(scope="module")
def plain():
    return wb.audit.stard(results={"positive": {"present": 8, "absent": 2}, "negative": {"present": 1, "absent": 9}})


@pytest.fixture(params=["full", "plain"])
def finding(request):
    return request.getfixturevalue(request.param)


def test_every_box_and_reason_is_there(full, said):
    text = " ".join(said(figures.stard(full)))
    rows = full.table[(full.table["n"] > 0) & (full.table["box"] != "final diagnosis")]
    for n in [*rows["n"], *full.to_frame("reasons")["n"], 180, 45, 1495]:
        assert f"(n={n:,})" in text
    assert "Costs above $5 & more" in text


@pytest.mark.parametrize("width", ["single", "double"])
@pytest.mark.parametrize("style", ["default", "nature", "ieee"])
def test_text_stays_in_its_box_and_boxes_keep_apart(finding, width, style, overhang):
    figure = figures.stard(finding, width=width, style=style)
    figure.canvas.draw()
    ax = figure.axes[0]
    boxes = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, Rectangle)]
    texts = [text.get_window_extent() for text in ax.texts if text.get_text()]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(
        any(box.x0 <= text.x0 and text.x1 <= box.x1 and box.y0 <= text.y0 and text.y1 <= box.y1 for box in boxes)
        for text in texts
    )
    assert not any(one.overlaps(other) for one, other in combinations([text.shrunk(1, 0.8) for text in texts], 2))
    assert overhang(figure) < 0.2  # mm


def test_nobody_left_out_makes_no_box(plain, said):
    text = " ".join(said(figures.stard(plain)))
    assert "Excluded" not in text
    assert "Potentially" not in text
    assert "No reference" not in text


def test_it_draws_into_given_axes_and_refuses_what_it_cannot_draw(full):
    from matplotlib.figure import Figure

    ax = Figure(figsize=(8, 6)).add_subplot()
    assert figures.stard(full, ax=ax) is ax
    with pytest.raises(InputError, match="75 mm or more"):
        figures.stard(full, width=60)
    with pytest.raises(InputError, match=r"finding of wb\.audit\.sample_size"):
        figures.stard(wb.audit.sample_size("AUROC", expected=0.8, half_width=0.1))

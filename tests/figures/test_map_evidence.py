"""The evidence for heat maps: what is drawn is what was found."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from workbench import figures
from workbench.errors import InputError
from workbench.explain.quality.result import Trust
from workbench.provenance import Provenance

STAGES, STEPS = (0.5, 1.0), (0.0, 0.5, 1.0)


def trust(
    methods: tuple[str, ...] = ("Grad-CAM", "Saliency"), curves: tuple[str, ...] = ("cascade", "deletion and insertion")
) -> Trust:
    ids = [f"i{k}" for k in range(8)]
    generator = np.random.default_rng(0)
    cascade = pd.DataFrame(
        [
            {"method": m, "id": i, "fraction": f, "measure": "rank correlation", "value": (1 - f) * generator.random()}
            for m in methods for i in ids for f in STAGES
        ]
    )  # fmt: skip
    removal = pd.DataFrame(
        [
            {"method": m, "id": i, "curve": c, "order": o, "fraction": f, "score": 3 - 2 * f + generator.random()}
            for m in methods for i in ids for c in ("deletion", "insertion") for o in ("map", "random order", "edges") for f in STEPS
        ]
    )  # fmt: skip
    images = pd.concat(
        [pd.DataFrame({"method": m, "patient": [i[:1] + str(int(i[1]) // 2) for i in ids]}, index=ids) for m in methods]
    )
    table = pd.DataFrame([{"method": m, "group": "all", "part": "sanity", "baseline": 0.2} for m in methods])
    found = {"cascade": cascade, "deletion and insertion": removal}
    empty = pd.DataFrame()
    return Trust(
        table, empty, images, (), {}, empty, {name: found[name] for name in curves}, empty, {"level": 0.95}, Provenance("trust", {}, "ab"),
    )  # fmt: skip


@pytest.mark.parametrize("width", ["single", "double"])
def test_curves_are_means_over_images(overhang, width) -> None:
    evidence = trust()
    figure = figures.map_evidence(evidence, width=width)
    cascade, deletion, _ = figure.axes
    told = evidence.curves["cascade"].query("method == 'Grad-CAM'").groupby("fraction")["value"].mean()
    assert cascade.lines[0].get_ydata().tolist() == pytest.approx([1, *told])
    told = evidence.curves["deletion and insertion"].query(
        "method == 'Saliency' and curve == 'deletion' and order == 'map'"
    )
    assert deletion.lines[1].get_ydata().tolist() == pytest.approx(told.groupby("fraction")["score"].mean().tolist())
    assert overhang(figure) < 0.2  # mm


@pytest.mark.parametrize("width", ["single", "double"])
def test_long_tick_labels_have_room(overhang, width) -> None:
    evidence = trust()
    evidence.curves["cascade"]["value"] -= 0.6
    evidence.curves["deletion and insertion"]["score"] -= 12.25
    assert overhang(figures.map_evidence(evidence, width=width)) < 0.2  # mm


def test_each_line_is_named_once() -> None:
    (legend,) = figures.map_evidence(trust()).legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["Grad-CAM", "Saliency", "map of another patient", "random order", "edges"]


def test_one_part_of_the_evidence_is_drawn_alone() -> None:
    assert len(figures.map_evidence(trust(curves=("cascade",))).axes) == 1
    assert len(figures.map_evidence(trust(curves=("deletion and insertion",))).axes) == 2


def test_evidence_without_curves_says_what_to_ask_for() -> None:
    with pytest.raises(InputError, match=r"parts=\['sanity', 'faithfulness'\]"):
        figures.map_evidence(trust(curves=()))

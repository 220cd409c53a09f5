"""The dashboard's Python side: its state, what it sends to the browser, and what it says."""

from __future__ import annotations

import base64
import json
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from traitlets import TraitError

import workbench as wb
from workbench.audit.paper import p_text
from workbench.errors import EvidenceWarning, InputError
from workbench.widgets.dashboard import Dashboard
from workbench.widgets.scales import of_gaps, of_values
from workbench.widgets.sentences import sentences

if TYPE_CHECKING:
    from workbench.audit.result import Audit


@pytest.fixture(scope="module")
def audit() -> Audit:
    rng = np.random.default_rng(1)
    site = np.array(["North", "South", "East"])[rng.choice(3, 600, p=[0.5, 0.48, 0.02])].astype(object)
    site[:8] = None
    truth = (rng.random(600) < 0.4).astype(int)
    score = 1 / (1 + np.exp(-(rng.normal(size=600) + truth * np.where(site == "South", 0.8, 2.5) - 1)))
    table = pd.DataFrame({"site": site, "truth": np.where(truth, "yes", "no"), "p": score, "who": np.arange(600) // 2})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        return wb.audit(
            table, by=["site"], label="truth", score="p", patient="who", positive="yes", threshold=0.4, replicates=100
        )


@pytest.fixture
def board(audit: Audit) -> Dashboard:
    return audit.dashboard()


class Counting:
    """An audit that counts what it is asked."""

    def __init__(self, audit: Audit) -> None:
        self.audit, self.asked = audit, []

    def __getattr__(self, name: str):
        return getattr(self.audit, name)

    def at(self, threshold: float) -> pd.DataFrame:
        self.asked.append(threshold)
        return self.audit.at(threshold)


def numbers(board: Dashboard) -> dict[tuple[str, str], tuple[float | None, ...]]:
    return {
        (metric, row["group"]): tuple(cell[name] for name in ("value", "low", "high"))
        for row in board.view["rows"]
        for metric, cell in row["cells"].items()
    }


def of_table(table: pd.DataFrame) -> dict[tuple[str, str], tuple[float | None, ...]]:
    return {
        (row.metric, row.group): tuple(None if pd.isna(value) else value for value in (row.value, row.low, row.high))
        for row in table.itertuples()
    }


def test_it_starts_at_the_audit_s_own_threshold_with_its_numbers(board: Dashboard, audit: Audit) -> None:
    assert (board.threshold, board.by, board.metric, board.selected) == (0.4, "site", "sensitivity", "")
    assert numbers(board) == of_table(audit.table)


def test_a_move_asks_the_audit_once_and_a_change_of_view_not_at_all(audit: Audit) -> None:
    counting = Counting(audit)
    board = Dashboard(counting)  # type: ignore[arg-type]
    board.threshold = 0.25
    assert numbers(board) == of_table(audit.at(0.25))
    board.metric, board.selected = "AUROC", "site=South"
    assert counting.asked == [0.25]


def test_a_message_from_the_browser_is_answered_with_the_table_at_its_threshold(board: Dashboard, audit: Audit) -> None:
    board.set_state({"threshold": 0.6})
    assert board.view["threshold"] == 0.6
    assert numbers(board) == of_table(audit.at(0.6))


def test_what_is_sent_is_plain_json(board: Dashboard) -> None:
    sent = {name: getattr(board, name) for name in ("about", "view", "curves", "words")}
    assert json.loads(json.dumps(sent, allow_nan=False)) == sent


@pytest.mark.parametrize(
    ("trait", "value", "message"),
    [
        ("by", "sight", "by: partition 'sight' is unknown; did you mean 'site'"),
        ("metric", "sensitvity", "did you mean 'sensitivity'"),
        ("selected", "site=Sout", "did you mean 'site=South'"),
        ("threshold", 1.5, "lies outside 0–1"),
    ],
)
def test_a_wrong_state_is_refused_with_the_nearest_right_one(board, trait: str, value: object, message: str) -> None:
    before = getattr(board, trait)
    with pytest.raises(InputError, match=message.replace("?", ".")):
        setattr(board, trait, value)
    assert getattr(board, trait) == before


def test_a_threshold_is_a_number(board: Dashboard) -> None:
    with pytest.raises(TraitError):
        board.threshold = "half"


def test_the_finding_gives_the_complement_with_its_interval_turned_round(board: Dashboard, audit: Audit) -> None:
    rows = audit.table[audit.table["metric"] == "sensitivity"].set_index("group")
    south, overall = rows.loc["site=South"], rows.loc["all"]
    assert board.words[0].replace("\u00a0", " ") == (
        f"At 0.40 the model misses {100 * (1 - south.value):.0f} % of images labelled yes in site=South "
        f"[{100 * (1 - south.high):.0f}–{100 * (1 - south.low):.0f} %], against {100 * (1 - overall.value):.0f} % overall."
    )


def test_the_words_state_the_gap_and_how_the_group_was_chosen(board: Dashboard, audit: Audit) -> None:
    gap = audit.gaps.set_index(["metric", "group"]).loc[("sensitivity", "site=South")]
    points = [f"{-100 * value:.0f}" for value in (gap.value, gap.high, gap.low)]
    assert gap.high < 0
    assert f"That is {points[0]} percentage points more than in the rest [{points[1]}–{points[2]}]." in board.words
    assert "This is the worst of 2 groups of site; the best is site=North." in board.words
    assert "2 more have too few cases to be judged." in board.words


def test_a_difference_that_may_be_chance_is_said_to_be() -> None:
    row = {"metric": "AUROC", "by": "sex", "value": 0.8, "low": 0.7, "high": 0.9, "note": ""}
    table = pd.DataFrame([row | {"group": "all", "by": ""}, row | {"group": "sex=F"}, row | {"group": "sex=M"}])
    gaps = pd.DataFrame([row | {"group": "sex=F", "value": -0.02, "low": -0.09, "high": 0.05}])
    said = sentences(table, gaps, "AUROC", by="sex", threshold=0.5, positive="yes")
    assert said[1] == "The difference to the rest may be chance: its interval goes from −0.09 to 0.05."


def test_a_group_without_evidence_is_never_the_finding_unless_it_is_selected(board: Dashboard) -> None:
    board.selected = "site=missing"
    assert "site=missing" in board.words[0]
    assert any(sentence.startswith("Little evidence: ") for sentence in board.words)
    board.selected = ""
    assert "site=missing" not in board.words[0]


def test_an_audit_without_groups_speaks_of_everybody(audit: Audit) -> None:
    alone = wb.audit(audit.predictions, replicates=100).dashboard()
    assert alone.by == ""
    assert [row["group"] for row in alone.view["rows"]] == ["all"]
    assert alone.words[0].endswith("].")


def test_a_change_of_attribute_drops_a_selection_that_is_not_in_it(audit: Audit) -> None:
    table = audit.predictions.table.assign(sex=["F", "M"] * 300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        both = wb.audit(table, by=["site", "sex"], label="label", score="score:yes", positive="yes", replicates=100)
    board = both.dashboard()
    board.selected = "site=South"
    board.by = "sex"
    assert board.selected == ""
    assert [row["label"] for row in board.view["rows"]] == ["Overall", "F", "M"]
    assert {curve["group"] for curve in board.curves["groups"]} == {"all", "sex=F", "sex=M"}


def test_right_to_left_names_are_fenced_in_sentences() -> None:
    row = {"metric": "AUROC", "by": "site", "value": 0.8, "low": 0.7, "high": 0.9, "note": ""}
    table = pd.DataFrame([row | {"group": "all", "by": ""}, row | {"group": "site=مركز"}])
    said = sentences(table, table[:0], "AUROC", by="site", threshold=0.5, positive="yes")
    assert "\u2068site=مركز\u2069" in said[0]


def test_a_notebook_without_a_kernel_keeps_a_picture(board: Dashboard) -> None:
    data, _ = board._repr_mimebundle_()
    assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == "Dashboard(threshold=0.4, by='site', metric='sensitivity')"


def test_gaps_are_sent_with_p_values_as_they_are_printed(board: Dashboard, audit: Audit) -> None:
    board.threshold = 0.3
    gaps = audit.gaps_at(0.3).set_index(["metric", "group"])
    for row in board.view["rows"]:
        for metric, cell in row["gaps"].items():
            found = gaps.loc[(metric, row["group"])]
            assert cell["value"] == (None if pd.isna(found.value) else found.value)
            assert (cell["p"], cell["holm"], cell["bh"]) == (p_text(found.p), p_text(found.p_holm), p_text(found.p_bh))
    assert board.view["rows"][0]["gaps"] == {}
    assert board.view["reference"] == "rest"


def test_back_at_the_audit_s_threshold_its_own_tables_stand_again(audit: Audit) -> None:
    counting = Counting(audit)
    board = Dashboard(counting)  # type: ignore[arg-type]
    board.threshold = 0.7
    board.threshold = 0.4
    assert counting.asked == [0.7]
    assert numbers(board) == of_table(audit.table)


def test_a_wrong_view_is_refused_and_without_groups_there_are_no_gaps(board: Dashboard, audit: Audit) -> None:
    with pytest.raises(InputError, match="did you mean 'gaps'"):
        board.show = "gap"
    with pytest.raises(InputError, match="show 'gaps' is unknown"):
        wb.audit(audit.predictions, replicates=100).dashboard().show = "gaps"


def test_the_worst_group_is_the_one_with_most_error_where_less_is_better() -> None:
    row = {"metric": "Brier score", "by": "sex", "low": 0.1, "high": 0.3, "note": ""}
    values = {"all": 0.17, "sex=F": 0.15, "sex=M": 0.2}
    table = pd.DataFrame(
        [row | {"group": name, "by": "sex" if "=" in name else "", "value": value} for name, value in values.items()]
    )
    said = sentences(table, table[:0], "Brier score", by="sex", threshold=0.5, positive="yes")
    assert said[0] == "The model's Brier score is 0.20 in sex=M [0.10–0.30], against 0.17 overall."
    assert said[1] == "This is the worst of 2 groups of sex; the best is sex=F."


def test_a_metric_without_a_best_value_has_no_worst_group() -> None:
    row = {"metric": "positive rate", "by": "sex", "low": 0.1, "high": 0.3, "note": ""}
    values = {"all": 0.2, "sex=F": 0.19, "sex=M": 0.25}
    table = pd.DataFrame(
        [row | {"group": name, "by": "sex" if "=" in name else "", "value": value} for name, value in values.items()]
    )
    said = sentences(table, table[:0], "positive rate", by="sex", threshold=0.5, positive="yes")
    assert said[0].startswith("At 0.50 the model's positive rate is 0.25 in sex=M")
    assert said[1] == "This is the furthest from overall of 2 groups of sex; the nearest is sex=F."


def test_the_gap_names_its_reference_and_the_corrected_p() -> None:
    row = {"metric": "AUROC", "by": "sex", "value": 0.8, "low": 0.7, "high": 0.9, "note": ""}
    table = pd.DataFrame(
        [row | {"group": "all", "by": ""}, row | {"group": "sex=F", "value": 0.7}, row | {"group": "sex=M"}]
    )
    gap = {"group": "sex=F", "reference": "sex=M", "value": -0.1, "low": -0.15, "high": -0.04, "p_holm": 0.0312}
    said = sentences(table, pd.DataFrame([row | gap]), "AUROC", by="sex", threshold=0.5, positive="yes")
    assert said[1] == "That is 0.10 lower than in sex=M [0.04–0.15]."
    assert said[2] == "Corrected for all gaps of this audit (Holm), p = 0.031."


@pytest.mark.parametrize(
    "metric", ["AUROC", "sensitivity", "MCC", "Brier score", "calibration slope", "false positive rate"]
)
@pytest.mark.parametrize(("low", "high"), [(0.81, 0.93), (0.02, 0.31), (0.4, 1.0)])
def test_a_scale_has_round_ticks_from_end_to_end_and_holds_the_intervals(metric: str, low: float, high: float) -> None:
    rows = pd.DataFrame({"low": [low, 0.5], "high": [high, 0.9], "note": ["", "too few"]})
    for scale, ends in ((of_values(rows, metric), (low, high)), (of_gaps(rows), (-high, high))):
        assert scale["axis"] == [scale["ticks"][0], scale["ticks"][-1]]
        assert scale["axis"][0] <= ends[0] + 1e-9
        assert scale["axis"][1] >= ends[1] - 1e-9
        assert 4 <= len(scale["ticks"]) <= 9
        assert all(abs(round(tick, 3) - tick) < 1e-9 for tick in scale["ticks"])


def test_the_scale_of_gaps_widens_and_never_narrows() -> None:
    wide = of_gaps(pd.DataFrame({"low": [-0.4], "high": [0.1], "note": [""]}))
    narrow = pd.DataFrame({"low": [-0.1], "high": [0.1], "note": [""]})
    assert of_gaps(narrow, wide) == wide
    assert of_gaps(pd.DataFrame({"low": [-0.7], "high": [0.1], "note": [""]}), wide)["axis"][0] <= -0.7

"""The verbs in a shell: the same way through, and mistakes told in a sentence."""

import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench import figures
from workbench.ask import questions
from workbench.audit.finding import Finding
from workbench.cli import FIGURES, main
from workbench.lab import start_notebook


@pytest.fixture
def scores(tmp_path: Path) -> Path:
    draw = np.random.default_rng(4)
    truth = draw.integers(0, 2, 200)
    table = pd.DataFrame({
        "truth": truth,
        "score": np.clip(0.3 * truth + 0.7 * draw.random(200), 0, 1),
        "patient_id": [f"p{k // 2}" for k in range(200)],
        "sex": np.where(np.arange(200) % 4 < 2, "F", "M"),
    })  # fmt: skip
    path = tmp_path / "scores.csv"
    table.to_csv(path, index=False)
    return path


def run(command: str) -> int:
    return main(shlex.split(command))


def test_help_names_every_verb_in_a_third_of_a_second_of_cpu_and_loads_nothing_heavy() -> None:
    code = (
        "import sys, resource\nfrom workbench.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime, 'numpy' in sys.modules, 'pandas' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    seconds, numpy, pandas = shown.splitlines()[-1].split()
    assert float(seconds) < 0.3
    assert (numpy, pandas) == ("False", "False")
    for verb in (
        "demo",
        "lab",
        "load",
        "train",
        "predict",
        "explain",
        "trust",
        "audit",
        "ask",
        "figure",
        "show-provenance",
    ):
        assert verb in shown


def test_scores_are_audited_drawn_and_traced_back(scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    audit, figure = tmp_path / "audit", tmp_path / "figure.pdf"
    assert run(f"audit {scores} --label truth --score score --patient patient_id --by sex --out {audit}") == 0
    assert "sex=F" in capsys.readouterr().out
    assert run(f"figure forest {audit} --out {figure} --set metric=AUROC") == 0
    assert run(f"show-provenance {figure}") == 0
    said = capsys.readouterr().out
    assert "audit(" in said
    assert "'AUROC'" in said
    assert run(f"show-provenance {audit} --json") == 0
    assert json.loads(capsys.readouterr().out)["verb"] == "audit"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("audit {scores} --label truht --score score", "'truth'"),
        ("audit nowhere.csv --label truth --score score", "nowhere.csv"),
        ("audit {scores} --label truth --score score --metrics AUC", "'AUROC'"),
        ("audit {scores} --label truth --score score --threshold 2", "threshold=2 must be a number from 0 to 1"),
        ("audit {scores} --label truth --score score --by sex --reference sex=Q", "'Q' is unknown"),
        ("audit {scores} --label truth --score score --set bims=3", "'bins'"),
        ("ask compar a b", "'compare'"),
        ("ask compare {scores} --label truth --score score", "compare: missing a required argument: 'second'"),
        ("ask criteria {scores} --by sex", "--label and --score"),
        ("ask criteria {scores} --label truth --score score --by sx", "'sex'"),
        ("ask criteria {scores} --label truth --score score --by sex --set tresholds=3", "'threshold'"),
        ("ask delong {scores} {scores} --label truth --score score --weight w", "takes no weight column"),
        ("ask criteria nowhere --by sex", "predictions is a str; give Predictions"),
        ("ask probe e.npy sex --set images={scores} --label truth --score score", "e.npy does not exist"),
        ("figure forrest {scores} --out f.pdf", "'forest'"),
        ("figure roc {scores} {scores} --out f.pdf", "roc takes Audit, one folder each; 2 given"),
        ("figure forest {scores} --out f.pdf", "scores.csv"),
        ("load phantom-mamography --out c", "'phantom-mammography'"),
        ("load phantom-mammography --set n --out c", "NAME=VALUE"),
        ("train {scores} --out m", "scores.csv"),
        ("show-provenance {scores}", "scores.csv"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_and_nothing_is_written(
    command: str,
    told: str,
    scores: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(command.format(scores=scores)) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


COLUMNS = "--label truth --score score --patient patient_id"


@pytest.fixture
def tuning(tmp_path: Path) -> Path:
    """Other patients than those of `scores`."""
    draw = np.random.default_rng(5)
    truth = draw.integers(0, 2, 300)
    table = pd.DataFrame({"truth": truth, "score": (0.3 * truth + 0.7 * draw.random(300)).clip(0, 1)})
    path = tmp_path / "tuning.csv"
    table.assign(patient_id=[f"q{k}" for k in range(300)], sex=np.tile(["F", "M"], 150)).to_csv(path, index=False)
    return path


def test_an_audit_is_asked_in_a_shell_as_in_python(scores: Path, capsys: pytest.CaptureFixture) -> None:
    asked = "--metrics 'AUROC, sensitivity' --reference sex=M --prevalence 0.2 --interval BCa --level 0.9 --positive 0"
    more = "--replicates 150 --seed 4 --permutations 19 --set enough=10 --which gaps --markdown"
    assert run(f"audit {scores} {COLUMNS} --by sex {asked} {more}") == 0
    found = wb.audit(
        scores, ["sex"], label="truth", score="score", patient="patient_id", metrics=["AUROC", "sensitivity"],
        reference={"sex": "M"}, prevalence=0.2, interval="BCa", level=0.9, positive="0", replicates=150, seed=4,
        permutations=19, enough=10,
    )  # fmt: skip
    assert capsys.readouterr().out == found.to_markdown("gaps") + "\n"


def test_a_threshold_is_carried_from_the_tuning_set_by_its_folder(
    scores: Path, tuning: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    point = tmp_path / "point"
    assert run(f"ask operating_point {tuning} {COLUMNS} --set rule=sensitivity --set target=0.9 --out {point}") == 0
    assert "The threshold was" in capsys.readouterr().out
    assert run(f"audit {scores} {COLUMNS} --by sex --threshold {point} --sentences") == 0
    said = capsys.readouterr().out
    assert f"{Finding.load(point).settings['threshold']:g}" in said
    assert "chosen on other predictions by the rule 'sensitivity 0.9'" in said
    given = """'{"sex=F": 0.4, "sex=M": 0.6}'"""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        assert run(f"audit {scores} {COLUMNS} --by sex --threshold {given} --latex") == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(r"\begin{table}")
    assert shown.err.startswith("workbench audit: Each group has a threshold of its own")
    assert "EvidenceWarning" not in shown.err


def test_every_question_can_be_asked() -> None:
    known = questions()
    assert {"compare", "criteria", "mrmc", "drift", "slices", "stard", "sample_size", "mitigate"} <= set(known)
    assert all(inspect.isfunction(one) for one in known.values())


@pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")
def test_questions_are_answered_in_a_shell_as_in_python(
    scores: Path, tuning: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    made, other = (
        wb.Predictions.from_table(path, label="truth", score="score", patient="patient_id") for path in (scores, tuning)
    )
    made.save(tmp_path / "made")
    assert run(f"ask criteria {scores} {COLUMNS} --by sex --set replicates=100 --markdown") == 0
    assert capsys.readouterr().out == wb.audit.criteria(made, "sex", replicates=100).to_markdown() + "\n"
    assert run(f"ask drift {tmp_path / 'made'} {tuning} {COLUMNS} --by sex --set permuted=499 --latex") == 0
    assert capsys.readouterr().out == wb.audit.drift(made, other, by=["sex"], permuted=499).to_latex() + "\n"
    assert run("ask sample_size AUROC --set expected=0.85 --set half_width=0.05 --sentences") == 0
    assert "234 images, 117 of them positive" in capsys.readouterr().out
    assert run(f"ask noninferiority {scores} 0.6 {COLUMNS} --set margin=0.05 --out {tmp_path / 'claim'}") == 0
    wanted = wb.audit.noninferiority(scores, 0.6, margin=0.05, label="truth", score="score", patient="patient_id")
    pd.testing.assert_frame_equal(Finding.load(tmp_path / "claim").table, wanted.table)
    models = json.dumps({"one": str(tmp_path / "made"), "two": str(tmp_path / "made")})
    asked = f"--set 'predictions={models}' --set 'thresholds=[0.3, 0.5]' --set replicates=100"
    assert run(f"ask decision_curve {asked} --out {tmp_path / 'curve'}") == 0
    assert set(Finding.load(tmp_path / "curve").table["model"]) == {"one", "two"}


@pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")
def test_embeddings_come_as_an_array_and_a_mitigation_leaves_predictions(
    scores: Path, tuning: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("sex").mkdir()  # A folder called as the attribute is.
    table = pd.read_csv(scores)
    np.save("e.npy", np.random.default_rng(0).normal(size=(200, 3)) + 2 * (table[["sex"]] == "F").to_numpy())
    assert run(f"ask probe e.npy sex --set images={scores} {COLUMNS} --set permuted=99") == 0
    assert "sex (M against F) can be read from the embedding" in capsys.readouterr().out
    mitigated = f"ask mitigate {tuning} {scores} {COLUMNS} --by sex --set method=platt --set replicates=100 --out after"
    assert run(mitigated) == 0
    assert wb.Predictions.load("after-predictions").provenance.settings["method"] == "platt"
    assert Finding.load("after").kind == "mitigate"


@pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")
def test_every_figure_of_an_audit_is_drawn_from_its_folder(
    scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(f"audit {scores} {COLUMNS} --by sex --set replicates=100 --out Audit") == 0
    assert run(f"ask decision_curve {scores} {COLUMNS} --set replicates=100 --out curve") == 0
    assert run(f"ask stard {scores} {COLUMNS} --set 'excluded={{\"no consent\": 12}}' --out flow") == 0
    readings = pd.DataFrame(
        [(j, m, k, k % 2, (7 * k + 3 * j) % 5 + k % 2) for j in range(4) for m in ("a", "b") for k in range(30)],
        columns=["reader", "modality", "case", "label", "score"],
    )
    readings.to_csv("readings.csv", index=False)
    roles = " ".join(f"--set {role}={role}" for role in ("reader", "modality", "case"))
    assert run(f"ask mrmc readings.csv {roles} --label label --score score --out study") == 0
    drawn = {
        "forest": "Audit", "roc": "Audit --set by=sex --set band=true", "precision-recall": "Audit", "calibration": "Audit",
        "subgroup-heatmap": "Audit", "gap-over-threshold": "Audit --set by=sex", "decision-curve": "curve", "stard": "flow",
        "mrmc": "study",
    }  # fmt: skip
    for kind, values in drawn.items():
        assert run(f"figure {kind} {values} --out {kind}.svg") == 0
        assert run(f"show-provenance {kind}.svg") == 0
    capsys.readouterr()
    assert run("figure gap-over-threshold Audit --out f.svg") == 2
    assert "needs --set by=" in capsys.readouterr().err
    assert run("figure roc Audit --set widht=3 --out f.svg") == 2
    assert "'width'" in capsys.readouterr().err
    assert run("figure roc study --out f.svg") == 2
    assert "a saved Finding, not a Audit" in capsys.readouterr().err


def test_every_figure_that_is_public_can_be_drawn_in_a_shell() -> None:
    values = {name for name in figures.__all__ if inspect.isfunction(getattr(figures, name))}
    tools = {"inches", "read_provenance", "save"}
    assert {name.replace("_", "-") for name in values - tools} == set(FIGURES)


def test_the_lab_opens_on_the_start_notebook() -> None:
    assert start_notebook().name == "00-start-here.ipynb"


@pytest.mark.slow
def test_the_whole_way_in_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("load phantom-mammography --set n=60 --set 'shape=[96,64]' --set seed=3 --out cohort") == 0
    assert run("train cohort --out run --epochs 1 --seed 3") == 0
    assert run("explain run/model run/test --first 3 --out maps") == 0
    margin = "--target cancer --against healthy --method shap --set samples=4"
    assert run(f"explain run/model run/test --first 3 {margin} --out why") == 0
    assert "cancer" in capsys.readouterr().out
    assert run("explain run/model run/test --first 2 --target 1 --method saliency --out second") == 0
    assert run("explain run/model run/test --first 0 --out none") == 2
    assert "--first 0 must be at least 1" in capsys.readouterr().err
    compared = "--method shap --set samples=4 --background run/test"
    assert run(f"explain run/model run/test --first 3 {compared} --out shap") == 0
    assert run("trust run/model run/test shap --part stability --by view --out evidence") == 2
    assert "a folder does not keep" in capsys.readouterr().err
    assert run("trust run/model run/test shap --part stability --by view --background run/test --out evidence") == 0
    assert run("trust run/model run/test maps second --part localisation --by view --out refused") == 2
    assert "not of the same images" in capsys.readouterr().err
    assert run("explain run/model run/test --first 3 --set layer=features.norm5 --out early") == 0
    assert run("trust run/model run/test maps early --part faithfulness --by view --out evidence") == 0
    assert "early: " in capsys.readouterr().out
    assert run("figure map-evidence evidence --out evidence.png") == 0
    assert run("trust run/model run/test why --part shares --part localisation --by view --out evidence") == 0
    told = capsys.readouterr().out
    assert "density: lesion" in told
    assert "view=CC" in told
    assert run("show-provenance evidence") == 0
    assert run("predict run/model run/test --out again") == 0
    first, second = (pd.read_parquet(f"{folder}/predictions.parquet") for folder in ("run/predictions", "again"))
    pd.testing.assert_frame_equal(first, second)
    assert run("figure attribution-grid maps run/test --out maps.png") == 0
    assert run("show-provenance maps.png") == 0
    assert "phantom-mammography" in capsys.readouterr().out


def test_lab_listens_on_this_machine_only_behind_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: called.append(command) or subprocess.CompletedProcess(command, 0)
    )
    assert run("lab --no-browser --port 9999") == 0
    assert "--ServerApp.ip=127.0.0.1" in called[0]
    assert not any("token" in part for part in called[0]), (
        "JupyterLab makes a token of its own unless it is told not to"
    )


def patiently(url: str) -> str:
    """Read a page of a server that has said its address and may not listen yet."""
    for _ in range(120):
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError:
            raise
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"nothing answers at {url.partition('?')[0]}")


@pytest.mark.slow
def test_lab_answers_with_its_token_and_not_without(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "workbench.cli", "lab", "--no-browser", "--port", "8931"]
    server = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path, start_new_session=True
    )
    try:
        lines = iter(server.stderr.readline, "")
        address = next(
            found[0] for line in lines if (found := re.search(r"http://127\.0\.0\.1:\d+/lab\S*token=\w+", line))
        )
        root, _, token = address.partition("/lab")
        token = token.partition("token=")[2]
        assert "00-start-here.ipynb" in patiently(f"{root}/api/contents?token={token}")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{root}/api/contents", timeout=20)
        refused.value.close()
        assert refused.value.code == 403
    finally:
        # JupyterLab is a child of the verb; both go, and with them whoever holds the pipe.
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(20)
        server.stderr.close()

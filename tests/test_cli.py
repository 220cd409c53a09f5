"""The verbs in a shell: the same way through, and mistakes told in a sentence."""

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
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from workbench.cli import main
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
    for verb in ("demo", "lab", "load", "train", "predict", "explain", "trust", "audit", "figure", "show-provenance"):
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
        ("figure forrest {scores} --out f.pdf", "'forest'"),
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

"""Every verb of discovery and drift answers with a finding that can be shown, printed and kept, and needs no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import workbench as wb
from workbench.audit.finding import Finding

pytestmark = pytest.mark.filterwarnings("ignore::workbench.errors.EvidenceWarning")


def scored(seed=0, first=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, 120)
    table = pd.DataFrame(
        {"y": truth, "p": (truth + rng.random(120)) / 2, "who": [f"p{first + k}" for k in range(120)],
         "sex": rng.choice(["F", "M"], 120), "site": rng.choice(["A", "B"], 120)}
    )  # fmt: skip
    return wb.Predictions.from_table(table, label="y", score="p", patient="who"), rng.normal(size=(120, 5))


def everything():
    images, vectors = scored()
    later, _ = scored(1, first=120)
    return {
        "slices": lambda: wb.audit.slices(images, embeddings=vectors, metric="error"),
        "probe": lambda: wb.audit.probe(vectors, "sex", images=images, permuted=99),
        "shortcut": lambda: wb.audit.shortcut([(images, vectors + k) for k in range(5)], "sex"),
        "association": lambda: wb.audit.association(images, permuted=199),
        "drift": lambda: wb.audit.drift(images, later, by=["sex"], permuted=199),
    }


@pytest.mark.parametrize("verb", ["slices", "probe", "shortcut", "association", "drift"])
def test_what_a_verb_finds_is_shown_printed_and_kept(verb, tmp_path):
    found = everything()[verb]()
    assert isinstance(found, Finding)
    assert found.kind == verb
    assert found.sentences
    assert found.methods
    assert found.title in found._repr_html_().replace("&#39;", "'")
    assert found.to_latex().count(r"\\") == len(found.table) + 1
    again = Finding.load(found.save(tmp_path / verb))
    pd.testing.assert_frame_equal(again.table, found.table)
    assert again.sentences == found.sentences
    assert again.provenance.to_json() == found.provenance.to_json()
    assert found.provenance.content == everything()[verb]().provenance.content


def test_no_verb_loads_torch():
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "from test_verbs import everything\n"
        "for verb in everything().values(): verb()\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

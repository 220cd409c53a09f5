"""How long the dashboard's Python side takes from a new threshold to the new table, ready to be sent.

    python benchmarks/widgets/dashboard_move.py [--rows 1000 10000 100000] [--moves 20]

Eighteen groups (sex, five ages, and their crossings), 2.5 images a patient. "audit" is the share of ``audit.at`` and
``audit.gaps_at``; "bytes" is what then travels to the browser.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings

import numpy as np
import pandas as pd

import workbench as wb
from workbench.errors import EvidenceWarning

BY = ["sex", "age", ("sex", "age")]


def audit_of(rows: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, rows)
    frame = {
        "truth": truth, "p": 1 / (1 + np.exp(-(rng.normal(size=rows) + 2 * truth - 1))),
        "who": rng.integers(0, int(rows / 2.5), rows),
        "sex": rng.choice(["F", "M"], rows), "age": rng.choice(list("abcde"), rows),
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvidenceWarning)
        return wb.audit(pd.DataFrame(frame), by=BY, label="truth", score="p", patient="who", replicates=100)


def milliseconds(call, values) -> float:
    times = []
    for value in values:
        start = time.perf_counter()
        call(value)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--moves", type=int, default=20)
    given = parser.parse_args()
    thresholds = np.linspace(0.1, 0.9, given.moves)
    print(f"{'rows':>8} {'move ms':>8} {'audit ms':>9} {'bytes':>7}")
    for rows in given.rows:
        audit = audit_of(rows)
        board = audit.dashboard()
        moved = milliseconds(lambda threshold, board=board: setattr(board, "threshold", float(threshold)), thresholds)
        asked = milliseconds(lambda threshold, audit=audit: (audit.at(threshold), audit.gaps_at(threshold)), thresholds)
        sent = len(json.dumps({"view": board.view, "words": board.words}).encode())
        print(f"{rows:>8,} {moved:>8.1f} {asked:>9.1f} {sent:>7,}")


if __name__ == "__main__":
    main()

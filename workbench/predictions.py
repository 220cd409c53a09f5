"""Predictions: what a model, or anybody's table of scores, says of each image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from workbench.provenance import Provenance
from workbench.storage import read_json, reading, write_json, writing

SCORE = "score:"


@dataclass(frozen=True, eq=False)
class Predictions:
    """A table of scores, one row an image, and what the audit needs beside them. Knows nothing of torch.

    Parameters
    ----------
    table : index ``id`` (unique text); columns ``patient`` (text), ``label`` (one of `classes`), one column
        ``score:<class>`` for each class (probabilities in 0–1 that sum to 1), and the attributes.
    classes : in order; in a two-class task the last is the positive one.
    attributes : columns by which results may be broken down.
    provenance : which model, which cohort.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    provenance: Provenance

    def __len__(self) -> int:
        return len(self.table)

    @property
    def scores(self) -> np.ndarray:
        """Score of every class, float64 ``(n, K)``, in the order of `classes`."""
        return self.table[[SCORE + name for name in self.classes]].to_numpy(dtype=np.float64)

    @property
    def labels(self) -> np.ndarray:
        """Each image's label as an index into `classes`, int64 ``(n,)``."""
        return pd.Categorical(self.table["label"], categories=self.classes).codes.astype(np.int64)

    @property
    def patients(self) -> np.ndarray:
        """Each image's patient, ``(n,)`` of text."""
        return self.table["patient"].to_numpy()

    def save(self, folder: str | Path) -> Path:
        """Write ``predictions.parquet`` and its record to `folder`."""
        with writing(folder, "Predictions") as scratch:
            self.table.to_parquet(scratch / "predictions.parquet")
            write_json(scratch / "predictions.json", {"classes": self.classes, "attributes": self.attributes})
            self.provenance.save(scratch)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote, after checking every byte."""
        path = reading(folder, "Predictions")
        record = read_json(path / "predictions.json")
        table = pd.read_parquet(path / "predictions.parquet")
        return cls(table, tuple(record["classes"]), tuple(record["attributes"]), Provenance.load(path))

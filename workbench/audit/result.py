"""The audit: metric × group with intervals, the gaps between groups, and what the sample cannot carry."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from workbench.audit.curves import roc_points
from workbench.audit.evidence import NOT_ESTIMABLE, REFUSED
from workbench.audit.sample import Design, design_of
from workbench.audit.tables import Reading, gap_table, metric_table
from workbench.errors import InputError
from workbench.predictions import Predictions
from workbench.provenance import Provenance
from workbench.storage import read_json, reading, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, eq=False)
class Audit:
    """What :func:`workbench.audit` found.

    Parameters
    ----------
    table : one row a metric and group: ``metric, group, by, value, low, high, n, positives, patients, method, note``.
        Group ``all`` is everybody; ``value`` is NaN where it cannot be estimated, and ``note`` says why.
    gaps : the difference of each group to the rest: ``metric, group, by, reference, value, low, high, n, positives,
        patients, method, note``; the counts are the group's.
    predictions : what was audited.
    settings : ``by, threshold, level, replicates, seed, metrics, positive``.
    provenance : the way back.
    """

    table: pd.DataFrame
    gaps: pd.DataFrame
    predictions: Predictions
    settings: Mapping[str, Any]
    provenance: Provenance

    @property
    def groups(self) -> list[str]:
        """Names of all groups, everybody first."""
        return list(dict.fromkeys(self.table["group"]))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before the numbers: a sentence each, or nothing."""
        return tuple(sentence for sentence in (self._thin_groups(), self._no_patients()) if sentence)

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of `table`."""
        return self.table.copy()

    def at(self, threshold: float) -> pd.DataFrame:
        """Return the table at another threshold, at once.

        Sensitivity and specificity are those of a full audit at `threshold`, with the same (Wilson) intervals; AUROC
        does not depend on it and stays as it is.
        """
        moving = self._moving(threshold)
        made = metric_table(self._design, Reading(moving, float(threshold), self.settings["level"]))
        return _replaced(self.table, made, moving)

    def gaps_at(self, threshold: float) -> pd.DataFrame:
        """Return the gaps at another threshold; those of sensitivity and specificity by square-and-add, not bootstrap."""
        moving = self._moving(threshold)
        made = gap_table(self._design, Reading(moving, float(threshold), self.settings["level"]))
        return _replaced(self.gaps, made, moving)

    def curves(self, by: str | None = None, *, most: int = 400) -> pd.DataFrame:
        """Return the ROC curve of each group: columns ``group, by, fpr, tpr, threshold``.

        Parameters
        ----------
        by : one partition, as in the tables' column ``by`` (``""`` for everybody); by default all.
        most : points a curve; a longer one keeps this many of its own, evenly along its length, with both ends.

        A curve starts at (0, 0) with threshold ``inf``. A group whose AUROC is refused has no curve.
        """
        refused = set(self.table.loc[(self.table["metric"] == "AUROC") & self.table["value"].isna(), "group"])
        parts = [
            roc_points(sample.positives.scores, sample.negatives.scores, most).assign(group=sample.group, by=sample.by)
            for sample in self._design.samples
            if by in (None, sample.by) and sample.group not in refused and sample.positives and sample.negatives
        ]
        columns = ["group", "by", "fpr", "tpr", "threshold"]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    def dashboard(self) -> Any:
        """Open the bias dashboard: threshold slider, table, ROC curves and gaps."""
        from workbench.widgets.dashboard import dashboard

        return dashboard(self)

    def save(self, folder: str | Path) -> Path:
        """Write both tables (Parquet), the settings (JSON) and the predictions to `folder`."""
        with writing(folder, "Audit") as scratch:
            self.table.to_parquet(scratch / "table.parquet")
            self.gaps.to_parquet(scratch / "gaps.parquet")
            write_json(scratch / "settings.json", dict(self.settings))
            self.predictions.save(scratch / "predictions")
            self.provenance.save(scratch)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote, after checking every byte."""
        path = reading(folder, "Audit")
        return cls(
            pd.read_parquet(path / "table.parquet"),
            pd.read_parquet(path / "gaps.parquet"),
            Predictions.load(path / "predictions"),
            read_json(path / "settings.json"),
            Provenance.load(path),
        )

    def __repr__(self) -> str:
        everybody = self.table[self.table["group"] == "all"]
        numbers = ", ".join(f"{row.metric} {_number(row)}" for row in everybody.itertuples())
        return f"Audit({len(self.predictions)} images, {len(self.groups)} groups: {numbers})"

    def _repr_html_(self) -> str:
        from workbench.audit.picture import as_html

        return as_html(self)

    @cached_property
    def _design(self) -> Design:
        return design_of(self.predictions, self.settings["by"], self.settings["positive"])

    def _moving(self, threshold: float) -> tuple[str, ...]:
        if not 0 <= threshold <= 1:
            message = f"threshold {threshold} lies outside 0–1; scores are probabilities, and so is the threshold."
            raise InputError(message)
        return tuple(metric for metric in self.settings["metrics"] if metric != "AUROC")

    def _thin_groups(self) -> str:
        noted = self.table[self.table["note"] != ""]
        without = noted["note"].str.contains(f"{REFUSED}|{NOT_ESTIMABLE}", regex=True)
        refused, wide = _listed(noted[without]["group"]), _listed(noted[~without]["group"])
        parts = [f"some numbers of {refused} are refused or not estimable"] if refused else []
        parts += [f"some of {wide} are uncertain"] if wide else []
        return f"Too few cases: {', and '.join(parts)}. See the column 'note'." if parts else ""

    def _no_patients(self) -> str:
        source = self.predictions.provenance
        if source.verb != "from_table" or source.settings.get("patient") is not None:
            return ""
        return (
            "No patient column was named, so each image counts as a patient of its own; where patients have several "
            "images, all intervals are too narrow. Name it: patient='column'."
        )


def _replaced(table: pd.DataFrame, made: pd.DataFrame, metrics: tuple[str, ...]) -> pd.DataFrame:
    """Return `table` with the rows of `metrics` taken from `made`, which has the same rows in the same order."""
    result = table.copy()
    place = table["metric"].isin(metrics).to_numpy()
    for column in table.columns:
        result.loc[place, column] = made[column].to_numpy()
    return result


def _listed(groups: pd.Series) -> str:
    names = list(dict.fromkeys(groups))
    more = f" and {len(names) - 6} more" if len(names) > 6 else ""
    return ", ".join(names[:6]) + more


def _number(row: Any) -> str:
    return "not estimable" if pd.isna(row.value) else f"{row.value:.3f} ({row.low:.3f}–{row.high:.3f})"

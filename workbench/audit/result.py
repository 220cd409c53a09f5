"""The audit: metric × group with intervals, the gaps between groups, and what the sample cannot carry."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from workbench.audit import paper, words
from workbench.audit.curves.points import roc_points
from workbench.audit.engine.measure import prepare
from workbench.audit.estimation.estimates import Estimates, counted
from workbench.audit.estimation.gaps import against
from workbench.audit.estimation.roster import Roster
from workbench.audit.reading import BINARY, MULTILABEL, reading_of
from workbench.audit.sample import Design, design_of
from workbench.audit.tables import COLUMNS, GAP_COLUMNS, adjusted, gap_tables, metric_table
from workbench.errors import FileError, InputError, unknown_name
from workbench.predictions import Predictions
from workbench.provenance import Provenance
from workbench.storage import read_json, read_record, read_table, reading, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from workbench.audit.engine.measure import Prepared

# What a saved audit must know to be read again.
SETTINGS = (
    "by", "threshold", "thresholds", "threshold_origin", "task", "metrics", "positive", "reference", "prevalence", "interval",
    "level", "replicates", "permutations", "enough", "fewest", "seed", "asked", "band", "gap_band",
)  # fmt: skip
# What stands in a paper's table of gaps, and of groups.
PAPER = ["class", "metric", "group", "value", "low", "high", "n", "positives", "patients", "method", "note"]
PAPER_GAPS = [
    "class",
    "metric",
    "group",
    "reference",
    "kind",
    "value",
    "low",
    "high",
    "p",
    "p_holm",
    "p_permutation",
    "method",
    "note",
]


@dataclass(frozen=True, eq=False)
class Audit:
    """What :func:`workbench.audit` found.

    Parameters
    ----------
    table : one row a metric and group: ``metric, group, by, value, low, high, band_low, band_high, n, positives, patients,
        method, reason, note``. Group ``all`` is everybody; ``value`` is NaN where it cannot be estimated, and ``note``
        says why. ``low`` and ``high`` hold for one number, ``band_low`` and ``band_high`` for all of the table at once.
        ``method`` names the interval, ``reason`` says why that one.
    gaps : the difference of each group to its ``reference``: the same columns, ``kind`` (``"difference"``), and ``p`` (where
        the interval touches 0), ``p_holm`` and ``p_bh`` (adjusted over the whole table: any false alarm, share of false
        alarms), ``p_permutation``; the counts are the group's.
    ratios : the same of ``group / reference``, kind ``"ratio"``; NaN where a metric can be negative, or the reference is 0.
    predictions : what was audited.
    settings : what was asked: ``by, threshold, thresholds, metrics, positive, reference, prevalence, interval, level,
        replicates, permutations, enough, fewest, seed, …``.
    warnings : what a reader must know before the numbers: a sentence each.
    provenance : the way back.
    """

    table: pd.DataFrame
    gaps: pd.DataFrame
    ratios: pd.DataFrame
    predictions: Predictions
    settings: Mapping[str, Any]
    warnings: tuple[str, ...]
    provenance: Provenance

    @property
    def groups(self) -> list[str]:
        """Names of all groups, everybody first."""
        return list(dict.fromkeys(self.table["group"]))

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of `table`."""
        return self.table.copy()

    def to_markdown(self, which: str = "table") -> str:
        """Return a table as Markdown for a paper: ``"table"``, ``"gaps"`` or ``"ratios"``."""
        return paper.markdown(self._printed(which))

    def to_latex(self, which: str = "table", *, caption: str = "", label: str = "") -> str:
        """Return a table as LaTeX (booktabs) for a paper: ``"table"``, ``"gaps"`` or ``"ratios"``."""
        level = f"{100 * self.settings['level']:g} % intervals"
        return paper.latex(self._printed(which), caption=caption or f"Subgroup audit, {level}.", label=label)

    def sentences(self) -> list[str]:
        """Say what was found, in words that a results section could use."""
        return words.results(self)

    def methods(self) -> list[str]:
        """Say how it was done, in words that a methods section could use."""
        return words.methods(self)

    def at(self, threshold: float) -> pd.DataFrame:
        """Return the table at another threshold, at once.

        Whatever depends on the threshold is what a full audit at `threshold` gives, with the same intervals; the bands keep
        the width that they have in `table`. The rest stays as it is.

        Parameters
        ----------
        threshold : 0–1, the same for every group.
        """
        moved = self._moved(threshold)
        made, _ = metric_table(moved, width=_number(self.settings["band"]))
        return _replaced(self.table, made)

    def gaps_at(self, threshold: float) -> pd.DataFrame:
        """Return the gaps at another threshold, as :meth:`at`; adjusted p-values count all gaps, permutations are left out."""
        moved = self._moved(threshold)
        held_against = against(moved, self.settings["reference"])
        made, _, _ = gap_tables(moved, held_against, width=_number(self.settings["gap_band"]))
        return adjusted(_replaced(self.gaps, made))

    def curves(self, by: str | None = None, *, most: int = 400) -> pd.DataFrame:
        """Return the ROC curve of each group: columns ``group, by, fpr, tpr, threshold``.

        Parameters
        ----------
        by : one partition, as in the tables' column ``by`` (``""`` for everybody); by default all.
        most : points a curve; a longer one keeps this many of its own, evenly along its length, with both ends.

        A curve starts at (0, 0) with threshold ``inf``. A group whose AUROC is refused has no curve.
        """
        self._one_class()
        if self.settings["task"] != BINARY:
            message = f"a ROC curve needs two classes, and this is a {self.settings['task']} audit."
            raise InputError(message)
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

        self._one_class()
        return dashboard(self)

    def save(self, folder: str | Path) -> Path:
        """Write the tables (Parquet), the settings and warnings (JSON) and the predictions to `folder`."""
        with writing(folder, "Audit") as scratch:
            for name in ("table", "gaps", "ratios"):
                getattr(self, name).to_parquet(scratch / f"{name}.parquet")
            write_json(scratch / "settings.json", dict(self.settings))
            write_json(scratch / "warnings.json", list(self.warnings))
            self.predictions.save(scratch / "predictions")
            self.provenance.save(scratch)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote, after checking every byte."""
        path = reading(folder, "Audit")
        if not (path / "ratios.parquet").is_file():
            message = (
                f"{path} was saved by an older Workbench, whose audits had fewer tables; audit its predictions again: "
                f"wb.audit({str(path / 'predictions')!r}, by=…)."
            )
            raise FileError(message)
        columns = {"table": COLUMNS, "gaps": GAP_COLUMNS, "ratios": GAP_COLUMNS}
        table, gaps, ratios = (read_table(path / f"{name}.parquet", *needed) for name, needed in columns.items())
        return cls(
            table, gaps, ratios, Predictions.load(path / "predictions"), read_record(path / "settings.json", *SETTINGS),
            tuple(map(str, read_json(path / "warnings.json"))), Provenance.load(path),
        )  # fmt: skip

    def __repr__(self) -> str:
        numbers = ", ".join(f"{name} {words.with_interval(row)}" for name, row in words.everybody(self))
        return f"Audit({len(self.predictions)} images, {len(self.groups)} groups: {numbers})"

    def _repr_html_(self) -> str:
        from workbench.audit.picture import as_html

        return as_html(self)

    def _printed(self, which: str) -> pd.DataFrame:
        tables = {"table": (self.table, PAPER), "gaps": (self.gaps, PAPER_GAPS), "ratios": (self.ratios, PAPER_GAPS)}
        if which not in tables:
            raise unknown_name("table", which, tables)
        table, columns = tables[which]
        return table[[name for name in columns if name in table]]

    def _one_class(self) -> None:
        if self.settings["task"] == MULTILABEL:
            message = (
                "this audit holds several findings; audit one of them for its curves and thresholds: "
                f"wb.audit(predictions, by, positive={self.predictions.classes[0]!r})."
            )
            raise InputError(message)

    @cached_property
    def _design(self) -> Design:
        return design_of(self.predictions, self.settings["by"], self.settings["positive"])

    @cached_property
    def _roster(self) -> Roster:
        return Roster(self._design)

    @cached_property
    def _prepared(self) -> Prepared:
        return prepare(self._design, replicates=self.settings["replicates"], seed=self.settings["seed"])

    @cached_property
    def _moved(self) -> Callable[[float], Estimates]:
        # The dashboard asks for both tables at one threshold after the other.
        return lru_cache(maxsize=1)(self._moved_to)

    def _moved_to(self, threshold: float) -> Estimates:
        """Return the numbers that depend on the threshold, at another one."""
        self._one_class()
        if not 0 <= threshold <= 1:
            message = f"threshold {threshold} lies outside 0–1; scores are probabilities, and so is the threshold."
            raise InputError(message)
        asked = reading_of(self.settings, float(threshold))
        asked = replace(asked, metrics=tuple(metric for metric in asked.metrics if metric.moves))
        # Shares have formulas for their intervals and their gaps; they need no replicates.
        formulas = (
            asked.interval == "auto" and asked.setting.prevalence is None and all(one.share for one in asked.metrics)
        )
        if formulas:
            return counted(self._roster, asked)
        return Estimates(self._roster, asked, self._prepared.measure(asked.metrics, asked.setting))


def _replaced(table: pd.DataFrame, made: pd.DataFrame) -> pd.DataFrame:
    """Return `table` with the rows of the metrics in `made` taken from there, where they stand in the same order."""
    place = table["metric"].isin(made["metric"].unique()).to_numpy()
    moved = made.set_axis(table.index[place])
    return pd.concat([table[~place], moved]).sort_index() if not place.all() else moved


def _number(value: float | None) -> float:
    """JSON knows no NaN."""
    return float("nan") if value is None else value

"""The bias dashboard: move the threshold and see at once whom the model fails."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import anywidget
import pandas as pd
import traitlets

from workbench.errors import InputError, unknown_name
from workbench.widgets.cells import gap_cell, label_of, reference_of, row_of
from workbench.widgets.page import source
from workbench.widgets.scales import of_gaps, of_values
from workbench.widgets.sentences import sentences

if TYPE_CHECKING:
    from workbench.audit.result import Audit
    from workbench.figures.figure import Figure

SHOWN = ("values", "gaps")


def dashboard(audit: Audit) -> Dashboard:
    """Show an audit as an instrument: threshold, subgroup table, ROC curves and forest plot, all in step.

    Parameters
    ----------
    audit : what to show; its ``at(threshold)`` does the arithmetic.

    Returns
    -------
    Dashboard
        A widget; its `threshold`, `by`, `metric`, `show` and `selected` can be read and set.

    Raises
    ------
    InputError : where the audit is not of two classes.

    Examples
    --------
    >>> board = audit.dashboard()  # doctest: +SKIP
    >>> board.threshold = 0.3  # doctest: +SKIP
    """
    if audit.settings["task"] != "binary":
        message = (
            f"the dashboard moves the threshold of two classes, and this is a {audit.settings['task']} audit; of several "
            "classes or findings audit one with positive=…."
        )
        raise InputError(message)
    return Dashboard(audit)


class Dashboard(anywidget.AnyWidget):
    """The widget that :func:`dashboard` makes.

    Its state is `threshold` (0–1), `by` (a partition of the audit), `metric`, `show` (``"values"`` or ``"gaps"``) and
    `selected` (a group, or empty); mouse, keyboard and Python set the same five.
    """

    _esm = source("elements.js", "dashboard.js")
    _css = source("dashboard.css")

    threshold = traitlets.Float(0.5, help="Images with this score or more are called positive; 0–1.").tag(sync=True)
    by = traitlets.Unicode(help="The attribute or intersection whose groups are compared.").tag(sync=True)
    metric = traitlets.Unicode(help="The metric of the sentences and of the forest plot.").tag(sync=True)
    show = traitlets.Unicode("values", help="Whether forest plot and table show values or gaps.").tag(sync=True)
    selected = traitlets.Unicode(help="The group that stands out; empty for none.").tag(sync=True)
    about = traitlets.Dict(help="What never changes: names, choices, warnings.").tag(sync=True)
    curves = traitlets.Dict(help="ROC curves of the groups shown.").tag(sync=True)
    view = traitlets.Dict(help="The table's rows at the threshold, ready to be shown.").tag(sync=True)
    words = traitlets.List(traitlets.Unicode(), help="The finding in words.").tag(sync=True)

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self._table, self._gaps = audit.table, audit.gaps
        self._partitions = [name for name in audit.table["by"].unique() if name]
        self._metrics = list(audit.table["metric"].unique())
        self._scales = {name: of_gaps(audit.gaps[audit.gaps["metric"] == name]) for name in self._metrics}
        super().__init__(
            threshold=float(audit.settings["threshold"]),
            by=next(iter(self._partitions), ""),
            metric="sensitivity" if "sensitivity" in self._metrics else self._metrics[0],
            about=_about(audit, self._partitions, self._metrics),
        )
        self._show_curves()
        self._show_table()
        self.observe(self._at_threshold, names="threshold")
        self.observe(self._by_partition, names="by")
        self.observe(self._say, names=["metric", "selected"])

    def __repr__(self) -> str:
        return f"Dashboard(threshold={self.threshold:g}, by={self.by!r}, metric={self.metric!r})"

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Add a picture to the widget: what a notebook shows where no kernel and no widget is, as on a forge."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, "image/png": base64.b64encode(_picture(self.audit, self.by, self.metric)).decode()}, metadata

    @traitlets.validate("threshold")
    def _in_range(self, proposal: Any) -> float:
        if not 0 <= proposal["value"] <= 1:
            message = (
                f"threshold {proposal['value']} lies outside 0–1; scores are probabilities, and so is the threshold."
            )
            raise InputError(message)
        return float(proposal["value"])

    @traitlets.validate("by")
    def _known_partition(self, proposal: Any) -> str:
        return _known("by: partition", proposal["value"], self._partitions or [""])

    @traitlets.validate("metric")
    def _known_metric(self, proposal: Any) -> str:
        return _known("metric", proposal["value"], self._metrics)

    @traitlets.validate("show")
    def _known_view(self, proposal: Any) -> str:
        return _known("show", proposal["value"], list(SHOWN) if self._partitions else ["values"])

    @traitlets.validate("selected")
    def _known_group(self, proposal: Any) -> str:
        return _known("selected: group", proposal["value"], ["", *self.audit.table["group"].unique()])

    def _at_threshold(self, change: Any) -> None:
        try:
            if change["new"] == self.audit.settings["threshold"]:
                # The audit's own tables: groups may have thresholds of their own there.
                self._table, self._gaps = self.audit.table, self.audit.gaps
            else:
                self._table, self._gaps = self.audit.at(change["new"]), self.audit.gaps_at(change["new"])
        except InputError as error:
            self.view = {**self.view, "threshold": change["new"], "error": str(error)}
            return
        self._show_table()

    def _by_partition(self, change: Any) -> None:
        with self.hold_sync():
            if self.selected and self.selected not in set(_rows_of(self._table, change["new"])["group"]):
                self.selected = ""
            self._show_curves()
            self._show_table()

    def _show_table(self) -> None:
        with self.hold_sync():
            groups: dict[str, list[dict[Any, Any]]] = {}
            for row in _rows_of(self._table, self.by).to_dict("records"):
                groups.setdefault(row["group"], []).append(row)
            gaps = _rows_of(self._gaps, self.by)
            self._scales = {name: of_gaps(gaps[gaps["metric"] == name], scale) for name, scale in self._scales.items()}
            found: dict[str, list[dict[Any, Any]]] = {}
            for row in gaps.to_dict("records"):
                found.setdefault(row["group"], []).append(row)
            shown = [
                row_of(group, rows, self.by)
                | {"place": place, "gaps": {row["metric"]: gap_cell(row) for row in found.get(group, [])}}
                for place, (group, rows) in enumerate(groups.items())
            ]
            self.view = {
                "threshold": self.threshold, "by": self.by, "rows": shown, "scales": self._scales, "error": "",
                "reference": reference_of(gaps),
            }  # fmt: skip
            self._say()

    def _show_curves(self) -> None:
        points = pd.concat([self.audit.curves(""), *([self.audit.curves(self.by)] if self.by else [])])
        # A group whose AUROC is refused has no curve; the others keep their place, and with it colour and mark.
        rows = _rows_of(self.audit.table[self.audit.table["metric"] == self._metrics[0]], self.by)
        places = {group: place for place, group in enumerate(rows["group"])}
        few = set(self.audit.table.loc[self.audit.table["note"] != "", "group"])
        groups = [
            {
                "group": group,
                "label": label_of(str(group), self.by),
                "place": places[group],
                "few": group in few,
                "fpr": part["fpr"].round(5).tolist(),
                "tpr": part["tpr"].round(5).tolist(),
                # JSON knows no infinity; a curve starts where nothing is called positive.
                "threshold": [None if math.isinf(value) else value for value in part["threshold"].tolist()],
            }
            for group, part in points.groupby("group", sort=False)
        ]
        self.curves = {"by": self.by, "groups": groups}

    def _say(self, _: Any = None) -> None:
        self.words = sentences(
            self._table, self._gaps, self.metric, by=self.by, threshold=self.threshold,
            positive=str(self.audit.settings["positive"]), selected=self.selected,
        )  # fmt: skip


def _about(audit: Audit, partitions: list[str], metrics: list[str]) -> dict[str, Any]:
    positive, level = audit.settings["positive"], f"{100 * audit.settings['level']:g}\u00a0%"
    overall = audit.table[audit.table["group"] == "all"].iloc[0]
    meaning = f"A score of at least this is called {positive}."
    if audit.settings.get("thresholds"):
        meaning = (
            f"The audit called images {positive} at each group's own threshold; moving the slider sets one for all."
        )
    scales = {name: of_values(audit.table[audit.table["metric"] == name], name) for name in metrics}
    return {
        "threshold": float(audit.settings["threshold"]),
        "partitions": partitions,
        "metrics": [{"name": name, "title": _capital(name), **scales[name]} for name in metrics],
        "warnings": list(audit.warnings),
        "facts": f"{overall['n']:,} images of {overall['patients']:,} patients, {overall['positives']:,} labelled {positive}",
        "meaning": meaning,
        "level": f"{level} intervals",
        "bands": bool(audit.table["band_low"].notna().any()),
    }


def _rows_of(table: pd.DataFrame, by: str) -> pd.DataFrame:
    return table[(table["by"] == "") | (table["by"] == by)]


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _known(kind: str, given: str, known: list[str]) -> str:
    if given not in known:
        raise unknown_name(kind, given, [name for name in known if name])
    return given


def _picture(audit: Audit, by: str, metric: str) -> bytes:
    """Draw the forest plot of the groups shown, at the audit's own threshold, as PNG."""
    from workbench.figures.forest_plot import forest

    shown = replace(audit, table=_rows_of(audit.table, by), gaps=_rows_of(audit.gaps, by))
    stream = io.BytesIO()
    cast("Figure", forest(shown, metric=metric, which="values")).savefig(stream, format="png", dpi=110)
    return stream.getvalue()

"""Trust: what speaks for and against a set of heat maps, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from workbench.errors import unknown_name
from workbench.provenance import Provenance
from workbench.storage import read_json, reading, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Verdict:
    """One question about the maps, answered.

    Parameters
    ----------
    method : whose maps.
    question : ``"depends on the model"``, ``"finds what the score rests on"``, …
    answer : ``"yes"``, ``"no"`` or ``"cannot tell"``.
    sentence : the answer in words, with the numbers and their intervals.
    """

    method: str
    question: str
    answer: str
    sentence: str


@dataclass(frozen=True, eq=False, repr=False)
class Trust:
    """The evidence for and against heat maps, in sum, by group and an image; made by :func:`workbench.explain.trust`.

    Parameters
    ----------
    table : one row a method, measure and group: ``method, part, measure, by, group, value, low, high, n, patients,
        control, baseline, gain, gain_low, gain_high, p, better, note``. `baseline` is what the control reaches on the same images,
        `gain` the mean difference to it; group ``all`` is everybody.
    gaps : each group against the rest: ``method, part, measure, by, group, gap, low, high, p, low_together,
        high_together, p_adjusted, n, patients, better, note``; the columns ``…_together`` and ``p_adjusted`` hold for
        all rows of the method at once.
    images : one row a method and image: ``method``, ``flag`` and a column a measure and baseline.
    verdicts : plain answers.
    says : what each measure is, by name.
    left_out : one row a method, measure and reason: how many images have no value, and why.
    curves : frames for figures by name: ``"cascade"``, ``"deletion and insertion"``, ``"ROAD"``, each with a column
        ``method``.
    agreement : rank correlation between methods, where several were given; else empty.
    settings : what was chosen.
    provenance : which attributions of which model.
    """

    table: pd.DataFrame
    gaps: pd.DataFrame
    images: pd.DataFrame
    verdicts: tuple[Verdict, ...]
    says: Mapping[str, str]
    left_out: pd.DataFrame
    curves: Mapping[str, pd.DataFrame]
    agreement: pd.DataFrame
    settings: Mapping[str, Any]
    provenance: Provenance = field(repr=False)

    @property
    def methods(self) -> list[str]:
        """The methods judged, in the order given."""
        return list(dict.fromkeys(self.table["method"]))

    def to_frame(self) -> pd.DataFrame:
        """Return a copy of `table`."""
        return self.table.copy()

    def verdict(self, question: str, method: str | None = None) -> Verdict:
        """Return the answer to one question, of the only or the named method.

        Raises
        ------
        InputError : where the question was not asked.
        """
        for one in self.verdicts:
            if one.question == question and method in (None, one.method):
                return one
        raise unknown_name("question", question, dict.fromkeys(one.question for one in self.verdicts))

    def save(self, folder: str | Path) -> Path:
        """Write the tables (Parquet), verdicts and settings (JSON) to `folder`."""
        with writing(folder, "Trust") as scratch:
            for name in TABLES:
                getattr(self, name).to_parquet(scratch / f"{name}.parquet")
            for name, curve in self.curves.items():
                curve.to_parquet(scratch / f"curve-{name}.parquet")
            record = {"verdicts": [vars(one) for one in self.verdicts], "says": dict(self.says)}
            record |= {"settings": self.settings, "curves": list(self.curves)}
            write_json(scratch / "trust.json", record)
            self.provenance.save(scratch)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote, after checking every byte."""
        path = reading(folder, "Trust")
        record = read_json(path / "trust.json")
        return cls(
            **{name: pd.read_parquet(path / f"{name}.parquet") for name in TABLES},
            verdicts=tuple(Verdict(**one) for one in record["verdicts"]), says=record["says"],
            curves={name: pd.read_parquet(path / f"curve-{name}.parquet") for name in record["curves"]},
            settings=record["settings"], provenance=Provenance.load(path),
        )  # fmt: skip

    def __repr__(self) -> str:
        answers = "; ".join(f"{one.method} {one.question}: {one.answer}" for one in self.verdicts)
        return f"<Trust: {self.images.index.nunique()} images by {', '.join(self.methods)}. {answers}>"

    def _repr_html_(self) -> str:
        from workbench.explain.quality.picture import trust_html

        return trust_html(self)


TABLES = ("table", "gaps", "images", "left_out", "agreement")

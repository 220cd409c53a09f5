"""The images of a question in an order of their own, with their embeddings beside them, and the form of its answer."""

from __future__ import annotations

import numbers
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd

from workbench.audit.finding import Finding
from workbench.errors import EvidenceWarning, InputError, unknown_name
from workbench.predictions import SCORE
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Images(Protocol):
    """Predictions or a cohort: images of patients with labels and attributes."""

    @property
    def table(self) -> pd.DataFrame:
        """One row an image."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Values of the label, in order."""

    @property
    def attributes(self) -> tuple[str, ...]:
        """Columns of `table` to break results down by."""

    @property
    def provenance(self) -> Provenance:
        """Where they came from."""

    def __len__(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Cases:
    """Images sorted by patient, label and scores, so that no result depends on the order of rows.

    Parameters
    ----------
    table : as of the images they were made of.
    attributes, classes : the same.
    vectors : embeddings in the order of `table`, float64 ``(n, D)``; None where none were given.
    """

    table: pd.DataFrame
    attributes: tuple[str, ...]
    classes: tuple[str, ...]
    vectors: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.table)

    @property
    def patients(self) -> np.ndarray:
        """Each image's patient as a number without gaps, int64 ``(n,)``, rising."""
        return np.unique(self.table["patient"].astype(str).to_numpy(), return_inverse=True)[1].astype(np.int64)

    def where(self, rows: np.ndarray) -> Cases:
        """Return the rows where `rows` is true."""
        vectors = None if self.vectors is None else self.vectors[rows]
        return Cases(self.table[rows], self.attributes, self.classes, vectors)


def cases_of(images: Images, embeddings: np.ndarray | pd.DataFrame | None = None) -> Cases:
    """Sort images, and put their embeddings beside them.

    Parameters
    ----------
    images : `Predictions` or a `Cohort`.
    embeddings : ``(n, D)``, a row an image in the order of ``images.table``; or a DataFrame whose index holds the ids.

    Raises
    ------
    InputError : where an image has no embedding, or one is not finite; its id is named.
    """
    if not (hasattr(images, "table") and hasattr(images, "attributes") and hasattr(images, "classes")):
        message = (
            f"a {type(images).__name__} was given where Predictions (or a Cohort) belong; make them of a table of scores with "
            "wb.Predictions.from_table(table, label=…, score=…, patient=…)."
        )
        raise InputError(message)
    table = images.table
    vectors = None if embeddings is None else _vectors(embeddings, table.index)
    scores = [name for name in table.columns if str(name).startswith(SCORE)]
    keys = table.reset_index(names="id").astype({"patient": str, "label": str, "id": str})
    order = keys.sort_values(["patient", "label", *scores, "id"], kind="stable").index.to_numpy()
    return Cases(
        table.iloc[order], tuple(images.attributes), tuple(images.classes), None if vectors is None else vectors[order]
    )


def known_attribute(cases: Cases, name: str) -> pd.Series:
    """Return the column of an attribute, or say which there are."""
    if name not in cases.attributes:
        raise unknown_name("attribute", name, cases.attributes)
    return cases.table[name]


def positive_class(cases: Cases, positive: str | None) -> str:
    """Return the class held against all others: the last of two, or the one that was named."""
    if positive is not None:
        if str(positive) not in cases.classes:
            raise unknown_name("positive: class", positive, cases.classes)
        return str(positive)
    if len(cases.classes) > 2:
        message = (
            f"there are {len(cases.classes)} classes ({', '.join(cases.classes)}): say which one is held against all "
            f"others, positive={cases.classes[-1]!r}."
        )
        raise InputError(message)
    return cases.classes[-1]


def checked(name: str, value: Any, low: float, high: float, usual: str) -> float:
    """Refuse a setting outside its range."""
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        message = f"{name} is {value!r}, outside {low:g}–{high:g}; {usual}."
        raise InputError(message)
    return float(value)


def found(
    kind: str, title: str, table: pd.DataFrame, *, tables: Mapping[str, pd.DataFrame], sentences: Sequence[str],
    methods: Sequence[str], cautions: Sequence[str], settings: Mapping[str, Any], parents: Mapping[str, Provenance],
    seed: int | None = None,
) -> Finding:  # fmt: skip
    """Put an answer together, and warn of what speaks against it; called by the verb itself."""
    cautions = tuple(sentence for sentence in cautions if sentence)
    provenance = Provenance(f"audit.{kind}", settings, digest(table, *tables.values()), dict(parents), seed=seed)
    result = Finding(
        kind,
        title,
        table,
        dict(tables),
        tuple(sentences),
        tuple(methods),
        cautions,
        dict(provenance.settings),
        provenance,
    )
    if cautions:
        warnings.warn(" ".join(cautions), EvidenceWarning, stacklevel=3)
    return result


def embedding_digest(vectors: np.ndarray | None) -> str | None:
    """Return the content hash of embeddings for a record of settings."""
    return None if vectors is None else digest(vectors)


def _vectors(embeddings: np.ndarray | pd.DataFrame, ids: pd.Index) -> np.ndarray:
    if isinstance(embeddings, pd.DataFrame):
        index = embeddings.index.astype(str)
        absent = ids.astype(str).difference(index)
        if len(absent):
            message = (
                f"{len(absent)} of {len(ids)} images have no embedding, {absent[0]!r} for one; the index of the embeddings "
                "must hold the ids of the images."
            )
            raise InputError(message)
        if index.has_duplicates:
            message = f"the embeddings have two rows for id {index[index.duplicated()][0]!r}; ids must be unique."
            raise InputError(message)
        embeddings = embeddings.set_axis(index).loc[ids.astype(str)].to_numpy()
    vectors = np.asarray(embeddings, dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(ids) or vectors.shape[1] == 0:
        message = (
            f"embeddings of shape {vectors.shape} do not fit {len(ids)} images; give one row an image, ({len(ids)}, D), in "
            "the order of the table, or a DataFrame with the ids as index."
        )
        raise InputError(message)
    broken = np.argwhere(~np.isfinite(vectors))
    if len(broken):
        row, column = broken[0]
        rows = len(np.unique(broken[:, 0]))
        message = (
            f"the embedding of image {ids[row]!r} is {vectors[row, column]} in column {column} ({rows} image(s) have such): "
            "embed it again, or leave the image out."
        )
        raise InputError(message)
    return vectors

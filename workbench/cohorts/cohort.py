"""The cohort: a table with one row an image, where its pixels are, and what is known of its origin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from workbench.cohorts.check import check_cohort
from workbench.cohorts.pixels import Pixels, load_pixels, save_pixels
from workbench.errors import InputError, unknown_name
from workbench.provenance import Provenance, digest
from workbench.storage import read_json, reading, write_json, writing


@dataclass(frozen=True, eq=False)
class Cohort:
    """Images of patients with their labels and attributes.

    Make one with :func:`workbench.load`, :meth:`from_table`, :meth:`from_folder` or :meth:`from_arrays`.

    Parameters
    ----------
    table : one row an image. The index, named ``id``, holds unique text; the columns ``patient`` (text) and
        ``label`` (one of `classes`) are always there, `attributes` and others may follow.
    classes : the label's values in order; in a two-class task the last is the positive one.
    attributes : columns by which results may be broken down (sex, age, site, …); missing values stay missing.
    pixels : the image of each id.
    masks : regions of interest by name (``"lesion"``, ``"breast"``, ``"marker"``), for all ids or for some.
    card : what is known of the data: ``name``, ``description``, ``origin``, ``licence``, ``consent``, and for a
        phantom ``truth`` (the knobs that were set, ``ideal_auroc``). JSON types only.
    provenance : how the cohort came about; made here where none is given.

    Raises
    ------
    InputError : where the table does not fit the above; the message names the row and the mend.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]
    attributes: tuple[str, ...]
    pixels: Pixels
    masks: Mapping[str, Pixels] = field(default_factory=dict)
    card: Mapping[str, Any] = field(default_factory=dict)
    provenance: Provenance = None  # type: ignore[assignment]  # filled in below

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "attributes", tuple(self.attributes))
        check_cohort(self)
        if self.provenance is None:
            object.__setattr__(self, "provenance", Provenance("Cohort", {"images": len(self)}, self.content_digest()))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def ids(self) -> list[str]:
        """Image ids in table order."""
        return list(self.table.index)

    @property
    def labels(self) -> np.ndarray:
        """Each image's label as an index into `classes`, int64 ``(n,)``."""
        return pd.Categorical(self.table["label"], categories=self.classes).codes.astype(np.int64)

    @property
    def patients(self) -> np.ndarray:
        """Each image's patient, ``(n,)`` of text."""
        return self.table["patient"].to_numpy()

    @property
    def name(self) -> str:
        """The card's name, or ``"cohort"``."""
        return str(self.card.get("name", "cohort"))

    def image(self, image_id: str) -> np.ndarray:
        """Return one image as stored: ``(C, *spatial)`` in its own dtype."""
        self._known(image_id)
        return self.pixels.read(image_id)

    def images(self, ids: Iterable[str] | None = None) -> np.ndarray:
        """Return images as one array ``(n, C, *spatial)``, by default all, in table order.

        Raises
        ------
        InputError : where an id is unknown, or the images differ in shape (a `Preprocessing` makes them alike).
        """
        wanted = self.ids if ids is None else list(ids)
        images = [self.image(image_id) for image_id in wanted]
        for image_id, image in zip(wanted, images, strict=True):
            if image.shape != images[0].shape:
                message = (
                    f"image {image_id!r} has shape {image.shape} and {wanted[0]!r} has {images[0].shape}: they do not fit "
                    "one array. Read them one by one with cohort.image(id), or bring them to one shape with "
                    "wb.Preprocessing(shape=…)."
                )
                raise InputError(message)
        return np.stack(images) if images else np.empty((0,))

    def mask(self, image_id: str, name: str | None = None) -> np.ndarray | None:
        """Return the mask `name` (default: the first) of one image, bool ``(*spatial)``; None where none is known."""
        self._known(image_id)
        if name is None:
            name = next(iter(self.masks), None)
        if name not in self.masks:
            raise unknown_name("mask", name, self.masks)
        source = self.masks[name]
        return source.read(image_id)[0] > 0 if source.has(image_id) else None

    def subset(self, ids: Iterable[str], *, verb: str = "subset", **settings: Any) -> Self:
        """Return the cohort of these ids, in this order; `verb` and `settings` say in its provenance how they were chosen."""
        wanted = list(ids)
        for image_id in wanted:
            self._known(image_id)
        part = self._replace(table=self.table.loc[wanted])
        provenance = Provenance(
            verb, {"images": len(wanted), **settings}, digest(self.provenance.content, wanted), {"cohort": self.provenance},
            seed=settings.get("seed"),
        )  # fmt: skip
        object.__setattr__(part, "provenance", provenance)
        return part

    def where(self, condition: str) -> Self:
        """Return the images whose row meets `condition`, in pandas' query language: ``cohort.where("site == 'North'")``."""
        try:
            chosen = self.table.query(condition)
        except Exception as error:
            message = f"condition {condition!r} cannot be asked of the columns {', '.join(self.table.columns)}: {error}"
            raise InputError(message) from error
        return self.subset(chosen.index, verb="where", condition=condition)

    def content_digest(self) -> str:
        """SHA-256 of the table, the classes, the images and the masks."""
        masks = {name: source.digest() for name, source in self.masks.items()}
        return digest(self.table, self.classes, self.attributes, self.pixels.digest(), masks)

    def save(self, folder: str | Path) -> Path:
        """Write the cohort to `folder`: ``table.parquet``, ``card.yaml``, pixels (arrays) or their paths (files)."""
        import yaml

        with writing(folder, "Cohort") as scratch:
            self.table.to_parquet(scratch / "table.parquet")
            card = yaml.safe_dump(dict(self.card), allow_unicode=True, sort_keys=False)
            (scratch / "card.yaml").write_text(card, encoding="utf-8")
            save_pixels(self.pixels, scratch, "image")
            for name, source in self.masks.items():
                save_pixels(source, scratch, f"mask-{name}")
            record = {"classes": self.classes, "attributes": self.attributes, "masks": list(self.masks)}
            write_json(scratch / "cohort.json", record)
            self.provenance.save(scratch)
        return Path(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote, after checking every byte; pixels are memory-mapped."""
        import yaml

        path = reading(folder, "Cohort")
        record = read_json(path / "cohort.json")
        return cls(
            table=pd.read_parquet(path / "table.parquet"),
            classes=record["classes"],
            attributes=record["attributes"],
            pixels=load_pixels(path, "image"),
            masks={name: load_pixels(path, f"mask-{name}") for name in record["masks"]},
            card=yaml.safe_load((path / "card.yaml").read_text(encoding="utf-8")) or {},
            provenance=Provenance.load(path),
        )

    def _known(self, image_id: str) -> None:
        if image_id not in self.table.index:
            raise unknown_name("image id", image_id, self.ids[:5])

    def _replace(self, table: pd.DataFrame) -> Self:
        ids = list(table.index)
        masks = {name: source.subset(ids) for name, source in self.masks.items()}
        return type(self)(
            table, self.classes, self.attributes, self.pixels.subset(ids), masks, self.card, self.provenance
        )

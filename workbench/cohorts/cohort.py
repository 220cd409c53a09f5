"""The cohort: a table with one row an image, where its pixels are, and what is known of its origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from workbench.cohorts.check import check_cohort
from workbench.cohorts.pixels import Pixels, load_pixels, save_pixels
from workbench.errors import InputError, unknown_name
from workbench.provenance import Provenance, digest
from workbench.storage import read_json, reading, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


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
        # Copy-on-write: no value is copied, and what the caller does to the table later stays with the caller.
        object.__setattr__(self, "table", self.table.copy(deep=False))
        check_cohort(self)
        given: Provenance | None = self.provenance
        if given is None:
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
            name = next(iter(self.masks), "mask")
        if name not in self.masks:
            raise unknown_name("mask", name, self.masks)
        source = self.masks[name]
        return _inside(source.read(image_id)) if source.has(image_id) else None

    def subset(self, ids: Iterable[str], *, verb: str = "subset", **settings: Any) -> Self:
        """Return the cohort of these ids, in this order; `verb` and `settings` say in its provenance how they were chosen."""
        wanted = list(ids)
        found = self.table.index.get_indexer(pd.Index(wanted, dtype=self.table.index.dtype))
        if (found < 0).any():
            self._known(wanted[int((found < 0).argmax())])
        part = self._replace(table=self.table.iloc[found])
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

    @classmethod
    def from_table(
        cls,
        table: str | Path | pd.DataFrame,
        *,
        image: str | None = None,
        label: str | None = None,
        patient: str | None = None,
        attributes: Sequence[str] | None = None,
        mask: str | Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        id: str | None = None,
        folder: str | Path | None = None,
    ) -> Cohort:
        """Make a cohort from a table with one row an image; every file is hashed for the provenance.

        Parameters
        ----------
        table : ``.csv``, ``.tsv``, ``.xlsx`` or ``.parquet`` file, or a DataFrame.
        image : column with the image files, of any readable kinds, mixed as they come.
        label : column with the class. 0, 1.0 and "1" are read as "0" and "1".
        patient : column with the patient; without one, each image counts as a patient of its own.
        attributes : columns to break results down by; missing values stay missing.
        mask : column, or columns, with mask files; empty cells are images without a mask.
        classes : the classes in order, the positive one last; by default words of absence come first.
        id : column with a unique name for each image; by default the file's name.
        folder : where relative paths count from; by default the table's own folder.

        Columns that are not given are guessed from their names; what was guessed stands in ``card["guessed"]`` and
        in the cohort's picture.

        Raises
        ------
        InputError : where the table cannot be used; the message names file, row, column and mend.
        """
        from workbench.cohorts.from_table import cohort_from_table

        return cohort_from_table(
            table, image=image, label=label, patient=patient, attributes=attributes, mask=mask, classes=classes, id=id,
            folder=folder,
        )  # fmt: skip

    @classmethod
    def from_folder(cls, path: str | Path) -> Cohort:
        """Make a cohort from a folder with one folder a class, or with train, valid and test above them.

        That upper level is kept as column ``split``, for ``cohort.split(column="split")``.
        """
        from workbench.cohorts.from_folder import cohort_from_folder

        return cohort_from_folder(path)

    @classmethod
    def from_arrays(
        cls,
        images: np.ndarray | str | Path,
        labels: Sequence[object] | np.ndarray | None = None,
        *,
        patients: Sequence[object] | np.ndarray | None = None,
        attributes: Mapping[str, Sequence[object]] | pd.DataFrame | None = None,
        masks: Mapping[str, np.ndarray] | np.ndarray | None = None,
        classes: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        channels: bool | None = None,
        split: str | None = None,
    ) -> Cohort:
        """Make a cohort from arrays, or from a MedMNIST ``.npz`` file.

        Parameters
        ----------
        images : ``(n, H, W)``, ``(n, H, W, 3)``, ``(n, D, H, W)`` or ``(n, C, *spatial)``; or the path of an NPZ
            file with ``train_images``, ``train_labels`` and so on, whose parts become column ``split``.
        labels : one an image.
        patients, ids : one an image; without patients, each image counts as a patient of its own.
        attributes : one list an attribute, or a DataFrame, row k of image k.
        masks : ``(n, *spatial)``, or several by name.
        classes : the classes in order, the positive one last.
        channels : True where axis 1 holds channels, False where there is no channel axis; by default an axis of
            length 1 or 3 beside the images' axis, or at the end, is taken for it.
        split : read only ``"train"``, ``"val"`` or ``"test"`` of an NPZ file.
        """
        from workbench.cohorts.from_arrays import cohort_from_arrays

        return cohort_from_arrays(
            images, labels, patients=patients, attributes=attributes, masks=masks, classes=classes, ids=ids,
            channels=channels, split=split,
        )  # fmt: skip

    def split(
        self,
        by: str = "patient",
        *,
        fractions: Sequence[float] = (0.6, 0.2, 0.2),
        seed: int = 0,
        column: str | None = None,
    ) -> tuple[Cohort, Cohort, Cohort]:
        """Return three cohorts (train, tune, test) that share no patient, alike in their classes.

        Parameters
        ----------
        by : ``"patient"``; ``"image"`` only where no patient has two images.
        fractions : shares of the patients in train, tune and test.
        seed : the same seed gives the same parts, in whatever order the rows stand.
        column : use this column's assignment (train; tune, valid or val; test) instead of drawing one.

        Raises
        ------
        InputError : where a patient would stand in two parts, or a part would lack a class.
        """
        from workbench.cohorts.split import split_cohort

        return split_cohort(self, by, fractions=fractions, seed=seed, column=column)

    def browse(self) -> Any:
        """Open the cohort browser in JupyterLab."""
        from workbench.widgets.browser import browse

        return browse(self)

    def __repr__(self) -> str:
        from workbench.cohorts.summary import cohort_text

        return cohort_text(self)

    def _repr_html_(self) -> str:
        from workbench.cohorts.summary import cohort_html

        return cohort_html(self)

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


def _inside(mask: np.ndarray) -> np.ndarray:
    """Turn a stored mask ``(C, *spatial)`` into bool; 8-bit grey, as JPEG leaves around every edge, is cut at half."""
    strongest: np.ndarray = mask.max(axis=0)
    grey = mask.dtype == np.uint8 and strongest.max(initial=0) > 127
    return np.asarray(strongest >= 128 if grey else strongest > 0)

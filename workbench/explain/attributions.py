"""Heat maps as a value: one map an image on the model's input grid, signed, on its own scale, with what made it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from workbench.errors import InputError, unknown_name
from workbench.explain.masks import mask_of
from workbench.imaging.preprocess import Preprocessing
from workbench.provenance import Provenance, digest, plain
from workbench.storage import read_array, read_json, reading, write_json, writing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from workbench.cohorts.cohort import Cohort

NO_EVIDENCE = "no evidence"
CONSTANT = "constant"
SATURATED = "saturated"
# Maps looked at together: values from a disk pass through memory in pieces.
PIECE = 256


@dataclass(frozen=True, eq=False)
class Source:
    """What was asked, with the live values themselves: the cohort, the target and the method's settings."""

    cohort: Cohort
    target: Any
    settings: Mapping[str, Any]


@dataclass(frozen=True, eq=False, repr=False)
class Attributions:
    """Where in each image a model found what spoke for (positive) or against (negative) one class.

    Made by :func:`workbench.explain`. Knows nothing of torch: a saved one opens anywhere.

    Parameters
    ----------
    maps : float32 ``(n, *spatial)`` on the grid of the model's *input*, signed, in the method's own unit and never
        rescaled: a map with a thousandth of the evidence has a thousandth of the values.
    ids : the images, in the order of `maps`.
    method : ``"gradcam"``, ``"shap"``, …
    settings : everything that was chosen, the layer found by itself included; plain JSON types.
    targets : int64 ``(n,)``, the class explained, as an index into `classes`.
    classes : the model's classes.
    scores : float32 ``(n,)``, the score explained; see `explained`.
    table : the cohort's rows of these ids (``patient``, ``label``, attributes) and the method's own findings.
    attributes : columns of `table` by which results may be broken down.
    provenance : which model, which cohort; made here where none is given.
    errors : float32, like `maps`: the standard error of each value, for methods that sample; else None.
    preprocessing : the way back from the input's grid to the image's; None where the input is the image's own grid.
    explained : what `scores` are, in words: ``"logit"``, ``"logit of the class less that of healthy"``.
    source : what was asked, in this session: cohort, target and settings, for :func:`workbench.explain.trust` to ask
        again. Not saved.

    Raises
    ------
    InputError : where the parts do not fit each other, or a map holds NaN or infinity.
    """

    maps: np.ndarray
    ids: tuple[str, ...]
    method: str
    settings: Mapping[str, Any]
    targets: np.ndarray
    classes: tuple[str, ...]
    scores: np.ndarray
    table: pd.DataFrame
    attributes: tuple[str, ...] = ()
    provenance: Provenance = None  # type: ignore[assignment]  # filled in below
    errors: np.ndarray | None = None
    preprocessing: Preprocessing | None = None
    explained: str = "logit"
    source: Source | None = None
    lows: np.ndarray = field(init=False)
    """The smallest value of each map, float32 ``(n,)``."""
    highs: np.ndarray = field(init=False)
    """The largest value of each map, float32 ``(n,)``."""
    flags: tuple[str, ...] = field(init=False)
    """Per image: ``""``, ``"no evidence"`` (zero everywhere), ``"constant"`` (one value, not zero, everywhere) or
    ``"saturated"`` (the score is a probability at its limit, which leaves hardly any gradient to explain)."""

    def __post_init__(self) -> None:
        for name in ("maps", "scores", "errors"):
            given = getattr(self, name)
            object.__setattr__(self, name, None if given is None else _read_only(given, np.float32))
        object.__setattr__(self, "targets", _read_only(self.targets, np.int64))
        for name in ("ids", "classes", "attributes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "settings", plain(self.settings))
        _check_parts(self)
        lows, highs = _extremes(self.maps)
        _check_finite(self, lows, highs)
        object.__setattr__(self, "lows", _read_only(lows, np.float32))
        object.__setattr__(self, "highs", _read_only(highs, np.float32))
        object.__setattr__(self, "flags", _flags(self))
        settings = {"method": self.method, "maps": len(self)}
        made = self.provenance or Provenance("Attributions", settings, self.content_digest())
        object.__setattr__(self, "provenance", made)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        grid = " × ".join(map(str, self.maps.shape[1:]))
        flagged = sum(flag != "" for flag in self.flags)
        return f"<Attributions: {len(self)} maps of {grid} by {self.method}, {flagged} flagged>"

    @property
    def signed(self) -> bool:
        """True where some value speaks against its class; then colours should run both ways from zero."""
        return bool((self.lows < 0).any())

    @property
    def target_names(self) -> list[str]:
        """The class explained, image by image."""
        return [self.classes[index] for index in self.targets]

    @property
    def target(self) -> Any:
        """What was asked to be explained, as `wb.explain` takes it."""
        from workbench.explain.target import told_target

        return told_target(self.settings["target"])

    def map(self, image_id: str) -> np.ndarray:
        """Return one map, float32 ``(*spatial)``, on the model's input grid."""
        heat: np.ndarray = self.maps[self.row(image_id)]
        return heat

    def row(self, image_id: str) -> int:
        """Return where an image's map stands among `maps`.

        Raises
        ------
        InputError : where the id is unknown; some that are known are named.
        """
        if image_id not in self.table.index:
            raise unknown_name("image id", image_id, self.ids[:5])
        return int(self.table.index.get_indexer(pd.Index([image_id]))[0])

    def on_image(self, image_id: str, spatial: Sequence[int]) -> np.ndarray:
        """Carry one map to the image's own grid: float32 ``(*spatial)``, resized linearly, padding cut off.

        Raises
        ------
        InputError : where the id is unknown, or the model came with a preprocessing that cannot be undone.
        """
        return self._carried(self.map(image_id), tuple(spatial))

    def share(self, cohort: Cohort, mask: str) -> pd.Series[float]:
        """Return, by id, which part of the attribution's absolute value lies inside a mask, 0–1.

        The map is carried to the mask's grid, so that a mask smaller than a pixel of the input still counts.
        Compare it with the mask's part of the area, which an even map would reach.
        NaN where the share has no meaning: no mask is known, the mask is empty, or the map shows no evidence.

        Parameters
        ----------
        cohort : holds the images of these ids; others in it are ignored.
        mask : the mask's name, e.g. ``"lesion"``.
        """
        shares = {image_id: self._share(mask_of(cohort, image_id, mask), image_id) for image_id in self.ids}
        return pd.Series(shares, name=f"share:{mask}", dtype=np.float64).rename_axis("id")

    def subset(self, ids: Iterable[str]) -> Self:
        """Return the maps of these ids, in this order."""
        wanted = tuple(ids)
        rows = self.table.index.get_indexer(pd.Index(wanted, dtype=self.table.index.dtype))
        if (rows < 0).any():
            self.row(wanted[int((rows < 0).argmax())])
        made = Provenance(
            "subset", {"maps": len(wanted)}, digest(self.provenance.content, wanted), {"attributions": self.provenance}
        )
        return replace(
            self, ids=wanted, maps=self.maps[rows], targets=self.targets[rows], scores=self.scores[rows],
            errors=None if self.errors is None else self.errors[rows], table=self.table.iloc[rows], provenance=made,
        )  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """Return one row an image: method, target, score, label, patient, attributes, smallest and largest value, flag."""
        columns: dict[str, Any] = {"method": self.method, "target": self.target_names, "score": self.scores}
        named = [*(name for name in ("label", "patient") if name in self.table.columns), *self.attributes]
        columns |= {name: self.table[name].to_numpy() for name in named}
        columns |= {"min": self.lows, "max": self.highs, "flag": self.flags}
        found = [name for name in self.table.columns if name.startswith("found:")]
        columns |= {name.removeprefix("found:"): self.table[name].to_numpy() for name in found}
        return pd.DataFrame(columns, index=pd.Index(self.ids, name="id"))

    def content_digest(self) -> str:
        """SHA-256 of the ids, the maps, their errors, the targets and the scores."""
        errors = [] if self.errors is None else [self.errors]
        return digest(list(self.ids), list(self.classes), self.maps, self.targets, self.scores, *errors)

    def save(self, folder: str | Path) -> Path:
        """Write the maps (``maps.npy``, ``errors.npy``), the table and the record to `folder`."""
        with writing(folder, "Attributions") as scratch:
            np.save(scratch / "maps.npy", self.maps, allow_pickle=False)
            if self.errors is not None:
                np.save(scratch / "errors.npy", self.errors, allow_pickle=False)
            self.write_record(scratch)
        return Path(folder)

    def write_record(self, scratch: Path) -> None:
        """Write everything but the arrays: the table, the record and the provenance."""
        table = self.table.assign(**{"found:target": self.targets, "found:score": self.scores})
        table.to_parquet(scratch / "table.parquet")
        recipe = None if self.preprocessing is None else self.preprocessing.to_dict()
        record: dict[str, Any] = {"method": self.method, "settings": self.settings, "classes": self.classes}
        record |= {"attributes": self.attributes, "preprocessing": recipe, "explained": self.explained}
        write_json(scratch / "attributions.json", record)
        self.provenance.save(scratch)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what :meth:`save` wrote, after checking every byte; maps are memory-mapped."""
        path = reading(folder, "Attributions")
        record = read_json(path / "attributions.json")
        table = pd.read_parquet(path / "table.parquet")
        targets, scores = table.pop("found:target"), table.pop("found:score")
        recipe, errors = record.pop("preprocessing"), path / "errors.npy"
        return cls(
            maps=read_array(path / "maps.npy", memory_map=True), ids=tuple(table.index),
            targets=targets.to_numpy(), scores=scores.to_numpy(), table=table,
            errors=read_array(errors, memory_map=True) if errors.is_file() else None,
            preprocessing=None if recipe is None else Preprocessing.from_dict(recipe),
            provenance=Provenance.load(path), **record,
        )  # fmt: skip

    def _repr_html_(self) -> str:
        from workbench.explain.picture import attributions_html

        return attributions_html(self)

    def _carried(self, heat: np.ndarray, spatial: tuple[int, ...]) -> np.ndarray:
        if self.preprocessing is not None:
            return self.preprocessing.to_image(heat, spatial)
        if heat.shape == spatial:
            return heat
        message = (
            f"a map on the input grid {heat.shape} cannot be carried to an image of {spatial}: this model came with its "
            "own preprocessing, which Workbench cannot undo. Wrap the model with a wb.Preprocessing to draw on images."
        )
        raise InputError(message)

    def _share(self, mask: np.ndarray | None, image_id: str) -> float:
        if mask is None or not mask.any():
            return float("nan")
        weight = self._carried(np.abs(self.map(image_id)), mask.shape).astype(np.float64)
        return float(weight[mask].sum() / weight.sum()) if weight.sum() > 0 else float("nan")


def _read_only(values: Any, dtype: type) -> np.ndarray:
    array: np.ndarray = np.asarray(values, dtype=dtype).view()
    array.flags.writeable = False
    return array


def _extremes(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the smallest and largest value of each map; NaN where a map holds one."""
    lows, highs = np.empty(len(maps), np.float32), np.empty(len(maps), np.float32)
    axes = tuple(range(1, maps.ndim))
    for start in range(0, len(maps), PIECE):
        piece = slice(start, start + PIECE)
        lows[piece], highs[piece] = maps[piece].min(axis=axes), maps[piece].max(axis=axes)
    return lows, highs


def _flags(given: Attributions) -> tuple[str, ...]:
    saturated = given.table.get("found:saturated", pd.Series(False, index=given.table.index)).to_numpy(dtype=bool)
    flat, empty = given.lows == given.highs, (given.lows == 0) & (given.highs == 0)
    # A saturated score is why its map is empty, where it is.
    chosen = np.select([saturated, empty, flat], [SATURATED, NO_EVIDENCE, CONSTANT], default="")
    return tuple(chosen.tolist())


def _check_parts(given: Attributions) -> None:
    """Refuse parts that do not fit each other."""
    count = len(given.ids)
    if given.maps.ndim not in {3, 4} or given.maps.size == 0:
        message = f"maps has shape {given.maps.shape}; it must be (n, H, W) or (n, D, H, W) with at least one map."
        raise InputError(message)
    for name in ("maps", "targets", "scores", "table"):
        if len(getattr(given, name)) != count:
            message = f"there are {count} ids and {len(getattr(given, name))} {name}; give one for each id."
            raise InputError(message)
    if len(set(given.ids)) != count or list(given.table.index) != list(given.ids):
        message = "the ids must be unique and be the table's index, in the same order."
        raise InputError(message)
    if given.errors is not None and (
        given.errors.shape != given.maps.shape or not _extremes(given.errors)[0].min() >= 0
    ):
        message = (
            f"errors of shape {given.errors.shape} must have the maps' shape {given.maps.shape} and no value below 0."
        )
        raise InputError(message)
    if not ((given.targets >= 0) & (given.targets < len(given.classes))).all():
        message = f"a target lies outside 0–{len(given.classes) - 1}, the indices of the classes {given.classes}."
        raise InputError(message)


def _check_finite(given: Attributions, lows: np.ndarray, highs: np.ndarray) -> None:
    """Refuse a map or a score that is not finite; a map is where its extremes are."""
    for name, values in (("maps", lows), ("maps", highs), ("scores", given.scores)):
        sound = np.isfinite(values)
        if not sound.all():
            message = f"image {given.ids[int(np.argmin(sound))]!r}: its {name} hold NaN or infinity; explain it again or leave it out."
            raise InputError(message)

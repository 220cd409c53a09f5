"""What is explained: a class, a margin, an output, or a class of a segmentation summed over a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

PREDICTED, TRUE, EACH = "predicted", "true", "each"


@dataclass(frozen=True)
class Margin:
    """The score of one class less that of another: what makes the model say `first` rather than `second`.

    Parameters
    ----------
    first, second : classes by name or index, ``"predicted"`` or ``"true"``. ``Margin("predicted", "true")`` explains
        an error.
    """

    first: str | int
    second: str | int

    def __str__(self) -> str:
        return f"{self.first} rather than {self.second}"


@dataclass(frozen=True)
class Over:
    """A class of a segmentation, its logits summed over a region (Vinogradova et al. 2020, arXiv:2002.11434).

    Parameters
    ----------
    name : the class, by name or index.
    mask : one of the cohort's masks, by name.
    box : two corners in the image's own pixels: ``(top, left, bottom, right)``, or
        ``(first plane, top, left, last plane, bottom, right)`` of a volume; the second corner is not part of it.

    Without mask and box: the pixels that the model itself gives to the class. Where these are none, the sum is empty
    and the map shows no evidence.
    """

    name: str | int
    mask: str | None = None
    box: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.box is not None:
            edges = np.atleast_1d(np.asarray(self.box))
            if edges.dtype.kind not in "iuf" or (edges != np.round(edges)).any():
                message = f"box {self.box!r} must be whole numbers, the first corner, then the second (one past the last pixel)."
                raise InputError(message)
            object.__setattr__(self, "box", tuple(int(edge) for edge in edges.ravel()))

    def __str__(self) -> str:
        return f"{self.name} over {self.region}"

    @property
    def region(self) -> str:
        """The region in words."""
        if self.mask is not None:
            return f"mask {self.mask}"
        return f"box {self.box}" if self.box is not None else "its own prediction"


Target = str | int | Margin | Over
Several = list[Target] | tuple[Target, ...]


def told_target(record: Any) -> Target:
    """Read a target back from the plain JSON that a saved value tells."""
    if isinstance(record, dict):
        return Margin(**record) if "first" in record else Over(**record)
    return record  # type: ignore[no-any-return]


def class_index(target: str | int | np.integer[Any], classes: Sequence[str]) -> int:
    """Return the index of a class given by name or index; a name wins where a class is called like a number."""
    if target in classes:
        return list(classes).index(str(target))
    if isinstance(target, int | np.integer) and not isinstance(target, bool):
        if 0 <= target < len(classes):
            return int(target)
        known = ", ".join(f"{index} ({name})" for index, name in enumerate(classes))
        message = f"target {target} is outside 0–{len(classes) - 1}; the model's classes are {known}."
        raise InputError(message)
    raise unknown_name("target", target, [*classes, PREDICTED, TRUE, EACH])

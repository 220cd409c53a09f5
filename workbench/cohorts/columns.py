"""Which column of somebody's table is which, guessed from its name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# In order of preference; compared without case, blanks and underscores.
IMAGE = (
    "image", "imagepath", "imagefile", "filepath", "path", "file", "filename", "img", "imgpath", "dicom", "dicompath",
    "png", "nifti", "scan", "imageindex", "film",
)  # fmt: skip
LABEL = (
    "label", "labels", "class", "target", "diagnosis", "finding", "findings", "pathology", "findinglabels", "truth",
    "outcome", "abnormality", "cls", "y", "severity", "folderlabel",
)  # fmt: skip
PATIENT = (
    "patient", "patientid", "subject", "subjectid", "participant", "participantid", "pid", "person", "personid", "case",
    "caseid",
)  # fmt: skip
ATTRIBUTES = (
    "sex", "gender", "patientsex", "patientgender", "age", "patientage", "agegroup", "ageband", "site", "hospital",
    "institution", "centre", "center", "ethnicity", "race", "density", "tissue", "view", "viewposition", "projection",
    "laterality", "side", "manufacturer", "vendor", "scanner", "device", "country",
)  # fmt: skip


def find_column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the column whose name is the foremost of `names`, or None."""
    folded = {fold(column): column for column in reversed(columns)}
    return next((folded[name] for name in names if name in folded), None)


def find_columns(columns: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return every column whose name is among `names`, in the table's order."""
    return [column for column in columns if fold(column) in names]


def fold(name: str) -> str:
    """Take case, blanks and signs out of a name: ``"Patient ID"`` and ``patient_id`` are one."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())

"""What a cohort looks like at a glance, as text and as HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.errors import FileError

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort

# Thumbnails in the strip, and values named in an attribute's row, before "and more".
STRIP = 8
VALUES = 6


def cohort_text(cohort: Cohort) -> str:
    """Return a few lines: name, counts, classes, attributes with missing shares, what was guessed."""
    counts = cohort.table["label"].value_counts()
    lines = [
        f"Cohort {cohort.name!r}: {len(cohort):,} images of {cohort.table['patient'].nunique():,} patients",
        "  classes: " + ", ".join(f"{name} {int(counts.get(name, 0)):,}" for name in cohort.classes),
    ]
    if cohort.attributes:
        described = []
        for name in cohort.attributes:
            missing = float(cohort.table[name].isna().mean())
            described.append(f"{name} ({_share(missing)} missing)" if missing else name)
        lines.append("  attributes: " + ", ".join(described))
    if cohort.masks:
        lines.append("  masks: " + ", ".join(cohort.masks))
    lines.extend(f"  guessed: {note}" for note in cohort.card.get("guessed", ()))
    return "\n".join(lines)


def cohort_html(cohort: Cohort) -> str:
    """Return the picture shown in a notebook."""
    from workbench.html import render

    counts = cohort.table["label"].value_counts()
    per_patient = cohort.table["patient"].value_counts(sort=False)
    classes = [(name, int(counts.get(name, 0)), int(counts.get(name, 0)) / len(cohort)) for name in cohort.classes]
    spread = f"{per_patient.min()}–{per_patient.max()}" if per_patient.min() < per_patient.max() else per_patient.min()
    return render(
        "cohort.html",
        name=cohort.name,
        card=cohort.card,
        images=len(cohort),
        patients=len(per_patient),
        per_patient=spread,
        classes=classes,
        strip=_strip(cohort),
        attributes=[_attribute(cohort.table[name]) for name in cohort.attributes],
        masks=[(name, _covered(cohort, name)) for name in cohort.masks],
        guessed=list(cohort.card.get("guessed", ())),
        provenance=cohort.provenance,
    )


def _strip(cohort: Cohort) -> list[tuple[str, str, str | None]]:
    """Choose a few images, evenly over the classes and over each class's rows: id, class, picture or None."""
    from workbench.imaging.compose import thumbnail

    labels = cohort.labels
    rows = [np.flatnonzero(labels == k) for k in range(len(cohort.classes))]
    rows = [found for found in rows if len(found)][:STRIP]
    each = max(1, STRIP // len(rows))
    chosen = [int(r) for found in rows for r in found[np.unique(np.linspace(0, len(found) - 1, each).astype(int))]]
    strip = []
    for row in chosen[:STRIP]:
        image_id = str(cohort.table.index[row])
        try:
            picture = thumbnail(cohort.image(image_id), size=88)
        except FileError:
            # One damaged file must not hide the rest of the cohort; it is shown as unreadable.
            picture = None
        strip.append((image_id, cohort.classes[labels[row]], picture))
    return strip


def _attribute(column: pd.Series[Any]) -> dict[str, Any]:
    missing = float(column.isna().mean())
    known = column.dropna()
    if len(known) and pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        kind = "number"
        low, middle, high = (f"{value:g}" for value in known.quantile([0, 0.5, 1]))
        values = f"{low} to {high}, median {middle}"
    else:
        kind = "categories"
        counts = known.astype(str).value_counts()
        values = ", ".join(f"{value} ({count:,})" for value, count in counts.head(VALUES).items())
        values += f" and {len(counts) - VALUES:,} more" if len(counts) > VALUES else ""
    return {
        "name": str(column.name),
        "kind": kind,
        "values": values or "–",
        "missing": missing,
        "said": _share(missing),
    }


def _covered(cohort: Cohort, name: str) -> int:
    return sum(map(cohort.masks[name].has, cohort.table.index))


def _share(share: float) -> str:
    return "none" if share == 0 else "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"

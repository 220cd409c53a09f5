"""The picture of attributions in a notebook: a strip of maps on one colour scale, with what they explain."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.html import render

if TYPE_CHECKING:
    from workbench.explain.attributions import Attributions

SHOWN = 8
# Characters of a setting; a list of many regions would bury the others.
LONGEST = 80


def attributions_html(attributions: Attributions) -> str:
    """Return the HTML: facts, flags counted, and the first maps coloured on one common scale."""
    from workbench.imaging.compose import heat_limit

    shown = attributions.maps[:SHOWN]
    # One scale for the whole strip: a map with little evidence has to look like one.
    limit = heat_limit(shown) or 1.0
    strip = [_entry(attributions, row, heat, limit) for row, heat in enumerate(shown)]
    flagged = Counter(flag for flag in attributions.flags if flag)
    targets = Counter(attributions.target_names)
    return render(
        "attributions.html", attributions=attributions, strip=strip, flagged=flagged, targets=targets,
        grid=" × ".join(map(str, attributions.maps.shape[1:])), limit=limit,
        settings={name: value for name, value in attributions.settings.items() if name != "caution" and 0 < len(_text(value)) <= LONGEST},
    )  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _entry(attributions: Attributions, row: int, heat: np.ndarray, limit: float) -> dict[str, Any]:
    return {
        "id": attributions.ids[row],
        "target": attributions.target_names[row],
        "score": float(attributions.scores[row]),
        "flag": attributions.flags[row],
        "uri": _coloured(heat, limit, signed=attributions.signed),
    }


def _coloured(heat: np.ndarray, limit: float, *, signed: bool) -> str:
    """Colour a map; of a volume, the slice that holds most of it."""
    from workbench.imaging.compose import colormap, data_uri, png_bytes

    if heat.ndim == 3:
        heat = heat[int(np.abs(heat).sum(axis=(1, 2)).argmax())]
    share = (heat / limit + 1) / 2 if signed else heat / limit
    table = colormap("RdBu_r" if signed else "inferno")
    return data_uri(png_bytes(table[np.clip(np.rint(share * 255), 0, 255).astype(np.uint8)]))

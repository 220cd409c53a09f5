"""The cohort browser: filter by any attribute, search, look at each image and at what is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from workbench.cohorts.facets import facet_counts, facet_filter, facet_table, text_search
from workbench.errors import InputError, unknown_name
from workbench.imaging.compose import png_bytes, to_display, to_rgb
from workbench.widgets.page import facts, source, text, thumbnails
from workbench.widgets.planes import image_plane, mask_plane

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort


def browse(cohort: Cohort) -> CohortBrowser:
    """Open the cohort browser; what is chosen there is in its `selected` (an id) and `filtered` (ids).

    Examples
    --------
    >>> view = cohort.browse()  # doctest: +SKIP
    >>> cohort.subset(view.filtered)  # doctest: +SKIP
    """
    return CohortBrowser(cohort)


class CohortBrowser(anywidget.AnyWidget):
    """The widget that :func:`browse` makes. Counts and choices come from :mod:`workbench.cohorts.facets`."""

    _esm = source("elements.js", "viewer.js", "gallery.js", "browser.js")
    _css = source("theme.css", "browser.css")

    about = traitlets.Dict(help="The cohort's name, size, masks and card.").tag(sync=True)
    rows = traitlets.Dict(help="Columns of the gallery: id and label.").tag(sync=True)
    chosen = traitlets.Dict(help="Values chosen by column.").tag(sync=True)
    search = traitlets.Unicode(help="Words that every shown row must hold.").tag(sync=True)
    counts = traitlets.Dict(help="Images of each value by column, under the other choices.").tag(sync=True)
    selected = traitlets.Unicode(help="Id of the image shown large.").tag(sync=True)
    filtered = traitlets.List(traitlets.Unicode(), help="Ids that meet the choices.").tag(sync=True)
    outline = traitlets.Unicode("", help="Mask whose contour is drawn; empty for none.").tag(sync=True)

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self._facets = facet_table(cohort)
        card = [[str(key), text(value)] for key, value in cohort.card.items() if isinstance(value, str | int | float)]
        super().__init__(
            about={"name": cohort.name, "images": len(cohort), "patients": len(set(cohort.patients)),
                   "masks": list(cohort.masks), "card": card},
            rows={"id": cohort.ids, "label": cohort.table["label"].tolist()},
            selected=cohort.ids[0],
        )  # fmt: skip
        self._choose(None)
        self.observe(self._choose, names=["chosen", "search"])
        self.on_msg(self._answer)

    @traitlets.validate("selected")
    def _check_selected(self, proposal: Any) -> str:
        if proposal["value"] not in self.cohort.table.index:
            raise unknown_name("image id", proposal["value"], self.cohort.ids[:5])
        return str(proposal["value"])

    def _choose(self, _: Any) -> None:
        found = text_search(self.cohort.table, self.search)
        kept = facet_filter(self._facets, self.chosen, found)
        with self.hold_sync():
            self.counts = facet_counts(self._facets, self.chosen, found)
            self.filtered = list(np.asarray(self.cohort.ids, dtype=object)[kept])

    def _answer(self, _: Any, content: dict[str, Any], __: list[bytes]) -> None:
        try:
            if content["ask"] == "thumbnails":
                self.send({"tell": "thumbnails", "pictures": thumbnails(self.cohort, content["ids"])})
            elif content["ask"] == "image":
                record, plane = image_plane(self.cohort.image(content["id"]))
                self.send({**content, "tell": "image", **record, "facts": facts(self.cohort, content["id"])}, [plane])
            elif content["ask"] == "mask":
                mask = self.cohort.mask(content["id"], content["name"])
                planes = [mask_plane(mask)] if mask is not None and mask.any() else []
                self.send({**content, "tell": "mask", "empty": not planes}, planes)
        except InputError as error:
            self.send({**content, "tell": "error", "of": content["ask"], "text": str(error)})

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            # What is left where no kernel lives.
            bundle[0]["image/png"] = png_bytes(to_rgb(to_display(self.cohort.image(self.selected))))
            bundle[0]["text/plain"] = f"<CohortBrowser of {len(self.cohort)} images: {self.selected}>"
        return bundle

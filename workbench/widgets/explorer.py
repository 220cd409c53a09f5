"""The explorer: a gallery of cases, and one case large with what the model saw in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget
import numpy as np
import traitlets

from workbench.errors import InputError, unknown_name
from workbench.imaging.compose import DIVERGING, SEQUENTIAL, colormap, overlay, png_bytes, to_display, to_rgb
from workbench.widgets.page import facts, source, thumbnails
from workbench.widgets.planes import heat_plane, image_plane, mask_plane

if TYPE_CHECKING:
    from workbench.cohorts.cohort import Cohort
    from workbench.explain.attributions import Attributions
    from workbench.models.model import Model
    from workbench.predictions import Predictions


def explore(model: Model, cohort: Cohort, *, method: str = "gradcam", target: str | int | None = None) -> Explorer:
    """Open the explorer: see case by case what the model says, and where it looks.

    Parameters
    ----------
    model : a trained or wrapped model.
    cohort : the images to look at; predicted once, now. Heat maps are computed when a case is opened.
    method : ``"gradcam"`` or ``"shap"``, to begin with.
    target : the class to explain, by name or index; ``"predicted"`` (the default) or ``"true"``.

    Returns
    -------
    Explorer : a widget; its traits (`selected`, `method`, `target`, `opacity`, `center`, `width`, `outline`, …)
        can be set from Python, so that a notebook opens at a finding.

    Raises
    ------
    InputError : where the method, the target or a class is unknown.

    Examples
    --------
    >>> view = wb.explore(model, test, method="shap")  # doctest: +SKIP
    >>> view.selected = "case-0042"  # doctest: +SKIP
    """
    from workbench.explain.methods import find_method
    from workbench.explain.reading import read_targets

    target = "predicted" if target is None else target
    read_targets(target, model, cohort)
    name = model.classes[target] if isinstance(target, int) else target
    return Explorer(model, cohort, method=find_method(method)[0], target=name)


class Explorer(anywidget.AnyWidget):
    """The widget that :func:`explore` makes.

    Planes go to the browser as bytes, once a case and a map; opacity, window and contour are painted there. The
    kernel answers three questions: for thumbnails, for an image, for a map.
    """

    _esm = source("elements.js", "viewer.js", "gallery.js", "explorer.js")
    _css = source("theme.css", "explorer.css")

    cases = traitlets.Dict(help="Columns of the gallery: id, label, predicted, score, outcome.").tag(sync=True)
    choices = traitlets.Dict(help="What can be chosen: methods, targets, outlines, outcomes; colour tables.").tag(
        sync=True
    )
    selected = traitlets.Unicode(help="Id of the case shown large.").tag(sync=True)
    method = traitlets.Unicode("gradcam").tag(sync=True)
    target = traitlets.Unicode("predicted").tag(sync=True)
    outcome = traitlets.Unicode("all", help="Cases the gallery shows.").tag(sync=True)
    order = traitlets.Unicode("cohort", help="'cohort', 'wrong', 'high' or 'low'.").tag(sync=True)
    opacity = traitlets.Float(0.8, min=0, max=1).tag(sync=True)
    center = traitlets.Float(None, allow_none=True, help="Window centre in stored values; None: the image's own.").tag(
        sync=True
    )
    width = traitlets.Float(None, allow_none=True, help="Window width in stored values; None: the image's own.").tag(
        sync=True
    )
    outline = traitlets.Unicode("", help="Mask whose contour is drawn; empty for none.").tag(sync=True)
    slice_index = traitlets.Int(-1, help="Slice of a volume; -1: the middle one.").tag(sync=True)

    def __init__(self, model: Model, cohort: Cohort, *, method: str = "gradcam", target: str = "predicted") -> None:
        from workbench.explain.methods import known_methods
        from workbench.explain.titles import method_title

        self.cohort, self.model = cohort, model
        self.predictions = model.predict(cohort)
        self._maps: dict[tuple[str, str, str], Attributions] = {}
        classes = list(self.predictions.classes)
        choices = {
            "methods": [[name, method_title(name)] for name in known_methods()],
            "targets": ["predicted", "true", *classes], "classes": classes, "masks": list(cohort.masks),
            "colours": {"sequential": colormap(SEQUENTIAL).ravel().tolist(), "diverging": colormap(DIVERGING).ravel().tolist()},
            "name": cohort.name,
        }  # fmt: skip
        super().__init__(
            cases=gallery_columns(self.predictions),
            choices=choices,
            selected=cohort.ids[0],
            method=method,
            target=target,
        )
        self.on_msg(self._answer)

    def map(self, image_id: str, method: str | None = None, target: str | None = None) -> Attributions:
        """Return the heat map of one case, computed once and kept; by default as chosen in the widget."""
        from workbench.explain.attribute import explain
        from workbench.explain.methods import check_settings, find_method

        name, chosen = find_method(method or self.method)[0], target or self.target
        key = (image_id, name, chosen)
        if key not in self._maps:
            # SHAP compares with other images: of one image alone there are none.
            settings: dict[str, Any] = {"background": self.cohort} if "background" in check_settings(name, {}) else {}
            self._maps[key] = explain(self.model, self.cohort.subset([image_id]), name, target=chosen, **settings)
        return self._maps[key]

    def heat(self, image_id: str) -> np.ndarray:
        """Return that map on the image's own grid, float32 ``(*spatial)``."""
        return self.map(image_id).on_image(image_id, self.cohort.image(image_id).shape[1:])

    @traitlets.validate("selected")
    def _check_selected(self, proposal: Any) -> str:
        if proposal["value"] not in self.cohort.table.index:
            raise unknown_name("image id", proposal["value"], self.cohort.ids[:5])
        return str(proposal["value"])

    @traitlets.validate("method", "target", "outline", "outcome")
    def _check_choice(self, proposal: Any) -> str:
        name, given = proposal["trait"].name, proposal["value"]
        known = {
            "method": [method for method, _ in self.choices["methods"]], "target": self.choices["targets"],
            "outline": ["", *self.choices["masks"]], "outcome": ["all", *dict.fromkeys(self.cases["outcome"])],
        }[name] if self.choices else [given]  # fmt: skip
        # Another cohort may have no case of an outcome that a notebook asks for; then the gallery says so.
        if given not in known and not (name == "outcome" and given in OUTCOMES):
            raise unknown_name(name, given, known)
        return str(given)

    def _answer(self, _: Any, content: dict[str, Any], __: list[bytes]) -> None:
        """Answer one question of the browser; what goes wrong is said there, in a sentence."""
        answers = {"thumbnails": self._thumbnails, "image": self._image, "mask": self._mask, "map": self._map}
        try:
            answers[content["ask"]](content)
        except InputError as error:
            self.send({**content, "tell": "error", "of": content["ask"], "text": str(error)})
        except (RuntimeError, MemoryError) as error:
            text = f"{content['ask']} failed: {str(error).splitlines()[0]}"
            self.send({**content, "tell": "error", "of": content["ask"], "text": text})

    def _thumbnails(self, content: dict[str, Any]) -> None:
        self.send({"tell": "thumbnails", "pictures": thumbnails(self.cohort, content["ids"])})

    def _image(self, content: dict[str, Any]) -> None:
        image_id = content["id"]
        record, plane = image_plane(self.cohort.image(image_id))
        row = self.predictions.table.index.get_loc(image_id)
        said = {"scores": self.predictions.scores[row].tolist(), "facts": facts(self.cohort, image_id)}
        self.send({**content, "tell": "image", **record, **said}, [plane])

    def _mask(self, content: dict[str, Any]) -> None:
        mask = self.cohort.mask(content["id"], content["name"])
        planes = [mask_plane(mask)] if mask is not None and mask.any() else []
        self.send({**content, "tell": "mask", "empty": not planes}, planes)

    def _map(self, content: dict[str, Any]) -> None:
        image_id = content["id"]
        found = self.map(image_id, content["method"], content["target"])
        spatial = self.cohort.image(image_id).shape[1:]
        record, plane = heat_plane(found.on_image(image_id, spatial))
        said = {"flag": found.flags[0], "explains": found.target_names[0], "logit": float(found.scores[0])}
        self.send({**content, "tell": "map", **record, **said}, [plane])

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is not None:
            # What is left where no kernel lives: on GitHub, in a PDF, in a mail.
            bundle[0]["image/png"] = self._picture()
            bundle[0]["text/plain"] = f"<Explorer of {len(self.cohort)} images: {self.selected}>"
        return bundle

    def _picture(self) -> bytes:
        image = self.cohort.image(self.selected)
        shown = to_display(image)
        try:
            heat = self.heat(self.selected)
            heat = heat if heat.ndim == 2 else heat[len(heat) // 2]
            return png_bytes(np.hstack([to_rgb(shown), overlay(shown, heat, opacity=self.opacity)]))
        except InputError:
            return png_bytes(to_rgb(shown))


OUTCOMES = ("true positive", "false negative", "false positive", "true negative", "right", "wrong")


def gallery_columns(predictions: Predictions) -> dict[str, list[Any]]:
    """Return what the gallery shows and sorts by, one list a column, in the cohort's order.

    ``outcome`` is, for two classes, true or false positive or negative (the positive is the last class), else right
    or wrong; ``predicted`` is the class of the highest score. ``score`` is that of the positive class, or of the
    predicted one where there are more than two; ``truth_score`` that of the true class.
    """
    scores, labels = predictions.scores, predictions.labels
    best, rows = scores.argmax(axis=1), np.arange(len(labels))
    names = np.asarray(predictions.classes, dtype=object)
    binary = len(names) == 2
    right = best == labels
    if binary:
        outcome = [
            f"{'true' if ok else 'false'} {'positive' if k else 'negative'}" for ok, k in zip(right, best, strict=True)
        ]
    else:
        outcome = ["right" if ok else "wrong" for ok in right]
    score = scores[:, -1] if binary else scores[rows, best]
    return {
        "id": list(predictions.table.index), "label": names[labels].tolist(), "predicted": names[best].tolist(),
        "score": score.round(4).tolist(), "truth_score": scores[rows, labels].round(4).tolist(), "outcome": outcome,
    }  # fmt: skip

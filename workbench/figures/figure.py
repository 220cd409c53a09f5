"""A figure that knows how it was made, and writes it into every file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as MatplotlibFigure

from workbench.errors import InputError
from workbench.figures.embedded import PNG_KEY
from workbench.figures.style import inches, styled
from workbench.provenance import Provenance, digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

# The formats that keep free text which survives being copied and mailed.
FORMATS = ("pdf", "svg", "png")
# Dots per inch that a notebook gets; shown at the smaller one, so that it is crisp on a dense screen.
SCREEN_DPI, SHOWN_DPI = 216, 144


class Figure(MatplotlibFigure):
    """A matplotlib figure of exact width whose :meth:`savefig` puts its provenance inside the file.

    Parameters
    ----------
    width, height : in mm.
    style : the style sheet it was drawn with; also in force whenever it is drawn again.
    provenance : what it shows and how it came about.
    """

    def __init__(self, width: float, height: float, *, style: str, provenance: Provenance, **settings: Any) -> None:
        with styled(style):
            super().__init__(figsize=(inches(width), inches(height)), **settings)
        FigureCanvasAgg(self)
        self.style = style
        self.provenance = provenance

    def savefig(self, fname: Any, **settings: Any) -> None:
        """Write the figure as PDF, SVG or PNG, with its provenance inside; equal figures give equal bytes.

        Parameters
        ----------
        fname : path or binary stream; for a stream give ``format=``.
        settings : as for :meth:`matplotlib.figure.Figure.savefig`.

        Raises
        ------
        InputError : where the format cannot hold provenance.
        """
        metadata = _metadata(_format_of(fname, settings.get("format")), self.provenance)
        settings["metadata"] = {**metadata, **settings.get("metadata", {})}
        with styled(self.style):
            super().savefig(fname, **settings)

    def draw(self, renderer: Any) -> None:
        """Draw with the figure's own style, whatever the settings of the moment."""
        with styled(self.style):
            super().draw(renderer)

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        import io

        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=SCREEN_DPI)
        width, height = self.get_size_inches() * SHOWN_DPI
        return stream.getvalue(), {"width": round(width), "height": round(height)}

    def _ipython_display_(self) -> None:
        """Show itself in a notebook: where pyplot is set up too, its printer would crop the figure and lose the provenance."""
        from IPython.display import publish_display_data

        png, size = self._repr_png_()
        data = {"image/png": png, "text/plain": repr(self)}
        publish_display_data(data, {"image/png": size})  # type: ignore[no-untyped-call]  # IPython's is not typed


def save(drawing: Axes | MatplotlibFigure | SubFigure, path: str | Path, provenance: Provenance) -> Path:
    """Write a figure that you composed yourself, with its provenance inside.

    Parameters
    ----------
    drawing : a figure, or axes that a function of :mod:`workbench.figures` drew into with ``ax=``.
    path : a file ending in ``.pdf``, ``.svg`` or ``.png``.
    provenance : of the value that is shown.

    Returns
    -------
    The path.
    """
    figure = drawing if isinstance(drawing, MatplotlibFigure) else drawing.figure
    whole = figure.canvas.figure
    with mpl.rc_context({"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "workbench"}):
        MatplotlibFigure.savefig(whole, path, metadata=_metadata(_format_of(path, None), provenance))
    return Path(path)


def figure_provenance(verb: str, settings: Mapping[str, Any], parents: Mapping[str, Provenance]) -> Provenance:
    """Return the provenance of a figure: its content is what it was drawn from and the choices made."""
    content = digest(verb, dict(settings), {role: parent.content for role, parent in parents.items()})
    return Provenance(f"figures.{verb}", settings, content, parents)


def _format_of(target: Any, given: str | None) -> str:
    named = isinstance(target, str | Path)
    suffix = (given or (Path(target).suffix.lstrip(".") if named else "") or "png").lower()
    if suffix not in FORMATS:
        message = (
            f"{target if named else 'the figure'}: a {suffix.upper()} file cannot hold the figure's provenance; "
            f"save as {', '.join(FORMATS)} and convert that where a journal asks for another format."
        )
        raise InputError(message)
    return suffix


def _metadata(suffix: str, provenance: Provenance) -> dict[str, str | None]:
    record = provenance.to_json()
    maker = f"Workbench {provenance.versions.get('workbench', '')}".strip()
    if suffix == "png":
        return {PNG_KEY: record, "Software": maker}
    if suffix == "pdf":
        return {
            "Subject": record,
            "Keywords": f"workbench {provenance.content}",
            "Creator": maker,
            "CreationDate": None,
        }
    return {"Description": record, "Creator": maker, "Date": None}

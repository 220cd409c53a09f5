"""How the figures look: style sheets of journals, widths in millimetres, and no trace left in matplotlib's settings."""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.errors import InputError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.text import Text

FOLDER = Path(__file__).parent / "styles"
# Millimetres of one column and of two, as the journals print them.
COLUMNS = {"default": (89.0, 183.0), "nature": (89.0, 183.0), "ieee": (88.9, 181.9)}
FAINT = "0.45"
POINTS_PER_MM = 72 / 25.4


def inches(mm: float) -> float:
    """Turn millimetres, which journals speak, into inches, which matplotlib speaks.

    Examples
    --------
    >>> round(inches(89), 3)
    3.504
    """
    return mm / 25.4


def width_in_mm(width: float | str, style: str) -> float:
    """Return a figure's width in mm from a number, ``"single"`` or ``"double"`` (columns of the style's journal)."""
    _known(style)
    if isinstance(width, str):
        names = {"single": COLUMNS[style][0], "double": COLUMNS[style][1]}
        if width not in names:
            raise unknown_name("width", width, names)
        return names[width]
    if not 30 <= width <= 1000:
        message = f"width {width} is in millimetres and must lie in 30–1000; or give 'single' or 'double'."
        raise InputError(message)
    return float(width)


@contextmanager
def styled(style: str) -> Iterator[None]:
    """Apply a style sheet within a ``with`` block, over matplotlib's defaults, whatever the user has set outside.

    Raises
    ------
    InputError : where there is no such style.
    """
    import matplotlib as mpl
    from matplotlib import rc_params_from_file

    _known(style)
    with mpl.rc_context():
        # The backend is no matter of style, and resetting it would make pyplot choose one.
        keep = {"backend", "backend_fallback", "interactive", "toolbar", "timezone"}
        settings = {name: value for name, value in mpl.rcParamsDefault.items() if name not in keep}
        settings |= rc_params_from_file(FOLDER / f"{style}.mplstyle", use_default_template=False)
        mpl.rcParams.update(settings)
        yield


def font_size(setting: Literal["ytick.labelsize", "legend.fontsize", "axes.labelsize"]) -> float:
    """Return the points of a size in matplotlib's settings, which may be a word: ``font_size("ytick.labelsize")``."""
    import matplotlib as mpl
    from matplotlib.font_manager import FontProperties

    return float(FontProperties(size=mpl.rcParams[setting]).get_size_in_points())


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return how wide a line of text is, in mm, in the font of the settings now in force."""
    import matplotlib as mpl

    return _measured(text, size, "bold" if bold else "normal", tuple(mpl.rcParams["font.sans-serif"]))


@lru_cache(maxsize=10_000)
def _measured(text: str, size: float, weight: str, _: tuple[str, ...]) -> float:
    """Measure with the fonts in force; they are an argument only so that the cache tells them apart."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    font = FontProperties(size=size, weight=weight)
    path = TextPath((0, 0), text.replace("$", r"\$"), prop=font)
    return float(path.get_extents().x1) / POINTS_PER_MM


def elided(text: str, size: float, width: float) -> str:
    """Shorten a line of text to `width` mm, with an ellipsis in the middle where something is left out."""
    if text_width(text, size) <= width:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = text[: (kept + 1) // 2].rstrip() + "…" + text[len(text) - kept // 2 :].lstrip()
        if text_width(short, size) <= width:
            return short
    return "…"


def wrapped(text: str, size: float, width: float) -> list[str]:
    """Break a text between words into lines of at most `width` mm; a word that is too long is shortened."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else ""
        if longer and text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(elided(word, size, width))
    return lines


def plainly(text: Text) -> Text:
    """Make a text artist show ``$`` as it stands: words from data are not mathematics."""
    text.set_parse_math(False)
    return text


def _known(style: str) -> None:
    if style not in COLUMNS:
        raise unknown_name("style", style, COLUMNS)

"""What can go wrong, said so that the reader knows where to look and what to do.

Every message has three parts: where (file, row, column or argument), what is wrong, and the mend.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and the mend."""


class FileError(InputError):
    """A file is missing, damaged, unsafe or of a kind that cannot be read."""


class EvidenceWarning(UserWarning):
    """A number is shown that its sample cannot carry, or a choice was made that the user should know."""


def unknown_name(kind: str, given: object, known: Iterable[str]) -> InputError:
    """Build the error for a misspelt name, offering the nearest right one.

    Parameters
    ----------
    kind : what the name stands for, in the user's words (``"method"``, ``"network"``, ``"column"``).
    given : what the user wrote.
    known : every name that would have been right.

    Examples
    --------
    >>> str(unknown_name("method", "grad-cam", ["gradcam", "shap"]))
    "method 'grad-cam' is unknown; did you mean 'gradcam'? Known: gradcam, shap"
    """
    names = [str(name) for name in known]
    folded = {name.casefold().replace("_", "-"): name for name in names}
    near = difflib.get_close_matches(str(given).casefold().replace("_", "-"), list(folded), n=1, cutoff=0.6)
    hint = f"; did you mean {folded[near[0]]!r}?" if near else "."
    return InputError(f"{kind} {given!r} is unknown{hint} Known: {', '.join(names)}")

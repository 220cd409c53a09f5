"""Numbers that a user sets, checked before any work: what was given, what is allowed, and what it means."""

from __future__ import annotations

import math
from numbers import Integral, Real

from workbench.errors import InputError


def check_whole(name: str, value: object, *, least: int, meaning: str = "") -> None:
    """Refuse a setting that is not a whole number of at least `least`.

    Parameters
    ----------
    name : of the setting, as the user writes it.
    value : what was given.
    least : smallest number allowed.
    meaning : what the number is, or what else is allowed; ends the message.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        message = f"{name} {value!r} must be a whole number of at least {least}{meaning and '; ' + meaning}."
        raise InputError(message)


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float = math.inf,
    meaning: str,
) -> None:
    """Refuse a setting that is not a finite number within its bounds.

    Parameters
    ----------
    name, value : as in :func:`check_whole`.
    above, least : the lower bound, not allowed itself or allowed; one of them.
    below : the upper bound, not allowed itself.
    meaning : what the number is, with an example; ends the message.
    """
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    enough = number > above if above is not None else number >= (least or 0)
    if not (enough and number < below):
        lower = f"above {above:g}" if above is not None else f"of at least {least or 0:g}"
        upper = f" and below {below:g}" if below < math.inf else ""
        message = f"{name} {value!r} must be a number {lower}{upper}; {meaning}."
        raise InputError(message)

"""Means, gaps and paired differences of numbers per image, where the images of a patient are not independent.

Everything rests on one matrix: how much each patient pulls each quantity away from its estimate. The spread of these
pulls is the cluster-robust variance, with the small-sample correction (CR2) and the degrees of freedom that hold with
few patients; their correlation says which quantities err together (see :mod:`workbench.comparisons`).

References
----------
Bell & McCaffrey 2002, Survey Methodology 28:169 (CR2); Imbens & Kolesár 2016, Rev Econ Stat 98:701 (degrees of freedom);
Korn & Graubard 1998, Survey Methodology 24:193 and Dean & Pagano 2015, J Surv Stat Methodol 3:484 (proportions);
Newcombe 1998, Stat Med 17:873 and Zou & Donner 2008, Stat Med 27:1693 (differences of proportions).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from workbench.errors import InputError
from workbench.influence import ROUNDING, Side, correlation, freedom, influence, side
from workbench.intervals import normal_quantile, wilson

if TYPE_CHECKING:
    from collections.abc import Sequence

# With fewer patients every interval is wide and its coverage doubtful.
ENOUGH = 20
# Square-and-add with fewer patients a side calls differences where there are none: all of two against none of two
# others would have p = 0.03, and happens one time in eight.
FEWEST = 5
# Two-sided normal quantile of p = 1e-15, where bisection for a p-value ends.
FARTHEST = 8.0


@dataclass(frozen=True, eq=False)
class Estimates:
    """K quantities of the same patients, with what makes their intervals.

    Made by :func:`means`, :func:`gaps` or :func:`paired`; :func:`joined` puts several into one family.

    Parameters
    ----------
    values : float64 ``(K,)``; NaN without images.
    errors : cluster-robust standard errors (CR2), ``(K,)``; NaN below two patients on a side.
    freedom : degrees of freedom of the t interval, ``(K,)``.
    images, patients : int64 ``(K,)``, how many carry the quantity; of a gap, those of its first side.
    fewest : int64 ``(K,)``, patients of the side that has fewer.
    influence : ``(G, K)``, each patient's pull; the square root of its columns' sums of squares is `errors`.
    proportion : bool ``(K,)``, made of zeros and ones: Wilson's interval.
    shares, variances, kish, freedoms, counts : ``(2, K)``, of the first and the second side: mean, CR2 variance, effective
        images if a patient's images all told the same, degrees of freedom, images. NaN where there is no second side.
    correlation : ``(K,)``, of the errors of the two sides.
    notes : what speaks against the number, or nothing.
    """

    values: np.ndarray
    errors: np.ndarray
    freedom: np.ndarray
    images: np.ndarray
    patients: np.ndarray
    fewest: np.ndarray
    influence: np.ndarray
    proportion: np.ndarray
    shares: np.ndarray
    variances: np.ndarray
    kish: np.ndarray
    freedoms: np.ndarray
    counts: np.ndarray
    correlation: np.ndarray
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def contrasts(self) -> np.ndarray:
        """Which quantities are differences, whose zero is worth a test: bool ``(K,)``."""
        return np.asarray(~np.isnan(self.counts[1]))

    def intervals(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Return lower and upper bounds, ``(K,)`` each; NaN where no interval can be estimated.

        Numbers get a t interval, which holds less often than told where few patients have strongly skewed numbers.
        Proportions get Wilson's interval with an effective number of images, that whose binomial variance equals the
        cluster-robust one, made smaller by (z/t)² for what few patients know of that variance; it never falls below
        what is left if each patient's images all told the same, nor exceeds the images. Differences of proportions get
        square-and-add of the two, with the correlation of the sides.
        """
        return self._bounds(normal_quantile(_checked_level(level)))

    def p_values(self) -> np.ndarray:
        """Return two-sided p-values of "no difference", ``(K,)``; NaN for means and where nothing can be estimated.

        p is the level at which the interval touches zero, so that interval and p-value never contradict each other.
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            p = 2 * stats.t.sf(np.abs(self.values / _positive(self.errors)), self.freedom)
        shares = self.proportion & self.contrasts & ~np.isnan(self.values)
        near, far = np.zeros(len(self)), np.full(len(self), FARTHEST)
        for _ in range(50 if shares.any() else 0):
            middle = (near + far) / 2
            low, high = self._bounds(middle)
            without = (low > 0) | (high < 0)
            near, far = np.where(without, middle, near), np.where(without, far, middle)
        p = np.where(shares, 2 * stats.norm.sf(near), p)
        return np.where(self.contrasts & np.isfinite(self._bounds(1.0)[0]), p, np.nan)

    def _bounds(self, z: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = _t_quantile(z, self.freedom)
        low, high = self.values - t * _positive(self.errors), self.values + t * _positive(self.errors)
        if self.proportion.any():
            score_low, score_high = self._share_bounds(z)
            low, high = np.where(self.proportion, score_low, low), np.where(self.proportion, score_high, high)
        return low, high

    def _share_bounds(self, z: float | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wilson's interval for one side, square-and-add for two."""
        with np.errstate(invalid="ignore", divide="ignore"):
            binomial = self.shares * (1 - self.shares) / _positive(self.variances)
            size = binomial * (z / _t_quantile(z, self.freedoms)) ** 2
        size = np.where(np.isnan(size), self.kish, np.clip(size, self.kish, self.counts))
        size = np.where(self.proportion, size, np.nan)
        low, high = _wilson(self.shares, size, np.broadcast_to(z, self.shares.shape))
        down, up = self.shares - low, high - self.shares
        gap, twice = self.shares[0] - self.shares[1], 2 * self.correlation
        lower = gap - np.sqrt(np.maximum(down[0] ** 2 - twice * down[0] * up[1] + up[1] ** 2, 0))
        upper = gap + np.sqrt(np.maximum(up[0] ** 2 - twice * up[0] * down[1] + down[1] ** 2, 0))
        carried = np.where(self.fewest < FEWEST, np.nan, 0.0)
        return np.where(self.contrasts, lower + carried, low[0]), np.where(self.contrasts, upper + carried, high[0])


def means(values: np.ndarray, patients: Sequence[object] | np.ndarray, *, proportion: object = False) -> Estimates:
    """Estimate K means.

    Parameters
    ----------
    values : ``(n, K)`` or ``(n,)``, one row an image; NaN leaves the image out of that mean (no value, another group).
    patients : each image's patient, ``(n,)``.
    proportion : whether a column holds zeros and ones only; one bool, or one a column.

    Raises
    ------
    InputError : where lengths differ, a value is infinite, or a proportion is neither 0 nor 1.

    Examples
    --------
    >>> hits = means(np.array([1.0, 1.0, 0.0, 1.0, 1.0, 1.0]), list("aabbcc"), proportion=True)
    >>> hits.values.round(2), *(bound.round(2) for bound in hits.intervals())
    (array([0.83]), array([0.31]), array([0.98]))
    """
    values = _matrix(values, patients)
    return _estimates(side(values, patients), None, _proportion(proportion, values))


def gaps(
    first: np.ndarray, second: np.ndarray, patients: Sequence[object] | np.ndarray, *, proportion: object = False
) -> Estimates:
    """Estimate K differences ``mean(first) − mean(second)`` of different images: a group's and everybody else's.

    A patient may have images on both sides; what this does to the error is taken into account.

    Parameters
    ----------
    first, second : ``(n, K)`` or ``(n,)`` on the same rows; NaN where an image is not of that side.
    patients, proportion : as in :func:`means`.

    Raises
    ------
    InputError : as in :func:`means`, or where an image is on both sides (see :func:`paired`).
    """
    first, second = _matrix(first, patients), _matrix(second, patients)
    _same_shape(first, second)
    if (np.isfinite(first) & np.isfinite(second)).any():
        message = (
            "an image stands on both sides of a gap; for two numbers of the same image ask for paired(first, second)."
        )
        raise InputError(message)
    return _estimates(side(first, patients), side(second, patients), _proportion(proportion, first, second))


def paired(
    values: np.ndarray, baseline: np.ndarray, patients: Sequence[object] | np.ndarray, *, proportion: object = False
) -> Estimates:
    """Estimate K mean differences ``values − baseline`` of two numbers of the same image; both must be known.

    Parameters and Raises as in :func:`gaps`.
    """
    values, baseline = _matrix(values, patients), _matrix(baseline, patients)
    _same_shape(values, baseline)
    both = np.isfinite(values) & np.isfinite(baseline)
    first, second = (side(np.where(both, numbers, np.nan), patients) for numbers in (values, baseline))
    sides = _estimates(first, second, _proportion(proportion, values, baseline))
    lead = np.where(np.isclose(values, baseline, rtol=ROUNDING, atol=0), 0.0, values - baseline)
    difference = _estimates(side(np.where(both, lead, np.nan), patients), None, sides.proportion)
    # The difference of an image is one number: its error and degrees of freedom are those of a mean.
    notes = _notes([first], sides.proportion, still=difference.errors == 0, contrast=True)
    kept = {name: getattr(sides, name) for name in ("shares", "variances", "kish", "freedoms", "counts", "correlation")}
    return Estimates(
        **{field.name: getattr(difference, field.name) for field in fields(Estimates)} | kept | {"notes": notes}
    )


def joined(parts: Sequence[Estimates]) -> Estimates:
    """Put quantities of the same patients into one family."""
    if len({len(part.influence) for part in parts}) != 1:
        message = "only quantities of the same patients can be joined; estimate each from all images, with NaN for those left out."
        raise InputError(message)
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts], axis=-1)
        for field in fields(Estimates)
        if field.name != "notes"
    }
    return Estimates(**columns, notes=tuple(note for part in parts for note in part.notes))


def _estimates(first: Side, second: Side | None, proportion: np.ndarray) -> Estimates:
    sides = [first] if second is None else [first, second]
    pulls = [influence(each) for each in sides]
    pull = pulls[0] if second is None else pulls[0] - pulls[1]
    errors, unknown = np.sqrt((pull**2).sum(0)), np.full(len(proportion), np.nan)
    columns = {
        "shares": [each.means for each in sides],
        "variances": [(own**2).sum(0) for own in pulls],
        "kish": [each.kish for each in sides],
        "freedoms": [freedom(each) for each in sides],
        "counts": [each.images for each in sides],
    }
    return Estimates(
        values=first.means if second is None else first.means - second.means,
        errors=errors, freedom=freedom(first, second),
        images=first.images.astype(np.int64), patients=first.patients,
        fewest=np.min([each.patients for each in sides], axis=0), influence=np.nan_to_num(pull),
        proportion=proportion, notes=_notes(sides, proportion, still=errors == 0, contrast=second is not None),
        correlation=np.zeros(len(proportion)) if second is None else correlation(pulls[0], pulls[1]),
        **{name: np.stack([*rows, unknown][:2]) for name, rows in columns.items()},
    )  # fmt: skip


def _notes(sides: list[Side], proportion: np.ndarray, *, still: np.ndarray, contrast: bool) -> tuple[str, ...]:
    """Say what is wrong with the evidence for each quantity; `still`: no patient differs from another."""
    said = []
    for column, share in enumerate(proportion):
        texts = [_note(int(each.patients[column]), share=bool(share), contrast=contrast) for each in sides]
        named = [f"the rest: {text}" if place and text else text for place, text in enumerate(texts)]
        if still[column] and not share:
            named.append("patients do not differ: no interval can be estimated")
        said.append("; ".join(text for text in named if text))
    return tuple(said)


def _note(patients: int, *, share: bool, contrast: bool) -> str:
    if patients == 0:
        return "not estimable: no images"
    counted = f"only {patients} patient{'s' if patients > 1 else ''}"
    # Wilson's interval takes one patient, square-and-add FEWEST a side, a t interval two.
    needed = (FEWEST if contrast else 1) if share else 2
    if patients < needed:
        return f"{counted}: no interval can be estimated"
    return f"{counted}: wide interval, do not rely on it" if patients < ENOUGH else ""


def _matrix(values: np.ndarray, patients: Sequence[object] | np.ndarray) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != len(patients):
        message = f"values of shape {np.shape(values)} do not fit {len(patients)} patients; give one row an image, (n,) or (n, K)."
        raise InputError(message)
    if np.isinf(array).any():
        message = "the values hold infinity, of which there is no mean; mark what is not known as NaN."
        raise InputError(message)
    return array


def _same_shape(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape != second.shape:
        message = f"the two sides have shapes {first.shape} and {second.shape}; give both on the same rows and columns."
        raise InputError(message)


def _proportion(given: object, *sides: np.ndarray) -> np.ndarray:
    columns = sides[0].shape[1]
    proportion = np.broadcast_to(np.asarray(given, dtype=bool), (columns,))
    for values in sides:
        other = ~(np.isnan(values) | (values == 0) | (values == 1)).all(0) & proportion
        if other.any():
            message = (
                f"column {int(other.argmax())} is said to be a proportion, but holds values that are neither 0 nor 1."
            )
            raise InputError(message)
    return proportion


def _checked_level(level: float) -> float:
    if not 0 < level < 1:
        message = f"level {level!r} must lie between 0 and 1; 0.95 is usual."
        raise InputError(message)
    return level


def _positive(values: np.ndarray) -> np.ndarray:
    """Replace what is not above zero by NaN."""
    with np.errstate(invalid="ignore"):
        return np.where(values > 0, values, np.nan)


def _t_quantile(z: float | np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Quantile of t with the tail that the normal distribution has beyond `z`."""
    return np.asarray(stats.t.isf(stats.norm.sf(z), freedom))


def _wilson(share: np.ndarray, size: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.full(share.shape, np.nan), np.full(share.shape, np.nan)
    for place in zip(*np.nonzero(size > 0), strict=True):
        low[place], high[place] = wilson(float(share[place]), float(size[place]), float(z[place]))
    return low, high

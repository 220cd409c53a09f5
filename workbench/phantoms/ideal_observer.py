"""The best score any reader could reach: the likelihood ratio of a lesion at an unknown place, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, special, stats

from workbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, eq=False)
class DetectionTask:
    """Tell Gaussian noise of known spectrum (H0) from the same noise with one of finitely many lesions in it (H1).

    Under H1 a template is drawn (uniformly), a strength with it, and a position; the three are independent, and the
    observer knows their distributions, not their values.

    Parameters
    ----------
    shape : rows and columns of the data.
    spectrum : eigenvalues of the noise's circulant covariance matrix K, laid out as by :func:`scipy.fft.rfft2`.
    templates : float32 ``(J, h, w)``, h and w odd: each lesion's profile around its centre, zero beyond.
    strengths : factors by which a template may be multiplied.
    strength_weights : their probabilities.
    """

    shape: tuple[int, int]
    spectrum: np.ndarray
    templates: np.ndarray
    strengths: Sequence[float] = (1.0,)
    strength_weights: Sequence[float] = (1.0,)

    @cached_property
    def energies(self) -> np.ndarray:
        """The squared detectability sᵀK⁻¹s of each template at strength 1 and a known place, ``(J,)``."""
        spectra = np.abs(fft.rfft2(self._padded())) ** 2 / self.spectrum
        energies: np.ndarray = fft.irfft2(spectra, s=self.shape)[:, 0, 0]
        return energies

    @cached_property
    def _filters(self) -> np.ndarray:
        """The transfer functions of the matched filters K⁻¹s, complex64: all positions of a template in one inverse FFT."""
        filters: np.ndarray = (np.conj(fft.rfft2(self._padded())) / self.spectrum).astype(np.complex64)
        return filters

    def log_likelihood_ratio(
        self, data: np.ndarray, *, positions: np.ndarray, weights: np.ndarray, contrast: float = 1.0
    ) -> float:
        """Return log Λ = log p(data | H1) / p(data | H0), computed exactly.

        Λ(g) = Σ_j Σ_a Σ_p w_j w_a w_p exp(a s_jpᵀ K⁻¹ g − ½ a² s_jᵀ K⁻¹ s_j): Barrett & Myers, Foundations of Image
        Science (2004), ch. 13, a known signal in Gaussian noise averaged over its prior; Kupinski et al., J Opt Soc Am A
        20:430 (2003), sample that average, here it is a finite sum and is taken whole.

        Parameters
        ----------
        data : ``(H, W)``, noise of this task's spectrum, with or without a lesion.
        positions : int ``(P, 2)``, rows and columns where the lesion's centre may lie.
        weights : ``(P,)``, their probabilities.
        contrast : a known factor on every strength.
        """
        if contrast == 0:
            return 0.0
        spectrum = fft.rfft2(data.astype(np.float32))
        fields = fft.irfft2(spectrum * self._filters, s=self.shape, overwrite_x=True)
        matched = fields[:, positions[:, 0], positions[:, 1]].T.astype(float)
        strengths = contrast * np.asarray(self.strengths)[:, None, None]
        exponents = strengths * matched - 0.5 * strengths**2 * self.energies
        with np.errstate(divide="ignore"):
            prior = np.log(np.asarray(self.strength_weights))[:, None, None] + np.log(weights)[:, None]
        return float(special.logsumexp(exponents + prior)) - float(np.log(len(self.templates)))

    def _padded(self) -> np.ndarray:
        """Return the templates ``(J, H, W)`` in double precision, each centred on pixel (0, 0) of the torus."""
        tall, wide = self.templates.shape[1:]
        whole = np.zeros((len(self.templates), *self.shape))
        whole[:, :tall, :wide] = self.templates
        return np.roll(whole, (-(tall // 2), -(wide // 2)), (1, 2))


def auroc(scores: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve (Mann–Whitney, ties count half); NaN where one class is absent."""
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    ranks = stats.rankdata(scores)
    return float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def auroc_interval(
    scores: np.ndarray, positive: np.ndarray, patients: np.ndarray, *, level: float = 0.95, replicates: int = 500
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the AUROC, resampling patients with all their images."""
    rng = np.random.default_rng(0)
    _, patient = np.unique(patients, return_inverse=True)
    count = patient.max() + 1
    order = np.argsort(scores, kind="stable")
    patient, positive = patient[order], positive[order]
    values = []
    for _ in range(replicates):
        weight = np.bincount(rng.integers(count, size=count), minlength=count)[patient].astype(float)
        case, control = weight * positive, weight * ~positive
        below = np.cumsum(control) - 0.5 * control
        total = case.sum() * control.sum()
        values.append((case * below).sum() / total if total else np.nan)
    tail = (1 - level) / 2
    low, high = np.nanquantile(values, [tail, 1 - tail]) if np.isfinite(values).any() else (np.nan, np.nan)
    return float(low), float(high)


def efficiency(auroc_model: float, auroc_ideal: float) -> float:
    """Return the share of the ideal observer's squared detectability that a model reaches.

    η = (d'_model / d'_ideal)² with d' = √2 Φ⁻¹(AUROC), Tanner & Birdsall, J Acoust Soc Am 30:922 (1958): how much of
    the evidence in the images the model uses. 1 is all of it; 0 is guessing (and anything below guessing).

    Parameters
    ----------
    auroc_model, auroc_ideal : areas in 0–1; the ideal one above 0.5.

    Raises
    ------
    InputError : where the areas are out of range.

    Examples
    --------
    >>> round(efficiency(0.92, 0.98), 2)
    0.47
    """
    if not 0 <= auroc_model <= 1 or not 0.5 < auroc_ideal <= 1:
        message = (
            f"auroc_model ({auroc_model}) must lie in 0–1 and auroc_ideal ({auroc_ideal}) above 0.5 and up to 1: "
            "both are areas under an ROC curve."
        )
        raise InputError(message)
    # An area of 1 in a finite sample has no d'; the nearest one that has keeps the ratio finite.
    ideal, model = stats.norm.ppf(np.clip([auroc_ideal, auroc_model], 1e-6, 1 - 1e-6))
    return float(max(model, 0.0) ** 2 / ideal**2)

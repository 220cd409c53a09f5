"""Random textures: stationary power-law noise with an exactly known spectrum, and smooth fields for anatomy."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import fft


def power_law_spectrum(
    shape: tuple[int, int],
    spacing_mm: float,
    *,
    exponent: float = 3.0,
    corner_per_mm: float = 0.02,
    stretch: float = 1.0,
    white: float = 0.0,
) -> np.ndarray:
    """Return the variance of each Fourier coefficient of a texture like that of breast tissue.

    The texture lives on a torus of `shape` pixels, so its covariance matrix is circulant and these values are its
    eigenvalues, exactly: nothing is lost at the borders. Mammograms have exponents near 3 (Burgess, Jacobson & Judy,
    Med Phys 28:419, 2001, doi:10.1118/1.1355308).

    Parameters
    ----------
    shape : rows and columns of the image.
    spacing_mm : side of a pixel.
    exponent : β in 1 / (f² + corner²)^(β/2), with f in cycles per mm.
    corner_per_mm : frequency below which the spectrum levels off.
    stretch : above 1, structures are longer along the columns' axis (x) than across it.
    white : standard deviation of uncorrelated noise added to a texture of standard deviation 1.

    Returns
    -------
    float64 array ``(H, W // 2 + 1)``, laid out as :func:`scipy.fft.rfft2` lays out coefficients.
    """
    rows, columns = shape
    along_y = fft.fftfreq(rows, spacing_mm)[:, None] / np.sqrt(stretch)
    along_x = fft.rfftfreq(columns, spacing_mm)[None] * np.sqrt(stretch)
    law = (along_y**2 + along_x**2 + corner_per_mm**2) ** (-exponent / 2)
    law[0, 0] = 0.0
    variances: np.ndarray = law / _mean_over_all(law, columns) + white**2
    return variances


def stationary_noise(rng: np.random.Generator, spectrum: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Draw one periodic Gaussian field ``shape`` (float32) whose coefficients have the variances `spectrum`."""
    white = rng.standard_normal(shape, dtype=np.float32)
    coefficients = fft.rfft2(white) * np.sqrt(spectrum).astype(np.float32)
    field: np.ndarray = fft.irfft2(coefficients, s=shape)
    return field


def smooth_field(rng: np.random.Generator, cells: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Draw noise on a coarse grid of `cells` and spread it smoothly over `shape`, float32, about standard normal.

    The draw does not depend on `shape`: an anatomy is the same at every resolution.
    """
    coarse = rng.standard_normal(cells, dtype=np.float32)
    return enlarge(coarse, shape) * np.float32(1.35)


def fractal_field(
    rng: np.random.Generator, cells: tuple[int, int], shape: tuple[int, int], *, octaves: int = 4, gain: float = 0.6
) -> np.ndarray:
    """Add up smooth fields, each twice as fine and `gain` times as strong as the one before; float32 ``shape``."""
    rows, columns = cells
    # Octaves are added on a grid just fine enough for the finest of them: enlarging each to the image takes four times as long.
    grid = (rows * 2 ** (octaves - 1) + 1, columns * 2 ** (octaves - 1) + 1)
    layers = [gain**k * smooth_field(rng, (rows * 2**k, columns * 2**k), grid) for k in range(octaves)]
    scale = np.float32(np.sqrt(sum(gain ** (2 * k) for k in range(octaves))))
    return enlarge(np.asarray(np.sum(layers, axis=0, dtype=np.float32) / scale), shape)


def enlarge(coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate a coarse float32 field bicubically to `shape`."""
    rows, columns = shape
    return np.asarray(Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC))


def _mean_over_all(law: np.ndarray, columns: int) -> float:
    """Average over all coefficients; those that rfft2 leaves out are mirror images of those it keeps."""
    twice = np.full(law.shape[1], 2.0)
    twice[0] = 1.0
    if columns % 2 == 0:
        twice[-1] = 1.0
    return float((law * twice).sum() / (law.shape[0] * columns))

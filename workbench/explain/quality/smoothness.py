"""A control as smooth as the map it stands beside: what is sharp gathers on small things, whatever it means."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter


def as_smooth_as(control: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Blur a control until it is as rough as a map.

    An edge map is thin and a Grad-CAM of some millimetres' reach is not: on a small, sharp-edged marker the first is
    dense for its thinness alone. Blurred alike, the two can be compared.

    Parameters
    ----------
    control, heat : non-negative ``(*spatial)``.

    Returns
    -------
    float32 ``(*spatial)``: `control` under the Gaussian, of standard deviation 0 to a quarter of the shorter side in steps
    of √2, whose roughness comes nearest to that of `heat`.
    """
    wanted = roughness(heat)
    if not np.isfinite(wanted) or roughness(control) <= wanted:
        return np.asarray(control, dtype=np.float32)
    widths = [0.0, *2.0 ** np.arange(-1, np.log2(max(min(heat.shape) / 4, 1)) + 0.25, 0.5)]
    candidates = [gaussian_filter(np.asarray(control, dtype=np.float32), width) for width in widths]
    far = [abs(np.log(max(roughness(one), 1e-12) / wanted)) for one in candidates]
    return np.asarray(candidates[int(np.argmin(far))])


def roughness(heat: np.ndarray) -> float:
    """Return how fast a map changes from pixel to pixel: root mean square step over standard deviation; NaN where flat."""
    values = np.asarray(heat, dtype=np.float64)
    spread = float(values.std())
    steps = [np.diff(values, axis=axis) ** 2 for axis in range(values.ndim)]
    return float(np.sqrt(sum(step.mean() for step in steps)) / spread) if spread > 0 else float("nan")

"""The lead marker that a technician lays beside the breast: a framed letter in the dark corner of the film."""

from __future__ import annotations

import numpy as np

from workbench.phantoms.anatomy import film

# Log-exposure added where the lead is: nearly white on any ground.
LEAD = 7.0
SIDE_MM = 17.0
LETTERS = {
    "L": ("1....", "1....", "1....", "1....", "1....", "1....", "11111"),
    "R": ("1111.", "1...1", "1...1", "1111.", "1.1..", "1..1.", "1...1"),
}


def draw_marker(rng: np.random.Generator, laterality: str, *, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lead's log-exposure (float32) and the marker's box (bool), both ``(H, W)``, as in a left image.

    The letter is drawn mirrored for a right breast, since that image is mirrored afterwards.
    """
    y, x, spacing = film(shape)
    top, left = rng.uniform(8, 16), rng.uniform(154, 159)
    across, down = (x - left) / SIDE_MM, (y - top) / SIDE_MM
    box = (across >= 0) & (across < 1) & (down >= 0) & (down < 1)
    letter = np.array([[mark == "1" for mark in line] for line in LETTERS[laterality]])
    letter = letter if laterality == "L" else letter[:, ::-1]
    rim = np.minimum(np.minimum(across, 1 - across), np.minimum(down, 1 - down)) < max(0.07, 0.7 * spacing / SIDE_MM)
    row = np.clip(((down - 0.18) / 0.64 * 7).astype(int), 0, 6)
    column = np.clip(((across - 0.27) / 0.46 * 5).astype(int), 0, 4)
    in_letter = (np.abs(down - 0.5) < 0.32) & (np.abs(across - 0.5) < 0.23)
    lead = box & (rim | (in_letter & letter[row, column]))
    return (LEAD * lead).astype(np.float32), box

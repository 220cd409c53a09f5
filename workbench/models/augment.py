"""Small random changes of a batch that leave its diagnosis as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import affine_grid, grid_sample


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be changed; each image of a batch gets its own draw.

    Parameters
    ----------
    flip : mirror left and right in half of the images; switch off where the side itself is the finding.
    shift : largest displacement along each axis, as a share of its length.
    rotation : largest turn in the plane of the last two axes, degrees.
    scale : largest relative change of size.
    gain : largest relative change of contrast.
    """

    flip: bool = True
    shift: float = 0.05
    rotation: float = 8.0
    scale: float = 0.08
    gain: float = 0.1

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return changed copies of ``(n, C, *spatial)``; what comes in from outside repeats the border."""
        count, axes = len(images), images.ndim - 2

        def draw(*shape: int) -> torch.Tensor:
            return 2 * torch.rand(*shape, generator=generator, device="cpu") - 1

        angle = torch.deg2rad(self.rotation * draw(count))
        size = 1 + self.scale * draw(count)
        matrix = torch.eye(axes).repeat(count, 1, 1) * size[:, None, None]
        # affine_grid speaks of x before y: the first two of its axes are the image's last two.
        height, width = images.shape[-2:]
        matrix[:, 0, 0], matrix[:, 0, 1] = size * angle.cos(), -size * angle.sin() * height / width
        matrix[:, 1, 0], matrix[:, 1, 1] = size * angle.sin() * width / height, size * angle.cos()
        if self.flip:
            matrix[:, :, 0] *= torch.where(draw(count) < 0, -1.0, 1.0)[:, None]
        theta = torch.cat([matrix, 2 * self.shift * draw(count, axes, 1)], dim=2).to(images.device)
        grid = affine_grid(theta, list(images.shape), align_corners=False)
        moved = grid_sample(images, grid, padding_mode="border", align_corners=False)
        gain = (1 + self.gain * draw(count)).to(images.device)
        return moved * gain.reshape(-1, *[1] * (axes + 1))

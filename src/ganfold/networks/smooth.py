"""The last layer of a generator whose flat places are to be flat."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

REACHES = (1, 2, 4, 1)  # pixels between the neighbours of each step: far ones for wide grounds, near ones last
SHARE = 0.2  # of the way to each of four neighbours, at most: a pixel stays within what it and they are


def smooth(images: Tensor, edges: Tensor) -> Tensor:
    """Images (B, C, H, W), evened out where neighbours are alike and kept where they differ.

    `edges` (B, 1, H, W) in (-1, 1) says at each pixel what counts as a difference: at -1 hardly any, so that all
    becomes one, at 1 nearly every one, so that nothing changes. Perona, Malik 1990, "Scale-space and edge detection
    using anisotropic diffusion", IEEE TPAMI 12(7): their discrete step with the conductance
    exp(-(|difference| / K)^2). Here 1/K^2 is the sum of both pixels' 16 * 32^edges, for images in (-1, 1), and a
    step goes to the four neighbours at `reach` pixels.
    """
    sharpness = 16 * 32**edges
    for reach in REACHES:
        across = _flow(images, sharpness, reach, 3)
        down = _flow(images, sharpness, reach, 2)
        gain = F.pad(across, (0, reach)) - F.pad(across, (reach, 0))
        gain = gain + F.pad(down, (0, 0, 0, reach)) - F.pad(down, (0, 0, reach, 0))
        images = images + SHARE * gain
    return images


def _flow(images: Tensor, sharpness: Tensor, reach: int, axis: int) -> Tensor:
    """From each pixel to the one at `reach` before it on the axis."""
    side = images.shape[axis] - reach
    difference = images.narrow(axis, reach, side) - images.narrow(axis, 0, side)
    both = sharpness.narrow(axis, reach, side) + sharpness.narrow(axis, 0, side)
    return difference * (-both * difference.square().sum(1, keepdim=True)).exp()

"""Inputs that can be made of an image: a smaller one, a grey one, its edges, a mask of holes. On the images' device."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

EDGE = 0.15  # slope of luminance at which a line is half black; 1 is black to white in one pixel
SOBEL = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))


def shrink(images: Tensor, scale: int) -> Tensor:
    """Images (B, C, H, W) in [-1, 1] -> (B, C, H / scale, W / scale), by an antialiased bicubic filter.

    Values are rounded to 8 bits, as in a file.
    """
    size = images.shape[2] // scale, images.shape[3] // scale
    small = F.interpolate(images, size, mode="bicubic", antialias=True)
    return small.clamp(-1, 1).add(1).mul(127.5).round().div(127.5).sub(1)


def enlarge(images: Tensor, scale: int) -> Tensor:
    """Images (B, C, H, W) in [-1, 1] -> (B, C, H * scale, W * scale), bicubic."""
    return F.interpolate(images, scale_factor=float(scale), mode="bicubic").clamp(-1, 1)


def grey(images: Tensor) -> Tensor:
    """Luminance (B, 1, H, W) of images (B, C, H, W) in [-1, 1]. It ignores transparency."""
    if images.shape[1] < 3:
        return images[:, :1]
    weights = images.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)  # ITU-R BT.601
    return (images[:, :3] * weights).sum(1, keepdim=True)


def edges(images: Tensor) -> Tensor:
    """Black lines on white, (B, 1, H, W) in [-1, 1], where luminance changes: Sobel's slope with a soft threshold."""
    kernel = images.new_tensor(SOBEL) / 16  # a step from black to white (2) in one pixel has slope 0.5
    kernels = torch.stack([kernel, kernel.T])[:, None]
    slope = F.conv2d(F.pad(grey(images), (1, 1, 1, 1), mode="replicate"), kernels).square().sum(1, keepdim=True)
    ink = slope / (slope + EDGE**2)
    return 1 - 2 * ink


def centre_hole(images: Tensor) -> Tensor:
    """A mask (B, 1, H, W): 1 in the middle square of half the side, 0 elsewhere."""
    height, width = images.shape[2:]
    mask = images.new_zeros(len(images), 1, height, width)
    mask[:, :, height // 4 : height - height // 4, width // 4 : width - width // 4] = 1
    return mask


def random_holes(images: Tensor, uniform: Callable[..., Tensor], count: int = 3) -> Tensor:
    """A mask (B, 1, H, W): 1 in `count` rectangles at random places, 0 elsewhere.

    Their sides are 0.15 to 0.5 of the image's. Three of them hide a quarter of the image on average.
    `uniform(*shape)` gives numbers in (0, 1), (B, *shape).
    """
    height, width = images.shape[2:]
    y = (torch.arange(height, dtype=images.dtype, device=images.device) + 0.5)[None, None, :, None] / height
    x = (torch.arange(width, dtype=images.dtype, device=images.device) + 0.5)[None, None, None, :] / width
    drawn = uniform(count, 4)[..., None, None]
    high, wide = 0.15 + 0.35 * drawn[:, :, 0], 0.15 + 0.35 * drawn[:, :, 1]
    top, left = (1 - high) * drawn[:, :, 2], (1 - wide) * drawn[:, :, 3]
    inside = (y >= top) & (y < top + high) & (x >= left) & (x < left + wide)
    return inside.any(1, keepdim=True).to(images.dtype)

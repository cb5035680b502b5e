"""Differentiable augmentation of all images that D sees (Zhao et al. 2020, "Differentiable augmentation for
data-efficient GAN training", arXiv:2006.10738). G learns through it and does not have to imitate it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Uniform = Callable[..., Tensor]  # (*shape) -> fresh numbers in (0, 1), (B, *shape): `Batch.uniform`
Normal = Callable[..., Tensor]  # the same with normal numbers: `Batch.normal`

SHIFT = 1 / 8  # the largest shift, as a share of the side (the default of the authors' code)
HOLE = 1 / 2  # the side of a cutout, as a share of the image's
TURN, SHEAR, SCALE, SLIDE = 0.22, 0.18, 0.12, 0.05  # for `warp`: radians, slope, logarithm, share of the side


def augment(images: Tensor, p: float, uniform: Uniform) -> Tensor:
    """Change colour, place and parts of images (B, C, H, W) in [-1, 1], each change on a share `p` of the images.

    Near p = 1 D hardly ever sees an unchanged image, and the changes leak into what G makes (Karras 2020,
    arXiv:2006.06676, sec. 2.2).
    """
    if not p:
        return images
    for change in (colour, translation, cutout):
        chosen = uniform() < p
        images = torch.where(chosen[:, None, None, None], change(images, uniform), images)
    return images


def noisy(images: Tensor, deviation: float, normal: Normal) -> Tensor:
    """Images (B, C, H, W) with normal noise of this deviation on each pixel (Sonderby 2016, "Amortised MAP inference
    for image super-resolution", arXiv:1610.04490, sec. 3)."""
    return images + deviation * normal(*images.shape[1:]) if deviation else images


def colour(images: Tensor, uniform: Uniform) -> Tensor:
    """Change brightness, then saturation, then contrast."""
    brightness, saturation, contrast = (uniform(1, 1, 1) for _ in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translation(images: Tensor, uniform: Uniform) -> Tensor:
    """Shift by whole pixels, up to an eighth of the side each way. What comes in is mid-grey."""
    side = images.shape[-1]
    most = round(SHIFT * side)
    shift = (uniform(2) * (2 * most + 1)).floor() - most  # in pixels
    turn = torch.eye(2, device=images.device).expand(len(images), 2, 2)
    grid = F.affine_grid(torch.cat([turn, (shift * 2 / side)[:, :, None]], 2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def cutout(images: Tensor, uniform: Uniform) -> Tensor:
    """Make a square of half the side mid-grey. It may reach over the border."""
    side = images.shape[-1]
    corner = (uniform(2, 1) - HOLE / 2) * side
    inside = (torch.arange(side, device=images.device) + 0.5 - corner) / (HOLE * side)  # (B, 2, side)
    inside = (inside > 0) & (inside < 1)
    return images.masked_fill((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], 0)


def warp(images: Tensor, uniform: Uniform) -> Tensor:
    """Distort images so little that a digit stays that digit.

    Turn by up to 13 degrees, shear by up to 0.18, scale the sides by up to an eighth, shift by a twentieth, and make
    lines thicker or thinner. What comes in repeats the border.
    """
    angle, shear, *scales = (most * (2 * uniform() - 1) for most in (TURN, SHEAR, SCALE, SCALE))  # (B,) each
    wide, high = (scale.exp() for scale in scales)
    cos, sin = angle.cos(), angle.sin()
    rows = [cos * wide, cos * shear - sin * high], [sin * wide, sin * shear + cos * high]
    turn = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = F.affine_grid(
        torch.cat([turn, 2 * SLIDE * (2 * uniform(2, 1) - 1)], 2), list(images.shape), align_corners=False
    )
    return stroke(F.grid_sample(images, grid, padding_mode="border", align_corners=False), uniform)


def stroke(images: Tensor, uniform: Uniform) -> Tensor:
    """Move each pixel by a share towards its brightest neighbour (up to 0.4) or its darkest one (up to 0.3)."""
    share = 0.7 * uniform(1, 1, 1) - 0.3
    brightest, darkest = F.max_pool2d(images, 3, 1, 1), -F.max_pool2d(-images, 3, 1, 1)
    return torch.lerp(images, torch.where(share > 0, brightest, darkest), share.abs())

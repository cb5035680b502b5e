"""Differentiable augmentation of all that D sees (Zhao et al. 2020, "Differentiable augmentation for data-efficient
GAN training", arXiv:2006.10738): G learns through it, and need not imitate it."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Uniform = Callable[..., Tensor]  # (*shape) -> fresh numbers in (0, 1), (B, *shape): `Batch.uniform`
Normal = Callable[..., Tensor]  # the same of normal numbers: `Batch.normal`

SHIFT = 1 / 8  # of the side, at most (their code's default)
HOLE = 1 / 2  # of the side: what a cutout covers
TURN, SHEAR, SCALE, SLIDE = 0.22, 0.18, 0.12, 0.05  # of `warp`: radians, slope, logarithm, share of the side


def augment(images: Tensor, p: float, uniform: Uniform) -> Tensor:
    """Colour, translation and cutout, each on a share `p` of the images, (B, C, H, W) in [-1, 1]; 0: on none.

    Near p = 1 an image is hardly ever shown as it is, and the changes begin to leak into what G makes (Karras 2020,
    arXiv:2006.06676, sec. 2.2).
    """
    if not p:
        return images
    for change in (colour, translation, cutout):
        chosen = uniform() < p
        images = torch.where(chosen[:, None, None, None], change(images, uniform), images)
    return images


def noisy(images: Tensor, deviation: float, normal: Normal) -> Tensor:
    """Images (B, C, H, W) with normal noise of this deviation on each pixel, 0: as they are (Sonderby 2016, "Amortised
    MAP inference for image super-resolution", arXiv:1610.04490, sec. 3)."""
    return images + deviation * normal(*images.shape[1:]) if deviation else images


def colour(images: Tensor, uniform: Uniform) -> Tensor:
    """Brightness, then saturation, then contrast."""
    brightness, saturation, contrast = (uniform(1, 1, 1) for _ in range(3))
    images = images + (brightness - 0.5)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * (2 * saturation) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (contrast + 0.5) + mean


def translation(images: Tensor, uniform: Uniform) -> Tensor:
    """A shift by whole pixels, up to an eighth of the side each way; what comes in is mid-grey."""
    side = images.shape[-1]
    most = round(SHIFT * side)
    shift = (uniform(2) * (2 * most + 1)).floor() - most  # in pixels
    turn = torch.eye(2, device=images.device).expand(len(images), 2, 2)
    grid = F.affine_grid(torch.cat([turn, (shift * 2 / side)[:, :, None]], 2), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def cutout(images: Tensor, uniform: Uniform) -> Tensor:
    """A square of half the side made mid-grey; it may reach over the border."""
    side = images.shape[-1]
    corner = (uniform(2, 1) - HOLE / 2) * side
    inside = (torch.arange(side, device=images.device) + 0.5 - corner) / (HOLE * side)  # (B, 2, side)
    inside = (inside > 0) & (inside < 1)
    return images.masked_fill((inside[:, 0, :, None] & inside[:, 1, None, :])[:, None], 0)


def warp(images: Tensor, uniform: Uniform) -> Tensor:
    """Turned by up to 13 degrees, sheared by up to 0.18, sides scaled by up to an eighth, shifted by a twentieth, lines
    made thicker or thinner: a digit stays that digit. What comes in is the border's.
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
    """Each image moved by some share towards its brightest (up to 0.4) or its darkest (up to 0.3) neighbours."""
    share = 0.7 * uniform(1, 1, 1) - 0.3
    brightest, darkest = F.max_pool2d(images, 3, 1, 1), -F.max_pool2d(-images, 3, 1, 1)
    return torch.lerp(images, torch.where(share > 0, brightest, darkest), share.abs())

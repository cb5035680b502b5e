"""Paths between latents. Normal latents of many dimensions lie near a sphere, and these paths stay on it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ganfold.gans import noise


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical interpolation from `a` to `b`, (*latent), at the shares `t` (N,): (N, *latent).

    Shoemake 1985; White 2016, arXiv:1609.04468. The length changes in a line from that of `a` to that of `b`. Parallel
    latents have no circle between them and are interpolated in a line.
    """
    ends = torch.stack([a.flatten(), b.flatten()]).double()
    lengths = ends.norm(dim=1)
    share = t.double()[:, None]
    cosine = (ends[0] @ ends[1] / lengths.prod().clamp_min(1e-12)).clamp(-1, 1)
    angle = cosine.arccos()
    if float(angle.sin()) < 1e-6:
        path = (1 - share) * ends[0] + share * ends[1]
    else:
        units = ends / lengths[:, None]
        path = (((1 - share) * angle).sin() * units[0] + (share * angle).sin() * units[1]) / angle.sin()
        path = path * ((1 - share) * lengths[0] + share * lengths[1])
    return path.to(a.dtype).unflatten(1, a.shape)  # type: ignore[no-untyped-call]


def loop(stops: Tensor, steps: int) -> Tensor:
    """From each stop (N, *latent) to the next, and from the last to the first: (N, steps, *latent)."""
    t = torch.arange(steps) / steps
    following = stops.roll(-1, 0)
    return torch.stack([slerp(a, b, t) for a, b in zip(stops, following, strict=True)])


def circle(z: Tensor, reach: float, steps: int, seed: int) -> Tensor:
    """Latents (N, *latent) -> a closed path around each of them, (N, steps, *latent).

    Args:
        reach: the distance from z, as a share of the way to an unrelated latent: 0 to 1.
        seed: decides the plane of the circle.
    """
    rows = torch.arange(len(z))
    first, second = (noise.normal(noise.key_of(seed, "circle", axis), rows, *z.shape[1:]) for axis in (0, 1))
    turn = (2 * math.pi * torch.arange(steps) / steps).view(1, -1, *[1] * (z.ndim - 1))
    aside = first[:, None] * turn.cos() + second[:, None] * turn.sin()
    angle = reach * math.pi / 2
    return math.cos(angle) * z[:, None] + math.sin(angle) * aside


def square(corners: Tensor, rows: int, columns: int) -> Tensor:
    """Four latents at the corners (upper left and right, lower left and right): (rows, columns, *latent)."""
    down, right = torch.linspace(0, 1, rows), torch.linspace(0, 1, columns)
    left, other = slerp(corners[0], corners[2], down), slerp(corners[1], corners[3], down)
    return torch.stack([slerp(a, b, right) for a, b in zip(left, other, strict=True)])


def along(z: Tensor, direction: Tensor, places: Tensor) -> Tensor:
    """Latents whose component along a unit vector is set: z (*latent), places (N,) -> (N, *latent)."""
    rest = z - (z * direction).sum() * direction
    return rest + places.view(-1, *[1] * z.ndim) * direction


def mean_of(z: Tensor) -> Tensor:
    """The mean of some latents (N, *latent) at the length that normal noise has: (*latent).

    A plain mean is shorter, and a shorter latent is another kind of image.
    """
    mean = z.mean(0)
    length = mean.norm()
    return mean if float(length) == 0 else mean * (math.sqrt(mean.numel()) / length)

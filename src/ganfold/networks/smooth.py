"""A last layer that makes the flat areas of generated images flat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

REACHES = (1, 2, 4, 1)  # distance of neighbours in each step, in pixels: far ones for wide areas, near ones last
EVEN, TIMES = 0.5, 8  # for `flatten`: the edges, and how often it repeats all distances
SHARE = 0.2  # how far a pixel moves towards each of four neighbours, at most: it stays within their range
SMALLEST = -80.0  # exp of less is practically 0, and sixty times as slow because its results are subnormal


def smooth(images: Tensor, edges: Tensor) -> Tensor:
    """Smooth images (B, C, H, W) where neighbours are similar, and keep them where neighbours differ.

    `edges` (B, 1, H, W) in (-1, 1) says at each pixel which differences to keep: at -1 hardly any, so that all pixels
    become one; at 1 nearly all, so that nothing changes.

    This is the discrete step of Perona, Malik 1990, "Scale-space and edge detection using anisotropic diffusion", IEEE
    TPAMI 12(7), with the conductance exp(-(|difference| / K)^2). Here 1/K^2 is the sum of 16 * 32^edges of both pixels,
    for images in (-1, 1), and a step goes to the four neighbours at `reach` pixels. It can be differentiated once.
    """
    return _steps(images, edges, REACHES)


def flatten(images: Tensor) -> Tensor:
    """Give wide, nearly even areas of images (B, C, H, W) in (-1, 1) nearly one colour, as in a drawing.

    It smooths with the same edges everywhere, at a quarter of the image's side, an eighth, ... and 1 pixel, and does so
    eight times.
    """
    reaches = [images.shape[-1] >> n for n in range(2, images.shape[-1].bit_length())]
    edges = torch.full_like(images[:, :1], EVEN)
    return _steps(images, edges, reaches * TIMES)


class Smooth(nn.Module):
    """(B, C + 1, H, W) -> (B, C, H, W): `smooth`, with the last channel as `edges`."""

    def forward(self, drawn: Tensor) -> Tensor:
        return smooth(drawn[:, :-1], drawn[:, -1:])


def _steps(images: Tensor, edges: Tensor, reaches: Sequence[int]) -> Tensor:
    sharpness = (16 * 32 ** edges.to(torch.promote_types(edges.dtype, torch.float32))).contiguous()
    images = images.to(sharpness.dtype).contiguous()  # sums over few channels are slow if channels lie last
    step: Any = _plain_step if torch.compiler.is_compiling() else _Step.apply
    for reach in reaches:
        images = step(images, sharpness, reach)
    return images


def _plain_step(images: Tensor, sharpness: Tensor, reach: int) -> Tensor:
    """`_Step` without a derivative by hand and without views that are written to: what can be compiled and exported."""
    moved = images
    for axis in (2, 3):
        (here, there), (mine, theirs) = _pair(images, reach, axis), _pair(sharpness, reach, axis)
        difference = there - here
        exponent = (mine + theirs) * difference.square().sum(1, keepdim=True)
        flow = SHARE * torch.exp((-exponent).clamp(min=SMALLEST)) * difference
        before, after = [0] * 4, [0] * 4  # of the last axis, then of the one before it
        before[2 * (3 - axis)] = after[2 * (3 - axis) + 1] = reach
        moved = moved + F.pad(flow, after) - F.pad(flow, before)
    return moved


class _Step(torch.autograd.Function):
    """A step with a derivative by hand, which takes half the time of PyTorch's."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, sharpness: Tensor, reach: int) -> Tensor:
        moved, kept = images.clone(), []
        for axis in (2, 3):
            (here, there), (mine, theirs) = _pair(images, reach, axis), _pair(sharpness, reach, axis)
            difference, sharp = there - here, mine + theirs
            square = difference.square().sum(1, keepdim=True)
            conductance = (sharp * square).neg_().clamp_(min=SMALLEST).exp_().mul_(SHARE)
            to, of = _pair(moved, reach, axis)
            flow = conductance * difference
            to.add_(flow)
            of.sub_(flow)
            kept += [difference, sharp, square, conductance]
        ctx.save_for_backward(*kept)
        ctx.reach = reach
        return moved

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        gradient = gradient.contiguous()
        for_images, for_sharpness = gradient.clone(), torch.zeros_like(gradient[:, :1])
        for axis, kept in ((2, ctx.saved_tensors[:4]), (3, ctx.saved_tensors[4:])):
            difference, sharp, square, conductance = kept
            here, there = _pair(gradient, ctx.reach, axis)
            for_flow = here - there
            for_exponent = (for_flow * difference).sum(1, keepdim=True).mul_(conductance)
            for_difference = for_flow.mul_(conductance).sub_(difference * (2 * sharp * for_exponent))
            here, there = _pair(for_images, ctx.reach, axis)
            here.sub_(for_difference)
            there.add_(for_difference)
            for part in _pair(for_sharpness, ctx.reach, axis):
                part.sub_(square * for_exponent)
        return for_images, for_sharpness, None


def _pair(x: Tensor, reach: int, axis: int) -> tuple[Tensor, Tensor]:
    """All pixels that have a neighbour at `reach` on the axis, and these neighbours, as views."""
    side = x.shape[axis] - reach
    return x.narrow(axis, 0, side), x.narrow(axis, reach, side)

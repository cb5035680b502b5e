"""A convolution of the largest maps, computed on smaller ones with more channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class OnShuffled(nn.Conv2d):
    """The convolution 9-1-4 of `PixelShuffle(2)(x)`, x (B, 4 before, H, W) -> (B, after, 2H, 2W).

    It has PyTorch's weights and gives what PyTorch gives, up to rounding, without the map of 2H x 2W: each of the four
    pixels that lie in one pixel of x is a 5x5 convolution of x. PyTorch is slow if few channels come out. Here they are
    four times as many, at a quarter of the places. Timings: `benchmarks/srgan_speed.py`.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 9, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        assert self.bias is not None
        phases = [F.pad(self.weight, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1)]
        after, before = self.weight.shape[:2]
        kernel = torch.stack(phases, 1).view(after, 4, before, 5, 2, 5, 2).permute(0, 1, 2, 4, 6, 3, 5)
        kernel = kernel.reshape(4 * after, 4 * before, 5, 5)
        return F.pixel_shuffle(F.conv2d(x, kernel, self.bias.repeat_interleave(4), padding=2), 2)

"""Uniform latents, made of the normal ones that every GAN is given."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FARTHEST = 5.0  # deviations from 0 that stand for -1 and 1: the difference is below 1e-6


class Uniform(nn.Module):
    """Standard normal numbers as uniform ones in (-1, 1), in the same order: the normal distribution function."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.erf(z / math.sqrt(2))

    @staticmethod
    def inverse(value: float) -> float:
        """The normal number that becomes this uniform one; at most `FARTHEST` from 0."""
        place = math.sqrt(2) * float(torch.erfinv(torch.tensor(value, dtype=torch.float64)))
        return max(-FARTHEST, min(FARTHEST, place))


def with_largest_at(place: int, numbers: Tensor) -> Tensor:
    """Numbers (B, N) whose largest has changed places, in each row, with the one at `place`."""
    largest = numbers.argmax(1, keepdim=True)
    moved = numbers.scatter(1, largest, numbers[:, [place]])
    moved[:, place] = numbers.gather(1, largest)[:, 0]
    return moved

"""Uniform latents, made of the normal ones that every GAN is given."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Uniform(nn.Module):
    """Standard normal numbers as uniform ones in (-1, 1), in the same order: the normal distribution function."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.erf(z / math.sqrt(2))

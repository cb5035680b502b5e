"""The running average of a network's weights, its half-life in images."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn


class Average(nn.Module):
    """An exponential moving average of `network` (Yaz et al. 2018, arXiv:1806.04498), in evaluation mode.

    It averages weights and BatchNorm's running statistics. The half-life is at most `share` of the images seen, so
    that an early average is not stale.
    """

    def __init__(self, network: nn.Module, half_life_images: float, share: float = 0.05) -> None:
        super().__init__()
        self.network = deepcopy(network).eval().requires_grad_(False)
        self.half_life_images, self.share = half_life_images, share

    @torch.no_grad()
    def update(self, network: nn.Module, images_step: int, images_seen: int) -> None:
        """Move towards the network's present weights, after a step that saw `images_step` images."""
        half_life = min(self.half_life_images, self.share * images_seen)
        weight = 1 - 0.5 ** (images_step / half_life) if half_life else 1.0
        mine, theirs = _floats(self.network), _floats(network)
        torch._foreach_lerp_(mine, theirs, weight)


def _floats(network: nn.Module) -> list[torch.Tensor]:
    return [t for t in [*network.parameters(), *network.buffers()] if t.is_floating_point()]

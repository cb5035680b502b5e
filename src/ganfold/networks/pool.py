"""Earlier fakes that D sees again (Shrivastava 2017, arXiv:1612.07828; Zhu 2017, arXiv:1703.10593, sec. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Pool(nn.Module):
    """Up to `size` earlier fakes. Half of the time D sees one of them, and a fresh fake takes its place."""

    images: Tensor
    count: Tensor

    def __init__(self, size: int, channels: int, resolution: int) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, channels, resolution, resolution))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, fresh: Tensor, uniform: Tensor) -> Tensor:
        """The images that D judges, from fresh ones and uniform numbers (B, 2), in the order of the rows."""
        shown, size = [], len(self.images)
        for image, drawn in zip(fresh[:, None], uniform, strict=True):
            full = self.count >= size
            place = torch.where(full, (drawn[0] * size).long().clamp(max=size - 1), self.count)[None]
            old, swap = self.images[place], full & (drawn[1] < 0.5)
            shown.append(torch.where(swap, old, image))
            self.images[place] = torch.where(swap | ~full, image, old)
            self.count += ~full
        return torch.cat(shown)

"""The networks of `dcgan` with two options: G can take labels and smooth its images; D can compare labels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ganfold.networks import dcgan
from ganfold.networks.smooth import Smooth


class Generator(nn.Module):
    """z (B, z_dim), and labels (B,) if there are `classes`, -> images (B, channels, R, R) in (-1, 1).

    With `smooth` the network draws one more channel, which says where edges stay; `networks/smooth.py` does the rest.
    """

    def __init__(
        self, z_dim: int, width: int, channels: int, resolution: int, classes: int, label_dim: int, smooth: bool
    ) -> None:
        super().__init__()
        self.label = nn.Embedding(classes, label_dim) if classes else None
        if self.label:  # small: if it is as large as z, it takes over, and each class becomes one image
            nn.init.normal_(self.label.weight, 0, 0.1)
        z_dim += label_dim if classes else 0
        self.main = dcgan.Generator(z_dim, width, channels + smooth, resolution)
        self.last = Smooth() if smooth else nn.Identity()

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        images: Tensor = self.last(self.main(torch.cat([z, self.label(label)], 1) if self.label else z))
        return images


class Discriminator(dcgan.Discriminator):
    """Images (B, channels, R, R), and labels (B,) if there are `classes`, -> one logit each (B,).

    The embedding of the label is compared with the sum of the trunk's features over all places (Miyato, Koyama 2018,
    "cGANs with projection discriminator", arXiv:1802.05637, eq. 3).
    """

    def __init__(self, width: int, channels: int, resolution: int, classes: int) -> None:
        super().__init__(width, channels, resolution)
        self.label = nn.Embedding(classes, self.features // 16) if classes else None
        if self.label:
            nn.init.normal_(self.label.weight, 0, 0.02)

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        trunk, last = self[0], self[1]
        features = trunk(x)
        logit: Tensor = last(features)
        return logit + (features.sum((2, 3)) * self.label(label)).sum(1) if self.label else logit

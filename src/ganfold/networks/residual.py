"""Residual networks on maps of half the image's side. The first and the last convolution treat 2 x 2 pixels as
channels, which avoids the costliest maps (Shi 2016, "sub-pixel convolution", arXiv:1609.05158)."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn


def conv(before: int, after: int, size: int = 3) -> nn.Conv2d:
    """A convolution that keeps the map's size, initialised for LeakyReLU (He 2015, arXiv:1502.01852)."""
    layer = nn.Conv2d(before, after, size, 1, size // 2)
    nn.init.kaiming_normal_(layer.weight, a=0.2)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class Block(nn.Module):
    """x + two 3x3 convolutions of x. The last one begins at zero, so that each block begins as the identity
    (Zhang 2019, arXiv:1901.09321)."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        first, last = conv(width, width), conv(width, width)
        nn.init.zeros_(last.weight)
        self.main = nn.Sequential(
            nn.BatchNorm2d(width) if norm else nn.Identity(),
            nn.LeakyReLU(0.2),
            first,
            nn.BatchNorm2d(width) if norm else nn.Identity(),
            nn.LeakyReLU(0.2),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.main(x)


class Generator(nn.Module):
    """z (B, z_dim), and labels (B,) if there are `classes`, -> images (B, channels, R, R).

    The maps begin at 4 x 4 pixels and double bilinearly; `widths` are their channels. The label scales and shifts the
    channels of every map but the first, which all classes share. `strength`, 0 to 1, is how much the label counts.
    """

    def __init__(self, z_dim: int, widths: list[int], blocks: int, channels: int, classes: int, norm: bool) -> None:
        super().__init__()
        self.first = nn.Linear(z_dim, 16 * widths[0])
        self.stages = nn.ModuleList(nn.Sequential(*(Block(w, norm) for _ in range(blocks))) for w in widths)
        self.narrow = nn.ModuleList(conv(before, after, 1) for before, after in pairwise(widths))
        self.styles = nn.ModuleList(nn.Embedding(classes, 2 * w) for w in widths[1:] if classes)
        self.last = nn.Sequential(
            nn.BatchNorm2d(widths[-1]) if norm else nn.Identity(),
            nn.LeakyReLU(0.2),
            conv(widths[-1], 4 * channels),
            nn.PixelShuffle(2),
            nn.Tanh(),
        )

    def forward(self, z: Tensor, label: Tensor | None, strength: Tensor) -> Tensor:
        x = self.first(z).unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        x = self.stages[0](x)
        for number, (narrow, stage) in enumerate(zip(self.narrow, self.stages[1:], strict=True)):
            x = F.interpolate(narrow(x), scale_factor=2.0, mode="bilinear", align_corners=False)
            if self.styles:
                scale, shift = (strength * self.styles[number](label))[:, :, None, None].chunk(2, 1)
                x = x * (1 + scale) + shift
            x = stage(x)
        return self.last(x)


class Discriminator(nn.Module):
    """Images (B, channels, R, R), and labels (B,) if there are `classes`, -> logits (B,)."""

    def __init__(self, widths: list[int], blocks: int, channels: int, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(2), conv(4 * channels, widths[0])]
        for before, after in pairwise(widths):
            layers += [*(Block(before, False) for _ in range(blocks)), nn.AvgPool2d(2), conv(before, after, 1)]
        layers += [*(Block(widths[-1], False) for _ in range(blocks)), nn.LeakyReLU(0.2), nn.Flatten()]
        self.trunk, features = nn.Sequential(*layers), 16 * widths[-1]
        self.last = nn.Linear(features, 1)
        self.label = nn.Embedding(classes, features) if classes else None
        if self.label:
            nn.init.normal_(self.label.weight, 0, features**-0.5)

    def forward(self, x: Tensor, label: Tensor | None, strength: Tensor) -> Tensor:
        features = self.trunk(x)
        logit = self.last(features).flatten()
        if self.label:  # Miyato, Koyama 2018, arXiv:1802.05637, eq. 3
            logit = logit + strength * (features * self.label(label)).sum(1)
        return logit

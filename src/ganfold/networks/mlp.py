"""The fully connected networks of the first GANs (Goodfellow 2014, arXiv:1406.2661), with BatchNorm and LeakyReLU."""

from __future__ import annotations

import math

from torch import nn


class Generator(nn.Sequential):
    """z (B, z_dim) -> images (B, channels, R, R) in (-1, 1)."""

    def __init__(self, z_dim: int, channels: int, resolution: int) -> None:
        image = (channels, resolution, resolution)
        layers: list[nn.Module] = []
        for before, after in [(z_dim, 128), (128, 256), (256, 512), (512, 1024)]:
            # Keras calls this momentum 0.8. `BatchNorm1d(after, 0.8)`, a frequent translation, sets eps to 0.8.
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after, momentum=0.2), nn.LeakyReLU(0.2, True)]
        super().__init__(*layers, nn.Linear(1024, math.prod(image)), nn.Tanh(), nn.Unflatten(1, image))


class PlainGenerator(nn.Sequential):
    """z (B, z_dim) -> images (B, channels, R, R) in (-1, 1): four layers with ReLU and no norm, as `wgan` tries."""

    def __init__(self, z_dim: int, channels: int, resolution: int, width: int = 512) -> None:
        image = (channels, resolution, resolution)
        layers: list[nn.Module] = []
        for before in (z_dim, width, width):
            layers += [nn.Linear(before, width), nn.ReLU(True)]
        super().__init__(*layers, nn.Linear(width, math.prod(image)), nn.Tanh(), nn.Unflatten(1, image))


class Discriminator(nn.Sequential):
    """Images (B, channels, R, R) -> one logit each (B,)."""

    def __init__(self, channels: int, resolution: int) -> None:
        trunk = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * resolution**2, 512),
            nn.LeakyReLU(0.2, True),
            nn.Linear(512, 256),
            nn.LeakyReLU(0.2, True),
        )
        super().__init__(trunk, nn.Sequential(nn.Linear(256, 1), nn.Flatten(0)))
        self.features = 256  # values that the trunk gives

"""The networks of DCGAN (Radford, Metz, Chintala 2015, arXiv:1511.06434), for images of 16 to 256 pixels."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from ganfold.networks.strided import Double, FromLatent, Halve, ToLogit, pyramid


class Generator(nn.Sequential):
    """z (B, z_dim) -> images (B, channels, R, R) in (-1, 1): transposed convolutions 4-2-1 (sec. 3, fig. 1)."""

    def __init__(self, z_dim: int, width: int, channels: int, resolution: int) -> None:
        widths = pyramid(width, resolution)[::-1]  # from 4x4 up
        layers: list[nn.Module] = [FromLatent(z_dim, widths[0])]
        for before, after in pairwise([*widths, channels]):
            layers += [nn.BatchNorm2d(before), nn.ReLU(True), Double(before, after)]
        super().__init__(*layers, nn.Tanh())


class Discriminator(nn.Sequential):
    """Images (B, channels, R, R) -> one logit each (B,): strided convolutions 4-2-1, no pooling, no dense layer.

    Args:
        norm: put BatchNorm after every convolution but the first. Without it each image is judged by itself.
        twice: allow second derivatives, which a gradient penalty takes. This is slower on a CPU.
    """

    def __init__(self, width: int, channels: int, resolution: int, norm: bool = True, twice: bool = False) -> None:
        widths = pyramid(width, resolution)  # from the image down to 4x4
        layers: list[nn.Module] = [Halve(channels, width, twice), nn.LeakyReLU(0.2, True)]
        for before, after in pairwise(widths):
            layers += [Halve(before, after, twice), *([nn.BatchNorm2d(after)] if norm else [])]
            layers += [nn.LeakyReLU(0.2, True)]
        super().__init__(nn.Sequential(*layers), ToLogit(widths[-1]))
        self.features = 16 * widths[-1]  # values in the last map, of 4x4 pixels


def initialise(module: nn.Module) -> None:
    """Weights N(0, 0.02) (sec. 4). BatchNorm's weights N(1, 0.02) and biases 0, as in the authors' code."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)

"""The networks of DCGAN (Radford, Metz, Chintala 2015, arXiv:1511.06434), for images of 16 to 256 pixels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from torch import nn

from ganfold.networks.strided import Double, FromLatent, Halve, ToLogit, pyramid


class Generator(nn.Sequential):
    """z (B, z_dim) -> images (B, channels, R, R) in (-1, 1): transposed convolutions (sec. 3).

    Kernels are 4-2-1. The authors' code has 5x5, with which output pixels get unequal numbers of terms.

    Args:
        kernel: 4, or 5 as in the authors' code.
    """

    def __init__(self, z_dim: int, width: int, channels: int, resolution: int, kernel: int = 4) -> None:
        widths = pyramid(width, resolution)[::-1]  # from 4x4 up
        layers: list[nn.Module] = [FromLatent(z_dim, widths[0])]
        for before, after in pairwise([*widths, channels]):
            layers += [nn.BatchNorm2d(before), nn.ReLU(True), double(before, after, kernel)]
        super().__init__(*layers, nn.Tanh())

    @property
    def last(self) -> nn.ConvTranspose2d:
        """The layer that makes the image."""
        layer = self[-2]
        assert isinstance(layer, nn.ConvTranspose2d)
        return layer


class Discriminator(nn.Sequential):
    """Images (B, channels, R, R) -> one logit each (B,): strided convolutions 4-2-1, no pooling, no dense layer.

    Args:
        norm: makes the norm after every convolution but the first. Without BatchNorm each image is judged by itself.
        twice: allow second derivatives, which a gradient penalty takes. This is slower on a CPU.
        kernel: 4, or 5 as in the authors' code.
    """

    def __init__(
        self,
        width: int,
        channels: int,
        resolution: int,
        norm: Callable[[int], nn.Module] | None = nn.BatchNorm2d,
        twice: bool = False,
        kernel: int = 4,
    ) -> None:
        widths = pyramid(width, resolution)  # from the image down to 4x4
        layers: list[nn.Module] = [halve(channels, width, kernel, twice), nn.LeakyReLU(0.2, True)]
        for before, after in pairwise(widths):
            layers += [halve(before, after, kernel, twice), *([norm(after)] if norm else []), nn.LeakyReLU(0.2, True)]
        super().__init__(nn.Sequential(*layers), ToLogit(widths[-1]))
        self.features = 16 * widths[-1]  # values in the last map, of 4x4 pixels


def halve(before: int, after: int, kernel: int, twice: bool) -> nn.Conv2d:
    """A convolution to a map of half the side: 4-2-1, or 5-2-2."""
    return Halve(before, after, twice) if kernel == 4 else nn.Conv2d(before, after, 5, 2, 2, bias=False)


def double(before: int, after: int, kernel: int) -> nn.ConvTranspose2d:
    """The transpose of `halve`. With a kernel of 5 a row of padding makes the output twice as large."""
    if kernel == 4:
        return Double(before, after)
    return nn.ConvTranspose2d(before, after, 5, 2, 2, output_padding=1, bias=False)


def up(widths: list[int]) -> list[nn.Module]:
    """BatchNorm and ReLU of the first map, and of each map that follows, twice as large."""
    layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU(True)]
    for before, after in pairwise(widths):
        layers += [Double(before, after), nn.BatchNorm2d(after), nn.ReLU(True)]
    return layers


def down(widths: list[int], norm: bool = True) -> list[nn.Module]:
    """Maps that are each half as large, with BatchNorm and LeakyReLU."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [Halve(before, after), *([nn.BatchNorm2d(after)] if norm else []), nn.LeakyReLU(0.2, True)]
    return layers


def initialise(module: nn.Module) -> None:
    """Weights N(0, 0.02) (sec. 4). BatchNorm's weights N(1, 0.02) and biases 0, as in the authors' code."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)

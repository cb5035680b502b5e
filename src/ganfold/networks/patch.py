"""The discriminator that judges patches (Isola 2017, arXiv:1611.07004, sec. 3.2.2)."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

REACHES = (16, 34, 70)  # side of the patch that a logit sees after 1, 2, 3 halvings, in pixels


class PatchGAN(nn.Sequential):
    """Images (B, C, R, R) -> logits (B, 1, h, w), each for a patch of `reach` pixels a side (sec. 6.1.2).

    Convolutions 4-2-1, then two 4-1-1. In a small image the patches are at most as large as the image.
    """

    def __init__(
        self, channels: int, width: int, resolution: int, reach: int, norm: Callable[[int], nn.Module]
    ) -> None:
        count = max(1, sum(r <= min(reach, resolution) for r in REACHES))
        widths = [width << number for number in range(count + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        for number in range(1, count + 1):
            stride = 2 if number < count else 1
            layers += [nn.Conv2d(widths[number - 1], widths[number], 4, stride, 1, bias=False), norm(widths[number])]
            layers += [nn.LeakyReLU(0.2, True)]
        super().__init__(*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1))

"""Networks on images of any size: tile by tile, so that the tile bounds the memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Network = Callable[[Tensor], Tensor]

OVERLAP = 4  # neighbouring tiles share at least a quarter of their side and fade into each other there


@torch.inference_mode()
def tiled(network: Network, image: Tensor, *, scale: int = 1, tile: int = 256, margin: int = 32) -> Tensor:
    """Apply a network of limited reach tile by tile. There are no seams if `margin` covers the network's reach.

    Args:
        network: (1, C, h, w) -> (1, C', h * scale, w * scale), for any h and w up to tile + 2 * margin.
        image: float (1, C, H, W).
        scale: how many times larger the network's output is.
        tile: side of a tile of `image`, in pixels.
        margin: pixels around a tile that the network also sees; their output is cut off.

    Returns:
        (1, C', H * scale, W * scale), of the network's type.
    """
    height, width = image.shape[2:]
    if max(height, width) <= tile + 2 * margin:
        return network(image)
    whole: Tensor | None = None
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(height, top + tile), min(width, left + tile)
            above, before = max(0, top - margin), max(0, left - margin)
            made = network(image[:, :, above : min(height, bottom + margin), before : min(width, right + margin)])
            if whole is None:
                whole = made.new_empty(1, made.shape[1], height * scale, width * scale)
            y, x = (top - above) * scale, (left - before) * scale
            part = made[:, :, y : y + (bottom - top) * scale, x : x + (right - left) * scale]
            whole[:, :, top * scale : bottom * scale, left * scale : right * scale] = part
    assert whole is not None
    return whole


@torch.inference_mode()
def fade_tiles(network: Network, image: Tensor, *, tile: int, multiple: int) -> Tensor:
    """Apply a network of unlimited reach: to the whole image if it fits into a tile, else to overlapping tiles.

    Each output pixel may depend on the whole tile, so a margin cannot hide the seams. Tiles fade into each other.

    Args:
        network: (1, C, h, w) -> (1, C', h, w), for h and w multiples of `multiple`.
        image: float (1, C, H, W), H and W at least half of `multiple`. Its mirror image fills up the borders.
        tile: largest side of a tile, in pixels.

    Returns:
        (1, C', H, W).
    """
    height, width = image.shape[2:]
    extra_y, extra_x = -height % multiple, -width % multiple
    top, left = extra_y // 2, extra_x // 2
    padded = F.pad(image, (left, extra_x - left, top, extra_y - top), mode="reflect")
    tile = tile // multiple * multiple
    high, wide = (min(tile, side) for side in padded.shape[2:])
    made = network(padded) if padded.shape[2:] == (high, wide) else _faded(network, padded, high, wide)
    return made[:, :, top : top + height, left : left + width]


def _faded(network: Network, image: Tensor, high: int, wide: int) -> Tensor:
    """The mean of the tiles' outputs at each pixel, weighted by the pixel's distance from the tile's border."""
    fade = _ramp(high)[:, None] * _ramp(wide)
    sums = weights = image.new_zeros(1, 1, *image.shape[2:])
    for y in _starts(image.shape[2], high):
        for x in _starts(image.shape[3], wide):
            part = network(image[:, :, y : y + high, x : x + wide])
            if sums is weights:
                sums = part.new_zeros(1, part.shape[1], *image.shape[2:])
            sums[:, :, y : y + high, x : x + wide] += part * fade
            weights[:, :, y : y + high, x : x + wide] += fade
    return sums.div_(weights)


def _starts(length: int, tile: int) -> list[int]:
    """Where tiles begin: evenly spaced, neighbours sharing at least a quarter of their side."""
    count = 1 if length == tile else 1 + -(-(length - tile) // (tile - tile // OVERLAP))
    return [round(start) for start in np.linspace(0, length - tile, count)]


def _ramp(tile: int) -> Tensor:
    """The weight of each pixel along a tile's side: it falls towards both ends and stays above 0."""
    reach = tile // OVERLAP
    place = torch.arange(tile) + 1.0
    return torch.minimum(place, place.flip(0)).clamp(max=reach) / reach

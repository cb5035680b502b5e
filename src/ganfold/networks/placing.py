"""Layers for text and place: words as one vector, maps cropped to a box, maps pasted into a box."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class Words(nn.Module):
    """Text (B, L), numbers of words with 0 for padding, -> (B, size).

    An embedding of each word, a convolution over three words, the maximum of each feature over the text, and a linear
    layer.
    """

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.word = nn.Embedding(words, size, padding_idx=0)
        self.near, self.last = nn.Conv1d(size, size, 3, padding=1), nn.Linear(size, size)

    def forward(self, text: Tensor) -> Tensor:
        found = self.near(self.word(text).transpose(1, 2)).relu() * (text > 0)[:, None]
        return self.last(found.amax(2))


class Place(nn.Module):
    """Boxes (B, 4) or keypoints (B, K, 3) -> boxes (B, 4) to work in, and maps (B, `maps`, side, side) of the place.

    A box has one map, which is 1 inside. Each keypoint has a map. The box of keypoints encloses all visible ones, with
    a margin of one pixel of the maps.
    """

    def __init__(self, where: Literal["box", "keypoints"], side: int, keypoints: int) -> None:
        super().__init__()
        self.where, self.side, self.maps = where, side, 1 if where == "box" else keypoints

    def forward(self, place: Tensor) -> tuple[Tensor, Tensor]:
        if self.where == "box":
            return place, paste(place.new_ones(place.shape[0], 1, self.side, self.side), place, self.side)
        unseen, spare = place[:, :, 2:] == 0, 1 / self.side  # if none is visible, the box is the whole image
        start = (place[:, :, :2].masked_fill(unseen, 1).amin(1) - spare).clamp(0, 1 - spare)
        start = start.masked_fill(unseen.all(1), 0)
        end = (place[:, :, :2].masked_fill(unseen, 0).amax(1) + spare).clamp(spare, 1).masked_fill(unseen.all(1), 1)
        return torch.cat([start, end - start], 1), bumps(place, self.side)


def crop(maps: Tensor, box: Tensor, size: int) -> Tensor:
    """The part of maps (B, C, H, H) in boxes (B, 4) of left, top, width, height as shares, as (B, C, size, size)."""
    side = maps.shape[-1]
    places = (torch.arange(size, dtype=box.dtype, device=box.device) + 0.5) / size
    left, top, width, height = box[:, :, None].unbind(1)
    return _read(maps, (left + width * places) * side, (top + height * places) * side, box[:, 2:] * side / size)


def paste(maps: Tensor, box: Tensor, size: int) -> Tensor:
    """Maps (B, C, h, h) fitted into boxes (B, 4) of maps (B, C, size, size), which are 0 elsewhere."""
    side = maps.shape[-1]
    places = (torch.arange(size, dtype=box.dtype, device=box.device) + 0.5) / size
    left, top, width, height = box[:, :, None].unbind(1)
    return _read(maps, (places - left) / width * side, (places - top) / height * side, side / size / box[:, 2:])


def _read(maps: Tensor, x: Tensor, y: Tensor, step: Tensor) -> Tensor:
    """Maps at the columns x and the rows y (B, size), interpolated linearly between pixels.

    If a step from one column to the next is longer than a pixel, the result is a mean over that step. Two matrix
    products do this, so that every run gives the same bits, on any device.
    """
    pixels = torch.arange(maps.shape[-1], dtype=x.dtype, device=x.device) + 0.5
    reach = step.clamp(min=1)[:, :, None, None]
    across, down = (
        (1 - (at[:, :, None] - pixels).abs() / reach[:, axis]).relu() / reach[:, axis] for axis, at in enumerate((x, y))
    )
    return torch.einsum("bcij,byi,bxj->bcyx", maps, down.to(maps.dtype), across.to(maps.dtype))


def bumps(points: Tensor, size: int, width: float = 1.0) -> Tensor:
    """Points (B, K, 3) of x and y as shares and 1 if visible, as maps (B, K, size, size).

    A visible point is a normal bump with this deviation in pixels and height 1. The map of an invisible point is 0.
    """
    places = torch.arange(size, dtype=points.dtype, device=points.device) + 0.5
    across, down = (torch.exp(-(((points[:, :, axis, None] * size - places) / width) ** 2) / 2) for axis in (0, 1))
    return points[:, :, 2, None, None] * down[:, :, :, None] * across[:, :, None, :]

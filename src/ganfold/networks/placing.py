"""Maps cropped to a box and put back into one, and words as one vector: what text and place need."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


class Words(nn.Module):
    """Text (B, L), numbers of words with 0 for nothing, -> (B, size): an embedding of each word, a convolution over
    three neighbours, of each feature the greatest value anywhere, and a linear layer."""

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.word = nn.Embedding(words, size, padding_idx=0)
        self.near, self.last = nn.Conv1d(size, size, 3, padding=1), nn.Linear(size, size)

    def forward(self, text: Tensor) -> Tensor:
        found = self.near(self.word(text).transpose(1, 2)).relu() * (text > 0)[:, None]
        return self.last(found.amax(2))


class Place(nn.Module):
    """Where: boxes (B, 4) to work in, and maps (B, `maps`, side, side) of the place. A box has one, 1 inside. Keypoints
    (B, K, 3) have one each, and their box is that around those which are seen, with a pixel of the maps to spare."""

    def __init__(self, where: Literal["box", "keypoints"], side: int, keypoints: int) -> None:
        super().__init__()
        self.where, self.side, self.maps = where, side, 1 if where == "box" else keypoints

    def forward(self, place: Tensor) -> tuple[Tensor, Tensor]:
        if self.where == "box":
            return place, paste(place.new_ones(len(place), 1, self.side, self.side), place, self.side)
        unseen, spare = place[:, :, 2:] == 0, 1 / self.side  # where none is seen it is the whole image
        start = (place[:, :, :2].masked_fill(unseen, 1).amin(1) - spare).clamp(0, 1 - spare)
        start = start.masked_fill(unseen.all(1), 0)
        end = (place[:, :, :2].masked_fill(unseen, 0).amax(1) + spare).clamp(spare, 1).masked_fill(unseen.all(1), 1)
        return torch.cat([start, end - start], 1), bumps(place, self.side)


def crop(maps: Tensor, box: Tensor, size: int) -> Tensor:
    """What of maps (B, C, H, H) lies in boxes (B, 4), left, top, width and height as shares, as (B, C, size, size)."""
    side = maps.shape[-1]
    places = (torch.arange(size, dtype=box.dtype, device=box.device) + 0.5) / size
    left, top, width, height = box[:, :, None].unbind(1)
    return _read(maps, (left + width * places) * side, (top + height * places) * side, box[:, 2:] * side / size)


def paste(maps: Tensor, box: Tensor, size: int) -> Tensor:
    """Maps (B, C, h, h) fitted into boxes (B, 4) of maps (B, C, size, size) that are 0 elsewhere."""
    side = maps.shape[-1]
    places = (torch.arange(size, dtype=box.dtype, device=box.device) + 0.5) / size
    left, top, width, height = box[:, :, None].unbind(1)
    return _read(maps, (places - left) / width * side, (places - top) / height * side, side / size / box[:, 2:])


def _read(maps: Tensor, x: Tensor, y: Tensor, step: Tensor) -> Tensor:
    """Maps read at the columns x and the rows y (B, size), by straight lines between pixels; where one step to the next
    is more than a pixel, the mean over it. Two matrix products: the same bits each time, on any device."""
    pixels = torch.arange(maps.shape[-1], dtype=x.dtype, device=x.device) + 0.5
    reach = step.clamp(min=1)[:, :, None, None]
    across, down = (
        (1 - (at[:, :, None] - pixels).abs() / reach[:, axis]).relu() / reach[:, axis] for axis, at in enumerate((x, y))
    )
    return torch.einsum("bcij,byi,bxj->bcyx", maps, down.to(maps.dtype), across.to(maps.dtype))


def bumps(points: Tensor, size: int, width: float = 1.0) -> Tensor:
    """Points (B, K, 3), x and y as shares and whether it is seen, as maps (B, K, size, size): each a normal bump of
    this deviation in pixels and height 1 at its point, or nothing."""
    places = torch.arange(size, dtype=points.dtype, device=points.device) + 0.5
    across, down = (torch.exp(-(((points[:, :, axis, None] * size - places) / width) ** 2) / 2) for axis in (0, 1))
    return points[:, :, 2, None, None] * down[:, :, :, None] * across[:, :, None, :]

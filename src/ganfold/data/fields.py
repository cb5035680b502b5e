"""Rows of an image set as the fields of a batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganfold.data import ImageSet
from ganfold.images.pixels import to_float


class Fields:
    """Makes batches of an image set for a device.

    On a GPU the set is kept as uint8 in its memory if it takes at most half of what is free. Otherwise it is read from
    disk.
    """

    def __init__(self, data: ImageSet, device: torch.device) -> None:
        self.data, self.device = data, device
        self._images = self._resident(data)
        self._inputs = None if data.inputs is None else self._resident(data.inputs)

    def __call__(
        self,
        index: np.ndarray,
        others: np.ndarray | None = None,
        *,
        cut: np.ndarray | None = None,
        others_cut: np.ndarray | None = None,
    ) -> dict[str, Tensor]:
        """The fields of the images with these numbers.

        Args:
            index: the numbers of the images.
            others: the numbers of the inputs that go with them, where the set has `inputs` without partners.
            cut: where each crop begins, (B, 2) in (0, 1), as a share of the room; None: in the middle.
            others_cut: the same for `others`.
        """
        fields = {"image": self._pixels(self.data, self._images, index, cut)}
        if self.data.labels is not None:
            fields["label"] = torch.from_numpy(self.data.labels[index]).to(self.device)
        if self.data.inputs is not None:
            rows = others if self.data.partner is None else self.data.partner[index]
            assert rows is not None
            fields["input"] = self._pixels(
                self.data.inputs, self._inputs, rows, cut if self.data.partner is not None else others_cut
            )
        if captions := self.data.captions:
            fields["text"] = torch.from_numpy(captions.tokens[index].astype(np.int64)).to(self.device)
            fields["box"] = torch.from_numpy(captions.boxes[index]).to(self.device)
            if captions.keypoints is not None:
                fields["keypoints"] = torch.from_numpy(captions.keypoints[index]).to(self.device)
        return fields

    def _pixels(self, data: ImageSet, resident: Tensor | None, index: np.ndarray, cut: np.ndarray | None) -> Tensor:
        """float32 in [-1, 1]."""
        if resident is not None:
            pixels = resident[torch.from_numpy(index).to(self.device)]
        else:
            pixels = torch.from_numpy((data.images if cut is None else _whole(data))[index])
        if pixels.shape[2] > data.resolution:
            pixels = _crops(pixels, data.resolution, cut)
        if resident is None and self.device.type != "cpu":
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        return to_float(pixels, torch.channels_last)

    def _resident(self, data: ImageSet) -> Tensor | None:
        """The images in the memory of the device; None if they are read from disk."""
        images = _whole(data)
        if self.device.type == "cpu":
            return None
        if self.device.type == "cuda" and images.nbytes > torch.cuda.mem_get_info(self.device)[0] // 2:
            return None
        whole = torch.empty(images.shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(whole), 4096):  # in blocks: host memory holds no second copy
            whole[start : start + 4096] = torch.from_numpy(np.array(images[start : start + 4096]))
        return whole


def _whole(data: ImageSet) -> np.ndarray:
    """The images that training cuts from; the images themselves where it cuts none."""
    return data.images if data.wider is None else data.wider


def _crops(pixels: Tensor, side: int, cut: np.ndarray | None) -> Tensor:
    """A square of each image; see `Fields`."""
    room = pixels.shape[2] - side
    if cut is None:
        corners = np.full((len(pixels), 2), room // 2)
    else:
        corners = np.minimum(cut.astype(np.float64) * (room + 1), room).astype(int)
    return torch.stack(
        [
            image[:, top : top + side, left : left + side]
            for image, (top, left) in zip(pixels, corners.tolist(), strict=True)
        ]
    )


def flipped(fields: dict[str, Tensor], heads: Tensor) -> dict[str, Tensor]:
    """The fields with those images mirrored left to right where `heads`, bool (B,), is true."""
    mirrored = dict(fields)
    for name in ("image", "input"):
        if name in fields:
            mirrored[name] = torch.where(heads[:, None, None, None], fields[name].flip(3), fields[name])
    if "box" in fields:
        left, top, width, height = fields["box"].unbind(1)
        mirrored["box"] = torch.stack([torch.where(heads, 1 - left - width, left), top, width, height], 1)
    if "keypoints" in fields:
        x, y, seen = fields["keypoints"].unbind(2)
        mirrored["keypoints"] = torch.stack([torch.where(heads[:, None], 1 - x, x), y, seen], 2)
    return mirrored

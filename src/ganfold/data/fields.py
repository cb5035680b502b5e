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
        self._images = self._resident(data.images)
        self._inputs = None if data.inputs is None else self._resident(data.inputs.images)

    def __call__(self, index: np.ndarray, others: np.ndarray | None = None) -> dict[str, Tensor]:
        """The fields of the images with these numbers.

        Where the set has `inputs` without partners, `others` are the numbers of the inputs that go with them.
        """
        fields = {"image": self._pixels(self.data.images, self._images, index)}
        if self.data.labels is not None:
            fields["label"] = torch.from_numpy(self.data.labels[index]).to(self.device)
        if self.data.inputs is not None:
            rows = others if self.data.partner is None else self.data.partner[index]
            assert rows is not None
            fields["input"] = self._pixels(self.data.inputs.images, self._inputs, rows)
        if captions := self.data.captions:
            fields["text"] = torch.from_numpy(captions.tokens[index].astype(np.int64)).to(self.device)
            fields["box"] = torch.from_numpy(captions.boxes[index]).to(self.device)
            if captions.keypoints is not None:
                fields["keypoints"] = torch.from_numpy(captions.keypoints[index]).to(self.device)
        return fields

    def _pixels(self, images: np.ndarray, resident: Tensor | None, index: np.ndarray) -> Tensor:
        """float32 in [-1, 1]."""
        if resident is not None:
            pixels = resident[torch.from_numpy(index).to(self.device)]
        else:
            pixels = torch.from_numpy(images[index])
            if self.device.type != "cpu":
                pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        return to_float(pixels, torch.channels_last)

    def _resident(self, images: np.ndarray) -> Tensor | None:
        """The images in the memory of the device; None if they are read from disk."""
        if self.device.type == "cpu":
            return None
        if self.device.type == "cuda" and images.nbytes > torch.cuda.mem_get_info(self.device)[0] // 2:
            return None
        whole = torch.empty(images.shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(whole), 4096):  # in blocks: host memory holds no second copy
            whole[start : start + 4096] = torch.from_numpy(np.array(images[start : start + 4096]))
        return whole


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

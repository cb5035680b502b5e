"""Rows of an image set as the fields of a batch; and what samples are made from, where that comes from real images."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ganfold.data import ImageSet
from ganfold.gans.contract import GAN, Batch, Terms


class Fields:
    """An image set on a device: there as uint8 when it fits in half of the free memory, else a memory map on disk."""

    def __init__(self, data: ImageSet, device: torch.device) -> None:
        self.data, self.device = data, device
        self._images = self._resident(data.images)
        self._inputs = None if data.inputs is None else self._resident(data.inputs.images)

    def __call__(self, index: np.ndarray, others: np.ndarray | None = None) -> Terms:
        """The fields of these images; where the set has `inputs` without partners, of the inputs `others` with them."""
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
        return pixels.to(memory_format=torch.channels_last, dtype=torch.float32).div_(127.5).sub_(1)

    def _resident(self, images: np.ndarray) -> Tensor | None:
        if self.device.type == "cpu":
            return None
        if self.device.type == "cuda" and images.nbytes > torch.cuda.mem_get_info(self.device)[0] // 2:
            return None
        whole = torch.empty(images.shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(whole), 4096):  # in blocks, so that no second copy stands in host memory
            whole[start : start + 4096] = torch.from_numpy(np.array(images[start : start + 4096]))
        return whole


def _bytes(images: Tensor, shape: tuple[int, ...]) -> np.ndarray:
    """Images (B, 1 or C, h, w) in [-1, 1] as uint8 (B, H, W, C), pixels repeated."""
    size = F.interpolate(images.float(), shape[1:3], mode="nearest").expand(-1, shape[3], -1, -1)
    values = size.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return values.permute(0, 2, 3, 1).cpu().numpy()


def flipped(fields: Terms, heads: Tensor) -> Terms:
    """The fields of images of which those at `heads`, bool (B,), are mirrored left to right."""
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


class FromReals:
    """What samples are made from where that comes from real images: sample `i` from held-out image `i`, and so round.

    From training images where none is held out. `seed` decides their order, and what the GAN itself draws (a mask).
    """

    def __init__(self, gan: GAN, data: ImageSet, seed: int, device: torch.device | None = None) -> None:
        self.gan, self.seed, self.device = gan, seed, device or torch.device("cpu")
        self.data, self._fields = data, Fields(data, torch.device("cpu"))
        order = np.random.default_rng(seed)  # on disk they often lie class by class
        self.images = order.permutation(data.held_out if len(data.held_out) else data.train)
        other = data.inputs if data.partner is None else None
        self._others = (
            None if other is None else order.permutation(other.held_out if len(other.held_out) else other.train)
        )

    def batch(self, rows: Tensor) -> Batch:
        """The real images (and all fields of theirs) of the samples with these numbers."""
        numbers = rows.cpu().numpy()
        others = None if self._others is None else self._others[numbers % len(self._others)]
        fields = self._fields(self.images[numbers % len(self.images)], others)
        batch = Batch({name: values.to(self.device) for name, values in fields.items()}, rows.to(self.device))
        batch.begin(self.seed, "given")
        return batch

    def __call__(self, rows: Tensor) -> Terms:
        return self.gan.given(self.batch(rows))

    def beside(self, made: np.ndarray, start: int = 0) -> tuple[np.ndarray, int]:
        """Samples from `start` on, uint8 (N, H, W, C), each between what it was made from and what it should be.

        Returns:
            uint8 (N * K, H, W, C), and K: 3, 2 where nothing says what it should be, 1 where it was made from no image.
        """
        batch = self.batch(torch.arange(start, start + len(made), device=self.device))
        channels = made.shape[3]
        shown = [
            field[:, :channels]  # one more says what is seen
            for field in self.gan.given(batch).values()
            if field.ndim == 4 and field.shape[1] in (1, channels, channels + 1)
        ]
        if not shown:
            return made, 1
        parts = [_bytes(shown[0], made.shape), made]
        if self._others is None:
            parts.append(_bytes(batch["image"], made.shape))
        return np.stack(parts, 1).reshape(-1, *made.shape[1:]), len(parts)


def from_reals(gan: GAN, data: ImageSet, seed: int, device: torch.device | None = None) -> FromReals | None:
    """`FromReals` where the GAN makes its samples from fields of real images; None where latents and labels do."""
    return None if type(gan).given is GAN.given else FromReals(gan, data, seed, device)

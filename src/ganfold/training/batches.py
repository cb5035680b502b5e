"""Mini-batches in an order that follows from the seed alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ganfold.data import ImageSet
from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import Batch
from ganfold.training.ranks import Ranks


class Batches:
    """The training part of an image set as an endless row of batches, each a function of its number.

    Batch `k` over all ranks holds images [k * size, (k + 1) * size) of the row of epochs, each epoch a
    permutation that follows from (seed, epoch); a rank gets its contiguous share. The whole set lies on the
    device as uint8 when it fits in half of the free memory there, else it stays a memory map on disk.

    With `temper` below 1 an epoch is as long, but classes come as often as their share to that power says: at 0.5
    a class with a hundredth of another's images comes a tenth as often, at 0 all come equally often.
    """

    def __init__(
        self,
        data: ImageSet,
        *,
        seed: int,
        size: int,
        ranks: Ranks,
        device: torch.device,
        flips: bool,
        temper: float = 1.0,
    ) -> None:
        if size > len(data.train):
            raise GanfoldError(
                f"a batch of {size} is larger than the {len(data.train)} training images of {data.source}: "
                f"give --batch {max(2, len(data.train) // 2)} or less"
            )
        if size % ranks.world:
            raise GanfoldError(f"a batch of {size} cannot be shared by {ranks.world} ranks: make it a multiple")
        self.data, self.seed, self.size, self.device, self.flips = data, seed, size, device, flips
        self._members = tempered = None
        if temper < 1 and data.labels is not None:
            labels = data.labels[data.train]
            counts = np.bincount(labels, minlength=len(data.classes))
            self._members = np.split(data.train[np.argsort(labels, kind="stable")], np.cumsum(counts)[:-1])
            tempered = np.where(counts > 0, counts.astype(float) ** temper, 0)
            tempered = tempered / tempered.sum()
        self._shares = tempered
        share = size // ranks.world
        self._places = np.arange(ranks.rank * share, (ranks.rank + 1) * share)
        self._rows = torch.from_numpy(self._places).to(device)
        self._epochs: dict[int, np.ndarray] = {}
        self._resident = self._on_device() if device.type != "cpu" else None

    def draw(self, number: int) -> Batch:
        """Batch `number` of this rank: `image` float32 (B, C, H, W) in [-1, 1], `label` int64 (B,) if any."""
        index = self._indices(number * self.size + self._places)
        images = self._images(index).to(memory_format=torch.channels_last, dtype=torch.float32)
        images = images.div_(127.5).sub_(1)
        if self.flips:
            heads = noise.uniform(noise.key_of(self.seed, "flip", number), self._rows) < 0.5
            images = torch.where(heads[:, None, None, None], images.flip(3), images)
        fields = {"image": images}
        if self.data.labels is not None:
            fields["label"] = torch.from_numpy(self.data.labels[index]).to(self.device)
        return Batch(fields, self._rows)

    def _images(self, index: np.ndarray) -> Tensor:
        if self._resident is not None:
            return self._resident[torch.from_numpy(index).to(self.device)]
        images = torch.from_numpy(self.data.images[index])
        return images if self.device.type == "cpu" else images.pin_memory().to(self.device, non_blocking=True)

    def _indices(self, positions: np.ndarray) -> np.ndarray:
        """Which images stand at these positions of the endless row of epochs."""
        count = len(self.data.train)
        epochs = positions // count
        for epoch in set(epochs.tolist()) - self._epochs.keys():
            generator = np.random.Generator(np.random.Philox(key=noise.key_of(self.seed, "epoch", epoch)))
            self._epochs[epoch] = self._tempered(generator) if self._members else generator.permutation(self.data.train)
        self._epochs = {e: order for e, order in self._epochs.items() if e >= epochs.max() - 1}
        return np.array(
            [self._epochs[e][p] for e, p in zip(epochs.tolist(), (positions % count).tolist(), strict=True)]
        )

    def _tempered(self, generator: np.random.Generator) -> np.ndarray:
        """An epoch in which each class has its tempered share; its images take turns."""
        assert self._members
        classes = generator.choice(len(self._members), len(self.data.train), p=self._shares)
        order = np.empty_like(self.data.train)
        for number, members in enumerate(self._members):
            places = np.flatnonzero(classes == number)
            turns = -(-len(places) // max(1, len(members)))
            rows = [generator.permutation(members) for _ in range(turns)]
            order[places] = np.concatenate(rows)[: len(places)] if rows else members[:0]
        return order

    def _on_device(self) -> Tensor | None:
        if self.device.type == "cuda" and self.data.images.nbytes > torch.cuda.mem_get_info(self.device)[0] // 2:
            return None
        whole = torch.empty(self.data.images.shape, dtype=torch.uint8, device=self.device)
        for start in range(0, len(whole), 4096):  # in blocks, so that no second copy stands in host memory
            whole[start : start + 4096] = torch.from_numpy(np.array(self.data.images[start : start + 4096]))
        return whole

"""Mini-batches in an order that depends on the seed alone."""

from __future__ import annotations

import numpy as np
import torch

from ganfold.data import ImageSet
from ganfold.data.fields import Fields, flipped
from ganfold.errors import GanfoldError
from ganfold.gans import noise
from ganfold.gans.contract import Batch
from ganfold.training.ranks import Ranks


class Batches:
    """The training part of an image set as an endless row of batches, each a function of its number.

    Batch `k` over all ranks holds images [k * size, (k + 1) * size) of the row of epochs. Each epoch is a permutation
    that depends on (seed, epoch). A rank gets its contiguous share. Unpaired inputs have their own epochs.

    With `temper` below 1 an epoch is as long, but classes are drawn by their share to that power. At 0.5 a class with
    a hundredth of another's images comes a tenth as often; at 0 all classes come equally often.

    Of a set with wider images a random square is cut each time: the same of an image and of the input that it is paired
    with, and another of an unpaired input.
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
        self._other_epochs: dict[int, np.ndarray] = {}
        self._fields = Fields(data, device)
        self._others = None if data.inputs is None or data.partner is not None else data.inputs.train

    def draw(self, number: int) -> Batch:
        """Batch `number` of this rank, with the fields that `GAN.data_kind` and the data have."""
        positions = number * self.size + self._places
        others = None if self._others is None else self._unpaired(positions)
        cut, others_cut = self._cut("crop", number), self._cut("other crop", number)
        fields = self._fields(self._indices(positions), others, cut=cut, others_cut=others_cut)
        if self.flips:
            heads = noise.uniform(noise.key_of(self.seed, "flip", number), self._rows) < 0.5
            fields = flipped(fields, heads)
        return Batch(fields, self._rows)

    def _cut(self, purpose: str, number: int) -> np.ndarray | None:
        """Where the crops of a batch begin; see `Fields`. It is drawn on the CPU: no step waits for the device."""
        if self.data.wider is None:
            return None
        key = noise.key_of(self.seed, purpose, number)
        return noise.uniform(key, torch.from_numpy(self._places), 2).numpy()

    def _unpaired(self, positions: np.ndarray) -> np.ndarray:
        """The numbers of the images of the other domain at these positions of its own row of epochs."""
        assert self._others is not None
        count = len(self._others)
        epochs = positions // count
        orders = {
            epoch: np.random.Generator(np.random.Philox(key=noise.key_of(self.seed, "other epoch", epoch))).permutation(
                self._others
            )
            for epoch in set(epochs.tolist()) - self._other_epochs.keys()
        }
        self._other_epochs = {e: o for e, o in (self._other_epochs | orders).items() if e >= epochs.max() - 1}
        places = (positions % count).tolist()
        return np.array([self._other_epochs[e][p] for e, p in zip(epochs.tolist(), places, strict=True)])

    def _indices(self, positions: np.ndarray) -> np.ndarray:
        """The numbers of the images at these positions of the row of epochs."""
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
        """An epoch in which each class has its tempered share. The images of a class take turns."""
        assert self._members
        classes = generator.choice(len(self._members), len(self.data.train), p=self._shares)
        order = np.empty_like(self.data.train)
        for number, members in enumerate(self._members):
            places = np.flatnonzero(classes == number)
            turns = -(-len(places) // max(1, len(members)))
            rows = [generator.permutation(members) for _ in range(turns)]
            order[places] = np.concatenate(rows)[: len(places)] if rows else members[:0]
        return order

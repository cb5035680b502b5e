"""A script for torchrun: trains a GAN without BatchNorm for some steps and saves the state of rank 0."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from ganfold.data import load
from ganfold.gans.contract import GAN, NOTHING, Batch, Condition, Phase, Shape, Terms, adam
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer


class Plain(GAN):
    """It has all that ranks could disturb: rounds with early fakes, noise in the loss, a lazy phase. No BatchNorm."""

    def __init__(self) -> None:
        super().__init__(None, Shape(3, 16))
        self.G = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 768), nn.Tanh(), nn.Unflatten(1, (3, 16, 16)))
        self.D = nn.Sequential(nn.Flatten(), nn.Linear(768, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))
        self.latent = (5,)
        self.optimizers = {n: adam(net.parameters(), 1e-3, (0.5, 0.9)) for n, net in self.named_children()}
        self.phases = [
            Phase(self.critic, "D", rounds=2),
            Phase(self.generator, "G", early=self.fake),
            Phase(self.lazy, "D", every=3),
        ]

    def fake(self, batch: Batch) -> Terms:
        return {"fake": self.G(batch.normal(5))}

    def critic(self, batch: Batch) -> Terms:
        real = self.D(batch["image"] + 0.1 * batch.normal(3, 16, 16))
        return {"real": (1 - real).relu().mean(), "fake": (1 + self.D(batch["fake"])).relu().mean()}

    def generator(self, batch: Batch) -> Terms:
        return {"fake": -self.D(batch["fake"]).mean()}

    def lazy(self, batch: Batch) -> Terms:
        return {"drift": self.D(batch["image"]).square().mean()}

    def sample(self, z: Tensor, condition: Condition = NOTHING) -> Tensor:
        return self.G(z)


def main(data: str, out: str, steps: int) -> None:
    torch.set_num_threads(1)
    cpu, ranks = torch.device("cpu"), Ranks("cpu")
    torch.manual_seed(ranks.rank)  # each rank begins with other weights: the broadcast must make them equal
    batches = Batches(load(data, progress=False), seed=0, size=16, ranks=ranks, device=cpu, flips=True)
    trainer = Trainer(Plain(), batches, seed=0, device=cpu, ranks=ranks, ema_images=1000)
    for _ in range(steps):
        trainer.step()
    ranks.average(trainer.meter.sums())
    if ranks.first:
        tensors, _ = trainer.state()
        torch.save({**tensors, "world": torch.tensor(ranks.world)}, out)
    ranks.close()
    threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]  # none if there is no /proc
    assert not any("gloo" in name for name in threads), threads  # one that outlives the group can abort the exit


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(Path(sys.argv[2]).stem.split("-")[1]))

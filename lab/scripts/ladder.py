"""From DCGAN to R3GAN rung by rung, each for the same time; see
lab/entries/2026-11-21-is-r3gan-good-in-minutes-on-a-cpu.md.

    OMP_NUM_THREADS=1 python lab/scripts/ladder.py --minutes 3 --seeds 0 1 2 [--rungs "hinge, spectral norm" ...]

A rung changes one part of the rung before it: networks, loss or constraint. The metrics are those of
`ganfold evaluate`, of the last checkpoint.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from equal_time import measure, seen, train
from ganfold.gans import r3gan
from ganfold.gans.contract import GAN, Batch, Phase, Shape, Terms
from ganfold.gans.losses import LOSSES, relativistic
from ganfold.runs import checkpoint
from ganfold.runs.run import Run, build
from harness import record


@dataclass(frozen=True)
class Config(r3gan.Config):
    game: Literal["nonsaturating", "hinge", "relativistic"] = "relativistic"
    constraint: Literal["none", "spectral norm", "penalty", "every eighth step"] = "penalty"


class Rung(r3gan.R3GAN):
    config_class = Config

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.constraint == "spectral norm":
            for layer in self.D.modules():
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    nn.init.kaiming_normal_(layer.weight, a=0.2)  # a weight of zeros has no norm
                    spectral_norm(layer)
        if config.constraint == "every eighth step":
            self.phases.insert(1, Phase(self.penalty, "D", every=8))

    def discriminator(self, batch: Batch) -> Terms:
        if self.config.game == "relativistic" and self.config.constraint == "penalty":
            return super().discriminator(batch)
        real, fake = self.judge(batch, batch["image"]), self.judge(batch, batch["fake"])
        if self.config.game == "relativistic":
            both = {"centring": self.config.centring * (real + fake).square().mean()}
            return {"game": relativistic(real, fake).mean()} | both
        loss = LOSSES[self.config.game]
        return {"real": loss.real(real).mean(), "fake": loss.fake(fake).mean()}

    def penalty(self, batch: Batch) -> Terms:
        """Eight times as strong on each eighth step (Karras 2020, arXiv:1912.04958, sec. 3.1)."""
        x, fake = self.augment(batch, batch["image"]), self.augment(batch, batch["fake"])
        slopes = self.exact(batch, x, fake)[2]
        return {"penalty": 8 * self.gamma * (1 - 0.9 * self.progress()) / 2 * slopes}

    def generator(self, batch: Batch) -> Terms:
        if self.config.game == "relativistic":
            return super().generator(batch)
        return {"fake": LOSSES[self.config.game].generator(self.judge(batch, batch["fake"])).mean()}


SMALL: dict[str, Any] = {"width": 32, "batch": 32}
RESIDUAL: dict[str, Any] = {"augment": 0.5, "norm": False, "labels": False}
RUNGS: dict[str, tuple[str | type[GAN], dict[str, Any]]] = {
    "dcgan": ("dcgan", SMALL),  # of width 32 and batch 32
    "DiffAugment": ("dcgan", SMALL | {"augment": 0.5}),
    "residual": (Rung, RESIDUAL | {"game": "nonsaturating", "constraint": "none"}),  # no norm in G and D
    "hinge, spectral norm": (Rung, RESIDUAL | {"game": "hinge", "constraint": "spectral norm"}),
    "relativistic, differences": (Rung, RESIDUAL),
    "relativistic, exact": (Rung, RESIDUAL | {"penalty": "exact"}),
    "relativistic, every eighth step": (Rung, RESIDUAL | {"constraint": "every eighth step"}),
    "rsgan": ("rsgan", {}),
}


def without_average(run: Run) -> Run:
    """The same run with the weights of the last step in place of their average."""
    tensors, _ = checkpoint.load(checkpoint.checkpoints(run.path / "checkpoints")[-1])
    gan = build(run.record, run.gan_class)
    own = {name.removeprefix("gan."): tensor for name, tensor in tensors.items() if name.startswith("gan.")}
    checkpoint.restore(gan, own, run.path)
    raw = Run(run.path, "last", run.gan_class)
    vars(raw)["gan"] = gan.eval().requires_grad_(False)
    return raw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=3.0, help="of the process's own computing")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rungs", choices=list(RUNGS), nargs="+", default=list(RUNGS))
    parser.add_argument("--decay", default="{}", help="kimg over which a rung's learning rate falls, as JSON")
    parser.add_argument("--data", default="avatars")
    parser.add_argument("--out", type=Path, default=Path("runs", "ladder"))
    requested = parser.parse_args()
    torch.set_num_threads(1)
    decay = json.loads(requested.decay)
    for seed in requested.seeds:
        for name in requested.rungs:
            gan, options = RUNGS[name]
            if name in decay:
                options = options | {"decay_kimg": decay[name]}
            out = requested.out / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            last = train(gan, requested.data, out, requested.minutes, seed, options)
            amount = seen(last)
            shown = {f"{name} without average": without_average(last)} if name == "dcgan" else {}
            for rung, run in (shown | {name: last}).items():
                metrics = measure(run)
                amount_text = f"{amount['kimg']:g} kimg {amount['updates']} updates"
                print(json.dumps([rung, seed, amount_text, metrics]), flush=True)
                protocol = {"rung": rung, "minutes": requested.minutes, "decay_kimg": decay.get(name)}
                record("ladder", amount | metrics, seed=seed, data=last.record.data, **protocol)


if __name__ == "__main__":
    main()

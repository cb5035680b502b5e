"""From DCGAN to R3GAN rung by rung, each for the same time, as which_default.py does; see docs/gans/r3gan.md.

    OMP_NUM_THREADS=1 python lab/scripts/ladder.py --minutes 3 --seeds 0 1 2 [--rungs "hinge, spectral norm" ...]

A rung changes one part of the one before it: networks, loss or constraint. Figures are `ganfold evaluate`'s,
of the last checkpoint.
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

from ganfold.gans import GANS, r3gan
from ganfold.gans.contract import Batch, Phase, Shape, Terms
from ganfold.gans.losses import LOSSES, relativistic
from ganfold.runs import checkpoint
from ganfold.runs.run import Run, build
from which_default import measure, train


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
                    nn.init.kaiming_normal_(layer.weight, a=0.2)  # what begins at zero has no norm
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
RUNGS: dict[str, tuple[str, dict[str, Any]]] = {
    "dcgan": ("dcgan", SMALL),  # of width 32 and batch 32
    "DiffAugment": ("dcgan", SMALL | {"augment": 0.5}),
    "residual": ("rung", RESIDUAL | {"game": "nonsaturating", "constraint": "none"}),  # no norm in G and D
    "hinge, spectral norm": ("rung", RESIDUAL | {"game": "hinge", "constraint": "spectral norm"}),
    "relativistic, differences": ("rung", RESIDUAL),
    "relativistic, exact": ("rung", RESIDUAL | {"penalty": "exact"}),
    "relativistic, every eighth step": ("rung", RESIDUAL | {"constraint": "every eighth step"}),
    "rsgan": ("rsgan", {}),
}


def without_average(run: Run) -> Run:
    """The same run with the weights of the last step in place of their average."""
    tensors, _ = checkpoint.load(checkpoint.checkpoints(run.path / "checkpoints")[-1])
    gan = build(run.config)
    own = {name.removeprefix("gan."): tensor for name, tensor in tensors.items() if name.startswith("gan.")}
    checkpoint.restore(gan, own, run.path)
    raw = Run(run.path, "last")
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
    asked = parser.parse_args()
    GANS["rung"] = ("__main__", "Rung", "")
    torch.set_num_threads(1)
    decay = json.loads(asked.decay)
    for seed in asked.seeds:
        for name in asked.rungs:
            gan, options = RUNGS[name]
            if name in decay:
                options = options | {"decay_kimg": decay[name]}
            out = asked.out / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            last, seen = train(gan, asked.data, out, asked.minutes, seed, options)
            kinds = {"without average": without_average(last)} if name == "dcgan" else {}
            for kind, shown in (kinds | {"": last}).items():
                print(json.dumps([f"{name} {kind}".strip(), seed, seen, measure(shown)]), flush=True)


if __name__ == "__main__":
    main()

"""Runs with a planted failure, and healthy runs beside them: the doctor is tested on these.

`python tests/planted.py --seeds 0 1 2` trains them all and prints a table of the diagnoses.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import ganfold
from ganfold import data
from ganfold.files import read_json
from ganfold.gans.contract import GAN, Batch, Shape
from ganfold.gans.dcgan import DCGAN, Config
from ganfold.runs.run import Run
from ganfold.training.diagnosis import Diagnosis, diagnose

SMALL: dict[str, Any] = {"resolution": 16, "width": 16, "batch": 32}


class Turning(DCGAN):
    """It shows D nearly all images turned by a random number of quarters, so that G cannot know which way is up."""

    P = 0.95

    def augment(self, batch: Batch, images: Tensor) -> Tensor:
        quarters = torch.where(batch.uniform() < self.P, (batch.uniform() * 4).floor(), 0)[:, None, None, None]
        for number in (1, 2, 3):
            images = torch.where(quarters == number, torch.rot90(images, number, (2, 3)), images)
        return images


class Constant(DCGAN):
    """Its generator ignores the latent."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.G.register_forward_pre_hook(lambda _, latents: (torch.full_like(latents[0], 0.1),))


class Frozen(DCGAN):
    """Its discriminator never learns."""

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.optimizers["D"] = torch.optim.SGD(self.D.parameters(), lr=0.0)


PLANTS: dict[str, tuple[str | type[GAN], set[str]]] = {  # what is planted: (the GAN, the diagnoses that name it)
    "learning rate x 50": ("dcgan", {"learning rate", "diverges", "diverged", "rescued"}),
    "60 training images": ("dcgan", {"D overfits", "memorisation"}),
    "augmentation, p = 0.95": (Turning, {"augmentation leaks"}),
    "constant generator": (Constant, {"mode collapse"}),
    "frozen discriminator": (Frozen, {"G wins"}),
    "healthy: dcgan, avatars": ("dcgan", set()),
    "healthy: dcgan, avatars, augment 0.5": ("dcgan", set()),
    "healthy: dcgan, digits": ("dcgan", set()),
    "healthy: gan, digits": ("gan", set()),
}


def planted(plant: str, seed: int, folder: Path, kimg: float) -> Run:
    """Train it."""
    gan, _ = PLANTS[plant]
    options: dict[str, Any] = {"evaluate_every": kimg / 5} | ({} if gan == "gan" else SMALL)
    source = "digits" if "digits" in plant else "avatars"
    if plant == "learning rate x 50":
        options["lr"] = 50 * Config.lr
    if plant.endswith("augment 0.5"):
        options["augment"] = 0.5
    if plant == "60 training images":
        reals = data.load("avatars", resolution=16, progress=False)
        chosen = np.random.default_rng(seed).permutation(len(reals))[:120]
        source = str(folder / "few.npy")
        np.save(source, reals.images[np.sort(chosen)].transpose(0, 2, 3, 1))
        options["held_out"] = 0.5
    return ganfold.train(gan, source, folder / "run", seed=seed, kimg=kimg, progress=False, **options)


def named(run: Run) -> list[Diagnosis]:
    """The doctor's diagnoses of a run, without hints."""
    rows = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    return [found for found in diagnose(rows, run.record, read_json(run.path / "state.json")) if found.alarm]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--kimg", type=float, default=24)
    parser.add_argument("--plants", nargs="+", default=list(PLANTS))
    parser.add_argument("--out", type=Path)
    said = parser.parse_args()
    for plant in said.plants:
        for seed in said.seeds:
            out = said.out or Path(tempfile.mkdtemp())
            folder = out / f"{plant.replace(' ', '-').replace(':', '').replace(',', '')}-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            found = named(planted(plant, seed, folder, said.kimg))
            print(f"| {plant} | {seed} | {', '.join(d.name for d in found) or 'silent'} |", flush=True)


if __name__ == "__main__":
    main()

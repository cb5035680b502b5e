"""What pix2pix and cyclegan cost: python benchmarks/translate_cost.py

Training: images a second of the trainer's steps on the bundled avatars. One picture of 512 pixels through a generator
of the paper's size, as `ganfold translate` takes it, whole and in tiles: seconds, and by how much the process grows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ganfold import data
from ganfold.gans import find
from ganfold.gans.contract import GAN, Shape
from ganfold.training.batches import Batches
from ganfold.training.ranks import Ranks
from ganfold.training.trainer import Trainer
from ganfold.translating import _network, blended

TRAINED: list[tuple[str, int, dict[str, Any]]] = [
    ("pix2pix", 64, {"input": "edges", "width": 32, "batch": 8}),
    ("pix2pix", 64, {"input": "edges"}),
    ("cyclegan", 32, {"width": 16, "blocks": 3}),
    ("cyclegan", 64, {"width": 32, "blocks": 6}),
]
SHOWN: list[tuple[str, int, int]] = [  # GAN, resolution that it was built for, tile
    ("pix2pix", 256, 512),
    ("pix2pix", 256, 256),
    ("cyclegan", 256, 512),
    ("cyclegan", 256, 256),
]


def build(name: str, resolution: int, options: dict[str, Any]) -> GAN:
    kind = find(name)
    return kind(kind.config_class(**options), Shape(3, resolution, inputs=3))


def trained(name: str, resolution: int, options: dict[str, Any], seconds: float) -> float:
    """Images a second."""
    gan = build(name, resolution, options)
    sources = ("avatars",) if name == "pix2pix" else ("avatars/adventurer", "avatars/toon-head")
    images = data.load_as(gan.wants(gan.config), *sources, resolution=resolution, progress=False)
    cpu, ranks = torch.device("cpu"), Ranks("cpu")
    batches = Batches(images, seed=0, size=gan.config.batch, ranks=ranks, device=cpu, flips=False)
    trainer = Trainer(gan, batches, seed=0, device=cpu, ranks=ranks, ema_images=1e4)
    trainer.step()
    before, start = trainer.images, time.perf_counter()
    while time.perf_counter() - start < seconds:
        trainer.step()
    return (trainer.images - before) / (time.perf_counter() - start)


def shown(name: str, resolution: int, tile: int) -> tuple[float, float]:
    """Seconds, and MB that the process grew by."""
    gan = build(name, resolution, {"blocks": 9} if name == "cyclegan" else {}).eval()
    network, multiple = _network(gan, False, 0)
    picture = torch.rand(1, 3, 512, 512) * 2 - 1
    before, start = peak(), time.perf_counter()
    blended(network, picture, tile=tile, multiple=multiple)
    return time.perf_counter() - start, peak() - before


def peak() -> float:
    """The most MB that this process ever held (Linux); what `getrusage` says begins with its parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each training")
    parser.add_argument("--shown", nargs=3, help=argparse.SUPPRESS)  # one of SHOWN, in a process of its own
    said = parser.parse_args()
    if said.shown:
        seconds, grown = shown(said.shown[0], int(said.shown[1]), int(said.shown[2]))
        print(f"{seconds:.1f} s, {grown:,.0f} MB")
        return
    for name, resolution, options in TRAINED:
        rate = trained(name, resolution, options, said.seconds)
        print(f"{name} at {resolution} px, {options}: {rate:.1f} images/s", flush=True)
    for case in SHOWN:
        words = [sys.executable, __file__, "--shown", *map(str, case)]
        found = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        print(f"512 px through {case[0]} for {case[1]} px, tiles of {case[2]}: {found}", flush=True)
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()

"""What an image of 512 pixels costs through a generator of the size of pix2pix's or cyclegan's paper, as
`ganfold translate` applies it, whole and in tiles: python benchmarks/translate_cost.py

Printed are seconds, and by how much the process grows. `bare_step.py` says what training costs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from ganfold.gans import find
from ganfold.gans.contract import Shape
from ganfold.images.tiles import fade_tiles
from ganfold.tasks.translation import translator_of

CASES: list[tuple[str, int, int]] = [  # GAN, resolution that it was built for, tile
    ("pix2pix", 256, 512),
    ("pix2pix", 256, 256),
    ("cyclegan", 256, 512),
    ("cyclegan", 256, 256),
]


def cost(name: str, resolution: int, tile: int) -> tuple[float, float]:
    """Seconds, and MB that the process grew by."""
    gan_class = find(name)
    options: dict[str, Any] = {"blocks": 9} if name == "cyclegan" else {}
    gan = gan_class(gan_class.config_class(**options), Shape(3, resolution, inputs=3)).eval()
    translator = translator_of(gan, seed=0)
    image = torch.rand(1, 3, 512, 512) * 2 - 1
    before, start = peak(), time.perf_counter()
    fade_tiles(translator, image, tile=tile, multiple=gan.multiple)
    return time.perf_counter() - start, peak() - before


def peak() -> float:
    """The most MB that this process ever held. Linux only: `getrusage` would begin with its parent's peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shown", nargs=3, help=argparse.SUPPRESS)  # one of CASES, in a process of its own
    requested = parser.parse_args()
    if requested.shown:
        seconds, grown = cost(requested.shown[0], int(requested.shown[1]), int(requested.shown[2]))
        print(f"{seconds:.1f} s, {grown:,.0f} MB")
        return
    for case in CASES:
        words = [sys.executable, __file__, "--shown", *map(str, case)]
        printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        print(f"512 px through {case[0]} for {case[1]} px, tiles of {case[2]}: {printed}", flush=True)
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()

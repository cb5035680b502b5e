"""What a picture of 512 pixels costs through a generator of pix2pix's or cyclegan's paper, as `ganfold translate` takes
it, whole and in tiles: seconds, and by how much the process grows: python benchmarks/translate_cost.py

What training costs: `bare_step.py`.
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
from ganfold.tasks.translation import _network, blended

SHOWN: list[tuple[str, int, int]] = [  # GAN, resolution that it was built for, tile
    ("pix2pix", 256, 512),
    ("pix2pix", 256, 256),
    ("cyclegan", 256, 512),
    ("cyclegan", 256, 256),
]


def shown(name: str, resolution: int, tile: int) -> tuple[float, float]:
    """Seconds, and MB that the process grew by."""
    kind = find(name)
    options: dict[str, Any] = {"blocks": 9} if name == "cyclegan" else {}
    gan = kind(kind.config_class(**options), Shape(3, resolution, inputs=3)).eval()
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
    parser.add_argument("--shown", nargs=3, help=argparse.SUPPRESS)  # one of SHOWN, in a process of its own
    said = parser.parse_args()
    if said.shown:
        seconds, grown = shown(said.shown[0], int(said.shown[1]), int(said.shown[2]))
        print(f"{seconds:.1f} s, {grown:,.0f} MB")
        return
    for case in SHOWN:
        words = [sys.executable, __file__, "--shown", *map(str, case)]
        found = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
        print(f"512 px through {case[0]} for {case[1]} px, tiles of {case[2]}: {found}", flush=True)
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()

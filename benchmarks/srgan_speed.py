"""What srgan's last layer gains, and what an image costs: python benchmarks/srgan_speed.py

The last layer alone: 16 images of 64 px, forward and backward, beside PyTorch's layers. An image: 512 x 512 pixels to
2048 x 2048, seconds and memory. Each size of a tile has a process of its own, and so a peak of memory of its own.
`bare_step.py` says what training costs.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ganfold.gans.contract import Shape
from ganfold.gans.srgan import SRGAN, Config
from ganfold.networks.subpixel import OnShuffled
from ganfold.tasks.super_resolution import enlarged

SIZES = {"here": (24, 4), "paper": (64, 16)}  # width, blocks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--tile", type=int, help="only an image in tiles of this size")
    requested = parser.parse_args()
    if requested.tile:
        _image(*SIZES[requested.sizes[0]], requested.tile)
        return
    for size in requested.sizes:
        _last_layer(SIZES[size][0], requested.rounds)
        for tile in (64, 128, 512):
            words = [sys.executable, __file__, "--tile", str(tile), "--sizes", size]
            print(subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip())


def _last_layer(width: int, rounds: int) -> None:
    layer = OnShuffled(width, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(16, 4 * width, 32, 32).to(memory_format=torch.channels_last).requires_grad_(True)
    ratios = []
    for _ in range(rounds + 1):
        seconds = []
        for plain in (True, False):
            start = time.perf_counter()
            for _ in range(4):
                made = F.conv2d(F.pixel_shuffle(x, 2), layer.weight, layer.bias, padding=4) if plain else layer(x)
                made.sum().backward()
            seconds.append(time.perf_counter() - start)
        ratios.append(seconds[0] / seconds[1])
    low, middle, high = min(ratios[1:]), statistics.median(ratios[1:]), max(ratios[1:])
    print(f"width {width}, last layer: {middle:.2f} ({low:.2f} to {high:.2f}) times as fast as shuffling and PyTorch's")


def _image(width: int, blocks: int, tile: int) -> None:
    torch.manual_seed(0)
    gan = SRGAN(Config(width=width, blocks=blocks), Shape(3, 64)).eval().requires_grad_(False)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8))
    enlarged(gan, image.resize((32, 32)))
    before = _peak()
    start = time.perf_counter()
    size = enlarged(gan, image, tile).size
    seconds = time.perf_counter() - start
    peak = _peak()
    print(
        f"width {width}, blocks {blocks}, tile {tile}: 512 px to {size[0]} px in {seconds:.1f} s, "
        f"{(peak - before) / 1024:,.0f} MB more than before ({peak / 1024:,.0f} MB in all)"
    )


def _peak() -> int:
    """The most memory that this program has had, in KiB. Linux only: `getrusage` would count its parent too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    main()

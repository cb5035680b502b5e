"""What `ganfold inpaint` costs for one image: python benchmarks/inpaint_cost.py RUN... [--sides 512 4096]

A square image has a square hole in the middle, a quarter of its side. Printed are the seconds of a second call (the
first also loads what it needs), and by how much the process's peak of memory rises above that of the first call.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import ganfold


def cost(path: Path, side: int, folder: str) -> None:
    run = ganfold.load(path)
    random = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    image, mask = Path(folder) / "image.png", Path(folder) / "mask.png"
    Image.fromarray(random).resize((side, side), Image.Resampling.BICUBIC).save(image)
    hole = Image.new("L", (side, side))
    hole.paste(255, (3 * side // 8, 3 * side // 8, 5 * side // 8, 5 * side // 8))
    hole.save(mask)
    small = Path(folder) / "small.png", Path(folder) / "small-mask.png"
    for whole, part in zip((image, mask), small, strict=True):
        Image.open(whole).resize((64, 64), Image.Resampling.NEAREST).save(part)
    ganfold.inpaint(run, *small, Path(folder) / "first.png", force=True)
    before = _peak()
    start = time.perf_counter()
    ganfold.inpaint(run, image, mask, Path(folder) / "out.png", force=True)
    seconds, grown = time.perf_counter() - start, _peak() - before
    print(f"{run!r}, {side} px: {seconds:.2f} s, {grown:.0f} MB above {before:.0f} MB", flush=True)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--sides", nargs="+", type=int, default=[512])
    requested = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for path in requested.runs:
            for side in requested.sides:  # each in a process of its own, since a peak never falls
                process = multiprocessing.get_context("spawn").Process(target=cost, args=(path, side, folder))
                process.start()
                process.join()
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}")


if __name__ == "__main__":
    main()

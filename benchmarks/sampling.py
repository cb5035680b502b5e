"""How fast `ganfold sample` writes many images, against one image after the other.

"One by one" makes 1,024 images, then encodes each as a PNG with Pillow's defaults and brings it to the disk before the
next. The kinds of `--out` take turns with it in one process. All make the same pixels, which is checked.

    python benchmarks/sampling.py [--count 10000] [--rounds 3] [--resolution 64]

A row for each kind is added to lab/results/sampling.jsonl. With --compression the time and the size of one PNG are
printed for the settings of Pillow, on real images.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import ganfold
from ganfold.data import load
from ganfold.images.files import from_row
from ganfold.images.grids import save_png
from ganfold.runs.run import Run

sys.path.append(str(Path(__file__).resolve().parents[1] / "lab" / "scripts"))

TOGETHER = 1024  # images that the plain way makes at once
SUFFIXES = {"folder": "", ".npz": ".npz", ".tar": ".tar", ".parquet": ".parquet"}
SETTINGS: dict[str, dict[str, Any]] = {
    "Pillow's defaults": {},
    "level 1": {"compress_level": 1},
    "level 3": {"compress_level": 3},
    "run lengths": {"compress_type": zlib.Z_RLE},
}


def one_by_one(run: Run, out: Path, count: int) -> None:
    for begin in range(0, count, TOGETHER):
        for place, image in enumerate(run.sample(min(TOGETHER, count - begin), start=begin)):
            note = {"run": str(run.path), "seed": "0", "number": str(begin + place)}
            save_png(from_row(image), out / f"{begin + place:06d}.png", note)


def ours(suffix: str) -> Callable[[Run, Path, int], None]:
    def write(run: Run, out: Path, count: int) -> None:
        ganfold.sample(run, out.with_name(out.name + suffix), count=count, progress=False)

    return write


def check(folder: Path, count: int) -> None:
    """See that both ways wrote the same pixels."""
    for number in range(0, count, max(1, count // 50)):
        one, other = (Image.open(folder / way / f"{number:06d}.png") for way in ("one", "folder"))
        assert np.array_equal(np.asarray(one), np.asarray(other)), number


def rounds(run: Run, count: int, number: int) -> dict[str, list[float]]:
    """Images a second of each way, by rounds."""
    ways = {"one by one": one_by_one} | {name: ours(suffix) for name, suffix in SUFFIXES.items()}
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(number):
        with tempfile.TemporaryDirectory() as folder:
            for name, write in ways.items():
                out = Path(folder) / {"one by one": "one", "folder": "folder"}.get(name, "file")
                begun = time.perf_counter()
                write(run, out, count)
                rates[name].append(count / (time.perf_counter() - begun))
                print(f"round {turn + 1}, {name}: {rates[name][-1]:,.0f} images/s", flush=True)
            check(Path(folder), count)
    return rates


def compression(resolution: int) -> None:
    images = load("avatars", resolution=resolution, progress=False).images[:500].transpose(0, 2, 3, 1)
    for name, setting in SETTINGS.items():
        begun, size = time.process_time(), 0
        for image in images:
            file = io.BytesIO()
            from_row(np.ascontiguousarray(image)).save(file, "PNG", **setting)
            size += len(file.getvalue())
        each = (time.process_time() - begun) / len(images)
        print(f"{name}: {1000 * each:.2f} ms, {size / len(images):,.0f} bytes")


def main() -> None:
    from harness import record

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--compression", action="store_true")
    requested = parser.parse_args()
    if requested.compression:
        compression(requested.resolution)
        return
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = {"resolution": requested.resolution, "kimg": 0.256, "evaluate_every": 0}
        run = ganfold.train("dcgan", "avatars", Path(folder) / "run", progress=False, **options)
        begun = time.perf_counter()
        run.sample(512)
        network = 512 / (time.perf_counter() - begun)
        rates = rounds(run, requested.count, requested.rounds)
    for name, each in rates.items():
        metrics = {
            "images/s": round(statistics.median(each), 1),
            "times one by one": round(
                statistics.median(a / b for a, b in zip(each, rates["one by one"], strict=True)), 2
            ),
        }
        protocol = {"gan": "dcgan", "count": requested.count, "resolution": requested.resolution}
        record("sampling", metrics, seed=0, data="avatars", out=name, threads=torch.get_num_threads(), **protocol)
        print(name, metrics)
    print(f"the network alone: {network:,.0f} images/s")


if __name__ == "__main__":
    main()

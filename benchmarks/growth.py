"""How time and memory grow with images, resolution and batch: python benchmarks/growth.py [--seconds 60]

Each point runs in a process of its own, with all threads. A point that would take over `--seconds`, as the two before
it foretell, is skipped, and its sweep ends. Memory is the highest sum of anonymous memory of the process and its
children.

An exponent is the slope of log seconds over log size, between the two largest sizes: 0 is constant, 1 linear. By side
of an image, 2 is linear in pixels. Rows go to `lab/results/growth.jsonl` and `growth-exponents.jsonl`. Linux only.

- prepare: from an array file to the cache; check: the same, found in the cache.
- train step: of a small DCGAN, the median of five.
- evaluate: generated against twice as many real images; copies: 60 generated ones against a training set. Both on
  features of EfficientNet, without cached ones.
- study: one replicate, with a generator and a CNN of few steps.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prepare_million import memory

MANY, SOME, FEW = (1_000, 10_000, 100_000, 1_000_000), (1_000, 2_000, 4_000, 8_000), (100, 200, 400, 800)
Point = tuple[int, float, int]  # size, seconds, anonymous memory in MB
SIDES, BATCHES = (16, 32, 64, 128, 256), (8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Sweep:
    """A measured thing and what changes: all else is as here."""

    what: str
    by: str  # "images", "resolution" or "batch"
    sizes: tuple[int, ...]
    images: int = 1_000
    resolution: int = 8
    batch: int = 16


SWEEPS = (
    Sweep("prepare", "images", MANY),
    Sweep("prepare", "resolution", SIDES),
    Sweep("check", "images", MANY),
    Sweep("check", "resolution", SIDES),
    Sweep("train step", "images", MANY[:3], resolution=16),
    Sweep("train step", "resolution", SIDES),
    Sweep("train step", "batch", BATCHES, resolution=32),
    Sweep("evaluate", "images", FEW, resolution=16),
    Sweep("evaluate", "resolution", SIDES, images=100),
    Sweep("copies", "images", FEW, resolution=16),
    Sweep("copies", "resolution", SIDES, images=200),
    Sweep("study", "images", SOME, resolution=16),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="of the longest point")
    parser.add_argument("--what", nargs="*", help="the things to measure [all]")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # what a child measures
    options = parser.parse_args()
    if options.one:
        print("DONE", json.dumps(_seconds(**json.loads(options.one))))
        return
    from harness import record  # which starts git: a child must not

    for sweep in SWEEPS:
        if options.what and sweep.what not in options.what:
            continue
        points = _swept(sweep, options.seconds, record)
        if len(points) > 1:
            slope, (_, seconds, peak) = _slope(points[-2], points[-1]), points[-1]
            sizes = f"{points[-2][0]:,} to {points[-1][0]:,}"
            print(f"  {sweep.what} by {sweep.by}: exponent {slope:.2f} from {sizes}", flush=True)
            metrics = {"exponent": round(slope, 2), "sizes": sizes, "seconds": seconds, "anonymous MB": peak}
            record("growth-exponents", metrics, seed=0, what=sweep.what, by=sweep.by)


def _swept(sweep: Sweep, most: float, record: Callable[..., object]) -> list[Point]:
    """Measure the sizes of a sweep, smallest first."""
    points: list[Point] = []
    for size in sweep.sizes:
        if points:
            slope = max(1.0, _slope(points[-2], points[-1])) if len(points) > 1 else 1.0
            if (foretold := points[-1][1] * (size / points[-1][0]) ** slope) > most:
                print(f"  {sweep.what} by {sweep.by}: {size:,} is skipped, about {foretold:,.0f} s", flush=True)
                break
        given = {name: getattr(sweep, name) for name in ("images", "resolution", "batch")} | {sweep.by: size}
        seconds, peak = _measured(sweep.what, given)
        points.append((size, round(seconds, 4), peak))
        print(f"{sweep.what} by {sweep.by}, {size:,}: {seconds:.3f} s, {peak:,} MB", flush=True)
        metrics = {"seconds": points[-1][1], "anonymous MB": peak}
        record("growth", metrics, seed=0, what=sweep.what, by=sweep.by, **given)
    return points


def _slope(first: Point, second: Point) -> float:
    return math.log(second[1] / first[1]) / math.log(second[0] / first[0])


def _measured(what: str, given: dict[str, int]) -> tuple[float, int]:
    """Seconds and peak memory in MB of one point, in a process of its own with an empty cache."""
    with tempfile.TemporaryDirectory(prefix="ganfold-growth-") as name:
        folder = Path(name)
        real = 2 * given["images"] if what == "evaluate" else given["images"]
        _write(folder / "images.npz", real, given["resolution"], 0)
        _write(folder / "made.npz", 60 if what == "copies" else given["images"], given["resolution"], 1)
        one = json.dumps({"what": what, "folder": name, **given})
        process = subprocess.Popen(
            [sys.executable, __file__, "--one", one],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GANFOLD_CACHE": str(folder / "cache")},
        )
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory(process.pid)["Anonymous"])
            time.sleep(0.02)
        said = process.stdout.read() if process.stdout else ""
        if process.returncode:
            sys.exit(f"{what} with {given} failed")
        return float(said.rpartition("DONE ")[2]), peak


def _write(path: Path, count: int, side: int, seed: int) -> None:
    """Write random images of four classes: soft shapes, which differ by class."""
    import cv2

    random = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    images = random.integers(0, 256, (count, 4, 4), np.uint8)
    images[:, 0] = 60 * labels[:, None]
    if side > 8:
        images = np.stack([cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC) for image in images])
    else:
        images = np.concatenate([images, random.integers(0, 256, images.shape, np.uint8)], axis=1).repeat(2, axis=2)
    np.savez(path, images=images, labels=labels)


def _seconds(what: str, folder: str, images: int, resolution: int, batch: int) -> float:
    """Do one thing, and return how long it took, without the start of Python and its imports."""
    import ganfold
    from ganfold import data

    real, made, out = (str(Path(folder, name)) for name in ("images.npz", "made.npz", "out"))
    np.save(Path(folder, "first.npy"), np.random.default_rng(2).integers(0, 256, (8, 16, 16), np.uint8))
    data.load(Path(folder, "first.npy"), progress=False)  # imports what preparing needs
    if what in ("prepare", "check"):
        for _ in range(1 + (what == "check")):
            start = time.perf_counter()
            data.load(real, progress=False)
            seconds = time.perf_counter() - start
        return seconds
    if what == "train step":
        return _train_step(real, max(16, resolution), batch)
    from ganfold.metrics.features import extractor

    calls: dict[str, Callable[[], Any]] = {
        "evaluate": lambda: ganfold.evaluate(made, real, progress=False),
        "copies": lambda: ganfold.copies(made, real, out=out, progress=False),
        "study": lambda: ganfold.study(
            real, out, replicates=1, classifiers=("cnn",), gan="cgan", kimg=0.5, steps=20, progress=False
        ),
    }
    extractor("efficientnet")(np.zeros((1, 3, 16, 16), np.uint8))
    start = time.perf_counter()
    calls[what]()
    return time.perf_counter() - start


def _train_step(source: str, resolution: int, batch: int) -> float:
    import torch

    from ganfold import data
    from ganfold.gans.contract import Shape
    from ganfold.gans.dcgan import DCGAN, Config
    from ganfold.training.batches import Batches
    from ganfold.training.ranks import Ranks
    from ganfold.training.trainer import Trainer

    images = data.load(source, resolution=resolution, progress=False)
    device, ranks = torch.device("cpu"), Ranks("cpu")
    batches = Batches(images, seed=0, size=batch, ranks=ranks, device=device, flips=False)
    gan = DCGAN(Config(width=16, batch=batch), Shape(images.channels, resolution))
    trainer = Trainer(gan, batches, seed=0, device=device, ranks=ranks, ema_images=10_000)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        trainer.step()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1] / "lab" / "scripts"))
    main()

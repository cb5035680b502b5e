"""What `ganfold augment` costs for 1,000 images of 32 px: python benchmarks/augment_cost.py [--kimg 40] [--runs RUN...]

The images are of `digits`, with 40 in each of three classes. Seconds of the whole, and of the generator, the selection
and the trial; and, for trained runs that are named, seconds of `ganfold probe`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ganfold
from ganfold import data
from ganfold.studies.gate import Trial
from ganfold.verbs import augment as module

SMALL, FEW, COUNT = (3, 5, 8), 40, 1000


def some(out: Path) -> Path:
    images = data.load("digits", resolution=32, held_out=0, progress=False)
    assert images.labels is not None
    each = (COUNT - FEW * len(SMALL)) // (len(images.classes) - len(SMALL))
    rows = [np.flatnonzero(images.labels == k)[: FEW if k in SMALL else each] for k in range(len(images.classes))]
    chosen = np.concatenate(rows)
    pixels = np.asarray(images.images[chosen]).transpose(0, 2, 3, 1)
    np.savez(out, images=pixels, labels=images.labels[chosen], classes=np.array(images.classes))
    return out


@contextmanager
def timed(owner: Any, name: str, said: str) -> Iterator[None]:
    """Print how long each call takes."""
    inner = getattr(owner, name)

    def outer(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        found = inner(*given, **named)
        print(f"  {said}: {time.perf_counter() - start:.0f} s", flush=True)
        return found

    setattr(owner, name, outer)
    try:
        yield
    finally:
        setattr(owner, name, inner)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kimg", type=float, default=40.0)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    asked = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        source, out = some(Path(folder) / "images.npz"), Path(folder) / "plus"
        start = time.perf_counter()
        with timed(module, "trained", "generator"), timed(module, "select", "selection"), timed(Trial, "run", "trial"):
            found = ganfold.augment(source, out, kimg=asked.kimg, progress=False)
        print(f"augment, {COUNT:,} images of 32 px: {time.perf_counter() - start:.0f} s")
        print("\n".join(found.lines()))
    for run in asked.runs:
        start = time.perf_counter()
        ganfold.probe(run, progress=False)
        print(f"probe {run.name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()

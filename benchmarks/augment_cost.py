"""The cost of `ganfold augment` for 1,000 images of 32 px.

    python benchmarks/augment_cost.py [--kimg 40] [--runs RUN...]

The images are from `digits`, with 40 in each of three classes. Prints the seconds of the whole, of the generator, of
the selection and of the trial; and the seconds of `ganfold probe` for each run that is named.
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
from ganfold.studies import augmentation, generators
from ganfold.studies.gate import Gate

SMALL, FEW, COUNT = (3, 5, 8), 40, 1000


def write_images(out: Path) -> Path:
    """Save the images, with few in the small classes."""
    images = data.load("digits", resolution=32, held_out=0, progress=False)
    assert images.labels is not None
    each = (COUNT - FEW * len(SMALL)) // (len(images.classes) - len(SMALL))
    rows = [np.flatnonzero(images.labels == k)[: FEW if k in SMALL else each] for k in range(len(images.classes))]
    chosen = np.concatenate(rows)
    pixels = np.asarray(images.images[chosen]).transpose(0, 2, 3, 1)
    np.savez(out, images=pixels, labels=images.labels[chosen], classes=np.array(images.classes))
    return out


@contextmanager
def timed(owner: Any, name: str, what: str) -> Iterator[None]:
    """Print how long each call of `owner.name` takes."""
    inner = getattr(owner, name)

    def outer(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        result = inner(*arguments, **named)
        print(f"  {what}: {time.perf_counter() - start:.0f} s", flush=True)
        return result

    setattr(owner, name, outer)
    try:
        yield
    finally:
        setattr(owner, name, inner)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kimg", type=float, default=40.0)
    parser.add_argument("--runs", type=Path, nargs="*", default=[])
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        source, out = write_images(Path(folder) / "images.npz"), Path(folder) / "plus"
        start = time.perf_counter()
        with (
            timed(generators, "train_generator", "generator"),
            timed(augmentation, "select", "selection"),
            timed(Gate, "run", "trial"),
        ):
            result = ganfold.augment(source, out, kimg=arguments.kimg, progress=False)
        print(f"augment, {COUNT:,} images of 32 px: {time.perf_counter() - start:.0f} s")
        print(result)
    for run in arguments.runs:
        start = time.perf_counter()
        ganfold.probe(run, progress=False)
        print(f"probe {run.name}: {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()

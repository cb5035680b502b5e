"""What `ganfold evaluate` costs from image files to table: python benchmarks/evaluate_cost.py

5,000 generated images of 64 px are compared with 5,000 real ones (and 5,000 more for the floor). The features of real
images are cached, and a second evaluation computes only those of the generated ones. Both are timed; the cache is empty
at first.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import ganfold
from ganfold import data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANFOLD_CACHE"] = f"{folder}/cache"
        generated, reals = _images(Path(folder), count)
        for what in ("first", "again"):
            start = time.monotonic()
            evaluation = ganfold.evaluate(generated, reals, progress=False)
            print(f"{what}: {time.monotonic() - start:.0f} s for {evaluation.protocol['images']}", flush=True)
        print("\n".join(evaluation.lines()))
    print(f"threads {torch.get_num_threads()}, torch {torch.__version__}")


def _images(folder: Path, count: int) -> tuple[Path, Path]:
    """Write avatars with a little noise, to have enough different images. What they show does not change the work."""
    avatars = data.load("avatars", resolution=64, held_out=0, progress=False).images
    random = np.random.default_rng(0)
    paths = folder / "generated.npy", folder / "reals.npy"
    for path, number in zip(paths, (count, 2 * count), strict=True):
        chosen = avatars[random.integers(0, len(avatars), number)].astype(np.int16)
        chosen += random.integers(-4, 5, chosen.shape, dtype=np.int16)
        np.save(path, chosen.clip(0, 255).astype(np.uint8).transpose(0, 2, 3, 1))
    return paths


if __name__ == "__main__":
    main()

"""How many images of a generator that learns by class pass the selection of `ganfold augment`; see docs/gans/rsgan.md.

    OMP_NUM_THREADS=1 python lab/scripts/passing.py --seed 0 --options '{"batch": 32}'
    OMP_NUM_THREADS=1 python lab/scripts/passing.py --data avatars --small personas adventurer

Images of 32 px, 250 of each class, 50 of the small ones; 60 images of each class are made.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from ganfold import data
from ganfold.studies.generators import sampled, trained
from ganfold.studies.selection import select

FEW, EACH = 50, 250  # images of a small class, of another
MADE = 60  # of each class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--small", nargs="+", default=["3", "5", "8"], help="classes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kimg", type=float, default=40.0)
    parser.add_argument("--options", default="{}", help="of the GAN, over what `augment` gives it, as JSON")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    images = data.load(asked.data, resolution=32, held_out=0, progress=False)
    labels, count = np.asarray(images.labels), len(images.classes)
    of_each = [
        np.flatnonzero(labels == k)[: FEW if name in asked.small else EACH] for k, name in enumerate(images.classes)
    ]
    rows = np.sort(np.concatenate(of_each))
    options = json.loads(asked.options)
    with tempfile.TemporaryDirectory() as folder:
        run = trained(images, rows, Path(folder), kimg=asked.kimg, seed=asked.seed, progress=False, **options)
        made, intended = sampled(run, images.classes, np.full(count, MADE), asked.seed)
    found = select(made, intended, images.images[rows], labels[rows], count, seed=asked.seed)
    by_class = [int(found.classes[label]["kept"]) for label in range(count)]
    told = [int(sum(kept[name] for kept in found.classes.values())) for name in ("agreed", "supported", "copied")]
    print(f"{sum(by_class)} of {len(made)} pass, by class {by_class}; agreed, supported, copied {told}")


if __name__ == "__main__":
    main()

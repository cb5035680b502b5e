"""How many images of a generator that learns by class pass the selection of `ganfold augment`; see
lab/entries/2026-11-24-how-many-labelled-samples-pass.md.

    OMP_NUM_THREADS=1 python lab/scripts/passing.py --seed 0 --options '{"batch": 32}'
    OMP_NUM_THREADS=1 python lab/scripts/passing.py --data avatars --small personas adventurer

Images of 32 px, 250 of each class, 50 of the small ones. The generator makes 60 images of each class.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from ganfold import data
from ganfold.runs.record import DataRecord
from ganfold.studies.generators import sample_classes, train_generator
from ganfold.studies.selection import select
from harness import record

GAN = "rsgan"
FEW, EACH = 50, 250  # images of a small class, and of any other class
MADE = 60  # of each class


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits")
    parser.add_argument("--small", nargs="+", default=["3", "5", "8"], help="classes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kimg", type=float, default=40.0)
    parser.add_argument("--options", default="{}", help="of the GAN, over what `augment` gives it, as JSON")
    requested = parser.parse_args()
    torch.set_num_threads(1)
    seed, kimg, options = requested.seed, requested.kimg, json.loads(requested.options)
    images = data.load(requested.data, resolution=32, held_out=0, progress=False)
    labels, count = np.asarray(images.labels), len(images.classes)
    of_each = [
        np.flatnonzero(labels == label)[: FEW if name in requested.small else EACH]
        for label, name in enumerate(images.classes)
    ]
    rows = np.sort(np.concatenate(of_each))
    with tempfile.TemporaryDirectory() as folder:
        run = train_generator(
            images, rows, Path(folder), gan=GAN, kimg=kimg, seed=seed, options=options, progress=False
        )
        made, intended = sample_classes(run, images.classes, np.full(count, MADE), seed)
    selection = select(made, intended, images.images[rows], labels[rows], count, seed=seed)
    by_class = [int(selection.classes[label]["kept"]) for label in range(count)]
    counts = {
        name: int(sum(of_class[name] for of_class in selection.classes.values()))
        for name in ("agreed", "supported", "copied")
    }
    print(
        f"{sum(by_class)} of {len(made)} pass, by class {by_class}; agreed, supported, copied {list(counts.values())}"
    )
    metrics = {"made": len(made), "pass": sum(by_class), **counts, "pass by class": by_class}
    protocol = {"small": requested.small, "kimg": kimg, **options}
    record("passing", metrics, seed=seed, data=DataRecord.of(images), **protocol)


if __name__ == "__main__":
    main()

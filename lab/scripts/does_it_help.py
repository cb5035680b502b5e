"""`ganfold study` over imbalances, also with classes from the metadata. See docs/augmenting.md.

    python lab/scripts/does_it_help.py digits --small 3 5 8 --few 20 50 100 200 --out studies/digits
    python lab/scripts/does_it_help.py avatars/toon-head --column mouth --small sad angry --out studies/mouth

One folder for each number of images in the small classes; the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import ganfold
from ganfold import data
from ganfold.files import write_atomically


def by_column(source: str, column: str, out: Path) -> Path:
    """The images with what a column of their metadata says as their classes, at 32 px."""
    images = data.load(source, resolution=32, held_out=0)
    assert images.attributes is not None
    values = [str(images.attributes[row][column]) for row in range(len(images))]
    classes = sorted(set(values))
    labels = np.array([classes.index(value) for value in values])
    pixels = np.asarray(images.images).transpose(0, 2, 3, 1)

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez(file, images=pixels, labels=labels, classes=np.array(classes))

    if not out.exists():
        write_atomically(out, write)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--column", help="of the metadata, that gives the classes")
    parser.add_argument("--small", nargs="+", required=True)
    parser.add_argument("--few", nargs="+", type=int, default=[20, 50, 100, 200])
    parser.add_argument("--share", type=float, default=0.9)
    parser.add_argument("--kimg", type=float, default=40.0)
    parser.add_argument("--replicates", type=int, default=8)
    parser.add_argument("--classifiers", nargs="+", default=["cnn", "features"])
    parser.add_argument("--withhold", help="a class that the classifiers are not shown: it must help")
    parser.add_argument("--steps", type=int, default=500, help="of the CNN")
    parser.add_argument("--jobs", type=int, default=1)
    said = parser.parse_args()
    source = by_column(said.data, said.column, said.out / f"{said.column}.npz") if said.column else said.data
    for few in said.few:
        found = ganfold.study(
            source,
            said.out / f"few-{few}",
            small=said.small,
            few=few,
            share=said.share,
            kimg=said.kimg,
            replicates=said.replicates,
            classifiers=said.classifiers,
            withhold=said.withhold,
            steps=said.steps,
            jobs=said.jobs,
        )
        for classifier, verdict in found.verdicts.items():
            print(f"{said.data}, {few} images in {', '.join(said.small)}, {classifier}: {verdict}")


if __name__ == "__main__":
    main()

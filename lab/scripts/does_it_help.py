"""`ganfold study` over several imbalances, also with classes from the metadata. See docs/guide/enlarging.md.

    python lab/scripts/does_it_help.py digits --small 3 5 8 --few 20 50 100 200 --out studies/digits
    python lab/scripts/does_it_help.py avatars/toon-head --column mouth --small sad angry --out studies/mouth

Each number of images in the small classes has a folder of its own. The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import ganfold
from ganfold import data
from ganfold.files import write_atomically
from harness import record


def by_column(source: str, column: str, out: Path) -> Path:
    """Write the images at 32 px, with the values of a column of their metadata as classes."""
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
    requested = parser.parse_args()
    source, column = requested.data, requested.column
    if column:
        source = by_column(requested.data, column, requested.out / f"{column}.npz")
    choices = {
        name: getattr(requested, name)
        for name in ("small", "share", "kimg", "replicates", "classifiers", "withhold", "steps")
    }
    for few in requested.few:
        study = ganfold.study(source, requested.out / f"few-{few}", few=few, jobs=requested.jobs, **choices)
        for classifier, verdict in study.verdicts.items():
            print(f"{requested.data}, {few} images in {', '.join(requested.small)}, {classifier}: {verdict}")
        metrics: dict[str, Any] = {f"{row.classifier}, {row.arm}": row.accuracy for row in study.rows}
        for difference in (*study.primary, *study.controls):
            metrics |= {difference.name: difference.mean, f"{difference.name}, corrected p": difference.holm}
            metrics |= {f"{difference.name}, interval": [difference.low, difference.high]}
        metrics |= {"verdicts": study.verdicts}
        record("does_it_help", metrics, seed=0, data=requested.data, column=column, few=few, **choices)


if __name__ == "__main__":
    main()

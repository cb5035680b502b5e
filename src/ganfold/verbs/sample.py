"""`ganfold sample`: a run's images as files, or as one picture."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator, Sequence
from itertools import chain
from itertools import count as count_from
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganfold.data.sources.tree import is_hidden
from ganfold.errors import GanfoldError
from ganfold.files import unwritable
from ganfold.images import grids
from ganfold.runs.run import Labelling, Run, class_rows

BLOCK = 1024  # images held in memory at once


def sample(
    run: str | Path | Run,
    out: str | Path,
    count: int = 64,
    seed: int = 0,
    start: int = 0,
    label: str | None = None,
    text: str | None = None,
    box: str | Sequence[float] | None = None,
    keypoints: str | Sequence[float] | None = None,
    checkpoint: str = "best",
    force: bool = False,
) -> Path:
    """Write images `start` to `start + count` of a seed.

    Args:
        run: a run folder, or a run that is loaded.
        out: a folder for files named by their number (`000007.png`), or a `.png` for one grid of all.
        count, seed, start: which images; image `i` of a seed (and label) is always the same.
        label: the class of all of them, by name. Without one a generator that takes labels fills a folder with a
            sub-folder for each class, as frequent as in training; and a grid with a row for each class, which changes
            `count` to a multiple of the classes.
        text: what to draw, of a run that takes captions [what is said of held-out images].
        box: where: left, top, width and height as shares of the image, also as "0.5,0.1,0.4,0.8" [likewise].
        keypoints: where, of a run trained at keypoints: x and y of each, as shares of the image [likewise].
        checkpoint: "best" by KID, or "last"; of a run folder.
        force: allow `out` to exist; files of the same names are replaced.

    Returns:
        `out`.

    Raises:
        GanfoldError: not a run, `out` exists, nothing to make, or the disk is full; then nothing is left behind.
    """
    run, out = run if isinstance(run, Run) else Run(run, checkpoint), Path(out)
    if count < 1:
        raise GanfoldError(f"count must be 1 or more, not {count}")
    if not force and out.exists() and (out.is_file() or any(out.iterdir())):
        raise GanfoldError(f"{out} exists: give --out another name, or --force to write into it")
    asked: dict[str, Any] = {"text": text, "box": box, "keypoints": keypoints}
    wish = {name: value for name, value in asked.items() if value is not None}
    said = {name: str(value) for name, value in wish.items()}
    if out.suffix.lower() == ".png":
        columns: int | None = None
        labelling: str | Labelling | None = label
        if run.classes and label is None:
            count, columns, labelling = class_rows(count, len(run.classes), start)
        images = run.sample(count, seed, start, labelling, **wish)
        if not wish and (reals := run.reals(seed)):
            images, each = reals.beside(images, start)
            columns = max(1, round(math.sqrt(count / each))) * each if each > 1 else None
        picture = grids.grid(images, columns, scale=grids.enlargement(images))
        grids.save_png(picture, out, said | {"run": str(run.path), "seed": str(seed), "start": str(start)})
        return out
    labels, folders = run.labels(count, seed, start) if label is None else None, class_folders(run.classes)
    partial = out.with_name(f".{out.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for number, image in _images(run, count, seed, start, label, wish):
            note = said | {"run": str(run.path), "seed": str(seed), "number": str(number)}
            folder = "" if labels is None else folders[labels[number - start]]
            (partial / folder).mkdir(exist_ok=True)
            grids.save_png(Image.fromarray(image), partial / folder / f"{number:06d}.png", note)
        for path in partial.rglob("*.png"):
            place = out / path.relative_to(partial)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def class_folders(classes: Sequence[str]) -> list[str]:
    """A folder's name for each class: its own where that can be, and never the same for two."""
    names: list[str] = []
    taken: set[str] = set()  # some file systems take "A" for "a"
    for label in classes:
        name = re.sub(r'[\x00-\x1f/\\:*?"<>|]|^\.|[. ]$', "_", label)[:60] or "_"
        name += "_" if is_hidden(name) else ""  # else `ganfold check` would pass it over
        numbered = (f"{name} {number}" for number in count_from(2))
        names.append(next(n for n in chain([name], numbered) if n.casefold() not in taken))
        taken.add(names[-1].casefold())
    return names


def _images(
    run: Run, count: int, seed: int, start: int, label: str | None, wish: dict[str, Any]
) -> Iterator[tuple[int, np.ndarray]]:
    for begin in range(start, start + count, BLOCK):
        images = run.sample(min(BLOCK, start + count - begin), seed, begin, label, **wish)
        yield from enumerate(images.squeeze(-1) if images.shape[-1] == 1 else images, begin)

"""`ganfold sample`: a run's images as files, or as one picture."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ganfold import pictures
from ganfold.errors import GanfoldError
from ganfold.files import unwritable
from ganfold.run import Run

BLOCK = 1024  # images held in memory at once


def sample(
    run: str | Path | Run,
    out: str | Path,
    count: int = 64,
    seed: int = 0,
    start: int = 0,
    checkpoint: str = "best",
    force: bool = False,
) -> Path:
    """Write images `start` to `start + count` of a seed.

    Args:
        run: a run folder, or a run that is loaded.
        out: a folder for files named by their number (`000007.png`), or a `.png` for one grid of all.
        count, seed, start: which images; image `i` of a seed is always the same.
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
    if out.suffix.lower() == ".png":
        images = run.sample(count, seed, start)
        picture = pictures.grid(images, scale=pictures.enlargement(images))
        pictures.save_png(picture, out, {"run": str(run.path), "seed": str(seed), "start": str(start)})
        return out
    partial = out.with_name(f".{out.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for number, image in _images(run, count, seed, start):
            text = {"run": str(run.path), "seed": str(seed), "number": str(number)}
            pictures.save_png(Image.fromarray(image), partial / f"{number:06d}.png", text)
        out.mkdir(exist_ok=True)
        for path in partial.iterdir():
            path.replace(out / path.name)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def _images(run: Run, count: int, seed: int, start: int) -> Iterator[tuple[int, np.ndarray]]:
    for begin in range(start, start + count, BLOCK):
        images = run.sample(min(BLOCK, start + count - begin), seed, begin)
        yield from enumerate(images.squeeze(-1) if images.shape[-1] == 1 else images, begin)

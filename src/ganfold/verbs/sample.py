"""`ganfold sample`: a run's images as files, or as one grid."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.errors import GanfoldError
from ganfold.files import unwritable
from ganfold.interface.options import AT_LEAST_ONE, Positional, verb
from ganfold.interface.result import Written

if TYPE_CHECKING:
    import numpy as np

    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run

BLOCK = 1024  # images in memory at once


@dataclass(frozen=True)
class Options:
    run: Annotated[str | Path | Run, Positional]  # a run folder
    out: str | Path  # a folder for files named by their number (000007.png), or a .png for one grid
    _: KW_ONLY
    count: Annotated[int, AT_LEAST_ONE] = 64  # how many images
    seed: int = 0  # decides which images: image i of a seed (and label) is always the same
    start: int = 0  # number of the first image
    label: str | None = None  # the class of all images [each class: a row of the grid, or a sub-folder]
    text: str | None = None  # what to draw, after training on captions: "long hair, glasses" [as in held-out images]
    box: str | Sequence[float] | None = None  # where: left,top,width,height as shares of the image [likewise]
    keypoints: str | Sequence[float] | None = None  # where, after --where keypoints: x,y of each as shares [likewise]
    checkpoint: Literal["best", "last"] = "best"  # the one of the lowest KID, or the newest
    gan: str | type[GAN] | None = None  # FILE.py:CLASS, for a run whose GAN is from outside of ganfold
    force: bool = False  # allow `out` to exist; files of the same names are replaced


class Samples(Written):
    """The path of the samples."""

    left_out: tuple[str, ...] = ()  # words of the text that no caption in training had

    def lines(self) -> list[str]:
        strange = f"Left out, since no caption in training had it: {', '.join(self.left_out)}"
        return [str(self), *([strange] if self.left_out else [])]


@verb(Options)
def sample(options: Options) -> Samples:
    """Write images that a run's generator makes: files in a folder, or one grid.

    A generator that takes labels fills a folder with a sub-folder for each class, as frequent as in training. In a grid
    it gives each class a row, which changes `count` to a multiple of the classes. With `label`, neither happens.

    Returns:
        `out`.

    Raises:
        GanfoldError: this is no run, `out` exists, the run takes no such label, text or place, or the disk is full.
            Nothing is left behind then.
    """
    from ganfold.runs.conditioning import unknown_words
    from ganfold.runs.run import Run

    run = options.run if isinstance(options.run, Run) else Run(options.run, options.checkpoint, options.gan)
    out = Path(options.out)
    if not options.force and out.exists() and (out.is_file() or any(out.iterdir())):
        raise GanfoldError(f"{out} exists: give --out another name, or --force to write into it")
    possible = {"text": options.text, "box": options.box, "keypoints": options.keypoints}
    requested = {name: value for name, value in possible.items() if value is not None}
    note = {name: str(value) for name, value in requested.items()} | {"run": str(run.path), "seed": str(options.seed)}
    if out.suffix.lower() == ".png":
        _write_grid(run, out, options, requested, note)
    else:
        _write_files(run, out, options, requested, note)
    samples = Samples(out)
    if options.text is not None:
        samples.left_out = tuple(unknown_words(run.record, options.text))
    return samples


def _write_grid(run: Run, out: Path, options: Options, requested: dict[str, Any], note: dict[str, str]) -> None:
    """All samples in one grid, beside their inputs if the generator takes images."""
    from ganfold.images import grids
    from ganfold.runs.conditioning import Labelling, class_rows

    count, columns = options.count, None
    labelling: str | Labelling | None = options.label
    if run.classes and options.label is None:
        count, columns, labelling = class_rows(count, len(run.classes), options.start)
    images = run.sample(count, options.seed, options.start, labelling, **requested)
    if not requested and (conditioning := run.held_out_conditioning(options.seed)):
        images, each = conditioning.beside(images, options.start)
        columns = max(1, round(math.sqrt(count / each))) * each if each > 1 else None
    grid = grids.grid(images, columns, scale=grids.enlargement(images))
    grids.save_png(grid, out, note | {"start": str(options.start)})


def _write_files(run: Run, out: Path, options: Options, requested: dict[str, Any], note: dict[str, str]) -> None:
    """Each sample in a file of its own. They move into `out` when all are written."""
    from ganfold.images import grids
    from ganfold.images.files import class_folders, from_row

    labels = run.labels(options.count, options.seed, options.start) if options.label is None else None
    folders = class_folders(run.classes)
    partial = out.with_name(f".{out.name}.partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for number, image in _images(run, options, requested):
            folder = "" if labels is None else folders[labels[number - options.start]]
            (partial / folder).mkdir(exist_ok=True)
            grids.save_png(from_row(image), partial / folder / f"{number:06d}.png", note | {"number": str(number)})
        for path in partial.rglob("*.png"):
            place = out / path.relative_to(partial)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.replace(place)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _images(run: Run, options: Options, requested: dict[str, Any]) -> Iterator[tuple[int, np.ndarray]]:
    """The samples, uint8 (H, W, C), with their numbers."""
    end = options.start + options.count
    for begin in range(options.start, end, BLOCK):
        images = run.sample(min(BLOCK, end - begin), options.seed, begin, options.label, **requested)
        yield from enumerate(images, begin)

"""`ganfold sample`: a run's images as files, or as one grid."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ganfold.errors import GanfoldError
from ganfold.files import is_leftover, locked, unwritable
from ganfold.interface.options import AT_LEAST_ONE, Positional, verb
from ganfold.interface.result import Written

if TYPE_CHECKING:
    import numpy as np

    from ganfold.gans.contract import GAN
    from ganfold.runs.run import Run

BLOCK = 1024  # images in memory at once
SHARE = 0.5  # of the machine's memory for one grid
UNKNOWN = 8 * 2**30  # bytes of memory where the system does not say
OTHERS = (".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif")  # suffixes that no grid is written to


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
        GanfoldError: this is no run, `out` exists, the run takes no such label, text or place, the grid is too large
            for the memory, or the disk is full. Nothing is left behind then.
    """
    from ganfold.runs.conditioning import unknown_words
    from ganfold.runs.run import Run

    run = options.run if isinstance(options.run, Run) else Run(options.run, options.checkpoint, options.gan)
    out = Path(options.out)
    if not options.force and out.exists() and (out.is_file() or not all(map(is_leftover, out.iterdir()))):
        raise GanfoldError(f"{out} exists: give --out another name, or --force to write into it")
    if out.suffix.lower() in OTHERS and not out.is_dir():
        raise GanfoldError(f"{out} cannot be written: end --out with .png for one grid, or name a folder for files")
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

    _check_memory(run, options.count)
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


def _check_memory(run: Run, count: int) -> None:
    """See that the memory holds a grid: its images, the sheet, and each once more while it is made and written."""
    import torch

    from ganfold import device
    from ganfold.images import grids

    resolution, channels = run.gan.shape.resolution, run.gan.shape.channels
    side = resolution * max(1, grids.SIDE // resolution) + grids.GAP
    each = 2 * channels * (resolution**2 + side**2) * (3 if run.gan.conditioned_on_images else 1)
    most = int((device.memory(torch.device("cpu")) or UNKNOWN) * SHARE) // each
    if count > most:
        raise GanfoldError(
            f"a grid of {count:,} images needs more memory than there is: give --count {most:,} or less, or a folder "
            "for --out, which takes any number"
        )


def _write_files(run: Run, out: Path, options: Options, requested: dict[str, Any], note: dict[str, str]) -> None:
    """Each sample in a file of its own. They move into `out` when all are written."""
    from ganfold.images import grids
    from ganfold.images.files import class_folders, from_row

    folders = class_folders(run.classes)
    place = out.resolve()
    partial = place.parent / f".{place.name}.partial"
    content = partial / "content"
    try:
        with locked(partial, "sampling"):
            shutil.rmtree(content, ignore_errors=True)  # of a command that was killed: its images may be others
            try:
                content.mkdir(parents=True)
                for number, image, label in _images(run, options, requested):
                    folder = content if label is None else content / folders[label]
                    folder.mkdir(exist_ok=True)
                    grids.save_png(from_row(image), folder / f"{number:06d}.png", note | {"number": str(number)})
                _move(content, place)
            finally:
                shutil.rmtree(content, ignore_errors=True)
        with suppress(OSError):  # it is there if a command was killed before
            partial.rmdir()
    except OSError as error:
        raise unwritable(out, error) from error


def _move(content: Path, out: Path) -> None:
    """Move files into `out`: all at once, unless it holds something."""
    with suppress(OSError):
        out.rmdir()  # of an empty folder alone
    if not out.exists():
        content.rename(out)
        return
    for path in content.rglob("*.png"):
        target = out / path.relative_to(content)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _images(run: Run, options: Options, requested: dict[str, Any]) -> Iterator[tuple[int, np.ndarray, int | None]]:
    """The number of each sample, its pixels, uint8 (H, W, C), and its class, unless one is requested for all."""
    end = options.start + options.count
    for begin in range(options.start, end, BLOCK):
        count = min(BLOCK, end - begin)
        images = run.sample(count, options.seed, begin, options.label, **requested)
        labels = run.labels(count, options.seed, begin) if options.label is None else None
        for place, image in enumerate(images):
            yield begin + place, image, None if labels is None else int(labels[place])

"""A user's image files: opened the right way up, changed one by one, and written without losing a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from itertools import count as count_from
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torch import Tensor

from ganfold.data.sources.decode import Unusable, look
from ganfold.data.sources.tree import is_hidden
from ganfold.errors import GanfoldError
from ganfold.files import write_atomically
from ganfold.images.pixels import to_float, to_rows

Change = Callable[[Image.Image, Path], Image.Image]  # an image and its path -> the new image
Job = tuple[Path, Path]  # the file to read and the file to write


def change_images(
    source: str | Path, out: str | Path, change: Change, *, force: bool = False, progress: bool = True
) -> Path:
    """Apply `change` to an image, or to each image in a folder, and write the results.

    Args:
        source: an image file, or a folder of them. Sub-folders are not searched.
        out: the file to write; its suffix decides the format. For a folder: the folder for PNGs of the same names.
        change: receives each image upright (by its EXIF tag), in mode L, RGB or RGBA, and its path.
        force: allow files to be replaced.
        progress: show a bar for a folder on a terminal, and list what was skipped.

    Returns:
        `out`.

    Raises:
        GanfoldError: there is no image, a file would be replaced, the format cannot be written, or the disk is full.
            No file is left half written.
    """
    source, out = Path(source), Path(out)
    if not source.is_dir():
        _check_free(out, force)  # before the work, which may take minutes
        _write(change(opened(source), source), out)
        return out
    if out.is_file():
        raise GanfoldError(f"{out} is a file, and {source} is a folder: give --out a folder")
    jobs = _jobs(source, out)
    for _, target in jobs:
        _check_free(target, force)
    skipped, done = [], 0
    for path, target in _watched(jobs, progress):
        try:
            image = opened(path)
        except GanfoldError as error:
            skipped.append(str(error))
            continue
        _write(change(image, path), target)
        done += 1
    if not done:
        raise GanfoldError(f"{source} holds no picture" + (f" ({skipped[0]})" if skipped else ""))
    if progress:
        for line in skipped:
            print(f"Skipped: {line}", file=sys.stderr)
    return out


def opened(path: Path) -> Image.Image:
    """The image in a file, upright, in mode L, RGB or RGBA.

    Raises:
        GanfoldError: there is no such file, or it is not an image.
    """
    if not path.exists():
        raise GanfoldError(f"no such file or folder: {path}")
    try:
        look(path)
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode in ("L", "RGB", "RGBA"):
                return upright.copy()
            return upright.convert("RGBA" if upright.has_transparency_data else "RGB")
    except Unusable as error:
        raise GanfoldError(f"cannot use {path}: {error}") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise GanfoldError(f"cannot read {path}: {error}") from error


def to_tensor(image: Image.Image, channels: int | None = None) -> Tensor:
    """An image as float32 (1, C, H, W) in [-1, 1], C of 1, 3 or 4: `channels`, or by default those that it has."""
    if channels:
        image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    pixels = to_float(np.asarray(image))
    return (pixels if pixels.ndim == 3 else pixels[..., None]).permute(2, 0, 1)[None].contiguous()


def to_image(pixels: Tensor) -> Image.Image:
    """Pixels (1, C, H, W) in [-1, 1], C of 1, 3 or 4, as an image."""
    return from_row(to_rows(pixels)[0])


def from_row(pixels: np.ndarray) -> Image.Image:
    """Pixels uint8 (H, W, C), C of 1, 3 or 4, as an image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def class_folders(classes: Sequence[str]) -> list[str]:
    """A folder name for each class: the class's own name where a file system allows it, and no name twice."""
    names: list[str] = []
    taken: set[str] = set()  # lower case: some file systems do not tell "A" from "a"
    for label in classes:
        name = re.sub(r'[\x00-\x1f/\\:*?"<>|]|^\.|[. ]$', "_", label)[:60] or "_"
        name += "_" if is_hidden(name) else ""  # `ganfold check` skips hidden folders
        numbered = (f"{name} {number}" for number in count_from(2))
        names.append(next(n for n in chain([name], numbered) if n.casefold() not in taken))
        taken.add(names[-1].casefold())
    return names


def _jobs(source: Path, out: Path) -> list[Job]:
    paths = [path for path in sorted(source.iterdir()) if path.is_file() and not path.name.startswith(".")]
    jobs = [(path, out / f"{path.stem}.png") for path in paths]
    if len({target for _, target in jobs}) < len(jobs):
        raise GanfoldError(f"{source} holds files that differ in their suffix alone, and would become one: rename them")
    return jobs


def _check_free(path: Path, force: bool) -> None:
    if path.is_dir():
        raise GanfoldError(f"{path} is a folder: give --out a file's name, such as {path / 'out.png'}")
    if path.suffix.lower() not in _suffixes():
        raise GanfoldError(f"{path} names no kind of picture that can be written: end it with .png, .jpg or .webp")
    if path.exists() and not force:
        raise GanfoldError(f"{path} exists: give --out another name, or --force to replace it")


def _suffixes() -> list[str]:
    return [suffix for suffix, name in Image.registered_extensions().items() if name in Image.SAVE]


def _write(image: Image.Image, path: Path) -> None:
    file_format = Image.registered_extensions()[path.suffix.lower()]
    if file_format == "JPEG" and image.mode == "RGBA":  # JPEG has no transparency
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image).convert("RGB")
    write_atomically(path, lambda temporary: image.save(temporary, file_format))


def _watched(jobs: Sequence[Job], progress: bool) -> Iterable[Job]:
    if not progress or not sys.stderr.isatty():
        return jobs
    from rich.console import Console
    from rich.progress import track

    return track(jobs, "Images", console=Console(stderr=True), transient=True)

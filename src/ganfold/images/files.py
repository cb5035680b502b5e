"""A trained network on a user's own pictures: opened as they are meant, taken in tiles, and nothing written over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ganfold.data.sources.decode import Unusable, look
from ganfold.errors import GanfoldError
from ganfold.files import write_atomically
from ganfold.runs.run import Run

Change = Callable[[Image.Image, Path], Image.Image]


def open_run(run: str | Path | Run, kinds: Sequence[str], verb: str, checkpoint: str = "best") -> Run:
    """The run, if its GAN is one of these kinds.

    Raises:
        GanfoldError: it is another, or no run.
    """
    run = run if isinstance(run, Run) else Run(run, checkpoint)
    if (kind := run.config["gan"]) not in kinds:
        raise GanfoldError(f"{run.path} is {_a(kind)}: `{verb}` needs {' or '.join(map(_a, kinds))}")
    return run


def change_pictures(
    source: str | Path, out: str | Path, change: Change, *, force: bool = False, progress: bool = True
) -> Path:
    """Write what `change` makes of a picture, or of each picture in a folder.

    Args:
        source: a picture, or a folder of them (not what lies in folders below).
        out: the file to write, its suffix says which kind; or, of a folder, the folder for PNGs of the same names.
        change: gets the picture upright (EXIF) as L, RGB or RGBA, and its path.
        force: allow files to be replaced.
        progress: show a bar for a folder on a terminal, and say what was skipped.

    Returns:
        `out`.

    Raises:
        GanfoldError: no picture there, a file in the way, a kind that cannot be written, or a full disk; each file is
            whole or not there.
    """
    source, out = Path(source), Path(out)
    if not source.is_dir():
        place = _free(out, force)  # before the work, which may take minutes
        _write(change(opened(source), source), place)
        return out
    if out.is_file():
        raise GanfoldError(f"{out} is a file, and {source} is a folder: give --out a folder")
    jobs = [(path, out / f"{path.stem}.png") for path in sorted(source.iterdir()) if path.is_file()]
    jobs = [(path, place) for path, place in jobs if not path.name.startswith(".")]
    if len({place for _, place in jobs}) < len(jobs):
        raise GanfoldError(f"{source} holds files that differ in their suffix alone, and would become one: rename them")
    for _, place in jobs:
        _free(place, force)
    skipped, done = [], 0
    for path, place in _watched(jobs, progress):
        try:
            picture = opened(path)
        except GanfoldError as error:
            skipped.append(str(error))
            continue
        _write(change(picture, path), place)
        done += 1
    if not done:
        raise GanfoldError(f"{source} holds no picture" + (f" ({skipped[0]})" if skipped else ""))
    if progress:
        for line in skipped:
            print(f"Skipped: {line}", file=sys.stderr)
    return out


def opened(path: Path) -> Image.Image:
    """A picture upright, as L, RGB or RGBA.

    Raises:
        GanfoldError: it is not there or not a picture.
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
    """A picture as float32 (1, C, H, W) in [-1, 1], with as many channels as it has, or 1, 3 or 4 as asked."""
    if channels:
        image = image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels])
    pixels = torch.from_numpy(np.array(image)).float() / 127.5 - 1
    return (pixels if pixels.ndim == 3 else pixels[..., None]).permute(2, 0, 1)[None].contiguous()


def to_image(pixels: Tensor) -> Image.Image:
    """The picture of float (1, C, H, W) in [-1, 1]."""
    values = pixels[0].add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)


@torch.inference_mode()
def tiled(
    network: Callable[[Tensor], Tensor], image: Tensor, *, scale: int = 1, tile: int = 256, margin: int = 32
) -> Tensor:
    """What a network makes of a picture of any size, tile by tile, so that memory follows from the tile.

    Args:
        network: (1, C, h, w) -> (1, C', h * scale, w * scale), for any h and w up to tile + 2 * margin.
        image: float (1, C, H, W).
        scale: how much larger its result is.
        tile: pixels a side of a tile of the picture.
        margin: pixels around it that the network sees too, where the picture has them, and that are cut off again: from
            the reach of its convolutions on there are no seams.

    Returns:
        float (1, C', H * scale, W * scale).
    """
    height, width = image.shape[2:]
    if max(height, width) <= tile + 2 * margin:
        return network(image)
    whole: Tensor | None = None
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(height, top + tile), min(width, left + tile)
            above, before = max(0, top - margin), max(0, left - margin)
            made = network(image[:, :, above : min(height, bottom + margin), before : min(width, right + margin)])
            if whole is None:
                whole = made.new_empty(1, made.shape[1], height * scale, width * scale)
            y, x = (top - above) * scale, (left - before) * scale
            part = made[:, :, y : y + (bottom - top) * scale, x : x + (right - left) * scale]
            whole[:, :, top * scale : bottom * scale, left * scale : right * scale] = part
    assert whole is not None
    return whole


def _a(name: str) -> str:
    """The name with its article, as it is spoken: an srgan."""
    return f"{'an' if name.startswith(('a', 'e', 'i', 'o', 'u', 'r', 'sr')) else 'a'} {name}"


def _free(path: Path, force: bool) -> Path:
    if path.is_dir():
        raise GanfoldError(f"{path} is a folder: give --out a file's name, such as {path / 'out.png'}")
    if path.suffix.lower() not in _suffixes():
        raise GanfoldError(f"{path} names no kind of picture that can be written: end it with .png, .jpg or .webp")
    if path.exists() and not force:
        raise GanfoldError(f"{path} exists: give --out another name, or --force to replace it")
    return path


def _suffixes() -> list[str]:
    return [suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.SAVE]


def _write(image: Image.Image, path: Path) -> None:
    kind = Image.registered_extensions()[path.suffix.lower()]
    if kind == "JPEG" and image.mode == "RGBA":  # it has no transparency
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image).convert("RGB")
    write_atomically(path, lambda temporary: image.save(temporary, kind))


def _watched(jobs: Sequence[tuple[Path, Path]], progress: bool) -> Sequence[tuple[Path, Path]]:
    if not progress or not sys.stderr.isatty():
        return jobs
    from rich.console import Console
    from rich.progress import track

    return track(jobs, "Pictures", console=Console(stderr=True), transient=True)  # type: ignore[return-value]

"""Pictures of pictures: grids, PNG files with a text in them, and the film of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from ganfold.errors import GanfoldError
from ganfold.files import write_atomically

GAP = 2  # pixels between the images of a grid
GROUND = 128  # its grey
CAPTION = 18  # pixels of a film's caption
FILM_MS, LAST_MS = 8000, 2000  # how long a film runs, and how long its last frame stands


def grid(images: np.ndarray, columns: int | None = None, scale: int = 1) -> Image.Image:
    """Images side by side on grey.

    Args:
        images: uint8 (N, H, W, C) with 1, 3 or 4 channels, or (N, H, W).
        columns: in a row; by default as near to a square as can be.
        scale: each pixel becomes a square of so many.

    Raises:
        GanfoldError: no images, or not uint8 of such a shape.
    """
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3, 4) or not len(images):
        raise GanfoldError(f"a grid needs uint8 images (N, H, W, 1, 3 or 4), not {images.dtype} {images.shape}")
    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    height, width = height * scale, width * scale
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, channels), GROUND, np.uint8)
    for number, image in enumerate(images):
        top, left = (height + GAP) * (number // columns), (width + GAP) * (number % columns)
        sheet[top : top + height, left : left + width] = image.repeat(scale, 0).repeat(scale, 1)
    return Image.fromarray(sheet[..., 0] if channels == 1 else sheet)


def enlargement(images: np.ndarray) -> int:
    """The `scale` at which small images (N, H, W, C) become about 64 pixels a side, so that a grid can be seen."""
    return max(1, 64 // images.shape[1])


def save_png(image: Image.Image, path: Path, text: dict[str, str] | None = None) -> None:
    """Write a PNG whole or not at all, with these texts in it.

    Raises:
        GanfoldError: no space left, or the folder cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    write_atomically(path, lambda temporary: image.save(temporary, "PNG", pnginfo=info))


def film(frames: Sequence[Path], path: Path, most: int = 120) -> None:
    """Join PNG grids into an animated WebP, each with its name (the kimg) below; the last one stands longer.

    Args:
        frames: PNG files named by their kimg, in order, all of one size.
        path: where to write it, whole or not at all.
        most: thin longer rows of frames evenly to so many; first and last always stay.

    Raises:
        GanfoldError: no frames, frames of different sizes, or no space left.
    """
    if not frames:
        raise GanfoldError("a film needs at least one frame")
    kept = [frames[round(i)] for i in np.linspace(0, len(frames) - 1, min(most, len(frames)))]
    pictures = [_captioned(frame) for frame in kept]
    for frame, picture in zip(kept, pictures, strict=True):
        if picture.size != pictures[0].size:
            raise GanfoldError(f"{frame} is of another size than {kept[0]}: delete it, and the film can be made")
    durations = [max(40, FILM_MS // len(kept))] * (len(kept) - 1) + [LAST_MS]

    def write(temporary: Path) -> None:
        pictures[0].save(
            temporary, "WEBP", save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=80
        )

    write_atomically(path, write)


def _captioned(path: Path) -> Image.Image:
    with Image.open(path) as file:
        picture = file.convert("RGBA" if file.mode in ("RGBA", "LA") else "RGB")
    sheet = Image.new(picture.mode, (picture.width, picture.height + CAPTION), "white")
    sheet.paste(picture)
    words = f"{float(path.stem):,.{0 if float(path.stem) >= 100 else 3}f} kimg" if _is_number(path.stem) else path.stem
    ImageDraw.Draw(sheet).text((4, picture.height + 2), words, fill="black", font=ImageFont.load_default(12))
    return sheet


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()

"""Grids of images, PNG files that carry text, and the film of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from ganfold.data.sources.decode import MARK, SHEET, SHEET_XMP
from ganfold.errors import GanfoldError
from ganfold.files import write_atomically

GAP = 2  # pixels between the images of a grid
GROUND = 128  # grey level between them
PAIR_SIDE = 256  # largest side of an image in a pair, in pixels
SIDE = 64  # pixels a side to which small images are enlarged
CAPTION = 18  # height of a film's caption, in pixels
FILM_MS, LAST_MS = 8000, 2000  # length of a film, and how long its last frame is shown, in milliseconds


def grid(images: np.ndarray, columns: int | None = None, scale: int = 1) -> Image.Image:
    """Images in rows on a grey ground.

    Args:
        images: uint8 (N, H, W, C) with 1, 3 or 4 channels, or (N, H, W).
        columns: images in a row [makes the grid nearly square].
        scale: each pixel becomes a square of this side.

    Raises:
        GanfoldError: there are no images, or they are not uint8 of such a shape.
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


def pairs(
    left: np.ndarray,
    right: np.ndarray,
    captions: Sequence[Sequence[str]],
    marked: Sequence[bool],
    head: Sequence[str],
    columns: int = 4,
) -> Image.Image:
    """Pairs of images, with lines of text below each pair and at the top.

    Args:
        left, right: uint8 (N, H, W, C) with 1, 3 or 4 channels, N of 1 or more.
        captions: the lines below each pair, equally many for each. A line that is too long loses its beginning.
        marked: for each pair, whether its last line is red.
        head: lines at the top. Long ones are wrapped.
        columns: pairs in a row.
    """
    font, line = ImageFont.load_default(CAPTION - 6), CAPTION - 3
    scale = enlargement(left)
    side = min(left.shape[1] * scale, PAIR_SIDE)
    wide = max(2 * side + GAP, 190)  # room for the captions
    columns = min(columns, len(left))
    width, height = wide + CAPTION, side + len(captions[0]) * line + CAPTION
    words = [part for text in head for part in _wrapped(text, max(3, columns) * width - CAPTION, font)]
    top = len(words) * line + CAPTION
    size = (max(3, columns) * width + CAPTION, top + -(-len(left) // columns) * height)
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for number, text in enumerate(words):
        draw.text((CAPTION, 8 + number * line), text, "black", font)
    for number, two in enumerate(zip(left, right, strict=True)):
        x, y = CAPTION + width * (number % columns), top + height * (number // columns)
        tile = grid(np.stack(two), columns=2, scale=scale).convert("RGBA")
        tile.thumbnail((2 * side + GAP, side))
        sheet.paste(tile, (x, y), tile)
        for place, text in enumerate(captions[number], 1):
            is_red = marked[number] and place == len(captions[number])
            spot = (x, y + side + 3 + (place - 1) * line)
            draw.text(spot, _tail(text, wide, font), "#c00000" if is_red else "black", font)
    return sheet


def enlargement(images: np.ndarray) -> int:
    """The `scale` that makes small images (N, H, W, C) about `SIDE` pixels a side, large enough to look at."""
    return max(1, SIDE // images.shape[1])


def save_png(image: Image.Image, path: Path, text: dict[str, str] | None = None) -> None:
    """Write a PNG, whole or not at all, with texts in its metadata.

    Raises:
        GanfoldError: no space is left, or the folder cannot be written.
    """
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    write_atomically(path, lambda temporary: image.save(temporary, "PNG", pnginfo=info))


def save_sheet(image: Image.Image, path: Path, text: dict[str, str] | None = None) -> None:
    """As `save_png`, for an image that shows many. Its mark says that it is no data where it lies among images."""
    save_png(image, path, {**(text or {}), MARK: SHEET})


def film(frames: Sequence[Path], path: Path, most: int = 120) -> None:
    """Join PNG grids into an animated WebP. Each frame shows its kimg below; the last one is shown longer.

    Args:
        frames: PNG files in order, named by their kimg, all of one size.
        path: where to write it, whole or not at all.
        most: most frames of the film. More are thinned evenly; the first and the last stay.

    Raises:
        GanfoldError: there are no frames, their sizes differ, or no space is left.
    """
    if not frames:
        raise GanfoldError("a film needs at least one frame")
    kept = [frames[round(i)] for i in np.linspace(0, len(frames) - 1, min(most, len(frames)))]
    images = [_captioned(frame) for frame in kept]
    for frame, image in zip(kept, images, strict=True):
        if image.size != images[0].size:
            raise GanfoldError(f"{frame} is of another size than {kept[0]}: delete it, and the film can be made")
    durations = [max(40, FILM_MS // len(kept))] * (len(kept) - 1) + [LAST_MS]

    def write(temporary: Path) -> None:
        images[0].save(
            temporary,
            "WEBP",
            save_all=True,
            append_images=images[1:],
            duration=durations,
            loop=0,
            quality=80,
            xmp=SHEET_XMP,
        )

    write_atomically(path, write)


def _captioned(path: Path) -> Image.Image:
    with Image.open(path) as file:
        image = file.convert("RGBA" if file.mode in ("RGBA", "LA") else "RGB")
    sheet = Image.new(image.mode, (image.width, image.height + CAPTION), "white")
    sheet.paste(image)
    words = f"{float(path.stem):,.{0 if float(path.stem) >= 100 else 3}f} kimg" if _is_number(path.stem) else path.stem
    ImageDraw.Draw(sheet).text((4, image.height + 2), words, fill="black", font=ImageFont.load_default(12))
    return sheet


def _tail(text: str, width: int, font: Any) -> str:
    """The end of a name that is too long: names of files differ at their end."""
    short = text
    while font.getlength(short) > width:
        text = text[1:]
        short = "…" + text
    return short


def _wrapped(text: str, width: int, font: Any) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()

"""The contact sheet: one image that shows many of a set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from ganfold.data.imageset import ImageSet

_GAP = 2  # px between tiles
_ROWS = 12  # classes at most: the largest


def contact_sheet(images: ImageSet, path: str | Path, count: int = 64) -> None:
    """Write a PNG of about `count` training images. They are always the same; each class has a row.

    Raises:
        GanfoldError: it cannot be written.
    """
    from ganfold.images.grids import save_sheet  # which imports this package for its marks

    order = np.random.default_rng(0).permutation(images.train)
    if images.labels is not None:
        labels = np.asarray(images.labels[order])
        shown = np.argsort(-np.bincount(labels, minlength=len(images.classes)), kind="stable")[:_ROWS]
        columns = max(4, count // len(shown))
        rows = [(images.classes[i], order[labels == i][:columns]) for i in sorted(shown.tolist())]
    else:
        columns = max(1, round(count**0.5))
        chosen = order[:count]
        rows = [("", chosen[i : i + columns]) for i in range(0, len(chosen), columns)]
    side = images.resolution * max(1, 64 // images.resolution) if images.resolution < 128 else 128
    font = ImageFont.load_default(size=14)
    margin = max(round(font.getlength(_short(name))) for name, _ in rows)
    margin += 12 * (margin > 0)
    step = side + _GAP
    sheet = Image.new("RGB", (margin + columns * step + _GAP, len(rows) * step + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (name, row) in enumerate(rows):
        draw.text((6, y * step + _GAP + side // 2), _short(name), "black", font, anchor="lm")
        for x, index in enumerate(row.tolist()):
            tile = _tile(np.asarray(images.images[index]), side)
            sheet.paste(tile, (margin + x * step + _GAP, y * step + _GAP))
    save_sheet(sheet, Path(path))


def _short(name: str) -> str:
    return name if len(name) <= 24 else name[:23] + "…"


def _tile(pixels: np.ndarray, side: int) -> Image.Image:
    tile = Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    if tile.mode == "RGBA":
        tile = Image.alpha_composite(Image.new("RGBA", tile.size, "white"), tile)
    enlarged = side > tile.width  # then show the pixels as they are
    return tile.convert("RGB").resize((side, side), Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS)

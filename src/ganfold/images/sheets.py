"""Sheets: images in rows and columns that have names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ganfold.images import grids

TEXT = 12  # size of the letters, in pixels
LINE = 18  # height of a line of text, in pixels
LONGEST = 160  # most pixels for the name of a row


def named(images: np.ndarray, rows: Sequence[str], columns: Sequence[str] = ()) -> Image.Image:
    """Images with the name of each row to its left, and of each column above it, on white.

    Args:
        images: uint8 (rows, columns, H, W, C).
    """
    font = ImageFont.load_default(TEXT)
    count = images.shape[1]
    flat = images.reshape(-1, *images.shape[2:])
    scale = grids.enlargement(flat)
    height, width = (side * scale + grids.GAP for side in flat.shape[1:3])
    tile = grids.grid(flat, count, scale)
    left = 8 + max((round(font.getlength(_short(name, LONGEST, font))) for name in rows), default=0)
    top = LINE if any(columns) else 0
    sheet = Image.new("RGB", (left + tile.width, top + tile.height), "white")
    sheet.paste(tile.convert("RGB"), (left, top), tile if tile.mode == "RGBA" else None)
    draw = ImageDraw.Draw(sheet)
    for number, name in enumerate(rows):
        draw.text((left - 6, top + number * height + height // 2), _short(name, LONGEST, font), "black", font, "rm")
    for number, name in enumerate(columns):
        place = (left + number * width + width // 2, top - 3)
        draw.text(place, _short(name, width, font), "black", font, "mb")
    return sheet


def frame(images: np.ndarray, names: Sequence[str]) -> Image.Image:
    """Images side by side, each with its name below: a frame of a film.

    Args:
        images: uint8 (N, H, W, C).
    """
    font = ImageFont.load_default(TEXT)
    scale = grids.enlargement(images)
    line = LINE if any(names) else 0
    height, width = images.shape[1] * scale + line + grids.GAP, images.shape[2] * scale + grids.GAP
    columns = -(-len(images) // max(1, round(len(images) ** 0.5)))
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width - grids.GAP, rows * height - grids.GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        x, y = number % columns * width, number // columns * height
        tile = grids.grid(image[None], 1, scale)
        sheet.paste(tile.convert("RGB"), (x, y), tile if tile.mode == "RGBA" else None)
        place = (x + width // 2, y + height - grids.GAP - line // 2)
        draw.text(place, _short(name, width, font), "black", font, "mm")
    return sheet


def _short(name: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The beginning of a name that is too long."""
    short = name = name.replace("\n", " ")
    while font.getlength(short) > width and name:
        name = name[:-1]
        short = name + "…"
    return short

"""One encoded picture or array -> 8-bit pixels of the wanted size, or the reason why not."""

from __future__ import annotations

import enum
import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

Fit = Literal["crop", "pad", "stretch"]
Raw = Path | BinaryIO | np.ndarray

SMALLEST = 8  # px on the shorter side: below it there is no picture to learn from

# Everything a user may hold as pictures, and nothing that starts another program (EPS runs Ghostscript).
# TGA comes last: it has no signature, so it is only guessed at.
_FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "ICNS", "PCX"),
    *("SGI", "QOI", "DDS", "XBM", "XPM", "MSP", "PSD", "SUN", "TGA"),
)
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"\0\0\0\x0cjP")

logging.getLogger("PIL").addHandler(logging.NullHandler())  # or Python prints Pillow's warnings to stderr


class Unusable(Exception):
    """This picture cannot be used; the message says why."""


class Seen(enum.IntFlag):
    """What was met on the way, one bit each, so that a million pictures need a million small integers."""

    GREY = 1
    TURNED = 2
    TRANSPARENT = 4
    DEEP = 8
    CMYK = 16
    FRAMES = 32
    PAGES = 64
    STRETCHED = 128


@dataclass(frozen=True)
class Shape:
    """What every picture is made into."""

    resolution: int
    channels: int
    fit: Fit


def look(raw: Raw) -> tuple[int, int, Seen]:
    """Width, height and what the header tells, without decoding.

    Raises:
        Unusable: not an image, empty, unreadable, too small or too large.
    """
    with _opened(raw) as image:
        width, height = image.size
        if min(width, height) < SMALLEST:
            raise Unusable(f"too small: {width} x {height} px, under {SMALLEST} on the shorter side")
        return width, height, _grey(image) | _frames(image)


def convert(raw: Raw, shape: Shape) -> tuple[np.ndarray, bytes, Seen]:
    """Pixels uint8 (C, H, W), the digest (16 bytes) of the upright picture at its own size, and what was met.

    Raises:
        Unusable: truncated, damaged or unreadable.
    """
    with _opened(raw) as image:
        try:
            image.load()
        except Exception as error:
            raise _fault(error) from error
        try:
            upright, seen = _plain(image)
            digest = hashlib.blake2b(f"{upright.mode} {upright.size} ".encode(), digest_size=16)
            digest.update(upright.tobytes())
            return _pixels(_fit(_channels(upright, shape.channels), shape)), digest.digest(), seen
        except Exception as error:
            raise _fault(error) from error


@contextmanager
def _opened(raw: Raw) -> Iterator[Image.Image]:
    if isinstance(raw, np.ndarray):
        yield Image.fromarray(raw)
        return
    try:
        file = raw.open("rb") if isinstance(raw, Path) else raw
    except OSError as error:
        raise _fault(error) from error
    with file:
        yield _identified(file)


def _identified(file: BinaryIO) -> Image.Image:
    start, length = b"", 0
    try:
        start, length = file.read(16), file.seek(0, 2)
        file.seek(0)
        return Image.open(file, formats=_formats())
    except Exception as error:
        if length == 0 and isinstance(error, UnidentifiedImageError):
            raise Unusable("empty file") from error
        if start[:4] == b"RIFF" and int.from_bytes(start[4:8], "little") + 8 > length:
            raise Unusable("truncated") from error  # Pillow only says that it cannot
        if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1"):
            raise Unusable("unreadable: HEIC; convert it to JPEG or PNG") from error
        known = start.startswith(_SIGNATURES) or start[4:8] == b"ftyp"
        if isinstance(error, UnidentifiedImageError) and not known:
            raise Unusable("not an image") from error
        raise _fault(error) from error


@cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _most_pixels() -> int:
    return 2 * (Image.MAX_IMAGE_PIXELS or 0)


def _fault(error: Exception) -> Unusable:
    if isinstance(error, Image.DecompressionBombError):
        return Unusable(f"decompression bomb: more than {_most_pixels():,} pixels")
    if isinstance(error, UnidentifiedImageError):
        return Unusable("damaged: it begins like an image but none can be read")
    if isinstance(error, OSError) and error.errno:
        return Unusable(f"unreadable: {_short(error)}")
    # Strict on purpose: a cut picture decodes to a grey or black rest, which a generator would learn.
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return Unusable("truncated")
    return Unusable(f"damaged: {_short(error)}")


def _short(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [""])[0][:120] or type(error).__name__


def _grey(image: Image.Image) -> Seen:
    if image.mode == "P" and image.palette:
        kind = image.palette.rawmode or image.palette.mode  # not getpalette(): that would decode the pixels
        if kind not in ("RGB", "BGR", "RGBA", "RGBX", "BGRX"):
            return Seen(0)
        values = np.frombuffer(bytes(image.palette.palette), np.uint8)
        colours = values[: len(values) // len(kind) * len(kind)].reshape(-1, len(kind))[:, :3]
        return Seen.GREY if (colours == colours[:, :1]).all() else Seen(0)
    return Seen.GREY if image.mode[0] in "1LIF" and image.mode != "LAB" else Seen(0)


def _frames(image: Image.Image) -> Seen:
    try:
        several = image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame does not spoil the first
        return Seen(0)
    return (Seen.PAGES if image.format == "TIFF" else Seen.FRAMES) if several else Seen(0)


def _plain(image: Image.Image) -> tuple[Image.Image, Seen]:
    """The upright picture as L, RGB, or, only if something shines through, LA or RGBA; 8 bits each."""
    seen = Seen(0)
    with suppress(Exception):  # a broken EXIF block says nothing about the pixels
        turn = image.getexif().get(0x0112, 1)
        if turn in range(2, 9):
            image = ImageOps.exif_transpose(image)
            seen |= Seen.TURNED
    if image.mode == "CMYK":
        seen |= Seen.CMYK
    if image.mode[0] in "IF":
        image, met = _eight_bits(image)
        return image, seen | met
    grey = bool(_grey(image))
    clear = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if not clear:
        return _as(image, "L" if grey else "RGB"), seen
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("L" if grey else "RGB"), seen
    return image.convert("LA" if grey else "RGBA"), seen | Seen.TRANSPARENT


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Seen]:
    """Deep grey as 8 bits: by the range of the type where there is one, else by that of the values."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    seen = Seen.DEEP
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        low, high = 0.0, 65535.0
    elif image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif image.mode == "I" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    else:
        seen |= Seen.STRETCHED
    return Image.fromarray(np.rint((values - low) * (255 / ((high - low) or 1))).astype(np.uint8)), seen


def _channels(image: Image.Image, channels: int) -> Image.Image:
    if channels == 4:
        return image.convert("RGBA")
    if image.mode in ("LA", "RGBA"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return _as(image, "L" if channels == 1 else "RGB")


def _as(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # convert() copies even then


def _fit(image: Image.Image, shape: Shape) -> Image.Image:
    """Lanczos widens its support when it shrinks, so it is antialiased, and it is what the sets behind GAN
    papers were made with; Pillow premultiplies alpha by itself, so hidden colours do not bleed in."""
    size = shape.resolution
    width, height = image.size
    if (width, height) == (size, size):
        return image
    box = (0.0, 0.0, float(width), float(height))
    target = (size, size)
    if shape.fit == "crop":
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        box = (left, top, left + side, top + side)
    elif shape.fit == "pad":
        scale = size / max(width, height)
        target = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = image.resize(target, Image.Resampling.LANCZOS, box, reducing_gap=3.0)
    if target == (size, size):
        return image
    canvas = Image.new(image.mode, (size, size))  # black, or clear where there is alpha
    canvas.paste(image, ((size - target[0]) // 2, (size - target[1]) // 2))
    return canvas


def _pixels(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

"""One encoded image or array becomes 8-bit pixels of the target shape, or the reason why it cannot."""

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
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

Fit = Literal["crop", "pad", "stretch"]
Raw = Path | BinaryIO | np.ndarray
"""The file of an encoded image, by its path or opened; or pixels, uint8 (H, W) or (H, W, C)."""

MARK, SHEET = "ganfold", "sheet"  # the text in a PNG that shows many images: it is never data
SMALLEST = 8  # px on the shorter side: a smaller image shows nothing to learn

# All formats that users keep images in, except those that start another program (EPS runs Ghostscript).
# TGA comes last: it has no signature, and Pillow only guesses it.
_FORMATS = (
    *("PNG", "JPEG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO", "ICNS", "PCX"),
    *("SGI", "QOI", "DDS", "XBM", "XPM", "MSP", "PSD", "SUN", "TGA"),
)
_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM", b"\0\0\0\x0cjP")

logging.getLogger("PIL").addHandler(logging.NullHandler())  # without a handler Python prints warnings to stderr


class Unusable(Exception):
    """This image cannot be used; the message says why."""


class Traits(enum.IntFlag):
    """What the findings report of an image, one bit each: a million images then take a megabyte."""

    GREY = 1
    TURNED = 2
    TRANSPARENT = 4
    DEEP = 8
    CMYK = 16
    FRAMES = 32
    PAGES = 64
    STRETCHED = 128


@dataclass(frozen=True)
class TargetShape:
    """What every image is made into."""

    resolution: int  # height and width in pixels
    channels: int  # 1, 3 or 4
    fit: Fit


def look(raw: Raw) -> tuple[int, int, Traits]:
    """Width, height and traits of an image, from its header alone.

    Raises:
        Unusable: it is no image, empty, unreadable, too small or too large.
    """
    with _opened(raw) as image:
        width, height = image.size
        if _is_sheet(image):
            raise Unusable("left out: a sheet of many images, written by ganfold")
        if min(width, height) < SMALLEST:
            raise Unusable(f"too small: {width} x {height} px, under {SMALLEST} on the shorter side")
        return width, height, _grey(image) | _frames(image)


def convert(raw: Raw, shape: TargetShape) -> tuple[np.ndarray, bytes, Traits]:
    """Decode an image and bring it to the target shape.

    Returns:
        Pixels uint8 (C, H, W); the digest, 16 bytes, of the upright image at its own size; and the traits.

    Raises:
        Unusable: it is truncated, damaged or unreadable.
    """
    with _opened(raw) as image:
        try:
            image.load()
        except Exception as error:
            raise _fault(error) from error
        try:
            upright, traits = _plain(image)
            digest = hashlib.blake2b(f"{upright.mode} {upright.size} ".encode(), digest_size=16)
            digest.update(upright.tobytes())
            return _pixels(_fitted(_with_channels(upright, shape.channels), shape)), digest.digest(), traits
        except Exception as error:
            raise _fault(error) from error


def upright(raw: Raw) -> Image.Image:
    """The whole image as `convert` reads it: upright, with 8 bits a value; L, RGB, LA or RGBA.

    Raises:
        Unusable: it is truncated, damaged or unreadable.
    """
    with _opened(raw) as image:
        try:
            image.load()
            return _plain(image)[0]
        except Exception as error:
            raise _fault(error) from error


def _is_sheet(image: Image.Image) -> bool:
    """Whether texts in the PNG say that it is a contact sheet, or a grid of a run's samples."""
    text = image.info
    return text.get(MARK) == SHEET or "kimg" in text or {"run", "seed", "start"} <= text.keys()


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
            raise Unusable("truncated") from error  # Pillow reports a cut WebP as unidentified
        if start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"hevc", b"mif1"):
            raise Unusable("unreadable: HEIC; convert it to JPEG or PNG") from error
        if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+") and (kind := _tiff_kind(file)):
            raise Unusable(f"unreadable: a TIFF of {kind}, which Pillow does not open; save it as 8-bit RGB") from error
        known = start.startswith(_SIGNATURES) or start[4:8] == b"ftyp"
        if isinstance(error, UnidentifiedImageError) and not known:
            raise Unusable("not an image") from error
        raise _fault(error) from error


def _tiff_kind(file: BinaryIO) -> str:
    """The bands and types of a whole TIFF, in words; "" where its header is damaged."""
    try:
        file.seek(0)
        header = file.read(16)
        tags = TiffImagePlugin.ImageFileDirectory_v2(
            header if header[2:3] == b"+" or header[3:4] == b"+" else header[:8]
        )
        file.seek(tags.next)
        tags.load(file)
        bits, kind = tags[258], {3: " float"}.get(tags.get(339, (1,))[0], "")
        bands = tags.get(277, 1)
        if not (tags[256] and tags[257] and len(bits) in (1, bands)):
            return ""
    except Exception:  # tags of a damaged file raise nearly anything
        return ""
    return f"{bands} band{'s' * (bands != 1)} of {bits[0]}-bit{kind} values"


@cache
def _formats() -> list[str]:
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _most_pixels() -> int:
    return 2 * (Image.MAX_IMAGE_PIXELS or 0)


def _fault(error: Exception) -> Unusable:
    """The reason in words for what Pillow raised."""
    if isinstance(error, Image.DecompressionBombError):
        return Unusable(f"decompression bomb: more than {_most_pixels():,} pixels")
    if isinstance(error, UnidentifiedImageError):
        return Unusable("damaged: it begins like an image but none can be read")
    if isinstance(error, OSError) and error.errno:
        return Unusable(f"unreadable: {_short(error)}")
    # Strict on purpose: the missing part of a cut image decodes to grey or black, which a generator would learn.
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return Unusable("truncated")
    return Unusable(f"damaged: {_short(error)}")


def _short(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return (text.splitlines() or [""])[0][:120] or type(error).__name__


def _grey(image: Image.Image) -> Traits:
    """GREY where the header or the palette says that no pixel has a colour."""
    if image.mode == "P" and image.palette:
        order = image.palette.rawmode or image.palette.mode  # getpalette() would decode the pixels
        if order not in ("RGB", "BGR", "RGBA", "RGBX", "BGRX"):
            return Traits(0)
        values = np.frombuffer(bytes(image.palette.palette), np.uint8)
        colours = values[: len(values) // len(order) * len(order)].reshape(-1, len(order))[:, :3]
        return Traits.GREY if (colours == colours[:, :1]).all() else Traits(0)
    return Traits.GREY if image.mode[0] in "1LIF" and image.mode != "LAB" else Traits(0)


def _frames(image: Image.Image) -> Traits:
    """FRAMES or PAGES where the file holds more than one image."""
    try:
        several = image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # a damaged second frame does not spoil the first
        return Traits(0)
    return (Traits.PAGES if image.format == "TIFF" else Traits.FRAMES) if several else Traits(0)


def _plain(image: Image.Image) -> tuple[Image.Image, Traits]:
    """The upright image with 8 bits a value: L or RGB, or LA or RGBA if a pixel is transparent."""
    traits = Traits(0)
    with suppress(Exception):  # the pixels may be good even if the EXIF block is damaged
        turn = image.getexif().get(0x0112, 1)
        if turn in range(2, 9):
            image = ImageOps.exif_transpose(image)
            traits |= Traits.TURNED
    if image.mode == "CMYK":
        traits |= Traits.CMYK
    if image.mode[0] in "IF":
        image, depth = _eight_bits(image)
        return image, traits | depth
    grey = bool(_grey(image))
    has_alpha = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    if not has_alpha:
        return _as(image, "L" if grey else "RGB"), traits
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("L" if grey else "RGB"), traits
    return image.convert("LA" if grey else "RGBA"), traits | Traits.TRANSPARENT


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Traits]:
    """Grey of more than 8 bits as 8 bits. The range is that of the type if it is known, or that of the values."""
    pixels = np.asarray(image)
    at_once = max(1, 2**20 // max(1, image.width))  # rows: a large image would take gigabytes as float64
    blocks = [pixels[start : start + at_once] for start in range(0, len(pixels), at_once)]
    low = min(float(_finite(block).min()) for block in blocks)
    high = max(float(_finite(block).max()) for block in blocks)
    traits = Traits.DEEP
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        low, high = 0.0, 65535.0
    elif image.mode == "F" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    elif low >= 0 and high <= 255:
        low, high = 0.0, 255.0
    elif image.mode == "I" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    else:
        traits |= Traits.STRETCHED
    scale = 255 / ((high - low) or 1)
    scaled = [np.rint((_finite(block) - low) * scale).astype(np.uint8) for block in blocks]
    return Image.fromarray(np.concatenate(scaled)), traits


def _finite(values: np.ndarray) -> np.ndarray:
    return np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)


def _with_channels(image: Image.Image, channels: int) -> Image.Image:
    """The image as L, RGB or RGBA. Without an alpha channel, transparent parts become white."""
    if channels == 4:
        return image.convert("RGBA")
    if image.mode in ("LA", "RGBA"):
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return _as(image, "L" if channels == 1 else "RGB")


def _as(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # convert() copies even to the same mode


def _fitted(image: Image.Image, shape: TargetShape) -> Image.Image:
    """The image at the target size.

    The filter is Lanczos, as for most data sets of GAN papers. It widens its support when it shrinks an image, which
    prevents aliasing. Pillow premultiplies alpha, which keeps the colours of transparent pixels from bleeding in.
    """
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
    canvas = Image.new(image.mode, (size, size))  # black, or transparent if there is an alpha channel
    canvas.paste(image, ((size - target[0]) // 2, (size - target[1]) // 2))
    return canvas


def _pixels(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

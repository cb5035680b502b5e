"""One encoded image or array becomes 8-bit pixels of the target shape, or the reason why it cannot."""

from __future__ import annotations

import enum
import hashlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
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
SHEET_XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><ganfold>sheet</ganfold></x:xmpmeta>"  # the same in a WebP
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
    """What the findings report of an image, one bit each: a million images then take two megabytes."""

    GREY = 1
    TURNED = 2
    TRANSPARENT = 4
    DEEP = 8
    CMYK = 16
    FRAMES = 32
    PAGES = 64
    STRETCHED = 128
    GENERATED = 256


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
        return width, height, _grey(image) | _frames(image) | _generated(image)


def convert(raw: Raw, shape: TargetShape) -> tuple[np.ndarray, bytes, Traits]:
    """Decode an image and bring it to the target shape.

    Returns:
        Pixels uint8 (C, H, W); the digest, 16 bytes, of the upright image at its own size; and the traits.

    Raises:
        Unusable: it is truncated, damaged or unreadable.
    """
    with _opened(raw) as image:
        try:
            _decode(image)
        except Exception as error:
            raise _fault(error) from error
        try:
            upright, traits = _plain(image)
            digest = hashlib.blake2b(f"{upright.mode} {upright.size} ".encode(), digest_size=16)
            for _, strip in _strips(upright):
                digest.update(strip.tobytes())
            fitted = fitted_to(_with_channels(upright, shape.channels), shape)
            return _pixels(fitted, shape.channels), digest.digest(), traits
        except Exception as error:
            raise _fault(error) from error


def upright(raw: Raw) -> Image.Image:
    """The whole image as `convert` reads it: upright, with 8 bits a value; L, RGB, LA or RGBA.

    Raises:
        Unusable: it is truncated, damaged or unreadable.
    """
    with _opened(raw) as image:
        try:
            _decode(image)
            return _plain(image)[0]
        except Exception as error:
            raise _fault(error) from error


class _Silence:
    """How many callers of `silence` there are, and where stderr went before the first of them."""

    lock = threading.Lock()
    callers = 0
    stderr: int | None = None


@contextmanager
def silence() -> Iterator[None]:
    """Let libraries print no warnings to stderr: neither Python's, such as Pillow's, nor those of C, such as libtiff's.

    What matters of them comes as an error. stderr belongs to the whole process: the first of several threads turns it
    off, and the last one on again.
    """
    with _Silence.lock:
        _Silence.callers += 1
        if _Silence.callers == 1:
            _Silence.stderr = _turned_off()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        with _Silence.lock:
            _Silence.callers -= 1
            if _Silence.callers == 0 and _Silence.stderr is not None:
                os.dup2(_Silence.stderr, 2)
                os.close(_Silence.stderr)


def _turned_off() -> int | None:
    """Turn stderr off; returns a copy of it, or None where there is none."""
    if sys.stderr:
        sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:
        return None
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    return kept


def _decode(image: Image.Image) -> None:
    """Decode the pixels. libtiff prints its errors to stderr, and Pillow has no switch for it."""
    with silence() if image.format == "TIFF" else nullcontext():
        image.load()


def _is_sheet(image: Image.Image) -> bool:
    """Whether texts in the PNG say that it is a contact sheet, or a grid of a run's samples."""
    text = image.info
    is_marked = text.get(MARK) == SHEET or text.get("xmp") == SHEET_XMP
    return is_marked or "kimg" in text or {"run", "seed", "start"} <= text.keys()


def _generated(image: Image.Image) -> Traits:
    """GENERATED where texts in the PNG say that a network of ganfold made it, from a latent or of another image."""
    text = image.info
    return Traits.GENERATED if MARK in text or {"run", "seed", "number"} <= text.keys() else Traits(0)


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
    image = _as(image, "RGBA")
    if image.getchannel("A").getextrema() == (255, 255):
        return image.convert("L" if grey else "RGB"), traits
    return _as(image, "LA" if grey else "RGBA"), traits | Traits.TRANSPARENT


def _eight_bits(image: Image.Image) -> tuple[Image.Image, Traits]:
    """Grey of more than 8 bits as 8 bits. The range is that of the type if it is known, or that of the values."""
    ranges = [(values.min(), values.max()) for values in (_finite(strip) for _, strip in _strips(image))]
    low, high = float(min(low for low, _ in ranges)), float(max(high for _, high in ranges))
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
    scaled = np.empty((image.height, image.width), np.uint8)
    for top, strip in _strips(image):
        scaled[top : top + strip.height] = np.rint((_finite(strip) - low) * scale).astype(np.uint8)
    return Image.fromarray(scaled), traits


def _finite(image: Image.Image) -> np.ndarray:
    return np.nan_to_num(np.asarray(image).astype(np.float64), posinf=0, neginf=0)


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """An image in strips, each with its first row. A second copy of a large image would take gigabytes."""
    rows = max(1, 2**20 // max(1, image.width))
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _with_channels(image: Image.Image, channels: int) -> Image.Image:
    """The image as L, RGB or RGBA. Without an alpha channel, transparent parts become white.

    L stays L for 3 channels, which are then made of the small image: to the same pixels, in a fraction of the memory.
    """
    if channels == 4:
        return _as(image, "RGBA")
    mode = "L" if channels == 1 else "RGB"
    if image.mode not in ("LA", "RGBA"):
        return image if image.mode == "L" else _as(image, mode)
    opaque = Image.new(mode, image.size)
    for top, strip in _strips(image):
        white = Image.new("RGBA", strip.size, "white")
        opaque.paste(Image.alpha_composite(white, strip.convert("RGBA")).convert(mode), (0, top))
    return opaque


def _as(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)  # convert() copies even to the same mode


def fitted_to(image: Image.Image, shape: TargetShape) -> Image.Image:
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


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    pixels = np.asarray(image)
    return np.broadcast_to(pixels, (channels, *pixels.shape)) if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

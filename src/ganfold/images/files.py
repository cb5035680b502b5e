"""A user's image files: opened the right way up, changed one by one, and written without losing a file."""

from __future__ import annotations

import hashlib
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from itertools import chain
from itertools import count as count_from
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin
from torch import Tensor

from ganfold.data.sources.decode import MARK, SMALLEST, Unusable, look, silence, upright
from ganfold.data.sources.tree import SUFFIXES, is_hidden
from ganfold.errors import GanfoldError, printable
from ganfold.files import locked, write_atomically
from ganfold.images.pixels import to_float, to_rows

Change = Callable[[Image.Image, Path], Image.Image]  # an image and its path -> the new image
Job = tuple[Path, Path]  # the file to read and the file to write

NAMED = 20  # most skipped images that are named
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.I)  # names that Windows gives to devices
PLAIN, CLEAR = ("L", "RGB"), ("L", "RGB", "RGBA")
FORMATS: dict[str, tuple[str, ...]] = {  # what can be written, with the modes that come back as they were
    "PNG": CLEAR, "WEBP": CLEAR, "TIFF": CLEAR, "TGA": CLEAR, "JPEG2000": CLEAR, "AVIF": CLEAR,
    "JPEG": PLAIN, "BMP": PLAIN, "PPM": PLAIN, "PCX": PLAIN,
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "WEBP": {"lossless": True, "exact": True},  # exact: colours below transparent pixels stay too
    "JPEG": {"quality": 97, "subsampling": "4:4:4"},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}
WITH_PROFILE = ("PNG", "WEBP", "TIFF", "JPEG", "AVIF")  # formats that Pillow writes a colour profile to
LARGEST = {"WEBP": 16383, "JPEG": 65500, "AVIF": 65535, "TGA": 65535, "PCX": 65535}  # pixels a side


def change_images(
    source: str | Path,
    out: str | Path,
    change: Change,
    *,
    made_by: Callable[[Path], str] = str,
    scale: int = 1,
    force: bool = False,
    progress: bool = True,
) -> Path:
    """Apply `change` to an image, or to each image in a folder, and write the results.

    An image of a folder that cannot be changed is named on stderr, and the others are written. The same command goes on
    where it stopped: a file that it has made of the same image is kept, which is said.

    Args:
        source: an image file, or a folder of them. Sub-folders are not searched.
        out: the file to write; its suffix decides the format. For a folder: the folder for PNGs of the same names.
        change: receives each image upright (by its EXIF tag), in mode L, RGB or RGBA, and its path.
        made_by: all that decides what becomes of the image at a path, beside the image, as a text.
        scale: how many times larger the results are.
        force: allow files to be replaced.
        progress: show a bar for a folder on a terminal.

    Returns:
        `out`.

    Raises:
        GanfoldError: there is no image, a file would be replaced, the format cannot be written, or the disk is full.
            No file is left half written.
    """
    source, out = Path(source), Path(out)
    if source.is_dir():
        _change_folder(source, out, change, made_by, force, progress)
        return out
    _check_free(out, force)  # before the work, which may take minutes
    image = opened(source)
    _check_size(out, image.size, scale)
    _write(_changed(change, image, source), out, image.info.get("icc_profile"))
    return out


def _change_folder(
    source: Path, out: Path, change: Change, made_by: Callable[[Path], str], force: bool, progress: bool
) -> None:
    if out.is_file():
        raise GanfoldError(f"{out} is a file, and {source} is a folder: give --out a folder")
    images, others = images_in(source)
    if not images:
        raise GanfoldError(f"{source} holds no image")
    marks = {path: _mark(path, made_by) for path in images.values()}
    targets = {path: out / f"{path.stem}.png" for path in marks}
    waiting = [(path, target) for path, target in targets.items() if force or _mark_of(target) != marks[path]]
    for _, target in waiting:
        _check_free(target, force)
    skipped: list[str] = []
    with locked(out, "making images"):
        for path, target in _watched(waiting, progress):
            try:
                image = opened(path)
                result = _changed(change, image, path)
            except GanfoldError as error:
                skipped.append(str(error))
                continue
            _write(result, target, image.info.get("icc_profile"), marks[path])
    if len(skipped) == len(images):
        raise GanfoldError(f"{source} holds no image that can be used: {skipped[0]}")
    _tell(len(images) - len(waiting), skipped, others, out)


def images_in(folder: Path) -> tuple[dict[str, Path], list[Path]]:
    """The image files of a folder by their names without suffix, in order; and its files that are no images.

    What is no image by its suffix or its first bytes is judged no further, as a caption beside its image. Of two that
    differ in their suffix alone, the one that a verb of ganfold has made is no image either.

    Raises:
        GanfoldError: two images differ in their suffix alone, or the folder cannot be read.
    """
    found: dict[str, list[Path]] = {}
    others: list[Path] = []
    try:
        paths = [path for path in sorted(folder.iterdir()) if path.is_file() and not is_hidden(path.name)]
    except OSError as error:
        raise GanfoldError(f"cannot read {folder}: {error.strerror or error}") from error
    for path in paths:
        suffix = path.suffix.lower().removeprefix(".")
        is_image = suffix in SUFFIXES and (suffix or _is_readable(path))
        if is_image:
            found.setdefault(name_of(path), []).append(path)
        else:
            others.append(path)
    images = {}
    for name, same in found.items():
        usable = [path for path in same if _is_readable(path) and not _mark_of(path)] if len(same) > 1 else same
        if len(usable) > 1:
            raise GanfoldError(
                f"{folder} holds images that differ in their suffix alone, and would become one "
                f"({' and '.join(path.name for path in usable[:2])}): rename them"
            )
        images[name] = (usable or same)[0]
        others += [path for path in same if path != images[name]]
    return images, others


def name_of(path: Path) -> str:
    """The name by which an image and its mask find each other: without suffix, in the one form that Unicode prefers."""
    return unicodedata.normalize("NFC", path.stem)


def state_of(path: Path) -> str:
    """A file's name, size and time, which tell whether it is still the same."""
    try:
        state = path.stat()
    except OSError:
        return path.name
    return f"{path.name} {state.st_size} {state.st_mtime_ns}"


def opened(path: Path) -> Image.Image:
    """The image in a file as training would read it: upright, of 8 bits, in mode L, RGB or RGBA.

    Its `info` holds `icc_profile`, where the file has a colour profile, and `deep` where it has more than 8 bits.

    Raises:
        GanfoldError: there is no such file, or it is not an image.
    """
    if not path.exists():
        raise GanfoldError(f"no such file or folder: {path}")
    if not path.is_file():
        raise GanfoldError(f"cannot use {path}: it is neither a file nor a folder")
    try:
        with silence():
            image = upright(path)
            with Image.open(path) as header:
                mode, profile = header.mode, header.info.get("icc_profile")
    except (Unusable, OSError) as error:
        raise GanfoldError(f"cannot use {path}: {error}") from error
    if min(image.size) < SMALLEST:
        size = f"{image.width} x {image.height} px"
        raise GanfoldError(f"cannot use {path}: too small: {size}, under {SMALLEST} on the shorter side")
    if image.mode == "LA" or mode == "RGBA":  # it keeps its alpha channel, though nothing may be clear
        image = image.convert("RGBA")
    image.info = {"icc_profile": profile} if profile else {}
    if mode[0] in "IF":
        image.info["deep"] = True
    return image


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
        name = f"_{name}" if RESERVED.fullmatch(name) else name
        numbered = (f"{name} {number}" for number in count_from(2))
        names.append(next(n for n in chain([name], numbered) if n.casefold() not in taken))
        taken.add(names[-1].casefold())
    return names


def _is_readable(path: Path) -> bool:
    try:
        with silence():
            look(path)
    except Unusable:
        return False
    return True


def _changed(change: Change, image: Image.Image, path: Path) -> Image.Image:
    try:
        return change(image, path)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        size = f"{image.width:,} x {image.height:,} px"
        raise GanfoldError(f"{path} needs more memory than there is ({size}): make it smaller first") from error


def _mark(path: Path, made_by: Callable[[Path], str]) -> str:
    """What the PNG of an image holds as its `MARK`: of what it is made, as a digest, which tells nobody any names."""
    return hashlib.sha256(f"{state_of(path)}\n{made_by(path)}".encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _mark_of(path: Path) -> str | None:
    """The mark of a PNG that `change_images` has written."""
    try:
        with silence(), Image.open(path, formats=["PNG"]) as image:
            mark: str | None = image.info.get(MARK)
            return mark
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _tell(kept: int, skipped: Sequence[str], others: Sequence[Path], out: Path) -> None:
    """Say what was left out."""
    lines = [f"Skipped: {line}" for line in skipped[:NAMED]]
    if len(skipped) > NAMED:
        lines.append(f"Skipped: {len(skipped) - NAMED:,} more")
    if kept:
        lines.append(f"Kept in {out}: {kept:,} that this command had made before (--force makes them anew)")
    if others:
        kinds = Counter(path.suffix.lower() or "no suffix" for path in others).most_common(8)
        lines.append("Passed over, not images: " + ", ".join(f"{count:,} of {kind}" for kind, count in kinds))
    for line in lines:
        print(printable(line), file=sys.stderr)


def _check_free(path: Path, force: bool) -> None:
    if path.is_dir():
        raise GanfoldError(f"{path} is a folder: give --out a file's name, such as {path / 'out.png'}")
    if _format(path) is None:
        raise GanfoldError(
            f"{path} names no kind of image that can be written without loss: end it with .png, .webp, .tif or .jpg"
        )
    if path.exists() and not force:
        raise GanfoldError(f"{path} exists: give --out another name, or --force to replace it")


def _check_size(path: Path, size: tuple[int, int], scale: int) -> None:
    most = LARGEST.get(_format(path) or "")
    if most and max(size) * scale > most:
        raise GanfoldError(
            f"{path} would be {size[0] * scale:,} x {size[1] * scale:,} px, and {path.suffix} holds at most {most:,} a "
            "side: end it with .png"
        )


def _format(path: Path) -> str | None:
    """The format that a suffix names, if it can be written."""
    name = Image.registered_extensions().get(path.suffix.lower())
    return name if name in FORMATS and name in Image.SAVE else None


def _write(image: Image.Image, path: Path, profile: bytes | None, mark: str | None = None) -> None:
    name = _format(path)
    assert name
    options = dict(OPTIONS.get(name, {}))
    if image.mode not in FORMATS[name]:  # it has no transparency
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if profile and profile[16:20] != (b"GRAY" if image.mode == "L" else b"RGB "):
        profile = None  # it is of the colours that the file had, such as CMYK
    if name in WITH_PROFILE:
        options["icc_profile"] = profile
    elif profile:
        image = _in_srgb(image, profile)
    if mark:
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text(MARK, mark)

    def save(temporary: Path) -> None:
        try:
            with silence():
                image.save(temporary, name, **options)
        except Exception as error:
            if isinstance(error, OSError) and error.errno:
                raise
            raise GanfoldError(f"{path} cannot be written ({error}): end --out with .png") from error

    write_atomically(path, save)


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The image in the colours that all programs show without a profile."""
    try:
        made = ImageCms.profileToProfile(
            image,
            BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            outputMode="RGB" if image.mode == "L" else image.mode,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):  # the profile is damaged
        return image
    assert made
    return made.convert(image.mode)


def _watched(jobs: Sequence[Job], progress: bool) -> Iterable[Job]:
    if not progress or not sys.stderr.isatty():
        return jobs
    from rich.console import Console
    from rich.progress import track

    return track(jobs, "Images", console=Console(stderr=True), transient=True)

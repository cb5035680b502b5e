"""Folders and zips of image files, with classes from sub-folders or metadata."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from ganfold.data.sources.decode import Unusable
from ganfold.data.sources.findings import Finding, counted, shown
from ganfold.data.sources.metadata import FILES, read_metadata
from ganfold.data.sources.readers import Files, Packed
from ganfold.data.sources.source import Listing, Source, key_of, sorted_classes, states
from ganfold.data.sources.strings import write_strings
from ganfold.errors import GanfoldError

# Only files with one of these suffixes, or with none, are opened. The findings name the others.
SUFFIXES = frozenset(
    (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "mpo", "webp", "gif", "bmp", "dib", "tif", "tiff", "avif"),
        *("ppm", "pgm", "pbm", "pnm", "pfm", "tga", "jp2", "j2k", "jpx", "ico", "icns", "pcx", "sgi", "rgb", "qoi"),
        *("dds", "xbm", "xpm", "msp", "psd", "ras", "heic", "heif", ""),
    )
)
PARTS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation", "dev"))  # never classes


def folder(path: Path) -> Source:
    """The images of a folder and of all folders below it."""
    root = path.resolve()
    names: list[str] = []
    skipped: list[Finding] = []
    digest, size = hashlib.sha256(), 0
    for name, state in _walk(root, skipped):
        names.append(name)
        digest.update(f"{name}\0{state.st_size} {state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        size += state.st_size

    def listing(scratch: Path) -> Listing:
        names.sort()  # by whole name: `read_metadata` looks images up by bisection
        images = _image_names(names, skipped)
        write_strings(scratch / "names", images)
        listed = Listing(Files(root, scratch / "names"), images, size=size, skipped=skipped)
        _classify(listed)
        _add_metadata(listed, names, str(path), lambda name: (root / name).open("rb"), scratch)
        return listed

    return Source(key_of("folder", root, digest.hexdigest(), skipped), listing)


def _walk(root: Path, skipped: list[Finding]) -> Iterator[tuple[str, os.stat_result]]:
    """Every regular file below `root` that is not hidden, as (relative name, state). Links are followed."""
    start = os.stat(root)
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ((start.st_dev, start.st_ino),))]
    while waiting:
        folder, ancestors = waiting.pop()
        try:
            entries = sorted(os.listdir(root / folder))
        except OSError as error:
            skipped.append(Finding(shown(folder or "."), f"unreadable: {error.strerror}"))
            continue
        for entry in entries:
            if is_hidden(entry):
                continue
            name = f"{folder}/{entry}" if folder else entry
            path = os.path.join(root, name)
            try:
                state = os.stat(path)
            except OSError as error:
                skipped.append(Finding(shown(name), _link_fault(path, error)))
                continue
            identity = (state.st_dev, state.st_ino)
            if stat.S_ISREG(state.st_mode):
                yield name, state
            elif not stat.S_ISDIR(state.st_mode):
                skipped.append(Finding(shown(name), "not an image: a device, pipe or socket"))  # opening may hang
            elif identity in ancestors:
                skipped.append(Finding(shown(name), "symlink loop"))
            else:
                waiting.append((name, (*ancestors, identity)))


def _link_fault(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return "broken link"
    return "symlink loop" if os.path.islink(path) else f"unreadable: {error.strerror}"


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name is left out of images and findings alike."""
    return part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _image_names(names: list[str], skipped: list[Finding]) -> list[str]:
    """The names that may be images. The others, except metadata, are added to `skipped`."""
    images = []
    for name in names:
        base = name.rpartition("/")[2]
        suffix = base.rpartition(".")[2].lower() if "." in base else ""
        if suffix in SUFFIXES:
            images.append(name)
        elif base not in FILES:
            skipped.append(Finding(shown(name), "not an image by its suffix"))
    return images


def _classify(listing: Listing) -> None:
    """Take classes from the first level with several folders, unless there are images beside these folders."""
    parts = [PurePosixPath(name).parts for name in (listing.names[:1] + listing.names[-1:])]  # type: ignore[operator]
    depth = 0
    if parts:  # names are sorted: all share what the first and the last share
        folders = min(len(parts[0]), len(parts[-1])) - 1
        while depth < folders and parts[0][depth] == parts[-1][depth]:
            depth += 1
    tops = {_part(name, depth) for name in listing.names}
    if len(tops) > 1 and all(top and top.lower() in PARTS for top in tops):
        listing.notes.append(
            f"{', '.join(sorted(filter(None, tops)))} are parts of one set, not classes: all are used."
        )
        depth += 1
        tops = {_part(name, depth) for name in listing.names}
    if None in tops and len(tops) > 2:
        outside = sum(_part(name, depth) is None for name in listing.names)
        listing.notes.append(f"{counted(outside)} outside of the sub-folders, so these are not taken as classes.")
    elif None not in tops and len(tops) > 1:
        listing.classes = sorted_classes(top for top in tops if top)
        number = {name: i for i, name in enumerate(listing.classes)}
        labels = array("q", (number[_part(name, depth) or ""] for name in listing.names))
        listing.labels = np.frombuffer(labels, np.int64)


def _part(name: str, depth: int) -> str | None:
    """The folder at `depth` in the path `name`; None where that part is the file itself."""
    parts = name.split("/", depth + 1)
    return parts[depth] if len(parts) > depth + 1 else None


def _add_metadata(
    listing: Listing, names: list[str], source: str, opened: Callable[[str], BinaryIO], scratch: Path
) -> None:
    """Read the metadata files among `names`, if there are any."""
    metadata = [name for name in names if name.rpartition("/")[2] in FILES]
    if metadata:
        contents = ((name, f"{source.rstrip('/')}/{name}", opened(name)) for name in metadata)
        read_metadata(listing, contents, scratch)


def zipped(path: Path) -> Source:
    """The images of a zip, read without unpacking it to disk."""

    def listing(scratch: Path) -> Listing:
        skipped: list[Finding] = []
        names, table = _contents(path, skipped)
        images = _image_names(names, skipped)
        image_rows = table
        if len(images) < len(names):
            chosen = set(images)
            image_rows = table[[name in chosen for name in names]]
        np.save(scratch / "entries.npy", table)
        np.save(scratch / "table.npy", image_rows)
        listed = Listing(Packed(path.resolve(), scratch / "table.npy"), images, skipped=skipped)
        listed.size = int(image_rows[:, 1].sum())
        _classify(listed)
        entries = Packed(path.resolve(), scratch / "entries.npy")

        def opened(name: str) -> BinaryIO:
            try:
                return entries.read(bisect_left(names, name))
            except Unusable as error:
                raise GanfoldError(f"{path}/{name}: {error}") from error

        _add_metadata(listed, names, str(path), opened, scratch)
        return listed

    return Source(key_of("zip", path.resolve(), states([path])), listing)


def _contents(path: Path, skipped: list[Finding]) -> tuple[list[str], np.ndarray]:
    """The usable entries of a zip, sorted: names, and int64 (N, 5) as `Packed` reads it. Others go to `skipped`."""
    names: list[str] = []
    rows = array("q")
    with open(path, "rb") as file:
        for name, row in _entries(file, path):
            parts = name.replace("\\", "/").split("/")
            if any(is_hidden(part) for part in parts if part not in ("", ".", "..")) or name.endswith("/"):
                continue
            if parts[0] == "" or ".." in parts or parts[0].endswith(":"):
                skipped.append(Finding(shown(name), "outside its folder: a zip entry must not lead out of it"))
            elif row is None:
                skipped.append(Finding(shown(name), "encrypted: unpack it with its password first"))
            elif row[3] not in (0, 8):
                skipped.append(Finding(shown(name), f"unreadable: zip compression method {row[3]}"))
            else:
                names.append("/".join(part for part in parts if part != "."))
                rows.extend(row)
    order = sorted(range(len(names)), key=names.__getitem__)
    return [names[i] for i in order], np.frombuffer(rows, np.int64).reshape(-1, 5)[order]


def _entries(file: BinaryIO, path: Path) -> Iterator[tuple[str, tuple[int, int, int, int, int] | None]]:
    """The name of each entry and its row for `Packed`; None for an encrypted entry.

    `zipfile` could do this, but a million of its ZipInfo objects take most of a gigabyte.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65557))
    tail = file.read()
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < 22:
        raise GanfoldError(f"{path} is not a zip, or cut short: its table of contents is missing")
    count, length, start = struct.unpack_from("<HLL", tail, place + 10)
    end = size - len(tail) + place
    if count == 0xFFFF or 0xFFFFFFFF in (length, start):
        file.seek(end - 20)
        locator = file.read(20)
        if locator[:4] == b"PK\6\7":
            file.seek(struct.unpack_from("<Q", locator, 8)[0])
            record = file.read(56)
            if record[:4] == b"PK\6\6":
                end = struct.unpack_from("<Q", locator, 8)[0]
                count, length, start = struct.unpack_from("<QQQ", record, 32)
    shift = end - length - start  # bytes before the zip, such as a program that extracts it
    file.seek(max(0, start + shift))
    table = file.read(length)
    at = 0
    for _ in range(count):
        if table[at : at + 4] != b"PK\1\2" or len(table) < at + 46:
            raise GanfoldError(f"{path} is damaged: its table of contents breaks off; download or pack it again")
        flags, method, _, crc, packed, unpacked, name_length, extra, comment = struct.unpack_from(
            "<HHLLLLHHH", table, at + 8
        )
        offset = struct.unpack_from("<L", table, at + 42)[0]
        name = _name(table[at + 46 : at + 46 + name_length])
        if 0xFFFFFFFF in (packed, unpacked, offset):
            unpacked, packed, offset = _wide(
                table[at + 46 + name_length : at + 46 + name_length + extra], unpacked, packed, offset
            )
        yield name, None if flags & 1 else (offset + shift, packed, unpacked, method, crc)
        at += 46 + name_length + extra + comment


def _wide(extra: bytes, *values: int) -> tuple[int, ...]:
    """The values, with the zip64 extra field's 64-bit value in place of each that is all ones."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            return tuple(next(wide, value) if value == 0xFFFFFFFF else value for value in values)
        at += 4 + length
    return values


def _name(raw: bytes) -> str:
    """A name in UTF-8, which many packers do not declare; or in code page 437, that of the first zips."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437")

"""Folders and zips: named picture files, with classes from sub-folders or metadata."""

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
from ganfold.data.sources.readers import Files, Packed, Reader
from ganfold.data.sources.source import Listing, Source, key_of, sorted_classes, states
from ganfold.data.sources.strings import write_strings
from ganfold.errors import GanfoldError

# Any other suffix is named as not an image without being opened; a file without a suffix is tried.
SUFFIXES = frozenset(
    [
        ".",
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".webp",
        ".gif",
        ".bmp",
        ".dib",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".pfm",
        ".tga",
        ".avif",
        ".jp2",
        ".j2k",
        ".jpx",
        ".ico",
        ".icns",
        ".pcx",
        ".sgi",
        ".rgb",
        ".qoi",
        ".dds",
        ".xbm",
        ".xpm",
        ".msp",
        ".psd",
        ".ras",
        ".heic",
        ".heif",
        ".mpo",
    ]
)
PARTS = frozenset(["train", "training", "test", "testing", "val", "valid", "validation", "dev"])


def folder(path: Path) -> Source:
    """A folder of pictures, with all folders below it."""
    root = path.resolve()
    names: list[str] = []
    skipped: list[Finding] = []
    digest, size = hashlib.sha256(), 0
    for name, state in _walk(root, skipped):
        names.append(name)
        digest.update(f"{name}\0{state.st_size} {state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        size += state.st_size

    def listing(scratch: Path) -> Listing:
        names.sort()  # whole names, so that metadata finds its pictures by bisection
        pictures = _pictures(names, skipped)
        write_strings(scratch / "names", pictures)
        found = Listing(Files(root, scratch / "names"), pictures, size=size, skipped=skipped)
        _classify(found)
        _attach(found, names, str(path), lambda name: (root / name).open("rb"), scratch)
        return found

    return Source(key_of("folder", root, digest.hexdigest(), skipped), listing)


def _walk(root: Path, skipped: list[Finding]) -> Iterator[tuple[str, os.stat_result]]:
    """Every visible regular file below `root`, links followed, as (relative name, state)."""
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
    """Whether a file or folder of this name is passed over in silence."""
    return part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini")


def _pictures(names: list[str], skipped: list[Finding]) -> list[str]:
    """The names that may be pictures; the others, but metadata, are named in `skipped`."""
    pictures = []
    for name in names:
        base = name.rpartition("/")[2]
        if "." + base.rpartition(".")[2].lower() * ("." in base) in SUFFIXES:
            pictures.append(name)
        elif base not in FILES:
            skipped.append(Finding(shown(name), "not an image by its suffix"))
    return pictures


def _classify(listing: Listing) -> None:
    """The first folder level that tells pictures apart gives the classes, unless pictures lie outside of it."""
    parts = [PurePosixPath(name).parts for name in (listing.names[:1] + listing.names[-1:])]  # type: ignore[operator]
    depth = 0
    if parts:  # names are sorted: what the first and the last have in common, all have
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
    """The folder at `depth` above the file `name`, None where the file itself stands there."""
    parts = name.split("/", depth + 1)
    return parts[depth] if len(parts) > depth + 1 else None


def _attach(listing: Listing, names: list[str], source: str, opened: Callable[[str], BinaryIO], scratch: Path) -> None:
    metadata = [name for name in names if name.rpartition("/")[2] in FILES]
    if metadata:
        contents = ((name, f"{source.rstrip('/')}/{name}", opened(name)) for name in metadata)
        read_metadata(listing, contents, scratch)


def zipped(path: Path) -> Source:
    """A zip of such a folder, read where it is."""

    def listing(scratch: Path) -> Listing:
        skipped: list[Finding] = []
        entries = []
        table = array("q")
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
                    entries.append("/".join(part for part in parts if part != "."))
                    table.extend(row)
        order = sorted(range(len(entries)), key=entries.__getitem__)
        names = [entries[i] for i in order]
        pictures = _pictures(names, skipped)
        rows = np.frombuffer(table, np.int64).reshape(-1, 5)[order]
        wanted = set(pictures) if len(pictures) < len(names) else None
        np.save(scratch / "entries.npy", rows)
        kept = rows if wanted is None else rows[[name in wanted for name in names]]
        np.save(scratch / "table.npy", kept)
        found = Listing(Packed(path.resolve(), scratch / "table.npy"), pictures, skipped=skipped)
        found.size = int(kept[:, 1].sum())
        _classify(found)
        everything = Packed(path.resolve(), scratch / "entries.npy")
        _attach(
            found,
            names,
            str(path),
            lambda name: _unzipped(everything, bisect_left(names, name), name, path),
            scratch,
        )
        return found

    return Source(key_of("zip", path.resolve(), states([path])), listing)


def _unzipped(reader: Reader, index: int, name: str, path: Path) -> BinaryIO:
    try:
        return reader.read(index)  # type: ignore[return-value]
    except Unusable as error:
        raise GanfoldError(f"{path}/{name}: {error}") from error


def _entries(file: BinaryIO, path: Path) -> Iterator[tuple[str, tuple[int, int, int, int, int] | None]]:
    """Name and row (see `Packed`) of each entry, None for an encrypted one.

    `zipfile` would do, but its million ZipInfo objects take most of a gigabyte.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65557))
    tail = file.read()
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < 22:
        raise GanfoldError(f"{path} is not a zip, or cut short: its table of contents is missing")
    count, length, start = struct.unpack_from("<HLL", tail, found + 10)
    end = size - len(tail) + found
    if 0xFFFF in (count,) or 0xFFFFFFFF in (length, start):
        file.seek(end - 20)
        locator = file.read(20)
        if locator[:4] == b"PK\6\7":
            file.seek(struct.unpack_from("<Q", locator, 8)[0])
            record = file.read(56)
            if record[:4] == b"PK\6\6":
                end = struct.unpack_from("<Q", locator, 8)[0]
                count, length, start = struct.unpack_from("<QQQ", record, 32)
    shift = end - length - start  # bytes that something (a self-extractor) put before the zip
    file.seek(max(0, start + shift))
    table = file.read(length)
    at = 0
    for _ in range(count):
        if table[at : at + 4] != b"PK\1\2" or len(table) < at + 46:
            raise GanfoldError(f"{path} is damaged: its table of contents breaks off; download or pack it again")
        flags, method, _, crc, packed, unpacked, named, extra, comment = struct.unpack_from("<HHLLLLHHH", table, at + 8)
        offset = struct.unpack_from("<L", table, at + 42)[0]
        name = _name(table[at + 46 : at + 46 + named])
        if 0xFFFFFFFF in (packed, unpacked, offset):
            unpacked, packed, offset = _wide(table[at + 46 + named : at + 46 + named + extra], unpacked, packed, offset)
        yield name, None if flags & 1 else (offset + shift, packed, unpacked, method, crc)
        at += 46 + named + extra + comment


def _wide(extra: bytes, *values: int) -> tuple[int, ...]:
    """The 64-bit values that the zip64 extra field holds in place of those that are all ones."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            held = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            return tuple(next(held, value) if value == 0xFFFFFFFF else value for value in values)
        at += 4 + length
    return values


def _name(raw: bytes) -> str:
    """UTF-8 whether or not the entry says so (many packers forget), else the code page of the first zips."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437")

"""Folders and zips of image files, with classes from sub-folders or metadata."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import tarfile
import unicodedata
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from ganfold.data.sources.decode import Unusable
from ganfold.data.sources.findings import OTHER, Finding, counted, shown
from ganfold.data.sources.metadata import DATASET, FILES, read_dataset, read_metadata
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
ARCHIVES = frozenset(("zip", "tar", "parquet", "npz", "npy"))  # can be given by their own path
PACKED = frozenset(("gz", "tgz", "bz2", "tbz2", "xz", "txz", "zst", "7z", "rar"))
SYSTEM = frozenset(  # what systems and servers put beside images, in lower case
    (
        *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin", "recycler"),
        *("system volume information", "lost+found", "network trash folder", "temporary items", "icon\r"),
    )
)
WORK = (("config.json", "checkpoints"), ("settings.json", "parts.npz"))  # in the folder of a run, and of a study
LEVEL = 8  # classes at most that a note on another level names
OWN = "left out: the folder of a run or study of ganfold"
PARTS = frozenset(("train", "training", "test", "testing", "val", "valid", "validation", "dev"))  # never classes


Entry = tuple[str, tuple[int, int, int, int, int] | None]
"""The name of a zip's entry and its row for `Packed`; None for an encrypted one."""


def folder(path: Path, level: int = 1) -> Source:
    """The images of a folder and of all folders below it; see `_classify` for the level."""
    root = path.resolve()
    names: list[str] = []
    skipped: list[Finding] = []
    own: list[Finding] = []  # not in the key: a new run in the folder makes no new set of it
    digest, size = hashlib.sha256(), 0
    for name, state in _walk(root, skipped, own):
        names.append(name)
        digest.update(f"{name}\0{state.st_size} {state.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        size += state.st_size

    def listing(scratch: Path) -> Listing:
        names.sort()  # by whole name: `read_metadata` looks images up by bisection
        images = _image_names(names, skipped)
        write_strings(scratch / "names", images)
        listed = Listing(Files(root, scratch / "names"), images, size=size, skipped=skipped + own)
        _describe(listed, names, str(path), lambda name: (root / name).open("rb"), scratch, level)
        return listed

    return _leveled(key_of("folder", root, digest.hexdigest(), skipped), listing, level)


def _leveled(key: str, listing: Callable[[Path], Listing], level: int) -> Source:
    """A source with classes from this level of its folders. Keys of the first level are those of earlier versions."""
    return Source(key if level == 1 else key_of("classes from", key, level), listing, has_levels=True)


def _walk(root: Path, skipped: list[Finding], own: list[Finding]) -> Iterator[tuple[str, os.stat_result]]:
    """Every regular file below `root` that is not hidden, as (relative name, state).

    Links are followed. Each folder is read once, whatever links lead to it: the real folders first. The folders of
    runs and studies are left out, and added to `own`.
    """
    start = os.stat(root)
    waiting: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ((start.st_dev, start.st_ino),))]
    links: list[tuple[str, tuple[tuple[int, int], ...]]] = []
    seen: set[tuple[int, int]] = set()
    while waiting or links:
        folder, ancestors = waiting.pop() if waiting else links.pop(0)
        if ancestors[-1] in seen:
            skipped.append(Finding(shown(folder), "a link to a folder that is read already"))
            continue
        seen.add(ancestors[-1])
        try:
            entries = sorted(os.listdir(root / folder))
        except OSError as error:
            skipped.append(Finding(shown(folder or "."), f"unreadable: {error.strerror}"))
            continue
        if is_work(entries):
            own.append(Finding(shown(folder or "."), OWN))
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
                (links if os.path.islink(path) else waiting).append((name, (*ancestors, identity)))


def is_work(entries: Collection[str]) -> bool:
    """Whether a folder with these entries is one that `train` or `study` wrote: its images are no data."""
    return any(all(name in entries for name in names) for names in WORK)


def _link_fault(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError) and os.path.islink(path):
        return "broken link"
    return "symlink loop" if os.path.islink(path) else f"unreadable: {error.strerror}"


def is_hidden(part: str) -> bool:
    """Whether a file or folder of this name is left out of images and findings alike."""
    return part.startswith(".") or part.lower() in SYSTEM


def _image_names(names: list[str], skipped: list[Finding]) -> list[str]:
    """The names that may be images. The others, except metadata, are added to `skipped`."""
    images = []
    for name in names:
        base = name.rpartition("/")[2]
        suffix = base.rpartition(".")[2].lower() if "." in base else ""
        if suffix in SUFFIXES:
            images.append(name)
        elif base in FILES:
            continue
        elif suffix in PACKED:
            skipped.append(Finding(shown(name), "packed, and not read: unpack it to use it"))
        elif suffix in ARCHIVES:
            skipped.append(Finding(shown(name), "an archive or array, not read: give its own path to use it"))
        else:
            skipped.append(Finding(shown(name), OTHER))
    return images


def _describe(
    listing: Listing,
    names: list[str],
    source: str,
    opened: Callable[[str], BinaryIO],
    scratch: Path,
    level: int,
) -> None:
    """Take the classes of a listing from its folders, or from StyleGAN's dataset.json; then read its metadata."""
    dataset = next((name for name in names if name.rpartition("/")[2] == DATASET), None)
    if dataset is None or not read_dataset(listing, dataset, f"{source.rstrip('/')}/{dataset}", opened(dataset)):
        _classify(listing, source, level)
    elif level > 1:
        listing.notes.append(f"The classes are those of {dataset}, so --classes-from {level} changes nothing.")
    of_folders = listing.labels
    _add_metadata(listing, names, source, opened, scratch)
    if level > 1 and listing.labels is of_folders:
        _skip_above(listing, level)


def _classify(listing: Listing, source: str, level: int) -> None:
    """Take classes from the folders of a level. Level 1 is the first level with several folders.

    At level 1 there must be no images beside these folders. At a level that was requested such images are left out.

    Raises:
        GanfoldError: no image lies so deep.
    """
    first = _first_level(listing)
    depth = first + level - 1
    inside = Counter(_part(name, depth) for name in listing.names)
    outside = inside.pop(None, 0)
    if level > 1:
        if not inside and listing.names:
            deepest = max(name.count("/") for name in listing.names) - first
            remedy = f"give --classes-from {deepest} at most" if deepest > 0 else "leave it out"
            raise GanfoldError(f"{source} has no folders of level {level} for --classes-from {level}: {remedy}")
        _label(listing, depth)
        _tell_merged(listing, depth)
        _tell_level(listing, first, "first", "without --classes-from")
    elif outside and len(inside) > 1:
        listing.notes.append(f"{counted(outside)} outside of the sub-folders, so these are not taken as classes.")
    elif not outside and len(inside) > 1:
        _label(listing, depth)
        _tell_level(listing, depth + 1, "second", "--classes-from 2")


def _first_level(listing: Listing) -> int:
    """The depth of the first level with several folders, below those that name parts of a set."""
    parts = [PurePosixPath(name).parts for name in (listing.names[:1] + listing.names[-1:])]  # type: ignore[operator]
    depth = 0
    if parts:  # names are sorted: all share what the first and the last share
        folders = min(len(parts[0]), len(parts[-1])) - 1
        while depth < folders and parts[0][depth] == parts[-1][depth]:
            depth += 1
    tops = {_part(name, depth) for name in listing.names}
    if len(tops) > 1 and all(top and top.lower() in PARTS for top in tops):
        named = sorted(filter(None, tops))
        train = next((top for top in named if top.lower().startswith("train")), named[0])
        listing.notes.append(
            f"{', '.join(map(shown, named))} are parts of one set, not classes: all are used. Give the path of "
            f"{shown(train)} to use it alone."
        )
        depth += 1
    return depth


def _label(listing: Listing, depth: int) -> None:
    """Label each image with its folder at a depth; -1 where it lies above."""
    spellings: dict[str, str] = {}  # the forms that letters are stored in, and spaces around, part no classes
    tops = {_part(name, depth) for name in listing.names}
    for top in sorted(filter(None, tops)):
        spellings.setdefault(_plain_name(top), top)
    listing.classes = sorted_classes(spellings.values())
    of_name = {name: i for i, name in enumerate(listing.classes)}
    number = {top: of_name[spellings[_plain_name(top)]] if top else -1 for top in tops}
    labels = array("q", (number[_part(name, depth)] for name in listing.names))
    listing.labels = np.frombuffer(labels, np.int64)


def _plain_name(folder: str) -> str:
    return unicodedata.normalize("NFC", folder).strip()


def _tell_level(listing: Listing, depth: int, which: str, how: str) -> None:
    """Note the classes that the folders of another level would make, where most images lie in such folders."""
    counts = Counter(_part(name, depth) for name in listing.names)
    above = counts.pop(None, 0)
    if len(counts) < 2 or 2 * above > len(listing.names) or (which == "first" and above):
        return  # above the first level there must be none
    named = [f"{shown(name or '')} {counts[name]:,}" for name in sorted_classes(filter(None, counts))]
    more = [f"and {len(named) - LEVEL:,} more"] if len(named) > LEVEL else []
    outside = f"; {counted(above)} would be left out" if above else ""
    listing.notes.append(
        f"The {which} level of folders would make {len(named):,} classes ({how}): "
        f"{', '.join(named[:LEVEL] + more)}{outside}."
    )


def _tell_merged(listing: Listing, depth: int) -> None:
    """Note class names that several folders have: they are one class each."""
    folders: dict[str, set[str]] = {}
    for name in listing.names:
        parts = name.split("/")
        if len(parts) > depth + 1:
            folders.setdefault(_plain_name(parts[depth]), set()).add("/".join(parts[:depth]))
    if several := sorted(name for name, above in folders.items() if len(above) > 1):
        first, second = sorted(folders[several[0]])[:2]
        listing.notes.append(
            f"Folders of one name are one class: {', '.join(map(shown, several[:LEVEL]))}"
            f"{', ...' if len(several) > LEVEL else ''} (such as {shown(several[0])} in {shown(first)} and in "
            f"{shown(second)})."
        )


def _skip_above(listing: Listing, level: int) -> None:
    """Add the images above the class folders to the findings."""
    assert listing.labels is not None
    for place in np.flatnonzero(listing.labels < 0).tolist():
        listing.skip(listing.names[place], f"above the class folders: --classes-from {level} leaves it out")


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


def zipped(path: Path, level: int = 1) -> Source:
    """The images of a zip, read without unpacking it to disk; see `_classify` for the level."""

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
        entries = Packed(path.resolve(), scratch / "entries.npy")

        def opened(name: str) -> BinaryIO:
            try:
                return entries.read(bisect_left(names, name))
            except Unusable as error:
                raise GanfoldError(f"{path}/{name}: {error}") from error

        _describe(listed, names, str(path), opened, scratch, level)
        return listed

    return _leveled(key_of("zip", path.resolve(), states([path])), listing, level)


def _contents(path: Path, skipped: list[Finding]) -> tuple[list[str], np.ndarray]:
    """The usable entries of a zip, sorted: names, and int64 (N, 5) as `Packed` reads it. Others go to `skipped`."""
    names: list[str] = []
    rows = array("q")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        for name, row in _whole(_entries(file, path), path):
            parts = name.replace("\\", "/").split("/")
            if any(is_hidden(part) for part in parts if part not in ("", ".", "..")) or parts[-1] == "":
                continue
            if parts[0] == "" or ".." in parts or parts[0].endswith(":"):
                skipped.append(Finding(shown(name), "outside its folder: a zip entry must not lead out of it"))
            elif row is None:
                skipped.append(Finding(shown(name), "encrypted: unpack it with its password first"))
            elif row[3] not in (0, 8):
                skipped.append(Finding(shown(name), f"unreadable: zip compression method {row[3]}"))
            elif not 0 <= row[0] <= size or row[1] > size or row[2] > 2**62:
                skipped.append(Finding(shown(name), "damaged: the zip says that it lies outside of the zip"))
            else:
                names.append("/".join(part for part in parts if part != "."))
                rows.extend(row)
    return _sorted_entries(names, rows, skipped)


def _sorted_entries(names: list[str], rows: array[int], skipped: list[Finding]) -> tuple[list[str], np.ndarray]:
    """The names in order and their rows of `Packed`, without the folders of runs and studies."""
    order = sorted(range(len(names)), key=names.__getitem__)
    own = _work_folders([names[i] for i in order])
    if own:
        skipped += [Finding(shown(folder or "."), OWN) for folder in own]
        below = tuple(f"{folder}/" if folder else "" for folder in own)
        order = [i for i in order if not names[i].startswith(below)]
    return [names[i] for i in order], np.frombuffer(rows, np.int64).reshape(-1, 5)[order]


def _work_folders(names: list[str]) -> list[str]:
    """The folders among these sorted names that `train` or `study` wrote."""

    def holds(path: str) -> bool:
        file, below = bisect_left(names, path), bisect_left(names, f"{path}/")
        return path in names[file : file + 1] or any(name.startswith(f"{path}/") for name in names[below : below + 1])

    found = []
    for name in names:
        folder, _, base = name.rpartition("/")
        if any(base == mark and holds(f"{folder}/{other}".lstrip("/")) for mark, other in WORK):
            found.append(folder)
    return found


def _whole(entries: Iterator[Entry], path: Path) -> Iterator[Entry]:
    """The entries; what hostile numbers in a table of contents raise becomes one sentence."""
    try:
        yield from entries
    except (struct.error, OverflowError, ValueError, MemoryError, OSError) as error:
        raise GanfoldError(f"{path} is damaged: its table of contents cannot be right") from error


def _entries(file: BinaryIO, path: Path) -> Iterator[Entry]:
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
    if length > size:
        raise ValueError(length)
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
            wide = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            return tuple(next(wide, value) if value == 0xFFFFFFFF else value for value in values)
        at += 4 + length
    return values


def tarred(path: Path, otherwise: Source, level: int = 1) -> Source:
    """The images of a tar of folders, read like a zip; `otherwise` of any other tar, such as a webdataset.

    A webdataset has files of other kinds beside its images, or no folders.
    """

    def other(scratch: Path) -> Listing:
        if level > 1:
            raise GanfoldError(f"{path} is no tar of folders of images, so --classes-from {level} has no meaning")
        return otherwise.list(scratch)

    def listing(scratch: Path) -> Listing:
        names: list[str] = []
        skipped: list[Finding] = []
        rows = array("q")
        with suppress(tarfile.TarError, OSError, ValueError, OverflowError), tarfile.open(path, "r:") as file:
            while entry := file.next():
                file.members = []  # type: ignore[attr-defined]  # or a million of them would be kept
                parts = entry.name.split("/")
                if not entry.isreg() or any(is_hidden(part) for part in parts if part not in ("", ".", "..")):
                    continue
                if entry.sparse or parts[0] == "" or ".." in parts:
                    return other(scratch)
                names.append("/".join(part for part in parts if part not in ("", ".")))
                rows.extend((entry.offset_data, entry.size, entry.size, -1, -1))
        names, table = _sorted_entries(names, rows, skipped)
        images = _image_names(names, [])
        if (not images and not skipped) or len(images) < len(names) or not all("/" in name for name in names):
            return other(scratch)
        np.save(scratch / "table.npy", table)
        listed = Listing(Packed(path.resolve(), scratch / "table.npy"), names, skipped=skipped)
        listed.size = int(table[:, 1].sum())
        _classify(listed, str(path), level)
        if level > 1:
            _skip_above(listed, level)
        return listed

    return _leveled(key_of("tar", otherwise.key), listing, level)


def _name(raw: bytes) -> str:
    """A name in UTF-8, which many packers do not declare; or in code page 437, that of the first zips."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437")

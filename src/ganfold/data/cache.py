"""The cache: prepared sets on disk, found by the source and the settings that they were made from.

    <cache>/index/<key>/            one state of one source with one set of settings
        entry.json                  the fingerprint of its content, and the findings
        names.bin .npy              where image i came from
        rows.bin .npy               its metadata, if there are any
    <cache>/content/<fingerprint>/  images.npy, labels.npy, held_out.npy: shared by all sources with this content
    In both folders verified.json says of which size, time and inode the files were when their digest was found right,
    and holds a digest of each part of theirs.
    <cache>/native/<key>.json       the median shorter side of a source's images
    <cache>/downloads/<key>/        copies of what an address names
    <cache>/building/               what is being made; the next run removes what an interrupted one left
    <cache>/lock                    held while an entry is put into place, and while others are removed

Everything is made in `building` and renamed into place. A reader sees a whole entry or none. An entry is opened only if
the digest of its content is its fingerprint: disks and people change files.

An open entry is in use: images.npy is locked as long as its map lives. The time of the index folder is the last use.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganfold.data.sources.findings import Findings
from ganfold.data.sources.strings import Strings
from ganfold.errors import GanfoldError, printable
from ganfold.files import write_json

CONTENT = ("images.npy", "labels.npy", "held_out.npy")
INDEX = ("entry.json", "names.bin", "names.npy", "rows.bin", "rows.npy")
VERIFIED = "verified.json"
ALWAYS = 2**27  # bytes that are verified each time they are opened, in a third of a second: of larger files, one part


def default_cache() -> Path:
    """`$GANFOLD_CACHE`, or `ganfold` in the user's cache folder."""
    if folder := os.environ.get("GANFOLD_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ganfold"


@dataclass(frozen=True)
class Prepared:
    """An opened cache entry."""

    images: np.ndarray  # uint8 (N, C, H, W), a memory map
    labels: np.ndarray | None  # int64 (N,), a memory map
    held_out: np.ndarray  # int64, ascending: rows of `images`
    names: Strings
    rows: Strings | None
    fingerprint: str
    findings: Findings


def store(cache: Path, key: str, content: Path, index: Path) -> None:
    """Put a finished content folder and its index folder in their places."""
    _sync(content)
    _sync(index)
    entry = json.loads((index / "entry.json").read_text(encoding="utf-8"))
    _note_verified(content, CONTENT, entry["fingerprint"])  # it was made of these files just now
    _note_verified(index, INDEX, _digest(index, INDEX))
    place = cache / "content" / entry["fingerprint"]
    _put(content, place, lambda: _content(place, entry) is not None)
    _put(index, cache / "index" / key, lambda: _entry(cache, cache / "index" / key) is not None)


def native_of(cache: Path, key: str) -> int | None:
    """The median shorter side of a source's images in px; None if it is not known yet."""
    try:
        return int(json.loads((cache / "native" / f"{key}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        return None


def find_entry(cache: Path, key: str) -> Prepared | None:
    """The entry; None if it is not there, or damaged, which a note says."""
    index = cache / "index" / key
    if not index.exists():
        return None
    entry = _entry(cache, index)
    if entry:
        with suppress(OSError):  # a cache that cannot be written can be read
            os.utime(index)
    elif index.exists():  # or another process has removed it just then
        print(printable(f"The cache entry {index} is damaged, so it is made anew."), file=sys.stderr)
    return entry


def _entry(cache: Path, index: Path) -> Prepared | None:
    """An entry; None if it is not whole."""
    try:
        if not _is_verified(index, INDEX, "", ()):
            return None
        entry = json.loads((index / "entry.json").read_text(encoding="utf-8"))
        content = _content(cache / "content" / entry["fingerprint"], entry)
        names = Strings(index / "names")
        rows = Strings(index / "rows") if (index / "rows.npy").exists() else None
        if content is None or len(names) != len(content[0]) or (rows and len(rows) != len(names)):
            return None
        return Prepared(*content, names, rows, entry["fingerprint"], Findings.from_dict(entry["findings"]))
    except Exception:  # NumPy and JSON have many for a damaged file: EOFError, TokenError, RecursionError ...
        return None


@contextmanager
def building(cache: Path) -> Iterator[Path]:
    """A folder to build in, locked while this process lives."""
    place = cache / "building"
    handle, name = tempfile.mkstemp(suffix=".lock", dir=place)
    lock(handle)
    folder = Path(name).with_suffix("")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
        os.unlink(name)


def clear(cache: Path) -> None:
    """Remove the folders to build in whose processes have ended."""
    for path in (cache / "building").glob("*.lock"):
        with suppress(OSError), open(path, "rb") as file:  # its process, or another one, may remove it just then
            if lock(file.fileno()):
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink(missing_ok=True)


def _put(made: Path, place: Path, whole: Callable[[], bool]) -> None:
    """Rename `made` to `place`. What is there already is kept if it is whole, and replaced if not."""
    for _ in range(10):  # other processes may do the same at the same time
        if place.exists():
            if whole():
                return
            aside = made.parent / f"old-{place.name}"
            try:
                os.replace(place, aside)
            except FileNotFoundError:
                continue
            shutil.rmtree(aside, ignore_errors=True)
        try:
            os.replace(made, place)
            return
        except OSError:
            if not place.exists():
                raise


def _content(folder: Path, entry: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray] | None:
    """Images, labels and held-out rows; None if a file is missing or damaged."""
    try:
        images = _mapped(folder / "images.npy")
        labels = np.load(folder / "labels.npy", mmap_mode="r") if entry["classes"] else None
        held_out = np.array(np.load(folder / "held_out.npy", mmap_mode="r"))
        whole = list(images.shape) == entry["images"] and (labels is None or len(labels) == len(images))
        verified = whole and _is_verified(folder, CONTENT, entry["fingerprint"], tuple(entry["classes"]))
        return (images, labels, held_out) if verified else None
    except Exception:  # see `_entry`
        return None


def _mapped(path: Path) -> np.ndarray:
    """The images as a memory map that locks its file: it keeps a duplicate of the descriptor, and the lock with it.

    Raises:
        ValueError: the file is no array of bytes, or shorter than its header says: to read on would kill the process.
    """
    with open(path, "rb") as file:
        lock(file.fileno(), "shared", wait=True)
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != np.uint8:
            raise ValueError(dtype)
        return np.memmap(file, dtype, "r", file.tell(), shape)


def _digest(folder: Path, names: tuple[str, ...], classes: tuple[str, ...] = ()) -> str:
    """The digest of class names and of those files that are there. Of `CONTENT` it is the fingerprint."""
    digest = hashlib.blake2b(repr(classes).encode(), digest_size=16)
    for name in names:
        if (folder / name).exists():
            with open(folder / name, "rb") as file:
                while part := file.read(2**20):
                    digest.update(part)
    return digest.hexdigest()


def _is_verified(folder: Path, names: tuple[str, ...], digest: str, classes: tuple[str, ...]) -> bool:
    """Whether the files have their digest ("": the noted one).

    Large ones are read as a whole only if their state changed. Otherwise one part of them is, another each time: disks
    lose bits without a new time. Entries of earlier versions have no note. Their index is taken as it is, and noted.
    """
    states, known = _states(folder, names), {}
    if (folder / VERIFIED).exists():
        known = json.loads((folder / VERIFIED).read_text(encoding="utf-8"))
        digest = digest or known["digest"]
    if states == known.get("states") and sum(size for size, _, _ in states.values()) > ALWAYS and known.get("parts"):
        part = secrets.randbelow(len(known["parts"]))
        return bool(next(_parts(folder, names, part)) == known["parts"][part])
    found = _digest(folder, names, classes)
    if found != (digest or found):
        return False
    if (known.get("digest"), known.get("states"), "parts" in known) != (found, states, True):
        with suppress(GanfoldError):  # a cache that cannot be written can be read
            _note_verified(folder, names, found)
    return True


def _note_verified(folder: Path, names: tuple[str, ...], digest: str) -> None:
    states = _states(folder, names)
    large = sum(size for size, _, _ in states.values()) > ALWAYS
    parts = list(_parts(folder, names)) if large else []
    write_json(folder / VERIFIED, {"digest": digest, "states": states, "parts": parts})


def _parts(folder: Path, names: tuple[str, ...], first: int = 0) -> Iterator[str]:
    """The digest of each part of the files, of `ALWAYS` bytes or up to the end of a file, from part `first` on."""
    for name in names:
        size = (folder / name).stat().st_size if (folder / name).exists() else 0
        starts = range(0, size, ALWAYS)
        for start in starts[first:]:
            yield _digest_of(folder / name, start)
        first = max(0, first - len(starts))


def _digest_of(path: Path, start: int) -> str:
    """The digest of the part of a file that begins there."""
    digest, left = hashlib.blake2b(digest_size=16), ALWAYS
    with open(path, "rb") as file:
        file.seek(start)
        while left and (read := file.read(min(left, 2**20))):
            digest.update(read)
            left -= len(read)
    return digest.hexdigest()


def _states(folder: Path, names: tuple[str, ...]) -> dict[str, list[int]]:
    """Size in bytes, time of last change in nanoseconds and inode of each of the files that is there."""
    found = {name: (folder / name).stat() for name in names if (folder / name).exists()}
    return {name: [state.st_size, state.st_mtime_ns, state.st_ino] for name, state in found.items()}


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


@contextmanager
def held(cache: Path, how: Literal["shared", "exclusive"], *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of the cache: shared while an entry is put into place and opened, exclusive to remove entries.

    Yields whether it is held. It is not where another process holds it and `wait` is off, and where there are no locks.
    """
    try:
        handle = os.open(cache / "lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        yield False
        return
    try:
        yield lock(handle, how, wait=wait)
    finally:
        os.close(handle)


def lock(handle: int, how: Literal["shared", "exclusive"] = "exclusive", *, wait: bool = False) -> bool:
    """Lock an open file; whether that was possible."""
    if sys.platform == "win32":
        return False
    import fcntl

    kind = fcntl.LOCK_EX if how == "exclusive" else fcntl.LOCK_SH
    try:
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

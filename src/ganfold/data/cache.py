"""The cache: prepared sets on disk, found by the source and the settings that they were made from.

    <cache>/index/<key>/            one state of one source with one set of settings
        entry.json                  the fingerprint of its content, and the findings
        names.bin .npy              where image i came from
        rows.bin .npy               its metadata, if there are any
    <cache>/content/<fingerprint>/  images.npy, labels.npy, held_out.npy: shared by all sources with this content
    <cache>/native/<key>.json       the median shorter side of a source's images
    <cache>/building/               what is being made; the next run removes what an interrupted one left

Everything is made in `building` and renamed into place. A reader sees a whole entry or none.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data.sources.findings import Findings
from ganfold.data.sources.strings import Strings


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
    place = cache / "content" / entry["fingerprint"]
    _put(content, place, lambda: _content(place, entry) is not None)
    _put(index, cache / "index" / key, lambda: find_entry(cache, key) is not None)


def native_of(cache: Path, key: str) -> int | None:
    """The median shorter side of a source's images in px; None if it is not known yet."""
    try:
        return int(json.loads((cache / "native" / f"{key}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None


def find_entry(cache: Path, key: str) -> Prepared | None:
    """The entry; None if it is not there, or damaged."""
    index = cache / "index" / key
    try:
        entry = json.loads((index / "entry.json").read_text(encoding="utf-8"))
        content = _content(cache / "content" / entry["fingerprint"], entry)
        names = Strings(index / "names")
        rows = Strings(index / "rows") if (index / "rows.npy").exists() else None
        if content is None or len(names) != len(content[0]) or (rows and len(rows) != len(names)):
            return None
        return Prepared(*content, names, rows, entry["fingerprint"], Findings.from_dict(entry["findings"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def building(cache: Path) -> Iterator[Path]:
    """A folder to build in, locked while this process lives. Folders of dead processes are removed."""
    place = cache / "building"
    for lock in place.glob("*.lock"):
        with open(lock, "rb") as file:
            if _locked(file.fileno()):  # its process has ended
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(suffix=".lock", dir=place)
    _locked(handle)
    folder = Path(name).with_suffix("")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)
        os.unlink(name)


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
        images = np.load(folder / "images.npy", mmap_mode="r")
        labels = np.load(folder / "labels.npy", mmap_mode="r") if entry["classes"] else None
        held_out = np.load(folder / "held_out.npy")
    except (OSError, ValueError):
        return None
    whole = list(images.shape) == entry["images"] and (labels is None or len(labels) == len(images))
    return (images, labels, held_out) if whole else None


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with open(path, "rb+") as file:
            os.fsync(file.fileno())


def _locked(handle: int) -> bool:
    """Lock an open file; whether that was possible."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True

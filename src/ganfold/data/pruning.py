"""The size of the cache: what it holds, its limit, and the removal of what has not been used for longest.

Nothing is removed that a process has open. A killed removal leaves no half entry: everything is renamed into `building`
first, and the next run clears that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ganfold.data.cache import building, clear, held, lock
from ganfold.data.sources.findings import shown
from ganfold.errors import GanfoldError, printable
from ganfold.files import sweep

LIMIT = "GANFOLD_CACHE_LIMIT"  # an environment variable
SHARE = 4  # without it the cache may take this part of its disk: a quarter
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)[bB]?")
DIGEST = re.compile(r"[0-9a-f]{32}")  # the name of what the cache made: all else is not its own
KEPT = ("weights", "forms", "native")  # counted, and never removed: they are small, or were downloaded once
MADE = ("index", "content", "downloads", "features", *KEPT)


@dataclass(frozen=True)
class Entry:
    """What is removed together: prepared images, a download, or the features of some images."""

    kind: str  # "images", "download" or "features"
    sources: tuple[str, ...]  # what users called it
    images: int
    resolution: int
    size: int  # bytes
    used: str  # date and time of the last use, UTC
    in_use: bool  # by a process that is running
    paths: tuple[Path, ...]  # what to remove, in this order
    locked_by: Path  # the file that its users lock


def parsed_size(text: str, name: str) -> int:
    """Bytes of a size such as "20GB" or "512 MiB".

    Raises:
        GanfoldError: it is no size.
    """
    found = SIZE.fullmatch(text.strip())
    if not found:
        raise GanfoldError(f"{name} {text!r} is not a size: give a number with kB, MB, GB or TB, such as 20GB")
    number, prefix, binary = found.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGT".index(prefix.upper() or " "))


def shown_size(size: int) -> str:
    """Bytes for a reader: "36.9 MB"."""
    for power, unit in ((4, "TB"), (3, "GB"), (2, "MB")):
        if size >= 1000**power:
            return f"{size / 1000**power:,.1f} {unit}"
    return f"{size / 1000:,.0f} kB" if size >= 1000 else f"{size} bytes"


def limit_of(cache: Path) -> int:
    """The most bytes that the cache keeps: `$GANFOLD_CACHE_LIMIT`, or a quarter of its disk."""
    if text := os.environ.get(LIMIT):
        return parsed_size(text, LIMIT)
    there = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    return shutil.disk_usage(there).total // SHARE


def total_size(cache: Path) -> int:
    """The bytes of all that the cache has made."""
    return sum(_size(cache / part) for part in (*MADE, "building"))


def entries(cache: Path) -> list[Entry]:
    """All that can be removed, what has not been used for longest first."""
    found = [*_prepared(cache), *_downloads(cache), *_features(cache)]
    return sorted(found, key=lambda entry: entry.used)


def prune(cache: Path, limit: int, *, wait: bool = False) -> list[Entry]:
    """Remove what has not been used for longest until the cache is within its limit; returns what was removed.

    Args:
        cache: the folder of the cache.
        limit: the most bytes to keep.
        wait: wait for processes that put entries into place. Without it, the next prune finds what this one left.
    """
    removed: list[Entry] = []
    with suppress(OSError), held(cache, "exclusive", wait=wait) as is_held:
        size = total_size(cache)
        if is_held and size > limit:
            (cache / "building").mkdir(exist_ok=True)
            with building(cache) as trash:
                for entry in entries(cache):
                    if size <= limit:
                        break
                    if _remove(entry, trash):
                        size -= entry.size
                        removed.append(entry)
    return removed


def prune_aloud(cache: Path, limit: int) -> None:
    """Prune the cache, and say in one line what was removed."""
    if removed := prune(cache, limit):
        print(printable(_told(removed, limit)), file=sys.stderr)


def clear_leftovers(cache: Path) -> None:
    """Remove what killed processes and damaged entries left."""
    clear(cache)
    for part in MADE:
        sweep(cache / part)
    with suppress(OSError), held(cache, "exclusive", wait=True) as is_held:
        broken = [index for index, content, _ in _indices(cache) if not (content / "images.npy").exists()]
        broken += [folder for folder in _made_folders(cache / "content") if not (folder / "images.npy").exists()]
        if is_held and broken:
            with building(cache) as trash:
                for folder in broken:
                    os.replace(folder, trash / f"{folder.parent.name}-{folder.name}")


def _told(removed: list[Entry], limit: int) -> str:
    first = next((entry.sources[0] for entry in removed if entry.sources), "features")
    more = f" and {len(removed) - 1:,} more" if len(removed) > 1 else ""
    size = shown_size(sum(entry.size for entry in removed))
    return (
        f"The cache passed its limit of {shown_size(limit)}: {shown(first)}{more} ({size}) removed, last used "
        f"{removed[-1].used[:10]} or before (`ganfold cache` lists the rest; {LIMIT} sets the limit)."
    )


def _remove(entry: Entry, trash: Path) -> bool:
    """Move an entry into the folder `trash`, unless it is in use; whether it was moved."""
    with suppress(OSError), open(entry.locked_by, "rb") as file:
        if lock(file.fileno()):
            for path in entry.paths:
                os.replace(path, trash / f"{path.parent.name}-{path.name}")
            return True
    return False


def _prepared(cache: Path) -> Iterator[Entry]:
    """The contents, each with all indices that lead to it."""
    leading: dict[str, list[tuple[Path, str, int, int]]] = {}
    for index, content, entry in _indices(cache):
        if entry is not None:
            leading.setdefault(content.name, []).append((index, *entry))
    for content in _made_folders(cache / "content"):
        indices = leading.get(content.name, [])
        _, _, images, resolution = indices[0] if indices else (content, "", 0, 0)
        names = dict.fromkeys(name for _, name, _, _ in indices)
        yield _entry(
            "images", tuple(names), images, resolution, [*(index for index, *_ in indices), content],
            content / "images.npy",
        )  # fmt: skip


def _indices(cache: Path) -> Iterator[tuple[Path, Path, tuple[str, int, int] | None]]:
    """Each index, the content that it leads to, and the name, number and size in px of its images, if it is whole."""
    for index in (cache / "index").glob("*"):
        try:
            entry = json.loads((index / "entry.json").read_text(encoding="utf-8"))
            content = cache / "content" / str(entry["fingerprint"])
            count, _, resolution, _ = entry["images"]
            yield index, content, (str(entry["findings"]["source"]), int(count), int(resolution))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            if re.fullmatch(r"[0-9a-f]{64}", index.name):
                yield index, index / "missing", None


def _downloads(cache: Path) -> Iterator[Entry]:
    for folder in _made_folders(cache / "downloads"):
        with suppress(OSError):
            address = (folder / "address").read_text(encoding="utf-8", errors="replace")
            yield _entry("download", (address,), 0, 0, [folder], folder / "address")


def _features(cache: Path) -> Iterator[Entry]:
    for path in (cache / "features").glob("*.npy"):
        if DIGEST.fullmatch(path.stem):
            with suppress(OSError):
                yield _entry("features", (), 0, 0, [path], path)


def _made_folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("*") if DIGEST.fullmatch(path.name) and path.is_dir())


def _entry(
    kind: str, sources: tuple[str, ...], images: int, resolution: int, paths: list[Path], locked_by: Path
) -> Entry:
    used = max(_last_use(path) for path in paths)
    date = datetime.fromtimestamp(used, UTC).isoformat(timespec="microseconds")
    return Entry(
        kind, sources, images, resolution, sum(map(_size, paths)), date, _is_in_use(locked_by), tuple(paths), locked_by
    )


def _last_use(path: Path) -> float:
    """A folder is touched when it is used; a file of features shows when it was read."""
    state = path.stat()
    return state.st_mtime if path.is_dir() else max(state.st_mtime, state.st_atime)


def _is_in_use(path: Path) -> bool:
    """Whether a process has locked the file. Where there are no locks everything may be in use."""
    try:
        with open(path, "rb") as file:
            return not lock(file.fileno())
    except OSError:
        return False


def _size(path: Path) -> int:
    """The bytes of a file, or of all files of a folder. What vanishes meanwhile counts as nothing."""
    if not path.is_dir():
        with suppress(OSError):
            return path.stat().st_size
        return 0
    return sum(_size(Path(folder, name)) for folder, _, names in os.walk(path) for name in names)

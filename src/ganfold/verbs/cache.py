"""`ganfold cache`: what the cache of prepared images holds, and its size limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from ganfold.interface.options import PythonOnly, verb
from ganfold.interface.result import Result, table

NAMED = 30  # entries at most that `lines` names; the JSON has all
WIDTH = 48  # characters at most of a source's name; its end is shown


@dataclass(frozen=True)
class CacheEntry:
    """What is removed together."""

    kind: str  # "images", "download" or "features"
    sources: tuple[str, ...]  # what it was made from, as the user named it
    images: int
    resolution: int
    size: int  # bytes
    used: str  # date and time of the last use, UTC
    in_use: bool  # a process has it open


@dataclass(frozen=True, repr=False)
class Cache(Result):
    """The content of the cache."""

    folder: str
    limit: int  # bytes
    size: int  # bytes, with what is never removed
    entries: tuple[CacheEntry, ...]  # last used first
    removed: tuple[CacheEntry, ...]

    def lines(self) -> list[str]:
        """The total, what was removed, and a table of what is there."""
        from ganfold.data.pruning import shown_size

        lines = [f"{self.folder}: {shown_size(self.size)}, and {shown_size(self.limit)} are the limit."]
        if self.removed:
            lines.append(f"Removed: {_summed(self.removed)}.")
        if self.size > self.limit:
            over = shown_size(self.size - self.limit)
            kept = all(entry.in_use for entry in self.entries)
            remedy = "all that is left is in use" if kept else "--prune removes what was not used for longest"
            lines.append(f"It is {over} over the limit: {remedy}.")
        images = [entry for entry in self.entries if entry.kind != "features"]
        if images:
            lines += table([("source", "images", "size", "last use", ""), *map(_row, images[:NAMED])])
        if len(images) > NAMED:
            lines.append(f"and {len(images) - NAMED:,} more (--json lists all)")
        if features := [entry for entry in self.entries if entry.kind == "features"]:
            lines.append(f"Features of real images, for metrics: {_summed(features)}.")
        return lines

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Options:
    _: KW_ONLY
    prune: bool = False  # remove leftovers, then what was not used for longest until the rest is within the limit
    limit: str | None = None  # the size to keep, such as 20GB [$GANFOLD_CACHE_LIMIT, or a quarter of the disk]
    cache: Annotated[str | Path | None, PythonOnly] = None  # the folder of prepared images [$GANFOLD_CACHE]


@verb(Options)
def cache(options: Options) -> Cache:
    """List the cache of prepared images, and remove what was not used for longest.

    The cache prunes itself when a new entry passes its limit. Nothing that a running process has open is removed.

    Returns:
        What the cache holds, and what was removed.

    Raises:
        GanfoldError: the limit is not a size.
    """
    from ganfold.data import pruning
    from ganfold.data.cache import default_cache

    folder = Path(options.cache or default_cache())
    limit = pruning.limit_of(folder) if options.limit is None else pruning.parsed_size(options.limit, "limit")
    removed = []
    if options.prune:
        pruning.clear_leftovers(folder)
        removed = pruning.prune(folder, limit, wait=True)
    return Cache(
        folder=str(folder),
        limit=limit,
        size=pruning.total_size(folder),
        entries=tuple(map(_shown, reversed(pruning.entries(folder)))),
        removed=tuple(map(_shown, removed)),
    )


def _shown(entry: Any) -> CacheEntry:
    return CacheEntry(entry.kind, entry.sources, entry.images, entry.resolution, entry.size, entry.used, entry.in_use)


def _summed(entries: Sequence[CacheEntry]) -> str:
    from ganfold.data.pruning import shown_size

    return f"{len(entries):,} set{'s' * (len(entries) != 1)}, {shown_size(sum(entry.size for entry in entries))}"


def _row(entry: CacheEntry) -> tuple[str, ...]:
    from ganfold.data.pruning import shown_size

    source = entry.sources[0] if entry.sources else "no longer known"
    source = source if len(source) <= WIDTH else "..." + source[3 - WIDTH :]
    source += f" and {len(entry.sources) - 1:,} more" if len(entry.sources) > 1 else ""
    what = f"{entry.images:,} of {entry.resolution} px" if entry.images else entry.kind
    return source, what, shown_size(entry.size), entry.used[:16].replace("T", " "), "in use" if entry.in_use else ""

"""What every kind of source turns into before its pictures are prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganfold.data.sources.findings import Finding, shown
from ganfold.data.sources.readers import Chosen, Reader
from ganfold.errors import GanfoldError, did_you_mean


@dataclass
class Listing:
    """The pictures of a source, in their final order."""

    reader: Reader
    names: Sequence[str]  # where picture i came from
    labels: np.ndarray | None = None  # int64 (N,), -1: no label, so not usable
    classes: tuple[str, ...] = ()
    rows: tuple[Path, np.ndarray] | None = None  # a file of JSON texts; start and length of picture i's (N, 2)
    size: int = 0  # bytes to read, roughly
    skipped: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def skip(self, name: str, why: str) -> None:
        self.skipped.append(Finding(shown(name), why))


@dataclass(frozen=True)
class Source:
    """Something that can be listed; `key` changes when its content may have changed.

    `list` gets an empty folder for what must be unpacked.
    """

    key: str
    list: Callable[[Path], Listing]


def key_of(kind: str, path: Path | str, *what: Any) -> str:
    """A key from a path and whatever else tells two states of it apart."""
    return hashlib.sha256(repr((kind, str(path), what)).encode("utf-8", "surrogateescape")).hexdigest()


def states(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of last change of each file."""
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def classes_from(values: Sequence[Any]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers (-1 for None) and the sorted class names; numbers sort as numbers."""
    names = sorted_classes({str(value) for value in values if value is not None})
    number = {name: i for i, name in enumerate(names)}
    return np.array([-1 if v is None else number[str(v)] for v in values], np.int64), names


def sorted_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in order: by number if all are whole numbers, else by letter."""
    names = list(names)
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(sorted(names))


def of_class(source: Source, label: str, name: str) -> Source:
    """The pictures of a source that are of one class; `name` is what the user calls the source."""

    def listing(scratch: Path) -> Listing:
        found = source.list(scratch)
        if found.labels is None or label not in found.classes:
            raise GanfoldError(
                f"{name} has no class {label!r}{did_you_mean(label, found.classes)} (known: {', '.join(found.classes)})"
            )
        places = np.flatnonzero(found.labels == found.classes.index(label))
        return replace(
            found,
            reader=Chosen(found.reader, places),
            names=[str(found.names[place]) for place in places.tolist()],
            labels=None,
            classes=(),
            rows=found.rows and (found.rows[0], found.rows[1][places]),
            skipped=[],
        )

    return Source(f"{source.key}-{hashlib.sha256(label.encode()).hexdigest()[:16]}", listing)
